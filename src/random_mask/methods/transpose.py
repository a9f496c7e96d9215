"""Transposition of convolution kernels (toshi_k and marvelworld, 2023)."""

from __future__ import annotations

from typing import ClassVar, Literal

from random_mask.methods.perturbation import Model, Perturbation, Weights, convolutions

__all__ = ["Transpose"]


class Transpose(Perturbation):
    """Every convolution kernel is transposed: rows become columns."""

    title: ClassVar[str] = "Transposed kernels"

    name: Literal["transpose"]
    """The perturbation."""

    def __call__(self, model: Model) -> Weights:
        """Return the kernels."""
        return {name: model.weights[name].swapaxes(2, 3) for name in convolutions(model.weights)}
