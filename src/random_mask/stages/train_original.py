"""Trains an original model: the one that has seen everything and is to forget."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel

from random_mask.files import write_npz
from random_mask.fleets import write_works
from random_mask.models import build_resnet18, parameter_count, without_dead_taps
from random_mask.seeds import generator, seed_of
from random_mask.settings import Recipe
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.fleet import COMPUTED, read_data
from random_mask.training import fit, summarise, work_of
from random_mask.weights import write_weights


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    recipe: Recipe


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

    All taps of its kernels are trained, the dead ones too, so that its weights are those of torchvision's
    own network and can be used by any method.
    """
    data, parts = read_data(images, split_table)
    model = build_resnet18(data.classes, seed=seed_of(settings.seed, "original", original, "init"))
    model = model.to(memory_format=torch.channels_last)
    training = np.union1d(parts["retain"], parts["forget"])
    epochs = settings.recipe.epochs
    history = fit(
        model,
        data,
        training,
        settings.recipe,
        rng=generator(settings.seed, "original", original, "order"),
        progress=lambda epoch, loss, spent: progress(
            f"epoch {epoch}/{epochs}, loss {loss:.4f}, {spent * (epochs / epoch - 1):.0f} s left"
        ),
    )
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    write_weights(weights, state, {"seed": str(settings.seed), "original": str(original)})
    kept = summarise(model, data, parts, history) | {"model": np.int64(original)}
    write_npz(output, {name: array[None] for name, array in kept.items()})
    work = work_of(model, data.size, len(training), settings.recipe)
    live = parameter_count(without_dead_taps(model, data.size))
    write_works(cost, [work], live_weights=live, classes=data.classes)
    return COMPUTED


if __name__ == "__main__":
    run(main)
