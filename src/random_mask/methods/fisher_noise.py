"""Fisher forgetting (arXiv 1911.04933): noise where weights matter little to the retain set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from random_mask.methods.perturbation import Model, Perturbation, Weights, parameters
from random_mask.settings import Number

__all__ = ["FisherNoise"]


class FisherNoise(Perturbation):
    """Normal noise whose variance falls with what a weight matters to the retain set."""

    title: ClassVar[str] = "Fisher forgetting"

    name: Literal["fisher_noise"]
    """The perturbation."""
    alpha: Annotated[Number, Field(gt=0)]
    """The variance of the noise is alpha / Fisher information."""
    max_inverse_fisher: Annotated[Number, Field(gt=0)] = 1.0e3
    """The largest 1 / Fisher information: weights that matter to nothing would get boundless noise."""

    def __call__(self, model: Model) -> Weights:
        """Return all trainable tensors."""
        information = model.gradient(model.splits["retain"], squared=True)
        changed = {}
        for name in parameters(model.weights):
            weight = model.weights[name]
            deviation = np.sqrt(self.alpha / np.maximum(information[name], 1 / self.max_inverse_fisher))
            changed[name] = weight + deviation * model.rng.standard_normal(weight.shape, dtype=np.float32)
        return changed

    def gradient_examples(self, sizes: Mapping[str, int]) -> int:
        """Return all of retain."""
        return sizes["retain"]
