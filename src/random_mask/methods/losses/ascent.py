"""Cross entropy with the sign reversed: on forget, NegGrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Ascent"]


class Ascent(Loss):
    """Cross entropy with the sign reversed: on forget, NegGrad."""

    name: Literal["ascent"]
    """The loss."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        return -batch.cross_entropy()
