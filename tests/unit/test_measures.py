"""The measures beside the score, on distributions whose answer is known."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from random_mask.artifacts.files import write_npz
from random_mask.data.splits import SPLITS
from random_mask.metrics import gaps, klom, mia, relearn, rmia, ulira
from random_mask.metrics.intervals import (
    Fleet,
    interval_of_difference,
    interval_of_mean,
    resampled_intervals,
)
from random_mask.report import figures, numbers, tables
from random_mask.report.measures import MEASURES, correlations, nearness
from random_mask.stages.judging import StoredFleet
from random_mask.stages.measure import measures_of, relearn_times


def normal(seed, models, examples, mean=0.0, sd=1.0):
    return np.random.default_rng(seed).normal(mean, sd, (models, examples))


def fleet(confidences):
    return Fleet(confidences, np.full(len(confidences), 0.9), np.full(len(confidences), 0.8))


# Intervals


def test_intervals_of_models_are_those_of_students_and_welchs_tests():
    a, b = normal(0, 9, 1).ravel(), normal(1, 6, 1, 0.5, 2).ravel()
    found, expected = interval_of_mean(a), stats.ttest_1samp(a, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    found = interval_of_difference(a, b)
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_intervals_of_copies_are_points():
    found = interval_of_mean(np.full(4, 0.25))
    assert found.low == found.estimate == found.high == 0.25


def mean_confidence(one: Fleet) -> dict[str, np.ndarray]:
    return {"mean": one.confidences.mean(axis=0)}


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_resampled_intervals_are_as_wide_as_means_of_examples_and_models_vary(shared):
    """Both sources of variance are known here: examples differ by 1, models share or do not share noise."""
    widths, models, examples = [], 16, 40
    for seed in range(20):
        rng = np.random.default_rng(seed)
        noise = math.sqrt(shared) * rng.normal(size=(models, 1))
        noise = noise + math.sqrt(1 - shared) * rng.normal(size=(models, examples))
        one = fleet(rng.normal(size=examples) + noise)
        found = resampled_intervals(mean_confidence, [one], {"mean": (-9, 9)}, seed=seed, replicates=100)
        widths.append((found["mean"].high - found["mean"].low) / 2)
    spread = math.sqrt(1 / examples + shared / models + (1 - shared) / models / examples)
    assert np.mean(widths) == pytest.approx(1.96 * spread, rel=0.2)


# U-LiRA


@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
def test_ulira_reaches_the_accuracy_of_the_best_attack_on_shifted_normals(distance):
    found = ulira.accuracies(normal(0, 256, 200, distance), normal(1, 256, 200)).mean()
    assert found == pytest.approx(stats.norm.cdf(distance / 2), abs=0.01)


def test_ulira_sees_a_spread_that_differs():
    """The best attack on sd 1 and 3 takes for unlearned what is within the densities' crossing."""
    crossing = math.sqrt(2 * math.log(3) / (1 - 1 / 9))
    inside = [2 * stats.norm.cdf(crossing / sd) - 1 for sd in (1, 3)]
    found = ulira.accuracies(normal(0, 256, 200), normal(1, 256, 200, sd=3)).mean()
    assert found == pytest.approx((inside[0] + 1 - inside[1]) / 2, abs=0.01)


@pytest.mark.parametrize("distance", [0.0, 2.0])
def test_true_positives_at_a_low_false_positive_rate(distance):
    found = ulira.true_positives(normal(0, 512, 100, distance), normal(1, 512, 100)).mean()
    assert found == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - distance), abs=0.03)


def test_at_most_one_in_a_hundred_retrained_models_lies_above_the_threshold():
    a = normal(3, 10, 30)
    assert ulira.true_positives(a, a).mean() <= 0.01


