"""Divergence from the original model, and cross entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss, Temperature, Weight
from random_mask.settings import Number

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Distil"]


class Distil(Loss):
    """Divergence from the original model, and cross entropy."""

    teachers = ("original",)

    name: Literal["distil"]
    """The loss."""
    balance: Weight = 0.5
    """Weight of the first term; the second has the rest."""
    temperature: Temperature = 1.0
    """By which logits are divided."""
    rescale: bool = True
    """Whether the divergence is multiplied by the squared temperature: its gradient does not shrink then."""
    class_weight_exponent: Number = 0.0
    """Classes are weighted by 1 / count^this: 0, all alike; 1, by the inverse of their share of retain."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        taught = batch.divergence(batch.original, self.temperature, rescale=self.rescale)
        return self.balance * taught + (1 - self.balance) * batch.cross_entropy(self.class_weight_exponent)
