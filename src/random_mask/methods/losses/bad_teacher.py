"""Divergence from the original on retain, from an incompetent teacher on forget (arXiv 2205.08096)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import PairedLoss, Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["BadTeacher"]


class BadTeacher(PairedLoss):
    """Divergence from the original on retain, from an incompetent teacher on forget (arXiv 2205.08096)."""

    teachers = ("original", "incompetent")

    name: Literal["bad_teacher"]
    """The loss."""
    temperature: Temperature = 1.0
    """By which logits are divided."""

    def of_both(self, batch: Batch, paired: Batch) -> Tensor:
        """Return the loss of each model [models]."""
        competent = batch.divergence(batch.original, self.temperature)
        return competent + paired.divergence(paired.incompetent, self.temperature)
