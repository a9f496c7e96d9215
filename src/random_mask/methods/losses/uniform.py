"""Divergence from outputs that say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Uniform"]


class Uniform(Loss):
    """Divergence from outputs that say nothing."""

    name: Literal["uniform"]
    """The loss."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        return batch.divergence(batch.logits.new_zeros(batch.logits.shape))
