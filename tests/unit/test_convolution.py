"""Convolutions of several networks at once: all ways compute the same, and which one is taken."""

import pytest
import torch
from torch import nn

from random_mask.training import convolution
from random_mask.training.convolution import CONVOLUTIONS, convolve, fastest
from random_mask.training.networks import NETWORKS
from random_mask.training.stacking import Stack

LAYERS = [(7, 2, 3), (3, 1, 1), (3, 2, 1), (1, 2, 0), (1, 1, 0)]
"""Kernel, stride and padding of the convolutions of a ResNet-18."""


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch):
    monkeypatch.setattr(convolution, "_chosen", {})


def given(models: int, kernel: int, size: int, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Return maps and weights of networks that read 5 and give 4 channels, in the order that stacks keep."""
    drawn = torch.Generator().manual_seed(0)
    maps = torch.randn(3, models * 5, size, size, generator=drawn, dtype=dtype)
    weight = torch.randn(models, 4, kernel, kernel, 5, generator=drawn, dtype=dtype).permute(0, 1, 4, 2, 3)
    return maps.contiguous(memory_format=torch.channels_last).requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize("way", CONVOLUTIONS)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("models", [1, 3])
def test_every_way_is_a_convolution_of_each_network(way, layer, size, models):
    kernel, stride, padding = layer
    maps, weight = given(models, kernel, size)
    found = convolve(maps, weight, (stride, stride), (padding, padding), way)
    each = zip(maps.chunk(models, dim=1), weight, strict=True)
    expected = torch.cat([nn.functional.conv2d(m, w, stride=stride, padding=padding) for m, w in each], dim=1)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    back = torch.randn_like(expected)
    gradients = torch.autograd.grad(found, [maps, weight], back)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, [maps, weight], back))
    if way == "products":  # layers before and the optimiser need not lay them out anew
        assert gradients[0].is_contiguous(memory_format=torch.channels_last)
        assert gradients[1].stride() == weight.stride()


def test_products_are_of_half_precision_under_autocast():
    maps, weight = given(2, 3, 8, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = {way: convolve(maps, weight, (1, 1), (1, 1), way) for way in CONVOLUTIONS}
    for way, each in found.items():
        assert each.dtype == torch.bfloat16
        torch.testing.assert_close(each.float(), found["grouped"].float(), rtol=0.02, atol=0.05, msg=way)
    gradient = torch.autograd.grad(found["products"].float().sum(), weight)[0]
    assert gradient.dtype == torch.float32


def test_one_network_is_convolved_as_torch_does_bit_for_bit():
    maps, weight = given(1, 3, 8, torch.float32)
    plain = nn.functional.conv2d(maps, weight[0], padding=1)
    assert torch.equal(convolve(maps, weight, (1, 1), (1, 1)), plain)


@pytest.mark.parametrize("models", [1, 3])
def test_a_processor_measures_nothing(monkeypatch, models):
    monkeypatch.setattr(convolution, "seconds_of_each", None)
    maps, weight = given(models, 3, 8)
    expected = convolve(maps, weight, (1, 1), (1, 1), "grouped")
    assert torch.equal(convolve(maps, weight, (1, 1), (1, 1)), expected)


def test_the_fastest_is_measured_once_for_each_shape_while_training(monkeypatch):
    measured = []

    def seconds_of_each(maps, weight, *_):
        measured.append(tuple(maps.shape))
        return {"grouped": 2.0, "products": 1.0} if weight.shape[-1] == 3 else {"grouped": 1.0, "planar": 3.0}

    monkeypatch.setattr(convolution, "seconds_of_each", seconds_of_each)
    maps, weight = given(2, 3, 8)
    with torch.no_grad():
        assert fastest(maps, weight, (1, 1), (1, 1)) == "grouped"  # nothing is known yet
    assert not measured
    assert fastest(maps, weight, (1, 1), (1, 1)) == "products"
    assert fastest(maps[:2], weight, (1, 1), (1, 1)) == "products"  # a last batch
    with torch.no_grad():
        assert fastest(maps, weight, (1, 1), (1, 1)) == "products"
    assert fastest(*given(2, 1, 8), (1, 1), (0, 0)) == "grouped"
    assert measured == [(3, 10, 8, 8), (3, 10, 8, 8)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("no engine for this computation")])
def test_what_does_not_work_or_fit_into_memory_is_not_taken(monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setitem(CONVOLUTIONS, "products", full)
    maps, weight = given(2, 3, 8)
    seconds = convolution.seconds_of_each(maps, weight, (1, 1), (1, 1))
    assert seconds.keys() == {"grouped", "planar"}
    assert all(each > 0 for each in seconds.values())
    for way in CONVOLUTIONS:
        monkeypatch.setitem(CONVOLUTIONS, way, full)
    assert fastest(maps, weight, (1, 1), (1, 1)) == "grouped"


@pytest.mark.parametrize("way", ["planar", "products"])
def test_a_stack_computes_the_same_in_every_way(way):
    network, seen = NETWORKS["resnet18"], {}
    x = torch.randn(4, 6, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = [
        {name: tensor.numpy() for name, tensor in network.build(4, seed=seed).state_dict().items()}
        for seed in range(2)
    ]
    for each in ("grouped", way):
        stack = Stack(network, 4, 2, image_size=32, convolution=each)
        for place, of_model in enumerate(weights):
            stack.load(place, of_model)
        logits = stack.double().train()(x)
        seen[each] = [logits, *torch.autograd.grad(logits.square().sum(), list(stack.parameters()))]
    torch.testing.assert_close(seen[way], seen["grouped"], rtol=1e-6, atol=1e-8)
