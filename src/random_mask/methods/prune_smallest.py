"""Pruning: the smallest weights of all are drawn anew (Sebastian, 2023).

Source: `munl/unlearning/kgltop4.py` in github.com/xcadet/deepunlearn, commit 6830ff6.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from random_mask.methods.perturbation import Model, Perturbation, Weights, batch_norm_parameters, parameters
from random_mask.settings import Ratio

__all__ = ["PruneSmallest"]


class PruneSmallest(Perturbation):
    """The smallest of all weights are drawn anew, uniformly within one over the root of the fan-in."""

    title: ClassVar[str] = "Smallest weights anew"

    name: Literal["prune_smallest"]
    """The perturbation."""
    share: Ratio
    """Share of the weights and biases of convolutions and linear layers, over all of them together. Weights
    are drawn anew, biases are set to zero."""

    def __call__(self, model: Model) -> Weights:
        """Return the tensors of convolutions and linear layers."""
        norms = batch_norm_parameters(model.weights)
        names = [name for name in parameters(model.weights) if name not in norms]
        sizes = np.concatenate([np.abs(model.weights[name]).ravel() for name in names])
        count = round(self.share * sizes.size)
        threshold = np.partition(sizes, count - 1)[count - 1] if count else -1
        changed = {}
        for name in names:
            weight = model.weights[name]
            anew = _uniform(weight.shape, model.rng) if weight.ndim > 1 else np.zeros_like(weight)
            changed[name] = np.where(np.abs(weight) <= threshold, anew, weight)
        return changed


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw weights uniformly within one over the root of the fan-in."""
    return (2 * rng.random(shape, dtype=np.float32) - 1) / np.sqrt(np.prod(shape[1:]))
