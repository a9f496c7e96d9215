"""How a fleet's confidences lie beside those of retrained models: shifted, and more or less spread.

The score punishes both, and does not tell them apart. A fleet that is distributed as the retrained one has
shift 0 and spread 1. Shifts of single examples can cancel in their mean, not in the mean of their absolute
values, which chance alone keeps above 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from random_mask.metrics.intervals import CONFIDENCE, Interval

__all__ = ["Correction", "absolute_shift", "absolute_shift_difference", "corrected", "shift", "spread_ratio"]

SMALLEST = 1e-12
"""The standard deviation that stands for none."""

Confidences = np.ndarray
"""[models, examples]"""
Correction = Literal["none", "shift", "means", "spreads"]
"""What of a fleet's confidences is made that of retrained models."""


def shift(fleet: Confidences, oracle: Confidences) -> Interval:
    """Return how far a fleet's mean confidence lies above that of retrained models, with its 95 % interval.

    In standard deviations of the retrained models at each example, the mean over the examples. Its variance
    is that of the examples over their number, and the jackknife's over the models of each fleet, whom all
    examples share.

    Args:
        fleet: confidences [models, examples].
        oracle: those of retrained models at the same examples.
    """
    return _interval(_shifts, fleet, oracle)


def absolute_shift(fleet: Confidences, oracle: Confidences) -> Interval:
    """Return the mean over the examples of the absolute value of what `shift` takes the mean of."""
    return _interval(lambda own, retrained: np.abs(_shifts(own, retrained)), fleet, oracle)


def absolute_shift_difference(a: Confidences, b: Confidences, oracle: Confidences) -> Interval:
    """Return the `absolute_shift` of a fleet less that of another: below 0, its examples are nearer."""
    return _interval(
        lambda one, other, retrained: np.abs(_shifts(one, retrained)) - np.abs(_shifts(other, retrained)),
        *(a, b, oracle),
    )


def spread_ratio(a: Confidences, b: Confidences) -> Interval:
    """Return the ratio of the spreads of two fleets, with its 95 % interval.

    The spread of a fleet at an example is the standard deviation of its models' confidences; the ratio is the
    geometric mean over the examples. The variance of its logarithm is that of the examples' logarithms over
    their number, and the jackknife's over the models of each fleet, whom all examples share. A fleet that
    does not vary has the ratio 0.

    Args:
        a: confidences [models, examples].
        b: those of the other fleet at the same examples.
    """
    if not np.ptp(a, axis=0).any():
        return Interval(0.0, 0.0, 0.0)

    def ratios(one: Confidences, other: Confidences) -> np.ndarray:
        return np.log(np.maximum(_deviations(one), SMALLEST) / np.maximum(_deviations(other), SMALLEST))

    found = _interval(ratios, a, b)
    return Interval(*(float(np.exp(value)) for value in (found.estimate, found.low, found.high)))


def corrected(fleet: Confidences, oracle: Confidences, what: Correction) -> Confidences:
    """Return a fleet's confidences as they would be if something of them were that of retrained models.

    Args:
        fleet: confidences [models, examples].
        oracle: those of retrained models at the same examples.
        what: nothing (`none`); the `shift`, by moving all examples by as many standard deviations of the
            retrained models; the mean of every example; or the standard deviation of every example, where the
            fleet has any.
    """
    if what == "none":
        return fleet
    means, wanted = fleet.mean(axis=0), _deviations(oracle)
    if what == "shift":
        return fleet - _shifts(fleet, oracle).mean() * wanted
    if what == "means":
        return fleet - means + oracle.mean(axis=0)
    return means + (fleet - means) * wanted / np.maximum(_deviations(fleet), SMALLEST)


def _shifts(fleet: Confidences, oracle: Confidences) -> np.ndarray:
    """Return the shift of each example."""
    return (fleet.mean(axis=0) - oracle.mean(axis=0)) / np.maximum(_deviations(oracle), SMALLEST)


def _interval(statistic: Callable[..., np.ndarray], *fleets: Confidences) -> Interval:
    """Return the mean of a statistic of each example with its 95 % interval; see `shift`."""
    found = statistic(*fleets)
    variance = found.var(ddof=1) / len(found) if len(found) > 1 else 0.0
    variance += sum(_jackknife(statistic, fleets, place) for place in range(len(fleets)))
    half = _quantile(*fleets) * np.sqrt(variance)
    middle = float(found.mean())
    return Interval(middle, middle - float(half), middle + float(half))


def _deviations(fleet: Confidences) -> np.ndarray:
    return fleet.std(axis=0, ddof=1)


def _jackknife(statistic: Callable[..., np.ndarray], fleets: Sequence[Confidences], place: int) -> float:
    """Return the jackknife's variance of a mean, leaving out a model of one of the fleets at a time."""
    fleet = fleets[place]
    if len(fleet) < 3:  # of two, one is left, which has no deviation
        return 0.0
    left = [
        statistic(*fleets[:place], np.delete(fleet, model, axis=0), *fleets[place + 1 :]).mean()
        for model in range(len(fleet))
    ]
    return (len(fleet) - 1) * float(np.var(left))


def _quantile(*fleets: Confidences) -> float:
    return float(stdtrit(min(map(len, fleets)) - 1, (1 + CONFIDENCE) / 2))
