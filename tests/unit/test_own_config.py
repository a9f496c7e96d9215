"""Functions of a person's own in a configuration."""

import os
from pathlib import Path

import pytest
import yaml

from random_mask.errors import InputError
from random_mask.experiment.config import Experiment, validate
from random_mask.workflow.paths import Plan

CONTENT = yaml.safe_load((Path(__file__).parents[2] / "config" / "smoke.yaml").read_text(encoding="utf-8"))
FINETUNE = CONTENT["methods"]["finetune"]


def experiment(method: dict, **changes) -> Experiment:
    methods = CONTENT["methods"] | {"mine": method}
    return validate({**CONTENT, "relearn": None, "methods": methods, **changes})


def test_a_function_is_a_method_without_steps():
    found = experiment(
        {"function": "a/mine.py:spoil", "arguments": {"epochs": 3}, "compare_with": ["finetune"]}
    )
    assert found.own() == ["mine"]
    assert found.all_methods()["mine"].title == "Mine"
    assert ("mine", "finetune") in found.pairs()
    plan = Plan(found)
    own = {"function": "a/mine.py:spoil", "arguments": {"epochs": 3}, "batches": "both"}
    assert plan.own("mine") == {"data": plan.data, **own}
    assert plan.steps("mine") == []
    assert plan.masks("mine", "0", "0000", "0003") == []


def test_what_others_depend_on_stays_as_it_is():
    with_own = Plan(experiment({"function": "mine.py"}))
    without = Plan(validate(CONTENT | {"relearn": None}))
    for method in ("finetune", "random_mask"):
        assert with_own.settings(steps=with_own.steps(method)) == without.settings(
            steps=without.steps(method)
        )


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ({}, {}, "methods.mine.finetune: missing"),
        ({"function": "mine"}, {}, "methods.mine.function: mine: names no function; write path/to/file.py,"),
        (
            {**FINETUNE, "function": "mine.py"},
            {},
            "methods.mine.finetune: the function says all that is done",
        ),
        ({"function": "mine.py", "cycles": 2}, {}, "methods.mine.cycles: the function says all that is done"),
        ({"function": "mine.py", "batches": "x"}, {}, "methods.mine.batches: input should be 'both', 'dict'"),
        (
            {"function": "mine.py"},
            {"relearn": CONTENT["relearn"]},
            "methods.mine.function: relearn trains known steps only",
        ),
        (
            {"function": "mine.py"},
            {"search": {"trials": 1, "budget": 1, "spaces": {"mine": {"arguments.epochs": [1, 2]}}}},
            "methods.mine.function: a search has a budget of known steps only",
        ),
    ],
)
def test_mistakes(method, changes, said):
    with pytest.raises(InputError) as caught:
        experiment(method, **changes)
    assert str(caught.value).startswith(f"config: {said}")


def test_a_file_that_is_not_there_is_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Plan(experiment({"function": "mine.py"}))
    assert plan.unusable_function() == "mine.py: no such file; correct the path of the function"
    Path("mine.py").write_text("import helper\n\n\ndef unlearning(net): pass\n", encoding="utf-8")
    Path("helper.py").write_text("", encoding="utf-8")
    assert plan.unusable_function() is None
    assert plan.own_files("mine") == ["helper.py", "mine.py"]
    before = plan.own_state("mine")
    Path("older.py").write_text("x = 1", encoding="utf-8")
    os.utime("older.py", (0, 0))
    Path("older.py").replace("helper.py")
    assert plan.own_state("mine") != before
