"""Cross entropy, and mean squared difference of the output entropies from the original model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from random_mask.methods.loss import Loss
from random_mask.settings import Number

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["MatchEntropy"]


class MatchEntropy(Loss):
    """Cross entropy, and mean squared difference of the output entropies from the original model's."""

    teachers = ("original",)

    name: Literal["match_entropy"]
    """The loss."""
    class_weight_exponent: Number = 0.0
    """Classes are weighted by 1 / count^this: 0, all alike; 1, by the inverse of their share of retain."""

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        difference = entropies(batch.logits) - entropies(batch.original)
        return batch.cross_entropy(self.class_weight_exponent) + difference.square().mean(dim=1)


def entropies(logits: Tensor) -> Tensor:
    """Return the entropy of each output, in nats [models, batch]."""
    logs = logits.log_softmax(dim=2)
    return -(logs.exp() * logs).sum(dim=2)
