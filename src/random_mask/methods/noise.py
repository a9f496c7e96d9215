"""Noise: normal noise is added to weights."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from random_mask.methods.perturbation import (
    Filter,
    Model,
    Perturbation,
    Tensors,
    Weights,
    parameters,
    selected,
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
    """Which tensors get noise, as for `random_mask`."""
    spare: Filter = "described"
    """Which of them do not, as for `random_mask`."""
    share: Ratio = 1.0
    """Probability that a weight gets noise."""
    tensors: Annotated[int, Field(ge=1)] | None = None
    """So many tensors are drawn for every model and step, or all."""
    noisy: Annotated[int, Field(ge=0)] | None = None
    """So many of these get noise, or all."""
    train: Literal["all", "drawn"] = "all"
    """What the repair trains: all weights, or the drawn tensors and what has `bn` in its name."""

    def __call__(self, model: Model) -> Weights:
        """Return the tensors with noise."""
        names = self._drawn(model)
        if self.noisy is not None:
            drawn = model.rng.choice(len(names), self.noisy, replace=False)
            names = [names[place] for place in sorted(drawn)]
        changed = {}
        for name in names:
            weight = model.weights[name]
            noise = self.sigma * model.rng.standard_normal(weight.shape, dtype=np.float32)
            hit = model.rng.random(weight.shape, dtype=np.float32) < self.share
            changed[name] = weight + noise * hit
        return changed

    def trainable(self, model: Model) -> Weights:
        """Return the tensors that are not trained, if only some are."""
        if self.train == "all":
            return {}
        trained = set(self._drawn(model))
        return {
            name: np.full(model.weights[name].shape, name in trained or "bn" in name)
            for name in parameters(model.weights)
        }

    def _drawn(self, model: Model) -> list[str]:
        names = selected(model.weights, self.spare, self.only, model.network)
        if self.tensors is None:
            return names
        drawn = model.generator(f"tensors/{model.step}").choice(len(names), self.tensors, replace=False)
        return [names[place] for place in sorted(drawn)]
