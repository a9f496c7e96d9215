"""Re-initialisation: layers are set to values drawn as before training."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from random_mask.methods.perturbation import Model, Perturbation, Weights, convolutions, within

__all__ = ["Reinitialise"]


class Reinitialise(Perturbation):
    """Layers are set to values drawn as before training."""

    title: ClassVar[str] = "Re-initialised layers"

    name: Literal["reinitialise"]
    """The perturbation."""
    layers: list[str] = Field(default_factory=list)
    """Names of layers, such as `conv1`, `fc` or `layer4`; those within a layer are meant as well."""
    random: Annotated[int, Field(ge=1)] | None = None
    """So many convolutions, drawn for every model, in addition."""
    last: Annotated[int, Field(ge=1, le=9)] | None = None
    """The last so many blocks (a ResNet-18 has eight before its linear layer), in addition."""
    spare_shortcuts: bool = False
    """Whether the convolutions of the shortcuts are not drawn."""

    def __call__(self, model: Model) -> Weights:
        """Return the tensors of these layers, running statistics included.

        Raises:
            ValueError: if the network has no such layer.
        """
        names = [name for name in model.weights if within(name, self.layers)]
        for layer in self.layers:
            if not any(within(name, [layer]) for name in names):
                raise ValueError(f"perturb.layers: the network has no layer {layer}; correct its name")
        if self.last is not None:
            names += model.network.last_blocks(model.weights, self.last)
        if self.random is not None:
            kernels = convolutions(model.weights)
            if self.spare_shortcuts:
                kernels = [name for name in kernels if not model.network.in_shortcut(name)]
            drawn = model.rng.choice(len(kernels), self.random, replace=False)
            names += [kernels[place] for place in sorted(drawn)]
        initial = model.initial()
        return {name: initial[name] for name in names}
