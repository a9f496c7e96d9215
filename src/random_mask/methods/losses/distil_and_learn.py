"""Cross entropy, cross entropy with the original model's outputs as labels, and their divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss, Temperature
from random_mask.settings import Number

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["DistilAndLearn"]


class DistilAndLearn(Loss):
    """Cross entropy, cross entropy with the original model's outputs as labels, and their divergence."""

    teachers = ("original",)

    name: Literal["distil_and_learn"]
    """The loss."""
    temperature: Temperature = 1.0
    """By which logits are divided in the second and third term."""
    rescale: bool = True
    """Whether the divergence is multiplied by the squared temperature: its gradient does not shrink then."""
    class_weight_exponent: Number = 0.0
    """Classes are weighted by 1 / count^this: 0, all alike; 1, by the inverse of their share of retain."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        labels = (batch.original / self.temperature).softmax(dim=2)
        soft = -(labels * (batch.logits / self.temperature).log_softmax(dim=2)).sum(dim=2).mean(dim=1)
        taught = batch.divergence(batch.original, self.temperature, rescale=self.rescale)
        return batch.cross_entropy(self.class_weight_exponent) + soft + taught
