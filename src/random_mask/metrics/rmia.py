"""RMIA: membership inference by likelihood ratios against a population, with retrained models as references.

How much more probable a model makes the label of x than reference models do, p(x | model) / p(x), is compared
with the same of population examples z: the score of x is the share of z whose ratio is no larger than that of
x. The attack tells forget from test examples of one model by that score; its area under the ROC curve
is 0.5 by chance. The gap to retrained models is what unlearning left.

p(x) is the mean probability over the references, none of which saw x: the paper's offline attack without its
correction for that (a = 1). Its gamma is 1. The population is the validation set.

Source: Zarifzadeh, Liu and Shokri, arXiv 2312.03262.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from random_mask.metrics.intervals import Interval, interval_of_difference, interval_of_mean

__all__ = ["areas", "areas_of_references", "intervals"]


def areas(confidences: dict[str, np.ndarray], references: dict[str, np.ndarray]) -> np.ndarray:
    """Return [models]: the area under the ROC curve of the attack on each model, ties counting half.

    Args:
        confidences: logit-scaled confidences [models, examples] of "forget", "test" and "validation".
        references: likewise of the reference models, on the same examples.
    """
    average = {split: _mean_probability(references[split]) for split in confidences}
    ratios = {split: _log_probability(of) - average[split] for split, of in confidences.items()}
    return _areas(ratios)


def areas_of_references(references: dict[str, np.ndarray]) -> np.ndarray:
    """Return [models]: the area of the attack on each reference model, with the others as its references.

    Args:
        references: as in `areas`, at least 2 models.
    """
    n = len(references["forget"])
    ratios = {}
    for split, confidences in references.items():
        others = [_mean_probability(np.delete(confidences, model, axis=0)) for model in range(n)]
        ratios[split] = _log_probability(confidences) - others
    return _areas(ratios)


def intervals(of_unlearned: np.ndarray, of_retrained: np.ndarray) -> dict[str, Interval]:
    """Return "rmia", the mean area over unlearned models, and "rmia_gap", less that of retrained ones.

    Args:
        of_unlearned: [models], from `areas`.
        of_retrained: [models], from `areas_of_references`.
    """
    return {
        "rmia": interval_of_mean(of_unlearned),
        "rmia_gap": interval_of_difference(of_unlearned, of_retrained),
    }


def _areas(ratios: dict[str, np.ndarray]) -> np.ndarray:
    return np.array(
        [
            _area(*(np.searchsorted(np.sort(population), of, side="right") for of in (forget, test)))
            for forget, test, population in zip(
                ratios["forget"], ratios["test"], ratios["validation"], strict=True
            )
        ]
    )


def _area(members: np.ndarray, others: np.ndarray) -> float:
    """Return the probability that a member scores higher than another example, ties counting half."""
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    return float((ranks.mean() - (len(members) + 1) / 2) / len(others))


def _log_probability(confidences: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -confidences)


def _mean_probability(confidences: np.ndarray) -> np.ndarray:
    """Return the logarithm of the mean probability of the label over models [examples]."""
    return np.logaddexp.reduce(_log_probability(confidences), axis=0) - np.log(len(confidences))
