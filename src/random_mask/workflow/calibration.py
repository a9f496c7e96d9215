"""Measures what jobs take on one core of this machine: training, the metric, masks, and starting at all.

`workflow.estimate` starts this module once a core, as `python -m random_mask.workflow.calibration WHAT
REQUEST`; the answer is one line of JSON. Each measurement imports what a job of its kind imports and nothing
else, so that what its process has used when the imports are done is what such a job takes to start.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from random_mask.experiment.cost import BACKWARD, Speed, Work
from random_mask.experiment.cost import seconds as price

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

__all__ = ["training_speed"]

CLASSES = 10
"""Of the networks that are measured; the last layer is small in any case."""

EXAMPLES = 100
"""Forget examples at most that the metric is measured with: its cost is in proportion to their number."""


def training_speed(
    network: nn.Module,
    *,
    batch: int,
    seconds: float,
    size: int = 32,
    optimizer: str = "adam",
    precision: str = "fp32",
) -> tuple[Speed, int]:
    """Measure the speed of training a network on this core.

    The steps are timed in two parts, passes and optimiser, by the processor's clock, which others who use the
    machine disturb least; of each part the median is taken.

    Args:
        network: a stack of one network.
        batch: images a step.
        seconds: how long to measure; three steps are taken at least.
        size: height and width of the images, in pixels.
        optimizer: `adam` or `sgd`.
        precision: of matrix products, `fp32` or `bf16`.

    Returns:
        The speed, and the number of steps.
    """
    import torch
    from torch.nn import functional

    from random_mask.training.networks import forward_flops, parameter_count

    network.train()
    options = {"lr": 1e-4, "weight_decay": 5e-4, "fused": True}
    if optimizer == "adam":
        mover = torch.optim.Adam(network.parameters(), **options)
    else:
        mover = torch.optim.SGD(network.parameters(), momentum=0.9, **options)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,))
    passes, moves = [], []
    until = time.process_time() + seconds
    while len(moves) < 4 or time.process_time() < until:
        begun = time.process_time()
        mover.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        functional.cross_entropy(logits[0].float(), labels).backward()
        between = time.process_time()
        mover.step()
        passes.append(between - begun)
        moves.append(time.process_time() - between)
    # The first step takes memory and plans the products, once.
    flops = forward_flops(network, size) * batch * (1 + BACKWARD)
    speed = Speed(
        flops_per_second=flops / statistics.median(passes[1:]),
        weights_per_second=parameter_count(network) / statistics.median(moves[1:]),
    )
    return speed, len(moves) - 1


def _import_stage(name: str) -> None:
    """Import all that a job of a stage imports, whose cost is part of its start."""
    import_module(f"random_mask.stages.{name}")


def _noise(images: int, size: int) -> dict[str, np.ndarray]:
    """Return a data set of noise."""
    import numpy as np

    return {
        "pixels": np.random.default_rng(0).integers(0, 256, (images, 3, size, size), dtype=np.uint8),
        "labels": np.arange(images) % CLASSES,
        "mean": np.full(3, 128, np.float32),
        "std": np.full(3, 64, np.float32),
    }


def _measure_torch(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what jobs that train take."""
    import numpy as np
    import torch

    from random_mask.settings import Recipe, Step
    from random_mask.training.devices import precision_of
    from random_mask.training.fleet import Fleet, fit_fleet
    from random_mask.training.loop import EVALUATION_BATCH, Images, evaluate
    from random_mask.training.networks import (
        build_resnet18,
        forward_flops,
        parameter_count,
        without_dead_taps,
    )
    from random_mask.training.stacking import stack

    _import_stage("retrain")
    torch.set_num_threads(1)
    recipe = Recipe.model_validate(request["recipe"])
    precision = precision_of(request["precision"], torch.device("cpu"))
    size = request["image_size"]
    count = recipe.batch + EVALUATION_BATCH
    images = Images.from_arrays(_noise(count, size))
    whole = build_resnet18(CLASSES, seed=1)
    weights = {name: tensor.numpy() for name, tensor in whole.state_dict().items()}
    one_step = Step(finetune=[recipe.model_copy(update={"epochs": 1, "warm_up": 0})])
    fleet = Fleet(role="oracle", seed=1, start=lambda index: weights, steps=[one_step])
    parts = {"retain": np.arange(recipe.batch), "forget": np.arange(recipe.batch, count)}

    def train_one() -> float:
        begun = time.process_time()
        fit_fleet(fleet, [0], images, parts, precision=precision)
        return time.process_time() - begun

    train_one()
    started = time.process_time()
    one_model = min(train_one() for _ in range(2))
    share = request["seconds"] / (2 + len(request["batches"]))
    network = stack([without_dead_taps(whole, size)])
    how = {"size": size, "seconds": share, "precision": precision}
    live = {batch: training_speed(network, batch=batch, **how)[0] for batch in request["batches"]}
    of_whole, _ = training_speed(stack([whole]), batch=recipe.batch, **how)
    inference = []
    until = time.process_time() + share
    while len(inference) < 2 or time.process_time() < until:
        begun = time.process_time()
        evaluate(network, images, parts["forget"])
        inference.append(len(parts["forget"]) / (time.process_time() - begun))
    flops, n_weights = forward_flops(network, size), parameter_count(network)
    speed = statistics.median(inference)
    # What a model takes beside the step and the logits that this one took too.
    step = price(Work(recipe.batch, 1, flops, n_weights), live[recipe.batch]) + count / speed
    return {
        "gpus": torch.cuda.device_count(),
        "start": started - one_model,
        "flops": flops,
        "weights": n_weights,
        "live": {batch: asdict(found) for batch, found in live.items()},
        "whole_flops": forward_flops(whole, size),
        "whole_weights": parameter_count(whole),
        "whole": asdict(of_whole),
        "inference": speed,
        "model": max(0.0, one_model - step),
    }


