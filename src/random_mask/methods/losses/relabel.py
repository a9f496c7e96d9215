"""Cross entropy on retain and, with other labels, on forget, its pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from random_mask.methods.loss import Model, PairedLoss
from random_mask.settings import Number

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Relabel"]


class Relabel(PairedLoss):
    """Cross entropy on retain and, with other labels, on forget, its pair."""

    name: Literal["relabel"]
    """The loss."""
    with_labels: Literal["random", "second"]
    """Labels of forget images: a random other class, or the original's likeliest other class."""
    class_weight_exponent: Number = 0.0
    """Classes are weighted by 1 / count^this: 0, all alike; 1, by the inverse of their share of retain."""

    def of_both(self, batch: Batch, paired: Batch) -> Tensor:
        """Return the loss of each model [models]."""
        return batch.cross_entropy(self.class_weight_exponent) + paired.cross_entropy()

    def labels(self, model: Model) -> np.ndarray:
        """Return the true labels, but others for forget images."""
        forget, labels = model.splits["forget"], model.true_labels.copy()
        if self.with_labels == "random":
            shift = model.generator("labels").integers(1, model.classes, len(forget))
            labels[forget] = (labels[forget] + shift) % model.classes
        else:
            likely = model.original_logits()[forget].copy()
            likely[np.arange(len(forget)), labels[forget]] = -np.inf
            labels[forget] = likely.argmax(axis=1)
        return labels
