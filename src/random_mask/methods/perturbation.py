"""What every perturbation is, and how perturbations choose tensors.

Only NumPy is used, so that a perturbation depends on the seed alone, not on a device or a version of torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np

from random_mask.settings import Section
from random_mask.training.networks import NETWORKS, Network

__all__ = [
    "Filter",
    "Model",
    "Perturbation",
    "Tensors",
    "Weights",
    "batch_norm_parameters",
    "convolutions",
    "parameters",
    "selected",
    "within",
]

Weights = Mapping[str, np.ndarray]
"""The tensors of a network by name, as its `state_dict` has them."""

Tensors = Literal["all", "convolutions", "stem", "inner", "linear"]
"""Kinds of tensors: `all`, `convolutions`, `stem`, the first of these, `inner`, those but for the stem
and the shortcuts, or `linear`, linear layers with their biases."""

Filter = Literal["published", "described"]
"""What is spared: `published`, the parameters whose NAME contains `bn`, as the published code of random mask
does. In torchvision's ResNet-18 the batch norms of the shortcuts are named `downsample.1`, so these are not
spared. `described`, as its description promises, the parameters of every batch norm."""

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class Model(Protocol):
    """What a perturbation may ask of the model whose weights it changes.

    `random_mask.training.fleet.ModelState` is one.
    """

    weights: Weights
    """The tensors by name. They are not to be modified."""
    rng: np.random.Generator
    """The source of randomness, another one for every model and step."""
    step: int
    """The index of the step that the model takes."""

    @property
    def network(self) -> Network:
        """What the parts of the network are called."""

    @property
    def splits(self) -> Mapping[str, np.ndarray]:
        """The indices of the images of `retain`, `forget`, `validation` and `test`."""

    @property
    def masks(self) -> Weights:
        """The masks that were drawn for this model and step, true where a weight stays."""

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator of this model for a purpose of its own, the same at every call."""

    def initial(self) -> Weights:
        """Return weights drawn as before training."""

    def gradient(self, indices: np.ndarray, *, squared: bool = False) -> Weights:
        """Return the gradient of the loss on some images, or the diagonal of their Fisher information."""


class Perturbation(Section, ABC):
    """What a step of unlearning does to the weights before they are fine-tuned: its settings, and itself.

    A subclass gives its `name`, a literal that is also the name of its file, and describes its keys.
    """

    if TYPE_CHECKING:  # a literal in each subclass, which makes it a field
        name: str

    title: ClassVar[str]
    """How tables call a method that is named like the perturbation."""

    @abstractmethod
    def __call__(self, model: Model) -> Weights:
        """Return the tensors that change, by name; the weights that are given stay as they are."""

    def gradient_examples(self, sizes: Mapping[str, int]) -> int:
        """Return of how many images the gradient is taken, which costs what training on them does.

        Args:
            sizes: number of images of each split.
        """
        return 0

    def trainable(self, model: Model) -> Weights:
        """Return, for some tensors, which weights the repair may move, bool in the shape of the tensor."""
        return {}


def parameters(weights: Weights) -> list[str]:
    """Return the names of the trainable tensors: all but the running statistics."""
    return [name for name in weights if name.rpartition(".")[2] not in _BUFFERS]


def batch_norm_parameters(weights: Weights) -> set[str]:
    """Return the names of the weights and biases of every batch norm, known by its running statistics."""
    modules = {name.rpartition(".")[0] for name in weights if name.endswith("running_mean")}
    return {name for name in parameters(weights) if name.rpartition(".")[0] in modules}


def convolutions(weights: Weights) -> list[str]:
    """Return the names of the convolution kernels."""
    return [name for name in parameters(weights) if weights[name].ndim == 4]


def selected(
    weights: Weights, spare: Filter, only: Tensors = "all", network: Network = NETWORKS["resnet18"]
) -> list[str]:
    """Return the names of the tensors of a kind that are not spared.

    Args:
        weights: the tensors of a model by name; only names and shapes are used.
        spare: what is spared.
        only: the kind.
        network: what the parts of the network are called.
    """
    kernels = convolutions(weights)
    stem = f"{network.stem}.weight"
    matrices = {name.rpartition(".")[0] for name in parameters(weights) if weights[name].ndim == 2}
    names = {
        "all": parameters(weights),
        "convolutions": kernels,
        "stem": [stem],
        "inner": [name for name in kernels if name != stem and not network.in_shortcut(name)],
        "linear": [name for name in parameters(weights) if name.rpartition(".")[0] in matrices],
    }[only]
    if spare == "published":
        return [name for name in names if "bn" not in name]
    spared = batch_norm_parameters(weights)
    return [name for name in names if name not in spared]


def within(name: str, layers: Iterable[str]) -> bool:
    """Whether a tensor belongs to one of these layers, or to one inside them."""
    return any(name.startswith(f"{layer}.") for layer in layers)
