import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from random_mask.training.networks import (
    WholeMapConv2d,
    build_resnet18,
    parameter_count,
    resnet18_with,
    without_dead_taps,
)


def images(size: int, batch: int = 8) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_the_network_is_torchvisions():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        theirs = resnet18(weights=None, num_classes=7)
    ours = build_resnet18(7, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    build_resnet18(10, seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [32, 33, 64])
@pytest.mark.parametrize("training", [True, False])
def test_dead_taps_have_no_influence(size, training):
    full = build_resnet18(10, seed=0).train(training)
    live = without_dead_taps(full, size)
    assert live.training is training
    x = images(size)
    torch.testing.assert_close(live(x), full(x), rtol=1e-4, atol=1e-4)
    for (name, mine), theirs in zip(live.named_buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4, msg=name)


def test_the_original_is_not_modified():
    full = build_resnet18(10, seed=0)
    before = {name: tensor.clone() for name, tensor in full.state_dict().items()}
    live = without_dead_taps(full, 32)
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.zero_()
    live(images(32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in full.state_dict().items())


def test_dead_taps_have_no_gradient_and_live_ones_the_same():
    full = build_resnet18(10, seed=0)
    live = without_dead_taps(full, 32)
    for model in (full, live):
        nn.functional.cross_entropy(model(images(32)), torch.arange(8)).backward()
    grads = dict(full.named_parameters())
    replaced = 0
    for name, parameter in live.named_parameters():
        grad = grads[name].grad
        if grad.shape != parameter.shape:
            replaced += 1
            rows, columns = parameter.shape[2:]
            first = 1 if rows < 3 else 0
            inside = grad[:, :, first : first + rows, first : first + columns]
            assert grad.ne(0).sum() == inside.ne(0).sum(), f"{name}: a dead tap has a gradient"
            grad = inside
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-3, atol=1e-5, msg=name)
    assert replaced == 4


def test_most_weights_are_dead_on_small_images():
    full = build_resnet18(10, seed=0)
    assert parameter_count(full) == 11_181_642
    # Of the four 3x3 convolutions of layer 4, one keeps 4 of its 9 taps and three keep 1.
    dead = 512 * 256 * 5 + 3 * 512 * 512 * 8
    assert parameter_count(without_dead_taps(full, 32)) == parameter_count(full) - dead


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_of_a_small_map_is_a_matrix_product(size, stride):
    conv = nn.Conv2d(5, 7, 3, stride=stride, padding=1, bias=False)
    assert WholeMapConv2d.fits(conv, size, size)
    x = torch.randn(4, 5, size, size)
    torch.testing.assert_close(WholeMapConv2d(conv, size, size)(x), conv(x))


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 4, 3, padding=1, bias=True),
        nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, bias=False, dilation=2),
    ],
)
def test_other_convolutions_are_left_alone(conv):
    assert not WholeMapConv2d.fits(conv, 2, 2)


def test_a_map_that_is_too_large_does_not_fit():
    assert not WholeMapConv2d.fits(nn.Conv2d(4, 4, 3, padding=1, bias=False), 3, 3)


def test_a_network_can_be_made_from_weights():
    full = build_resnet18(4, seed=2)
    made = resnet18_with({name: tensor.clone() for name, tensor in full.state_dict().items()})
    x = images(32, 2)
    assert torch.equal(made.eval()(x), full.eval()(x))
