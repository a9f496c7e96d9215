"""Cross entropy less that on forget, its pair (Kurmanji et al., arXiv 2302.09880)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import PairedLoss, Weight
from random_mask.settings import Number

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["NegGradPlus"]


class NegGradPlus(PairedLoss):
    """Cross entropy less that on forget, its pair (Kurmanji et al., arXiv 2302.09880)."""

    name: Literal["neg_grad_plus"]
    """The loss."""
    balance: Weight = 0.5
    """Weight of the first term; the second has the rest."""
    class_weight_exponent: Number = 0.0
    """Classes are weighted by 1 / count^this: 0, all alike; 1, by the inverse of their share of retain."""

    def of_both(self, batch: Batch, paired: Batch) -> Tensor:
        """Return the loss of each model [models]."""
        return (
            self.balance * batch.cross_entropy(self.class_weight_exponent)
            - (1 - self.balance) * paired.cross_entropy()
        )
