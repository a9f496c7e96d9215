"""95 % intervals for the competition metric: one method, paired differences, and the dependence on N.

The target of every interval is the score EXPECTED over fleets of the same size N and forget sets of the same
size, drawn from the populations that these came from. It is not the score of infinitely many models: the
metric depends on N (its number of buckets does, and epsilon is a maximum over attacks), so N belongs
beside each score.

Models are shared by all examples and examples by all models, so both must be resampled. How, and how well the
intervals cover, is in `docs/metric.md`; `benchmarks/interval_coverage.py` repeats the simulation.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from random_mask.metrics import competition

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Fleet:
    """N models of one recipe that differ only in their seed, as the metric sees them.

    Attributes:
        confidences: [models, forget examples], logit-scaled confidences.
        retain_accuracy: [models], in [0, 1].
        test_accuracy: [models], in [0, 1].

    Raises:
        ValueError: On fewer than 2 models, NaN, infinity, an accuracy outside [0, 1] or shapes that do not
        match.
    """

    confidences: np.ndarray
    retain_accuracy: np.ndarray
    test_accuracy: np.ndarray

    def __post_init__(self) -> None:
        """Validate, and keep float64 arrays."""
        object.__setattr__(
            self, "confidences", competition.checked_confidences(self.confidences, "confidences")
        )
        for name in ("retain_accuracy", "test_accuracy"):
            values = competition.checked_finite(getattr(self, name), name)
            if values.shape != (len(self),):
                raise ValueError(f"{name} must be [{len(self)}], one value a model, not {values.shape}")
            wrong = np.flatnonzero((values < 0) | (values > 1))
            if wrong.size:
                raise ValueError(f"{name}[{wrong[0]}] is {values[wrong[0]]}, outside [0, 1]")
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self.confidences)

    def take(self, models: np.ndarray) -> "Fleet":
        """Return the fleet of these models (integer indices)."""
        return Fleet(self.confidences[models], self.retain_accuracy[models], self.test_accuracy[models])


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval; low <= estimate <= high."""

    estimate: float
    low: float
    high: float


def score(unlearned: Fleet, retrained: Fleet) -> float:
    """Return the competition's score: forgetting quality x (RA_u / RA_r) x (TA_u / TA_r).

    RA and TA are the mean retain and test accuracies of the fleets; their ratios are not capped at 1.

    Raises:
        ValueError: If the fleets hold different numbers of examples, or a mean accuracy of `retrained` is 0.
    """
    return float(_earned(unlearned, retrained)["score"].mean())


def score_intervals(
    unlearned: Fleet, retrained: Fleet, *, seed: int, replicates: int = 200
) -> dict[str, Interval]:
    """Return the 95 % intervals of "forgetting_quality" and "score", by name.

    Args:
        unlearned: The fleet to judge.
        retrained: The oracle fleet.
        seed: Of the resampling; equal seeds give equal intervals.
        replicates: How many half-samples of the models to draw, at least 2.
    """
    return _intervals(lambda u, r: _earned(u[0], r), [unlearned], retrained, seed, replicates)


def paired_difference(
    a: Fleet, b: Fleet, retrained: Fleet, *, seed: int, replicates: int = 200
) -> dict[str, Interval]:
    """Return the 95 % intervals of a's "forgetting_quality" and "score" minus b's, by name.

    Both are judged against the same oracle models on the same examples, in every replicate, so that what the
    two share cancels. The arguments are those of `score_intervals`.
    """

    def difference(unlearned: list[Fleet], oracle: Fleet) -> dict[str, np.ndarray]:
        first, second = (_earned(fleet, oracle) for fleet in unlearned)
        return {name: first[name] - second[name] for name in first}

    return _intervals(difference, [a, b], retrained, seed, replicates, lowest=-np.inf)


def scores_by_n(
    unlearned: Fleet, retrained: Fleet, *, seed: int, replicates: int = 200
) -> list[tuple[int, Interval]]:
    """Return (n, interval of the score) for n = 8, 16, ... models, from one pair of larger fleets."""
    largest = min(len(unlearned), len(retrained))
    rows, n = [], 8
    while n <= largest:
        rng = np.random.default_rng([seed, n])
        u, r = (fleet.take(rng.permutation(len(fleet))[:n]) for fleet in (unlearned, retrained))
        rows.append((n, score_intervals(u, r, seed=seed, replicates=replicates)["score"]))
        n *= 2
    return rows


def _earned(unlearned: Fleet, retrained: Fleet) -> dict[str, np.ndarray]:
    """Return what each example contributes to the mean that is the forgetting quality, or the score."""
    for name in ("retain_accuracy", "test_accuracy"):
        if not getattr(retrained, name).any():
            raise ValueError(f"retrained.{name} is 0 for every model: the score's ratio is undefined")
    epsilons = competition.epsilons(unlearned.confidences, retrained.confidences)
    points = competition.points(epsilons, len(unlearned))
    ratio = unlearned.retain_accuracy.mean() / retrained.retain_accuracy.mean()
    ratio *= unlearned.test_accuracy.mean() / retrained.test_accuracy.mean()
    return {"forgetting_quality": points, "score": points * ratio}


def _intervals(earned, unlearned, retrained, seed, replicates, lowest=0.0) -> dict[str, Interval]:
    """Return the intervals of the means of what `earned(unlearned fleets, retrained)` returns, by name."""
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, not {replicates}")
    rng = np.random.default_rng(seed)
    observed = earned(unlearned, retrained)
    halves = []
    for _ in range(replicates):
        *fleets, oracle = (
            fleet.take(rng.permutation(len(fleet))[: max(2, len(fleet) // 2)])
            for fleet in [*unlearned, retrained]
        )
        halves.append(earned(fleets, oracle))
    return {
        name: _interval(values, np.array([half[name] for half in halves]), lowest)
        for name, values in observed.items()
    }


def _interval(values: np.ndarray, halves: np.ndarray, lowest: float) -> Interval:
    n = len(values)
    examples = values.var(ddof=1) / n if n > 1 else 0.0
    models = halves.mean(axis=1).var(ddof=1)
    estimate = float(values.mean())
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(examples + models))
    return Interval(estimate, max(lowest, estimate - margin), estimate + margin)
