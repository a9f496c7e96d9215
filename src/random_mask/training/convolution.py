"""Convolutions of several networks at once, in more than one way: a GPU takes what it measured to be fastest.

A grouped convolution is the obvious one. cuDNN may compute it, and above all its gradients, many times
slower than as many plain ones. The maps here are small, so that the other way, patches and a batch of matrix
products, fits into memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from random_mask.training.devices import captures

__all__ = ["CONVOLUTIONS", "convolve", "device_seconds", "fastest", "seconds_of_each"]

Pair = tuple[int, ...]
"""Of rows and columns, in pixels."""


def _grouped(maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair) -> torch.Tensor:
    kernels = weight.flatten(0, 1)
    return functional.conv2d(maps, kernels, stride=stride, padding=padding, groups=len(weight))


def _planar(maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair) -> torch.Tensor:
    kernels = weight.flatten(0, 1).contiguous()
    found = functional.conv2d(maps.contiguous(), kernels, stride=stride, padding=padding, groups=len(weight))
    return found.contiguous(memory_format=torch.channels_last)


def _products(maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair) -> torch.Tensor:
    if torch.is_autocast_enabled(maps.device.type):
        dtype = torch.get_autocast_dtype(maps.device.type)
        maps, weight = maps.to(dtype), weight.to(dtype)
    found: torch.Tensor = _Products.apply(maps, weight, stride, padding)
    return found


CONVOLUTIONS: dict[str, Callable[[torch.Tensor, torch.Tensor, Pair, Pair], torch.Tensor]] = {
    "grouped": _grouped,
    "planar": _planar,
    "products": _products,
}
"""By name, functions of maps [batch, M x in, height, width], weights [M, out, in, rows, columns], stride and
padding to maps: one grouped convolution, in channels-last order or in the other one, or matrix products."""

_chosen: dict[tuple[Any, ...], str] = {}


def convolve(
    maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair, way: str | None = None
) -> torch.Tensor:
    """Convolve the maps of M networks, each with its own kernels.

    Args:
        maps: [batch, M x in, height, width], in channels-last order.
        weight: [M, out, in, rows, columns].
        stride: of rows and columns, in pixels, as `padding`.
        padding: zeros on each side.
        way: one of `CONVOLUTIONS`; by default `fastest` for several networks on a GPU, and everywhere else
            `grouped`, which is the plain convolution of a single network.

    Returns:
        [batch, M x out, output height, output width], in channels-last order.
    """
    if way is None:
        measured = len(weight) > 1 and maps.device.type == "cuda"
        way = fastest(maps, weight, stride, padding) if measured else "grouped"
    return CONVOLUTIONS[way](maps, weight, stride, padding)


def fastest(maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair) -> str:
    """Return the way that is fastest for maps like these, forward and backward; see `convolve`.

    It is measured when such maps are first trained on, and kept for the process. Batches of any size take
    what was fastest for the first.
    """
    half = torch.is_autocast_enabled(maps.device.type)
    key = (maps.device, maps.dtype, half, maps.shape[1:], weight.shape, stride, padding)
    if key not in _chosen:
        if not torch.is_grad_enabled():
            return "grouped"
        seconds = seconds_of_each(maps, weight, stride, padding)
        _chosen[key] = min(seconds, key=seconds.__getitem__)
    return _chosen[key]


def seconds_of_each(
    maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair
) -> dict[str, float]:
    """Return the seconds of a forward and a backward pass in each way that works and fits into memory."""
    seconds = {}
    given = [maps.detach().requires_grad_(maps.requires_grad), weight.detach().requires_grad_()]
    wanted = [tensor for tensor in given if tensor.requires_grad]
    for name, way in CONVOLUTIONS.items():

        def passes(way: Callable[..., torch.Tensor] = way) -> None:
            found = way(*given, stride, padding)
            torch.autograd.grad(found, wanted, found.detach())

        try:
            seconds[name] = device_seconds(passes, maps.device)
        except RuntimeError:  # of memory, or there is no kernel for it
            continue
    return seconds or {"grouped": 0.0}  # and the step itself will say what is wrong


def device_seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the seconds that work takes on a device, without launching it where it can be captured."""
    work()
    work()  # by now libraries have chosen their algorithms, and all memory is taken
    if captures(device):
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        work = graph.replay
        work()
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    begun = time.perf_counter()
    for _ in range(repeats):
        work()
    wait()
    return (time.perf_counter() - begun) / repeats


class _Products(torch.autograd.Function):
    """Patches times kernels.

    The gradient of maps is a convolution as well, by flipped kernels: it gathers, and that of patches would
    have to scatter.
    """

    @staticmethod
    def forward(
        ctx: Any, maps: torch.Tensor, weight: torch.Tensor, stride: Pair, padding: Pair
    ) -> torch.Tensor:
        ctx.maps, ctx.stride, ctx.padding = maps.shape, stride, padding
        patches = _patches(_padded(_each(maps, len(weight)), padding), weight, stride)
        ctx.save_for_backward(patches, weight)
        kernels = weight.permute(0, 1, 3, 4, 2).flatten(2)
        return _joined(patches, torch.bmm(patches.flatten(1, 3), kernels.mT))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        patches, weight = ctx.saved_tensors
        models, out, channels, rows, columns = weight.shape
        gradient = _each(gradients[0].contiguous(memory_format=torch.channels_last), models)
        of_maps = of_weight = None
        if ctx.needs_input_grad[1]:
            product = torch.bmm(gradient.flatten(1, 3).mT, patches.flatten(1, 3))
            of_weight = product.view(models, out, rows, columns, channels).permute(0, 1, 4, 2, 3)
        if ctx.needs_input_grad[0]:
            batch, _, height, width = ctx.maps
            # Output pixels stand where they read from: apart by the stride, zeros between and around them.
            apart = gradient.new_zeros(models, batch, height + rows - 1, width + columns - 1, out)
            first_y, first_x = rows - 1 - ctx.padding[0], columns - 1 - ctx.padding[1]
            spread = apart[:, :, first_y :: ctx.stride[0], first_x :: ctx.stride[1]]
            spread[:, :, : gradient.shape[2], : gradient.shape[3]] = gradient
            patches = _patches(apart, weight, (1, 1))
            flipped = weight.flip(3, 4).permute(0, 3, 4, 1, 2).flatten(1, 3)
            of_maps = _joined(patches, torch.bmm(patches.flatten(1, 3), flipped))
        return of_maps, of_weight, None, None


def _each(maps: torch.Tensor, models: int) -> torch.Tensor:
    """Return maps side by side as a view [M, batch, height, width, channels]."""
    return maps.unflatten(1, (models, -1)).permute(1, 0, 3, 4, 2)


def _padded(each: torch.Tensor, padding: Pair) -> torch.Tensor:
    return functional.pad(each, (0, 0, padding[1], padding[1], padding[0], padding[0]))


def _patches(each: torch.Tensor, weight: torch.Tensor, stride: Pair) -> torch.Tensor:
    """Return what each output pixel sees [M, batch, output height and width, rows x columns x channels]."""
    rows, columns = weight.shape[3:]
    windows = each.unfold(2, rows, stride[0]).unfold(3, columns, stride[1])
    return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4)


def _joined(patches: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
    """Return products [M, pixels, channels] of patches as maps side by side, in channels-last order."""
    each = products.view(*patches.shape[:4], -1)
    return each.permute(1, 2, 3, 0, 4).flatten(3).permute(0, 3, 1, 2)
