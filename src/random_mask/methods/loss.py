"""What every loss is.

A loss sees what a step passes through the networks (`random_mask.training.batch.Batch`), with a leading
models axis, and gives a value for each model. It needs nothing of torch but the methods of tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from random_mask.settings import Number, Section

if TYPE_CHECKING:
    from torch import Tensor

    from random_mask.training.batch import Batch

__all__ = ["Loss", "Model", "PairedLoss", "Temperature", "Weight"]

Temperature = Annotated[Number, Field(gt=0)]
Weight = Annotated[Number, Field(ge=0, le=1)]


class Model(Protocol):
    """What a loss may ask of the model that it fits, to give other labels."""

    @property
    def true_labels(self) -> np.ndarray:
        """The labels of all images, int64 [images]."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    @property
    def splits(self) -> Mapping[str, np.ndarray]:
        """The indices of the images of each split."""

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator of this model for a purpose of its own."""

    def original_logits(self) -> np.ndarray:
        """Return the original model's logits of all images [images, classes]."""


class Loss(Section, ABC):
    """What a repair minimises: its settings, and itself.

    A subclass gives its `name`, a literal that is also the name of its file, and describes its keys.
    """

    if TYPE_CHECKING:  # a literal in each subclass, which makes it a field
        name: str

    pairs: ClassVar[bool] = False
    """Whether it takes a second batch, of the split that the recipe names as `paired_with`."""
    teachers: ClassVar[tuple[Literal["original", "incompetent"], ...]] = ()
    """Whose logits it asks of a batch: those of the original model, or of one that was never trained."""

    @abstractmethod
    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models].

        Args:
            batch: of the split that the epoch passes over.
            paired: the batch beside it, for a loss that pairs.
        """

    def labels(self, model: Model) -> np.ndarray | None:
        """Return labels to fit in place of the true ones, int64 [images], or None."""
        return None


class PairedLoss(Loss):
    """A loss of two batches."""

    pairs: ClassVar[bool] = True

    def __call__(self, batch: Batch, paired: Batch | None) -> Tensor:
        """Return the loss of each model [models]."""
        if paired is None:
            raise TypeError("a second batch is needed: see `pairs`")
        return self.of_both(batch, paired)

    @abstractmethod
    def of_both(self, batch: Batch, paired: Batch) -> Tensor:
        """Return the loss of each model [models]."""
