"""Log softmax of the products of forget logits with retain logits: forget images become unlike any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import PairedLoss, Temperature

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Contrast"]


class Contrast(PairedLoss):
    """Log softmax of the products of forget logits with retain logits: forget images become unlike any."""

    name: Literal["contrast"]
    """The loss."""
    temperature: Temperature = 1.0
    """By which logits are divided."""

    def of_both(self, batch: Batch, paired: Batch) -> Tensor:
        """Return the loss of each model [models]."""
        products = (paired.logits @ batch.logits.transpose(1, 2)) / self.temperature
        return -products.log_softmax(dim=2).mean(dim=(1, 2))
