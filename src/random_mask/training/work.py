"""The work of training, counted rather than timed: a clock gives another number in every run."""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["Work"]


@dataclass(frozen=True)
class Work:
    """The work of fitting one model.

    Attributes:
        images: images passed forward and backward, each as often as it was.
        steps: steps of the optimiser.
        flops: floating-point operations of one image's forward pass.
        weights: trained weights, all of which a step moves.
    """

    images: int
    steps: int
    flops: int
    weights: int

    def as_dict(self) -> dict[str, int]:
        """Return the attributes by name."""
        return asdict(self)
