"""Retrains from scratch without the forget set: what unlearning is measured against."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from random_mask.stages.command import Input, Output, run
from random_mask.stages.fleet import prepare, retrained, train_shard
from random_mask.training.recipe import Precision


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    network: str
    recipe: dict[str, Any]
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
    data, splits, computed = prepare(images, split_table, settings.precision)
    retraining = retrained(fleet, settings.seed, settings.network, settings.recipe, data.classes)
    models = range(first, last + 1)
    return train_shard(retraining, models, data, splits, computed, output=output, cost=cost)


if __name__ == "__main__":
    run(main)
