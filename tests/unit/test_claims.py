"""What a run says of a claim follows from the whole interval."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from random_mask.errors import InputError
from random_mask.experiment.config import load, validate
from random_mask.metrics.intervals import Interval
from random_mask.metrics.spread import absolute_shift_difference, shift
from random_mask.report.claims import Claim, Results, asked_of, judge, read_claims
from random_mask.report.originals import pooled
from random_mask.workflow.experiments import read_reported

CLAIMS = "paper/claims.yaml"
METHODS = ["original", "finetune", "random_mask", "retrain"]


def claim(**values) -> Claim:
    plain = {"id": "x", "claim": "it is so", "experiments": ["digits"]}
    plain |= {"quantity": {"kind": "difference", "of": ["random_mask", "finetune"]}, "relation": "above"}
    return Claim.model_validate(plain | values)


def results(*, differences=((0.05, 0.02, 0.08),), models=16, b="finetune") -> Results:
    rows = [
        {
            "a": "random_mask",
            "b": b,
            "original": k,
            "quantity": "score",
            "difference": d,
            "low": low,
            "high": high,
        }
        for k, (d, low, high) in enumerate(differences)
    ]
    scores = pd.DataFrame(
        {"method": METHODS, "original": 0, "n_models": models, "score": [0.0, 0.05, 0.1, 0.2]}
        | {"seconds_per_model": [0.0, 2.0, 2.0, 10.0]}
    )
    empty = pd.DataFrame(columns=["method", "original", "measure", "value", "low", "high"])
    return Results(scores, pd.DataFrame(rows), empty, {})


def judged(claim, results) -> dict:
    return judge([claim], results).to_dict("records")[0]


@pytest.mark.parametrize(
    ("relation", "bound", "interval", "verdict", "opposite"),
    [
        ("above", 0.0, (0.05, 0.02, 0.08), "supported", False),
        ("above", 0.0, (0.05, -0.01, 0.11), "not supported", False),
        ("above", 0.0, (-0.05, -0.08, -0.02), "not supported", True),
        ("below", 0.0, (-0.05, -0.08, -0.02), "supported", False),
        ("below", 0.0, (0.0, 0.0, 0.0), "not supported", False),
        ("below", 0.0, (0.05, 0.02, 0.08), "not supported", True),
        ("within", 0.1, (0.05, -0.01, 0.09), "supported", False),
        ("within", 0.1, (0.05, -0.01, 0.11), "not supported", False),
        ("within", 0.1, (0.15, 0.11, 0.19), "not supported", True),
        ("within", 0.1, (-0.15, -0.19, -0.11), "not supported", True),
    ],
)
def test_the_whole_interval_decides(relation, bound, interval, verdict, opposite):
    row = judged(claim(relation=relation, bound=bound), results(differences=[interval]))
    assert (row["verdict"], row["opposite"]) == (verdict, opposite)
    assert (row["estimate"], row["low"], row["high"]) == interval


def test_what_a_run_cannot_test_it_says():
    assert "needs 32 models" in judged(claim(models=32), results())["reason"]
    other = claim(quantity={"kind": "difference", "of": ["mine", "finetune"]})
    assert judged(other, results())["reason"] == "no method mine in this experiment"
    assert judged(claim(), results(b="retrain"))["reason"] == "random_mask and finetune were not compared"
    few = claim(quantity={"kind": "rank_correlation", "of": "tow"})
    assert judged(few, results())["verdict"] == "not testable"


def test_a_share_of_the_ceiling():
    share = {"kind": "share", "of": "random_mask", "share": 0.6}
    row = judged(claim(quantity=share), results(differences=[(-0.1, -0.11, -0.09)], b="retrain"))
    # 0.1 against 0.6 times 0.2
    assert row["estimate"] == pytest.approx(0.1 - 0.6 * 0.2)
    assert row["verdict"] == "not supported"


def test_a_distance_from_retraining_is_that_of_the_measure():
    plain = {
        "measure": "tow",
        "method": "random_mask",
        "original": 0,
        "value": 0.9,
        "low": 0.87,
        "high": 0.93,
    }
    other = plain | {"method": "finetune", "value": 0.6, "low": 0.56, "high": 0.64}
    tables = results()

    def found(*rows):
        nearer = claim(
            quantity={"kind": "distance", "of": ["random_mask", "finetune"], "measure": rows[0]["measure"]},
            relation="below",
        )
        return judged(nearer, Results(tables.scores, tables.comparisons, pd.DataFrame(rows), {}))

    # 0.1 from one against 0.4 from one; half widths of 0.03 and 0.04.
    row = found(plain, other)
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((-0.3, -0.35, -0.25))
    assert row["verdict"] == "supported"
    assert found(plain, other | {"value": 0.86, "low": 0.82, "high": 0.9})["verdict"] == "not supported"
    # A gap below zero is as far as one above.
    gaps = [one | {"measure": "mia_gap", "value": v} for one, v in ((plain, -0.2), (other, 0.2))]
    assert found(*gaps)["estimate"] == pytest.approx(0)
    assert found(plain)["reason"] == "tow is not known of both methods"


def test_to_lead_is_to_lead_every_other_tuned_method():
    others = [f"other_{number}" for number in range(7)]
    plain = {
        "a": "mine",
        "original": 0,
        "quantity": "score",
        "difference": 0.05,
        "low": 0.02,
        "high": 0.08,
    }
    rows = [plain | {"b": other} for other in others] + [plain | {"b": "untuned", "low": -1}]
    names = ["mine", *others, "untuned", "retrain"]
    scores = pd.DataFrame({"method": names, "original": 0, "n_models": 16, "score": 0.1})
    empty = pd.DataFrame(columns=["method", "original", "measure", "value", "low", "high"])
    lead = claim(quantity={"kind": "lead", "of": "mine"})

    def found(rows) -> tuple:
        row = judged(lead, Results(scores, pd.DataFrame(rows), empty, {}, tuned=["mine", *others]))
        return row["verdict"], row["estimate"], row["low"], row["high"]

    assert found(rows) == ("supported", 0.05, 0.02, 0.08)
    nearest = plain | {"b": others[3], "difference": 0.04, "low": 0.03, "high": 0.05}
    assert found([*rows[:3], nearest, *rows[4:]]) == ("supported", 0.04, 0.02, 0.05)
    assert found([*rows[:3], nearest | {"low": -0.01}, *rows[4:]])[0] == "not supported"
    assert judged(lead, results())["reason"] == "needs 7 other tuned methods, of which there are 0"


def test_a_rank_correlation_counts_the_methods_whose_measure_is_known():
    names = [f"m{number}" for number in range(12)]
    ranks = np.arange(12.0)
    scores = pd.DataFrame({"method": ["original", *names, "retrain"], "original": 0, "n_models": 16})
    scores["score"] = [0.0, *ranks / 20, 0.9]

    def found(measured: list[str]) -> dict:
        measures = pd.DataFrame(
            {"method": name, "original": 0, "measure": "klom_forget_p95", "value": 20.0 - number}
            for number, name in enumerate(measured)
        )
        quantity = {"kind": "rank_correlation", "of": "klom_forget_p95"}
        return judged(claim(quantity=quantity), Results(scores, pd.DataFrame(), measures, {}))

    alike = found(["m1", "m0", *names[2:8]])
    correlation = 1 - 6 * 2 / (8 * 63)
    assert alike["estimate"] == pytest.approx(correlation)
    half = 1.96 * np.sqrt((1 + correlation**2 / 2) / (8 - 3))
    assert np.arctanh(alike["high"]) - np.arctanh(alike["low"]) == pytest.approx(2 * half)
    assert found(names[:7])["reason"] == "needs 8 methods, of which there are 7"


def test_one_original_is_taken_as_it_is_and_several_are_pooled():
    one = Interval(0.1, 0.05, 0.12)
    assert pooled([one]) == one
    same = pooled([one] * 3)
    assert (same.estimate, same.low, same.high) == pytest.approx((0.1, 0.05, 0.12))
    apart = pooled([Interval(e, e - 0.05, e + 0.05) for e in (0.0, 0.1, 0.2)])
    # Student's half width of three means, 4.303 sd / sqrt(3), and the intervals' own.
    assert apart.high - apart.estimate == pytest.approx(np.hypot(4.3027 * 0.1 / np.sqrt(3), 0.05), rel=1e-4)


def test_the_claims_of_the_paper_name_what_exists():
    reported = read_reported()
    for one in read_claims(CLAIMS):
        assert set(one.experiments) <= set(reported), one.id
        for name in one.experiments:
            experiment = load(f"config/{name}.yaml")
            methods = {"original", "retrain", *experiment.all_methods()}
            named = getattr(one.quantity, "of", None)
            named = [named] if isinstance(named, str) else named
            assert experiment.models >= one.models
            if one.quantity.kind == "rank_correlation":
                continue
            # A claim on tuned methods may wait for the search of an experiment.
            if experiment.tuned or "tuned" not in one.id:
                assert set(named) <= methods, (one.id, name)
                if one.quantity.kind == "difference":
                    assert tuple(named) in experiment.pairs(), (one.id, name)
                if one.quantity.kind == "share":
                    assert (one.quantity.of, "retrain") in experiment.pairs(), (one.id, name)


def test_an_experiment_judges_the_claims_that_name_it_or_else_all():
    ours, theirs = claim(id="a"), claim(id="b", experiments=["digits", "cifar10_jpeg"])
    assert asked_of([ours, theirs], "cifar10_jpeg") == [theirs]
    assert asked_of([ours, theirs], "digits") == [ours, theirs]
    assert asked_of([ours, theirs], "mine") == [ours, theirs]


def test_the_shift_of_a_method_is_over_its_original_models():
    rng = np.random.default_rng(0)
    oracle = rng.normal(size=(16, 30))
    examples = {
        "oracle/oracle_confidences": oracle,
        "random_mask/0/confidences": rng.normal(size=(16, 30)) + 2,
        "random_mask/1/confidences": rng.normal(size=(16, 30)) + 4,
    }
    scores = pd.DataFrame({"method": "random_mask", "original": [0, 1], "n_models": 16, "score": 0.1})
    empty = pd.DataFrame(columns=["method", "original", "measure", "value", "low", "high"])
    far = claim(quantity={"kind": "shift", "of": "random_mask"}, relation="within", bound=1.0)
    row = judged(far, Results(scores, pd.DataFrame(), empty, examples))
    shifts = [shift(examples[f"random_mask/{number}/confidences"], oracle).estimate for number in (0, 1)]
    assert row["estimate"] == pytest.approx(np.mean(shifts))
    # Of two methods, over the original models that both were applied to.
    more = examples | {"finetune/1/confidences": oracle + 6, "finetune/2/confidences": oracle}
    rows = [{"method": "finetune", "original": number, "n_models": 16, "score": 0.1} for number in (1, 2)]
    nearer = claim(quantity={"kind": "absolute_shift", "of": ["random_mask", "finetune"]}, relation="below")
    both = Results(pd.concat([scores, pd.DataFrame(rows)]), pd.DataFrame(), empty, more)
    expected = absolute_shift_difference(more["random_mask/1/confidences"], oracle + 6, oracle)
    row = judged(nearer, both)
    assert (row["estimate"], row["verdict"]) == (pytest.approx(expected.estimate), "supported")
    missing = claim(quantity={"kind": "shift", "of": "mine"})
    assert judged(missing, results())["reason"] == "no method mine in this experiment"


SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "claims_table.py"


def test_what_experiments_train_is_counted_for_functions_too():
    content = yaml.safe_load(Path("config/smoke.yaml").read_text()) | {"relearn": None}
    trained = runpy.run_path(str(SCRIPT))["trained"]
    models, images = trained(validate(content), 10)
    content["methods"]["mine"] = {"function": "tests/workflow/no_such.py"}
    more = trained(validate(content), 10)
    assert more[0] == models + content["models"]
    assert more[1] >= images


def test_what_readers_are_told_is_what_was_judged():
    for path, text in runpy.run_path(str(SCRIPT))["documents"]().items():
        assert path.read_text() == text, f"{path.name}: run `make claims`"
    claims = read_claims(Path(CLAIMS))
    assert all(f"`{one.id}`" in Path("ARTIFACT.md").read_text() for one in claims)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("- {id: x}", "claim 1: claim: Field required"),
        ("x: [", "not a list of claims"),
        (
            yaml.safe_dump([claim().model_dump() | {"quantity": {"kind": "rank_correlation", "of": "mia"}}]),
            "claim 1: quantity.rank_correlation.of: there is no measure mia; choose one of ulira_accuracy",
        ),
        (yaml.safe_dump([claim().model_dump()] * 2), "x stands twice"),
    ],
)
def test_a_wrong_file_of_claims_is_explained(tmp_path, content, part):
    path = tmp_path / "claims.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        read_claims(path)
    assert part in str(error.value)
