"""The lock, its conda twin and the declared dependencies cannot drift apart."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [
    Requirement(text)
    for text in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["study"],
        *PROJECT["dependency-groups"]["dev"],
    )
]


def pins(lines) -> list[Requirement]:
    return [Requirement(line.rstrip("\\ ")) for line in lines]


def locked() -> list[Requirement]:
    return pins(line for line in LOCK.splitlines() if line[:1].isalnum())


def as_set(requirements) -> set[tuple[str, str, str]]:
    return {(canonicalize_name(r.name), str(r.specifier), str(r.marker or "")) for r in requirements}


def test_the_conda_environment_has_the_versions_of_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (from_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert as_set(pins(from_pip)) == as_set(locked()), "run `make lock`"


def test_the_conda_environment_is_what_make_lock_writes():
    script = runpy.run_path(str(ROOT / "workflow" / "scripts" / "conda_environment.py"))
    assert script["as_environment"](LOCK) == (ROOT / "environment.yml").read_text()


@pytest.mark.parametrize("declared", DECLARED, ids=lambda r: r.name)
def test_every_dependency_is_locked_at_a_version_that_it_admits(declared):
    versions = [r for r in locked() if canonicalize_name(r.name) == canonicalize_name(declared.name)]
    assert versions, "run `make lock`"
    for version in versions:
        (pin,) = version.specifier
        assert pin.operator == "=="
        assert pin.version in declared.specifier


def test_every_pin_has_a_hash():
    entries = re.split(r"\n(?=[a-z0-9])", LOCK[re.search(r"^[a-z0-9]", LOCK, re.M).start() :])
    assert len(entries) == len(locked()) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_lock_names_no_registry():
    for name in ("requirements.txt", "environment.yml", "pyproject.toml"):
        assert not re.search(r"https?://|--index|--find-links", (ROOT / name).read_text()), name


def test_the_pair_of_torch_and_torchvision_fits():
    versions = {r.name: str(r.specifier) for r in locked()}
    assert (versions["torch"], versions["torchvision"]) == ("==2.14.1", "==0.29.2")
