"""Random mask, the method under study: set each weight to zero with the same probability, then fine-tune.

As published (GitHub songxinkuan/Machine-unlearning-random-mask, 2023) the mask is drawn once for every model,
no weight is rescaled, and masked weights may regrow. The settings hold what it leaves open.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from random_mask.methods.perturbation import (
    Model,
    Perturbation,
    Tensors,
    Weights,
    batch_norm_parameters,
    chosen,
)
from random_mask.settings import Ratio
from random_mask.training.networks import NETWORKS, Network

__all__ = ["Filter", "RandomMask", "apply_masks", "draw_masks", "maskable"]

Filter = Literal["published", "described"]


class RandomMask(Perturbation):
    """Every weight is set to zero with the same probability, once; it may regrow."""

    title: ClassVar[str] = "Random mask"

    name: Literal["random_mask"]
    """The perturbation."""
    ratio: Ratio
    """Probability that a weight is set to zero."""
    ratio_to: Ratio | None = None
    """If given, every model draws its ratio between `ratio` and this."""
    spare: Filter
    """What is not masked: `published`, parameters whose name contains `bn` (the shortcut batch norms are
    masked, as in the published code), or `described`, every parameter of a batch norm."""
    only: Tensors = "all"
    """Which of the other tensors are masked: `all`, `convolutions`, `stem`, the first of these, `inner`,
    those without the stem and the shortcuts, or `linear`."""
    unit: Literal["element", "tensor"] = "element"
    """What is masked as one: every weight for itself, or a whole tensor."""
    fill: Literal["zero", "initial"] = "zero"
    """What masked weights are set to: zero, or a value drawn as before training."""
    rescale: bool = False
    """Whether the weights that stay are divided by the probability of staying."""
    frozen: bool = False
    """Whether masked weights stay as the mask set them while the others are fine-tuned."""
    per: Literal["model", "fleet"] = "model"
    """Whether every model draws its own mask, or the fleet shares one."""

    def __call__(self, model: Model) -> Weights:
        """Return the masked tensors; the masks were drawn before, by `draw_masks`."""
        masks = model.masks
        stay = float(np.mean([mask.mean() for mask in masks.values()])) if self.rescale and masks else 1.0
        return apply_masks(
            model.weights,
            masks,
            fill=model.initial() if self.fill == "initial" else None,
            rescale=1 / max(stay, 1e-6),
        )

    def trainable(self, model: Model) -> Weights:
        """Return the masks, if masked weights are frozen."""
        return model.masks if self.frozen else {}

    def drawing(self) -> dict[str, Any]:
        """Return the settings that masks are drawn by, without those that say what is done with them."""
        return self.model_dump(mode="json", exclude={"fill", "rescale", "frozen"})


def maskable(
    weights: Weights, spare: Filter, only: Tensors = "all", network: Network = NETWORKS["resnet18"]
) -> list[str]:
    """Return the names of the tensors that a random mask touches.

    Args:
        weights: the tensors of a model by name.
        spare: `published`: the published code's filter, which spares the parameters whose NAME contains
            `bn`. In torchvision's ResNet-18 the batch norms of the shortcuts are named `downsample.1`, so
            these are masked. `described`: the filter that its description promises, which spares every
            batch norm.
        only: which of the others are touched.
        network: what the parts of the network are called.
    """
    names = chosen(weights, only, network)
    if spare == "published":
        return [name for name in names if "bn" not in name]
    spared = batch_norm_parameters(weights)
    return [name for name in names if name not in spared]


def draw_masks(
    weights: Weights, settings: RandomMask, rng: np.random.Generator, network: Network = NETWORKS["resnet18"]
) -> dict[str, np.ndarray]:
    """Draw one mask for every maskable tensor.

    Args:
        weights: the tensors of a model by name; only names and shapes are used.
        settings: which masks.
        rng: the source of randomness of this model.
        network: what the parts of the network are called.

    Returns:
        {name: bool array of the tensor's shape}, true where the weight stays.
    """
    ratio = settings.ratio if settings.ratio_to is None else rng.uniform(settings.ratio, settings.ratio_to)
    masks = {}
    for name in maskable(weights, settings.spare, settings.only, network):
        shape = weights[name].shape
        if settings.unit == "element":
            masks[name] = rng.random(shape, dtype=np.float32) >= ratio
        else:
            masks[name] = np.full(shape, rng.random() >= ratio)
    return masks


def apply_masks(
    weights: Weights, masks: Weights, *, fill: Weights | None = None, rescale: float = 1.0
) -> dict[str, np.ndarray]:
    """Return the masked tensors, with zeros where a mask is false.

    Args:
        weights: the tensors of a model by name.
        masks: for some of them, true where the weight stays.
        fill: what stands where a mask is false, instead of zeros.
        rescale: factor on the weights that stay.
    """
    changed = {}
    for name, mask in masks.items():
        kind = weights[name].dtype.type
        changed[name] = np.where(mask, weights[name] * kind(rescale), kind(0) if fill is None else fill[name])
    return changed
