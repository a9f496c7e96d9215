"""Perturbations of trained weights: the step that makes a model forget.

Random mask (GitHub songxinkuan/Machine-unlearning-random-mask, 2023): set each weight to zero with
probability `ratio`, once, without rescaling the others; then fine-tune. The mask is not held: masked weights
may regrow. Its relatives do something else to the weights, with the same fine-tuning after it.

Only NumPy is used here, so that a perturbation depends on the seed alone, not on a device or a version of
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from random_mask.settings import (
    Dampen,
    FisherNoise,
    Negate,
    Noise,
    NoPerturbation,
    Perturbation,
    PruneSmallest,
    Reinitialise,
    SmallestGradient,
    Transpose,
)
from random_mask.training.names import last_blocks

__all__ = [
    "apply_masks",
    "batch_norm_parameters",
    "draw_masks",
    "maskable",
    "parameters",
    "perturbed",
]

Weights = Mapping[str, np.ndarray]

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class Model(Protocol):
    """What a perturbation may ask of the model whose weights it changes."""

    def initial(self) -> dict[str, np.ndarray]:
        """Return weights drawn as before training."""

    def gradient(self) -> dict[str, np.ndarray]:
        """Return the gradient of the cross entropy on retain less that on forget."""

    def information(self, part: str) -> dict[str, np.ndarray]:
        """Return the diagonal of the Fisher information on `retain`, `forget`, or `train`, which is both."""


def parameters(weights: Weights) -> list[str]:
    """Return the names of the trainable tensors in a state dict: all but the running statistics."""
    return [name for name in weights if name.rpartition(".")[2] not in _BUFFERS]


def batch_norm_parameters(weights: Weights) -> set[str]:
    """Return the names of the weights and biases of every batch norm, known by its running statistics."""
    modules = {name.rpartition(".")[0] for name in weights if name.endswith("running_mean")}
    return {name for name in parameters(weights) if name.rpartition(".")[0] in modules}


def convolutions(weights: Weights) -> list[str]:
    """Return the names of the convolution kernels."""
    return [name for name in parameters(weights) if weights[name].ndim == 4]


def _chosen(weights: Weights, only: str) -> list[str]:
    """Return the names of the tensors that `only` means, see `random_mask.settings.RandomMask`."""
    kernels = convolutions(weights)
    return {
        "all": parameters(weights),
        "convolutions": kernels,
        "linear": [n for n in parameters(weights) if n.rpartition(".")[0] + ".weight" in _matrices(weights)],
        "inner": [name for name in kernels if name != kernels[0] and "downsample" not in name],
    }[only]


def _matrices(weights: Weights) -> set[str]:
    return {name for name in parameters(weights) if weights[name].ndim == 2}


def maskable(weights: Weights, spare: str, only: str = "all") -> list[str]:
    """Return the names of the tensors that a random mask touches.

    Args:
        weights: the tensors of a model by name.
        spare: `published`: the published code's filter, which spares the parameters whose NAME contains
            `bn`. In torchvision's ResNet-18 the batch norms of the shortcuts are named `downsample.1`, so
            these are masked. `described`: the filter that its description promises, which spares every
            batch norm.
        only: which of the others are touched: `all`, `convolutions`, `linear` or `inner`.
    """
    chosen = _chosen(weights, only)
    if spare == "published":
        return [name for name in chosen if "bn" not in name]
    if spare == "described":
        spared = batch_norm_parameters(weights)
        return [name for name in chosen if name not in spared]
    raise ValueError(f"spare: unknown filter {spare!r}; known are 'published' and 'described'")


def draw_masks(
    weights: Weights,
    *,
    ratio: float,
    spare: str,
    rng: np.random.Generator,
    only: str = "all",
    unit: str = "element",
    ratio_to: float | None = None,
) -> dict[str, np.ndarray]:
    """Draw one mask for every maskable tensor.

    Args:
        weights: the tensors of a model by name; only names and shapes are used.
        ratio: probability in [0, 1] that a weight is set to zero.
        spare: which tensors are spared, see `maskable`.
        rng: the source of randomness of this model.
        only: which of the others are masked, see `maskable`.
        unit: `element`, every weight for itself, or `tensor`, all weights of a tensor or none.
        ratio_to: the probability is drawn first, between `ratio` and this.

    Returns:
        {name: bool array of the tensor's shape}, true where the weight is kept.
    """
    chance = ratio if ratio_to is None else rng.uniform(ratio, ratio_to)
    masks = {}
    for name in maskable(weights, spare, only):
        shape = weights[name].shape
        if unit == "element":
            masks[name] = rng.random(shape, dtype=np.float32) >= chance
        else:
            masks[name] = np.full(shape, rng.random() >= chance)
    return masks


def apply_masks(
    weights: Weights,
    masks: Weights,
    *,
    fill: Weights | None = None,
    rescale: float = 1.0,
) -> dict[str, np.ndarray]:
    """Return the weights with zeros where a mask is false; tensors without a mask are unchanged.

    Args:
        weights: the tensors of a model by name.
        masks: for some of them, true where the weight is kept.
        fill: what stands where a mask is false, instead of zeros.
        rescale: factor on the masked tensors' weights that are kept.
    """
    changed = dict(weights)
    for name, mask in masks.items():
        kind = weights[name].dtype.type
        instead = kind(0) if fill is None else fill[name]
        changed[name] = np.where(mask, weights[name] * kind(rescale), instead)
    return changed


def _within(name: str, layers: list[str]) -> bool:
    return any(name.startswith(f"{layer}.") for layer in layers)


def perturbed(
    weights: Weights, section: Perturbation, rng: np.random.Generator, model: Model
) -> dict[str, np.ndarray]:
    """Return the weights as a perturbation leaves them. The weights that are given stay as they are.

    Args:
        weights: the tensors of a model by name.
        section: which perturbation, and how strong. A random mask is not drawn here: see `draw_masks`.
        rng: the source of randomness of this model.
        model: what some perturbations ask for.
    """
    changed = _PERTURBATIONS[type(section)](weights, section, rng, model)
    return {**weights, **{name: array.astype(weights[name].dtype) for name, array in changed.items()}}


def _noise(weights: Weights, section: Noise, rng: np.random.Generator, model: Model) -> Weights:
    spared = batch_norm_parameters(weights)
    names = [name for name in _chosen(weights, section.only) if name not in spared]
    if section.tensors is not None:
        names = [names[i] for i in sorted(rng.choice(len(names), section.tensors, replace=False))]
    changed = {}
    for name in names:
        noise = section.sigma * rng.standard_normal(weights[name].shape, dtype=np.float32)
        hit = rng.random(weights[name].shape, dtype=np.float32) < section.share
        changed[name] = weights[name] + noise * hit
    return changed


def _reinitialise(weights: Weights, section: Reinitialise, rng: np.random.Generator, model: Model) -> Weights:
    names = [name for name in weights if _within(name, section.layers)]
    for layer in section.layers:
        if not any(_within(name, [layer]) for name in weights):
            raise ValueError(f"layers: the network has no layer {layer}")
    if section.last is not None:
        names += last_blocks(weights, section.last)
    if section.random is not None:
        kernels = convolutions(weights)
        if section.spare_shortcuts:
            kernels = [name for name in kernels if "downsample" not in name]
        names += [kernels[i] for i in sorted(rng.choice(len(kernels), section.random, replace=False))]
    initial = model.initial()
    return {name: initial[name] for name in names}


def _prune_smallest(
    weights: Weights, section: PruneSmallest, rng: np.random.Generator, model: Model
) -> Weights:
    names = [name for name in parameters(weights) if weights[name].ndim in (2, 4)]
    sizes = np.concatenate([np.abs(weights[name]).ravel() for name in names])
    count = round(section.share * sizes.size)
    threshold = np.partition(sizes, count - 1)[count - 1] if count else -1
    return {
        name: np.where(np.abs(weights[name]) <= threshold, _uniform(weights[name].shape, rng), weights[name])
        for name in names
    }


def _uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw weights uniformly within one over the root of the fan-in."""
    return (2 * rng.random(shape, dtype=np.float32) - 1) / np.sqrt(np.prod(shape[1:]))


def _smallest_gradient(
    weights: Weights, section: SmallestGradient, rng: np.random.Generator, model: Model
) -> Weights:
    gradient = model.gradient()
    names = convolutions(weights)
    # Dead taps, whose gradient is exactly zero, cannot be told apart and matter to no output.
    sizes = np.concatenate([np.abs(gradient[name])[gradient[name] != 0] for name in names])
    count = round(section.share * sizes.size)
    threshold = np.partition(sizes, count - 1)[count - 1] if count else 0
    changed = {}
    for name in names:
        size = np.abs(gradient[name])
        chosen = (size > 0) & (size <= threshold)
        out, _, height, width = weights[name].shape
        # Kaiming's normal for a ReLU, by the fan-out: He et al. (2015).
        drawn = rng.standard_normal(size.shape, dtype=np.float32) * np.sqrt(2 / (out * height * width))
        changed[name] = np.where(chosen, drawn, weights[name])
    return changed


def _transpose(weights: Weights, section: Transpose, rng: np.random.Generator, model: Model) -> Weights:
    return {name: weights[name].swapaxes(2, 3) for name in convolutions(weights)}


def _negate(weights: Weights, section: Negate, rng: np.random.Generator, model: Model) -> Weights:
    return {name: -weights[name] for name in parameters(weights) if _within(name, section.layers)}


def _fisher_noise(weights: Weights, section: FisherNoise, rng: np.random.Generator, model: Model) -> Weights:
    information = model.information("retain")
    changed = {}
    for name in parameters(weights):
        deviation = np.sqrt(section.alpha / np.maximum(information[name], 1 / section.most))
        changed[name] = weights[name] + deviation * rng.standard_normal(weights[name].shape, dtype=np.float32)
    return changed


def _dampen(weights: Weights, section: Dampen, rng: np.random.Generator, model: Model) -> Weights:
    everything, forget = model.information("train"), model.information("forget")
    changed = {}
    for name in parameters(weights):
        chosen = forget[name] > section.alpha * everything[name]
        ratio = section.strength * everything[name] / np.where(chosen, forget[name], 1)
        changed[name] = np.where(chosen, weights[name] * np.minimum(ratio, 1), weights[name])
    return changed


_PERTURBATIONS: dict[type, Callable[..., Weights]] = {
    NoPerturbation: lambda weights, section, rng, model: {},
    Noise: _noise,
    Reinitialise: _reinitialise,
    PruneSmallest: _prune_smallest,
    SmallestGradient: _smallest_gradient,
    Transpose: _transpose,
    Negate: _negate,
    FisherNoise: _fisher_noise,
    Dampen: _dampen,
}
