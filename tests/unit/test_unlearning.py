"""What defines each method: a few steps on a few small images, looked at from outside."""

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from small_images import SPLITS, small_images

from random_mask.experiment.config import Method
from random_mask.methods.perturbation import parameters
from random_mask.methods.random_mask import draw_masks
from random_mask.training.fleet import Fleet, Step, fit_fleet, initial
from random_mask.training.images import Images
from random_mask.training.networks import NETWORKS

RESNET18 = NETWORKS["resnet18"]
MASK = "{name: random_mask, ratio: 0.3, spare: described}"
RELABEL = "paired_with: forget, objective: {name: relabel, with_labels: random}"
REPAIR = "{epochs: 1, batch: 12, optimizer: sgd, learning_rate: 1.0e-2, weight_decay: 1.0e-2"


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> Images:
    return small_images(48)


@pytest.fixture(scope="module")
def original() -> dict[str, np.ndarray]:
    return initial(RESNET18, 4, 0)


def method(text: str) -> Method:
    return Method.model_validate(yaml.safe_load(text))


def fleet_of(chosen: Method, original) -> Fleet:
    steps = [
        Step([(recipe, recipe.objective) for recipe in step.finetune], step.perturb, step.models, step.rounds)
        for step in chosen.steps()
        for _ in range(step.cycles)
    ]

    def masks(model: int, step: int):
        return draw_masks(original, steps[step].perturb, np.random.default_rng([model, step]))

    return Fleet(
        role="m/original-0",
        seed=1,
        network=RESNET18,
        start=lambda index: original,
        steps=steps,
        masks=masks,
        original=original,
    )


def unlearn(text: str, images, original, models=(0,), **options):
    """Run a method on some models; return the arrays of the shard, and their final weights."""
    fleet = fleet_of(method(text), original)
    weights = {}
    arrays, works = fit_fleet(fleet, list(models), images, SPLITS, save=weights.__setitem__, **options)
    return arrays, works, weights


def perturbed(section: str, images, original, index=0) -> dict[str, np.ndarray]:
    """Return the weights after the perturbation alone."""
    return unlearn(f"{{perturb: {section}, finetune: []}}", images, original, [index])[2][index]


def changed(weights, original) -> set[str]:
    return {name for name in parameters(original) if not np.array_equal(weights[name], original[name])}


def test_without_a_perturbation_and_without_repair_nothing_changes(images, original):
    assert changed(perturbed("{name: none}", images, original), original) == set()


def test_the_original_and_the_data_are_left_alone(images, original):
    before = {name: array.copy() for name, array in original.items()}
    pixels = images.pixels.clone()
    for section in ("{name: transpose}", "{name: noise, sigma: 0.6}", "{name: negate, layers: [conv1]}"):
        unlearn(f"{{perturb: {section}, finetune: {REPAIR}}}}}", images, original)
    assert all(np.array_equal(original[name], array) for name, array in before.items())
    assert torch.equal(images.pixels, pixels)


def test_frozen_masks_stay_exactly_zero_through_momentum_and_decay(images, original):
    for frozen in (True, False):
        text = f"{{perturb: {{name: random_mask, ratio: 0.3, spare: described, frozen: {frozen}}}, "
        _, _, weights = unlearn(text + f"finetune: {REPAIR}}}}}", images, original)
        masks = fleet_of(method(text + "finetune: []}"), original).masks(0, 0)
        regrown = sum(np.count_nonzero(weights[0][name][~mask]) for name, mask in masks.items())
        assert (regrown == 0) == frozen


def test_masks_can_be_filled_and_rescaled(images, original):
    base = "{name: random_mask, ratio: 0.3, spare: described, only: convolutions"
    name = "layer1.0.conv1.weight"
    mask = fleet_of(method(f"{{perturb: {base}}}, finetune: []}}"), original).masks(0, 0)[name]
    zero = perturbed(base + "}", images, original)[name]
    assert np.array_equal(zero, np.where(mask, original[name], 0))
    filled = perturbed(base + ", fill: initial}", images, original)[name]
    assert np.array_equal(filled[mask], original[name][mask])
    assert filled[~mask].std() == pytest.approx(original[name].std(), rel=0.05)  # as before training
    rescaled = perturbed(base + ", rescale: true}", images, original)[name]
    np.testing.assert_allclose(rescaled[mask], original[name][mask] / 0.7, rtol=0.01)
    assert not rescaled[~mask].any()


@pytest.mark.parametrize(
    ("only", "touched"),
    [
        ("convolutions", lambda name, w: w.ndim == 4),
        ("linear", lambda name, w: name.startswith("fc.")),
        ("stem", lambda name, w: name == "conv1.weight"),
        ("inner", lambda name, w: w.ndim == 4 and name != "conv1.weight" and "downsample" not in name),
    ],
)
def test_a_mask_of_some_tensors(images, original, only, touched):
    text = f"{{name: random_mask, ratio: 0.5, spare: described, only: {only}}}"
    found = changed(perturbed(text, images, original), original)
    assert found == {name for name in parameters(original) if touched(name, original[name])}


