"""What training a model costs, counted rather than timed.

A clock gives another number in every run, and so would every table that shows it. The work of training is
counted instead, and priced at the speed of one core of a reference machine, which
`benchmarks/speed.py` measures. The times of a run itself are in its provenance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from random_mask.settings import Recipe, Step

__all__ = ["Speed", "Work", "looked_at", "passes", "seconds", "work_of"]

BACKWARD = 2
"""A backward pass computes two products, by weights and by inputs, for one of the forward pass."""


@dataclass(frozen=True)
class Work:
    """The work of fitting one model.

    Attributes:
        images: images passed forward and backward, each as often as it was.
        steps: steps of the optimiser.
        flops: floating-point operations of one image's forward pass.
        weights: trained weights, all of which a step moves.
    """

    images: int
    steps: int
    flops: int
    weights: int

    def as_dict(self) -> dict[str, int]:
        """Return the attributes by name."""
        return asdict(self)


@dataclass(frozen=True)
class Speed:
    """The speed of one core.

    Attributes:
        flops_per_second: of forward and backward passes while training.
        weights_per_second: weights that an optimiser's steps move.
    """

    flops_per_second: float
    weights_per_second: float


def seconds(work: Work, speed: Speed) -> float:
    """Return the seconds that one core of this speed spends on this work."""
    passes = work.images * work.flops * (1 + BACKWARD) / speed.flops_per_second
    return passes + work.steps * work.weights / speed.weights_per_second


def work_of(sizes: Mapping[str, int], recipe: Recipe) -> tuple[int, int]:
    """Return how many images a recipe passes forward and backward, and how many steps it takes.

    Args:
        sizes: number of images of each part.
        recipe: how a network is trained.
    """
    passed = sizes[recipe.passed_over]
    steps = math.ceil(passed / recipe.batch) * recipe.epochs
    beside = min(recipe.batch, sizes["forget"]) if recipe.images == "both" else 0
    salient = sizes["forget"] if recipe.salient else 0
    return passed * recipe.epochs + beside * steps + salient, steps


def passes(steps: Sequence[Step], sizes: Mapping[str, int], model: int) -> tuple[int, int, int]:
    """Return what the steps of unlearning, or of retraining, cost one model.

    Args:
        steps: of which a model takes those that are for its index.
        sizes: number of images of each part.
        model: index of the model in its fleet.

    Returns:
        Images passed forward and backward in fine-tuning, images of which perturbations take the gradient (of
        the full network), and steps of the optimiser.
    """
    images = gradients = taken = 0
    for step in steps:
        if step.models in ("all", ("even", "odd")[model % 2]):
            gradients += step.cycles * looked_at(step, sizes)
            for recipe in step.finetune:
                passed, moves = work_of(sizes, recipe)
                images, taken = images + step.cycles * passed, taken + step.cycles * moves
    return images, gradients, taken


def looked_at(step: Step, sizes: Mapping[str, int]) -> int:
    """Return of how many images a step's perturbation takes the gradient, of the whole network."""
    retain, forget = sizes["retain"], sizes["forget"]
    counts = {"smallest_gradient": retain + forget, "fisher_noise": retain, "dampen": retain + 2 * forget}
    return counts.get(step.perturb.name, 0)
