"""Fine-tunes perturbed weights on the retain set: the second step of unlearning."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from random_mask.config import Recipe
from random_mask.perturb import apply_masks
from random_mask.stages.command import run
from random_mask.stages.fleet import model_with, train_shard
from random_mask.weights import read_masks, read_weights


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    recipe: Recipe


def main(
    *,
    settings: Settings,
    role: str,
    first: int,
    last: int,
    images: Path,
    split_table: Path,
    weights: Path,
    masks: Path,
    output: Path,
    cost: Path,
) -> None:
    """Repair the models `first` to `last` of an unlearned fleet; write their logits."""
    original = read_weights(weights)
    train_shard(
        role,
        range(first, last + 1),
        lambda index: model_with(apply_masks(original, read_masks(masks, index))),
        settings.recipe,
        seed=settings.seed,
        images=images,
        split_table=split_table,
        output=output,
        cost=cost,
    )


if __name__ == "__main__":
    run(main)
