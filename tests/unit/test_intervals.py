"""Intervals: what they promise, that they cover, and that they are honest about bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from random_mask.metrics import competition, intervals
from random_mask.metrics.intervals import Fleet


def fleet(rng, n_models=8, n_examples=12, shift=0.0, shared=0.0, mean=0.0):
    """Return a Gaussian fleet; `shared` is the share of variance that a model's examples have in common."""
    of_model = rng.normal(size=(n_models, 1))
    noise = np.sqrt(shared) * of_model + np.sqrt(1 - shared) * rng.normal(size=(n_models, n_examples))
    return Fleet(mean + shift + noise, rng.uniform(0.8, 1.0, n_models), rng.uniform(0.6, 0.8, n_models))


def pair(seed, **unlearned):
    rng = np.random.default_rng(seed)
    return fleet(rng, **unlearned), fleet(rng)


# The score


def test_score_is_quality_times_uncapped_accuracy_ratios():
    unlearned, retrained = pair(0)
    perfect = Fleet(unlearned.confidences, np.ones(8), np.full(8, 0.5))
    quality = competition.forgetting_quality(unlearned.confidences, retrained.confidences)
    expected = quality / retrained.retain_accuracy.mean() * 0.5 / retrained.test_accuracy.mean()
    assert quality > 0
    assert intervals.score(perfect, retrained) == pytest.approx(expected, rel=1e-12)


def test_estimates_are_the_plain_numbers_on_all_data():
    unlearned, retrained = pair(1)
    result = intervals.score_intervals(unlearned, retrained, seed=0, replicates=3)
    quality = competition.forgetting_quality(unlearned.confidences, retrained.confidences)
    assert result["forgetting_quality"].estimate == pytest.approx(quality, rel=1e-12)
    assert result["score"].estimate == intervals.score(unlearned, retrained)


# Intervals


@given(
    st.integers(0, 10**6),
    st.sampled_from([4, 5, 8, 9]),
    st.sampled_from([2, 3, 8]),
    st.sampled_from([0.0, 0.7, 6.0]),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_intervals_are_ordered_and_possible(seed, n_models, n_examples, shift):
    rng = np.random.default_rng(seed)
    a, b, retrained = (fleet(rng, n_models, n_examples, s) for s in (shift, 0.0, 0.0))
    for name, value in intervals.score_intervals(a, retrained, seed=seed, replicates=3).items():
        assert 0 <= value.low <= value.estimate <= value.high
        if name == "forgetting_quality":
            assert value.high <= 1
    for value in intervals.paired_difference(a, b, retrained, seed=seed, replicates=3).values():
        assert value.low <= value.estimate <= value.high


def test_seed_decides_and_workers_do_not():
    rng = np.random.default_rng(2)
    fleets = [fleet(rng, 16, 30, shared=0.7) for _ in range(2)]
    first = intervals.score_intervals(*fleets, seed=1, replicates=6)
    assert intervals.score_intervals(*fleets, seed=1, replicates=6) == first
    assert intervals.score_intervals(*fleets, seed=1, replicates=6, workers=2) == first
    assert intervals.score_intervals(*fleets, seed=2, replicates=6) != first


def test_subsets_are_drawn_without_replacement():
    """Models drawn twice tie, which raises epsilon: such replicates would be centred far too low."""
    rng = np.random.default_rng(3)
    fleets = [fleet(rng, 16, 60) for _ in range(2)]
    sizes = [intervals.subset_size(16)] * 2
    subsets = intervals._replicates(intervals._contributions, fleets, sizes, 0, 8, 1)["forgetting_quality"]
    again = [
        competition.forgetting_quality(*(f.confidences[rng.integers(16, size=16)] for f in fleets))
        for _ in range(8)
    ]
    assert np.mean(again) < subsets.mean() - 0.02


def test_shared_variance_is_that_of_a_shared_effect():
    """Subsets of a finite fleet: examples' own noise must be left out, and the overlap made up for."""
    rng = np.random.default_rng(4)
    models = rng.normal(size=40)
    subsets = np.array([rng.permutation(models)[:20].mean() for _ in range(4000)])
    own = rng.normal(0, 5, size=(4000, 50))
    variance = intervals._shared_variance(subsets[:, None] + own, 20, 40)
    assert variance == pytest.approx(models.var(ddof=1) / 20, rel=0.25)
    assert intervals._shared_variance(own - own.mean(axis=1, keepdims=True), 20, 40) == 0


@pytest.mark.parametrize(("shift", "shared"), [(0.0, 0.6), (0.4, 0.4)])
def test_intervals_cover(shift, shared):
    """The seeded, short twin of benchmarks/interval_coverage.py; see there what other intervals cover."""
    n_models, n_examples = 10, 50
    rng = np.random.default_rng([5, int(shift * 10)])

    def draw():
        mean = rng.normal(0, 2, n_examples)
        unlearned = fleet(rng, n_models, n_examples, shift, shared, mean)
        return unlearned, fleet(rng, n_models, n_examples, 0.0, shared, mean)

    expected = np.mean([intervals.score(*draw()) for _ in range(80)])
    found = [intervals.score_intervals(*draw(), seed=i, replicates=10)["score"] for i in range(20)]
    assert np.mean([value.low <= expected <= value.high for value in found]) >= 0.9
    width = np.mean([value.high - value.low for value in found])
    spread = np.std([value.estimate for value in found])
    assert width < 8 * spread  # not wide beyond use: 3.92 would be ideal


def test_no_points_no_interval():
    unlearned, retrained = pair(6, shift=1000.0)
    value = intervals.score_intervals(unlearned, retrained, seed=0, replicates=2)["score"]
    assert (value.estimate, value.low, value.high) == (0.0, 0.0, 0.0)


# Paired differences


def test_a_method_does_not_differ_from_itself_or_from_its_twin_in_sign():
    unlearned, retrained = pair(7)
    other = fleet(np.random.default_rng(8))
    forward = intervals.paired_difference(unlearned, other, retrained, seed=0, replicates=4)["score"]
    assert forward.estimate == pytest.approx(
        intervals.score(unlearned, retrained) - intervals.score(other, retrained), abs=1e-12
    )
    equal = intervals.paired_difference(retrained, retrained, retrained, seed=0, replicates=4)["score"]
    assert equal.estimate == 0
    assert equal.low <= 0 <= equal.high


def test_a_clear_difference_is_found():
    rng = np.random.default_rng(9)
    good, bad, retrained = (fleet(rng, 16, 40, shift) for shift in (0.0, 3.0, 0.0))
    difference = intervals.paired_difference(good, bad, retrained, seed=0, replicates=8)
    assert difference["score"].low > 0
    assert difference["forgetting_quality"].low > 0
    assert intervals.paired_difference(bad, good, retrained, seed=0, replicates=8)["score"].high < 0


# By N


def test_scores_by_n_doubles_up_to_the_fleet():
    rng = np.random.default_rng(10)
    fleets = [fleet(rng, 16, 20) for _ in range(2)]
    rows = intervals.scores_by_n(*fleets, seed=0, replicates=4)
    assert [n for n, _ in rows] == [8, 16]
    assert rows[-1][1] == intervals.score_intervals(*fleets, seed=0, replicates=4)["score"]
    subsets = intervals._replicates(intervals._contributions, fleets, [8, 8], 0, 4, 1)["score"]
    assert rows[0][1].estimate == pytest.approx(subsets.mean())
    assert rows[0][1].low < rows[0][1].estimate < rows[0][1].high
    uneven = [fleet(rng, 20, 20), fleet(rng, 12, 20)]
    assert [n for n, _ in intervals.scores_by_n(*uneven, seed=0, replicates=2)] == [8, 12]
    assert intervals.scores_by_n(*pair(0, n_models=7), seed=0, replicates=2) == []


# Errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confidences": np.zeros((1, 3))}, r"confidences must be \[models >= 2"),
        ({"confidences": np.full((4, 3), np.nan)}, r"confidences\[0, 0\] is nan"),
        ({"retain_accuracy": np.ones(3)}, r"retain_accuracy must be \[4\]"),
        ({"test_accuracy": np.ones((4, 1))}, r"test_accuracy must be \[4\]"),
        ({"test_accuracy": np.array([1, 1, 1.5, 1])}, r"test_accuracy\[2\] is 1.5, outside"),
        ({"retain_accuracy": np.array([1, -0.1, 1, 1])}, r"retain_accuracy\[1\] is -0.1"),
        ({"retain_accuracy": np.array([1, 1, np.inf, 1])}, r"retain_accuracy\[2\] is inf"),
    ],
)
def test_bad_fleets_are_refused(change, message):
    good = {"confidences": np.zeros((4, 3)), "retain_accuracy": np.ones(4), "test_accuracy": np.ones(4)}
    with pytest.raises(ValueError, match=message):
        Fleet(**(good | change))


