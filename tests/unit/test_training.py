import numpy as np
import pytest
import torch
from small_images import small_images

from random_mask.methods.objectives import cross_entropy
from random_mask.settings import Recipe, Step
from random_mask.training.cost import work_of
from random_mask.training.fleet import Fleet, fit_fleet
from random_mask.training.loop import Images, evaluate, fit, gradients, learning_rates
from random_mask.training.networks import build_resnet18, without_dead_taps
from random_mask.training.stacking import stack, unstacked

RECIPE = Recipe(epochs=2, batch=16, optimizer="adam", learning_rate=1e-3, weight_decay=5e-4)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> Images:
    return small_images(60)


PARTS = {
    "retain": np.arange(36),
    "forget": np.arange(36, 42),
    "validation": np.arange(42, 48),
    "test": np.arange(48, 60),
}


def start(index: int) -> dict[str, np.ndarray]:
    return {name: w.numpy() for name, w in build_resnet18(4, seed=100 + index).state_dict().items()}


def train(images, models, recipe=RECIPE, **options):
    fleet = Fleet(role="fleet", seed=1, start=start, steps=[Step(finetune=[recipe])])
    return fit_fleet(fleet, list(models), images, PARTS, **options)[0]


def test_a_model_is_the_same_in_shards_of_one_and_of_four(images):
    together = train(images, range(4))
    assert np.array_equal(together["model"], np.arange(4))
    for index in range(4):
        alone = train(images, [index])
        for name, array in alone.items():
            assert np.array_equal(array[0], together[name][index]), name


def test_what_is_kept_of_a_fleet(images):
    kept = train(images, [0, 1])
    for part, indices in PARTS.items():
        assert kept[f"logits_{part}"].shape == (2, len(indices), 4)
        hits = kept[f"logits_{part}"].argmax(axis=2) == images.labels.numpy()[indices]
        assert np.allclose(kept[f"accuracy_{part}"], hits.mean(axis=1))
    assert kept["history_loss"].shape == (2, 2)
    assert not np.array_equal(kept["logits_test"][0], kept["logits_test"][1])


def test_training_lowers_the_loss(images):
    loss = train(images, [0], RECIPE.model_copy(update={"epochs": 4}))["history_loss"][0]
    assert loss[-1] < 0.7 * loss[0]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [16, 36])
def test_leaving_out_dead_taps_does_not_change_training(images, optimizer, batch):
    """Also with a last batch that is smaller, and for the running statistics."""
    recipe = Recipe(epochs=2, batch=batch, optimizer=optimizer, learning_rate=1e-3, weight_decay=5e-4)
    full = build_resnet18(4, seed=0)
    live = without_dead_taps(full, 32)
    # In double precision, so that rounding is not amplified by the steps.
    full, live = (stack([model.double()]) for model in (full, live))
    for network in (full, live):
        fit(network, DoubleImages(images), PARTS, recipe, rngs=[np.random.default_rng(0)])
    logits = [evaluate(network, DoubleImages(images), PARTS["test"]) for network in (full, live)]
    np.testing.assert_allclose(*logits, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(live.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "taps", "optimizer"),
    [
        *(("double", "live", "adam"), ("double", "live", "sgd")),
        *(("single", "all", "sgd"), ("single", "live", "adam")),
    ],
)
def test_a_stack_trains_as_its_networks_alone(images, precision, taps, optimizer):
    """Four networks, running statistics included; the last batch is smaller.

    Steps amplify rounding, and so do batch norms over few values: in single precision both are kept small.
    """
    precise = precision == "double"
    rate, batch, epochs = (1e-3, 16, 2) if precise else (1e-4, 20, 1)
    recipe = Recipe(epochs=epochs, batch=batch, optimizer=optimizer, learning_rate=rate, weight_decay=5e-4)
    networks = [build_resnet18(4, seed=seed) for seed in range(4)]
    if taps == "live":
        networks = [without_dead_taps(network, 32) for network in networks]
    if precise:
        images = DoubleImages(images)
        networks = [network.double() for network in networks]
    tolerance = 1e-8 if precise else 1e-4
    together = stack(networks)
    rngs = [np.random.default_rng(seed) for seed in range(4)]
    history = fit(together, images, PARTS, recipe, rngs=rngs)
    logits = evaluate(together, images, PARTS["test"], models=4)
    for model, network in enumerate(networks):
        alone = stack([network])
        expected = fit(alone, images, PARTS, recipe, rngs=[np.random.default_rng(model)])
        np.testing.assert_allclose(logits[model], evaluate(alone, images, PARTS["test"])[0], atol=tolerance)
        np.testing.assert_allclose(history.loss[model], expected.loss[0], atol=tolerance)
        for name, tensor in unstacked(together, model).items():
            torch.testing.assert_close(tensor, unstacked(alone, 0)[name], rtol=tolerance, atol=tolerance)


