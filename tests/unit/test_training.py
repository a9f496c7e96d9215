import numpy as np
import pytest
import torch

from random_mask.models import build_resnet18, without_dead_taps
from random_mask.objectives import cross_entropy
from random_mask.seeds import generator
from random_mask.settings import Recipe
from random_mask.training import Images, evaluate, fit, fit_fleet, learning_rates

RECIPE = Recipe(epochs=2, batch=16, optimizer="adam", learning_rate=1e-3, weight_decay=5e-4)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> Images:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 4
    pixels = rng.integers(0, 60, size=(60, 3, 32, 32)) + 60 * labels[:, None, None, None] // 2
    return Images.from_arrays(
        {
            "pixels": pixels.astype(np.uint8),
            "labels": labels.astype(np.int64),
            "mean": np.full(3, 100, dtype=np.float32),
            "std": np.full(3, 50, dtype=np.float32),
        }
    )


PARTS = {
    "retain": np.arange(36),
    "forget": np.arange(36, 42),
    "validation": np.arange(42, 48),
    "test": np.arange(48, 60),
}


def train(images, models, recipe=RECIPE):
    return fit_fleet(
        {i: lambda i=i: build_resnet18(images.classes, seed=100 + i) for i in models},
        images,
        PARTS,
        recipe,
        train_on=PARTS["retain"],
        order=lambda index: generator(1, "fleet", index, "order"),
    )[0]


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
    for model in (full, live):
        # In double precision, so that rounding is not amplified by the steps.
        model.double()
        fit(model, DoubleImages(images), PARTS["retain"], recipe, rng=np.random.default_rng(0))
    logits = [evaluate(model, DoubleImages(images), PARTS["test"]) for model in (full, live)]
    np.testing.assert_allclose(*logits, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(live.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


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
            return x.mean(dim=(1, 2, 3), keepdim=False)[:, None].double() @ self.weight.T

    start = weight.detach().clone()
    two = Images(images.pixels, images.labels % 2, images.mean, images.std)
    fit(Line(), two, np.arange(60), recipe, rng=np.random.default_rng(0))
    x = two.inputs(torch.arange(60)).mean(dim=(1, 2, 3)).double()
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


def test_images_are_normalised_and_kept_as_bytes(images):
    assert images.pixels.dtype == torch.uint8
    x = images.inputs(torch.tensor([3, 1]))
    expected = (images.pixels[[3, 1]].float() - 100) / 50
    torch.testing.assert_close(x, expected)


def test_cross_entropy_is_separate_for_each_model():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(15).view(3, 5) % 4
    losses = cross_entropy(logits, labels)
    for model in range(3):
        expected = torch.nn.functional.cross_entropy(logits[model], labels[model])
        torch.testing.assert_close(losses[model], expected)
    losses[1].backward()
    assert not logits.grad[[0, 2]].any()
