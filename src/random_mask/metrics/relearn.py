"""Relearn time: how soon a model knows the forget set again, once it may learn from it.

Every model is fitted to the forget set alone. Its relearn time is the number of epochs until its mean loss
there has come down to that of the original model, which never forgot. A retrained model takes its time as
well; one that takes less than retrained models has kept something.

Source: the relearn time of Golatkar et al., arXiv 1911.04933, there until the loss of the original model.
"""

from __future__ import annotations

import numpy as np

from random_mask.metrics.intervals import Interval, interval_of_difference, interval_of_mean

__all__ = ["epochs", "intervals"]


def epochs(losses: np.ndarray, target: float) -> np.ndarray:
    """Return [models]: the epochs until the loss is down to `target`.

    Within an epoch the logarithm of the loss is taken to fall evenly. A model that does not get there counts
    with all epochs: a lower bound.

    Args:
        losses: [models, epochs + 1], positive: before the first epoch and after each.
        target: the loss of the original model, positive.
    """
    last = losses.shape[1] - 1
    there = losses <= target
    after = np.where(there.any(axis=1), there.argmax(axis=1), last)
    rows, before = np.arange(len(losses)), np.maximum(after - 1, 0)
    start, end = np.log(losses[rows, before]), np.log(losses[rows, after])
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (start - np.log(target)) / (start - end)
    # Of models that are there from the start, and of those that do not get there, no part of an epoch counts.
    within = there.any(axis=1) & (after > 0)
    return np.where(within, before + part, after)


def intervals(of_unlearned: np.ndarray, of_retrained: np.ndarray) -> dict[str, Interval]:
    """Return "relearn_epochs", the mean over unlearned models, and "relearn_gap", less retrained ones.

    Args:
        of_unlearned: [models], from `epochs`.
        of_retrained: [models], to the same target.
    """
    return {
        "relearn_epochs": interval_of_mean(of_unlearned),
        "relearn_gap": interval_of_difference(of_unlearned, of_retrained),
    }
