"""What the stages that judge have in common: fleets as they are stored, evaluations as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import read_npz, read_text
from random_mask.artifacts.shards import read_fleet
from random_mask.data.splits import SPLITS, read_split
from random_mask.errors import InputError
from random_mask.metrics.competition import logit_scaled_confidence
from random_mask.metrics.intervals import Fleet

__all__ = ["FleetSettings", "Settings", "StoredFleet", "read_evaluation", "read_stored"]


class Settings(BaseModel):
    """What intervals depend on."""

    seed: int
    replicates: int


class FleetSettings(Settings):
    """What the evaluation of a fleet depends on."""

    models: int


@dataclass(frozen=True, eq=False)
class StoredFleet:
    """The models of a fleet, and what they were asked.

    Attributes:
        arrays: those of `random_mask.training.evaluation.summarise`, each with a leading models axis; of a
            condensed fleet (see `stages.condense`) with `confidences_<split>` in place of the logits.
        labels: of the images of each split, of which the logits of the first are stored.
        images: those images, where they are known.
    """

    arrays: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    images: dict[str, np.ndarray] = field(default_factory=dict)

    def confidences(self, split: str) -> np.ndarray:
        """Return the logit-scaled confidences [models, images] of those images of a split that are stored."""
        if f"confidences_{split}" in self.arrays:
            return self.arrays[f"confidences_{split}"]
        logits = self.arrays[f"logits_{split}"]
        # Model by model: in double precision all logits at once would need several times their memory.
        labels = self.labels[split][: logits.shape[1]]
        return np.stack([logit_scaled_confidence(of_model, labels) for of_model in logits])

    def accuracy(self, split: str) -> np.ndarray:
        """Return the accuracies [models] on the images of a split."""
        return self.arrays[f"accuracy_{split}"]

    def with_confidences(self, confidences: np.ndarray) -> Fleet:
        """Return the fleet as the metric takes it, with these confidences [models, images]."""
        return Fleet(confidences, self.accuracy("retain"), self.accuracy("test"))


def read_stored(shards: Sequence[Path], split_table: Path, *, models: int | None = None) -> StoredFleet:
    """Read the shards of a fleet, or a condensed one, and the images it was asked, of `split.csv`.

    If a number of `models` is given, there are so many: the first ones, or copies of the only one, the
    original model, which has forgotten nothing and stands for all runs.

    Raises:
        InputError: if a file is damaged, or the fleet was not judged on these images.
    """
    images, labels = read_split(read_text(split_table), str(split_table))
    arrays = read_fleet(shards)
    for name, array in arrays.items():
        if name.startswith(("logits_", "confidences_")) and not np.isfinite(array).all():
            first = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0]
            raise InputError(
                f"{shards[0].parent}: model {arrays['model'][first]} diverged while it was trained: its "
                "outputs are not finite; lower the learning_rate of its method"
            )
    if "confidences_forget" in arrays:
        asked = [("image", images), ("label", labels)]
        same = [np.array_equal(arrays.pop(f"{n}_{s}"), of[s]) for n, of in asked for s in SPLITS]
        if not all(same):
            raise InputError(
                f"{shards[0]}: not of the images in {split_table}; is the data set another version? Remove "
                "`oracle` from the configuration"
            )
    else:
        stored = {split: arrays[f"logits_{split}"].shape[1] for split in SPLITS}
        if stored["forget"] != len(labels["forget"]) or any(
            stored[split] > len(labels[split]) for split in SPLITS
        ):
            raise InputError(f"{shards[0]} and {split_table} differ in the images; delete both and run again")
    if models is not None:
        arrays = {n: np.repeat(a, models, axis=0) if len(a) == 1 else a[:models] for n, a in arrays.items()}
    return StoredFleet(arrays, labels, images)


def read_evaluation(path: Path) -> tuple[Fleet, Fleet]:
    """Read what `evaluate` wrote: the fleet that was judged, and the oracle."""
    arrays = read_npz(path)
    names = ("confidences", "retain_accuracy", "test_accuracy")
    judged, oracle = (Fleet(**{name: arrays[f"{who}{name}"] for name in names}) for who in ("", "oracle_"))
    return judged, oracle
