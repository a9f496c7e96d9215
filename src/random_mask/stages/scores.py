"""Collects the rows of all methods into one table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from random_mask.artifacts.files import read_text, write_text
from random_mask.artifacts.shards import read_speed, read_works
from random_mask.stages.command import Input, Output, Source, progress, run
from random_mask.training.cost import Speed, seconds

COLUMNS = [
    *("method", "original", "n_models"),
    *("forgetting_quality", "forgetting_quality_low", "forgetting_quality_high"),
    *("retain_accuracy", "forget_accuracy", "test_accuracy"),
    *("score", "score_low", "score_high", "seconds_per_model"),
]
NO_PAIR = ["a", "b", "original", "quantity", "difference", "low", "high"]
"""Columns of the comparisons, where nothing is compared."""


def main(
    *,
    rows: list[Input],
    costs: list[Input],
    speed: Source,
    differences: list[Input],
    sizes: list[Input],
    measured: list[Input],
    output: Output,
    comparisons: Output,
    by_n: Output,
    measures: Output,
) -> None:
    """Write `scores.csv`: one row per original model and method, in the order given.

    `seconds_per_model` is what unlearning one model costs on one core of the reference machine, counted; for
    `retrain`, what retraining it costs; for `original`, which is left as it is, 0. The rows of the
    comparisons, of the numbers of models and of the other measures are only put together.
    """
    reference = read_speed(speed)
    collected = [{**json.loads(read_text(row)), "seconds_per_model": 0.0} for row in rows]
    for row in collected:
        if row["method"] != "original":
            row["seconds_per_model"] = mean_seconds(costs, row["method"], row["original"], reference)
    table = pd.DataFrame(collected)[COLUMNS]
    write_text(output, table.to_csv(index=False, lineterminator="\n"))
    found = [row for path in measured for row in json.loads(read_text(path))]
    write_text(measures, pd.DataFrame(found).to_csv(index=False, lineterminator="\n"))
    for parts, path in ((differences, comparisons), (sizes, by_n)):
        joined = pd.concat([pd.read_csv(part) for part in parts] or [pd.DataFrame(columns=NO_PAIR)])
        write_text(path, joined.to_csv(index=False, lineterminator="\n"))
    for row in collected:
        progress(f"{row['method']:28} {row['score']:.4f} [{row['score_low']:.4f}, {row['score_high']:.4f}]")


def mean_seconds(costs: list[Path], method: str, original: int, speed: Speed) -> float:
    """Return the mean seconds a model over the shards of a fleet, at the speed of the reference machine."""
    role = ("retrain",) if method == "retrain" else (method, f"original-{original}")
    spent = [
        seconds(work, speed)
        for path in costs
        if path.parent.parts[-len(role) :] == role
        for work in read_works(path)
    ]
    return sum(spent) / len(spent)


if __name__ == "__main__":
    run(main)
