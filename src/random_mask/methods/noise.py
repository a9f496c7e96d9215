"""Noise: normal noise is added to weights."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from random_mask.methods.perturbation import (
    Model,
    Perturbation,
    Tensors,
    Weights,
    batch_norm_parameters,
    chosen,
)
from random_mask.settings import Number, Ratio

__all__ = ["Noise"]


class Noise(Perturbation):
    """Normal noise is added to weights."""

    title: ClassVar[str] = "Noise"

    name: Literal["noise"]
    """The perturbation."""
    sigma: Annotated[Number, Field(ge=0)]
    """Standard deviation of the noise."""
    only: Tensors = "convolutions"
    """Which tensors get noise, as for `random_mask`; never those of a batch norm."""
    share: Ratio = 1.0
    """Probability that a weight gets noise."""
    tensors: Annotated[int, Field(ge=1)] | None = None
    """So many tensors are drawn for every model, or all."""

    def __call__(self, model: Model) -> Weights:
        """Return the tensors with noise."""
        spared = batch_norm_parameters(model.weights)
        names = [name for name in chosen(model.weights, self.only, model.network) if name not in spared]
        if self.tensors is not None:
            drawn = model.rng.choice(len(names), self.tensors, replace=False)
            names = [names[place] for place in sorted(drawn)]
        changed = {}
        for name in names:
            weight = model.weights[name]
            noise = self.sigma * model.rng.standard_normal(weight.shape, dtype=np.float32)
            hit = model.rng.random(weight.shape, dtype=np.float32) < self.share
            changed[name] = weight + noise * hit
        return changed
