"""What is made of results: the names of figures and tables, and of the files that they are made from."""

from __future__ import annotations

__all__ = ["FIGURES", "PAPER_FIGURES", "PAPER_TABLES", "RESULTS", "TABLES"]

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
PAPER_FIGURES = ("scores",)
PAPER_TABLES = ("scores",)
