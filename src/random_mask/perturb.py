"""Perturbations of trained weights: the step that makes a model forget.

Random mask (GitHub songxinkuan/Machine-unlearning-random-mask, 2023): set each weight to zero with
probability `ratio`, once, without rescaling the others; then fine-tune. The mask is not held: masked weights
may regrow.

Only NumPy is used here, so that a mask depends on the seed alone, not on a device or a version of torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["apply_masks", "batch_norm_parameters", "draw_masks", "maskable", "parameters"]

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def parameters(weights: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the trainable tensors in a state dict: all but the running statistics."""
    return [name for name in weights if name.rpartition(".")[2] not in _BUFFERS]


def batch_norm_parameters(weights: Mapping[str, np.ndarray]) -> set[str]:
    """Return the names of the weights and biases of every batch norm, known by its running statistics."""
    modules = {name.rpartition(".")[0] for name in weights if name.endswith("running_mean")}
    return {name for name in parameters(weights) if name.rpartition(".")[0] in modules}


def maskable(weights: Mapping[str, np.ndarray], spare: str) -> list[str]:
    """Return the names of the tensors that a random mask touches.

    Args:
        weights: the tensors of a model by name.
        spare: `published`: the published code's filter, which spares the parameters whose NAME contains
            `bn`. In torchvision's ResNet-18 the batch norms of the shortcuts are named `downsample.1`, so
            these are masked. `described`: the filter that its description promises, which spares every
            batch norm.
    """
    if spare == "published":
        return [name for name in parameters(weights) if "bn" not in name]
    if spare == "described":
        spared = batch_norm_parameters(weights)
        return [name for name in parameters(weights) if name not in spared]
    raise ValueError(f"spare: unknown filter {spare!r}; known are 'published' and 'described'")


def draw_masks(
    weights: Mapping[str, np.ndarray], *, ratio: float, spare: str, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw one mask for every maskable tensor.

    Args:
        weights: the tensors of a model by name; only names and shapes are used.
        ratio: probability in [0, 1] that a weight is set to zero.
        spare: which tensors are spared, see `maskable`.
        rng: the source of randomness of this model.

    Returns:
        {name: bool array of the tensor's shape}, true where the weight is kept.
    """
    return {
        name: rng.random(weights[name].shape, dtype=np.float32) >= ratio for name in maskable(weights, spare)
    }


def apply_masks(weights: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the weights with zeros where a mask is false; tensors without a mask are unchanged."""
    return {
        name: np.where(masks[name], w, w.dtype.type(0)) if name in masks else w for name, w in weights.items()
    }
