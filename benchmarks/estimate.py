"""Compare what `random-mask estimate` predicts with what a finished run has cost, rule by rule.

    python benchmarks/estimate.py results/digits --configfile config/digits.yaml

A run's cost is in its `provenance.json`, in processor seconds with everything that a job started.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from random_mask.artifacts.machine import machine
from random_mask.experiment.config import load
from random_mask.workflow.estimate import calibrate, planned, predict


def spent(folder: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Return the jobs and the seconds of each rule of a finished run."""
    cost = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["cost"]
    cost.pop("all")
    jobs = {rule: of["jobs"] for rule, of in cost.items()}
    return jobs, {rule: of["processor_seconds"] for rule, of in cost.items()}


def compare(
    will_run: dict[str, int], predicted: dict[str, float], ran: dict[str, int], spent: dict[str, float]
) -> list[str]:
    """Return a table of the jobs and seconds that were predicted and spent, with the ratio of both."""
    lines = ["| rule | jobs | predicted | spent, s | predicted, s | ratio |", "|---|---|---|---|---|---|"]
    for rule in sorted(predicted.keys() | spent.keys()):
        was, will = spent.get(rule, 0.0), predicted.get(rule, 0.0)
        ratio = f"{will / was:.2f}" if was and will else ""
        counts = f"{ran.get(rule, 0)} | {will_run.get(rule, 0)}"
        lines.append(f"| {rule} | {counts} | {was:.1f} | {will:.1f} | {ratio} |")
    was, will = sum(spent.values()), sum(predicted.values())
    counts = f"{sum(ran.values())} | {sum(will_run.values())}"
    return [*lines, f"| all | {counts} | {was:.1f} | {will:.1f} | {will / was:.2f} |"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of results of a finished run")
    parser.add_argument("--configfile", type=Path, required=True, help="that it was made with")
    parser.add_argument("--seconds", type=float, default=6, help="how long training is measured (default 6)")
    options = parser.parse_args(arguments)
    experiment, cores = load(options.configfile), int(machine()["cores"])
    rates, _ = calibrate(options.configfile, processes=cores, seconds=options.seconds)
    jobs = planned(experiment, options.configfile)
    predicted, wall = predict(jobs, rates, cores)
    print("\n".join(compare(Counter(job.rule for job in jobs), predicted, *spent(options.folder))))
    print(f"\nwall time: {wall:.0f} s on {cores} cores")


if __name__ == "__main__":
    main()
