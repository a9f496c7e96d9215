"""Trains an original model: the one that has seen everything and is to forget."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_npz
from random_mask.artifacts.shards import write_works
from random_mask.artifacts.weights import write_weights
from random_mask.methods import catalogue
from random_mask.seeds import generator, seed_of
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.fleet import prepare
from random_mask.training.cost import Work
from random_mask.training.evaluation import summarise
from random_mask.training.fleet import initial
from random_mask.training.loop import fit
from random_mask.training.networks import NETWORKS
from random_mask.training.recipe import Precision
from random_mask.training.stacking import Stack


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    network: str
    recipe: dict[str, Any]
    precision: Precision


def main(
    *,
    settings: Settings,
    original: int,
    images: Input,
    split_table: Input,
    weights: Output,
    output: Output,
    cost: Output,
) -> dict[str, str | int]:
    """Train one original model on the retain and the forget set; write its weights and its logits.

    The kernel positions that images of this size leave unused are decayed as the others are, so that its
    weights are those of torchvision's own network and can be used by any method.
    """
    data, splits, computed = prepare(images, split_table, settings.precision)
    architecture = NETWORKS[settings.network]
    start = initial(architecture, data.classes, seed_of(settings.seed, "original", original, "init"))
    stack = Stack(architecture, data.classes, image_size=data.size, hold_unused=True)
    stack.load(0, start)
    stack.to(data.pixels.device)
    training = {**splits, "retain": np.union1d(splits["retain"], splits["forget"])}
    recipe, loss = catalogue.recipe_and_loss(settings.recipe)
    history = fit(
        stack,
        data,
        training,
        recipe,
        loss,
        rngs=[generator(settings.seed, "original", original, "order")],
        precision=str(computed["precision"]),
        progress=lambda epoch, mean, spent: progress(
            f"epoch {epoch}/{recipe.epochs}, loss {mean:.4f}, "
            f"{spent * (recipe.epochs / epoch - 1):.0f} s left"
        ),
    )
    metadata = {"seed": str(settings.seed), "original": str(original)}
    write_weights(weights, stack.weights(0, start), metadata)
    outputs = {"model": np.array([original])} | summarise(stack, data, splits)
    write_npz(output, outputs | {"history_loss": history.loss, "history_accuracy": history.accuracy})
    sizes = {split: len(indices) for split, indices in training.items()}
    work = Work(
        recipe.images_passed(sizes), recipe.steps(sizes), stack.flops_each(data.size), stack.weights_each()
    )
    used = sum(parameter.numel() for parameter in stack.parameters_by_name().values())
    counts = {split: len(indices) for split, indices in splits.items()}
    write_works(cost, [work], cropped_weights=used, classes=data.classes, **counts)
    return computed | {"models_at_once": 1}


if __name__ == "__main__":
    run(main)