def test_a_mask_of_whole_tensors(images, original):
    text = "{name: random_mask, ratio: 0.5, spare: described, unit: tensor, only: convolutions}"
    weights = perturbed(text, images, original)
    zeroed = {name for name in changed(weights, original) if not weights[name].any()}
    assert 0 < len(zeroed) < 20
    assert zeroed == changed(weights, original)


def test_noise_has_its_deviation(images, original):
    weights = perturbed("{name: noise, sigma: 0.6}", images, original)
    found = changed(weights, original)
    assert found == {name for name in parameters(original) if original[name].ndim == 4}
    difference = (weights["layer3.0.conv2.weight"] - original["layer3.0.conv2.weight"]).ravel()
    assert stats.kstest(difference / 0.6, "norm").pvalue > 1e-3


def test_noise_on_the_stem_alone(images, original):
    """The third entry: in a ResNet the stem is the only convolution that is a child of the network itself."""
    weights = perturbed("{name: noise, sigma: 0.6, only: stem}", images, original)
    assert changed(weights, original) == {"conv1.weight"}
    assert (weights["conv1.weight"] - original["conv1.weight"]).std() == pytest.approx(0.6, rel=0.05)


def test_noise_on_some_of_the_tensors_that_are_trained(images, original):
    """The seventh entry: of nine tensors six get noise; they and what is called `bn` are trained."""
    section = "{name: noise, sigma: 0.04, only: all, spare: published, tensors: 9, noisy: 6, train: drawn}"
    noisy = changed(perturbed(section, images, original), original)
    assert len(noisy) == 6
    assert not any("bn" in name for name in noisy)
    _, _, weights = unlearn(f"{{perturb: {section}, finetune: {REPAIR}}}}}", images, original)
    moved = changed(weights[0], original)
    assert noisy <= moved
    drawn = {name for name in moved if "bn" not in name}
    assert 6 <= len(drawn) <= 9
    assert {name for name in parameters(original) if "bn" in name} <= moved
    again = unlearn(f"{{perturb: {section}, finetune: {REPAIR}}}, cycles: 2}}", images, original)[2]
    assert {name for name in changed(again[0], original) if "bn" not in name} > drawn  # nine others


def test_reinitialising_layers_leaves_the_bytes_of_the_others(images, original):
    weights = perturbed("{name: reinitialise, layers: [conv1, fc]}", images, original)
    assert changed(weights, original) == {"conv1.weight", "fc.weight", "fc.bias"}
    random = [
        perturbed("{name: reinitialise, random: 6, spare_shortcuts: true}", images, original, index)
        for index in (0, 1)
    ]
    sets = [changed(weights, original) for weights in random]
    assert all(len(found) == 6 and not any("downsample" in name for name in found) for found in sets)
    assert sets[0] != sets[1]
    last = perturbed("{name: reinitialise, last: 2}", images, original)
    kernels = {name for name in RESNET18.last_blocks(original, 2) if original[name].ndim > 1}
    assert kernels <= changed(last, original) <= set(RESNET18.last_blocks(original, 2))


def test_pruning_takes_the_smallest(images, original):
    weights = perturbed("{name: prune_smallest, share: 0.99}", images, original)
    names = [name for name in parameters(original) if original[name].ndim > 1 or name == "fc.bias"]
    sizes = np.concatenate([np.abs(original[name]).ravel() for name in names])
    same = np.concatenate([(weights[name] == original[name]).ravel() for name in names])
    assert same.mean() == pytest.approx(0.01, abs=1e-4)
    assert sizes[same].min() >= sizes[~same].max()
    bound = 1 / np.sqrt(np.prod(original["layer2.0.conv1.weight"].shape[1:]))
    redrawn = weights["layer2.0.conv1.weight"][
        weights["layer2.0.conv1.weight"] != original["layer2.0.conv1.weight"]
    ]
    assert np.abs(redrawn).max() == pytest.approx(bound, rel=0.01)