def _measure_scipy(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what the metric takes, for one forget example, by models in both fleets."""
    import numpy as np

    from random_mask.metrics import intervals

    _import_stage("evaluate")
    started = time.process_time()
    examples = min(request["examples"], EXAMPLES)
    rng = np.random.default_rng(0)
    metric = {}
    for models in request["models"]:
        ones = np.ones(models)
        shift = np.linspace(0, 1, examples)
        fleets = [intervals.Fleet(rng.normal(s, 1, (models, examples)), ones, ones) for s in (shift, 0)]
        order = np.arange(models)
        intervals.score(*fleets)  # fills the table of this number of models
        begun, times = time.process_time(), 0
        while times < 2 or time.process_time() - begun < request["seconds"] / len(request["models"]):
            intervals.score(*(fleet.take(order) for fleet in fleets))
            times += 1
        metric[models] = (time.process_time() - begun) / times / examples
    return {"start": started, "metric": metric}


def _measure_numpy(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what drawing and packing the masks of one model takes."""
    import numpy as np

    from random_mask.methods.perturb import draw_masks

    _import_stage("perturb")
    started = time.process_time()
    weights = {"layer.weight": np.zeros(request["weights"], np.float32)}
    taken = []
    for seed in range(3):
        begun = time.process_time()
        masks = draw_masks(weights, ratio=0.3, spare="described", rng=np.random.default_rng(seed))
        np.packbits(masks["layer.weight"])
        taken.append(time.process_time() - begun)
    return {"start": started, "mask": statistics.median(taken)}


def _measure_gpu(request: Mapping[str, Any]) -> dict[str, Any]:
    """Measure how fast stacks are trained on a GPU. It has never run on one: no machine of ours has any."""
    import numpy as np

    from random_mask.settings import Recipe
    from random_mask.training.devices import choose, models_at_once, precision_of
    from random_mask.training.loop import Images, fit
    from random_mask.training.networks import build_resnet18, without_dead_taps
    from random_mask.training.stacking import stack

    device = choose()
    size = request["image_size"]
    images = Images.from_arrays(_noise(2048, size)).to(device)
    precision = precision_of(request["precision"], device)
    whole = build_resnet18(CLASSES, seed=1)

    def speed(network: nn.Module, batch: int, models: int) -> float:
        # The first epoch, in which the step is captured, is not counted.
        recipe = Recipe(epochs=4, batch=batch, optimizer="adam", learning_rate=1e-3)
        ends: list[float] = []
        fit(
            stack([network] * models).to(device),
            images,
            {"retain": np.resize(np.arange(2048), 50 * batch)},
            recipe,
            rngs=[np.random.default_rng(index) for index in range(models)],
            precision=precision,
            progress=lambda epoch, loss, spent: ends.append(spent),
        )
        return (len(ends) - 1) * 50 * batch * models / (ends[-1] - ends[0])

    live, batches = without_dead_taps(whole, size), request["batches"]
    found = []
    for batch in batches:
        for models in request["in_a_job"]:
            at_once = models_at_once(device, models, batch=2 * max(batches), image_size=size)
            found.append([batch, models, speed(live, batch, at_once)])
    alone = speed(whole, request["recipe"]["batch"], 1)
    return {"whole": alone, "live": found}


_MEASURES: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "torch": _measure_torch,
    "scipy": _measure_scipy,
    "numpy": _measure_numpy,
    "gpu": _measure_gpu,
}


if __name__ == "__main__":
    told = _MEASURES[sys.argv[1]](json.loads(sys.argv[2]))
    told["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told["processor_seconds"] = time.process_time()
    print(json.dumps(told))
