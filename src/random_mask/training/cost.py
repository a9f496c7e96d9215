"""What training a model costs, counted rather than timed.

A clock gives another number in every run, and so would every table that shows it. The work of training is
counted instead, and priced at the speed of one core of a reference machine, which
`benchmarks/speed.py` measures. The times of a run itself are in its provenance.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["Speed", "Work", "seconds"]

BACKWARD = 2
"""A backward pass computes two products, by weights and by inputs, for one of the forward pass."""


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


@dataclass(frozen=True)
class Speed:
    """The speed of one core.

    Attributes:
        flops_per_second: of forward and backward passes while training.
        weights_per_second: weights that an optimiser's steps move.
    """

    flops_per_second: float
    weights_per_second: float


def seconds(work: Work, speed: Speed) -> float:
    """Return the seconds that one core of this speed spends on this work."""
    passes = work.images * work.flops * (1 + BACKWARD) / speed.flops_per_second
    return passes + work.steps * work.weights / speed.weights_per_second
