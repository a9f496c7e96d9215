"""Population membership inference: does one model's loss tell forget examples from test examples?

For each model by itself a logistic regression of membership on the loss is fitted, cross-validated, with
classes weighted so that the smaller set counts as much as the larger. A retrained model may be told as well,
if the forget set is unlike the test set; the gap to retrained models is what unlearning left.

Source: the attack without shadow models of the competition's starting kit
(github.com/unlearning-challenge/starting-kit).
"""

from __future__ import annotations

import numpy as np

from random_mask.metrics.intervals import Interval, interval_of_difference, interval_of_mean

__all__ = ["accuracies", "intervals"]

FOLDS = 5


def accuracies(forget: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return [models]: the cross-validated balanced accuracy of the attack on each model, 0.5 by chance.

    Args:
        forget: [models, examples], logit-scaled confidences, whose loss is log(1 + exp(-confidence)).
        test: [models, other examples].

    NaN where one of the sets has fewer examples than there are folds.
    """
    # Here, since no other measure needs scikit-learn, and a light install does without.
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    if min(forget.shape[1], test.shape[1]) < FOLDS:
        return np.full(len(forget), np.nan)
    members = np.repeat([1, 0], [forget.shape[1], test.shape[1]])
    folds = StratifiedKFold(FOLDS)
    found = []
    for losses in np.logaddexp(0, -np.concatenate([forget, test], axis=1)):
        spread = losses.std()
        # The penalty of the regression depends on the scale.
        scaled = (losses - losses.mean()) / (spread if spread > 0 else 1.0)
        attack = LogisticRegression(class_weight="balanced")
        guesses = cross_val_predict(attack, scaled[:, None], members, cv=folds)
        found.append(balanced_accuracy_score(members, guesses))
    return np.array(found)


def intervals(of_unlearned: np.ndarray, of_retrained: np.ndarray) -> dict[str, Interval]:
    """Return "mia", the mean over unlearned models, and "mia_gap", less that of retrained ones.

    Args:
        of_unlearned: [models], from `accuracies`.
        of_retrained: [models].
    """
    return {
        "mia": interval_of_mean(of_unlearned),
        "mia_gap": interval_of_difference(of_unlearned, of_retrained),
    }
