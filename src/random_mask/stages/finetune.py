"""Unlearns: perturbs the original weights and fine-tunes them, as the method says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel

from random_mask.artifacts.weights import read_masks, read_weights
from random_mask.methods.unlearning import perturb
from random_mask.settings import Precision, Step
from random_mask.stages.command import Input, Output, run
from random_mask.stages.fleet import train_shard
from random_mask.training.fleet import Fleet


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    steps: list[Step]
    precision: Precision


def main(
    *,
    settings: Settings,
    role: str,
    first: int,
    last: int,
    images: Input,
    split_table: Input,
    weights: Input,
    masks: list[Input],
    output: Output,
    cost: Output,
) -> dict[str, str | int]:
    """Unlearn the models `first` to `last` of a fleet; write their logits.

    `masks` is the file of their masks, if the method draws any.
    """
    return train_shard(
        unlearned(role, settings.seed, settings.steps, weights, lambda index: masks[0]),
        range(first, last + 1),
        precision=settings.precision,
        images=images,
        split_table=split_table,
        output=output,
        cost=cost,
    )


def unlearned(
    role: str, seed: int, steps: Sequence[Step], weights: Path, masks: Callable[[int], Path]
) -> Fleet:
    """Return an unlearned fleet: the original weights, perturbed and fine-tuned in steps.

    `masks` gives the file with the masks of a model, by its index.
    """
    original = read_weights(weights)
    return Fleet(
        role=role,
        seed=seed,
        start=lambda index: original,
        steps=steps,
        perturb=perturb,
        masks=lambda index, step: read_masks(masks(index), index, step),
        original=original,
    )


if __name__ == "__main__":
    run(main)
