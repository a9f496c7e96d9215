"""The benchmarks run at toy size; nothing is said of their times."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Return a function that imports a benchmark by its name."""
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_training_against_the_loop_of_the_competition(benchmark, capsys, monkeypatch):
    training = benchmark("training")
    monkeypatch.setattr(training, "DISTURBED", 1.0)  # tests beside this one are no reason to repeat a round
    arguments = "--rounds 1 --seconds 0.1 --batch 4 --cores 1"
    training.main(arguments.split())
    printed = capsys.readouterr().out
    assert re.search(r"round 1 +\d+ +\d+ +\d+ ", printed)
    assert re.search(r"ours / baseline +\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", printed)


def test_the_loop_of_the_competition_counts_every_class(benchmark):
    training = benchmark("training")
    baseline = training.Baseline(training.random_images(), 8, torch.device("cpu"))
    assert baseline.step() == 8
    assert sum(baseline.seen) == 16  # one step is taken at the start
    assert all(right <= seen for right, seen in zip(baseline.right, baseline.seen, strict=True))


def test_stacking(benchmark, capsys):
    arguments = "--models 2 1 --batch 4 --precision fp32 --seconds 0.1 --steps 1 --peak 1"
    benchmark("stacking").main(arguments.split())
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| fp32")]
    assert [row.split(" | ")[2] for row in rows] == ["1", "2"]


def test_what_bounds_a_stack(benchmark):
    stacking = benchmark("stacking")

    def bounds(*speeds):
        rows = [stacking.Row("bf16", 64, 2**power, speed, 1.0) for power, speed in enumerate(speeds)]
        return stacking.bounds(rows)

    assert bounds(100, 190, 200, 0) == ["launches", "the device", "the device", "memory: does not fit"]
    assert bounds(100, 130) == ["both", "both"]
    assert bounds(100) == ["unknown"]


def test_the_time_of_the_protocol_of_the_competition(benchmark):
    # 512 models of 30 epochs and 512 of 5, each of 45,000 images.
    assert benchmark("stacking").protocol_hours(1e6) == pytest.approx(512 * 35 * 45_000 / 1e6 / 3600)


STAGES = {
    "prepare_data.tsv": "prepare_data",
    "by_n/finetune.tsv": "scores_by_n",
    "comparisons/a-against-b.tsv": "compare",
    "oracle/models-0000-0003.tsv": "retrain",
    "retrain/models-0000-0003.tsv": "retrain",
    "original/0.tsv": "train_original",
    "retrain/original-0/evaluate.tsv": "evaluate",
    "random_mask_ratio_0.15/original-1/finetune-0000-0007.tsv": "finetune",
    "finetune/original-0/perturb-0000-0007.tsv": "perturb",
}


def test_what_a_finished_run_has_spent(benchmark, tmp_path):
    estimate = benchmark("estimate")
    for name in STAGES:
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("s\tcpu_time\n2.5\t0.0\n")
    jobs, seconds = estimate.spent(tmp_path)
    assert jobs == {stage: list(STAGES.values()).count(stage) for stage in STAGES.values()}
    assert seconds == {stage: 2.5 * count for stage, count in jobs.items()}
    assert {name: estimate.stage_of(Path(name)) for name in STAGES} == STAGES
    cost = {"retrain": {"jobs": 2, "processor_seconds": 7.5}, "all": {"jobs": 2, "processor_seconds": 7.5}}
    (tmp_path / "provenance.json").write_text(json.dumps({"cost": cost}))
    assert estimate.spent(tmp_path) == ({"retrain": 2}, {"retrain": 7.5})


def test_the_ratio_of_each_stage(benchmark):
    estimate = benchmark("estimate")
    found = estimate.Estimate(
        jobs={"retrain": 2, "paper": 1},
        seconds={"retrain": {"training": 9.0}, "paper": {"report": 1.0}},
        gpu_seconds=0,
        wall=0,
        disk=0,
        memory=0,
        models=0,
    )
    table = estimate.compare(found, {"retrain": 3, "other": 1}, {"retrain": 6.0, "other": 4.0})
    assert "| retrain | 3 | 2 | 6.0 | 9.0 | 1.50 |" in table
    assert "| other | 1 | 0 | 4.0 | 0.0 |  |" in table
    assert table[-1] == "| all | 4 | 3 | 10.0 | 10.0 | 1.00 |"
