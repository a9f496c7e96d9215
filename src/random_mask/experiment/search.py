"""Which of its trials a method is tuned to: the one with the highest score. All methods get as many."""

from __future__ import annotations

from typing import Any

import pandas as pd

from random_mask.experiment.config import Experiment

__all__ = ["chosen"]


def chosen(experiment: Experiment, scores: pd.DataFrame) -> dict[str, Any]:
    """Choose the best trial of each method of a search.

    The score of a chosen trial is the largest of several noisy ones and so flatters it. It says nothing about
    the method: that is judged in another experiment, on another forget set.

    Several original models of `scores.csv` count by their mean; of equal trials, the first is taken.

    Returns:
        What the search was; `choices`, how each method was chosen; and `methods`, their definitions. Each
        stands under the name `<method>_tuned`. All of it is plain YAML.
    """
    search, trials = experiment.search, experiment.trials()
    if search is None:
        raise ValueError(f"{experiment.experiment}: an experiment without a search")
    columns = ["score", "score_low", "score_high", "seconds_per_model"]
    means: Any = scores.groupby("method", sort=False)[columns].mean().to_dict("index")
    retraining = means["retrain"]["seconds_per_model"]
    choices, methods = {}, {}
    for method, values in experiment.trial_values().items():
        best = max(values, key=lambda trial: means[trial]["score"])
        row = means[best]
        choices[f"{method}_tuned"] = {
            "of": method,
            "trial": best,
            "values": values[best],
            **{name: round(row[name], 6) for name in ("score", "score_low", "score_high")},
            "cost": round(row["seconds_per_model"] / retraining, 4),
            "scores_of_trials": [round(means[trial]["score"], 4) for trial in values],
        }
        # It is described as the method is, but what it is compared with, the experiment says that takes it.
        described = {"title": experiment.methods[method].title, "tuned_from": method}
        tuned = trials[best].model_copy(update=described | {"variant_of": None, "compare_with": []})
        content = tuned.model_dump(mode="json", exclude_defaults=True)
        # A method says that nothing is fine-tuned, by an empty list.
        methods[f"{method}_tuned"] = {**content, "finetune": content.get("finetune", [])}
    of_experiment = {key: getattr(experiment, key) for key in ("experiment", "seed", "models")}
    of_search = {"trials": search.trials, "budget": search.budget}
    return of_experiment | of_search | {"choices": choices, "methods": methods}
