"""The claims of the paper, and what a run says of each: supported, not supported, or not testable by it.

A claim names a quantity and what its 95 % interval must show. Nothing is supported by an estimate alone, and
where a claim is not supported, the interval can show the opposite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from random_mask.artifacts.files import read_text
from random_mask.errors import InputError
from random_mask.metrics.intervals import Interval
from random_mask.metrics.spread import absolute_shift_difference, shift, spread_ratio
from random_mask.report.measures import FEWEST_METHODS, MEASURES, nearness, turned
from random_mask.report.originals import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, differences, pooled
from random_mask.settings import Number, Section

__all__ = [
    "NOT_SUPPORTED",
    "NOT_TESTABLE",
    "SUPPORTED",
    "Claim",
    "Results",
    "asked_of",
    "criterion",
    "judge",
    "read_claims",
]

FEWEST_LED = 7
"""Other tuned methods that a lead needs."""


def _shown(measure: str) -> str:
    if measure not in MEASURES:
        raise ValueError(f"there is no measure {measure}; choose one of {', '.join(MEASURES)}")
    return measure


ShownMeasure = Annotated[str, AfterValidator(_shown)]
"""A measure that the paper shows."""


class UntestableError(Exception):
    """A run cannot test a claim; the message says why."""


@dataclass(frozen=True, eq=False)
class Results:
    """What claims are judged by: tables and `examples.npz` of a run, and the names of its tuned methods."""

    scores: pd.DataFrame
    comparisons: pd.DataFrame
    measures: pd.DataFrame
    examples: Mapping[str, np.ndarray]
    tuned: Sequence[str] = ()

    def need(self, *methods: str) -> None:
        """Raise `UntestableError` if a method is missing."""
        for method in methods:
            if method not in set(self.scores["method"]):
                raise UntestableError(f"no method {method} in this experiment")

    def difference(self, a: str, b: str) -> Interval:
        """Return the score of a method less that of another, over the original models."""
        self.need(a, b)
        if (a, b) not in self._differences:
            raise UntestableError(f"{a} and {b} were not compared")
        return self._differences[a, b]

    def pairs(self, of: Sequence[str]) -> list[list[np.ndarray]]:
        """Return the confidences of methods, for each original model to which all were applied."""
        self.need(*of)
        applied = (set(self.scores.loc[self.scores["method"] == name, "original"]) for name in of)
        originals = sorted(set.intersection(*applied))
        return [[self.examples[f"{name}/{number}/confidences"] for name in of] for number in originals]

    @cached_property
    def _differences(self) -> dict[tuple[str, str], Interval]:
        return differences(self.comparisons)


Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
"""Two methods."""


class Difference(Section):
    """The score of one method less that of another, paired, as in `comparisons.csv`."""

    words: ClassVar[str] = "score of {of[0]} - score of {of[1]}"
    kind: Literal["difference"]
    of: Pair

    def _estimate(self, results: Results) -> Interval:
        return results.difference(*self.of)


class Lead(Section):
    """The smallest of a tuned method's paired differences from all other tuned methods."""

    words: ClassVar[str] = "smallest of score of {of} - score of another tuned method"
    kind: Literal["lead"]
    of: str

    def _estimate(self, results: Results) -> Interval:
        others = [name for name in results.tuned if name != self.of]
        if len(others) < FEWEST_LED:
            few = f"needs {FEWEST_LED} other tuned methods, of which there {_are(len(others))}"
            raise UntestableError(few)
        found = [results.difference(self.of, other) for other in others]
        # To lead is to lead each of them, so none of the comparisons needs a correction for their number.
        return Interval(*(min(getattr(one, end) for one in found) for end in ("estimate", "low", "high")))


class Share(Section):
    """The score of a method less a share of the ceiling, the score of the independent retrained fleet."""

    words: ClassVar[str] = "score of {of} - {share:g} x score of retrain"
    kind: Literal["share"]
    of: str
    share: Annotated[Number, Field(gt=0)]
    """The share of the ceiling."""

    def _estimate(self, results: Results) -> Interval:
        found = results.difference(self.of, "retrain")
        # Shifted by the rest of the ceiling, whose own interval is small beside that of the difference.
        ceiling = results.scores.loc[results.scores["method"] == "retrain", "score"].mean()
        rest = (1 - self.share) * ceiling
        return Interval(found.estimate + rest, found.low + rest, found.high + rest)


class Spread(Section):
    """The ratio of two methods' spread across runs: standard deviations of the confidences of an example."""

    words: ClassVar[str] = "spread of {of[0]} / spread of {of[1]}"
    kind: Literal["spread"]
    of: Pair

    def _estimate(self, results: Results) -> Interval:
        return pooled([spread_ratio(a, b) for a, b in results.pairs(self.of)])


class AbsoluteShift(Section):
    """How far the means of single examples lie from those of retrained models, less after another method."""

    words: ClassVar[str] = "mean |shift| of {of[0]} - mean |shift| of {of[1]}"
    kind: Literal["absolute_shift"]
    of: Pair

    def _estimate(self, results: Results) -> Interval:
        oracle = results.examples["oracle/oracle_confidences"]
        return pooled([absolute_shift_difference(a, b, oracle) for a, b in results.pairs(self.of)])


class Shift(Section):
    """How far a method's mean confidence lies above that of retrained models: see `metrics.spread`."""

    words: ClassVar[str] = "shift of {of}"
    kind: Literal["shift"]
    of: str

    def _estimate(self, results: Results) -> Interval:
        results.need(self.of)
        originals = results.scores.loc[results.scores["method"] == self.of, "original"]
        oracle = results.examples["oracle/oracle_confidences"]
        fleets = [results.examples[f"{self.of}/{number}/confidences"] for number in originals]
        return pooled([shift(fleet, oracle) for fleet in fleets])


