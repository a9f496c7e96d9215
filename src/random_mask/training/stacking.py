"""Many networks of one architecture as one module: what makes training a fleet on one device fast.

The channels of M networks lie side by side in one tensor, [batch, M x channels, height, width]. A
convolution becomes one with M groups, or a batch of matrix products (`training.convolution`), a batch norm
one with M times the channels, and a matrix product a batch of them. Every network keeps its own weights and
running statistics and computes what it would compute alone, up to rounding. With M = 1 this is the network
itself.

On 32x32 images the last feature maps of a ResNet-18 are 2x2 and 1x1 pixels, so that most positions of the
3x3 kernels there only ever meet the zero padding: they have no influence on any output and their gradient is
exactly zero. These unused kernel positions are 62 % of all weights. A cropped stack leaves them out, and a
convolution of a map that every output pixel sees whole becomes a matrix product, which a CPU trains twice as
fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from random_mask.training.convolution import convolve
from random_mask.training.networks import Network

__all__ = ["Stack", "Weights"]

Weights = Mapping[str, np.ndarray]
"""The tensors of one network by name, as its `state_dict` has them."""
PLAIN = ("zeros", (1, 1))
"""Padding and dilation of the convolutions that can be stacked."""


class Stack(nn.Module):
    """M networks as one module, from images [batch, M x 3, height, width] to logits [M, batch, classes].

    The weights are undefined until they are loaded.

    Attributes:
        architecture: the network, M times.
        models: M.
        network: the layers. Their parameters and buffers have the names of those of one network, and a
            leading models axis if the architecture is stackable.
        used: by parameter, the index of the kernel positions that are used, where some are not.
        unused: the weights at the others [models, weights], if they are held as well. No loss moves them, but
            an optimiser does, by weight decay.
    """

    def __init__(
        self,
        architecture: Network,
        classes: int,
        models: int = 1,
        *,
        image_size: int | None = None,
        hold_unused: bool = False,
        convolution: str | None = None,
    ):
        """Build a stack.

        Args:
            architecture: the network.
            classes: number of classes.
            models: number of networks; one, if it is not stackable.
            image_size: height and width of the images, in pixels, to leave out what they do not use; by
                default all kernel positions stay.
            hold_unused: hold the weights at unused positions as a parameter of its own.
            convolution: how several networks are convolved, one of `convolution.CONVOLUTIONS`; by default
                what is fastest.

        Raises:
            TypeError: if a layer with weights is of a kind that cannot be stacked.
        """
        super().__init__()
        self.architecture, self.models = architecture, models
        self.network = architecture.empty(classes)
        self.used: dict[str, tuple[slice, ...]] = {}
        self.unused: nn.Parameter | None = None
        if not architecture.stackable:
            if models != 1:
                raise TypeError(f"{architecture.builder} cannot be stacked; train one at a time")
            self.network = self.network.to_empty(device="cpu").to(memory_format=torch.channels_last)
            return
        maps = _map_sizes(self.network, image_size) if image_size else {}
        for name, layer in list(self.network.named_modules()):
            if isinstance(layer, nn.Conv2d) and name in maps and FullMapConv2d.fits(layer, *maps[name]):
                full_map = FullMapConv2d(layer, models, *maps[name])
                self.used[f"{name}.weight"] = (slice(None), slice(None), *full_map.used)
                self.network.set_submodule(name, full_map)
            elif isinstance(layer, nn.Conv2d):
                self.network.set_submodule(name, _Conv2d(layer, models, convolution))
            elif type(layer) in _KINDS:
                self.network.set_submodule(name, _KINDS[type(layer)](layer, models))
            elif any(True for _ in layer.parameters(recurse=False)):
                raise TypeError(f"{name}: a {type(layer).__name__} cannot be stacked")
        if hold_unused and self.used:
            whole = {name: tensor.numel() for name, tensor in architecture.empty(classes).named_parameters()}
            cropped = self.parameters_by_name()
            count = sum(whole[name] - cropped[name].numel() // models for name in self.used)
            self.unused = nn.Parameter(torch.empty(models, count))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images [batch, M x 3, height, width] to logits [M, batch, classes]."""
        logits = self.network(images)
        return logits if self.architecture.stackable else logits[None]

    def parameters_by_name(self) -> dict[str, nn.Parameter]:
        """Return the parameters, by the names that they have in one network."""
        return dict(self.network.named_parameters())

    @torch.no_grad()
    def load(self, model: int, weights: Weights) -> None:
        """Give one of the networks its weights and running statistics, which are copied."""
        for name, tensor in self.network.state_dict().items():
            self._of(tensor, model).copy_(torch.from_numpy(self._cropped(name, weights[name])))
        if self.unused is not None:
            held = [weights[name][where] for name, where in self._unused(weights)]
            self.unused[model].copy_(torch.from_numpy(np.concatenate(held)))

    def weights(self, model: int, before: Weights) -> dict[str, np.ndarray]:
        """Return the weights and running statistics of one of the networks, as copies.

        Args:
            model: its place in the stack.
            before: what the unused kernel positions hold, unless the stack does.
        """
        found = {name: np.array(array) for name, array in before.items()}
        for name, tensor in self.network.state_dict().items():
            found[name][self.used.get(name, ...)] = self._of(tensor, model).cpu().numpy()
        if self.unused is not None:
            held = self.unused[model].detach().cpu().numpy()
            for name, where in self._unused(before):
                count = np.count_nonzero(where)
                found[name][where], held = held[:count], held[count:]
        return found

    def arranged(self, arrays: Sequence[Weights]) -> dict[str, torch.Tensor]:
        """Return arrays in the shapes of whole tensors as tensors in the shapes of the parameters.

        Args:
            arrays: of each network, by name; all name the same tensors.
        """
        found = {}
        for name in arrays[0]:
            each = np.stack([self._cropped(name, of_model[name]) for of_model in arrays])
            found[name] = torch.from_numpy(each if self.architecture.stackable else each[0])
        return found

    def by_model(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in the shape of a parameter with a leading models axis."""
        return tensor if self.architecture.stackable else tensor[None]

    def whole(self, tensors: Mapping[str, torch.Tensor], model: int, like: Weights) -> dict[str, np.ndarray]:
        """Return tensors in the shapes of the parameters, such as gradients, as those of one whole network.

        What is unused is zero.

        Args:
            tensors: by the name of the parameter.
            model: the place of the network in the stack.
            like: its weights.
        """
        found = {}
        for name, tensor in tensors.items():
            found[name] = np.zeros_like(like[name])
            found[name][self.used.get(name, ...)] = self._of(tensor, model).cpu().numpy()
        return found

    def weights_each(self) -> int:
        """Return the number of trained weights of one of the networks, without unused kernel positions."""
        return sum(parameter.numel() for parameter in self.parameters()) // self.models

    def flops_each(self, image_size: int) -> int:
        """Return the floating-point operations of one image's forward pass through one of the networks.

        They are those of matrix products and convolutions.
        """
        training, device = self.training, next(self.parameters()).device
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.eval()(torch.zeros(1, 3 * self.models, image_size, image_size, device=device))
        self.train(training)
        return counter.get_total_flops() // self.models

    def _cropped(self, name: str, array: np.ndarray) -> np.ndarray:
        return array[self.used[name]] if name in self.used else array

    def _unused(self, weights: Weights) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the tensors with unused positions, and where these are."""
        for name, index in self.used.items():
            where = np.ones(weights[name].shape, dtype=bool)
            where[index] = False
            yield name, where

    def _of(self, tensor: torch.Tensor, model: int) -> torch.Tensor:
        return tensor[model] if self.architecture.stackable else tensor


def _map_sizes(network: nn.Module, image_size: int) -> dict[str, tuple[int, int]]:
    """Return the height and width of the maps that each convolution reads, by its name."""
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: tuple(inputs[0].shape[-2:])})
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    network.eval()(torch.zeros(1, 3, image_size, image_size, device="meta"))
    for hook in hooks:
        hook.remove()
    return sizes


