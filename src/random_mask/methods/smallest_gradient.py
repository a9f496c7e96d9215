"""The weights on which retain and forget disagree least are drawn anew (Kookmin University, 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from random_mask.methods.perturbation import Model, Perturbation, Weights, convolutions
from random_mask.settings import Ratio

__all__ = ["SmallestGradient"]


class SmallestGradient(Perturbation):
    """The convolution weights on which retain and forget disagree least are drawn anew."""

    title: ClassVar[str] = "Smallest gradients anew"

    name: Literal["smallest_gradient"]
    """The perturbation."""
    share: Ratio
    """Share of the weights that is drawn anew, among those whose gradient is not exactly zero."""

    def __call__(self, model: Model) -> Weights:
        """Return the kernels."""
        retain, forget = (model.gradient(model.splits[split]) for split in ("retain", "forget"))
        names = convolutions(model.weights)
        sizes = {name: np.abs(retain[name] - forget[name]) for name in names}
        # Unused kernel positions, whose gradient is exactly zero, cannot be told apart and matter nowhere.
        ranked = np.concatenate([size[size != 0] for size in sizes.values()])
        count = round(self.share * ranked.size)
        threshold = np.partition(ranked, count - 1)[count - 1] if count else 0
        changed = {}
        for name, size in sizes.items():
            out, _, height, width = size.shape
            # Kaiming's normal for a ReLU, by the fan-out: He et al. (2015).
            drawn = model.rng.standard_normal(size.shape, dtype=np.float32) * np.sqrt(
                2 / (out * height * width)
            )
            changed[name] = np.where((size > 0) & (size <= threshold), drawn, model.weights[name])
        return changed

    def gradient_examples(self, sizes: Mapping[str, int]) -> int:
        """Return all of retain and forget."""
        return sizes["retain"] + sizes["forget"]