def test_a_fleet_is_the_same_side_by_side(images):
    """Also when the last group is smaller."""
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-5})
    alone, together = train(images, range(3), recipe), train(images, range(3), recipe, at_once=2)
    assert alone.keys() == together.keys()
    for name, array in alone.items():
        np.testing.assert_allclose(together[name], array, atol=1e-4, err_msg=name)


def test_what_cannot_be_stacked_is_named():
    with pytest.raises(TypeError, match="0: a GroupNorm cannot be stacked"):
        stack([torch.nn.Sequential(torch.nn.GroupNorm(1, 3))])


def test_bfloat16_keeps_32_bit_weights_and_nearly_the_same_logits(images):
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-4, "epochs": 1})
    half = train(images, [0], recipe, precision="bf16")
    full = train(images, [0], recipe)
    assert half["logits_test"].dtype == np.float32
    difference = np.abs(half["logits_test"] - full["logits_test"]).max()
    assert 0 < difference < 0.1 * np.abs(full["logits_test"]).max()


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
        def __init__(self):
            super().__init__()
            self.weight = weight

        def forward(self, x):
            return (x.mean(dim=(1, 2, 3))[:, None].double() @ self.weight.T)[None]

    start = weight.detach().clone()
    two = Images(images.pixels, images.labels % 2, images.mean, images.std)
    fit(Line(), two, {"retain": np.arange(60)}, recipe, rngs=[np.random.default_rng(0)])
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
    network = build_resnet18(4, seed=0).eval()
    found = gradients(stack([network]), images, PARTS["retain"])
    inputs = images.inputs(torch.from_numpy(PARTS["retain"])[None])
    torch.nn.functional.cross_entropy(network(inputs), images.labels[PARTS["retain"]]).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name][0], parameter.grad, rtol=1e-3, atol=1e-5)


def test_the_work_is_that_of_the_steps_taken():
    parts = {"retain": 100, "forget": 10, "validation": 20}
    recipe = Recipe(epochs=3, batch=32, optimizer="sgd", learning_rate=0.1)
    assert work_of(parts, recipe) == (300, 12)
    both = Recipe(
        epochs=3, batch=32, optimizer="sgd", learning_rate=0.1, objective="neg_grad_plus", images="both"
    )
    assert work_of(parts, both) == (300 + 12 * 10, 12)
    salient = recipe.model_copy(update={"salient": 0.5, "images": "validation"})
    assert work_of(parts, salient) == (60 + 10, 3)


def test_images_are_normalised_and_kept_as_bytes(images):
    assert images.pixels.dtype == torch.uint8
    x = images.inputs(torch.tensor([[3, 1], [0, 2]]))
    for model, indices in enumerate(([3, 1], [0, 2])):
        expected = (images.pixels[indices].float() - 100) / 50
        torch.testing.assert_close(x[:, 3 * model : 3 * model + 3], expected)


def test_cross_entropy_is_separate_for_each_model():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(15).view(3, 5) % 4
    losses = cross_entropy(logits, labels)
    for model in range(3):
        expected = torch.nn.functional.cross_entropy(logits[model], labels[model])
        torch.testing.assert_close(losses[model], expected)
    losses[1].backward()
    assert not logits.grad[[0, 2]].any()
