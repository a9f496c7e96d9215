"""What each job of an experiment has to do, counted from the configuration.

Whoever says how long a job takes prices these counts: `resources` on a slow core, `estimate` on this machine.
A rule that is not named here does a little that is the same in every experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from random_mask.experiment.config import Experiment, Step
from random_mask.methods.random_mask import RandomMask
from random_mask.workflow.paths import Plan

__all__ = ["JobWork", "Workload", "models_of", "price"]

UNKNOWN = 0.1
"""The share of the training images that a forget set is taken for whose size is known once they are read."""
RETAIN_SAMPLE = 2000
"""Retain images whose logits are kept, as in `training.evaluation`, which takes seconds to import."""
ATTACK = 200_000
"""Margins that are counted while a cross-validated attack is fitted to a model."""
WEIGHTS = {"resnet18": 11_200_000, "vgg11_bn": 128_800_000}
"""About how many weights each of `training.networks` has; to ask one of them takes seconds."""
JOB_BYTES, REPORT_BYTES = 12_000, 200_000
"""Log, benchmark and records of a job, and what one writes that is not counted, such as figures or tables."""
REPORT_SECONDS = {"simulate": 4.0, "figures": 4.0, "paper": 3.0}
"""Seconds of a core that jobs take whatever the experiment is; all others take half a second."""


@dataclass(frozen=True)
class JobWork:
    """What a job does, in units that take about as long in any experiment with images of one size.

    Attributes:
        starts: how often Python is started.
        models: networks that are made, trained and written.
        images: images passed forward and backward through the cropped network.
        steps: steps of its optimiser.
        full_images: images passed forward and backward through the full network.
        evaluated: images passed forward only.
        masks: masks drawn.
        resampled: scores of one forget example, in one replicate.
        counted: margins counted by the other measures: models x images x replicates.
        read: images read from the data set.
        downloads: archives downloaded.
        report: seconds of a core for what does not depend on the experiment.
        written: bytes on disk, at most: images and logits are compressed.
    """

    starts: int = 1
    models: int = 0
    images: int = 0
    steps: int = 0
    full_images: int = 0
    evaluated: int = 0
    masks: int = 0
    resampled: int = 0
    counted: int = 0
    read: int = 0
    downloads: int = 0
    report: float = 0.0
    written: int = JOB_BYTES

    @property
    def trains(self) -> int:
        """One for a job that trains, which imports torch, and zero for others."""
        return int(self.models > 0)


def price(work: JobWork, rates: Mapping[str, float]) -> float:
    """Return the seconds that work takes, at so many for one of a unit, by the attributes of `JobWork`."""
    return sum(getattr(work, unit) * each for unit, each in rates.items())


class Workload:
    """Counts what the jobs of an experiment do.

    Attributes:
        sizes: number of images of each split, as far as it is known before they are read.
        kept: of how many images the logits are kept.
        classes: into how many classes they are told apart.
        pixels: bytes of all images that are used.
        model: bytes of the weights of a network.
    """

    def __init__(self, experiment: Experiment, unknown: float = UNKNOWN, classes: int | None = None):
        """Take a configuration, and the share of the training images for a forget set of unknown size.

        Classes are counted unless they are given.
        """
        self.experiment, self.methods = experiment, experiment.all_methods()
        self.retraining = [Step(finetune=[experiment.training])]
        self.classes = classes or Plan(experiment).classes
        data = experiment.data
        forget, others = data.forgotten or max(1, int(data.train * unknown)), data.validation + data.test
        self.sizes = {"retain": data.train - forget, "forget": forget}
        self.sizes |= {"validation": data.validation, "test": data.test}
        self.kept = min(self.sizes["retain"], RETAIN_SAMPLE) + forget + others
        self.model = 4 * WEIGHTS[experiment.network]
        self.pixels = (data.train + others) * 3 * data.image_size**2

    def of(self, rule: str, wildcards: Any) -> JobWork:
        """Return what a job of a rule does, with wildcards as attributes, as Snakemake gives them."""
        experiment, n, forget = self.experiment, self.experiment.models, self.sizes["forget"]
        interval, everything = forget * (1 + experiment.replicates), sum(self.sizes.values())
        match rule:
            case "train_original":
                sizes = {**self.sizes, "retain": experiment.data.train}
                fleet = self._fleet(self.retraining, range(1), sizes=sizes)
                return replace(fleet, written=fleet.written + self.model)
            case "retrain":
                return self._fleet(self.retraining, models_of(wildcards))
            case "unlearn":
                return self._fleet(self.methods[wildcards.method].steps(), models_of(wildcards))
            case "unlearn_own":  # what it does is not known: as much as retraining by the full network
                fleet = self._fleet(self.retraining, models_of(wildcards))
                return replace(fleet, images=0, full_images=fleet.images)
            case "relearn" if experiment.relearn:
                method, again = wildcards.role.partition("/")[0], experiment.relearn.finetune
                steps = self.methods[method].steps() if method in self.methods else self.retraining
                looks = (again.epochs + 1) * forget
                return self._fleet([*steps, Step(finetune=[again])], range(experiment.relearn.models), looks)
            case "mask":
                steps = self.methods[wildcards.method].steps()
                each = sum(step.cycles for step in steps if isinstance(step.perturb, RandomMask))
                masks = len(models_of(wildcards)) * each
                return JobWork(masks=masks, written=masks * self.model // 32 + JOB_BYTES)
            case "evaluate":
                return JobWork(resampled=interval, written=2 * n * forget * 8 + JOB_BYTES)
            case "compare":
                originals = min(experiment.originals_of(name) for name in (wildcards.a, wildcards.b))
                return JobWork(resampled=2 * interval * originals)
            case "scores_by_n":  # of 8, 16, ... models, as far as there are more
                smaller = max(0, (n - 1).bit_length() - 3)
                return JobWork(resampled=forget * experiment.replicates * smaller + interval)
            case "measure":
                return JobWork(counted=2 * n * (experiment.replicates * self.kept + ATTACK))
            case "download":
                return JobWork(downloads=1)
            case "prepare_data":
                return JobWork(read=everything, report=0.5, written=self.pixels + JOB_BYTES)
            case _:
                seconds = REPORT_SECONDS.get(rule, 0.5)
                return JobWork(read=everything, report=seconds, written=REPORT_BYTES + JOB_BYTES)

    def _fleet(
        self, steps: Sequence[Step], models: range, looks: int = 0, sizes: Mapping[str, int] | None = None
    ) -> JobWork:
        """Return the work of training models, each of which passes `looks` images forward besides.

        `sizes` are other numbers of images of each split than those that are to be retained and forgotten.
        """
        each = [step.work(sizes or self.sizes, model) for step in steps for model in models]
        images, moves = (sum(column) for column in zip(*each, strict=True))
        return JobWork(
            models=len(models),
            images=images,
            steps=moves,
            evaluated=len(models) * (sum(self.sizes.values()) + looks),
            written=self._logits(len(models)),
        )

    def _logits(self, models: int) -> int:
        """Return the bytes that are written of some models."""
        return models * self.kept * self.classes * 4 + JOB_BYTES


def models_of(wildcards: Any) -> range:
    """Return the indices of the models of a shard."""
    return range(int(wildcards.first), int(wildcards.last) + 1)
