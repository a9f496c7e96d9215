"""Weights go to half precision and back, as the fourth entry of the competition ends (Sebastian, 2023).

Source: `munl/unlearning/kgltop4.py` in github.com/xcadet/deepunlearn, commit 6830ff6.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from random_mask.methods.perturbation import Model, Perturbation, Weights

__all__ = ["HalfPrecision"]


class HalfPrecision(Perturbation):
    """All tensors, running statistics included, are rounded to half precision."""

    title: ClassVar[str] = "Half precision"

    name: Literal["half_precision"]
    """The perturbation."""

    def __call__(self, model: Model) -> Weights:
        """Return all tensors of floats."""
        floats = {name: array for name, array in model.weights.items() if array.dtype.kind == "f"}
        return {name: array.astype(np.float16) for name, array in floats.items()}
