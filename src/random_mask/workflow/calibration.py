"""Measures what one core of this machine takes for each unit of work (`workflow.work`).

`workflow.estimate` starts this module once for every core, as `python -m random_mask.workflow.calibration
CONFIGFILE SECONDS`; the answer is one line of JSON. Times are medians of the processor's.
"""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from random_mask.experiment.config import Experiment, load
from random_mask.metrics import intervals
from random_mask.training.cost import BACKWARD
from random_mask.training.devices import precision_of
from random_mask.training.fleet import initial
from random_mask.training.images import Images
from random_mask.training.loop import fit
from random_mask.training.networks import NETWORKS
from random_mask.training.stacking import Stack
from random_mask.workflow.work import Workload

IMAGES, EXAMPLES = 512, 100
"""Images at least that a measurement passes, and forget examples at most."""


def rates(experiment: Experiment, seconds: float) -> dict[str, float]:
    """Return the processor seconds for one of a unit, by the attributes of `work.JobWork`.

    The experiment's recipe of training, precision, image size and N are measured with, for so many seconds,
    and everything thrice at least.
    """
    torch.set_num_threads(1)
    recipe = experiment.training.model_copy(update={"epochs": 1, "warm_up": 0})
    size, batch = experiment.data.image_size, recipe.batch
    other = batch // 2 if batch > 3 else 2 * batch
    count = max(2 * batch, IMAGES)
    rng, channel = np.random.default_rng(0), np.full(3, 128, np.float32)
    pixels, labels = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8), np.arange(count) % 10
    images = Images.from_arrays({"pixels": pixels, "labels": labels, "mean": channel, "std": channel / 2})
    network = NETWORKS[experiment.network]
    full, cropped = (Stack(network, 10, image_size=used) for used in (None, size))
    for stack in (full, cropped):
        stack.load(0, initial(network, 10, 1))
    precision = precision_of(experiment.precision, torch.device("cpu"))
    models = max(2, intervals.subset_size(experiment.models))
    examples = min(Workload(experiment).sizes["forget"], EXAMPLES)
    judged, oracle = (
        intervals.Fleet(rng.normal(shift, 1, (models, examples)), *np.ones((2, models))) for shift in (0.5, 0)
    )

    def train(stack: Stack, batch: int) -> int:
        taken = recipe.model_copy(update={"batch": batch})
        splits = {"retain": np.arange(count // batch * batch)}
        rngs = [np.random.default_rng(0)]
        fit(stack, images, splits, taken, recipe.objective, rngs=rngs, precision=precision)
        return len(splits["retain"])

    def judge() -> int:
        intervals.score(judged.take(np.arange(models)), oracle)
        return examples

    actions = {
        "cropped": lambda: train(cropped, batch),
        "other": lambda: train(cropped, other),
        "full": lambda: train(full, batch),
        "judged": judge,
    }
    each = _medians(actions, seconds)
    # Both are the seconds of an image and, for all images of a batch, those of a step.
    step = max(0.0, (each["other"] - each["cropped"]) / (1 / other - 1 / batch))
    image = each["cropped"] - step / batch
    return {
        "images": image,
        "steps": step,
        "full_images": each["full"],
        "evaluated": image / (1 + BACKWARD),
        "resampled": each["judged"],
    }


def _medians(actions: dict[str, Callable[[], int]], seconds: float) -> dict[str, float]:
    """Return the processor seconds of each action for one of those that it says it dealt with."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    until = time.process_time() + seconds
    while len(found["full"]) < 3 or time.process_time() < until:
        for name, action in actions.items():
            begun = time.process_time()
            dealt_with = action()
            found[name].append((time.process_time() - begun) / dealt_with)
    return {name: statistics.median(times) for name, times in found.items()}


if __name__ == "__main__":
    measured = rates(load(sys.argv[1]), float(sys.argv[2]))
    print(json.dumps([measured, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
