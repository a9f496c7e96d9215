"""Many networks of the same shape as one: what makes training a fleet on one device fast.

The channels of M networks lie side by side in one tensor, [batch, M x channels, height, width]. A
convolution becomes one with M groups, a batch norm one with M times the channels, and a matrix product a
batch of them. Every network keeps its own weights and running statistics and computes what it would compute
alone, up to rounding. With M = 1 this is the network itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from random_mask.training.networks import WholeMapConv2d

__all__ = ["stack", "unstacked", "whole"]

_Layer = TypeVar("_Layer", bound=nn.Module)


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """Return networks of the same shape as one module.

    Args:
        networks: M networks of convolutions, batch norms, linear layers and layers without weights, of which
            the last one is linear. They are not modified.

    Returns:
        A module that maps images [batch, M x 3, height, width] to logits [M, batch, classes]. Its parameters
        and buffers have the names of those of one network, and a leading models axis.

    Raises:
        TypeError: if a layer with weights is of a kind that cannot be stacked.
    """
    joined = copy.deepcopy(networks[0])
    for name, layer in list(joined.named_modules()):
        kind = next((kind for kind in _KINDS if isinstance(layer, kind)), None)
        if kind is not None:
            layers = [network.get_submodule(name) for network in networks]
            joined.set_submodule(name, _KINDS[kind](layers))
        elif any(True for _ in layer.parameters(recurse=False)):
            raise TypeError(f"{name}: a {type(layer).__name__} cannot be stacked")
    return joined


def unstacked(module: nn.Module, model: int) -> dict[str, torch.Tensor]:
    """Return the weights and running statistics of one of the stacked networks, by name."""
    return {name: tensor[model] for name, tensor in module.state_dict().items()}


def whole(
    module: nn.Module, tensors: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the weights of a network without dead taps as those of the whole network.

    Args:
        module: the stack that it belongs to.
        tensors: its weights and running statistics, by name.
        before: the whole weights it was made from, whose dead taps are kept.
    """
    joined = {name: np.array(array) for name, array in before.items()}
    for name, array in tensors.items():
        layer = module.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, _WholeMapConv2d):
            joined[name][:, :, layer.live[0], layer.live[1]] = array
        else:
            joined[name] = array
    return joined


def _together(layers: Sequence[nn.Module], name: str) -> torch.Tensor:
    tensors = [getattr(layer, name).detach() for layer in layers]
    joined = torch.stack(tensors)
    if joined.dim() == 5:  # channels last, which is faster, whatever the order of the dimensions says
        joined = joined.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    return joined


class _Conv2d(nn.Module):
    def __init__(self, layers: Sequence[nn.Conv2d]):
        super().__init__()
        one = layers[0]
        if one.groups != 1 or one.bias is not None or one.padding_mode != "zeros":
            raise TypeError("only plain convolutions without a bias can be stacked")
        self.options = {"stride": one.stride, "padding": one.padding, "dilation": one.dilation}
        self.weight = nn.Parameter(_together(layers, "weight"))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(maps, self.weight.flatten(0, 1), groups=len(self.weight), **self.options)


class _WholeMapConv2d(nn.Module):
    def __init__(self, layers: Sequence[WholeMapConv2d]):
        super().__init__()
        self.windows_y, self.windows_x = layers[0].windows_y, layers[0].windows_x
        self.live = layers[0].live
        self.weight = nn.Parameter(_together(layers, "weight"))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        models, out, channels = self.weight.shape[:3]
        kernel = self.weight.permute(0, 1, 3, 4, 2)
        windows = [kernel[:, :, y, x].flatten(2) for y in self.windows_y for x in self.windows_x]
        matrix = torch.cat(windows, dim=1) if len(windows) > 1 else windows[0]
        batch, _, height, width = maps.shape
        flat = maps.view(batch, models, channels, height, width).permute(1, 0, 3, 4, 2).flatten(2)
        # With the matrix on the left its gradient has its own layout, and is not transposed to be added up.
        products = torch.bmm(matrix, flat.transpose(1, 2))
        shape = (models, len(self.windows_y), len(self.windows_x), out, batch)
        joined = products.view(shape).permute(4, 1, 2, 0, 3).contiguous().flatten(3)
        return joined.permute(0, 3, 1, 2)


class _BatchNorm2d(nn.Module):
    def __init__(self, layers: Sequence[nn.BatchNorm2d]):
        super().__init__()
        self.momentum, self.eps = layers[0].momentum, layers[0].eps
        for name in ("weight", "bias"):
            self.register_parameter(name, nn.Parameter(_together(layers, name)))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, _together(layers, name))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        statistics = (self.running_mean.flatten(), self.running_var.flatten())
        affine = (self.weight.flatten(), self.bias.flatten())
        return functional.batch_norm(maps, *statistics, *affine, self.training, self.momentum, self.eps)


class _Linear(nn.Module):
    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        self.weight = nn.Parameter(_together(layers, "weight"))
        self.bias = nn.Parameter(_together(layers, "bias"))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        each = features.unflatten(1, (len(self.weight), -1)).transpose(0, 1)
        return torch.baddbmm(self.bias[:, None], each, self.weight.transpose(1, 2))


_KINDS = {
    nn.Conv2d: _Conv2d,
    WholeMapConv2d: _WholeMapConv2d,
    nn.BatchNorm2d: _BatchNorm2d,
    nn.Linear: _Linear,
}
