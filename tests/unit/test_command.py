import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

import random_mask
from random_mask.artifacts.records import digest, read_record, write_records

PACKAGE = Path(random_mask.__file__).parent

STAGE = """
from pathlib import Path
from pydantic import BaseModel
from random_mask.errors import InputError
from random_mask.methods import catalogue
from random_mask.stages.command import Input, Output, run

class Settings(BaseModel):
    seed: int

def main(
    *, settings: Settings, first: int, images: Input, shards: list[str], role: str, output: Output
) -> dict[str, str] | None:
    "Do something."
    if first < 0:
        raise InputError("images.npz: damaged; delete it")
    if first == 7:
        Path("/nowhere/at/all").write_text("")
    if first == 8:
        raise KeyboardInterrupt
    if first == 9:
        catalogue.perturbation({"name": "none"})
        Path("stage.py").write_text("edited while it runs")
    output.write_text(f"{settings.seed} {first} {images} {shards} {role}")
    return {"precision": "float32"}

run(main)
"""


@pytest.fixture
def call(tmp_path):
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "i.npz").write_text("images")
    write_records([tmp_path / "i.npz"], {"inputs": {}})

    def run(first: int, settings: str = '{"seed": 5}'):
        options = ["--settings", settings, "--first", str(first), "--images", "i.npz"]
        options += ["--shards", "a", "b", "--role", "oracle", "--output", "out/o.txt"]
        (tmp_path / "out").mkdir(exist_ok=True)
        program = [sys.executable, "stage.py"]
        return subprocess.run([*program, *options], cwd=tmp_path, capture_output=True, text=True)

    return run


def test_parameters_are_options(call, tmp_path):
    result = call(1)
    assert result.returncode == 0, result.stderr
    written = (tmp_path / "out" / "o.txt").read_text()
    assert written == "5 1 i.npz ['a', 'b'] oracle"
    assert "done in" in result.stderr


def test_a_record_tells_how_an_output_was_made(call, tmp_path):
    call(1)
    record = read_record(tmp_path / "out" / "o.txt")
    assert record["stage"] == "stage"
    assert record["options"] == {"settings": {"seed": 5}, "first": 1, "shards": ["a", "b"], "role": "oracle"}
    assert record["inputs"] == {"i.npz": digest(tmp_path / "i.npz")}
    assert record["computed"] == {"device": "cpu", "precision": "float32", "threads": 1}
    assert record["machine"]["cores"] >= 1
    assert record["versions"]["torch"] == version("torch")
    assert datetime.fromisoformat(record["started"]) < datetime.now(UTC)
    assert record["wall_seconds"] >= 0
    assert record["processor_seconds"] > 0
    assert record["peak_memory_mib"] > 5


def test_a_record_has_all_code_that_ran_also_what_was_loaded_by_name_and_as_it_was_then(call, tmp_path):
    def code(first: int) -> dict[str, str]:
        assert call(first).returncode == 0
        found = read_record(tmp_path / "out" / "o.txt")["code"]
        assert list(found) == sorted(found)
        return {(tmp_path / path).resolve(): sha256 for path, sha256 in found.items()}

    stage = digest(tmp_path / "stage.py")
    before, after = code(1), code(9)
    assert before[tmp_path / "stage.py"] == after[tmp_path / "stage.py"] == stage
    assert {path: digest(path) for path in before if path.name != "stage.py"}.items() <= before.items()
    by_name = {path.relative_to(PACKAGE).as_posix() for path in after.keys() - before.keys()}
    assert by_name == {"methods/none.py", "methods/perturbation.py", "training/networks.py"}
    assert PACKAGE / "stages" / "command.py" in before


def test_a_damaged_input_is_not_read(call, tmp_path):
    (tmp_path / "i.npz").write_text("imagez")
    result = call(1)
    assert result.returncode == 1
    assert result.stderr.startswith(
        "stage: i.npz: damaged, or changed since the workflow wrote it; delete it"
    )
    assert not (tmp_path / "out" / "o.txt").exists()


def test_an_interrupt_is_quiet(call):
    result = call(8)
    assert (result.returncode, result.stderr) == (130, "")


def test_bad_input_is_one_line(call):
    result = call(-1)
    assert result.returncode == 1
    assert result.stderr == "stage: images.npz: damaged; delete it\n"


def test_a_file_that_cannot_be_written_is_named(call):
    result = call(7)
    assert result.returncode == 1
    assert (
        result.stderr
        == "stage: /nowhere/at/all: No such file or directory; fix that and run snakemake again\n"
    )


def test_settings_are_checked(call):
    result = call(1, '{"seed": "x"}')
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
