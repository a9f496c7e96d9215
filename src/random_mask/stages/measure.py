"""Judges a fleet against the oracle by measures other than the competition's score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from random_mask.artifacts.files import read_npz, write_text
from random_mask.data.splits import SPLITS
from random_mask.metrics import gaps, klom, mia, relearn, rmia, ulira
from random_mask.metrics.intervals import Interval
from random_mask.seeds import seed_of
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.judging import FleetSettings, StoredFleet, read_stored


def main(
    *,
    settings: FleetSettings,
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
    oracle_fleet = read_stored(oracle, split_table, models=settings.models)
    fleet = read_stored(unlearned, split_table, models=settings.models)
    # The retrained fleet is the same for every original model, and so are its measures, but for relearn time.
    seed = seed_of(settings.seed, "measures", 0 if method == "retrain" else original, method)
    found = measures_of(fleet, oracle_fleet, seed=seed, replicates=settings.replicates)
    if relearned:
        found |= relearn_times(relearned, read_stored(start, split_table))
    row = {"method": method, "original": original}
    rows = [row | {"measure": name} | known(of) for name, of in found.items()]
    write_text(output, json.dumps(rows, indent=2) + "\n")
    progress(f"{method}: {len(rows)} measures")


def measures_of(
    fleet: StoredFleet, oracle: StoredFleet, *, seed: int, replicates: int
) -> dict[str, Interval]:
    """Return all measures of a fleet against the retrained one, by name; the seed is of the resampling."""
    judged, retrained = ({split: one.confidences(split) for split in SPLITS} for one in (fleet, oracle))
    resampling: dict[str, Any] = {"seed": seed, "replicates": replicates}
    pairs = {
        split: (fleet.with_confidences(judged[split]), oracle.with_confidences(retrained[split]))
        for split in SPLITS
    }
    found = ulira.intervals(*pairs["forget"], **resampling)
    for split in ("forget", "retain", "test"):
        found |= klom.intervals(*pairs[split], split=split, **resampling)
    found |= mia.intervals(*(mia.accuracies(of["forget"], of["test"]) for of in (judged, retrained)))
    attacked = ("forget", "test", "validation")
    judged, retrained = ({split: of[split] for split in attacked} for of in (judged, retrained))
    found |= rmia.intervals(rmia.areas(judged, retrained), rmia.areas_of_references(retrained))
    accuracies = [{split: one.accuracy(split) for split in gaps.SPLITS} for one in (fleet, oracle)]
    return found | gaps.intervals(*accuracies)


def relearn_times(relearned: Sequence[Path], start: StoredFleet) -> dict[str, Interval]:
    """Return the relearn time of a fleet and its gap, by name; see `main` for the arguments."""
    target = float(np.logaddexp(0, -start.confidences("forget")[0]).mean())
    losses = [read_npz(path)["loss"] for path in relearned]
    *own, retrained = (relearn.epochs(of_fleet, target) for of_fleet in losses)
    unlearned = own[0] if own else np.zeros_like(retrained)
    return relearn.intervals(unlearned, retrained, max_epochs=losses[-1].shape[1] - 1)


def known(interval: Interval) -> dict[str, float | None]:
    """Return value, low and high, None where there is none."""
    numbers = zip(("value", "low", "high"), astuple(interval), strict=True)
    return {name: number if isfinite(number) else None for name, number in numbers}


if __name__ == "__main__":
    run(main)
