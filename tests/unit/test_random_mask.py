import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from random_mask.methods.perturbation import batch_norm_parameters, parameters
from random_mask.methods.random_mask import RandomMask, apply_masks, draw_masks, maskable
from random_mask.seeds import generator
from random_mask.training.networks import NETWORKS


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return NETWORKS["resnet18"].build(10, seed=0)


@pytest.fixture(scope="module")
def weights(network) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def draw(weights, ratio=0.3, spare="published", index=0):
    section = RandomMask(name="random_mask", ratio=ratio, spare=spare)
    return draw_masks(weights, section, generator(1, "random_mask", index, "mask"))


def masked_weights(weights, masks):
    return {**weights, **apply_masks(weights, masks)}


SHORTCUT_NORMS = {f"layer{layer}.0.downsample.1.{kind}" for layer in (2, 3, 4) for kind in ("weight", "bias")}


def test_batch_norms_are_found_by_module(network, weights):
    by_type = {
        f"{name}.{kind}"
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    assert batch_norm_parameters(weights) == by_type


def test_parameters_are_those_of_the_module(network, weights):
    assert parameters(weights) == [name for name, _ in network.named_parameters()]


def test_published_filter_is_the_name_filter(network, weights):
    assert maskable(weights, "published") == [n for n, _ in network.named_parameters() if "bn" not in n]


def test_published_masks_the_shortcut_norms_and_described_none(weights):
    published, described = set(maskable(weights, "published")), set(maskable(weights, "described"))
    assert published & batch_norm_parameters(weights) == SHORTCUT_NORMS
    assert not described & batch_norm_parameters(weights)
    assert published - described == SHORTCUT_NORMS
    assert {"conv1.weight", "fc.weight", "fc.bias", "layer4.0.downsample.0.weight"} <= described


@pytest.mark.parametrize("spare", ["published", "described"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_ratio_within_sampling_error_per_tensor(weights, ratio, spare):
    for name, mask in draw(weights, ratio, spare).items():
        masked, n = (~mask).sum(), mask.size
        assert abs(masked - n * ratio) < 5 * np.sqrt(n * ratio * (1 - ratio)), name


def test_ratio_0_masks_nothing_and_1_all(weights):
    assert all(mask.all() for mask in draw(weights, 0.0).values())
    assert not any(mask.any() for mask in draw(weights, 1.0).values())


def test_same_seed_same_mask_and_other_models_differ(weights):
    first, again, other = draw(weights, index=0), draw(weights, index=0), draw(weights, index=1)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    agreement = np.mean(first["layer4.1.conv2.weight"] == other["layer4.1.conv2.weight"])
    assert agreement == pytest.approx(0.3**2 + 0.7**2, abs=0.01)


def test_tensors_of_one_model_have_independent_masks(weights):
    masks = draw(weights, 0.5)
    a, b = masks["layer4.1.conv1.weight"], masks["layer4.1.conv2.weight"]
    assert np.mean(a == b) == pytest.approx(0.5, abs=0.01)


def test_masking_zeroes_once_and_leaves_the_rest(weights):
    before = {name: w.copy() for name, w in weights.items()}
    masks = draw(weights)
    masked = masked_weights(weights, masks)
    for name, w in weights.items():
        assert np.array_equal(w, before[name]), "the original is not modified"
        if name in masks:
            assert np.array_equal(masked[name], np.where(masks[name], w, 0))  # kept weights are not rescaled
            assert masked[name].dtype == w.dtype
        else:
            assert np.array_equal(masked[name], w)


def test_running_statistics_are_never_touched(weights):
    for spare in ("published", "described"):
        masked = masked_weights(weights, draw(weights, 1.0, spare))
        for name in set(weights) - set(parameters(weights)):
            assert np.array_equal(masked[name], weights[name]), name


def test_masked_weights_regrow(network, weights):
    masks = draw(weights, 0.9)
    network.load_state_dict(
        {n: torch.from_numpy(np.array(w)) for n, w in masked_weights(weights, masks).items()}
    )
    zeros = ~torch.from_numpy(masks["layer1.0.conv1.weight"])
    weight = network.layer1[0].conv1.weight
    assert not weight[zeros].any()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(network(images), torch.arange(8)).backward()
    optimizer.step()
    assert weight[zeros].ne(0).float().mean() > 0.9


@settings(max_examples=50, deadline=None)
@given(
    ratio=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=4),
)
def test_a_mask_has_the_shape_of_its_tensor(ratio, seed, shapes):
    weights = {f"fc{i}.weight": np.ones(shape, dtype=np.float32) for i, shape in enumerate(shapes)}
    section = RandomMask(name="random_mask", ratio=ratio, spare="published")
    masks = draw_masks(weights, section, np.random.default_rng(seed))
    masked = apply_masks(weights, masks)
    for name, w in weights.items():
        assert masks[name].shape == w.shape
        assert masked[name].sum() == masks[name].sum()
