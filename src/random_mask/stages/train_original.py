"""Trains an original model: the one that has seen everything and is to forget."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_npz
from random_mask.artifacts.shards import write_works
from random_mask.artifacts.weights import write_weights
from random_mask.seeds import generator, seed_of
from random_mask.settings import Precision, Recipe
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.fleet import prepare
from random_mask.training.cost import Work, work_of
from random_mask.training.loop import fit, summarise
from random_mask.training.networks import build_resnet18, forward_flops, parameter_count, without_dead_taps
from random_mask.training.stacking import stack, unstacked


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    recipe: Recipe
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

    All taps of its kernels are trained, the dead ones too, so that its weights are those of torchvision's
    own network and can be used by any method.
    """
    data, parts, computed = prepare(images, split_table, settings.precision)
    model = build_resnet18(data.classes, seed=seed_of(settings.seed, "original", original, "init"))
    training = np.union1d(parts["retain"], parts["forget"])
    epochs = settings.recipe.epochs
    network = stack([model]).to(data.pixels.device)
    history = fit(
        network,
        data,
        {**parts, "retain": training},
        settings.recipe,
        rngs=[generator(settings.seed, "original", original, "order")],
        precision=computed["precision"],
        progress=lambda epoch, loss, spent: progress(
            f"epoch {epoch}/{epochs}, loss {loss:.4f}, {spent * (epochs / epoch - 1):.0f} s left"
        ),
    )
    state = {name: tensor.cpu().numpy() for name, tensor in unstacked(network, 0).items()}
    write_weights(weights, state, {"seed": str(settings.seed), "original": str(original)})
    kept = {"model": np.array([original])} | summarise(network, data, parts, models=1)
    write_npz(output, kept | {"history_loss": history.loss, "history_accuracy": history.accuracy})
    passed, steps = work_of({"retain": len(training)}, settings.recipe)
    work = Work(passed, steps, forward_flops(model, data.size), parameter_count(model))
    live = parameter_count(without_dead_taps(model, data.size))
    sizes = {part: len(indices) for part, indices in parts.items()}
    write_works(cost, [work], live_weights=live, classes=data.classes, **sizes)
    return computed | {"models_at_once": 1}


if __name__ == "__main__":
    run(main)