@given(st.integers(0, 10**6), st.integers(4, 9), st.integers(1, 6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_invariances_of_ulira(seed, models, examples):
    rng = np.random.default_rng(seed)
    unlearned, retrained = rng.normal(size=(models, examples)), rng.normal(1, 2, size=(models, examples))
    found = ulira.accuracies(unlearned, retrained)
    assert ((found >= 0) & (found <= 1)).all()
    # Which fleet is called what does not matter, nor do scale and order of examples.
    assert found == pytest.approx(ulira.accuracies(retrained, unlearned))
    assert found == pytest.approx(ulira.accuracies(4 * unlearned + 1, 4 * retrained + 1))
    order = rng.permutation(examples)
    assert found[order] == pytest.approx(ulira.accuracies(unlearned[:, order], retrained[:, order]))
    assert (ulira.accuracies(unlearned, unlearned) == 0.5).all()


def test_copies_of_one_model_are_recognised():
    copies = np.repeat(normal(0, 1, 20, 9.0), 16, axis=0)
    assert (ulira.accuracies(copies, normal(1, 16, 20)) == 1).all()


def test_ulira_of_a_few_models_is_unknown():
    found = ulira.intervals(fleet(normal(0, 7, 5)), fleet(normal(1, 7, 5)), seed=0, replicates=3)
    assert all(math.isnan(interval.estimate) for interval in found.values())
    found = ulira.intervals(fleet(normal(0, 8, 5)), fleet(normal(1, 8, 5)), seed=0, replicates=3)
    assert all(0 <= each.low <= each.estimate <= each.high <= 1 for each in found.values())


# KLoM


def test_klom_of_known_histograms():
    """Margins in the first and last of 20 bins, in shares of 3 to 1 and 1 to 1."""
    unlearned, retrained = np.array([[0.0], [0.0], [0.0], [20.0]]), np.array([[0.0], [0.0], [20.0], [20.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert klom.divergences(unlearned, retrained)[0] == pytest.approx(expected, abs=1e-3)
    # Far away from each other: what lies in bins that are empty under retraining costs log(1/1e-5).
    apart = klom.divergences(np.zeros((4, 1)), np.full((4, 1), 50.0))[0]
    assert apart == pytest.approx(math.log(1e5), abs=1e-2)


def test_klom_approaches_the_divergence_of_normals():
    """Of large fleets, half the squared distance of the means in standard deviations."""
    found = klom.divergences(normal(0, 40_000, 5, 1.0), normal(1, 40_000, 5)).mean()
    assert found == pytest.approx(0.5, abs=0.03)


def test_klom_clips_margins_and_takes_constants():
    assert klom.divergences(np.full((3, 1), 100.0), np.full((3, 1), 1e6))[0] == 0
    assert klom.divergences(np.zeros((3, 2)), np.zeros((3, 2))).tolist() == [0, 0]


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(1, 6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_invariances_of_klom(seed, models, examples):
    rng = np.random.default_rng(seed)
    unlearned, retrained = rng.normal(size=(models, examples)), rng.normal(1, 2, size=(models, examples))
    found = klom.divergences(unlearned, retrained)
    assert ((found >= 0) & (found <= math.log(1e5))).all()
    assert (klom.divergences(retrained, retrained) == 0).all()
    shuffled = klom.divergences(rng.permutation(unlearned), rng.permutation(retrained))
    assert found == pytest.approx(shuffled)
    order = rng.permutation(examples)
    assert found[order] == pytest.approx(klom.divergences(unlearned[:, order], retrained[:, order]))


def test_klom_over_examples_with_intervals():
    unlearned, retrained = normal(0, 8, 60, 1.0), normal(1, 8, 60)
    found = klom.intervals(fleet(unlearned), fleet(retrained), split="test", seed=0, replicates=20)
    each = klom.divergences(unlearned, retrained)
    assert found["klom_test_mean"].estimate == pytest.approx(each.mean())
    assert found["klom_test_p95"].estimate == pytest.approx(np.quantile(each, 0.95))
    for interval in found.values():
        assert interval.low < interval.estimate < interval.high


# Population membership inference


def test_mia_reaches_the_accuracy_of_the_best_threshold():
    """Losses that a threshold tells apart as well as two normals of equal spread, in unequal numbers."""
    rng = np.random.default_rng(0)

    def confidences(mean, examples):  # whose losses are normal
        return -np.log(np.expm1(rng.normal(mean, 0.5, (3, examples)).clip(min=0.01)))

    found = mia.accuracies(confidences(4, 4000), confidences(5, 1000))
    assert found == pytest.approx(np.full(3, stats.norm.cdf(1)), abs=0.02)


def test_mia_of_one_distribution_is_chance_whatever_the_classes_sizes():
    found = mia.accuracies(normal(0, 20, 50), normal(1, 20, 500))
    assert found.mean() == pytest.approx(0.5, abs=0.03)


def test_mia_of_fewer_examples_than_folds_is_unknown_and_of_constants_chance():
    assert np.isnan(mia.accuracies(normal(0, 2, 4), normal(1, 2, 50))).all()
    assert mia.accuracies(np.ones((1, 10)), np.ones((1, 20))).tolist() == [0.5]
    assert math.isnan(mia.intervals(np.full(2, np.nan), np.full(2, np.nan))["mia_gap"].low)


# RMIA


def population(seed, models, memorised=0.0):
    """Return fleets whose confidences differ by example, and on the forget set by what is memorised."""
    rng = np.random.default_rng(0)
    difficulty = {split: rng.normal(0, 3, 300) for split in ("forget", "test", "validation")}
    noise = np.random.default_rng(seed)
    return {
        split: hard + memorised * (split == "forget") + 0.5 * noise.normal(size=(models, len(hard)))
        for split, hard in difficulty.items()
    }


def test_rmia_is_chance_for_models_of_the_references_kind():
    references = population(1, 8)
    assert rmia.areas(population(2, 8), references).mean() == pytest.approx(0.5, abs=0.02)
    assert rmia.areas_of_references(references).mean() == pytest.approx(0.5, abs=0.02)


def test_rmia_finds_what_the_loss_alone_does_not():
    """Examples differ in difficulty far more than memorising changes them."""
    found, references = population(2, 8, memorised=1.0), population(1, 8)
    areas = rmia.areas(found, references)
    raw = [
        stats.mannwhitneyu(f, t).statistic / f.size / t.size
        for f, t in zip(found["forget"], found["test"], strict=True)
    ]
    assert areas.mean() > 0.75 > 0.65 > np.mean(raw)


def test_areas_are_those_of_mann_and_whitney():
    members, others = np.array([3, 1, 2, 2]), np.array([2, 0, 1])
    expected = stats.mannwhitneyu(members, others).statistic / members.size / others.size
    assert rmia._area(members, others) == pytest.approx(expected)


def test_a_reference_is_judged_by_the_others():
    references = population(1, 5)
    one = {split: of[:1] for split, of in references.items()}
    others = {split: of[1:] for split, of in references.items()}
    assert rmia.areas_of_references(references)[0] == pytest.approx(rmia.areas(one, others)[0])


# Gaps


def test_gaps_and_tow_computed_by_hand():
    retrained = {"retain": np.array([1.0, 1.0]), "forget": np.array([0.5, 0.7]), "test": np.array([0.6, 0.6])}
    unlearned = {"retain": np.array([0.9, 0.9]), "forget": np.array([0.8, 0.8]), "test": np.array([0.6, 0.4])}
    found = gaps.intervals(unlearned, retrained)
    values = {name: interval.estimate for name, interval in found.items()}
    expected = {"gap_retain": -0.1, "gap_forget": 0.2, "gap_test": -0.1, "tow": 0.9 * 0.8 * 0.9}
    assert values == pytest.approx(expected)
    assert 0 <= found["tow"].low < found["tow"].estimate < found["tow"].high <= 1


def test_the_interval_of_tow_is_as_wide_as_tow_varies():
    rng = np.random.default_rng(0)
    means = {"retain": (0.95, 0.99), "forget": (0.9, 0.8), "test": (0.75, 0.8)}

    def draw():
        fleets = ({split: rng.normal(of[who], 0.02, 16) for split, of in means.items()} for who in (0, 1))
        return gaps.intervals(*fleets)["tow"]

    drawn = [draw() for _ in range(300)]
    truth = 0.96 * 0.9 * 0.95
    assert 0.9 < np.mean([each.low <= truth <= each.high for each in drawn]) < 0.99


# Relearn time


@given(rate=st.floats(0.05, 2), start=st.floats(0.5, 5), target=st.floats(0.01, 0.4))
def test_the_relearn_time_of_a_loss_that_falls_evenly_is_known(rate, start, target):
    losses = start * np.exp(-rate * np.arange(11))[None]
    time = np.log(start / target) / rate
    assert relearn.epochs(losses, target) == pytest.approx(time if time <= 10 else np.inf)


def test_who_is_there_from_the_start_takes_no_time_and_who_never_is_for_ever():
    losses = np.array([[0.1, 0.4, 0.1], [0.5, 0.4, 0.3], [0.8, 0.2, 0.9], [0.2, 0.2, 0.2], [np.nan] * 3])
    assert list(relearn.epochs(losses, 0.2)) == [0, np.inf, 1, 0, np.inf]
    assert relearn.epochs(losses[2:3], 0.4)[0] == pytest.approx(0.5)


def test_who_does_not_get_there_leaves_an_end_of_the_interval_open():
    there, some, none = np.array([3.0, 4.0, 5.0]), np.array([3.0, 4.0, np.inf]), np.full(3, np.inf)

    def found(*fleets):
        times, gap = relearn.intervals(*fleets, max_epochs=9).values()
        return (times.estimate, *map(math.isinf, (times.low, times.high, gap.low, gap.high)))

    assert found(there, there) == (4, False, False, False, False)
    assert found(some, there) == (16 / 3, False, True, False, True)
    assert found(there, some) == (4, False, False, True, False)
    assert math.isnan(relearn.intervals(none, none, max_epochs=9)["relearn_gap"].estimate)


def test_relearn_times_are_those_until_the_loss_of_the_original(tmp_path):
    # A confidence of f is a loss of log(1 + exp(-f)); here that of every example is log 2.
    original = StoredFleet(
        {"logits_forget": np.zeros((1, 3, 2), np.float32)}, {"forget": np.array([0, 1, 0])}
    )
    curves = {
        "oracle": [[4 * math.log(2), math.log(2), 0.1]] * 2,
        "mine": [[0.1] * 3, [math.log(4), 0.1, 0.1]],
    }
    files = {name: tmp_path / f"{name}.npz" for name in curves}
    for name, losses in curves.items():
        write_npz(files[name], {"loss": np.array(losses)})
    found = relearn_times([files["mine"], files["oracle"]], original)
    within = math.log(2) / math.log(math.log(4) / 0.1)
    assert found["relearn_epochs"].estimate == pytest.approx(within / 2)
    assert found["relearn_gap"].estimate == pytest.approx(within / 2 - 1)
    untouched = relearn_times([files["oracle"]], original)
    assert untouched["relearn_epochs"].estimate == 0
    assert untouched["relearn_gap"].estimate == pytest.approx(-1)


# All of them, and the report


def stored(seed, models):
    rng = np.random.default_rng(seed)
    kept = {f"logits_{split}": rng.normal(size=(models, 12, 3)).astype(np.float32) for split in SPLITS}
    kept |= {f"accuracy_{split}": rng.uniform(0.5, 1, models) for split in SPLITS}
    return StoredFleet(kept, {split: np.arange(12) % 3 for split in SPLITS} | {"retain": np.arange(40) % 3})


@pytest.mark.parametrize("models", [2, 4, 8])
def test_all_measures_of_stored_fleets(models):
    found = measures_of(stored(0, models), stored(1, models), seed=0, replicates=5)
    assert MEASURES.keys() - {"relearn_gap"} <= found.keys()
    for name, each in found.items():
        if name.startswith("ulira") and models < ulira.SMALLEST:
            assert math.isnan(each.estimate)
        else:
            assert each.low <= each.estimate <= each.high, name
    again = measures_of(stored(0, models), stored(1, models), seed=0, replicates=5)
    np.testing.assert_equal({n: vars(i) for n, i in again.items()}, {n: vars(i) for n, i in found.items()})


MEASURE_COLUMNS = ["method", "original", "measure", "value", "low", "high"]


def table(ranks: dict[str, list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return measures and scores of methods a, b, ..., with the untouched model and the retrained one."""
    ranks = {name: [np.nan] * len(ranks["score"]) for name in MEASURES} | ranks
    rows, methods = [], ["original", *"abcdefgh"[: len(ranks["score"]) - 2], "retrain"]
    for name, values in ranks.items():
        for method, value in zip(methods, values, strict=True):
            rows.append([method, 0, name, value, value - 0.1, value + 0.1])
    long = pd.DataFrame(rows, columns=MEASURE_COLUMNS)
    scores = long[long["measure"] == "score"].rename(columns={"value": "score"})
    return long[long["measure"] != "score"], scores


EIGHT = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
SWAPPED = [0.2, 0.1, *EIGHT[2:]]
"""Of ranks that differ by one in two places, Spearman's correlation is 1 - 6 * 2 / (8 * 63)."""


def test_correlations_are_of_methods_and_turned_so_that_more_is_better():
    measures, scores = table(
        {
            "score": [0.0, *EIGHT, 0.9],
            "klom_forget_p95": [0.0, *(9 - 9 * value for value in EIGHT), 7.0],
            "mia_gap": [0.0, *(value - 1 if value > 0.5 else 1 - value for value in EIGHT), 0.5],
            "tow": [1.0, *(1 - value for value in EIGHT), 0.1],
            "rmia_gap": [0.0, *[0.2] * 8, 0.0],
            "ulira_accuracy": [np.nan] * 10,
        }
    )
    found = correlations(measures, scores)["score"]
    assert found["klom_forget_p95"] == pytest.approx(1)
    assert found["mia_gap"] == pytest.approx(1)
    assert found["tow"] == pytest.approx(-1)
    assert math.isnan(found["rmia_gap"])
    assert math.isnan(found["ulira_accuracy"])


def test_numbers_of_the_paper_are_dashes_where_nothing_is_known():
    measures, scores = table({"score": [0.0, *SWAPPED, 0.9], "tow": [1.0, *EIGHT, 0.1]})
    found = numbers._measures(measures, scores, None, None)
    assert {
        key: found[key]
        for key in ("measures/a/tow", "measures/a/tow_low", "agreement/tow", "agreement/methods")
    } == {
        "measures/a/tow": "0.100",
        "measures/a/tow_low": "0.000",
        "agreement/tow": "0.98",
        "agreement/methods": "8",
    }
    assert {text for key, text in found.items() if "tow" not in key and "methods" not in key} == {
        numbers.UNKNOWN
    }
    without = numbers._measures(measures[measures["measure"] == "tow"], scores, None, None)
    assert {key.split("/")[-1].partition("_")[0] for key in without} == {"tow", "methods"}
    found = numbers._measures(measures, scores, "a", "b")
    assert found["nearness/tow/difference"] == "0.100"
    assert found["nearness/tow/high"] == f"{0.1 + np.hypot(0.1, 0.1):.3f}"
    open_ended = measures.assign(high=np.nan)
    assert numbers._measures(open_ended, scores, "a", "b")["measures/a/tow_high"] == numbers.UNKNOWN


def test_the_figure_says_what_it_needs():
    few = correlations(*table({"score": [0.0, 0.1, 0.2, 0.9], "tow": [1.0, 0.9, 0.8, 0.1]}))
    assert figures.agreement(few).axes[0].texts[0].get_text() == "needs at least 8 methods that differ"
    enough = {"score": [0.0, *SWAPPED, 0.9], "tow": [1.0, *EIGHT, 0.1]}
    texts = [text.get_text() for text in figures.agreement(correlations(*table(enough))).axes[0].texts]
    assert texts == ["0.98"]


def study(measures):
    """An experiment as the tables take it, with methods `a` and `b`."""
    experiment = SimpleNamespace(drawn=lambda: ["a", "b"])
    return SimpleNamespace(title="Data", labels=str.upper, measures=measures, experiment=experiment)


def test_the_table_has_no_column_for_what_an_experiment_did_not_measure():
    measures, _ = table({"score": [0.0] * 4} | {name: [0.1, 0.2, 0.3, 0.4] for name in MEASURES})
    assert "Relearn gap" in tables.measures([study(measures)])
    fewer = measures[measures["measure"] != "relearn_gap"]
    assert "Relearn gap" not in tables.measures([study(fewer)])
    assert "Relearn gap" not in tables.measures([study(measures), study(fewer)])


def test_the_tables_of_measures_share_them_out():
    measures, _ = table({"score": [0.0] * 4} | {name: [0.1, 0.2, 0.3, 0.4] for name in MEASURES})
    texts = [tables.measures([study(measures)], main=main) for main in (True, False)]
    assert all(sum(measure.head in text for text in texts) == 1 for measure in MEASURES.values())


def nearness_of(measure: str, a: float, b: float):
    rows = [[m, 0, measure, v, v - 0.3, v + 0.4] for m, v in (("a", a), ("b", b))]
    return nearness(pd.DataFrame(rows, columns=MEASURE_COLUMNS), "a", "b", measure)


@given(
    measure=st.sampled_from(["klom_forget_p95", "mia_gap", "tow"]),
    a=st.floats(-3, 3),
    b=st.floats(-3, 3),
)
def test_nearness_has_a_sign_and_its_interval_is_longer_across_what_is_best(measure, a, b):
    found, turned = nearness_of(measure, a, b), nearness_of(measure, b, a)
    best = MEASURES[measure].best
    assert found.estimate == pytest.approx(abs(a - best) - abs(b - best))
    assert found.estimate == -turned.estimate
    assert found.low == pytest.approx(-turned.high)
    half = 0.8 if (a - best) * (b - best) < 0 else np.hypot(0.4, 0.4)
    assert found.high - found.estimate == pytest.approx(half)


def test_the_table_has_a_row_for_every_method_and_says_what_is_unknown():
    shown = [name for name, measure in MEASURES.items() if measure.in_table]
    values = {"score": [0.0] * 4} | {name: [0.1, 0.2, 0.3, 0.4] for name in shown}
    measures, _ = table(values | {"ulira_accuracy": [np.nan] * 4})
    body = tables.measures([study(measures)]).partition(r"\midrule")[2].splitlines()
    rows = [row.split(" & ") for row in body if "&" in row]
    assert [row[0] for row in rows] == ["ORIGINAL", "A", "B", "RETRAIN"]
    assert {row[1] for row in rows} == {"--"}
    assert rows[1][2] == r"$0.20$ {\scriptsize $[0.10, 0.30]$}"
