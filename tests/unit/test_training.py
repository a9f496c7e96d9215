import numpy as np
import pytest
import torch
from small_images import small_images

from random_mask.methods.losses.cross_entropy import CrossEntropy
from random_mask.training.evaluation import evaluate, gradients
from random_mask.training.fleet import Fleet, Step, fit_fleet, initial
from random_mask.training.images import Images
from random_mask.training.loop import fit, learning_rates
from random_mask.training.networks import NETWORKS, Network
from random_mask.training.recipe import Recipe
from random_mask.training.stacking import Stack

RECIPE = Recipe(epochs=2, batch=16, optimizer="adam", learning_rate=1e-3, weight_decay=5e-4)
LOSS = CrossEntropy(name="cross_entropy")
RESNET18 = NETWORKS["resnet18"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> Images:
    return small_images(60)


SPLITS = {
    "retain": np.arange(36),
    "forget": np.arange(36, 42),
    "validation": np.arange(42, 48),
    "test": np.arange(48, 60),
}


def train(images, models, recipe=RECIPE, **options):
    fleet = Fleet(
        role="fleet",
        seed=1,
        network=RESNET18,
        start=lambda index: initial(RESNET18, 4, 100 + index),
        steps=[Step([(recipe, LOSS)])],
    )
    return fit_fleet(fleet, list(models), images, SPLITS, **options)[0]


def stack(models: int = 1, *, first: int = 0, image_size: int | None = None, double: bool = False) -> Stack:
    """Return networks with the initial weights of the seeds from `first` on."""
    made = Stack(RESNET18, 4, models, image_size=image_size)
    for place in range(models):
        made.load(place, initial(RESNET18, 4, first + place))
    return made.double() if double else made


def test_a_model_is_the_same_in_shards_of_one_and_of_four(images):
    together = train(images, range(4))
    assert np.array_equal(together["model"], np.arange(4))
    for index in range(4):
        alone = train(images, [index])
        for name, array in alone.items():
            assert np.array_equal(array[0], together[name][index]), name


def test_what_is_kept_of_a_fleet(images):
    kept = train(images, [0, 1])
    for split, indices in SPLITS.items():
        assert kept[f"logits_{split}"].shape == (2, len(indices), 4)
        hits = kept[f"logits_{split}"].argmax(axis=2) == images.labels.numpy()[indices]
        assert np.allclose(kept[f"accuracy_{split}"], hits.mean(axis=1))
    assert kept["history_loss"].shape == (2, 2)
    assert not np.array_equal(kept["logits_test"][0], kept["logits_test"][1])


def test_training_lowers_the_loss(images):
    loss = train(images, [0], RECIPE.model_copy(update={"epochs": 4}))["history_loss"][0]
    assert loss[-1] < 0.7 * loss[0]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [16, 36])
def test_cropping_does_not_change_training(images, optimizer, batch):
    """Also with a last batch that is smaller, and for the running statistics."""
    recipe = Recipe(epochs=2, batch=batch, optimizer=optimizer, learning_rate=1e-3, weight_decay=5e-4)
    # In double precision, so that rounding is not amplified by the steps.
    full, cropped = (stack(image_size=size, double=True) for size in (None, 32))
    for network in (full, cropped):
        fit(network, DoubleImages(images), SPLITS, recipe, LOSS, rngs=[np.random.default_rng(0)])
    logits = [evaluate(network, DoubleImages(images), SPLITS["test"]) for network in (full, cropped)]
    np.testing.assert_allclose(*logits, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(cropped.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "positions", "optimizer"),
    [
        *(("double", "used", "adam"), ("double", "used", "sgd")),
        *(("single", "all", "sgd"), ("single", "used", "adam")),
    ],
)
def test_a_stack_trains_as_its_networks_alone(images, precision, positions, optimizer):
    """Three networks, running statistics included; the last batch is smaller.

    Steps amplify rounding, and so do batch norms over few values: in single precision both are kept small.
    """
    double = precision == "double"
    rate, batch = (1e-3, 16) if double else (1e-4, 20)
    recipe = Recipe(epochs=1, batch=batch, optimizer=optimizer, learning_rate=rate, weight_decay=5e-4)
    images = DoubleImages(images) if double else images
    tolerance = 1e-8 if double else 1e-4
    size = 32 if positions == "used" else None
    together = stack(3, image_size=size, double=double)
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    history = fit(together, images, SPLITS, recipe, LOSS, rngs=rngs)
    logits = evaluate(together, images, SPLITS["test"])
    for model in range(3):
        alone = stack(first=model, image_size=size, double=double)
        expected = fit(alone, images, SPLITS, recipe, LOSS, rngs=[np.random.default_rng(model)])
        np.testing.assert_allclose(logits[model], evaluate(alone, images, SPLITS["test"])[0], atol=tolerance)
        np.testing.assert_allclose(history.loss[model], expected.loss[0], atol=tolerance)
        start = initial(RESNET18, 4, model)
        for name, array in together.weights(model, start).items():
            np.testing.assert_allclose(array, alone.weights(0, start)[name], rtol=1e-4, atol=1e-4)


