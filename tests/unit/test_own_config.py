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
            "methods.mine.function: `relearn` is for methods of known steps; remove `relearn` here",
        ),
        (
            {"function": "mine.py"},
            {"search": {"trials": 1, "budget": 1, "spaces": {"mine": {"arguments.epochs": [1, 2]}}}},
            "methods.mine.function: `search` is for methods of known steps; remove `search` here",
        ),
    ],
)
def test_mistakes(method, changes, said):
    with pytest.raises(InputError) as caught:
        experiment(method, **changes)
    assert str(caught.value).startswith(f"config: {said}")


def test_a_function_that_cannot_be_called_so_is_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def unlearning(net, retain, forget, val, lr): pass\n")
    method = {"function": "mine.py", "arguments": {"rate": 1}}
    assert "mine.py:1: unlearning asks for `lr`" in str(Plan(experiment(method)).unusable_function())
    right = method | {"arguments": {"lr": 1}}
    assert Plan(experiment(right)).unusable_function() is None


@pytest.mark.parametrize(("network", "has"), [("resnet18", "layer4"), ("vgg11_bn", "features")])
def test_a_layer_that_the_network_does_not_have_is_named_before_anything_runs(network, has):
    def found(layer: str) -> str | None:
        method = FINETUNE | {"title": "Negated", "perturb": {"name": "negate", "layers": [layer]}}
        return Plan(experiment(method, network=network)).unknown_layer()

    assert found(has) is None
    told = found("layr4")
    assert told is not None
    assert told.startswith(f"methods.mine: layers: {network} has no layer layr4; it has ")
    assert has in told


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
