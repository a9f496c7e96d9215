"""Objectives: losses over the logits of several models at once.

Every objective has a leading models axis, and the loss of a model depends on its own logits only.
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["OBJECTIVES", "cross_entropy"]


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of each model, in nats.

    Args:
        logits: [models, batch, classes].
        labels: int64 [models, batch].

    Returns:
        [models].
    """
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(dim=1)


OBJECTIVES = {"cross_entropy": cross_entropy}
"""The objectives that a recipe can name."""
