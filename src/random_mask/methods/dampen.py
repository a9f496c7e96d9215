"""Selective synaptic dampening (arXiv 2308.07707)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from random_mask.methods.perturbation import Model, Perturbation, Weights, parameters
from random_mask.settings import Number

__all__ = ["Dampen"]


class Dampen(Perturbation):
    """Weights that matter to the forget set far more than to all are made smaller."""

    title: ClassVar[str] = "SSD"

    name: Literal["dampen"]
    """The perturbation."""
    alpha: Annotated[Number, Field(gt=0)]
    """A weight is dampened whose information on forget exceeds alpha times that on all training images."""
    strength: Annotated[Number, Field(gt=0)]
    """The factor is strength times the ratio of both, at most one."""

    def __call__(self, model: Model) -> Weights:
        """Return all trainable tensors."""
        training = np.union1d(model.splits["retain"], model.splits["forget"])
        everything, forget = (
            model.gradient(indices, squared=True) for indices in (training, model.splits["forget"])
        )
        changed = {}
        for name in parameters(model.weights):
            dampened = forget[name] > self.alpha * everything[name]
            ratio = self.strength * everything[name] / np.where(dampened, forget[name], 1)
            changed[name] = np.where(
                dampened, model.weights[name] * np.minimum(ratio, 1), model.weights[name]
            )
        return changed

    def gradient_examples(self, sizes: Mapping[str, int]) -> int:
        """Return all training images, and forget once more."""
        return sizes["retain"] + 2 * sizes["forget"]
