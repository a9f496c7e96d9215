"""The perturbing half of unlearning: what a step does to weights before they are fine-tuned."""

from __future__ import annotations

import numpy as np

from random_mask.methods.perturb import apply_masks, perturbed
from random_mask.settings import RandomMask, Step
from random_mask.training.fleet import Run, Weights, suffix

__all__ = ["perturb"]


def perturb(run: Run, step: Step, place: int) -> Weights:
    """Return the weights of a model after the perturbation of a step.

    Args:
        run: the model, with the weights that the step before left.
        step: the step.
        place: the step's place among the steps of the method.
    """
    section = step.perturb
    if not isinstance(section, RandomMask):
        return perturbed(run.weights, section, run.fleet.rng(run.index, f"perturb{suffix(place)}"), run)
    masks = run.fleet.masks(run.index, place)
    kept = np.mean([mask.mean() for mask in masks.values()]) if section.rescale and masks else 1.0
    return apply_masks(
        run.weights,
        masks,
        fill=run.initial() if section.fill == "initial" else None,
        rescale=1 / max(float(kept), 1e-6),
    )
