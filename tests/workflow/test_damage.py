"""Artifacts that are cut, emptied or altered are noticed before anything is computed from them."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# One of each kind: data, its split, weights, masks, logits, scores of a method, a table, TeX, a figure.
ARTIFACTS = [
    "data/images.npz",
    "data/split.csv",
    "original/0.safetensors",
    "masks/random_mask/original-0/models-0000-0003.safetensors",
    "fleets/oracle/models-0000-0003.npz",
    "evaluation/finetune/original-0.json",
    "comparisons.csv",
    "tables/scores.tex",
    "figures/scores.pdf",
]


def empty(content: bytes) -> bytes:
    return b""


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cut_at_a_line(content: bytes) -> bytes:
    return content[: content.rindex(b"\n", 0, len(content) - 1) + 1]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_damage_stops_the_workflow_before_anything_runs(copy_of_finished):
    """Every kind of artifact, each damaged in another way."""
    for number, name in enumerate(ARTIFACTS):
        path = copy_of_finished.result(name)
        whole = path.read_bytes()
        damage = cut_at_a_line if path.suffix == ".csv" else (empty, cut, flip)[number % 3]
        path.write_bytes(damage(whole))
        returncode, printed = copy_of_finished.dry_run()
        assert returncode == 1
        line = printed.strip().splitlines()[-1]
        assert line.startswith(f"results/smoke/{name}: damaged"), (damage.__name__, printed)
        assert "delete it and run snakemake again to re-make it" in line
        path.write_bytes(whole)
    assert "Nothing to be done" in copy_of_finished.snakemake().stdout


def test_damage_that_left_no_trace_in_the_times_is_noticed(copy_of_finished):
    path = copy_of_finished.result("original/0.safetensors")
    times = path.stat()
    path.write_bytes(flip(path.read_bytes()))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    process = copy_of_finished.snakemake()
    assert process.returncode == 1
    assert "results/smoke/original/0.safetensors: damaged" in process.stdout


def test_what_was_deleted_is_made_again_alone_and_the_same(copy_of_finished):
    path = copy_of_finished.result("data/images.npz")
    whole = path.read_bytes()
    path.unlink()
    assert "Nothing to be done" in copy_of_finished.snakemake().stdout  # nothing needs it now
    assert copy_of_finished.snakemake("results/smoke/data/images.npz").returncode == 0
    assert path.read_bytes() == whole
    assert "Nothing to be done" in copy_of_finished.snakemake().stdout


def test_check_finds_damage_and_other_code(copy_of_finished):
    def check():
        return subprocess.run(
            [sys.executable, "-m", "random_mask.cli", "check", "results/smoke"],
            cwd=copy_of_finished.root,
            env={**os.environ, "PYTHONPATH": str(copy_of_finished.root / "src")},
            capture_output=True,
            text=True,
        )

    assert check().returncode == 0
    code = copy_of_finished.root / "src" / "random_mask" / "methods" / "random_mask.py"
    code.write_text(code.read_text() + "# edited\n")
    table = copy_of_finished.result("comparisons.csv")
    table.write_bytes(flip(table.read_bytes()))
    found = check()
    assert found.returncode == 3
    assert "results/smoke/comparisons.csv: damaged" in found.stdout
    assert "src/random_mask/methods/random_mask.py: changed since" in found.stdout
