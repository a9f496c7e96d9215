"""Unlearns: perturbs the original weights and fine-tunes them, as the method says."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from random_mask.stages.command import Input, Output, run
from random_mask.stages.fleet import prepare, train_shard, unlearned
from random_mask.training.recipe import Precision


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    network: str
    steps: list[dict[str, Any]]
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
    data, splits, computed = prepare(images, split_table, settings.precision)
    fleet = unlearned(role, settings.seed, settings.network, settings.steps, weights, lambda index: masks[0])
    models = range(first, last + 1)
    return train_shard(fleet, models, data, splits, computed, output=output, cost=cost)


if __name__ == "__main__":
    run(main)
