"""How weights are fitted to images, but for the loss: the settings of `random_mask.training.loop.fit`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from random_mask.settings import Number, Section

__all__ = ["Precision", "Recipe"]

Precision = Literal["auto", "fp32", "bf16"]
"""How matrix products are computed while training."""


class Recipe(Section):
    """How weights are fitted to images."""

    images: Literal["retain", "forget", "validation"] = "retain"
    """The split that an epoch passes over."""
    paired_with: Literal["retain", "forget"] | None = None
    """The split of which every batch is paired with one more, for losses of two batches."""
    paired_batch: Annotated[int, Field(ge=2)] | None = None
    """Images of that one; as many as in the batch unless given."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the images."""
    batch: Annotated[int, Field(ge=2)]
    """Images a step; the last batch of an epoch may be smaller."""
    optimizer: Literal["adam", "sgd"]
    """`adam` (betas 0.9 and 0.999) or `sgd` (with momentum)."""
    learning_rate: Annotated[Number, Field(gt=0)]
    """Learning rate of the first step."""
    final_learning_rate: Annotated[Number, Field(ge=0)] = 0.0
    """Learning rate that the schedule reaches after the last step."""
    last_epoch: Annotated[Number, Field(gt=0, le=1)] = 1.0
    """Share of the steps of the last epoch that is taken, rounded up."""
    schedule: Literal["cosine", "linear", "constant"] | list[Annotated[Number, Field(ge=0)]] = "cosine"
    """How the learning rate goes from the first to the final one; `constant` stays at the first. A list has
    factors of the first, one for each epoch."""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the learning rate first rises linearly from zero."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Momentum of `sgd`, 0.9 unless given; `adam` has none."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """L2 penalty, added to the gradient by the optimiser."""
    l1: Annotated[Number, Field(ge=0)] = 0.0
    """Penalty on the sum of absolute weights, which falls linearly to zero over the epochs."""
    noise: Annotated[Number, Field(ge=0)] = 0.0
    """Standard deviation of normal noise that is added to images as networks read them."""
    last: Annotated[int, Field(ge=1, le=9)] | None = None
    """Train only the last so many blocks (a ResNet-18 has eight before its linear layer), or all weights."""
    salient: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Train only this share of the weights, those with the largest gradient of the forget loss."""
    unperturbed_gradient_scale: Annotated[Number, Field(ge=0, le=1)] = 1.0
    """Factor on the gradient of convolution weights that the perturbation left as they were."""
    order: Literal["model", "fleet"] = "model"
    """Whether every model draws its own order of the images, or the fleet shares one."""

    @model_validator(mode="before")
    @classmethod
    def _momentum(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("optimizer") == "sgd":
            return {"momentum": 0.9} | content
        if isinstance(content, dict) and content.get("momentum") is not None:
            raise ValueError("momentum: only sgd uses it; remove it")
        return content

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.paired_with == self.images:
            raise ValueError(f"paired_with: the epoch passes over {self.images} already; name another split")
        if self.paired_batch and not self.paired_with:
            raise ValueError("paired_batch: nothing is paired; name a split in paired_with, or remove it")
        if isinstance(self.schedule, list) and len(self.schedule) != self.epochs:
            count = len(self.schedule)
            raise ValueError(f"schedule: {count} factors, but {self.epochs} epochs; give one for each")
        if isinstance(self.schedule, list) and (self.warm_up or self.final_learning_rate):
            raise ValueError("schedule: a list needs no warm_up and no final_learning_rate; remove them")
        if self.warm_up >= self.epochs:
            raise ValueError(f"warm_up: {self.warm_up} epochs, but there are {self.epochs} in all")
        return self

    def paired_images(self, sizes: Mapping[str, int]) -> int:
        """Return how many images are paired with a batch, of splits of these sizes."""
        return min(self.paired_batch or self.batch, sizes[self.paired_with]) if self.paired_with else 0

    def steps(self, sizes: Mapping[str, int]) -> int:
        """Return how many steps are taken, of splits of these sizes."""
        return self._steps_each(sizes) * (self.epochs - 1) + self._last_steps(sizes)

    def images_passed(self, sizes: Mapping[str, int]) -> int:
        """Return how many images are passed forward and backward, each as often as it is."""
        salient = sizes["forget"] if self.salient else 0
        paired = self.paired_images(sizes) * self.steps(sizes)
        last = min(sizes[self.images], self._last_steps(sizes) * self.batch)
        return sizes[self.images] * (self.epochs - 1) + last + paired + salient

    def _steps_each(self, sizes: Mapping[str, int]) -> int:
        return math.ceil(sizes[self.images] / self.batch)

    def _last_steps(self, sizes: Mapping[str, int]) -> int:
        return math.ceil(self._steps_each(sizes) * self.last_epoch)
