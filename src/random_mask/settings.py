"""The parts of a configuration that stages are given: what each of them depends on.

They stand apart from `random_mask.config`, the whole, so that a change of the whole re-runs no training.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Data", "NoPerturbation", "Precision", "RandomForget", "RandomMask", "Recipe", "Section"]

DATASET_SIZES = {"digits": 1797}
"""Number of images of the data sets whose size is known before they are read."""


Precision = Literal["auto", "fp32", "bf16"]
"""How matrix products are computed while training."""


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


# YAML reads 1e-3 as a string; a number in any notation is welcome.
Number = Annotated[float, Field(strict=False, allow_inf_nan=False)]


class RandomForget(Section):
    """A forget set drawn at random from the training images."""

    kind: Literal["random"] = "random"
    """How the forget set is chosen."""
    size: Annotated[int, Field(ge=1)]
    """Number of training images to forget; the remaining ones are the retain set."""


class Data(Section):
    """The data set and how it is split. The splits are disjoint and drawn from the seed."""

    name: Literal["digits"]
    """The data set: `digits`, the 1,797 handwritten digits of scikit-learn, resized to 32x32 RGB."""
    train: Annotated[int, Field(ge=2)]
    """Number of training images, the forget set included."""
    validation: Annotated[int, Field(ge=1)]
    """Number of validation images. No model is trained on them."""
    test: Annotated[int, Field(ge=1)]
    """Number of test images."""
    forget: RandomForget
    """Which training images are to be forgotten."""

    @model_validator(mode="after")
    def _sizes(self) -> Data:
        if self.forget.size >= self.train:
            raise ValueError(
                f"forget.size: {self.forget.size} images to forget, but train has {self.train}; "
                "at least two must remain to be retained"
            )
        wanted = self.train + self.validation + self.test
        available = DATASET_SIZES[self.name]
        if wanted > available:
            raise ValueError(
                f"train + validation + test: {wanted} images, but {self.name} has {available}; lower one"
            )
        return self


class Recipe(Section):
    """How weights are fitted to images."""

    objective: Literal["cross_entropy"] = "cross_entropy"
    """The loss that is minimised on the retain set."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training images."""
    batch: Annotated[int, Field(ge=2)]
    """Images a step; the last batch of an epoch may be smaller."""
    optimizer: Literal["adam", "sgd"]
    """`adam` (betas 0.9 and 0.999) or `sgd` (with momentum)."""
    learning_rate: Annotated[Number, Field(gt=0)]
    """Learning rate of the first step."""
    final_learning_rate: Annotated[Number, Field(ge=0)] = 0.0
    """Learning rate that the cosine schedule reaches after the last step."""
    momentum: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Momentum of `sgd`, 0.9 unless given; `adam` has none."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """L2 penalty, added to the gradient by the optimiser."""

    @model_validator(mode="before")
    @classmethod
    def _momentum(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("optimizer") == "sgd":
            return {"momentum": 0.9} | content
        if isinstance(content, dict) and content.get("momentum") is not None:
            raise ValueError("momentum: only sgd uses it; remove it")
        return content


class NoPerturbation(Section):
    """The original weights are left as they are."""

    name: Literal["none"]
    """The perturbation."""


class RandomMask(Section):
    """Every weight is set to zero with the same probability, once; it may regrow."""

    name: Literal["random_mask"]
    """The perturbation."""
    ratio: Annotated[Number, Field(ge=0, le=1)]
    """Probability that a weight is set to zero."""
    spare: Literal["published", "described"]
    """What is not masked: `published`, parameters whose name contains `bn` (the shortcut batch norms are
    masked, as in the published code), or `described`, every parameter of a batch norm."""
