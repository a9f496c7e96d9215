"""U-LiRA: can a likelihood-ratio attack tell, for one forget example, unlearned models from retrained ones?

For each example one normal distribution is fitted to the logit-scaled confidences of unlearned models and one
to those of retrained models. A model that took no part in the fit is taken for unlearned where the first
density is the larger. Here the even-numbered models of both fleets are attacked by what the odd-numbered ones
taught, and the other way round.

Source: Hayes et al., arXiv 2403.01218; the attack is that of Carlini et al., arXiv 2112.03570.
"""

from __future__ import annotations

import numpy as np

from random_mask.metrics.intervals import Fleet, Interval, resampled_intervals

__all__ = ["FALSE_POSITIVES", "SMALLEST", "accuracies", "intervals", "log_ratios", "true_positives"]

FALSE_POSITIVES = 0.01
"""The false positive rate at which true positives are counted."""
SMALLEST = 8
"""Models a fleet that the attack needs: four a half, of which the subsets of an interval keep three."""
SMALLEST_SPREAD = 1e-6
"""Least standard deviation of a fit, so that copies of one model have a density."""


def log_ratios(unlearned: np.ndarray, retrained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log p(confidence | unlearned) - log p(confidence | retrained) by fits without the model judged.

    Args:
        unlearned: [models >= 4, examples], logit-scaled confidences.
        retrained: [models >= 4, examples].

    Returns:
        The log ratios of the unlearned and of the retrained models, in the shapes of the arguments.
    """
    ratios = np.empty(unlearned.shape), np.empty(retrained.shape)
    for judged, fitted in ((0, 1), (1, 0)):
        fits = [(f[fitted::2].mean(axis=0), _spread(f[fitted::2])) for f in (unlearned, retrained)]
        for ratio, fleet in zip(ratios, (unlearned, retrained), strict=True):
            of_unlearned, of_retrained = (_log_density(fleet[judged::2], *fit) for fit in fits)
            ratio[judged::2] = of_unlearned - of_retrained
    return ratios


def accuracies(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Return [examples]: the balanced accuracy of the attack, 0.5 where nothing tells the fleets apart.

    A ratio of exactly 1 is half right. Arguments are those of `log_ratios`.
    """
    of_unlearned, of_retrained = log_ratios(unlearned, retrained)
    return (_positive(of_unlearned) + 1 - _positive(of_retrained)) / 2


def true_positives(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """Return [examples]: the share of unlearned models recognised at a false positive rate of 1 %.

    The threshold is common to all examples: at most 1 % of all pairs of a retrained model and an example lie
    above it. The ideal is 0.01 on average. Arguments are those of `log_ratios`.
    """
    of_unlearned, of_retrained = log_ratios(unlearned, retrained)
    allowed = int(FALSE_POSITIVES * of_retrained.size)
    threshold = np.partition(of_retrained.ravel(), -allowed - 1)[-allowed - 1]
    return (of_unlearned > threshold).mean(axis=0)


def intervals(unlearned: Fleet, retrained: Fleet, *, seed: int, replicates: int) -> dict[str, Interval]:
    """Return "ulira_accuracy" and "ulira_true_positives" with 95 % intervals, means over the forget examples.

    NaN where a fleet has fewer than `SMALLEST` models.
    """
    names = ("ulira_accuracy", "ulira_true_positives")
    if min(len(unlearned), len(retrained)) < SMALLEST:
        return dict.fromkeys(names, Interval(np.nan, np.nan, np.nan))
    return resampled_intervals(
        _contributions, [unlearned, retrained], dict.fromkeys(names, (0.0, 1.0)),
        seed=seed, replicates=replicates,
    )  # fmt: skip


def _contributions(unlearned: Fleet, retrained: Fleet) -> dict[str, np.ndarray]:
    arrays = unlearned.confidences, retrained.confidences
    return {"ulira_accuracy": accuracies(*arrays), "ulira_true_positives": true_positives(*arrays)}


def _spread(confidences: np.ndarray) -> np.ndarray:
    return np.maximum(confidences.std(axis=0, ddof=1), SMALLEST_SPREAD)


def _log_density(values: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return -(((values - mean) / spread) ** 2) / 2 - np.log(spread)


def _positive(ratios: np.ndarray) -> np.ndarray:
    return ((ratios > 0) + (ratios == 0) / 2).mean(axis=0)
