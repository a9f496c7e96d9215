"""The model under study: torchvision's ResNet-18 with its 7x7 stem, as in the competition.

`build_resnet18` is torchvision's own network. `without_dead_taps` returns the same function of the images
in a form that a CPU trains twice as fast. On 32x32 images the last feature maps are 2x2 and 1x1 pixels, so
that most taps of the 3x3 kernels there only ever meet the zero padding: they have no influence on any output
and their gradient is exactly zero. These "dead taps" are 62 % of all weights of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

__all__ = [
    "WholeMapConv2d",
    "build_resnet18",
    "forward_flops",
    "parameter_count",
    "resnet18_with",
    "without_dead_taps",
]


def build_resnet18(classes: int, *, seed: int) -> nn.Module:
    """Return a randomly initialised torchvision ResNet-18.

    Args:
        classes: number of classes, the length of a row of logits.
        seed: seed of the initial weights. The global random state of torch is left as it was.

    Returns:
        A module that maps images [batch, 3, height, width] to logits [batch, classes], with torchvision's
        names and shapes in its `state_dict`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return resnet18(weights=None, num_classes=classes)


def resnet18_with(weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return a ResNet-18 that owns these weights, without drawing initial ones first.

    Args:
        weights: a complete `state_dict` of torchvision's ResNet-18.
    """
    with torch.device("meta"):
        model = resnet18(weights=None, num_classes=len(weights["fc.bias"]))
    model.load_state_dict(weights, assign=True)
    return model


class WholeMapConv2d(nn.Module):
    """A bias-free convolution of a map so small that every output pixel sees the whole of it.

    Such a convolution is one matrix product. `weight` [out, in, rows, columns] holds the live taps only.
    """

    def __init__(self, conv: nn.Conv2d, height: int, width: int):
        """Take over the live taps of `conv`, which is to be applied to maps of height x width pixels."""
        super().__init__()
        self.windows_y, live_y = _windows(height, conv.kernel_size[0], conv.stride[0], conv.padding[0])
        self.windows_x, live_x = _windows(width, conv.kernel_size[1], conv.stride[1], conv.padding[1])
        self.live = (live_y, live_x)
        self.weight = nn.Parameter(conv.weight.detach()[:, :, live_y, live_x].clone())

    @staticmethod
    def fits(conv: nn.Conv2d, height: int, width: int) -> bool:
        """Whether every output pixel of `conv` sees all of a map of height x width pixels."""
        plain = conv.groups == 1 and conv.bias is None and conv.dilation == (1, 1)
        return plain and all(
            padding + size <= kernel and padding - stride * ((size + 2 * padding - kernel) // stride) >= 0
            for size, kernel, stride, padding in zip(
                (height, width), conv.kernel_size, conv.stride, conv.padding, strict=True
            )
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map [batch, in, height, width] to [batch, out, output height, output width]."""
        kernel = self.weight.permute(0, 2, 3, 1)
        windows = [kernel[:, y, x].flatten(1) for y in self.windows_y for x in self.windows_x]
        matrix = torch.cat(windows) if len(windows) > 1 else windows[0]
        flat = functional.linear(images.permute(0, 2, 3, 1).flatten(1), matrix)
        shape = (len(images), len(self.windows_y), len(self.windows_x), len(kernel))
        return flat.view(shape).permute(0, 3, 1, 2)


def _windows(size: int, kernel: int, stride: int, padding: int) -> tuple[list[slice], slice]:
    """Along one axis: which live taps each output pixel uses, and which taps of the kernel are live."""
    outputs = (size + 2 * padding - kernel) // stride + 1
    first = padding - stride * (outputs - 1)
    starts = [padding - stride * output - first for output in range(outputs)]
    return [slice(start, start + size) for start in starts], slice(first, padding + size)


def without_dead_taps(model: nn.Module, image_size: int) -> nn.Module:
    """Return a copy of `model` that computes the same function of square images, without the dead taps.

    Args:
        model: a network with its weights; it is not modified.
        image_size: height and width of the images, in pixels.

    Returns:
        A module with the same outputs up to rounding, in training and in evaluation, for this image size
        only. Its parameters are those of `model` that can influence an output, so that training moves them
        as it would move those of `model`.
    """
    live = copy.deepcopy(model).eval()
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: tuple(inputs[0].shape[-2:])})
        )
        for name, module in live.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        live(torch.zeros(1, 3, image_size, image_size))
    for hook in hooks:
        hook.remove()
    for name, size in sizes.items():
        conv = live.get_submodule(name)
        if conv.kernel_size != (1, 1) and WholeMapConv2d.fits(conv, *size):
            live.set_submodule(name, WholeMapConv2d(conv, *size))
    return live.train(model.training)


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable weights of `model`."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_flops(model: nn.Module, image_size: int) -> int:
    """Return the floating-point operations of one image's forward pass: matrix products and convolutions."""
    training = model.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, image_size, image_size))
    model.train(training)
    return counter.get_total_flops()
