"""The competition metric written straight from its definition: slow, obvious, and the yardstick.

Tests and benchmarks compare `random_mask.metrics.competition` with this module; nothing else should use it.
Every threshold of every attack is visited, every confidence is compared with it, nothing is sorted.
The single thresholds come from `torch.linspace` itself.

Source of the definition: the organisers' technical report and released code (see `docs/metric.md`).
"""

import numpy as np
import torch


def epsilon_of_rates(false_positive: np.ndarray, false_negative: np.ndarray) -> np.ndarray:
    """Return the epsilon of each attack from its error rates (float32), NaN where the attack is discarded."""
    with np.errstate(divide="ignore", invalid="ignore"):
        epsilon = np.fmax(
            np.log(1 - 1e-5 - false_positive) - np.log(false_negative),
            np.log(1 - 1e-5 - false_negative) - np.log(false_positive),
        ).clip(0)
    epsilon[(false_positive == 0) != (false_negative == 0)] = np.nan
    epsilon[(false_positive == 0) & (false_negative == 0)] = np.inf
    return epsilon


def single_threshold_rates(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (FPR, FNR) of `confidence >= t means positive` for every t of the grid."""
    pooled = np.concatenate([positive, negative])
    low, high = torch.tensor(pooled.min()), torch.tensor(pooled.max())
    thresholds = torch.linspace(low, high, int(np.ceil((pooled.max() - pooled.min()) * 100))).numpy()
    thresholds = thresholds.astype(np.float64)
    false_positive = [np.count_nonzero(negative >= t) for t in thresholds]
    false_negative = [np.count_nonzero(positive < t) for t in thresholds]
    return (
        np.array(false_positive, np.float32) / np.float32(len(negative)),
        np.array(false_negative, np.float32) / np.float32(len(positive)),
    )


def double_threshold_rates(narrow: np.ndarray, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (FPR, FNR) of `l <= confidence <= r means narrow` for every pair of the grid."""
    width = narrow.max() - narrow.min()
    first, last = narrow.min() + width - 2.0, narrow.max() + 2.0
    false_positive, false_negative = [], []
    for right in np.linspace(first, last, int(np.ceil((last - first) * 100))):
        left = np.linspace(right - width - 2.0, right - width + 2.0, 400)
        false_positive.append(((wide[:, None] >= left) & (wide[:, None] <= right)).sum(0))
        false_negative.append(len(narrow) - ((narrow[:, None] >= left) & (narrow[:, None] <= right)).sum(0))
    return (
        np.concatenate(false_positive).astype(np.float32) / np.float32(len(wide)),
        np.concatenate(false_negative).astype(np.float32) / np.float32(len(narrow)),
    )


def epsilon(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """Return the epsilon of one forget example; both arrays are [models], float64."""
    positive, negative = unlearned, retrained
    if np.median(retrained) > np.median(unlearned):
        positive, negative = retrained, unlearned
    small, large = sorted([np.ptp(positive), np.ptp(negative)])
    if large == 0:
        return 0.0 if positive[0] == negative[0] else 50.0
    if small / large < 0.01:
        return 50.0
    narrow, wide = (negative, positive) if np.ptp(positive) >= np.ptp(negative) else (positive, negative)
    rates = [double_threshold_rates(narrow, wide), single_threshold_rates(positive, negative)]
    survivors = np.concatenate([epsilon_of_rates(*pair) for pair in rates])
    survivors = survivors[~np.isnan(survivors)]
    return min(float(survivors.max()), 50.0) if survivors.size else 50.0


def epsilons(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Return the epsilon of every forget example; both arrays are [models, examples]."""
    return np.array([epsilon(u, r) for u, r in zip(unlearned.T, retrained.T, strict=True)])


def forgetting_quality(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    """Return the mean points of the examples' epsilons."""
    end = np.ceil(np.log(len(unlearned) - 1))
    total = 0.0
    for value in epsilons(unlearned, retrained):
        start, points = 0.0, 1.0
        while start + 0.5 <= end:
            if value < start + 0.5:
                total += points
                break
            start, points = start + 0.5, points / 2
    return total / unlearned.shape[1]
