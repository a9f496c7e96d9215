"""Measures what one core of this machine takes for each unit of work (`workflow.work`).

`workflow.estimate` starts this module once for every core, as `python -m random_mask.workflow.calibration
CONFIGFILE SECONDS`; the answer is one line of JSON. Times are the processor's, which others disturb least, and medians.
"""

import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from random_mask.experiment.config import Experiment, load
from random_mask.metrics import intervals
from random_mask.settings import Recipe, Step
from random_mask.training.devices import precision_of
from random_mask.training.fleet import Fleet, fit_fleet
from random_mask.training.loop import Images, evaluate, fit
from random_mask.training.networks import build_resnet18, without_dead_taps
from random_mask.training.stacking import stack
from random_mask.workflow.work import Workload

IMAGES, EXAMPLES = 256, 100
"""Images at least that a measurement passes, and forget examples at most."""


def rates(experiment: Experiment, seconds: float) -> dict[str, float]:
    """Return the processor seconds for one of a unit, by the attributes of `work.JobWork`.

    Args:
        experiment: its recipe of training, precision, image size and N are measured with.
        seconds: how long to measure; everything is measured thrice at least.
    """
    torch.set_num_threads(1)
    precision = precision_of(experiment.precision, torch.device("cpu"))
    recipe = experiment.training.model_copy(update={"epochs": 1, "warm_up": 0})
    smaller = recipe.model_copy(update={"batch": max(2, recipe.batch // 2)})
    count, size = max(2 * recipe.batch, IMAGES), experiment.data.image_size
    rng, everything, channel = np.random.default_rng(0), np.arange(count), np.full(3, 128, np.float32)
    pixels = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    images = Images.from_arrays(
        {"pixels": pixels, "labels": everything % 10, "mean": channel, "std": channel / 2}
    )
    splits = {"retain": everything[: recipe.batch], "forget": everything[recipe.batch : 2 * recipe.batch]}
    full = build_resnet18(10, seed=1)
    cropped = without_dead_taps(full, size)
    weights = {name: tensor.numpy() for name, tensor in full.state_dict().items()}
    fleet = Fleet(role="oracle", seed=1, start=lambda index: weights, steps=[Step(finetune=[recipe])])
    models = max(2, intervals.subset_size(experiment.models))
    examples = min(Workload(experiment).sizes["forget"], EXAMPLES)
    judged, oracle = (
        intervals.Fleet(rng.normal(shift, 1, (models, examples)), *np.ones((2, models))) for shift in (0.5, 0)
    )

    def train(network: torch.nn.Module, recipe: Recipe) -> None:
        splits, rngs = {"retain": everything}, [np.random.default_rng(0)]
        fit(stack([network]), images, splits, recipe, rngs=rngs, precision=precision)

    taken = _medians(
        {
            "model": lambda: fit_fleet(fleet, [0], images, splits, precision=precision),
            "few steps": lambda: train(cropped, recipe),
            "more steps": lambda: train(cropped, smaller),
            "full": lambda: train(full, recipe),
            "evaluated": lambda: evaluate(stack([cropped]), images, everything),
            "resampled": lambda: intervals.score(judged.take(np.arange(models)), oracle),
        },
        seconds,
    )
    few, more = (math.ceil(count / each.batch) for each in (recipe, smaller))
    step = max(0.0, (taken["more steps"] - taken["few steps"]) / (more - few))
    image, evaluated = (taken["few steps"] - few * step) / count, taken["evaluated"] / count
    return {
        "models": max(0.0, taken["model"] - recipe.batch * (image + 2 * evaluated) - step),
        "images": image,
        "steps": step,
        "full_images": taken["full"] / count,
        "evaluated": evaluated,
        "resampled": taken["resampled"] / examples,
    }


def _medians(actions: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Return the processor seconds that each action takes."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    until = time.process_time() + seconds
    while len(found["model"]) < 3 or time.process_time() < until:
        for name, action in actions.items():
            begun = time.process_time()
            action()
            found[name].append(time.process_time() - begun)
    return {name: statistics.median(times) for name, times in found.items()}


if __name__ == "__main__":
    measured = rates(load(sys.argv[1]), float(sys.argv[2]))
    print(json.dumps([measured, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
