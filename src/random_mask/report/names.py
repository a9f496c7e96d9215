"""What is made of results: the names of figures and tables, and of the files that they are made from."""

from __future__ import annotations

__all__ = ["ALL", "FIGURES", "LARGE", "MAIN", "PAPER_FIGURES", "PAPER_TABLES", "RESULTS", "TABLES"]

RESULTS = (
    *("scores.csv", "comparisons.csv", "scores_by_n.csv", "measures.csv"),
    *("examples.npz", "masks.csv", "costs.csv", "run.json"),
)
"""The files of an experiment that hold all its numbers."""

FIGURES = (
    *("scores", "shift_spread", "mask_ratio", "ablations", "confidences", "epsilons"),
    *("training", "by_n", "agreement"),
)
"""Figures of every experiment."""
TABLES = ("scores", "comparisons", "measures", "masks", "cost", "claims")
"""Tables of every experiment."""

MAIN = ("digits", "cifar10_jpeg")
"""The experiments that the paper is about, beside each other in its figures."""
ALL, LARGE = "digits-all", "digits-128"
"""Those with all methods, and with the largest fleets."""
PAPER_FIGURES = FIGURES
"""Figures of the paper."""
PAPER_TABLES = (
    *("scores", "corrections", "measures", "more_measures", "all_scores", "all_measures", "recipes", "masks"),
    *("experiments", "environment", "simulation", "tuning", "claims", "reproduction"),
)
"""Tables of the paper."""