@pytest.mark.parametrize(("n_models", "n_examples"), [(3, 5), (8, 1)])
def test_where_nothing_is_known_of_the_spread_all_is_possible(n_models, n_examples):
    a, b, retrained = (
        fleet(np.random.default_rng(i), n_models=n_models, n_examples=n_examples) for i in range(3)
    )
    half = Fleet(a.confidences, a.retain_accuracy / 2, a.test_accuracy)
    found = intervals.score_intervals(half, retrained, seed=0)
    quality = competition.forgetting_quality(half.confidences, retrained.confidences)
    assert found["forgetting_quality"] == intervals.Interval(quality, 0.0, 1.0)
    most = (half.retain_accuracy.mean() / retrained.retain_accuracy.mean()) * (
        half.test_accuracy.mean() / retrained.test_accuracy.mean()
    )
    assert (found["score"].low, found["score"].high) == (0.0, pytest.approx(most))
    difference = intervals.paired_difference(a, b, retrained, seed=0)["forgetting_quality"]
    assert (difference.low, difference.high) == (-1.0, 1.0)


def test_two_models_earn_nothing_whatever_they_are():
    a, retrained = (fleet(np.random.default_rng(i), n_models=2, n_examples=5) for i in range(2))
    found = intervals.score_intervals(a, retrained, seed=0)
    assert found["score"] == found["forgetting_quality"] == intervals.Interval(0.0, 0.0, 0.0)


def test_what_intervals_refuse():
    unlearned, retrained = pair(11)
    with pytest.raises(ValueError, match="replicates must be at least 2"):
        intervals.score_intervals(unlearned, retrained, seed=0, replicates=1)
    with pytest.raises(ValueError, match="same examples"):
        intervals.score(fleet(np.random.default_rng(0), n_examples=3), retrained)
    dead = Fleet(retrained.confidences, np.zeros(8), np.ones(8))
    with pytest.raises(ValueError, match="retain_accuracy is 0"):
        intervals.score(unlearned, dead)
