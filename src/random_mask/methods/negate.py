"""Negation of layers (NoT, arXiv 2503.05657)."""

from __future__ import annotations

from typing import ClassVar, Literal

from random_mask.methods.perturbation import Model, Perturbation, Weights, parameters, within

__all__ = ["Negate"]


class Negate(Perturbation):
    """The weights of layers change their sign."""

    title: ClassVar[str] = "Negated layers"

    name: Literal["negate"]
    """The perturbation."""
    layers: list[str]
    """Names of layers, such as `conv1` or `layer1`; those within a layer are meant as well."""

    def __call__(self, model: Model) -> Weights:
        """Return the tensors of these layers."""
        names = [name for name in parameters(model.weights) if within(name, self.layers)]
        return {name: -model.weights[name] for name in names}
