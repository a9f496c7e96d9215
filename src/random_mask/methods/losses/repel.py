"""Divergence from the original model with the sign reversed: on forget, SCRUB's steps upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss, Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Repel"]


class Repel(Loss):
    """Divergence from the original model with the sign reversed: on forget, SCRUB's steps upwards."""

    teachers = ("original",)

    name: Literal["repel"]
    """The loss."""
    temperature: Temperature = 1.0
    """By which logits are divided."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        return -batch.divergence(batch.original, self.temperature)
