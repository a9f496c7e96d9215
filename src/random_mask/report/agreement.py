"""Whether two runs of an experiment agree: their scores within their intervals, and their verdicts.

Tables are parsed here from text and checked cell by cell, because they come from another machine.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from random_mask.errors import InputError
from random_mask.report.originals import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, differences, verdict

__all__ = [
    "Agreement",
    "Run",
    "Verdict",
    "claim_verdicts",
    "compare",
    "compare_scores",
    "difference",
    "pair_verdicts",
    "parse_claims",
    "parse_comparisons",
    "parse_judged_claims",
    "parse_scores",
    "read_table",
]

_QUANTITIES = ["score", "forgetting_quality"]
VERDICTS = (SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE)
_ACCURACIES = ["retain_accuracy", "forget_accuracy", "test_accuracy"]


@dataclass(frozen=True, eq=False)
class Run:
    """What is compared of a run: of `parse_scores`, and of `pair_verdicts` and `claim_verdicts`."""

    scores: pd.DataFrame
    verdicts: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """What two runs say of the same subject: a pair of methods, or a claim."""

    subject: str
    a: str
    b: str

    @property
    def changed(self) -> bool:
        """Whether the runs say different things."""
        return self.a != self.b


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far two runs, A and B, agree: scores and forgetting quality by `compare_scores`, and verdicts.

    `accuracy_difference` is the largest absolute one of a common row, in [0, 1]; `only_in_a` has the methods,
    single originals of a method and subjects of verdicts that B lacks.
    """

    scores: pd.DataFrame
    forgetting_quality: pd.DataFrame
    accuracy_difference: float
    verdicts: Sequence[Verdict]
    only_in_a: Sequence[str]
    only_in_b: Sequence[str]


def compare(a: Run, b: Run) -> Agreement:
    """Compare what two runs have in common, in the order of `a`.

    Raises:
        ValueError: if they have no method of an original model in common.
    """
    scores = compare_scores(a.scores, b.scores)
    if scores.empty:
        raise ValueError("no method in common")
    accuracies = a.scores.loc[scores.index, _ACCURACIES] - b.scores.loc[scores.index, _ACCURACIES]
    return Agreement(
        scores=scores,
        forgetting_quality=compare_scores(a.scores, b.scores, "forgetting_quality"),
        accuracy_difference=float(np.abs(accuracies.to_numpy()).max()),
        verdicts=[Verdict(of, words, b.verdicts[of]) for of, words in a.verdicts.items() if of in b.verdicts],
        only_in_a=_only_in(a, b),
        only_in_b=_only_in(b, a),
    )


_Table = TypeVar("_Table")


def read_table(path: Path, parse: Callable[[str], _Table]) -> _Table:
    """Return the table of a file.

    Args:
        path: the file.
        parse: one of the functions below.

    Raises:
        InputError: if it is missing, cannot be read or is damaged.
    """
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the folder of a run that is complete") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except ValueError as error:
        raise InputError(
            f"{path}: damaged ({error}); copy it again, or delete it and run snakemake again to re-make it"
        ) from None


def parse_scores(text: str) -> pd.DataFrame:
    """Return `scores.csv` by (method, original), in the order of the file.

    Returns:
        [rows]: `n_models`, the accuracies in [0, 1], and the score and the forgetting quality, each with
        `_low` and `_high`.

    Raises:
        ValueError: where a column or cell is missing, is no number or is out of order, a row occurs twice, or
            the last line has no end.
    """
    bounded = [f"{quantity}{end}" for quantity in _QUANTITIES for end in ("_low", "", "_high")]
    table = _parse(
        text, key=["method", "original"], whole=["original", "n_models"], real=bounded + _ACCURACIES
    )
    for quantity in _QUANTITIES:
        _check_order(table, [f"{quantity}_low", quantity, f"{quantity}_high"])
    for accuracy in _ACCURACIES:
        _refuse(table, accuracy, ~table[accuracy].between(0, 1), "outside [0, 1]")
    return table.set_index(["method", "original"])


def parse_comparisons(text: str) -> pd.DataFrame:
    """Return `comparisons.csv`: [rows] of a, b, original, quantity, difference, low and high.

    Raises:
        ValueError: as `parse_scores` does.
    """
    bounded = ["low", "difference", "high"]
    table = _parse(text, key=["a", "b", "original", "quantity"], whole=["original"], real=bounded)
    _check_order(table, bounded)
    return table


def parse_claims(text: str) -> pd.DataFrame:
    """Return `claims.csv`: [rows] of id and verdict, a text.

    Raises:
        ValueError: as `parse_scores` does.
    """
    table = _parse(text, key=["id"], other=["verdict"])
    return table[["id", "verdict"]]


