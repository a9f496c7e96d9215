"""Trains some models of a fleet once more and lets them learn the forget set again."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_npz
from random_mask.methods import catalogue
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.fleet import prepare, retrained, side_by_side, unlearned
from random_mask.training.devices import fitting
from random_mask.training.fleet import fit_fleet
from random_mask.training.recipe import Precision
from random_mask.training.relearning import relearn
from random_mask.training.stacking import Stack, Weights


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    network: str
    recipe: dict[str, Any]
    """Of retraining."""
    steps: list[dict[str, Any]]
    """Of unlearning; none for a retrained fleet."""
    precision: Precision
    models: int
    """So many models relearn, the first of the fleet."""
    relearning: dict[str, Any]
    """How."""
    masks_in_a_file: int
    """Models whose masks are in one file."""


def main(
    *,
    settings: Settings,
    role: str,
    images: Input,
    split_table: Input,
    weights: list[Input],
    masks: list[Input],
    output: Output,
) -> dict[str, str | int]:
    """Write the loss on the forget set while the first models of a fleet relearn it.

    Weights are not kept, so these models are trained once more: the same as before, since a model follows
    from its seed. `weights` are those of the original model, for an unlearned fleet.
    """
    data, splits, computed = prepare(images, split_table, settings.precision)
    precision = str(computed["precision"])
    if weights:
        fleet = unlearned(
            role,
            settings.seed,
            settings.network,
            settings.steps,
            weights[0],
            lambda index: masks[index // settings.masks_in_a_file],
        )
    else:
        fleet = retrained(role, settings.seed, settings.network, settings.recipe, data.classes)
    recipe, loss = catalogue.recipe_and_loss(settings.relearning)
    models = range(settings.models)

    def losses_of(at_once: int) -> np.ndarray:
        trained: dict[int, Weights] = {}
        fit_fleet(
            fleet,
            models,
            data,
            splits,
            at_once=at_once,
            precision=precision,
            progress=progress,
            save=trained.__setitem__,
        )
        losses = []
        for first in models[::at_once]:
            group = models[first : first + at_once]
            stack = Stack(fleet.network, data.classes, len(group), image_size=data.size)
            for place, index in enumerate(group):
                stack.load(place, trained[index])
            rngs = [fleet.rng(index, "relearn") for index in group]
            stack.to(data.pixels.device)
            losses.append(relearn(stack, data, splits, recipe, loss, rngs=rngs, precision=precision))
        return np.concatenate(losses)

    most = side_by_side(fleet, data, len(models), batch=recipe.batch)
    losses, at_once = fitting(losses_of, most, progress)
    write_npz(output, {"loss": losses})
    before, after = losses.mean(axis=0)[[0, -1]]
    progress(f"{role}: loss on the forget set {before:.4f}, relearned {after:.4f}")
    return computed | {"models_at_once": at_once}


if __name__ == "__main__":
    run(main)
