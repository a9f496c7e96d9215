"""Mean squared difference of the logits from the original model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["MatchLogits"]


class MatchLogits(Loss):
    """Mean squared difference of the logits from the original model's."""

    teachers = ("original",)

    name: Literal["match_logits"]
    """The loss."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        return (batch.logits - batch.original).square().mean(dim=(1, 2))