def test_a_fleet_is_the_same_side_by_side(images):
    """Also when the last group is smaller."""
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-5})
    alone, together = train(images, range(3), recipe), train(images, range(3), recipe, at_once=2)
    assert alone.keys() == together.keys()
    for name, array in alone.items():
        np.testing.assert_allclose(together[name], array, atol=1e-4, err_msg=name)


def test_bfloat16_keeps_32_bit_weights_and_nearly_the_same_logits(images):
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-4, "epochs": 1})
    half = train(images, [0], recipe, precision="bf16")
    full = train(images, [0], recipe)
    assert half["logits_test"].dtype == np.float32
    difference = np.abs(half["logits_test"] - full["logits_test"]).max()
    assert 0 < difference < 0.1 * np.abs(full["logits_test"]).max()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("l1", [0.0, 1e-4])
def test_unused_positions_move_as_in_the_full_network(images, optimizer, l1):
    recipe = Recipe(epochs=2, batch=16, optimizer=optimizer, learning_rate=1e-3, weight_decay=5e-2, l1=l1)
    start, trained = initial(RESNET18, 4, 0), []
    for size in (None, 32):
        made = Stack(RESNET18, 4, image_size=size, hold_unused=True)
        made.load(0, start)
        made.double()
        fit(made, DoubleImages(images), SPLITS, recipe, LOSS, rngs=[np.random.default_rng(0)])
        assert made.weights_each() == 11_178_564
        trained.append(made.weights(0, start))
    full, cropped = trained
    for name, array in full.items():
        if "tracked" not in name:
            np.testing.assert_allclose(cropped[name], array, rtol=1e-5, atol=1e-7, err_msg=name)
    corner = (slice(None), slice(None), 0, 0)
    name = "layer4.1.conv2.weight"
    assert (np.abs(full[name][corner]) < np.abs(start[name][corner])).mean() > 0.95


class DoubleImages(Images):
    """The same images in double precision."""

    def __init__(self, images: Images):
        super().__init__(images.pixels, images.labels, images.mean, images.std)

    def inputs(self, indices):
        return super().inputs(indices).double()


def test_adam_is_the_textbooks(images):
    """One parameter, followed by hand from the published update rule."""
    recipe = Recipe(epochs=3, batch=60, optimizer="adam", learning_rate=0.1, weight_decay=0.01)
    weight = torch.nn.Parameter(torch.tensor([[2.0], [0.0]], dtype=torch.float64))

    class Line(torch.nn.Module):
        models, architecture, unused = 1, RESNET18, None

        def __init__(self):
            super().__init__()
            self.weight = weight

        def forward(self, x):
            return (x.mean(dim=(1, 2, 3))[:, None].double() @ self.weight.T)[None]

        def parameters_by_name(self):
            return {"weight": self.weight}

    start = weight.detach().clone()
    two = Images(images.pixels, images.labels % 2, images.mean, images.std)
    fit(Line(), two, {"retain": np.arange(60)}, recipe, LOSS, rngs=[np.random.default_rng(0)])
    x = two.inputs(torch.arange(60)[None]).mean(dim=(1, 2, 3)).double()
    w, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step, rate in enumerate(learning_rates(recipe, 3), 1):
        p = torch.softmax(x[:, None] @ w.T, dim=1) - torch.nn.functional.one_hot(two.labels, 2)
        g = p.T @ x[:, None] / 60 + 0.01 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(weight.detach(), w)


