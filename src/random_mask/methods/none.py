"""No perturbation: the original weights are fine-tuned as they are."""

from __future__ import annotations

from typing import ClassVar, Literal

from random_mask.methods.perturbation import Model, Perturbation, Weights

__all__ = ["NoPerturbation"]


class NoPerturbation(Perturbation):
    """The original weights are left as they are."""

    title: ClassVar[str] = "No mask"

    name: Literal["none"]
    """The perturbation."""

    def __call__(self, model: Model) -> Weights:
        """Return nothing."""
        return {}
