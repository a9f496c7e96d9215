"""95 % intervals: of the competition metric (one method, paired differences, dependence on N), and others.

The target of every interval is the score EXPECTED over fleets of the same size N and forget sets of the same
size, drawn from the populations that these came from. It is not the score of infinitely many models: the
metric depends on N (its number of buckets does, and epsilon is a maximum over attacks), so N belongs
beside each score.

Models are shared by all examples and examples by all models. An interval is estimate +- t x standard error,
whose square sums two variances: that of the examples' points, divided by the number of examples, and the
covariance that shared models bring, from random subsets of three quarters of the models. Subsets are drawn
without replacement: models drawn twice tie, which raises epsilon, so that an ordinary bootstrap of models is
centred on a score about a quarter too low. `benchmarks/interval_coverage.py` measures how well the intervals
cover; its results are in `docs/metric.md`.

`resampled_intervals` is the same for any other mean over examples. Statistics that each model has for itself
need no resampling: `interval_of_mean` and `interval_of_difference` are Student's and Welch's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import stdtrit

from random_mask.metrics import competition

CONFIDENCE = 0.95
SMALLEST_FLEET = 4


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
        ValueError: If the fleets hold different numbers of examples, or an accuracy of `retrained` is 0 on
            average.
    """
    return float(_contributions(unlearned, retrained)["score"].mean())


def score_intervals(
    unlearned: Fleet, retrained: Fleet, *, seed: int, replicates: int = 200, workers: int = 1
) -> dict[str, Interval]:
    """Return the 95 % intervals of "forgetting_quality" and "score", by name.

    Args:
        unlearned: The fleet to judge.
        retrained: The oracle fleet.
        seed: Of the resampling; equal seeds give equal intervals, whatever `workers` is.
        replicates: How many subsets of the models to draw, at least 2.
        workers: How many processes share them.

    Raises:
        ValueError: As `score` does.

    With fewer than 4 models in a fleet, or a single example, nothing is known of the spread: the interval is
    then all that is possible, from 0 to what full points for every example would give.
    """
    limits = _possible(unlearned, retrained)
    return resampled_intervals(
        _contributions, [unlearned, retrained], limits, seed=seed, replicates=replicates, workers=workers
    )


def paired_difference(
    a: Fleet, b: Fleet, retrained: Fleet, *, seed: int, replicates: int = 200, workers: int = 1
) -> dict[str, Interval]:
    """Return the 95 % intervals of a's "forgetting_quality" and "score" minus b's, by name.

    Both are judged against the same oracle models on the same examples, in every replicate, so that what the
    two share cancels; a beats b where low > 0. Arguments and errors are those of `score_intervals`.
    """
    of_a, of_b = _possible(a, retrained), _possible(b, retrained)
    limits = {name: (-of_b[name][1], of_a[name][1]) for name in of_a}
    return resampled_intervals(
        _difference, [a, b, retrained], limits, seed=seed, replicates=replicates, workers=workers
    )


def scores_by_n(
    unlearned: Fleet, retrained: Fleet, *, seed: int, replicates: int = 200, workers: int = 1
) -> list[tuple[int, Interval]]:
    """Return (n, the score expected of fleets of n models) for n = 8, 16, ... and the size of the fleets.

    For n below that size the estimate is a mean over `replicates` random subsets of n models of each fleet.
    Arguments and errors are those of `score_intervals`.
    """
    fleets = [unlearned, retrained]
    largest = min(map(len, fleets))
    rows = []
    n = 8
    while n < largest:
        subsets = _replicates(_contributions, fleets, [n, n], seed, replicates, workers)["score"]
        # A mean over all subsets is as good as a mean over largest / n separate fleets.
        shared = _shared_variance(subsets, n, largest) * n / largest
        rows.append((n, _interval(subsets.mean(axis=0), shared, largest, *_possible(*fleets)["score"])))
        n *= 2
    if largest >= 8:
        whole = score_intervals(*fleets, seed=seed, replicates=replicates, workers=workers)
        rows.append((largest, whole["score"]))
    return rows


def _contributions(unlearned: Fleet, retrained: Fleet) -> dict[str, np.ndarray]:
    """Return [examples]: what each example adds to the mean that is the forgetting quality, or the score."""
    epsilons = competition.epsilons(unlearned.confidences, retrained.confidences, bucketed=True)
    points = competition.points(epsilons, len(unlearned))
    return {"forgetting_quality": points, "score": points * _accuracy_ratio(unlearned, retrained)}


def _accuracy_ratio(unlearned: Fleet, retrained: Fleet) -> float:
    """Return what the forgetting quality is multiplied with to give the score."""
    for name in ("retain_accuracy", "test_accuracy"):
        if not getattr(retrained, name).any():
            raise ValueError(f"retrained.{name} is 0 for every model, and the score divides by it")
    retain = unlearned.retain_accuracy.mean() / retrained.retain_accuracy.mean()
    return float(retain * unlearned.test_accuracy.mean() / retrained.test_accuracy.mean())


def _difference(a: Fleet, b: Fleet, retrained: Fleet) -> dict[str, np.ndarray]:
    of_a, of_b = _contributions(a, retrained), _contributions(b, retrained)
    return {name: of_a[name] - of_b[name] for name in of_a}


