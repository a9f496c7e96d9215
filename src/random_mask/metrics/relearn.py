"""Relearn time: how soon a model knows the forget set again, once it may learn from it.

Every model is fitted to the forget set alone. Its relearn time is the number of epochs until its mean loss
there has come down to that of the original model, which never forgot. A retrained model takes its time as
well; one that takes less than retrained models has kept something.

Source: after the relearn time of Golatkar et al., arXiv 1911.04933, who fit models to all training data until
the loss of the original model. The anamnesis index of Chundawat et al., arXiv 2205.08096, is a ratio of such
times, to a share of the original's accuracy; this is a difference, since a time can be zero.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from random_mask.metrics.intervals import Interval, interval_of_difference, interval_of_mean

__all__ = ["epochs", "intervals"]


def epochs(losses: np.ndarray, target: float) -> np.ndarray:
    """Return [models]: the epochs until the loss is down to `target`.

    Within an epoch the logarithm of the loss is taken to fall evenly. Of a model that does not get there, as
    of one whose loss is no number, it is infinite.

    Args:
        losses: [models, epochs + 1], positive: before the first epoch and after each.
        target: the loss of the original model, positive.
    """
    there = losses <= target
    after = there.argmax(axis=1)
    rows, before = np.arange(len(losses)), np.maximum(after - 1, 0)
    start, end = np.log(losses[rows, before]), np.log(losses[rows, after])
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (start - np.log(target)) / (start - end)
    # A model can be there from the start.
    return np.where(there.any(axis=1), np.where(after > 0, before + part, 0), np.inf)


def intervals(of_unlearned: np.ndarray, of_retrained: np.ndarray, *, max_epochs: int) -> dict[str, Interval]:
    """Return "relearn_epochs", the mean over unlearned models, and "relearn_gap", less retrained ones.

    A model that did not get there counts with all epochs, a lower bound of its time. So where there is one,
    the end of the interval that it could move is infinite, and where no model of either fleet got there,
    nothing is known of the gap: it is NaN.

    Args:
        of_unlearned: [models], from `epochs`.
        of_retrained: [models], to the same target.
        max_epochs: the epochs that they had.
    """
    times = interval_of_mean(np.minimum(of_unlearned, max_epochs))
    gap = interval_of_difference(np.minimum(of_unlearned, max_epochs), np.minimum(of_retrained, max_epochs))
    slow, slow_retrained = np.isinf(of_unlearned), np.isinf(of_retrained)
    if slow.any():
        times, gap = replace(times, high=np.inf), replace(gap, high=np.inf)
    if slow_retrained.any():
        gap = replace(gap, low=-np.inf)
    if slow.all() and slow_retrained.all():
        gap = replace(gap, estimate=np.nan)
    return {"relearn_epochs": times, "relearn_gap": gap}
