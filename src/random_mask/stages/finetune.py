"""Fine-tunes perturbed weights on the retain set: the second step of unlearning."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel

from random_mask.models import resnet18_with
from random_mask.perturb import apply_masks
from random_mask.settings import Precision, Recipe
from random_mask.stages.command import Input, Output, run
from random_mask.stages.fleet import train_shard
from random_mask.weights import read_masks, read_weights


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    recipe: Recipe
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
    masks: Input,
    output: Output,
    cost: Output,
) -> dict[str, str | int]:
    """Repair the models `first` to `last` of an unlearned fleet; write their logits."""
    original = read_weights(weights)
    return train_shard(
        role,
        range(first, last + 1),
        lambda index: resnet18_with(
            {
                name: torch.from_numpy(np.array(tensor))
                for name, tensor in apply_masks(original, read_masks(masks, index)).items()
            }
        ),
        settings.recipe,
        seed=settings.seed,
        precision=settings.precision,
        images=images,
        split_table=split_table,
        output=output,
        cost=cost,
    )


if __name__ == "__main__":
    run(main)
