"""Judges a fleet against the oracle by measures other than the competition's score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import read_npz, read_text, write_text
from random_mask.artifacts.shards import read_fleet, repeated
from random_mask.data.splits import PARTS, read_split
from random_mask.errors import InputError
from random_mask.metrics import gaps, klom, mia, relearn, rmia, ulira
from random_mask.metrics.competition import logit_scaled_confidence
from random_mask.metrics.intervals import Fleet, Interval
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
    relearned: list[Input],
    start: list[Input],
    output: Output,
) -> None:
    """Write a row for each measure of one method and original model: value, low and high.

    If models were made to relearn, `relearned` are the losses of this fleet, unless it is the original model,
    and of the oracle; `start` is then the fleet of the original model.
    """
    _, labels = read_split(read_text(split_table), str(split_table))
    reference, fleet = read_fleet(oracle), read_fleet(unlearned)
    if method == "original":  # one model that has forgotten nothing stands for all of its runs
        fleet = repeated(fleet, settings.models)
    for path, arrays in ((oracle[0], reference), (unlearned[0], fleet)):
        if any(len(labels[part]) < arrays[f"logits_{part}"].shape[1] for part in PARTS):
            raise InputError(f"{path} and {split_table} differ in the images; delete both and run again")
    # The retrained fleet is the same for every original model, and so are its measures, but for relearn time.
    seed = seed_of(settings.seed, "measures", 0 if method == "retrain" else original, method)
    found = measures_of(fleet, reference, labels, seed=seed, replicates=settings.replicates)
    if relearned:
        found |= relearn_times(relearned, start[0], labels["forget"])
    rows = [
        {"method": method, "original": original, "measure": name} | known(of) for name, of in found.items()
    ]
    write_text(output, json.dumps(rows, indent=2) + "\n")
    progress(f"{method}: {len(rows)} measures")


def measures_of(
    fleet: dict[str, np.ndarray],
    oracle: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    *,
    seed: int,
    replicates: int,
) -> dict[str, Interval]:
    """Return all measures of a fleet, by name.

    Args:
        fleet: as `random_mask.training.loop.summarise` keeps it.
        oracle: the retrained fleet, likewise.
        labels: of the images of each part.
        seed: of the resampling.
        replicates: subsets of the models behind an interval.
    """
    judged, retrained = confidences(fleet, labels), confidences(oracle, labels)
    resampling = {"seed": seed, "replicates": replicates}
    pairs = {part: (as_fleet(judged, fleet, part), as_fleet(retrained, oracle, part)) for part in judged}
    found = ulira.intervals(*pairs["forget"], **resampling)
    for part in ("forget", "retain", "test"):
        found |= klom.intervals(*pairs[part], part=part, **resampling)
    found |= mia.intervals(*(mia.accuracies(of["forget"], of["test"]) for of in (judged, retrained)))
    attacked = ("forget", "test", "validation")
    judged, retrained = ({part: of[part] for part in attacked} for of in (judged, retrained))
    found |= rmia.intervals(rmia.areas(judged, retrained), rmia.areas_of_references(retrained))
    accuracies = [{part: of[f"accuracy_{part}"] for part in gaps.PARTS} for of in (fleet, oracle)]
    return found | gaps.intervals(*accuracies)


def relearn_times(relearned: Sequence[Path], start: Path, labels: np.ndarray) -> dict[str, Interval]:
    """Return the relearn time of a fleet and its gap, by name; see `main` for the files."""
    reached = logit_scaled_confidence(read_npz(start)["logits_forget"][0], labels)
    target = float(np.logaddexp(0, -reached).mean())
    losses = [read_npz(path)["loss"] for path in relearned]
    *own, retrained = (relearn.epochs(of_fleet, target) for of_fleet in losses)
    most = losses[-1].shape[1] - 1
    return relearn.intervals(own[0] if own else np.zeros_like(retrained), retrained, most=most)


def confidences(fleet: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the confidences [models, images] of the images of each part whose logits are kept."""
    found = {}
    for part in PARTS:
        logits = fleet[f"logits_{part}"]
        # Model by model: in double precision all logits at once would need several times their memory.
        kept = labels[part][: logits.shape[1]]
        found[part] = np.stack([logit_scaled_confidence(of_model, kept) for of_model in logits])
    return found


def as_fleet(confidences: dict[str, np.ndarray], fleet: dict[str, np.ndarray], part: str) -> Fleet:
    """Return a fleet as the intervals take it, with the confidences of one part."""
    return Fleet(confidences[part], fleet["accuracy_retain"], fleet["accuracy_test"])


def known(interval: Interval) -> dict[str, float | None]:
    """Return value, low and high, None where there is none."""
    value, low, high = asdict(interval).values()
    numbers = {"value": value, "low": low, "high": high}
    return {name: number if isfinite(number) else None for name, number in numbers.items()}


if __name__ == "__main__":
    run(main)
