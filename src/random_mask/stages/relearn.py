"""Trains some models of a fleet once more and lets them learn the forget set again."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_npz
from random_mask.settings import Precision, Recipe, Relearning, Step
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.finetune import unlearned
from random_mask.stages.fleet import prepare
from random_mask.stages.retrain import retrained
from random_mask.training.devices import models_at_once
from random_mask.training.fleet import Weights, fit_fleet, network_of
from random_mask.training.networks import without_dead_taps
from random_mask.training.relearning import relearn
from random_mask.training.stacking import stack


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    recipe: Recipe
    """Of retraining."""
    steps: list[Step]
    """Of unlearning; none for a retrained fleet."""
    precision: Precision
    relearning: Relearning
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
    data, parts, computed = prepare(images, split_table, settings.precision)
    if weights:
        fleet = unlearned(
            role,
            settings.seed,
            settings.steps,
            weights[0],
            lambda index: masks[index // settings.masks_in_a_file],
        )
    else:
        fleet = retrained(role, settings.seed, settings.recipe, images)
    models = range(settings.relearning.models)
    recipes = [recipe for step in fleet.steps for recipe in step.finetune] + [settings.relearning.finetune]
    largest = max(recipe.batch for recipe in recipes)
    at_once = models_at_once(data.pixels.device, len(models), batch=2 * largest, image_size=data.size)
    trained: dict[int, Weights] = {}
    computing = {"precision": computed["precision"]}
    fit_fleet(
        fleet,
        models,
        data,
        parts,
        at_once=at_once,
        progress=progress,
        keep=lambda index, found: trained.update({index: found}),
        **computing,
    )
    losses = []
    for first in models[::at_once]:
        group = models[first : first + at_once]
        networks = [without_dead_taps(network_of(trained[index]), data.size) for index in group]
        rngs = [fleet.rng(index, "relearn") for index in group]
        network = stack(networks).to(data.pixels.device)
        losses.append(relearn(network, data, parts, settings.relearning.finetune, rngs=rngs, **computing))
    write_npz(output, {"loss": np.concatenate(losses)})
    before, after = np.concatenate(losses).mean(axis=0)[[0, -1]]
    progress(f"{role}: loss on the forget set {before:.4f}, relearned {after:.4f}")
    return computed | {"models_at_once": at_once}


if __name__ == "__main__":
    run(main)