def resampled_intervals(
    contributions: Callable[..., dict[str, np.ndarray]],
    fleets: Sequence[Fleet],
    limits: Mapping[str, tuple[float, float]],
    *,
    seed: int,
    replicates: int = 200,
    workers: int = 1,
) -> dict[str, Interval]:
    """Return the 95 % intervals of the means over examples of what `contributions(*fleets)` returns, by name.

    Args:
        contributions: From fleets to [examples] by name, what each example adds to a mean.
        fleets: Those to resample, each by itself.
        limits: By name, the least and the largest value that the mean can take.
        seed: Of the resampling; equal seeds give equal intervals, whatever `workers` is.
        replicates: How many subsets of the models to draw, at least 2.
        workers: How many processes share them.

    With fewer than 4 models in a fleet, or a single example, the interval is the limits.
    """
    n_models = min(map(len, fleets))
    observed = contributions(*fleets)
    if n_models < SMALLEST_FLEET or len(next(iter(observed.values()))) < 2:
        # Nothing is known of the spread.
        return {name: Interval(float(v.mean()), *limits[name]) for name, v in observed.items()}
    sizes = [subset_size(len(fleet)) for fleet in fleets]
    subsets = _replicates(contributions, fleets, sizes, seed, replicates, workers)
    intervals = {}
    for name, values in observed.items():
        # Of a fleet of three quarters the size; the score hardly varies less when a fleet grows.
        shared = _shared_variance(subsets[name], min(sizes), n_models)
        intervals[name] = _interval(values, shared, n_models, *limits[name])
    return intervals


def interval_of_mean(values: np.ndarray) -> Interval:
    """Return Student's 95 % interval of the mean of independent values [models >= 2]."""
    estimate = float(np.mean(values))
    margin = _t_margin([np.var(values, ddof=1) / len(values)], [len(values) - 1])
    return Interval(estimate, estimate - margin, estimate + margin)


def interval_of_difference(a: np.ndarray, b: np.ndarray) -> Interval:
    """Return Welch's 95 % interval of mean(a) - mean(b); values [models >= 2] of independent fleets."""
    estimate = float(np.mean(a) - np.mean(b))
    variances = [np.var(values, ddof=1) / len(values) for values in (a, b)]
    margin = _t_margin(variances, [len(a) - 1, len(b) - 1])
    return Interval(estimate, estimate - margin, estimate + margin)


def _t_margin(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Return the half-width of an interval whose variance is a sum, after Welch and Satterthwaite."""
    variance = sum(variances)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)


def _possible(unlearned: Fleet, retrained: Fleet) -> dict[str, tuple[float, float]]:
    """Return the least and the largest value that the forgetting quality and the score can take, by name."""
    quality = float(competition.points(0.0, len(unlearned)))  # two models have no bucket of points
    return {
        "forgetting_quality": (0.0, quality),
        "score": (0.0, quality * _accuracy_ratio(unlearned, retrained)),
    }


def subset_size(n_models: int) -> int:
    """Return how many of so many models a replicate takes."""
    return 3 * n_models // 4


def _replicates(contributions, fleets, sizes, seed, replicates, workers) -> dict[str, np.ndarray]:
    """Return [replicates, examples] by name: `contributions` of random subsets of the fleets' models."""
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, not {replicates}")
    one = partial(_replicate, contributions, fleets, sizes, seed)
    if workers == 1:
        results = [one(index) for index in range(replicates)]
    else:
        with ProcessPoolExecutor(workers) as pool:
            results = list(pool.map(one, range(replicates), chunksize=math.ceil(replicates / workers)))
    return {name: np.array([result[name] for result in results]) for name in results[0]}


def _replicate(contributions, fleets, sizes, seed, index) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, index])  # of its own, so that any process may take it
    return contributions(
        *(
            fleet.take(rng.choice(len(fleet), size, replace=False))
            for fleet, size in zip(fleets, sizes, strict=True)
        )
    )


def _shared_variance(replicates: np.ndarray, n: int, n_models: int) -> float:
    """Return the variance, over independent fleets of n models, of the mean over examples: the shared part.

    It is the part made of covariances between examples, which arise because examples share their models; the
    variances of single examples already show in the spread over examples. Subsets of n out of `n_models`
    models overlap, so their scores, [replicates, examples], vary less than those of independent fleets.
    """
    total = replicates.mean(axis=1).var(ddof=1)
    own = replicates.var(axis=0, ddof=1).sum() / replicates.shape[1] ** 2
    return max(0.0, float(total - own)) / (1 - n / n_models)


def _interval(
    values: np.ndarray, shared_variance: float, n_models: int, lowest: float, highest: float
) -> Interval:
    """Return the interval of the mean of `values` [examples], clipped to what is possible."""
    estimate = float(values.mean())
    own_variance = float(values.var(ddof=1)) / len(values)
    # One part is known from the examples, the other from the models.
    margin = _t_margin([own_variance, shared_variance], [len(values) - 1, n_models - 1])
    if margin == 0:
        return Interval(estimate, estimate, estimate)
    # A mean of products may exceed its limit by rounding.
    return Interval(
        estimate,
        min(estimate, max(lowest, estimate - margin)),
        max(estimate, min(highest, estimate + margin)),
    )
