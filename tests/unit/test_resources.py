"""What jobs ask of a cluster: enough for what was measured, and more where there is more to do."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from random_mask.experiment.config import load, validate
from random_mask.workflow.resources import JobResources

ROOT = Path(__file__).parents[2]
RULES = (
    "train_original",
    "retrain",
    "mask",
    "unlearn",
    "evaluate",
    "measure",
    "compare",
    "scores_by_n",
    "paper",
)


RELEARN = {
    **{"images": "forget", "epochs": 30, "batch": 64, "optimizer": "adam"},
    **{"learning_rate": 1e-4, "schedule": "constant"},
}


def wildcards(models: int) -> SimpleNamespace:
    span = {"first": "0004", "last": f"{3 + models:04d}"}
    return SimpleNamespace(original="0", method="random_mask", a="random_mask", b="finetune", **span)


def changed(**changes) -> JobResources:
    """Return the needs of the default experiment with other values, whose keys are paths: section__0__key."""
    content = load(ROOT / "config" / "digits.yaml").model_dump()
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = content
        for each in sections:
            section = section[int(each) if each.isdigit() else each]
        section[key] = value
    return JobResources(validate(content))


def minutes(rule: str, models: int = 4, attempt: int = 1, **changes) -> int:
    return changed(**changes).minutes(rule, wildcards(models), attempt)


def memory(rule: str, models: int = 4, attempt: int = 1, **changes) -> int:
    return changed(**changes).memory(rule, wildcards(models), attempt)


def test_relearning_asks_for_what_training_its_models_asks():
    relearning = {"models": 4, "finetune": RELEARN}
    more = relearning | {"models": 16}
    for role, rule in (("oracle", "retrain"), ("random_mask/original-0", "unlearn")):
        of_role = SimpleNamespace(role=role)
        few, many = (changed(relearn=of) for of in (relearning, more))
        assert few.minutes("relearn", of_role, 1) > minutes(rule, models=4)
        assert many.minutes("relearn", of_role, 1) > 2 * few.minutes("relearn", of_role, 1)
        assert many.memory("relearn", of_role, 1) > few.memory("relearn", of_role, 1) >= memory(rule)
        assert few.models("relearn", of_role) == 4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("need", [minutes, memory])
def test_a_further_attempt_asks_for_more(rule, need):
    first, second, third = (need(rule, attempt=attempt) for attempt in (1, 2, 3))
    assert 0 < first < second < third
    assert isinstance(first, int)


@pytest.mark.parametrize("rule", ["retrain", "unlearn", "mask"])
def test_more_models_a_job_ask_for_more(rule):
    assert minutes(rule, models=64) > 2 * minutes(rule, models=8)
    assert memory(rule, models=5000) > memory(rule, models=8)


def test_more_epochs_ask_for_more_time_of_those_who_train_them():
    more = {"training__epochs": 80}
    assert minutes("retrain", **more) > 5 * minutes("retrain")
    assert minutes("train_original", **more) > 4 * minutes("train_original")
    assert minutes("unlearn", **more) == minutes("unlearn")
    assert minutes("unlearn", methods__random_mask__finetune__0__epochs=20) > 3 * minutes("unlearn")


def test_larger_images_ask_for_more_of_those_who_read_them():
    content = load(ROOT / "config" / "digits.yaml")
    larger = content.model_copy(update={"data": content.data.model_copy(update={"image_size": 64})})
    for rule in ("retrain", "train_original", "unlearn"):
        assert JobResources(larger).minutes(rule, wildcards(4), 1) > 2 * minutes(rule)
        assert JobResources(larger).memory(rule, wildcards(4), 1) > memory(rule)


def test_a_downloaded_data_set_is_read_as_a_whole_whatever_is_used_of_it():
    # Measured: 1,534 MB at most for all of CIFAR-10.
    assert memory("prepare_data", data__name="cifar10") > 2 * 1534
    assert memory("prepare_data", data__name="svhn") > memory("prepare_data", data__name="cifar10")


@pytest.mark.parametrize("rule", ["train_original", "retrain", "unlearn", "mask"])
def test_a_larger_network_asks_for_more_of_those_who_hold_its_weights(rule):
    for need in (minutes, memory):
        assert need(rule, network="vgg11_bn") > need(rule, network="resnet18")


def test_more_classes_ask_for_more_memory_of_those_who_read_logits():
    for rule, times in (("evaluate", 5), ("retrain", 1)):
        ten, hundred = (
            changed(data__name=name, models=2048).memory(rule, wildcards(2048), 1)
            for name in ("cifar10", "cifar100")
        )
        assert hundred > times * ten


@pytest.mark.parametrize("rule", ["evaluate", "compare", "scores_by_n"])
def test_more_replicates_ask_for_more_time_of_the_metric(rule):
    assert minutes(rule, replicates=10_000) > 5 * minutes(rule)


def test_more_replicates_and_images_ask_for_more_time_of_the_other_measures():
    assert minutes("measure", replicates=10_000) > 2 * minutes("measure")
    assert minutes("measure", replicates=10_000, data__test=100) < minutes("measure", replicates=10_000)


def test_a_larger_fleet_asks_for_more_of_those_who_read_all_of_it():
    larger = changed(models=5000)
    assert larger.memory("evaluate", wildcards(4), 1) > memory("evaluate")
    assert larger.memory("retrain", wildcards(4), 1) == memory("retrain")


def test_larger_batches_ask_for_more_memory_of_training():
    assert memory("retrain", training__batch=4000) > memory("retrain")
    assert memory("evaluate", training__batch=4000) == memory("evaluate")
    paired = {"paired_with": "forget", "paired_batch": 700, "objective": "neg_grad_plus"}
    recipe = load(ROOT / "config" / "digits.yaml").methods["random_mask"].finetune[0].model_dump()
    method = {"finetune": recipe | paired}
    assert memory("unlearn", methods__further=method) > memory("unlearn")
    relearning = {"models": 4, "finetune": RELEARN | {"batch": 700}}
    assert memory("unlearn", relearn=relearning) > memory("unlearn")
    trials = {"trials": 1, "budget": 1, "spaces": {"random_mask": {"finetune.batch": [700]}}}
    searched, trial = changed(search=trials, ratio_sweep=None), wildcards(4)
    trial.method = "random_mask.trial_0"
    assert searched.memory("unlearn", trial, 1) > memory("unlearn")


@pytest.mark.parametrize(
    ("rule", "models", "seconds", "megabytes"),
    # The largest of a run of the default experiment on two cores of an AMD EPYC 7003 that others used too.
    [
        ("train_original", 1, 52, 1007),
        ("retrain", 4, 85, 1004),
        ("unlearn", 8, 76, 1079),
        ("mask", 8, 1.1, 180),
        ("evaluate", 1, 2.4, 115),
        ("measure", 1, 5.1, 190),
        ("compare", 1, 3.7, 113),
        ("scores_by_n", 1, 3.7, 114),
        ("simulate", 1, 7.7, 61),
        ("figures", 1, 4.2, 199),
        ("paper", 1, 4.8, 97),
    ],
)
def test_estimates_exceed_what_was_measured(rule, models, seconds, megabytes):
    assert minutes(rule, models) * 60 > 3 * seconds
    assert memory(rule, models) > 2 * megabytes
