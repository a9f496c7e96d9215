"""Mean cross entropy, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss
from random_mask.settings import Number

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["CrossEntropy"]


class CrossEntropy(Loss):
    """Mean cross entropy, in nats."""

    name: Literal["cross_entropy"]
    """The loss."""
    class_weight_exponent: Number = 0.0
    """Classes are weighted by 1 / count^this: 0, all alike; 1, by the inverse of their share of retain."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        return batch.cross_entropy(self.class_weight_exponent)
