"""The competition metric: against the released code's results, the definition, and its own promises."""

import tracemalloc
from pathlib import Path

import brute_force
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from random_mask.metrics import competition

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metric_cases.npz")
CASES = sorted({key.split("/")[0] for key in GOLDEN.files} - {"confidence"})


def one_example(unlearned, retrained):
    """Return both fleets as [models, 1]."""
    return np.array(unlearned, float)[:, None], np.array(retrained, float)[:, None]


def fleets_of(values):
    """Return a strategy of two fleets of 2 to 12 models, one example, with these confidences."""
    fleet = st.lists(values, min_size=2, max_size=12)
    return st.tuples(fleet, fleet).map(lambda pair: one_example(*pair))


# Ties with each other, with the ends of both grids, and with float32 points of the single-threshold grid.
tying = st.sampled_from(
    [-103.27892990343184, -2.0, 0.0, 0.01, 0.1, 1.0, 1.5, 2.0, 3.99, 4.0, 103.27892990343184]
)
smooth = st.floats(-6, 6).map(lambda value: round(value, 6))
tiny = st.floats(-0.03, 0.03)


# The released code's results


@pytest.mark.parametrize("case", CASES)
def test_golden_case(case):
    unlearned, retrained = GOLDEN[f"{case}/unlearned"], GOLDEN[f"{case}/retrained"]
    np.testing.assert_allclose(
        competition.epsilons(unlearned, retrained), GOLDEN[f"{case}/epsilons"], rtol=0, atol=1e-5
    )
    quality = competition.forgetting_quality(unlearned, retrained)
    assert quality == pytest.approx(float(GOLDEN[f"{case}/forgetting_quality"]), abs=1e-12)


def test_golden_confidences():
    logits, labels = GOLDEN["confidence/logits"], GOLDEN["confidence/labels"]
    expected = GOLDEN["confidence/logit_scaled"]
    actual = competition.logit_scaled_confidence(logits, labels)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    fleet = competition.logit_scaled_confidence(np.stack([logits, logits + 5.0]), labels)
    assert fleet.shape == (2, len(labels))
    np.testing.assert_array_equal(fleet[0], actual)
    np.testing.assert_allclose(fleet[1], expected, rtol=0, atol=1e-9)  # a constant shift changes nothing


# The released code's arithmetic of confidences: exponentials in the logits' own float32


@pytest.mark.parametrize("gap", [0.5, 20.0, 60.0, 88.0, 95.0, 100.0, 102.0, 103.0, 104.0, 150.0])
def test_float32_confidences_equal_the_definition(gap):
    logits, labels = np.array([[3.0, 3.0 - gap, 2.5 - gap], [3.0 - gap, 3.0, 2.5 - gap]]), [0, 0]
    expected = []
    for row in logits.astype(np.float32):
        # Rounded to float32 where it is exact, which keeps what is below float32's smallest numbers out.
        weights = [float(np.float32(np.exp(float(logit - row.max())))) for logit in row]
        shares = [weight / sum(weights) for weight in weights]
        expected.append(np.log(shares[0] + 1e-45) - np.log(shares[1] + shares[2] + 1e-45))
    actual = competition.logit_scaled_confidence(logits, labels, precision="float32")
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_float32_matters_where_logits_are_saturated():
    rng = np.random.default_rng(11)
    logits, labels = rng.normal(0, 3, (200, 10)).astype(np.float32), rng.integers(10, size=200)
    both = [competition.logit_scaled_confidence(logits, labels, precision=p) for p in ("float64", "float32")]
    assert 0 < np.abs(both[0] - both[1]).max() < 1e-6
    # Nine classes of exp(-104), which is nothing in float32.
    saturated = np.array([[0.0] + 9 * [-104.0]])
    double, single = (
        competition.logit_scaled_confidence(saturated, [0], precision=p)[0] for p in ("float64", "float32")
    )
    assert single == pytest.approx(45 * np.log(10), abs=0.01)
    assert single - double == pytest.approx(np.log1p(9 * np.exp(-104) / 1e-45), abs=0.01)  # 1.96


def test_float32_can_change_an_epsilon():
    rng = np.random.default_rng(12)
    logits, labels = np.zeros((2, 16, 40, 10)), np.zeros(40, int)
    logits[..., 1:] = -rng.normal([[[[102.0]]], [[[103.0]]]], 2.0, (2, 16, 40, 1))
    double, single = (
        competition.epsilons(*competition.logit_scaled_confidence(logits, labels, precision=p))
        for p in ("float64", "float32")
    )
    assert (double != single).any()
    assert (double == single).any()


def test_logits_beyond_float32_are_located():
    with pytest.raises(ValueError, match=r"logits in float32\[1, 0\] is inf"):
        competition.logit_scaled_confidence([[0.0, 1.0], [1e39, 0.0]], [0, 0], precision="float32")


