"""What jobs do, counted by hand for the smallest experiment."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from random_mask.experiment.config import Step, validate
from random_mask.training import evaluation
from random_mask.training.networks import NETWORKS
from random_mask.workflow import work
from random_mask.workflow.work import JobWork, Workload

SMOKE = yaml.safe_load((Path(__file__).parents[2] / "config" / "smoke.yaml").read_text())
IMAGES, KEPT = 112 + 16 + 32 + 64, (112 + 16 + 32 + 64) * 10 * 4
"""Images: retain, forget, validation, test; and bytes of the logits of one model."""


def count(rule: str, changes: dict | None = None, **wildcards: str) -> JobWork:
    return Workload(validate(SMOKE | (changes or {}))).of(rule, SimpleNamespace(**wildcards))


def shard(models: int, **wildcards: str) -> dict[str, str]:
    return {"first": "0000", "last": f"{models - 1:04d}", **wildcards}


def test_training():
    # 128 training images in batches of 32, for two epochs.
    original = count("train_original", original="0")
    assert (original.models, original.images, original.steps) == (1, 2 * 128, 2 * 4)
    assert (original.full_images, original.evaluated) == (0, IMAGES)
    assert original.written == 4 * work.WEIGHTS["resnet18"] + KEPT + work.JOB_BYTES
    retrained = count("retrain", **shard(2, fleet="oracle"))
    assert retrained == JobWork(
        models=2,
        images=2 * 2 * 112,
        steps=2 * 2 * 4,
        evaluated=2 * IMAGES,
        written=2 * KEPT + work.JOB_BYTES,
    )
    unlearned = count("unlearn", **shard(4, method="random_mask", original="0"))
    assert (unlearned.models, unlearned.images, unlearned.steps) == (4, 4 * 112, 4 * 4)


def test_relearning_is_training_once_more_and_two_epochs_of_the_forget_set():
    for role, images, steps in (("oracle", 2 * 112, 8), ("random_mask/original-0", 112, 4)):
        found = count("relearn", role=role)
        assert (found.models, found.images, found.steps) == (2, 2 * (images + 2 * 16), 2 * (steps + 2))
        assert found.evaluated == 2 * (IMAGES + 3 * 16)


def test_a_function_of_which_nothing_is_known_is_priced_as_retraining_the_full_network():
    methods = {"methods": SMOKE["methods"] | {"mine": {"function": "mine.py"}}, "relearn": None}
    found = count("unlearn_own", methods, **shard(2, method="mine", original="0"))
    retrained = count("retrain", **shard(2, fleet="oracle"))
    assert (found.images, found.full_images) == (0, retrained.images)
    assert (found.models, found.steps) == (retrained.models, retrained.steps)


def test_masks():
    assert count("mask", **shard(4, method="random_mask", original="0")).masks == 4
    # A method that draws none has no such job; the sweep's ratio of 0 draws empty ones.
    assert count("mask", **shard(4, method="random_mask_ratio_0", original="0")).masks == 4


def test_the_metric_scores_every_forget_example_once_and_in_every_replicate():
    assert count("evaluate", method="finetune", original="0").resampled == 16 * 101
    assert count("compare", {"originals": 3}, a="finetune", b="retrain").resampled == 2 * 3 * 16 * 101


@pytest.mark.parametrize(("models", "smaller"), [(4, 0), (8, 0), (9, 1), (16, 1), (17, 2), (512, 6)])
def test_scores_of_smaller_fleets_are_counted(models, smaller):
    found = count("scores_by_n", {"models": models}, method="finetune")
    assert found.resampled == 16 * (101 + 100 * smaller)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": 5},
        {"replicates": 101},
        {"data": SMOKE["data"] | {"train": 160}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_more_of_anything_is_more_to_measure(changes):
    assert count("measure", changes).counted > count("measure").counted


def test_a_rule_that_nobody_named_does_a_little():
    assert count("a_new_rule") == count("tables")
    assert count("a_new_rule").report > 0


def test_steps_that_only_some_models_take_are_counted_for_these():
    step = Step(finetune=[], models="odd", perturb={"name": "dampen", "alpha": 1, "strength": 1}, cycles=3)
    sizes = {"retain": 112, "forget": 16}
    assert step.work(sizes, 0) == (0, 0)
    # Thrice, the gradients of retain and forget and again of forget.
    assert step.work(sizes, 1) == (3 * (112 + 2 * 16), 0)


def test_recipes_that_are_taken_in_turn_are_counted_as_often():
    recipe = {"epochs": 2, "batch": 32, "optimizer": "sgd", "learning_rate": 0.1}
    other = recipe | {
        "images": "forget",
        "objective": "contrast",
        "paired_with": "retain",
        "paired_batch": 64,
    }
    sizes = {"retain": 112, "forget": 16}
    assert Step(finetune=[recipe, other], rounds=3).work(sizes, 0) == (
        3 * (2 * 112 + 2 * (16 + 64)),
        3 * (2 * 4 + 2),
    )


def test_a_forget_set_of_unknown_size_is_taken_for_a_tenth():
    forget = {"kind": "class", "classes": ["3"]}
    experiment = validate(SMOKE | {"data": SMOKE["data"] | {"forget": forget}})
    assert Workload(experiment).sizes == {"retain": 116, "forget": 12, "validation": 32, "test": 64}
    assert Workload(experiment, unknown=0.5).sizes["forget"] == 64


def test_as_many_logits_are_kept_as_training_keeps():
    assert work.RETAIN_SAMPLE == evaluation.RETAIN_SAMPLE
    many = SMOKE["data"] | {"name": "cifar10", "train": 5016}
    assert Workload(validate(SMOKE | {"data": many})).kept == 2000 + 16 + 32 + 64


def test_weights_are_counted_about_as_they_are():
    assert work.WEIGHTS.keys() == NETWORKS.keys()
    for name, network in NETWORKS.items():
        counted = sum(tensor.numel() for tensor in network.empty(10).parameters())
        assert work.WEIGHTS[name] == pytest.approx(counted, rel=0.01)
