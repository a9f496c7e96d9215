"""Formatting, linting and types of the whole repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ["src", "tests", "benchmarks", "workflow/scripts"]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", *CODE],
        ["ruff", "format", "--check", *CODE],
        ["snakefmt", "--check", "Snakefile", "workflow"],
        ["snakemake", "--lint"],
        ["mypy"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_is_clean(command):
    program = shutil.which(command[0], path=Path(sys.executable).parent)
    result = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
