"""Relearning: the forget set is fitted again, and what is told of it."""

import numpy as np
import pytest
import torch
from small_images import small_images

from random_mask.methods.losses.cross_entropy import CrossEntropy
from random_mask.training.evaluation import evaluate
from random_mask.training.fleet import initial
from random_mask.training.images import Images
from random_mask.training.loop import fit
from random_mask.training.networks import NETWORKS
from random_mask.training.recipe import Recipe
from random_mask.training.relearning import relearn
from random_mask.training.stacking import Stack

LOSS = CrossEntropy(name="cross_entropy")

FORGET = Recipe(images="forget", epochs=3, batch=6, optimizer="adam", learning_rate=1e-4, schedule="constant")
SPLITS = {"retain": np.arange(24), "forget": np.arange(24, 36)}


@pytest.fixture(scope="module")
def images() -> Images:
    torch.set_num_threads(1)
    return small_images(36)


def networks(count: int) -> Stack:
    made = Stack(NETWORKS["resnet18"], 4, count, image_size=32)
    for seed in range(count):
        made.load(seed, initial(NETWORKS["resnet18"], 4, seed))
    return made


def relearned(network, images, models=1, recipe=FORGET) -> np.ndarray:
    rngs = [np.random.default_rng(model) for model in range(models)]
    return relearn(network, images, SPLITS, recipe, LOSS, rngs=rngs)


def loss(network, images) -> float:
    """From the definition, in evaluation mode."""
    logits = torch.from_numpy(evaluate(network, images, SPLITS["forget"])[0]).double()
    return float(torch.nn.functional.cross_entropy(logits, images.labels[SPLITS["forget"]]))


def test_losses_are_those_on_the_forget_set_before_and_after(images):
    network = networks(1)
    before = loss(network, images)
    losses = relearned(network, images)
    assert losses.shape == (1, 4)
    assert losses[0, 0] == pytest.approx(before)
    assert losses[0, -1] == pytest.approx(loss(network, images))


def test_looking_on_does_not_change_what_is_learned(images):
    looked_at, alone = networks(1), networks(1)
    relearned(looked_at, images)
    fit(alone, images, SPLITS, FORGET, LOSS, rngs=[np.random.default_rng(0)])
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, looked_at.state_dict()[name]), name


def test_models_side_by_side_relearn_as_alone(images):
    together = relearned(networks(2), images, models=2)
    alone = relearned(networks(1), images)
    assert together.shape == (2, 4)
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-2)


def test_who_has_seen_the_images_is_there_sooner(images):
    knows, does_not = networks(1), networks(1)
    fit(knows, images, SPLITS, FORGET.model_copy(update={"epochs": 6}), LOSS, rngs=[np.random.default_rng(9)])
    assert relearned(knows, images)[0, -1] < relearned(does_not, images)[0, -1]
