"""Compare what `random-mask estimate` predicts with what a finished run has cost, stage by stage.

    python benchmarks/estimate.py results/digits --configfile config/digits.yaml

A run's cost is in its `provenance.json`, in processor seconds with everything that a job started. Older runs
have none; of these the wall seconds of `benchmarks/*.tsv` are taken, which are the same for jobs of one
thread as long as nothing else runs. Snakemake's `cpu_time` misses what a job does after the last look at it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from pathlib import Path

from random_mask.artifacts.machine import machine
from random_mask.experiment.config import load
from random_mask.workflow.estimate import Estimate, calibrate, predict

FOLDERS = {"comparisons": "compare", "by_n": "scores_by_n", "oracle": "retrain", "original": "train_original"}
"""Folders of benchmarks whose name is not that of a stage; those of methods hold jobs of several."""


def stage_of(path: Path) -> str:
    """Return the stage of a benchmark, by its path in the folder of benchmarks."""
    name = path.stem.split("-")[0]
    if name in ("evaluate", "finetune", "measure", "perturb") and path.parent.name.startswith("original-"):
        return name
    return FOLDERS.get(path.parts[0], path.parts[0].removesuffix(".tsv"))


def spent(folder: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Return the jobs and the seconds of each stage of a finished run."""
    collected = folder / "provenance.json"
    if collected.exists():
        cost = json.loads(collected.read_text())["cost"]
        cost.pop("all")
        jobs = {stage: of["jobs"] for stage, of in cost.items()}
        return jobs, {stage: of["processor_seconds"] for stage, of in cost.items()}
    jobs, seconds = Counter(), Counter()
    for path in (folder / "benchmarks").rglob("*.tsv"):
        with path.open(newline="") as file:
            stage = stage_of(path.relative_to(folder / "benchmarks"))
            jobs[stage] += 1
            seconds[stage] += float(next(csv.DictReader(file, delimiter="\t"))["s"])
    return dict(jobs), dict(seconds)


def compare(found: Estimate, jobs: dict[str, int], seconds: dict[str, float]) -> list[str]:
    """Return a table of what was predicted and spent, with the ratio of both."""
    predicted = found.by_stage()
    lines = ["| stage | jobs | predicted | spent, s | predicted, s | ratio |", "|---|---|---|---|---|---|"]
    for stage in sorted(predicted.keys() | seconds.keys()):
        was, will = seconds.get(stage, 0.0), predicted.get(stage, 0.0)
        ratio = f"{will / was:.2f}" if was and will else ""
        counts = f"{jobs.get(stage, 0)} | {found.jobs.get(stage, 0)}"
        lines.append(f"| {stage} | {counts} | {was:.1f} | {will:.1f} | {ratio} |")
    was, will = sum(seconds.values()), found.core_seconds
    counts = f"{sum(jobs.values())} | {sum(found.jobs.values())}"
    return [*lines, f"| all | {counts} | {was:.1f} | {will:.1f} | {will / was:.2f} |"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of results of a finished run")
    parser.add_argument("--configfile", type=Path, required=True, help="that it was made with")
    parser.add_argument("--seconds", type=float, default=6, help="how long training is measured (default 6)")
    options = parser.parse_args(arguments)
    experiment = load(options.configfile)
    jobs, seconds = spent(options.folder)
    found = predict(experiment, calibrate(experiment, seconds=options.seconds), machine()["cores"])
    print("\n".join(compare(found, jobs, seconds)))


if __name__ == "__main__":
    main()
