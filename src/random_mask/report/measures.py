"""The measures beside the score: what they are called, which way is better, and whether they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from random_mask.metrics.intervals import Interval
from random_mask.metrics.klom import FLOOR
from random_mask.report.originals import pooled, pooled_by

__all__ = ["FEWEST_METHODS", "MEASURES", "Measure", "correlations", "nearness", "of_methods", "turned"]


@dataclass(frozen=True)
class Measure:
    """One measure, as the paper shows it.

    Attributes:
        name: in figures.
        head: of its column, in LaTeX.
        ideal: what retraining reaches, in LaTeX.
        best: the value that is best: the larger the distance from it, the worse.
        in_table: whether it has a column in the main table of measures, or else in the appendix.
        limits: between which it always is.
    """

    name: str
    head: str
    ideal: str
    best: float
    in_table: bool = True
    limits: tuple[float, float] = (-math.inf, math.inf)


_SHARE, _DIVERGENCE = (0.0, 1.0), (0.0, math.log(1 / FLOOR))

MEASURES = {
    "ulira_accuracy": Measure("U-LiRA accuracy", "U-LiRA", "($0.5$)", 0.5, limits=_SHARE),
    "ulira_true_positives": Measure("U-LiRA TPR", "TPR", "($0.01$)", 0.01, in_table=False, limits=_SHARE),
    "klom_forget_p95": Measure("KLoM forget", "KLoM forget", "(low)", 0.0, limits=_DIVERGENCE),
    "klom_retain_p95": Measure(
        "KLoM retain", "KLoM retain", "(low)", 0.0, in_table=False, limits=_DIVERGENCE
    ),
    "klom_test_p95": Measure("KLoM test", "KLoM test", "(low)", 0.0, in_table=False, limits=_DIVERGENCE),
    "mia_gap": Measure("MIA gap", "MIA gap", "($0$)", 0.0),
    "rmia_gap": Measure("RMIA gap", "RMIA gap", "($0$)", 0.0),
    "tow": Measure("ToW", "ToW", "($1$)", 1.0),
    "relearn_gap": Measure("Relearn gap", "Relearn gap", "($0$)", 0.0),
}
"""Those that the paper shows, of those that an experiment has; `measures.csv` has more."""


FEWEST_METHODS = 8
"""That a rank correlation needs."""


def of_methods(measures: pd.DataFrame) -> dict[tuple[str, str], Interval]:
    """Return the measures over the original models, by method and measure, of `measures.csv`.

    No interval goes beyond the limits of its measure.
    """
    found = {}
    for (method, name), of in pooled_by(measures, ["method", "measure"], "value").items():
        low, high = MEASURES[name].limits if name in MEASURES else (-math.inf, math.inf)
        found[method, name] = Interval(of.estimate, *(min(max(end, low), high) for end in (of.low, of.high)))
    return found


def nearness(measures: pd.DataFrame, a: str, b: str, measure: str) -> Interval | None:
    """Return how far method `a` is from what retraining reaches, less how far `b` is, over the originals.

    Returns:
        With its 95 % interval; below zero, `a` is nearer. None where the measure is not known of both.

        Both are compared with the same retrained models. What they share cancels in the difference, but not
        in this interval, which takes the two for independent: it is too long rather than too short. Where one
        lies above what retraining reaches and the other below, the shared part adds up, and so do the half
        widths.
    """
    rows = measures[(measures["measure"] == measure) & measures["method"].isin([a, b])]
    found = []
    for _, of_original in rows.groupby("original"):
        if len(of_original) < 2:  # of an original that one of them was not applied to
            continue
        known = of_original.dropna().set_index("method")
        if len(known) < 2:
            return None
        of_a, of_b = (float(known["value"][method]) - MEASURES[measure].best for method in (a, b))
        widths = known["high"] - known["value"], known["value"] - known["low"]
        together = np.hypot if of_a * of_b >= 0 else np.add
        half = max(float(together(*width[[a, b]])) for width in widths)
        middle = abs(of_a) - abs(of_b)
        found.append(Interval(middle, middle - half, middle + half))
    return pooled(found) if found else None


def turned(measures: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the score and the measures of the methods that are measured, turned so that more is better.

    Several original models are averaged. The retrained fleet and the untouched original are left out: they
    are no methods, and all measures agree on them.

    Returns:
        A column for each measure, "score" the first, and a row for each method; NaN where one is unknown.
    """
    values = measures.pivot_table(index="method", columns="measure", values="value", dropna=False)
    values = values.reindex(columns=[*MEASURES])
    table = pd.DataFrame({name: -(values[name] - of.best).abs() for name, of in MEASURES.items()})
    table.insert(0, "score", scores.groupby("method")["score"].mean())
    return table.drop(index=["original", "retrain"], errors="ignore")


def correlations(measures: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rank correlations over the methods, of what `turned` returns.

    Returns:
        A square table by measure, "score" the first; NaN where a measure is unknown, or the same for every
        method. With fewer than 8 methods it is empty.
    """
    table = turned(measures, scores)
    return table.corr(method="spearman") if len(table) >= FEWEST_METHODS else pd.DataFrame()