# The definition, visited threshold by threshold


@pytest.mark.parametrize("values", [tying, smooth, tiny], ids=["tying", "smooth", "tiny"])
def test_epsilons_equal_the_definition(values):
    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(fleets_of(values))
    def check(fleets):
        np.testing.assert_array_equal(competition.epsilons(*fleets), brute_force.epsilons(*fleets))

    check()


@pytest.mark.parametrize("spread", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("n_models", [2, 3, 37, 100])
def test_epsilons_equal_the_definition_for_gaussians(n_models, spread):
    rng = np.random.default_rng([n_models, int(10 * spread)])
    unlearned = rng.normal(0.0, spread, (n_models, 3))
    retrained = rng.normal([0.0, 0.5 * spread, 0.0], [spread, spread, 0.8 * spread], (n_models, 3))
    expected = brute_force.epsilons(unlearned, retrained)
    np.testing.assert_array_equal(competition.epsilons(unlearned, retrained), expected)
    quality = competition.forgetting_quality(unlearned, retrained)
    assert quality == pytest.approx(brute_force.forgetting_quality(unlearned, retrained), abs=1e-15)


@pytest.mark.parametrize("values", [tying, smooth, tiny], ids=["tying", "smooth", "tiny"])
def test_bucketed_epsilons_are_the_starts_of_their_buckets(values):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(fleets_of(values))
    def check(fleets):
        expected = np.floor(competition.epsilons(*fleets) / 0.5) * 0.5
        np.testing.assert_array_equal(competition.epsilons(*fleets, bucketed=True), expected)

    check()


@pytest.mark.parametrize(
    ("name", "value"), [("VALUES_PER_BLOCK", 1), ("FIRST_GUESS", 0.0), ("FIRST_GUESS", 9.0), ("ATTEMPTS", 0)]
)
def test_what_changes_the_speed_changes_no_epsilon(name, value, monkeypatch):
    rng = np.random.default_rng(13)
    unlearned = np.concatenate([rng.normal(size=(24, 8)), rng.normal(0, 1, (24, 8)).round(1)], axis=1)
    retrained = rng.normal(0.3, 1.2, (30, 16))
    kinds = [{}, {"bucketed": True}]
    expected = [competition.epsilons(unlearned, retrained, **kind) for kind in kinds]
    monkeypatch.setattr(competition, name, value)
    for kind, epsilons in zip(kinds, expected, strict=True):
        np.testing.assert_array_equal(competition.epsilons(unlearned, retrained, **kind), epsilons)


@pytest.mark.parametrize(
    ("scale", "offset"), [(1e-3, 0), (0.1, 3), (5, 0), (5, 1e3), (300, -1e5), (2e3, 0), (2, 1e9)]
)
def test_single_threshold_grid_is_torch_linspace(scale, offset):
    """Bit for bit: confidences are put on grid points, where one bit decides the count."""
    rng = np.random.default_rng(int(scale * 1000))
    for _ in range(10):
        values = np.sort(rng.normal(offset, scale, 30))
        n_points = int(np.ceil((values[-1] - values[0]) * 100))
        grid = torch.linspace(torch.tensor(values[0]), torch.tensor(values[-1]), n_points).double().numpy()
        if n_points > 2:
            values[5:25] = rng.choice(grid, 20).clip(values[0], values[-1])
            values.sort()
        expected = [np.count_nonzero(grid <= value) for value in values]
        ends = np.full_like(values, values[0]), np.full_like(values, values[-1])
        actual = competition._grid_points_up_to(values, *ends)
        np.testing.assert_array_equal(actual, expected)


@given(fleets_of(st.one_of(tying, smooth)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_all_intervals_equal_a_search_by_hand(fleets):
    unlearned, retrained = (fleet[:, 0] for fleet in fleets)
    assume(np.ptp(unlearned) > 0 and np.ptp(retrained) > 0)
    assume(0.01 < np.ptp(unlearned) / np.ptp(retrained) < 100)
    retrained_higher = np.median(retrained) > np.median(unlearned)
    positive, negative = (retrained, unlearned) if retrained_higher else (unlearned, retrained)
    narrow, wide = (positive, negative) if np.ptp(positive) < np.ptp(negative) else (negative, positive)
    thresholds = np.unique(np.concatenate(fleets))
    rates = [(np.mean(negative >= t), np.mean(positive < t)) for t in thresholds]
    for i, left in enumerate(thresholds):
        for right in thresholds[i:]:
            selects_wide = (wide >= left) & (wide <= right)
            selects_narrow = (narrow >= left) & (narrow <= right)
            rates.append((np.mean(selects_wide), np.mean(~selects_narrow)))
    by_hand = brute_force.epsilon_of_rates(*np.array(rates, np.float32).T)
    by_hand = by_hand[~np.isnan(by_hand)]
    expected = min(by_hand.max(), 50.0) if by_hand.size else 50.0
    assert competition.epsilons_all_intervals(*fleets)[0] == pytest.approx(expected, abs=1e-6)


@given(fleets_of(smooth))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_all_intervals_are_never_below_the_grids(fleets):
    on_grids = competition.epsilons(*fleets)[0]
    assume(on_grids < 50.0)
    assert competition.epsilons_all_intervals(*fleets)[0] >= on_grids


# Properties


@given(fleets_of(smooth), st.randoms())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_order_of_models_and_names_of_fleets_do_not_matter(fleets, random):
    unlearned, retrained = fleets
    assume(np.median(unlearned) != np.median(retrained))
    assume(np.ptp(unlearned) != np.ptp(retrained))
    epsilon = competition.epsilons(unlearned, retrained)
    shuffled = np.array(random.sample(unlearned.tolist(), len(unlearned)))
    assert competition.epsilons(shuffled, retrained) == epsilon
    assert competition.epsilons(retrained, unlearned) == epsilon


def test_examples_do_not_influence_each_other():
    rng = np.random.default_rng(5)
    unlearned, retrained = rng.normal(size=(2, 20, 6))
    together = competition.epsilons(unlearned, retrained)
    apart = [competition.epsilons(unlearned[:, [i]], retrained[:, [i]])[0] for i in range(6)]
    np.testing.assert_array_equal(together, apart)


def test_identical_populations_do_not_score_one():
    rng = np.random.default_rng(6)
    unlearned, retrained = rng.normal(size=(2, 64, 200))
    assert 0.15 < competition.forgetting_quality(unlearned, retrained) < 0.23


def test_inputs_are_not_modified():
    rng = np.random.default_rng(7)
    logits, labels = rng.normal(size=(4, 5, 3)), np.array([0, 1, 2, 0, 1])
    confidences = [rng.normal(size=(4, 5)) for _ in range(2)]
    arrays = [logits, labels, *confidences]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False  # an attempt would raise
    competition.logit_scaled_confidence(logits, labels)
    competition.forgetting_quality(*confidences)
    competition.epsilons_all_intervals(*confidences)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_torch_tensors_give_the_same_numbers():
    rng = np.random.default_rng(8)
    logits, labels = rng.normal(size=(2, 9, 6, 3)), np.array([0, 1, 2, 0, 1, 2])
    confidences = competition.logit_scaled_confidence(logits, labels)
    tensors = torch.tensor(logits, requires_grad=True), torch.tensor(labels)
    np.testing.assert_array_equal(competition.logit_scaled_confidence(*tensors), confidences)
    half = torch.tensor(logits).bfloat16()
    expected = competition.logit_scaled_confidence(half.double().numpy(), labels)
    np.testing.assert_array_equal(competition.logit_scaled_confidence(half, labels), expected)
    quality = competition.forgetting_quality(torch.tensor(confidences[0]), torch.tensor(confidences[1]))
    assert quality == competition.forgetting_quality(*confidences)


@pytest.mark.parametrize("scale", [1e4, 1e8, 1e11])
def test_heavy_tails_stay_cheap(scale):
    """The grid would have 100 points a unit; neither its memory nor its time may be spent."""
    unlearned, retrained = np.random.default_rng(9).standard_cauchy((2, 512, 4)) * scale / 1e4
    tracemalloc.start()
    epsilons = competition.epsilons(unlearned, retrained)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.all((epsilons >= 0) & (epsilons <= 50))
    assert peak < 20e6


# Special cases, as the docstring of `epsilons` defines them


@pytest.mark.parametrize(
    ("unlearned", "retrained", "expected"),
    [
        ([1.5, 1.5], [1.5, 1.5], 0.0),  # constant and equal
        ([1.5, 1.5], [1.5001, 1.5001], 50.0),  # constant and different, closer than the grid's step
        ([1.5, 1.5], [-103.0, -103.0], 50.0),
        ([1.5, 1.5], [1.0, 2.0], 50.0),  # one range is less than 1 % of the other
        ([1.50, 1.504], [1.0, 2.0], 50.0),
        ([0.0, 1.0, 2.0], [5.0, 6.0, 7.0], 50.0),  # separated: FPR = FNR = 0
        ([0.0, 0.001, 0.002], [0.001, 0.002, 0.003], 50.0),  # a single grid point: every attack is discarded
        (
            [0.0, 1.0, 1.0],
            [1.0, 1.0, 2.0],
            0.0,
        ),  # touching in a tie: only `exactly 1.0` survives, at FPR = FNR
    ],
)
@pytest.mark.parametrize("variant", [competition.epsilons, competition.epsilons_all_intervals])
def test_special_cases(unlearned, retrained, expected, variant):
    if variant is competition.epsilons_all_intervals and unlearned == [0.0, 0.001, 0.002]:
        expected = np.float32(np.log(2 / 3 - 1e-5) - np.log(1 / 3))  # the variant resolves it
    assert variant(*one_example(unlearned, retrained))[0] == pytest.approx(expected, abs=1e-5)


def test_fleets_of_different_sizes():
    rng = np.random.default_rng(10)
    unlearned, retrained = rng.normal(size=(9, 3)), rng.normal(size=(30, 3))
    for pair in ((unlearned, retrained), (retrained, unlearned)):
        np.testing.assert_array_equal(competition.epsilons(*pair), brute_force.epsilons(*pair))


def test_saturated_logits_reach_the_floor_of_the_statistic():
    logits = np.array([[0.0, -1000.0, -1000.0], [0.0, -1000.0, -1000.0]])
    confidences = competition.logit_scaled_confidence(logits, [0, 1])
    np.testing.assert_allclose(confidences, [45 * np.log(10), -45 * np.log(10)], atol=0.7)
    assert confidences[0] == -competition.logit_scaled_confidence(-logits[:, :2] - 1000.0, [0, 0])[0]


# Points


@pytest.mark.parametrize(
    ("n_models", "buckets"), [(2, 0), (3, 2), (8, 4), (32, 8), (64, 10), (256, 12), (512, 14)]
)
def test_points_halve_per_bucket(n_models, buckets):
    starts = np.arange(buckets) / 2
    np.testing.assert_array_equal(competition.points(starts, n_models), 0.5 ** np.arange(buckets))
    np.testing.assert_array_equal(competition.points(starts + 0.4999, n_models), 0.5 ** np.arange(buckets))
    np.testing.assert_array_equal(competition.points([buckets / 2, 50.0], n_models), [0.0, 0.0])


# Errors name the argument and the place


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e13])
@pytest.mark.parametrize("argument", ["unlearned", "retrained"])
def test_bad_confidence_is_located(bad, argument):
    arrays = {"unlearned": np.zeros((4, 3)), "retrained": np.zeros((4, 3))}
    arrays[argument][2, 1] = bad
    with pytest.raises(ValueError, match=rf"{argument}\[2, 1\]"):
        competition.epsilons(**arrays)


@pytest.mark.parametrize(
    ("unlearned", "retrained", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), r"unlearned must be \[models >= 2"),
        (np.zeros((4, 3)), np.zeros((1, 3)), r"retrained must be \[models >= 2"),
        (np.zeros(4), np.zeros((4, 3)), "unlearned must be"),
        (np.zeros((4, 0)), np.zeros((4, 0)), "examples >= 1"),
        (np.zeros((4, 3)), np.zeros((4, 2)), r"unlearned \(4, 3\) and retrained \(4, 2\)"),
        ([["a", "b"], ["c", "d"]], np.zeros((4, 2)), "unlearned must be an array of real numbers"),
        (np.zeros((2, 2)), [[1.0], [1.0, 2.0]], "retrained must be an array of real numbers"),
    ],
)
def test_bad_fleets_are_refused(unlearned, retrained, message):
    with pytest.raises(ValueError, match=message):
        competition.forgetting_quality(unlearned, retrained)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 3], r"labels\[1\] is 3, outside \[0, 3\)"),
        (np.zeros((2, 3)), [-1, 0], r"labels\[0\] is -1"),
        (np.zeros((2, 3)), [0], r"labels must be \[2\]"),
        (np.zeros((2, 3)), [0.0, 1.0], "labels must be integers"),
        (np.zeros((2, 1)), [0, 0], "classes >= 2"),
        (np.zeros(3), [0], "examples, classes"),
        (np.zeros((4, 0, 3)), np.zeros(0, int), "not empty"),
        ([[0.0, 1.0], [np.nan, 1.0]], [0, 0], r"logits\[1, 0\] is nan"),
        ([[0.0, 1.0], [2.0, -np.inf]], [0, 0], r"logits\[1, 1\] is -inf"),
    ],
)
def test_bad_logits_are_refused(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        competition.logit_scaled_confidence(logits, labels)


@pytest.mark.parametrize(
    ("epsilons", "n_models", "message"),
    [([0.1], 1, "n_models"), ([0.1, -0.1], 8, r"epsilons\[1\]"), ([np.nan], 8, r"epsilons\[0\]")],
)
def test_bad_points_are_refused(epsilons, n_models, message):
    with pytest.raises(ValueError, match=message):
        competition.points(epsilons, n_models)