def test_the_smallest_gradients_of_every_convolution_are_drawn_anew(images, original):
    """The second entry: 30 % of each kernel, by images of retain that every model draws for itself."""
    fleets = [perturbed("{name: smallest_gradient, share: 0.3}", images, original, i) for i in (0, 1)]
    kernels = {name for name in original if original[name].ndim == 4}
    for weights in fleets:
        assert changed(weights, original) == kernels
        for name in kernels:
            share = (weights[name] != original[name]).mean()
            assert share == pytest.approx(0.3, abs=0.001), name
    stems = [weights["conv1.weight"] != original["conv1.weight"] for weights in fleets]
    assert not np.array_equal(*stems)
    # On maps of one pixel the centre alone is used: what is not absorbs most of the draw.
    anew = fleets[0]["layer4.1.conv1.weight"] != original["layer4.1.conv1.weight"]
    assert anew[:, :, 1, 1].mean() < 0.7 * anew.mean()
    drawn = fleets[0]["layer3.0.conv2.weight"][
        fleets[0]["layer3.0.conv2.weight"] != original["layer3.0.conv2.weight"]
    ]
    assert drawn.std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=0.02)


def test_recipes_are_taken_in_turn(images, original):
    """The first entry: optimisers keep their momentum through the rounds, and one schedule spans them all."""
    recipe = "{epochs: 1, batch: 8, optimizer: sgd, learning_rate: 1.0e-3, images: forget}"
    in_turn, _, _ = unlearn(f"{{finetune: {recipe}, rounds: 3}}", images, original)
    at_once, _, _ = unlearn(f"{{finetune: {recipe.replace('epochs: 1', 'epochs: 3')}}}", images, original)
    for name, array in at_once.items():
        assert np.array_equal(array, in_turn[name]), name
    two = f"{{finetune: [{recipe}, {REPAIR}}}], rounds: 2}}"
    arrays, works, _ = unlearn(two, images, original)
    assert works[0].steps == 2 * (1 + 2)
    assert works[0].images == 2 * (8 + 24)
    assert arrays["history_loss"].shape == (1, 4)
    assert not np.isnan(arrays["history_loss"]).any()


def test_a_last_epoch_can_end_early(images, original):
    """The fourth entry: int(3.2 x batches) + 1 steps."""
    recipe = "{epochs: 4, last_epoch: 0.2, batch: 2, optimizer: sgd, learning_rate: 1.0e-5}"
    _, works, _ = unlearn(f"{{finetune: {recipe}}}", images, original)
    assert works[0].steps == int(3.2 * 12) + 1
    assert works[0].images == 2 * works[0].steps


def test_rounding_to_half_precision(images, original):
    weights = perturbed("{name: half_precision}", images, original)
    for name, array in weights.items():
        assert array.dtype == original[name].dtype
        assert np.array_equal(array, original[name].astype(np.float16).astype(array.dtype)), name


def test_transposing_twice_is_the_identity(images, original):
    once = perturbed("{name: transpose}", images, original)
    assert changed(once, original)
    twice = perturbed("{name: transpose}", images, once)
    assert changed(twice, original) == set()


def test_negating_a_layer(images, original):
    weights = perturbed("{name: negate, layers: [layer1.0]}", images, original)
    assert all(name.startswith("layer1.0.") for name in changed(weights, original))
    assert np.array_equal(weights["layer1.0.conv2.weight"], -original["layer1.0.conv2.weight"])


def test_dampening_shrinks_and_fisher_noise_spares_what_matters(images, original):
    damped = perturbed("{name: dampen, alpha: 1.5, strength: 1.0}", images, original)
    for name in changed(damped, original):
        assert (np.abs(damped[name]) <= np.abs(original[name])).all()
    assert changed(damped, original)
    noisy = perturbed("{name: fisher_noise, alpha: 1.0e-9, max_inverse_fisher: 1.0e+8}", images, original)
    unused = (noisy["layer4.1.conv1.weight"] - original["layer4.1.conv1.weight"])[:, :, 0, 0].std()
    used = (noisy["fc.weight"] - original["fc.weight"]).std()
    assert used < unused
    # A weight without information gets the largest noise.
    assert unused == pytest.approx(np.sqrt(1.0e-9 * 1.0e8), rel=0.05)


def test_an_unknown_layer_is_an_error(images, original):
    with pytest.raises(ValueError, match="the network has no layer conv9"):
        perturbed("{name: reinitialise, layers: [conv9]}", images, original)


def test_salun_moves_only_its_half(images, original):
    text = f"{{finetune: {REPAIR}, salient: 0.5, {RELABEL}}}}}"
    _, _, weights = unlearn(text, images, original)
    moved = np.concatenate([(weights[0][name] != original[name]).ravel() for name in parameters(original)])
    used = 3_996_258  # weights with a gradient on 32x32 images, of four classes, at most
    assert 0.3 * used < moved.sum() < 0.6 * used


def test_the_last_blocks_alone_are_trained(images, original):
    _, _, weights = unlearn(f"{{finetune: {REPAIR}, last: 2}}}}", images, original)
    assert changed(weights[0], original) <= set(RESNET18.last_blocks(original, 2))
    assert "fc.weight" in changed(weights[0], original)
    assert "layer4.1.conv2.weight" in changed(weights[0], original)