def parse_judged_claims(text: str) -> pd.DataFrame:
    """Return `claims.csv` with what each verdict follows from, as `claims.judge` has it.

    Raises:
        ValueError: as `parse_scores` does, or where a verdict is none, or has nothing that it follows from.
    """
    interval = ["low", "estimate", "high"]
    table = _parse(text, key=["id"], other=["verdict", "claim", "opposite", "exploratory"], unknown=interval)
    if "reason" not in table:
        raise ValueError("no column reason")
    _check_order(table, interval)
    _refuse(table, "verdict", ~table["verdict"].isin(VERDICTS), f"none of {', '.join(VERDICTS)}")
    tested = table["verdict"] != NOT_TESTABLE
    for column in interval:
        _refuse(table, column, table[column].isna() & tested, "though there is a verdict")
    for column in ("opposite", "exploratory"):
        _refuse(table, column, ~table[column].isin(["True", "False"]), "neither True nor False")
        table[column] = table[column] == "True"
    return table


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the differences a - b with their 95 % intervals, by variance estimates recovery (MOVER).

    Each limit's distance from its estimate stands for that side's standard error, so skewed intervals keep
    their skew. It takes the estimates for independent: two runs that share seeds or data are positively
    correlated, differ less than independent ones, and pass more easily than the 95 % say.

    Source: G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27 (2008) 1693-1702.

    Args:
        a: [3, ...]: estimate, low, high, with low <= estimate <= high.
        b: [3, ...]: the same of the other.

    Returns:
        [3, ...]: difference, low, high.
    """
    estimate = a[0] - b[0]
    below, above = np.hypot(a[0] - a[1], b[2] - b[0]), np.hypot(a[2] - a[0], b[0] - b[1])
    return np.stack([estimate, estimate - below, estimate + above])


def compare_scores(a: pd.DataFrame, b: pd.DataFrame, quantity: str = "score") -> pd.DataFrame:
    """Compare the score or the forgetting quality of the rows that both runs have, of `parse_scores`.

    Returns:
        [common rows] by (method, original), in the order of `a`: `a`, `b` and `difference`, each with `_low`
        and `_high`; `n_a` and `n_b`, the numbers of models; `agrees`, whether the interval of the difference
        contains 0.
    """
    common = a.index.intersection(b.index, sort=False)
    ends = ["", "_low", "_high"]
    of_a, of_b = (table.loc[common, [quantity + end for end in ends]].to_numpy().T for table in (a, b))
    found = pd.DataFrame(index=common)
    for name, rows in (("a", of_a), ("b", of_b), ("difference", difference(of_a, of_b))):
        found[[name + end for end in ends]] = rows.T
    found["n_a"], found["n_b"] = a.loc[common, "n_models"], b.loc[common, "n_models"]
    return found.assign(agrees=found["difference_low"].le(0) & found["difference_high"].ge(0))


def pair_verdicts(comparisons: pd.DataFrame) -> dict[str, str]:
    """Return the verdict on each pair of methods of `comparisons.csv` by score, in the paper's words."""
    return {f"{a}, {b}": verdict(of.low, of.high) for (a, b), of in differences(comparisons).items()}


def claim_verdicts(claims: pd.DataFrame) -> dict[str, str]:
    """Return the verdict on each claim of `claims.csv`."""
    return dict(zip("claim " + claims["id"], claims["verdict"], strict=True))


def _only_in(a: Run, b: Run) -> list[str]:
    """Return what `b` lacks: methods, single originals of a method that it has, and subjects of verdicts."""
    methods = set(b.scores.index.get_level_values("method"))
    rows = [
        f"{method} of original {original}" if method in methods else method
        for method, original in a.scores.index
        if (method, original) not in b.scores.index
    ]
    subjects = [f"verdict on {subject}" for subject in a.verdicts if subject not in b.verdicts]
    return list(dict.fromkeys(rows + subjects))


def _parse(
    text: str,
    key: Sequence[str],
    *,
    whole: Sequence[str] = (),
    real: Sequence[str] = (),
    other: Sequence[str] = (),
    unknown: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the table of a CSV file, whose rows the columns `key` tell apart.

    Columns in `whole` become integers, those in `real` finite numbers and those in `unknown` such numbers, or
    NaN where they are empty; the other ones stay text, and those of `key` and `other` must not be empty.
    """
    if not text.endswith("\n"):
        # A number that is cut short is still a number.
        raise ValueError("its last line has no end, so that it may be cut short")
    try:
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from None
    if not lines:
        raise ValueError("it is empty")
    head, *rows = lines
    for column in [*key, *whole, *real, *other, *unknown]:
        if head.count(column) != 1:
            raise ValueError(f"it needs one column {column}, not {head.count(column)}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise ValueError(f"row {number} has {len(row)} cells, but the head {len(head)}")
    table = pd.DataFrame(rows, columns=head, dtype=str)
    for column in whole:
        _refuse(table, column, ~table[column].str.fullmatch(r"[0-9]{1,9}"), "not a whole number")
        table[column] = table[column].astype(int)
    for column in [*real, *unknown]:
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
        allowed = (table[column] == "") & (column in unknown)
        _refuse(table, column, ~values.map(np.isfinite) & ~allowed, "not a finite number")
        table[column] = values
    for column in [*key, *other]:
        _refuse(table, column, table[column] == "", "empty")
    repeated = table.duplicated(list(key))
    if repeated.any():
        at = int(repeated.to_numpy().argmax())
        raise ValueError(f"row {at + 1} repeats {', '.join(str(table[column].iloc[at]) for column in key)}")
    return table


def _check_order(table: pd.DataFrame, columns: Sequence[str]) -> None:
    for lower, upper in itertools.pairwise(columns):
        _refuse(table, lower, table[lower] > table[upper], f"above {upper}")


def _refuse(table: pd.DataFrame, column: str, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        raise ValueError(f"row {at + 1}: {column} is {str(table[column].iloc[at])!r}, {what}")
