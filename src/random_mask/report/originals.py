"""Estimates over several original models, and what they allow to say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from random_mask.metrics.intervals import Interval, interval_of_mean

__all__ = [
    "NOT_SUPPORTED",
    "NOT_TESTABLE",
    "OPPOSITE",
    "SUPPORTED",
    "differences",
    "over_originals",
    "pooled",
    "pooled_by",
    "rows_of",
    "verdict",
]

SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable"
"""Verdicts on a claim."""
OPPOSITE = "the opposite is supported"
"""What is said of a claim that is not supported where the interval shows that its opposite holds."""


def pooled(intervals: Sequence[Interval]) -> Interval:
    """Return the mean of a quantity over original models, with its 95 % interval.

    The intervals of single originals share the retrained models and the forget examples, so their uncertainty
    does not average out: the mean square of their half widths is taken whole. The spread of the originals'
    estimates adds the square of the half width of Student's interval of their mean. A single original has no
    such spread; its interval is returned as it is, and does not contain the chance of having trained it.
    """
    if len(intervals) == 1:
        return intervals[0]
    mean = interval_of_mean(np.array([interval.estimate for interval in intervals]))
    between = mean.high - mean.estimate
    below = np.mean([(i.estimate - i.low) ** 2 for i in intervals]) + between**2
    above = np.mean([(i.high - i.estimate) ** 2 for i in intervals]) + between**2
    return Interval(mean.estimate, mean.estimate - math.sqrt(below), mean.estimate + math.sqrt(above))


def pooled_by(
    table: pd.DataFrame, by: str | list[str], estimate: str, low: str = "low", high: str = "high"
) -> dict[Any, Interval]:
    """Return the pooled quantity of three columns of a table, for each value of `by`, in their order."""
    return {
        key: pooled([Interval(*row) for row in rows_of(rows[[estimate, low, high]])])
        for key, rows in table.groupby(by, sort=False)
    }


def over_originals(scores: pd.DataFrame) -> pd.DataFrame:
    """Return `scores.csv` by method: means over the original models, intervals as `pooled` makes them.

    No score is below 0, nor is an interval. `share_of_ceiling` is the score over that of the retrained fleet,
    `cost_share` the cost over its, NaN where these are 0.
    """
    means: Any = scores.groupby("method", sort=False).mean(numeric_only=True)
    for column in ("score", "forgetting_quality"):
        low, high = f"{column}_low", f"{column}_high"
        for method, interval in pooled_by(scores, "method", column, low, high).items():
            means.loc[method, [low, high]] = max(interval.low, 0.0), interval.high
    for share, column in (("share_of_ceiling", "score"), ("cost_share", "seconds_per_model")):
        means[share] = means[column] / (means.loc["retrain", column] or np.nan)
    return means


def differences(comparisons: pd.DataFrame) -> dict[tuple[str, str], Interval]:
    """Return the differences of two methods' scores over the originals, by pair, of `comparisons.csv`."""
    return pooled_by(comparisons[comparisons["quantity"] == "score"], ["a", "b"], "difference")


def rows_of(table: pd.DataFrame) -> Iterable[Any]:
    """Return the rows of a table, whose columns are their attributes."""
    return table.itertuples(index=False)


def verdict(low: float, high: float) -> str:
    """Return what a 95 % interval of a difference allows to say."""
    if low > 0:
        return "scores higher than"
    return "scores lower than" if high < 0 else "cannot be told apart from"
