"""Shift and spread of confidences are what a direct computation gives, and their intervals cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_mask.metrics.spread import (
    absolute_shift,
    absolute_shift_difference,
    corrected,
    shift,
    spread_ratio,
)
from random_mask.report.study import positions


def ends(interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 7))
def test_they_are_what_a_direct_computation_gives(seed, models, examples):
    rng = np.random.default_rng(seed)
    fleet, oracle = rng.normal(size=(2, models, examples)) * rng.uniform(0.5, 2, size=examples) + 3
    shifts, logarithms = [], []
    for own, retrained in zip(fleet.T, oracle.T, strict=True):
        deviations = [
            np.sqrt(sum((x - np.mean(of)) ** 2 for x in of) / (models - 1)) for of in (own, retrained)
        ]
        shifts.append((np.mean(own) - np.mean(retrained)) / deviations[1])
        logarithms.append(np.log(deviations[0] / deviations[1]))
    assert shift(fleet, oracle).estimate == pytest.approx(sum(shifts) / examples)
    assert spread_ratio(fleet, oracle).estimate == pytest.approx(np.exp(sum(logarithms) / examples))
    assert absolute_shift(fleet, oracle).estimate == pytest.approx(sum(map(abs, shifts)) / examples)


@given(st.integers(0, 1000), st.floats(0.3, 3.0))
def test_the_ratio_of_spreads_scales(seed, ratio):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 12, 30)) + rng.normal(size=30)
    found, scaled = spread_ratio(a, b), spread_ratio(ratio * a, b)
    assert ends(scaled) == pytest.approx([ratio * end for end in ends(found)])
    assert spread_ratio(b, a).estimate == pytest.approx(1 / found.estimate)
    assert found.low < found.estimate < found.high


@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.1, 10), st.floats(-50, 50))
def test_the_shift_is_in_units_of_the_retrained_models(seed, moved, unit, origin):
    rng = np.random.default_rng(seed)
    fleet, oracle = rng.normal(size=(2, 12, 30))
    found = shift(fleet, oracle)
    assert ends(shift(fleet * unit + origin, oracle * unit + origin)) == pytest.approx(ends(found), abs=1e-9)
    by = moved * oracle.std(axis=0, ddof=1)
    assert shift(fleet + by, oracle).estimate == pytest.approx(found.estimate + moved)


def test_opposite_shifts_cancel_in_the_mean_and_not_in_that_of_their_absolute_values():
    oracle = np.random.default_rng(3).normal(size=(12, 40))
    by = oracle.std(axis=0, ddof=1) * np.tile([2.0, -2.0], 20)
    assert shift(oracle + by, oracle).estimate == pytest.approx(0)
    assert absolute_shift(oracle + by, oracle).estimate == pytest.approx(2)
    nearer = absolute_shift_difference(oracle + by / 2, oracle + by, oracle)
    assert nearer.estimate == pytest.approx(-1)
    assert nearer.high < 0


@given(st.integers(0, 1000))
def test_a_corrected_fleet_is_right_in_that_and_as_it_was_in_the_rest(seed):
    rng = np.random.default_rng(seed)
    oracle = rng.normal(size=(12, 7)) * rng.uniform(0.5, 2, size=7)
    fleet = 0.3 * rng.normal(size=(12, 7)) + rng.normal(size=7) + 2
    by = {what: corrected(fleet, oracle, what) for what in ("shift", "means", "spreads")}
    assert shift(by["shift"], oracle).estimate == pytest.approx(0, abs=1e-9)
    assert absolute_shift(by["means"], oracle).estimate == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(by["spreads"].std(axis=0), oracle.std(axis=0))
    np.testing.assert_allclose(by["spreads"].mean(axis=0), fleet.mean(axis=0))
    for what in ("shift", "means"):
        np.testing.assert_allclose(by[what].std(axis=0), fleet.std(axis=0))
    moved = (by["shift"] - fleet) / oracle.std(axis=0)
    np.testing.assert_allclose(moved, moved[0, 0])


def test_a_fleet_that_does_not_vary_is_given_no_spread():
    oracle = np.random.default_rng(4).normal(size=(6, 3))
    fleet = np.ones((6, 3))
    np.testing.assert_array_equal(corrected(fleet, oracle, "spreads"), fleet)


def test_a_model_that_stands_for_a_fleet_has_no_spread():
    rng = np.random.default_rng(0)
    oracle = rng.normal(size=(10, 5))
    one = np.repeat(rng.normal(size=(1, 5)), 10, axis=0)  # whose mean is rounded
    assert one.std(axis=0).any()
    assert ends(spread_ratio(one, oracle)) == (0.0, 0.0, 0.0)
    assert np.isfinite(ends(shift(one, oracle))).all()


@pytest.mark.parametrize(("models", "examples"), [(2, 1), (2, 5), (3, 1)])
def test_the_smallest_fleets_have_finite_intervals(models, examples):
    fleet, oracle = np.random.default_rng(1).normal(size=(2, models, examples))
    for statistic in (shift, spread_ratio, absolute_shift):
        found = statistic(fleet, oracle)
        assert np.isfinite(ends(found)).all()
        assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize(
    ("statistic", "truth", "made"),
    [(spread_ratio, 1 / 1.5, lambda b: 1.5 * b), (shift, -0.5, lambda b: b + 0.5)],
)
def test_the_intervals_cover(statistic, truth, made):
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        # Models differ as a whole, so that examples are not independent.
        a, b = ((rng.normal(size=(16, 30)) + rng.normal(size=(16, 1))) / np.sqrt(2) for _ in range(2))
        found = statistic(a, made(b))
        covered += found.low <= truth <= found.high
    assert covered >= 180


def test_of_several_original_models_the_mean_is_taken():
    rng = np.random.default_rng(2)
    oracle, *fleets = rng.normal(size=(3, 8, 6))
    arrays = {"oracle/oracle_confidences": oracle, "method_b/0/confidences": oracle + 9}
    arrays |= {f"method/{number}/confidences": fleet for number, fleet in enumerate(fleets)}
    found = positions(arrays, ["method"])["method"]
    for pooled, statistic in zip(found, (shift, spread_ratio, absolute_shift), strict=True):
        each = [statistic(fleet, oracle).estimate for fleet in fleets]
        assert pooled.estimate == pytest.approx(np.mean(each))
