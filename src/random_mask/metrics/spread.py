"""How a fleet's confidences lie beside those of retrained models: shifted, and more or less spread.

The score punishes both, and does not tell them apart. A fleet that is distributed as the retrained one has
shift 0 and spread 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from random_mask.metrics.intervals import CONFIDENCE, Interval

__all__ = ["shift", "spread_ratio"]

SMALLEST = 1e-12
"""The standard deviation that stands for none."""

Confidences = np.ndarray
"""[models, examples]"""


def shift(fleet: Confidences, oracle: Confidences) -> Interval:
    """Return how far a fleet's mean confidence lies above that of retrained models, with its 95 % interval.

    In standard deviations of the retrained models at each example, the mean over the examples. Its variance
    is that of the examples over their number, and the jackknife's over the models of each fleet, whom all
    examples share.

    Args:
        fleet: confidences [models, examples].
        oracle: those of retrained models at the same examples.
    """

    def shifts(own: Confidences, retrained: Confidences) -> np.ndarray:
        return (own.mean(axis=0) - retrained.mean(axis=0)) / np.maximum(_deviations(retrained), SMALLEST)

    found = shifts(fleet, oracle)
    variance = found.var(ddof=1) / len(found) if len(found) > 1 else 0.0
    variance += _jackknife(lambda rest: shifts(rest, oracle).mean(), fleet)
    variance += _jackknife(lambda rest: shifts(fleet, rest).mean(), oracle)
    half = _quantile(fleet, oracle) * np.sqrt(variance)
    middle = float(found.mean())
    return Interval(middle, middle - float(half), middle + float(half))


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

    def logarithms(fleet: Confidences) -> np.ndarray:
        return np.log(np.maximum(_deviations(fleet), SMALLEST))

    found = logarithms(a) - logarithms(b)
    variance = found.var(ddof=1) / len(found) if len(found) > 1 else 0.0
    variance += sum(_jackknife(lambda rest: logarithms(rest).mean(), fleet) for fleet in (a, b))
    half = _quantile(a, b) * np.sqrt(variance)
    middle = found.mean()
    return Interval(*(float(np.exp(value)) for value in (middle, middle - half, middle + half)))


def _deviations(fleet: Confidences) -> np.ndarray:
    return fleet.std(axis=0, ddof=1)


def _jackknife(statistic: Callable[[Confidences], float], fleet: Confidences) -> float:
    """Return the jackknife's variance of a statistic of a fleet, leaving out a model at a time."""
    if len(fleet) < 3:  # of two, one is left, which has no deviation
        return 0.0
    left = [statistic(np.delete(fleet, model, axis=0)) for model in range(len(fleet))]
    return (len(fleet) - 1) * float(np.var(left))


def _quantile(a: Confidences, b: Confidences) -> float:
    return float(stdtrit(min(len(a), len(b)) - 1, (1 + CONFIDENCE) / 2))
