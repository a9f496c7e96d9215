"""Judges a fleet against the oracle by the competition's score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import read_npz, read_text, write_npz, write_text
from random_mask.artifacts.shards import read_fleet, repeated
from random_mask.data.splits import read_split
from random_mask.errors import InputError
from random_mask.metrics.competition import epsilons, logit_scaled_confidence, points
from random_mask.metrics.intervals import Fleet, score_intervals
from random_mask.seeds import seed_of
from random_mask.stages.command import Input, Output, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    replicates: int
    models: int


def main(
    *,
    settings: Settings,
    method: str,
    original: int,
    unlearned: list[Input],
    oracle: list[Input],
    split_table: Input,
    row: Output,
    examples: Output,
) -> None:
    """Write the row of one method and original model, and what each forget example contributes to it."""
    images, classes = read_split(read_text(split_table), str(split_table))
    labels = classes["forget"]
    reference = read_fleet(oracle)
    fleet = read_fleet(unlearned)
    if method == "original":  # one model that has forgotten nothing stands for all of its runs
        fleet = repeated(fleet, settings.models)
    for path, arrays in ((oracle[0], reference), (unlearned[0], fleet)):
        if arrays["logits_forget"].shape[1] != len(labels):
            raise InputError(f"{path} and {split_table} differ in the forget set; delete both and run again")
    judged, retrained = as_fleet(fleet, labels), as_fleet(reference, labels)
    intervals = score_intervals(
        judged,
        retrained,
        # The retrained fleet is the same for every original model, and so is its interval.
        seed=seed_of(settings.seed, "intervals", 0 if method == "retrain" else original, method),
        replicates=settings.replicates,
    )
    result: dict[str, str | int | float] = {"method": method, "original": original, "n_models": len(judged)}
    for name in ("forgetting_quality", "score"):
        interval = intervals[name]
        result |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for part in ("retain", "forget", "test"):
        result[f"{part}_accuracy"] = float(fleet[f"accuracy_{part}"].mean())
    write_text(row, json.dumps(result, indent=2) + "\n")
    found = epsilons(judged.confidences, retrained.confidences)
    write_npz(
        examples,
        {
            "image": images["forget"],
            "label": labels,
            "confidences": judged.confidences,
            "oracle_confidences": retrained.confidences,
            "retain_accuracy": judged.retain_accuracy,
            "test_accuracy": judged.test_accuracy,
            "oracle_retain_accuracy": retrained.retain_accuracy,
            "oracle_test_accuracy": retrained.test_accuracy,
            "epsilons": found,
            "points": points(found, len(judged)),
            "history_loss": fleet["history_loss"],
            "history_accuracy": fleet["history_accuracy"],
        },
    )
    progress(f"{method}: score {result['score']:.4f}")


def read_evaluation(path: Path) -> tuple[Fleet, Fleet]:
    """Read an evaluation that this stage wrote: the fleet that was judged, and the oracle."""
    arrays = read_npz(path)
    names = ("confidences", "retain_accuracy", "test_accuracy")
    judged, oracle = (Fleet(**{name: arrays[f"{who}{name}"] for name in names}) for who in ("", "oracle_"))
    return judged, oracle


def as_fleet(fleet: dict[str, np.ndarray], labels: np.ndarray) -> Fleet:
    """Return what the metric needs of a fleet."""
    return Fleet(
        confidences=logit_scaled_confidence(fleet["logits_forget"], labels),
        retain_accuracy=fleet["accuracy_retain"],
        test_accuracy=fleet["accuracy_test"],
    )


if __name__ == "__main__":
    run(main)
