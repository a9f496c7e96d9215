"""KLoM: the Kullback-Leibler divergence of margins, unlearned from retrained, example by example.

The margin of a label is its logit less the logarithm of the sum of the other classes' exponentials, which is
the logit-scaled confidence. Per example, the margins of both fleets are counted in 20 equal bins over their
pooled range, and the divergence of the two histograms is taken. Copies of the original model reach about the
logarithm of 1/1e-5, fleets of one distribution a value above 0 that falls as they grow.

Source: Georgiev et al., arXiv 2410.23232.
"""

from __future__ import annotations

import math

import numpy as np

from random_mask.metrics.intervals import Fleet, Interval, resampled_intervals

__all__ = ["divergences", "intervals"]

BINS = 20
LARGEST_MARGIN = 100.0
FLOOR = 1e-5
"""Probability of an empty bin; the histograms are normalised again after it."""
PERCENTILE = 0.95


def divergences(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Return [examples]: KL(unlearned || retrained) of the histograms of margins, in nats, at least 0.

    Args:
        unlearned: [models, examples], margins.
        retrained: [models, examples].
    """
    fleets = [np.clip(fleet, -LARGEST_MARGIN, LARGEST_MARGIN) for fleet in (unlearned, retrained)]
    lowest = np.minimum(*(fleet.min(axis=0) for fleet in fleets))
    width = np.maximum(*(fleet.max(axis=0) for fleet in fleets)) - lowest
    p, q = (_histograms(fleet, lowest, width) for fleet in fleets)
    # Rounding may put it a little below 0 where the histograms are equal.
    return np.maximum((p * np.log(p / q)).sum(axis=1), 0.0)


def intervals(
    unlearned: Fleet, retrained: Fleet, *, split: str, seed: int, replicates: int
) -> dict[str, Interval]:
    """Return "klom_<split>_mean" and "klom_<split>_p95" over the examples of a split, with 95 % intervals.

    The interval of the 95th percentile follows from that of the share of examples below it (Woodruff's
    method): its ends are the percentiles at the ends of that share's interval.
    """
    observed = divergences(unlearned.confidences, retrained.confidences)
    estimate = float(np.quantile(observed, PERCENTILE))

    def contributions(unlearned: Fleet, retrained: Fleet) -> dict[str, np.ndarray]:
        found = divergences(unlearned.confidences, retrained.confidences)
        return {"mean": found, "below": (found <= estimate).astype(float)}

    found = resampled_intervals(
        contributions, [unlearned, retrained], {"mean": (0.0, math.log(1 / FLOOR)), "below": (0.0, 1.0)},
        seed=seed, replicates=replicates,
    )  # fmt: skip
    margins = found["below"].low - found["below"].estimate, found["below"].high - found["below"].estimate
    low, high = np.quantile(observed, np.clip(np.add(PERCENTILE, margins), 0, 1))
    return {
        f"klom_{split}_mean": found["mean"],
        f"klom_{split}_p95": Interval(estimate, min(float(low), estimate), max(float(high), estimate)),
    }


def _histograms(margins: np.ndarray, lowest: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return [examples, bins]: the shares of the models whose margin lies in each bin."""
    examples = margins.shape[1]
    # The largest value belongs to the last bin; where all are equal, all are in the first.
    scaled = (margins - lowest) * (BINS / np.where(width > 0, width, 1.0))
    bins = np.minimum(scaled.astype(np.int64), BINS - 1)
    counts = np.bincount((bins + BINS * np.arange(examples)).ravel(), minlength=BINS * examples)
    shares = np.maximum(counts.reshape(examples, BINS) / len(margins), FLOOR)
    return shares / shares.sum(axis=1, keepdims=True)
