import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from dry_runs import dry_run

ROOT = Path(__file__).parents[2]
PARTS = [
    *("Snakefile", "requirements.txt", "environment.yml", "CITATION.cff"),
    *("config", "paper", "profiles", "reference", "src", "workflow"),
]

LONG = ("interrupted", "any_methods", "paper", "try", "cache", "oracle", "training", "gpu_benchmark", "smoke")
"""Files of tests, of this folder and of the unit tests, that take half a minute or more."""


@dataclass
class Checkout:
    """A copy of the repository in which the workflow can be run and files edited."""

    root: Path

    def snakemake(
        self, *arguments: str, config: str | Path | None = "config/smoke.yaml", path: str | None = None
    ):
        """Run snakemake as a user does, and return the finished process; its output is in `stdout`."""
        program = Path(sys.executable).parent / "snakemake"
        return subprocess.run(
            [program, "--cores", "2", *arguments, *given(config)],
            cwd=self.root,
            env={**os.environ, "PATH": path or os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def planned(self, *arguments: str, config: str | Path | None = "config/smoke.yaml") -> set[str]:
        """Return the rules that Snakemake would run."""
        _, _, table = self.plan(*arguments, config=config).partition("Job stats:\n")
        rows = [line.split() for line in table.partition("\n\n")[0].splitlines()[2:]]
        return {rule for rule, _ in rows} - {"total"}

    def plan(self, *arguments: str, config: str | Path | None = "config/smoke.yaml") -> str:
        """Return what a dry run prints."""
        returncode, printed = self.dry_run(*arguments, config=config)
        assert returncode == 0, printed
        return printed

    def dry_run(self, *arguments: str, config: str | Path | None = "config/smoke.yaml") -> tuple[int, str]:
        """Return the exit status of a dry run, and what it prints."""
        return dry_run(self.root, [*arguments, *given(config)])

    def result(self, name: str) -> Path:
        return self.root / "results" / "smoke" / name


def given(config: str | Path | None) -> list[str]:
    return [] if config is None else ["--configfile", str(config)]


def checkout(folder: Path) -> Checkout:
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, folder / part)
    return Checkout(folder)


def pytest_collection_modifyitems(items):
    """Files that take long go first, the longest first of all, so that all cores are busy to the end."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONG)}
    items.sort(
        key=lambda item: (place.get(item.path.name, len(LONG)), item.get_closest_marker("slow") is None)
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Checkout:
    """A checkout in which the smoke experiment has been run. Leave it as it is.

    It is run once, by the first of pytest's processes that asks for it.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "finished"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        printed = folder / "printed.txt"
        if not folder.exists():
            folder.mkdir()
            process = checkout(folder).snakemake()
            printed.write_text(f"{process.returncode}\n{process.stdout}")
    returncode, _, output = printed.read_text().partition("\n")
    assert returncode == "0", output
    made = Checkout(folder)
    made.printed = output
    return made


@pytest.fixture
def copy_of_finished(finished, tmp_path) -> Checkout:
    """A copy of the finished checkout, to be edited."""
    # Another test may hold Snakemake's lock for a moment.
    shutil.copytree(finished.root, tmp_path / "copy", ignore=shutil.ignore_patterns("locks"))
    return Checkout(tmp_path / "copy")


@pytest.fixture
def fresh(tmp_path) -> Checkout:
    """A checkout in which nothing has been run."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    return checkout(folder)