class Distance(Section):
    """By a measure, how far a method is from what retraining reaches, less how far another is."""

    words: ClassVar[str] = "distance of {of[0]} from retraining by {measure} - that of {of[1]}"
    kind: Literal["distance"]
    of: Pair
    measure: ShownMeasure

    def _estimate(self, results: Results) -> Interval:
        results.need(*self.of)
        a, b = self.of
        if found := nearness(results.measures, a, b, self.measure):
            return found
        raise UntestableError(f"{self.measure} is not known of both methods")


class RankCorrelation(Section):
    """Spearman's correlation of the score with another measure over the methods."""

    words: ClassVar[str] = "rank correlation of the score and {of}"
    kind: Literal["rank_correlation"]
    of: ShownMeasure
    """The measure; it is turned so that more is better."""

    def _estimate(self, results: Results) -> Interval:
        table = turned(results.measures, results.scores)
        known = table[["score", self.of]].dropna() if self.of in table else table.iloc[:0]
        if len(known) < FEWEST_METHODS:
            raise UntestableError(f"needs {FEWEST_METHODS} methods, of which there {_are(len(known))}")
        correlation = float(known.corr(method="spearman").to_numpy()[0, 1])
        if np.isnan(correlation):
            raise UntestableError(f"{self.of} is the same for every method")
        # Fisher's transformation, with Bonett and Wright's variance for ranks (Psychometrika 65, 2000).
        half = 1.96 * np.sqrt((1 + correlation**2 / 2) / (len(known) - 3))
        middle = np.arctanh(np.clip(correlation, -1 + 1e-9, 1 - 1e-9))
        return Interval(correlation, *(float(np.tanh(middle + side * half)) for side in (-1, 1)))


class Claim(Section):
    """A claim of the paper."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    """Its name."""
    claim: str
    """What is claimed, as a clause that a sentence can begin or end with."""
    quantity: Annotated[
        Difference | Lead | Share | Spread | Shift | AbsoluteShift | Distance | RankCorrelation,
        Field(discriminator="kind"),
    ]
    """What decides."""
    relation: Literal["above", "below", "within"]
    """What the whole interval must be: above `bound`, below it, or within plus and minus it."""
    bound: Number = 0.0
    """The bound of the relation."""
    models: Annotated[int, Field(ge=2)] = 16
    """The smallest number of models per fleet at which the claim is tested."""
    experiments: Annotated[list[str], Field(min_length=1)]
    """Those that judge it, which the paper reports."""
    exploratory: bool = False
    """Whether it was made after results that it is judged by had been seen."""


def read_claims(path: Path) -> list[Claim]:
    """Read the file of claims.

    Raises:
        InputError: in one line that names the file and the key.
    """
    try:
        claims = TypeAdapter(list[Claim]).validate_python(yaml.safe_load(read_text(path)))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not a list of claims: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        number, *key = first["loc"] or ("list",)
        where = f"claim {number + 1}: {'.'.join(map(str, key))}" if isinstance(number, int) else "not a list"
        raise InputError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    names = [claim.id for claim in claims]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path}: {sorted(twice)[0]} stands twice; every claim needs a name of its own")
    return claims


def asked_of(claims: Sequence[Claim], experiment: str) -> list[Claim]:
    """Return the claims that an experiment judges: those that name it, or all if none does."""
    own = [claim for claim in claims if experiment in claim.experiments]
    return own or list(claims)


def judge(claims: Sequence[Claim], results: Results) -> pd.DataFrame:
    """Judge claims by the results of a run.

    Returns:
        A row for each claim: `id`, `verdict`, `opposite` (whether the interval shows that), `estimate`,
        `low`, `high` (empty where it is not testable), `claim`, `criterion`, `exploratory` and `reason`: why
        it is not testable.
    """
    return pd.DataFrame([_judged(claim, results) for claim in claims])


def _judged(claim: Claim, results: Results) -> dict[str, Any]:
    row: dict[str, Any] = {"id": claim.id, "verdict": NOT_TESTABLE, "opposite": False}
    row |= {"estimate": np.nan, "low": np.nan, "high": np.nan, "claim": claim.claim}
    row |= {"criterion": criterion(claim), "exploratory": claim.exploratory, "reason": ""}
    models = int(results.scores["n_models"].min())
    if models < claim.models:
        return row | {"reason": f"needs {claim.models} models per fleet, of which there {_are(models)}"}
    try:
        found = claim.quantity._estimate(results)
    except UntestableError as reason:
        return row | {"reason": str(reason)}
    above, below = found.low > claim.bound, found.high < claim.bound
    holds, opposite = {
        "above": (above, below),
        "below": (below, above),
        "within": (below and found.low > -claim.bound, above or found.high < -claim.bound),
    }[claim.relation]
    verdict = SUPPORTED if holds else NOT_SUPPORTED
    return row | asdict(found) | {"verdict": verdict, "opposite": opposite}


def criterion(claim: Claim) -> str:
    """Return what must hold for a claim to be supported, in words."""
    what = claim.quantity.words.format(**claim.quantity.model_dump())
    relation = "within +-" if claim.relation == "within" else f"{claim.relation} "
    return f"{what}: {relation}{claim.bound:g}"


def _are(number: int) -> str:
    return f"is {number}" if number == 1 else f"are {number}"
