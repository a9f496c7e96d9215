"""What each job asks of a cluster: minutes and memory, estimated from the configuration.

The estimates are generous, since a job that exceeds them is killed. A job that was killed all the same
asks for as much again at every further attempt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from random_mask.data.settings import ARCHIVES, DATASET_SIZES
from random_mask.experiment.config import Experiment
from random_mask.training.recipe import Recipe

__all__ = ["Needs"]

# Speeds of a slow core, about a third of what a core of 2021 reaches. `profiles/slurm` says where times on
# GPUs are given.
IMAGES_A_SECOND = 100
"""Images of 32x32 that a network without dead taps is trained on; the whole network takes twice as long."""
SECONDS_A_MASK = 2
SECONDS_A_REPLICATE = 0.002
"""For each example and fleet that is resampled."""
SECONDS_A_COUNT = 1e-6
"""For each replicate, image and model, to count a margin."""
SECONDS_A_FIT = 0.2
"""To fit a cross-validated attack to a model."""
START_SECONDS = 60
"""To start Python and read its modules over a slow network."""

# Sizes in memory.
NUMPY_MB, TORCH_MB = 300, 1200
"""What a process takes before it does anything; with torch, on a GPU too."""
IMAGE_MB = 3 * 32 * 32 / 2**20
"""An image of 32x32; larger ones take more of everything, by their pixels."""
MODEL_MB = 45
STACKED_MB = 35
"""A network without dead taps, and its copy in the stack of those that a GPU trains side by side."""
LOGIT_MB = 4 / 2**20
"""One logit of one image."""
ARCHIVE_MB = 400
"""The official archives of a data set, as they lie on the disk, and the library that knows their names."""
DOWNLOAD_SECONDS = 900
RETAIN_SAMPLE = 2000
"""Retain images whose logits are kept."""
ACTIVATIONS_MB = 1
"""What a training step keeps of one image."""
EVALUATED_AT_ONCE = 500

FACTOR = 2
"""By which requests exceed the estimates."""

Wildcards = Any
Request = Callable[[Wildcards, int], int]


@dataclass(frozen=True)
class Needs:
    """What the jobs of one experiment ask for."""

    experiment: Experiment

    def minutes(self, rule: str) -> Request:
        """Return the run time of a rule's jobs, in minutes, as a function of wildcards and attempt."""

        def request(wildcards: Wildcards, attempt: int) -> int:
            seconds = START_SECONDS + self.seconds(rule, wildcards)
            return math.ceil(FACTOR * seconds / 60) * attempt

        return request

    def memory(self, rule: str) -> Request:
        """Return the memory of a rule's jobs, in MB, as a function of wildcards and attempt."""

        def request(wildcards: Wildcards, attempt: int) -> int:
            return math.ceil(FACTOR * self._megabytes(rule, wildcards) / 500) * 500 * attempt

        return request

    def models(self, rule: str, wildcards: Wildcards) -> int:
        """Return how many models a job trains."""
        if rule == "train_original":
            return 1
        if rule == "relearn":
            return self.experiment.relearn.models
        return _models(wildcards) if rule in ("retrain", "unlearn") else 0

    def seconds(self, rule: str, wildcards: Wildcards) -> float:
        """Return what a job takes of a slow core, without starting Python."""
        data = self.experiment.data
        retain = data.train - data.forgotten
        resampled = self.experiment.replicates * (data.forgotten or data.train // 10) * SECONDS_A_REPLICATE
        match rule:
            case "train_original":
                return 2 * self._training_seconds(self.experiment.training, data.train)
            case "retrain":
                return _models(wildcards) * self._training_seconds(self.experiment.training, retain)
            case "unlearn":
                return _models(wildcards) * self._unlearning_seconds(wildcards.method)
            case "relearn":  # the model once more, then an epoch is as much training as evaluation
                relearning = self.experiment.relearn
                method = wildcards.role.partition("/")[0]
                trained = (
                    self._unlearning_seconds(method)
                    if method in self.experiment.all_methods()
                    else self._training_seconds(self.experiment.training, retain)
                )
                again = self._training_seconds(relearning.finetune, 2 * (data.forgotten or data.train // 10))
                return relearning.models * (trained + again)
            case "mask":
                return _models(wildcards) * SECONDS_A_MASK
            case "evaluate":
                return resampled
            case "measure":  # both fleets
                counted = self.experiment.replicates * self._kept * SECONDS_A_COUNT
                return 2 * self.experiment.models * (counted + SECONDS_A_FIT)
            case "compare":
                return 2 * resampled * self.experiment.originals
            case "scores_by_n":
                return resampled * math.log2(self.experiment.models)
            case "download":
                return DOWNLOAD_SECONDS
            case _:  # reading the data, tables, figures, the paper
                return 60 + self._images * self._area / IMAGES_A_SECOND

    def _unlearning_seconds(self, method: str) -> float:
        # Every step may also look at the images once to find the weights that matter.
        retain = self.experiment.data.train - self.experiment.data.forgotten
        return sum(
            step.cycles * self._training_seconds(recipe, 2 * retain)
            for step in self.experiment.all_methods()[method].steps()
            for recipe in step.finetune
        )

    def _training_seconds(self, recipe: Recipe, images: int) -> float:
        # One more pass over everything makes the logits that are kept.
        return (recipe.epochs * images + self._images) * self._area / IMAGES_A_SECOND

    def _megabytes(self, rule: str, wildcards: Wildcards) -> float:
        # As it is read, and in the order in which it is used.
        pixels = 2 * self._images * self._area * IMAGE_MB
        match rule:
            case "train_original" | "retrain" | "unlearn" | "relearn":
                steps = [step for m in self.experiment.methods.values() for step in m.steps()]
                batches = [recipe.batch for step in steps for recipe in step.finetune]
                at_once = max(EVALUATED_AT_ONCE, self.experiment.training.batch, *batches)
                # Twice the weights, which are copied, then gradients and two moments of the optimiser.
                model = 5 * MODEL_MB + at_once * self._area * ACTIVATIONS_MB
                each = STACKED_MB + 2 * self._kept * self._logits_mb
                if rule == "relearn":  # the weights of all its models
                    return TORCH_MB + pixels + model + self.experiment.relearn.models * (each + MODEL_MB)
                return (
                    TORCH_MB + pixels + model + (1 if rule == "train_original" else _models(wildcards)) * each
                )
            case "mask":  # a byte a weight while masks are drawn
                return NUMPY_MB + MODEL_MB * (1 + _models(wildcards) / 4)
            case "evaluate" | "measure":  # two fleets, joined from their shards
                return NUMPY_MB + 4 * self.experiment.models * self._kept * self._logits_mb
            case "download":
                return TORCH_MB + ARCHIVE_MB
            case "prepare_data" if self.experiment.data.name in ARCHIVES:
                # All images as they come in the archive and in one array, whichever of them are used.
                images = sum(DATASET_SIZES[self.experiment.data.name].values())
                return TORCH_MB + ARCHIVE_MB + 2 * images * IMAGE_MB + pixels
            case _:
                return NUMPY_MB + pixels

    @property
    def _images(self) -> int:
        data = self.experiment.data
        return data.train + data.validation + data.test

    @property
    def _kept(self) -> int:
        data = self.experiment.data
        # How many are forgotten may depend on the images; hardly more than half.
        retain = data.train - (data.forgotten or data.train // 2)
        return self._images - max(0, retain - RETAIN_SAMPLE)

    @property
    def _logits_mb(self) -> float:
        return self.experiment.data.classes * LOGIT_MB

    @property
    def _area(self) -> float:
        return (self.experiment.data.image_size / 32) ** 2


def _models(wildcards: Wildcards) -> int:
    """Return how many models a job makes."""
    return int(wildcards.last) - int(wildcards.first) + 1
