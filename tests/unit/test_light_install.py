"""`pip install random-mask` without its extra `study`: the metric, `random-mask score`, and no more."""

import os
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
METRICS = sorted(path.stem for path in (ROOT / "src" / "random_mask" / "metrics").glob("[a-z]*.py"))


def needed(requirements: list[str]) -> set[str]:
    """Return the names of the distributions that pip would install, as far as they are installed here."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in found:
            found.add(requirement.name)
            waiting += [Requirement(text) for text in distribution(requirement.name).requires or []]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return a function that runs Python where only the package and what it always needs is installed."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "random_mask").symlink_to(ROOT / "src" / "random_mask")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in needed(project["dependencies"]):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (packages / top).symlink_to(distribution(name).locate_file(top))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments) -> subprocess.CompletedProcess:
        command = [folder / "bin" / "python", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    "module", ["torch", "pandas", "pydantic", "yaml", "sklearn", "snakemake", "matplotlib"]
)
def test_the_study_is_not_there(python, module):
    assert "ModuleNotFoundError" in python("-c", f"import {module}").stderr


def test_every_measure_can_be_imported(python):
    done = python("-c", f"from random_mask.metrics import {', '.join(METRICS)}")
    assert done.returncode == 0, done.stderr


def test_score_prints_what_it_prints_in_the_study(python, tmp_path):
    paths = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        paths.append(tmp_path / f"{seed}.npz")
        np.savez(paths[-1], confidences=rng.normal(size=(8, 5)))
    arguments = ["-m", "random_mask.cli", "score", *paths, "--replicates", "3"]
    done = python(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == subprocess.run([sys.executable, *arguments], capture_output=True, text=True).stdout
    assert python("-m", "random_mask.cli", "--help").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["summary"],
        ["compare", "a", "b"],
        ["keep", "a"],
        ["try", "a.py"],
        ["config", "a.yaml"],
        ["estimate", "--configfile", "a.yaml"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_the_study_says_so(python, arguments):
    done = python("-m", "random_mask.cli", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("random-mask: this command needs ")
    assert done.stderr.endswith("; type: pip install 'random-mask[study]'\n")
    assert done.stderr.count("\n") == 1
