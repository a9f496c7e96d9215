"""Retrains from scratch without the forget set: what unlearning is measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import read_npz
from random_mask.seeds import seed_of
from random_mask.settings import Precision, Recipe, Step
from random_mask.stages.command import Input, Output, run
from random_mask.stages.fleet import train_shard
from random_mask.training.fleet import Fleet
from random_mask.training.networks import build_resnet18


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    recipe: Recipe
    precision: Precision


def main(
    *,
    settings: Settings,
    fleet: str,
    first: int,
    last: int,
    images: Input,
    split_table: Input,
    output: Output,
    cost: Output,
) -> dict[str, str | int]:
    """Train the models `first` to `last` of a retrained fleet from scratch on the retain set."""
    return train_shard(
        retrained(fleet, settings.seed, settings.recipe, images),
        range(first, last + 1),
        precision=settings.precision,
        images=images,
        split_table=split_table,
        output=output,
        cost=cost,
    )


def retrained(role: str, seed: int, recipe: Recipe, images: Path) -> Fleet:
    """Return a retrained fleet: random weights, trained on the retain set."""
    classes = int(np.max(read_npz(images)["labels"])) + 1

    def start(index: int) -> dict[str, np.ndarray]:
        network = build_resnet18(classes, seed=seed_of(seed, role, index, "init"))
        return {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    return Fleet(role=role, seed=seed, start=start, steps=[Step(finetune=[recipe])])


if __name__ == "__main__":
    run(main)
