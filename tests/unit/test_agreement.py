"""The agreement of two runs: the rule on known distributions, symmetry, and tables that are refused."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_mask.report import agreement

HEAD = (
    "method,original,n_models,forgetting_quality,forgetting_quality_low,forgetting_quality_high,"
    "retain_accuracy,forget_accuracy,test_accuracy,score,score_low,score_high,seconds_per_model\n"
)
SCORES = HEAD + (
    "random_mask,0,16,0.07,0.05,0.09,0.98,0.94,0.96,0.068,0.048,0.087,4.8\n"
    "random_mask,1,16,0.06,0.04,0.08,0.98,0.94,0.96,0.058,0.038,0.077,4.8\n"
    "retrain,0,16,0.23,0.18,0.28,1.0,0.98,0.98,0.227,0.177,0.276,17.2\n"
)
COMPARISONS = (
    "a,b,original,quantity,difference,low,high\n"
    "random_mask,retrain,0,forgetting_quality,-0.16,-0.20,0.1\n"
    "random_mask,retrain,0,score,-0.16,-0.20,-0.12\n"
    "random_mask,retrain,1,score,-0.17,-0.21,-0.13\n"
)


def run(scores=SCORES, comparisons=COMPARISONS):
    return agreement.Run(
        agreement.parse_scores(scores),
        agreement.pair_verdicts(agreement.parse_comparisons(comparisons)),
    )


def test_a_run_agrees_with_itself():
    found = agreement.compare(run(), run())
    assert list(found.scores.index) == [("random_mask", 0), ("random_mask", 1), ("retrain", 0)]
    assert found.scores["agrees"].all()
    assert found.forgetting_quality["agrees"].all()
    assert (found.scores["difference"] == 0).all()
    assert found.accuracy_difference == 0
    assert [verdict.changed for verdict in found.verdicts] == [False]
    assert found.only_in_a == found.only_in_b == []


def test_difference_by_hand():
    found = agreement.difference(np.array([0.5, 0.2, 0.9]), np.array([0.3, 0.2, 0.7]))
    np.testing.assert_allclose(found, [0.2, 0.2 - np.hypot(0.3, 0.4), 0.2 + np.hypot(0.4, 0.1)])


def test_the_scores_of_each_row_meet():
    other = SCORES.replace("0.058,0.038,0.077", "0.158,0.138,0.177").replace(
        "0.07,0.05,0.09", "0.2,0.19,0.21"
    )
    found = agreement.compare(run(), run(other))
    assert list(found.scores["agrees"]) == [True, False, True]
    assert list(found.forgetting_quality["agrees"]) == [False, True, True]
    row = found.scores.loc[("random_mask", 1)]
    assert (row["a"], row["b"]) == (0.058, 0.158)
    assert row["difference"] == pytest.approx(-0.1)
    assert row["difference_high"] == pytest.approx(-0.1 + np.hypot(0.019, 0.02))


@pytest.mark.parametrize(("mean_b", "sd_b"), [(0.0, 1.0), (-0.7, 0.3), (5.0, 4.0)])
def test_95_percent_of_independent_runs_agree(mean_b, sd_b):
    """Estimates are normal and each has the interval of its own standard deviation."""
    repetitions = 40_000
    rng = np.random.default_rng(2023)
    margins = 1.959964 * np.array([1.0, sd_b])
    estimates = rng.normal([0.0, mean_b], [1.0, sd_b], size=(repetitions, 2))
    a, b = (
        np.stack([estimate, estimate - margin, estimate + margin])
        for estimate, margin in zip(estimates.T, margins, strict=True)
    )
    _, low, high = agreement.difference(a, b)
    # Four standard errors of a share of 95 % are 0.0044.
    assert np.mean((low <= -mean_b) & (-mean_b <= high)) == pytest.approx(0.95, abs=0.0044)


def test_runs_that_share_their_seed_agree_more_often():
    rng = np.random.default_rng(2023)
    shared, *own = rng.normal(size=(3, 10_000)) * np.sqrt(0.5)
    a, b = (np.stack([shared + part - 1.96 * shift for shift in (0, 1, -1)]) for part in own)
    _, low, high = agreement.difference(a, b)
    assert np.mean((low <= 0) & (high >= 0)) > 0.98


bounds = st.tuples(*[st.floats(0, 1)] * 3).map(sorted)
tables = st.dictionaries(
    st.tuples(st.sampled_from(["finetune", "random_mask", "retrain"]), st.integers(0, 2)), bounds, min_size=1
)


def frame(rows):
    values = {
        "score": [middle for _, middle, _ in rows.values()],
        "score_low": [low for low, _, _ in rows.values()],
        "score_high": [high for _, _, high in rows.values()],
        "n_models": 16,
    }
    return pd.DataFrame(values, index=pd.MultiIndex.from_tuples(rows, names=["method", "original"]))


@given(tables, tables)
def test_swapping_the_runs_negates_the_differences(a, b):
    found = agreement.compare_scores(frame(a), frame(b))
    swapped = agreement.compare_scores(frame(b), frame(a)).reindex(found.index)
    assert set(found.index) == a.keys() & b.keys()
    for column, opposite in (
        ("difference", "difference"),
        ("difference_low", "difference_high"),
        ("difference_high", "difference_low"),
    ):
        np.testing.assert_array_equal(found[column], -swapped[opposite])
    np.testing.assert_array_equal(found["agrees"], swapped["agrees"])


@given(bounds, bounds)
def test_intervals_that_hold_both_estimates_agree(a, b):
    found = agreement.compare_scores(frame({("retrain", 0): a}), frame({("retrain", 0): b}))
    row = found.iloc[0]
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    if a[0] <= b[1] <= a[2] or b[0] <= a[1] <= b[2]:
        assert row["agrees"]
    if max(b[0] - a[2], a[0] - b[2]) > 1e-9:  # intervals that do not even touch, whatever is rounded
        assert not row["agrees"]


def test_what_only_one_run_has_is_named():
    fewer = HEAD + SCORES.splitlines(keepends=True)[1]
    found = agreement.compare(run(), run(fewer, COMPARISONS.replace("retrain", "finetune")))
    assert found.only_in_a == ["random_mask of original 1", "retrain", "verdict on random_mask, retrain"]
    assert found.only_in_b == ["verdict on random_mask, finetune"]
    assert len(found.scores) == 1
    assert found.verdicts == []


def test_runs_of_different_experiments_are_refused():
    with pytest.raises(ValueError, match="no method in common"):
        agreement.compare(run(), run(HEAD))


def test_originals_that_disagree_decide_nothing():
    words = {"random_mask, retrain": "scores lower than"}
    assert run().verdicts == words
    undecided = run(comparisons=COMPARISONS.replace("-0.13", "0.13"))
    assert undecided.verdicts == {"random_mask, retrain": "cannot be told apart from"}
    found = agreement.compare(run(), undecided)
    assert found.verdicts == [
        agreement.Verdict("random_mask, retrain", "scores lower than", "cannot be told apart from")
    ]
    assert found.verdicts[0].changed


def test_claims_by_id():
    claims = agreement.parse_claims('id,text,verdict\nmask_helps,"better, by far",not supported\n')
    assert agreement.claim_verdicts(claims) == {"claim mask_helps": "not supported"}


def test_the_largest_difference_of_accuracies():
    found = agreement.compare(run(), run(SCORES.replace("1.0,0.98,0.98", "0.99,0.9,0.97")))
    assert found.accuracy_difference == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SCORES, "", "last line has no end"),
        (SCORES, "\n", "it is empty"),
        ("17.2\n", "17", "last line has no end"),
        (",score,", ",points,", "it needs one column score, not 0"),
        ("seconds_per_model", "score", "it needs one column score, not 2"),
        ("0.177,0.276,17.2", "0.177", "row 3 has 11 cells, but the head 13"),
        ("0.068,", "abc,", "row 1: score is 'abc', not a finite number"),
        ("0.068,", "nan,", "row 1: score is 'nan', not a finite number"),
        ("0.068,", "inf,", "row 1: score is 'inf', not a finite number"),
        ("0.068,", "0.01,", "row 1: score_low is '0.048', above score"),
        ("0.087,", "0.06,", "row 1: score is '0.068', above score_high"),
        ("0.05,0.09", "0.5,0.09", "row 1: forgetting_quality_low is '0.5', above forgetting_quality"),
        ("0.94,0.96,0.058", "94,0.96,0.058", "row 2: forget_accuracy is '94.0', outside"),
        ("retrain,0,16", "retrain,0,1.5", "row 3: n_models is '1.5', not a whole number"),
        ("retrain,0,16", ",0,16", "row 3: method is '', empty"),
        ("random_mask,1", "random_mask,0", "row 2 repeats random_mask, 0"),
        ("retrain", '"retrain', "not CSV: unexpected end of data"),
    ],
)
def test_damage_is_located(old, new, message):
    assert old in SCORES
    with pytest.raises(ValueError, match=re.escape(message)):
        agreement.parse_scores(SCORES.replace(old, new, 1))


def test_damaged_comparisons_are_located():
    with pytest.raises(ValueError, match=r"row 2: low is '-0\.1', above difference"):
        agreement.parse_comparisons(COMPARISONS.replace("score,-0.16,-0.20", "score,-0.16,-0.10"))
    with pytest.raises(ValueError, match="row 3 repeats random_mask, retrain, 0, score"):
        agreement.parse_comparisons(COMPARISONS.replace("retrain,1", "retrain,0"))


@given(st.integers(0, len(SCORES)), st.integers(0, 40), st.text(max_size=5))
def test_no_damage_raises_anything_but_value_error(place, length, text):
    damaged = SCORES[:place] + text + SCORES[place + length :]
    try:
        table = agreement.parse_scores(damaged)
    except ValueError:
        return
    assert np.isfinite(table[["score", "score_low", "score_high"]].to_numpy()).all()
