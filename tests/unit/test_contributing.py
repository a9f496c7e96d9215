"""What CONTRIBUTING.md shows is applied and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_new_perturbation_is_short_and_works(tmp_path):
    if shutil.which("git") is None:
        # Who unpacked an archive instead of cloning may have none; CI has it, so the change is tried there.
        pytest.skip("git, which applies the change, is not installed")
    (change,) = re.findall(r"```diff\n(.*?)```", TEXT, re.S)
    (example,) = re.findall(r"```yaml\n(methods:\n  shuffled:.*?)```", TEXT, re.S)
    added = [line for line in change.splitlines() if re.match(r"\+(?!\+\+)", line)]
    assert len(added) + len(example.splitlines()) < 40
    for name in ("src", "tests", "config", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    apply = ["git", "apply", "-"]
    subprocess.run(apply, input=change, cwd=tmp_path, check=True, text=True, capture_output=True)

    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    smoke = (tmp_path / "config" / "smoke.yaml").read_text()
    config = smoke.replace("methods:\n", example.replace("batch: 64", "batch: 32"), 1)
    (tmp_path / "config" / "mine.yaml").write_text(config)
    for command in (
        ["random_mask.cli", "config", "config/mine.yaml"],
        ["pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_unlearning.py", "-k", "shuffled"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environment, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