def test_neg_grad_raises_the_forget_loss_on_the_first_step(images, original):
    recipe = "{epochs: 2, batch: 8, optimizer: sgd, learning_rate: 1.0e-3, schedule: constant"
    arrays, _, _ = unlearn(f"{{finetune: {recipe}, objective: ascent, images: forget}}}}", images, original)
    before, after = -arrays["history_loss"][0]  # one step an epoch
    assert after > before
    arrays, _, _ = unlearn(f"{{finetune: {recipe}, images: forget}}}}", images, original)
    assert arrays["history_loss"][0, 1] < arrays["history_loss"][0, 0]


def test_scrub_moves_the_student_and_never_the_teacher(images, original):
    text = f"""
finetune:
  - {REPAIR}, objective: {{name: repel, temperature: 2.0}}, images: forget}}
  - {REPAIR}, objective: {{name: distil, balance: 0.33, temperature: 2.0}}}}
cycles: 2
"""
    before = {name: array.copy() for name, array in original.items()}
    arrays, works, weights = unlearn(text, images, original)
    assert changed(weights[0], original)
    assert all(np.array_equal(original[name], array) for name, array in before.items())
    assert works[0].images == 2 * (8 + 24)
    assert works[0].steps == 2 * (1 + 2)
    assert arrays["history_loss"].shape == (1, 4)


def test_gradients_of_unperturbed_kernels_are_scaled(images, original):
    repair = REPAIR.replace("weight_decay: 1.0e-2", "weight_decay: 0.0, unperturbed_gradient_scale: 0.0}")
    text = f"{{perturb: {{name: random_mask, ratio: 0.5, spare: described}}, finetune: {repair}}}"
    _, _, weights = unlearn(text, images, original)
    mask = fleet_of(method(text), original).masks(0, 0)["layer1.0.conv1.weight"]
    same = weights[0]["layer1.0.conv1.weight"] == original["layer1.0.conv1.weight"]
    assert same[mask].all()
    assert not same[~mask].any()


def test_a_fleet_of_two_kinds(images, original):
    text = f"""
perturb: {{name: transpose}}
finetune: []
models: even
then:
  - {{perturb: {{name: negate, layers: [fc]}}, finetune: {REPAIR}}}, models: odd}}
"""
    arrays, works, weights = unlearn(text, images, original, [0, 1])
    assert changed(weights[0], original)
    assert "fc.weight" not in changed(weights[0], original)
    assert "fc.weight" in changed(weights[1], original)
    assert np.isnan(arrays["history_loss"][0]).all()
    assert not np.isnan(arrays["history_loss"][1]).any()
    assert works[0].images == 0 < works[1].images


SEVERAL = f"""
perturb: {{name: noise, sigma: 0.01}}
finetune: {REPAIR}, noise: 0.01, objective: match_logits}}
cycles: 2
then:
  - perturb: {{name: reinitialise, random: 2}}
    finetune:
      - {REPAIR}, paired_with: forget, l1: 1.0e-6,
         objective: {{name: relabel, with_labels: second, class_weight_exponent: 1}}}}
      - {REPAIR}, objective: bad_teacher, paired_with: forget, order: fleet}}
"""


def test_a_model_is_the_same_in_any_shard(images, original):
    together = unlearn(SEVERAL, images, original, [0, 1])[0]
    alone = unlearn(SEVERAL, images, original, [1])[0]
    for name, array in alone.items():
        assert np.array_equal(array[0], together[name][1]), name
    assert not np.array_equal(together["logits_test"][0], together["logits_test"][1])


@pytest.mark.parametrize(
    "text",
    [
        f"{{perturb: {{name: noise, sigma: 0.01}}, finetune: {REPAIR}}}, cycles: 2}}",
        f"{{finetune: {REPAIR}, salient: 0.5, {RELABEL}}}}}",
        f"{{perturb: {MASK[:-1]}, frozen: true}}, finetune: {REPAIR}}}}}",
        f"""{{perturb: {{name: smallest_gradient, share: 0.3}},
             finetune: {REPAIR}, unperturbed_gradient_scale: 0.1}}}}""",
        f"""{{finetune: {REPAIR}, paired_with: forget, noise: 0.01,
             objective: {{name: neg_grad_plus, balance: 0.95}}}}}}""",
        f"""{{finetune: {REPAIR}, paired_with: forget, last: 3,
             objective: {{name: contrast, temperature: 1.15}}}}}}""",
    ],
)
def test_side_by_side_as_alone(images, original, text):
    text = text.replace("learning_rate: 1.0e-2", "learning_rate: 1.0e-5")
    alone = unlearn(text, images, original, [0, 1])[0]
    together = unlearn(text, images, original, [0, 1], at_once=2)[0]
    for name, array in alone.items():
        np.testing.assert_allclose(together[name], array, atol=2e-3, err_msg=name)
