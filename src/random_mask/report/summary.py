"""The results of a run as short tables of text: for the terminal, the browser and LaTeX."""

from __future__ import annotations

import html
import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from random_mask.metrics.intervals import Interval
from random_mask.report.measures import MEASURES, of_methods
from random_mask.report.originals import NOT_TESTABLE, OPPOSITE, verdict

__all__ = ["RETRAINED", "claims", "comparisons", "cost", "masks", "measures", "page", "scores"]

RETRAINED = {"oracle": "Retrained (oracle)", "retrain": "Retrained (independent)"}
"""What the retrained fleets are called where both stand side by side."""


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return scores, intervals, shares of the ceiling and accuracies as text, of `agreement.parse_scores`.

    The original model has its column where there are several.
    """
    ceiling = table.loc[table.index.get_level_values("method") == "retrain", "score"].mean()
    shown = pd.DataFrame(index=table.index)
    shown["score"] = table["score"].map("{:.3f}".format)
    shown["95 % interval"] = _interval(table["score_low"], table["score_high"])
    shown["of the ceiling"] = [f"{score / ceiling:.0%}" if ceiling > 0 else "-" for score in table["score"]]
    for split in ("retain", "forget", "test"):
        shown[f"{split} acc."] = table[f"{split}_accuracy"].map("{:.1%}".format)
    return _without_one_original(shown.reset_index().astype({"original": str}))


def comparisons(table: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences and what each allows to say as text, of `agreement.parse_comparisons`."""
    shown = pd.DataFrame(
        {
            "method": table["a"],
            "against": table["b"],
            "original": table["original"].map(str),
            "quantity": table["quantity"].str.replace("_", " "),
            "difference": table["difference"].map("{:+z.3f}".format),
            "95 % interval": _interval(table["low"], table["high"], "+z.3f"),
            "verdict": [verdict(low, high) for low, high in zip(table["low"], table["high"], strict=True)],
        }
    )
    return _without_one_original(shown)


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return the claims of `claims.csv` with their verdicts, and what each follows from, as text."""
    known = table["verdict"] != NOT_TESTABLE
    found = table["estimate"].map("{:z.3f} ".format) + _interval(table["low"], table["high"])
    return pd.DataFrame(
        {
            "verdict": table["verdict"].where(~table["opposite"], OPPOSITE),
            "claim": table["claim"] + np.where(table["exploratory"], " (exploratory)", ""),
            "estimate and interval": found.where(known, table["reason"].astype(object).fillna("")),
        }
    )


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """Return the measures of `measures.csv` as text, a row for each method, over the original models."""
    found = of_methods(table)
    there = [name for name in MEASURES if name in set(table["measure"])]
    rows = {
        method: {MEASURES[name].name: _bracketed(found[method, name]) for name in there}
        for method in dict.fromkeys(table["method"])
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method").reset_index()


def masks(table: pd.DataFrame, title: Callable[[str], str]) -> pd.DataFrame:
    """Return the weights of each tensor and the share of them that each method masks, of `masks.csv`.

    A method has the column of its title.
    """
    share = (table["masked"] / table["weights"]).map("{:.1%}".format)
    weights = table.groupby("tensor", sort=False)["weights"].first()
    wide = table.assign(share=share).pivot_table(
        index="tensor", columns="method", values="share", aggfunc="first"
    )
    methods = list(dict.fromkeys(table["method"]))
    shown = wide.reindex(weights.index)[methods].set_axis([title(name) for name in methods], axis="columns")
    shown.insert(0, "weights", weights.astype(int).map("{:,}".format), allow_duplicates=True)
    return shown.reset_index(allow_duplicates=True)


def cost(table: pd.DataFrame) -> pd.DataFrame:
    """Return what training each fleet cost, of `costs.csv`: counted, in seconds of the reference machine."""
    return pd.DataFrame(
        {
            "method": table["fleet"].replace(RETRAINED),
            "models": table["models"].map(str),
            "seconds a model": (table["seconds"] / table["models"]).map("{:.1f}".format),
            "core minutes": (table["seconds"] / 60).map("{:.1f}".format),
        }
    )


def _bracketed(found: Interval) -> str:
    if math.isnan(found.estimate):
        return "-"
    low, high = ("-" if math.isnan(end) else f"{end:z.2f}" for end in (found.low, found.high))
    return f"{found.estimate:z.2f} [{low}, {high}]"


def page(title: str, rows: pd.DataFrame) -> str:
    """Return a page of HTML that shows a table of text."""
    style = (
        "body{font:15px/1.5 sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
        "th,td{padding:.3em .8em;text-align:left;white-space:nowrap;border-bottom:1px solid #ddd}"
        "th{border-color:#222}td{font-variant-numeric:tabular-nums}"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head><body>\n<h1>{html.escape(title)}</h1>\n"
        f"{rows.to_html(index=False, border=0)}\n</body></html>\n"
    )


def _without_one_original(shown: pd.DataFrame) -> pd.DataFrame:
    return shown if shown["original"].nunique() > 1 else shown.drop(columns="original")


def _interval(low: pd.Series, high: pd.Series, form: str = ".3f") -> list[str]:
    return [f"[{format(a, form)}, {format(b, form)}]" for a, b in zip(low, high, strict=True)]
