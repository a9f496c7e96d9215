"""The weights on which retain and forget disagree least are drawn anew (Kookmin University, 2023).

Source: `munl/unlearning/kgltop2.py` in github.com/xcadet/deepunlearn, commit 6830ff6. There the gradients are
taken in the mode in which the network happens to be, here in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from random_mask.methods.perturbation import Model, Perturbation, Weights, convolutions
from random_mask.settings import Ratio

__all__ = ["SmallestGradient"]


class SmallestGradient(Perturbation):
    """Of every convolution, the weights on which retain and forget disagree least are drawn anew."""

    title: ClassVar[str] = "Smallest gradients anew"

    name: Literal["smallest_gradient"]
    """The perturbation."""
    share: Ratio
    """Share of the weights of each convolution that is drawn anew: those with the smallest gradient of the
    loss on some of retain less that on forget. Every model draws as many images of retain as forget has."""

    def __call__(self, model: Model) -> Weights:
        """Return the kernels."""
        forget = model.splits["forget"]
        size = min(len(forget), len(model.splits["retain"]))
        some = np.sort(model.rng.choice(model.splits["retain"], size, replace=False))
        learnt, forgotten = model.gradient(some), model.gradient(forget)
        changed = {}
        for name in convolutions(model.weights):
            # Unused kernel positions, whose gradient is zero, come first: in layer4 they absorb the draw.
            order = np.argsort(np.abs(learnt[name] - forgotten[name]), axis=None, kind="stable")
            out, _, height, width = model.weights[name].shape
            anew = model.weights[name].copy()
            places = order[: round(self.share * order.size)]
            # Kaiming's normal for a ReLU, by the fan-out: He et al. (2015).
            deviation = np.sqrt(2 / (out * height * width))
            anew.flat[places] = deviation * model.rng.standard_normal(len(places), dtype=np.float32)
            changed[name] = anew
        return changed

    def gradient_examples(self, sizes: Mapping[str, int]) -> int:
        """Return forget, and as many of retain."""
        return sizes["forget"] + min(sizes["forget"], sizes["retain"])
