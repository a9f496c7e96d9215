"""Networks as they are built, cropped and stacked, against torchvision's own."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18, vgg11_bn

from random_mask.training.fleet import initial
from random_mask.training.networks import NETWORKS, Network
from random_mask.training.stacking import FullMapConv2d, Stack

RESNET18, VGG = NETWORKS["resnet18"], NETWORKS["vgg11_bn"]


def images(size: int, batch: int = 8) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def stack(classes: int = 10, *, image_size: int | None = 32, seed: int = 0) -> Stack:
    made = Stack(RESNET18, classes, image_size=image_size)
    made.load(0, initial(RESNET18, classes, seed))
    return made


@pytest.mark.parametrize(("network", "builder"), [(RESNET18, resnet18), (VGG, vgg11_bn)])
def test_the_network_is_torchvisions(network, builder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        theirs = builder(weights=None, num_classes=7)
    ours = network.build(7, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("network", NETWORKS.values())
def test_the_parts_of_a_network_are_there(network: Network):
    tensors = network.empty(7).state_dict()
    assert network.classes(tensors) == 7
    assert tensors[f"{network.stem}.weight"].ndim == 4
    last = network.last_blocks(tensors, 1)
    assert last == [f"{network.last_layer}.weight", f"{network.last_layer}.bias"]
    assert len(network.last_blocks(tensors, 2)) > len(last)


def test_the_last_blocks_of_a_resnet_are_its_residual_ones():
    tensors = RESNET18.empty(7).state_dict()
    blocks = {name.rpartition(".")[0].rpartition(".")[0] for name in RESNET18.last_blocks(tensors, 3)}
    assert {name[:8] for name in blocks if name} == {"layer4.0", "layer4.1"}
    assert set(RESNET18.last_blocks(tensors, 9)) == {n for n in tensors if n.startswith(("layer", "fc"))}


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    RESNET18.build(10, seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [32, 33, 64])
@pytest.mark.parametrize("training", [True, False])
def test_a_cropped_stack_computes_the_same(size, training):
    full = RESNET18.build(10, seed=0).train(training)
    cropped = stack(image_size=size).train(training)
    x = images(size)
    torch.testing.assert_close(cropped(x)[0], full(x), rtol=1e-4, atol=1e-4)
    running = {name: buffer for name, buffer in full.named_buffers() if "tracked" not in name}
    for name, mine in cropped.network.named_buffers():
        torch.testing.assert_close(mine[0], running[name], rtol=1e-4, atol=1e-4, msg=name)


def test_weights_come_back_as_they_were_loaded():
    weights = initial(RESNET18, 10, 4)
    made = Stack(RESNET18, 10, 2, image_size=32)
    for place in range(2):
        made.load(place, weights if place else initial(RESNET18, 10, 5))
    zeros = {name: np.zeros_like(array) for name, array in weights.items()}
    for name, array in made.weights(1, weights).items():
        assert np.array_equal(array, weights[name]), name
    back = made.weights(1, zeros)["layer4.1.conv2.weight"]
    assert np.count_nonzero(back) == back.size / 9  # the rest is unused, and what was there before


def test_unused_positions_have_no_gradient_and_used_ones_the_same():
    # In double precision, since batch norms over few values amplify rounding.
    full, cropped, x = RESNET18.build(10, seed=0).double(), stack().double(), images(32).double()
    nn.functional.cross_entropy(full(x), torch.arange(8)).backward()
    nn.functional.cross_entropy(cropped(x)[0], torch.arange(8)).backward()
    gradients = {name: parameter.grad for name, parameter in cropped.parameters_by_name().items()}
    whole = cropped.whole(gradients, 0, initial(RESNET18, 10, 0))
    cropped_kernels = 0
    for name, parameter in full.named_parameters():
        cropped_kernels += gradients[name].numel() < parameter.numel()
        np.testing.assert_allclose(whole[name], parameter.grad, rtol=1e-3, atol=1e-5, err_msg=name)
        if name in cropped.used:
            assert not np.any(parameter.grad.numpy()[whole[name] == 0]), name
    assert cropped_kernels == 4


def test_most_weights_are_unused_on_small_images():
    assert stack(image_size=None).weights_each() == 11_181_642
    # Of the four 3x3 convolutions of layer 4, one keeps 4 of its 9 positions and three keep 1.
    unused = 512 * 256 * 5 + 3 * 512 * 512 * 8
    assert stack().weights_each() == 11_181_642 - unused


def test_the_operations_of_a_stack_are_those_of_each():
    one, two = Stack(RESNET18, 10, image_size=32), Stack(RESNET18, 10, 2, image_size=32)
    assert one.flops_each(32) == two.flops_each(32) < Stack(RESNET18, 10).flops_each(32)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("models", [1, 3])
def test_a_convolution_of_a_small_map_is_a_matrix_product(size, stride, models):
    layers = [nn.Conv2d(5, 7, 3, stride=stride, padding=1, bias=False) for _ in range(models)]
    assert FullMapConv2d.fits(layers[0], size, size)
    product = FullMapConv2d(layers[0], models, size, size)
    with torch.no_grad():
        for place, layer in enumerate(layers):
            product.weight[place].copy_(layer.weight[:, :, product.used[0], product.used[1]])
    x = torch.randn(4, 5 * models, size, size)
    expected = [layer(part) for layer, part in zip(layers, x.chunk(models, dim=1), strict=True)]
    torch.testing.assert_close(product(x), torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, padding=1, bias=True),
        nn.Conv2d(4, 4, 3, padding=1, bias=False, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, bias=False, dilation=2),
        nn.Conv2d(4, 4, 1, bias=False),
    ],
)
def test_other_convolutions_are_left_alone(layer):
    assert not FullMapConv2d.fits(layer, 2, 2)


def test_a_map_that_is_too_large_does_not_fit():
    assert not FullMapConv2d.fits(nn.Conv2d(4, 4, 3, padding=1, bias=False), 3, 3)


def test_arrays_are_arranged_as_the_parameters():
    kernel, bias = "layer4.1.conv2.weight", "fc.bias"
    rng = np.random.default_rng(0)
    arrays = [{kernel: rng.random((512, 512, 3, 3)) > 0.5, bias: rng.random(10) > 0.5} for _ in range(2)]
    made = Stack(RESNET18, 10, 2, image_size=32)
    found = made.arranged(arrays)
    for name, tensor in found.items():
        assert tensor.shape == made.parameters_by_name()[name].shape
        assert tensor.dtype == torch.bool
    assert np.array_equal(found[kernel][1, :, :, 0, 0], arrays[1][kernel][:, :, 1, 1])


def test_what_cannot_be_stacked_is_named():
    with pytest.raises(TypeError, match="vgg11_bn cannot be stacked"):
        Stack(VGG, 10, 2)
    wrong = Network("vgg11_bn", VGG.stem, VGG.last_layer, VGG.block, "", stackable=True)
    with pytest.raises(TypeError, match="without a bias can be stacked"):
        Stack(wrong, 10)
    other = Network("squeezenet1_1", "features.0", "classifier.1", r"features\.\d+", "", stackable=True)
    with pytest.raises(TypeError, match="without a bias can be stacked"):
        Stack(other, 10)
