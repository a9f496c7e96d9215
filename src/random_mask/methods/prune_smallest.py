"""Pruning: the smallest weights of all are drawn anew."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from random_mask.methods.perturbation import Model, Perturbation, Weights, parameters
from random_mask.settings import Ratio

__all__ = ["PruneSmallest"]


class PruneSmallest(Perturbation):
    """The smallest weights of all are drawn anew, uniformly within one over the root of the fan-in."""

    title: ClassVar[str] = "Smallest weights anew"

    name: Literal["prune_smallest"]
    """The perturbation."""
    share: Ratio
    """Share of the convolution and linear weights that is drawn anew."""

    def __call__(self, model: Model) -> Weights:
        """Return the kernels and matrices."""
        weights = {
            name: model.weights[name]
            for name in parameters(model.weights)
            if model.weights[name].ndim in (2, 4)
        }
        threshold = _threshold(
            np.concatenate([np.abs(array).ravel() for array in weights.values()]), self.share
        )
        return {
            name: np.where(np.abs(array) <= threshold, _uniform(array.shape, model.rng), array)
            for name, array in weights.items()
        }


def _threshold(sizes: np.ndarray, share: float) -> float:
    """Return the size up to which lies a share of them."""
    count = round(share * sizes.size)
    return float(np.partition(sizes, count - 1)[count - 1]) if count else -1.0


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw weights uniformly within one over the root of the fan-in."""
    return (2 * rng.random(shape, dtype=np.float32) - 1) / np.sqrt(np.prod(shape[1:]))