class _Conv2d(nn.Module):
    def __init__(self, layer: nn.Conv2d, models: int, way: str | None):
        super().__init__()
        if layer.groups != 1 or layer.bias is not None or (layer.padding_mode, layer.dilation) != PLAIN:
            raise TypeError("only plain convolutions without a bias can be stacked")
        self.stride, self.padding, self.way = layer.stride, _padding(layer), way
        self.weight = _kernels(models, *layer.weight.shape)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return convolve(maps, self.weight, self.stride, self.padding, self.way)


class FullMapConv2d(nn.Module):
    """Convolutions of maps so small that every output pixel sees the whole of them.

    Such a convolution is one matrix product. `weight` [M, out, in, rows, columns] holds the kernel positions
    that are used; `used` are the slices of rows and columns where they are in the kernel.
    """

    def __init__(self, layer: nn.Conv2d, models: int, height: int, width: int):
        """Take the place of `layer`, which is applied to maps of height x width pixels."""
        super().__init__()
        (windows_y, used_y), (windows_x, used_x) = (
            _windows(*along)
            for along in zip((height, width), layer.kernel_size, layer.stride, _padding(layer), strict=True)
        )
        self.windows_y, self.windows_x = windows_y, windows_x
        self.used = (used_y, used_x)
        rows, columns = used_y.stop - used_y.start, used_x.stop - used_x.start
        self.weight = _kernels(models, layer.out_channels, layer.in_channels, rows, columns)

    @staticmethod
    def fits(layer: nn.Conv2d, height: int, width: int) -> bool:
        """Whether every output pixel of a kernel of several pixels sees all of a map of height x width."""
        plain = layer.groups == 1 and layer.bias is None and layer.dilation == (1, 1)
        return (
            plain
            and layer.kernel_size != (1, 1)
            and all(
                padding + size <= kernel and padding - stride * ((size + 2 * padding - kernel) // stride) >= 0
                for size, kernel, stride, padding in zip(
                    (height, width), layer.kernel_size, layer.stride, _padding(layer), strict=True
                )
            )
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map [batch, M x in, height, width] to [batch, M x out, output height, output width]."""
        models, out, channels = self.weight.shape[:3]
        kernel = self.weight.permute(0, 1, 3, 4, 2)
        windows = [(y, x) for y in self.windows_y for x in self.windows_x]
        matrix = _Windows.apply(kernel, windows) if len(windows) > 1 else kernel.flatten(2)
        batch, _, height, width = maps.shape
        flat = maps.view(batch, models, channels, height, width).permute(1, 0, 3, 4, 2).flatten(2)
        # With the matrix on the left its gradient has its own layout, and is not transposed to be added up.
        products = torch.bmm(matrix, flat.transpose(1, 2))
        shape = (models, len(self.windows_y), len(self.windows_x), out, batch)
        joined = products.view(shape).permute(4, 1, 2, 0, 3).contiguous().flatten(3)
        return joined.permute(0, 3, 1, 2)


class _Windows(torch.autograd.Function):
    """Windows of kernels [M, out, rows, columns, in] as one matrix [M, windows x out, inputs].

    The same as slices that are joined, in the same order of sums. But the gradients of all windows are added
    up in place, where slices would give tensors of the size of the whole kernels, which move more memory than
    the optimiser does; and under autocast it is the kernels that are cast, not the larger matrix.
    """

    @staticmethod
    def forward(ctx: Any, kernel: torch.Tensor, windows: list[tuple[slice, slice]]) -> torch.Tensor:
        ctx.shape, ctx.dtype, ctx.windows = kernel.shape, kernel.dtype, windows
        if torch.is_autocast_enabled(kernel.device.type):
            kernel = kernel.to(torch.get_autocast_dtype(kernel.device.type))
        return torch.cat([kernel[:, :, y, x].flatten(2) for y, x in windows], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].new_zeros(ctx.shape, dtype=ctx.dtype)
        parts = gradients[0].chunk(len(ctx.windows), dim=1)
        for (y, x), part in zip(reversed(ctx.windows), reversed(parts), strict=True):
            window = total[:, :, y, x]
            window += part.view(window.shape)
        return total, None


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    if isinstance(layer.padding, str):
        raise TypeError("only convolutions whose padding is a number can be stacked")
    return layer.padding


def _windows(size: int, kernel: int, stride: int, padding: int) -> tuple[list[slice], slice]:
    """Along one axis: which used positions each output pixel needs, and which of the kernel are used."""
    outputs = (size + 2 * padding - kernel) // stride + 1
    first = padding - stride * (outputs - 1)
    starts = [padding - stride * output - first for output in range(outputs)]
    return [slice(start, start + size) for start in starts], slice(first, padding + size)


def _kernels(models: int, out: int, channels: int, rows: int, columns: int) -> nn.Parameter:
    # Channels last, which is faster, whatever the order of the dimensions says.
    return nn.Parameter(torch.empty(models, out, rows, columns, channels).permute(0, 1, 4, 2, 3))


class _BatchNorm2d(nn.Module):
    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, layer: nn.BatchNorm2d, models: int):
        super().__init__()
        if layer.momentum is None:
            raise TypeError("only batch norms with a momentum can be stacked")
        self.momentum, self.eps = layer.momentum, layer.eps
        for name in ("weight", "bias"):
            self.register_parameter(name, nn.Parameter(torch.empty(models, layer.num_features)))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(models, layer.num_features))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        statistics = (self.running_mean.flatten(), self.running_var.flatten())
        affine = (self.weight.flatten(), self.bias.flatten())
        return functional.batch_norm(maps, *statistics, *affine, self.training, self.momentum, self.eps)


class _Linear(nn.Module):
    def __init__(self, layer: nn.Linear, models: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(models, layer.out_features, layer.in_features))
        self.bias = nn.Parameter(torch.empty(models, layer.out_features))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        each = features.unflatten(1, (len(self.weight), -1)).transpose(0, 1)
        return torch.baddbmm(self.bias[:, None], each, self.weight.transpose(1, 2))


_KINDS = {nn.BatchNorm2d: _BatchNorm2d, nn.Linear: _Linear}
