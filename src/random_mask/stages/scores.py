"""Collects the rows of all methods into one table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from random_mask.errors import InputError
from random_mask.files import write_text
from random_mask.stages.command import progress, run

COLUMNS = [
    "method",
    "original",
    "n_models",
    "forgetting_quality",
    "forgetting_quality_low",
    "forgetting_quality_high",
    "retain_accuracy",
    "forget_accuracy",
    "test_accuracy",
    "score",
    "score_low",
    "score_high",
    "seconds_per_model",
]


def main(
    *,
    rows: list[Path],
    costs: list[Path],
    differences: list[Path],
    sizes: list[Path],
    output: Path,
    comparisons: Path,
    by_n: Path,
) -> None:
    """Write `scores.csv`: one row per original model and method, in the order given.

    `seconds_per_model` is the mean time that unlearning one model took; for `retrain`, retraining it; for
    `original`, which is left as it is, 0. The rows of the comparisons and of the numbers of models are only
    put together.
    """
    collected = [{**read_json(row), "seconds_per_model": 0.0} for row in rows]
    for row in collected:
        if row["method"] != "original":
            row["seconds_per_model"] = mean_seconds(costs, row["method"], row["original"])
    table = pd.DataFrame(collected)[COLUMNS]
    write_text(output, table.to_csv(index=False, lineterminator="\n"))
    for parts, path in ((differences, comparisons), (sizes, by_n)):
        joined = pd.concat([pd.read_csv(part) for part in parts])
        write_text(path, joined.to_csv(index=False, lineterminator="\n"))
    for row in collected:
        progress(f"{row['method']:28} {row['score']:.4f} [{row['score_low']:.4f}, {row['score_high']:.4f}]")


def mean_seconds(costs: list[Path], method: str, original: int) -> float:
    """Return the mean seconds a model over the shards of a fleet."""
    role = ("retrain",) if method == "retrain" else (method, f"original-{original}")
    seconds = [
        spent
        for path in costs
        if path.parent.parts[-len(role) :] == role
        for spent in read_json(path)["seconds_per_model"]
    ]
    return sum(seconds) / len(seconds)


def read_json(path: Path) -> dict:
    """Read a JSON file.

    Raises:
        InputError: if it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: damaged ({error}); delete it and run snakemake again to re-make it"
        ) from None


if __name__ == "__main__":
    run(main)