def test_the_schedule_is_half_a_cosine():
    recipe = RECIPE.model_copy(update={"learning_rate": 1.0, "final_learning_rate": 0.2})
    rates = list(learning_rates(recipe, 100))
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.6)
    assert rates[99] == pytest.approx(0.2, abs=1e-3)
    assert rates == sorted(rates, reverse=True)


def test_other_schedules():
    recipe = RECIPE.model_copy(
        update={"learning_rate": 1.0, "schedule": "linear", "epochs": 5, "warm_up": 1, "optimizer": "sgd"}
    )
    rates = list(learning_rates(recipe, 50))
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], 1 - np.arange(40) / 40)
    constant = RECIPE.model_copy(update={"schedule": "constant", "learning_rate": 0.1})
    assert set(learning_rates(constant, 7)) == {0.1}


def test_gradients_are_those_of_the_mean_loss(images):
    network, weights = RESNET18.build(4, seed=0).eval(), initial(RESNET18, 4, 0)
    cropped = stack(image_size=32)
    found = cropped.whole(gradients(cropped, images, SPLITS["retain"]), 0, weights)
    inputs = images.inputs(torch.from_numpy(SPLITS["retain"])[None])
    torch.nn.functional.cross_entropy(network(inputs), images.labels[SPLITS["retain"]]).backward()
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-5)


def test_the_work_is_that_of_the_steps_taken():
    sizes = {"retain": 100, "forget": 10, "validation": 20}
    recipe = Recipe(epochs=3, batch=32, optimizer="sgd", learning_rate=0.1)
    assert (recipe.images_passed(sizes), recipe.steps(sizes)) == (300, 12)
    paired = recipe.model_copy(update={"paired_with": "forget"})
    assert (paired.images_passed(sizes), paired.steps(sizes)) == (300 + 12 * 10, 12)
    paired = recipe.model_copy(update={"images": "forget", "paired_with": "retain", "paired_batch": 64})
    assert (paired.images_passed(sizes), paired.steps(sizes)) == (30 + 3 * 64, 3)
    salient = recipe.model_copy(update={"salient": 0.5, "images": "validation"})
    assert (salient.images_passed(sizes), salient.steps(sizes)) == (60 + 10, 3)


def test_images_are_normalised_and_kept_as_bytes(images):
    assert images.pixels.dtype == torch.uint8
    x = images.inputs(torch.tensor([[3, 1], [0, 2]]))
    for model, indices in enumerate(([3, 1], [0, 2])):
        expected = (images.pixels[indices].float() - 100) / 50
        torch.testing.assert_close(x[:, 3 * model : 3 * model + 3], expected)


def test_a_network_that_cannot_be_stacked_is_trained_alone(images):
    """It draws for its dropout, so that a model is the same whatever was trained before it."""
    network = Network(
        "mobilenet_v3_small", "features.0.0", "classifier.3", r"features\.\d+", "", stackable=False
    )
    recipe = RECIPE.model_copy(update={"epochs": 1, "batch": 18})
    fleet = Fleet(
        role="fleet",
        seed=1,
        network=network,
        start=lambda index: initial(network, 4, index),
        steps=[Step([(recipe, LOSS)])],
    )
    weights = {}
    together, works = fit_fleet(fleet, [0, 1], images, SPLITS, save=weights.__setitem__)
    alone, _ = fit_fleet(fleet, [1], images, SPLITS)
    for name, array in alone.items():
        assert np.array_equal(array[0], together[name][1]), name
    assert weights[1]["classifier.3.bias"].shape == (4,)
    assert works[0].weights == sum(p.numel() for p in network.build(4, seed=0).parameters())
