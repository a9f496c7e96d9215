import subprocess
import sys

import pytest

STAGE = """
from pathlib import Path
from pydantic import BaseModel
from random_mask.errors import InputError
from random_mask.stages.command import run

class Settings(BaseModel):
    seed: int

def main(*, settings: Settings, first: int, images: Path, shards: list[Path], split_table: str) -> None:
    "Do something."
    if first < 0:
        raise InputError("images.npz: damaged; delete it")
    if first == 7:
        Path("/nowhere/at/all").write_text("")
    print(settings.seed, first, images, shards, split_table)

run(main)
"""


@pytest.fixture
def call(tmp_path):
    program = tmp_path / "stage.py"
    program.write_text(STAGE)

    def run(first: int, settings: str = '{"seed": 5}'):
        options = ["--settings", settings, "--first", str(first), "--images", "i.npz"]
        options += ["--shards", "a", "b", "--split-table", "s"]
        return subprocess.run([sys.executable, program, *options], capture_output=True, text=True)

    return run


def test_parameters_are_options(call):
    result = call(1)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "5 1 i.npz [PosixPath('a'), PosixPath('b')] s\n"
    assert "done in" in result.stderr


def test_bad_input_is_one_line(call):
    result = call(-1)
    assert result.returncode == 1
    assert result.stderr == "stage: images.npz: damaged; delete it\n"


def test_a_file_that_cannot_be_written_is_named(call):
    result = call(7)
    assert result.returncode == 1
    assert result.stderr == "stage: /nowhere/at/all: No such file or directory\n"


def test_settings_are_checked(call):
    result = call(1, '{"seed": "x"}')
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
