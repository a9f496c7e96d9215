"""What each job asks of a cluster: minutes and memory, estimated from the configuration.

The estimates are generous, since a job that exceeds them is killed. A job that was killed all the same
asks for as much again at every further attempt.
"""

from __future__ import annotations

import math
from typing import Any

from random_mask.data.settings import ARCHIVES, DATASET_SIZES
from random_mask.experiment.config import Experiment
from random_mask.training.networks import NETWORKS
from random_mask.workflow.work import WEIGHTS, Workload, models_of, price

__all__ = ["JobResources"]

SLOW = {
    "starts": 60.0,
    "images": 0.01,
    "steps": 0.05,
    "full_images": 0.02,
    "evaluated": 0.01,
    "read": 0.01,
    "masks": 2.0,
    "resampled": 0.002,
    "counted": 1e-6,
    "report": 60.0,
    "downloads": 900.0,
}
"""Seconds of a slow core, about a third as fast as one of 2021, for images of 32x32 and a ResNet-18; Python
starts over a slow network. `profiles/slurm` says where times on GPUs are given."""
BY_PIXELS = ("images", "full_images", "evaluated", "read")
"""What takes longer if images are larger, by their pixels."""
BY_WEIGHTS = ("images", "steps", "full_images", "evaluated", "masks")
"""What takes longer if the network is larger, at most by its weights."""

# Sizes in memory.
NUMPY_MB, TORCH_MB = 300, 1200
"""What a process takes before it does anything; with torch, on a GPU too."""
IMAGE_MB = 3 * 32 * 32 / 2**20
"""An image of 32x32; larger ones take more of everything, by their pixels."""
STACKED = 0.8
"""A cropped network and its copy in the stack of those that a GPU trains side by side, of a whole network."""
LOGIT_MB = 4 / 2**20
"""One logit of one image."""
ARCHIVE_MB = 400
"""The official archives of a data set, as they lie on the disk, and the library that knows their names."""
ACTIVATIONS_MB = 1
"""What a training step keeps of one image."""
EVALUATED_AT_ONCE = 500

FACTOR = 2
"""By which requests exceed the estimates."""

Wildcards = Any


class JobResources:
    """What the jobs of one experiment ask for, or those that belong to none, such as the paper's."""

    def __init__(self, experiment: Experiment | None):
        """Take a configuration."""
        self.experiment = experiment
        if experiment is None:
            return
        self.workload = Workload(experiment)
        # How many are forgotten may depend on the images; hardly more than half.
        self.largest = Workload(experiment, unknown=0.5, classes=self.workload.classes)
        self.area = (experiment.data.image_size / 32) ** 2
        larger = WEIGHTS[experiment.network] / WEIGHTS["resnet18"]
        self.rates = {
            unit: each * (self.area if unit in BY_PIXELS else 1) * (larger if unit in BY_WEIGHTS else 1)
            for unit, each in SLOW.items()
        }

    def minutes(self, rule: str, wildcards: Wildcards, attempt: int) -> int:
        """Return the run time of a job, in minutes."""
        return math.ceil(FACTOR * self.seconds(rule, wildcards) / 60) * attempt

    def memory(self, rule: str, wildcards: Wildcards, attempt: int) -> int:
        """Return the memory of a job, in MB."""
        return math.ceil(FACTOR * self._megabytes(rule, wildcards) / 500) * 500 * attempt

    def models(self, rule: str, wildcards: Wildcards) -> int:
        """Return how many models a job trains."""
        return self.workload.of(rule, wildcards).models if self.experiment else 0

    def seconds(self, rule: str, wildcards: Wildcards) -> float:
        """Return what a job takes of a slow core."""
        if self.experiment is None:
            return SLOW["downloads" if rule == "download" else "report"]
        return price(self.workload.of(rule, wildcards), self.rates)

    def _megabytes(self, rule: str, wildcards: Wildcards) -> float:
        if self.experiment is None:
            return TORCH_MB + ARCHIVE_MB if rule == "download" else NUMPY_MB
        experiment, data = self.experiment, self.experiment.data
        logits = self.largest.kept * self.largest.classes * LOGIT_MB
        # As it is read, and in the order in which it is used.
        pixels, network = 2 * self.largest.pixels / 2**20, self.workload.model / 2**20
        match rule:
            case "train_original" | "retrain" | "unlearn" | "unlearn_own" | "relearn":
                steps = [step for m in self.workload.methods.values() for step in m.steps()]
                recipes = [experiment.training, *(recipe for step in steps for recipe in step.finetune)]
                recipes += [experiment.relearn.finetune] if experiment.relearn else []
                batches = [r.batch + ((r.paired_batch or r.batch) if r.paired_with else 0) for r in recipes]
                at_once = max(EVALUATED_AT_ONCE, *batches)
                # Twice the weights, which are copied, then gradients and two moments of the optimiser.
                model = 5 * network + at_once * self.area * ACTIVATIONS_MB
                # Relearning keeps the weights of all its models.
                each = 2 * logits + (network if rule == "relearn" else 0)
                each += STACKED * network if NETWORKS[experiment.network].stackable else 0
                return TORCH_MB + pixels + model + self.models(rule, wildcards) * each
            case "mask":  # a byte a weight while masks are drawn
                return NUMPY_MB + network * (1 + len(models_of(wildcards)) / 4)
            case "evaluate" | "measure" | "condense":  # two fleets, joined from their shards
                return NUMPY_MB + 4 * experiment.models * logits
            case "prepare_data" if data.name in ARCHIVES:
                # All images as they come in the archive and in one array, whichever of them are used.
                images = sum(DATASET_SIZES[data.name].values())
                return TORCH_MB + ARCHIVE_MB + 2 * images * IMAGE_MB + pixels
            case _:
                return NUMPY_MB + pixels
