"""What the training stages have in common: reading the data, the fleets, training and writing a shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from random_mask.artifacts.files import read_npz, read_text, write_npz
from random_mask.artifacts.shards import write_works
from random_mask.artifacts.weights import read_masks, read_weights
from random_mask.data.splits import read_split
from random_mask.methods import catalogue
from random_mask.seeds import seed_of
from random_mask.stages.command import progress
from random_mask.training.devices import choose, fitting, models_at_once, precision_of
from random_mask.training.fleet import Fleet, Step, fit_fleet, initial
from random_mask.training.images import Images
from random_mask.training.networks import NETWORKS
from random_mask.training.recipe import Precision
from random_mask.training.stacking import Stack

__all__ = ["prepare", "retrained", "train_shard", "unlearned"]

# Float sums depend on the number of threads, so it is fixed here; jobs run beside each other instead.
torch.set_num_threads(1)


def prepare(
    images: Path, split_table: Path, precision: Precision
) -> tuple[Images, dict[str, np.ndarray], dict[str, str | int]]:
    """Read what `prepare_data` wrote, and choose where to compute.

    Returns:
        The images on the device, the indices of each split, and how it is computed, for the record.
    """
    device = choose()
    splits, _ = read_split(read_text(split_table), str(split_table))
    computed: dict[str, str | int] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": precision_of(precision, device),
        "threads": torch.get_num_threads(),
    }
    return Images.from_arrays(read_npz(images)).to(device), splits, computed


def retrained(role: str, seed: int, network: str, recipe: Mapping[str, Any], classes: int) -> Fleet:
    """Return a retrained fleet: random weights, trained on the retain set."""
    architecture = NETWORKS[network]
    return Fleet(
        role=role,
        seed=seed,
        network=architecture,
        start=lambda index: initial(architecture, classes, seed_of(seed, role, index, "init")),
        steps=[Step([catalogue.recipe_and_loss(recipe)])],
    )


def unlearned(
    role: str,
    seed: int,
    network: str,
    steps: Sequence[Mapping[str, Any]],
    weights: Path,
    masks: Callable[[int], Path],
) -> Fleet:
    """Return an unlearned fleet: the original weights, perturbed and fine-tuned in steps.

    Args:
        role: name of the fleet.
        seed: root seed of the experiment.
        network: name of the network.
        steps: as the configuration has them.
        weights: file of the original weights.
        masks: gives the file with the masks of a model, by its index.
    """
    original = read_weights(weights)
    taken = [
        Step(
            [catalogue.recipe_and_loss(recipe) for recipe in step["finetune"]],
            catalogue.perturbation(step["perturb"]),
            step["models"],
            step["rounds"],
        )
        for step in steps
        for _ in range(step["cycles"])
    ]
    return Fleet(
        role=role,
        seed=seed,
        network=NETWORKS[network],
        start=lambda index: original,
        steps=taken,
        masks=lambda index, step: read_masks(masks(index), index, step),
        original=original,
    )


def train_shard(
    fleet: Fleet,
    models: range,
    data: Images,
    splits: Mapping[str, np.ndarray],
    computed: Mapping[str, str | int],
    *,
    output: Path,
    cost: Path,
) -> dict[str, str | int]:
    """Train some models of a fleet; write their logits, and what they cost.

    Returns:
        How it was computed, for the record.
    """
    precision = str(computed["precision"])
    (arrays, works), at_once = fitting(
        lambda at_once: fit_fleet(
            fleet, models, data, splits, at_once=at_once, precision=precision, progress=progress
        ),
        side_by_side(fleet, data, len(models)),
        progress,
    )
    write_npz(output, arrays)
    write_works(cost, works)
    return {**computed, "models_at_once": at_once}


def side_by_side(fleet: Fleet, data: Images, wanted: int, *, batch: int = 0) -> int:
    """Return how many models of a fleet to train at once, also in batches of `batch` images."""
    if not fleet.network.stackable:
        return 1
    batches = [
        recipe.batch + ((recipe.paired_batch or recipe.batch) if recipe.paired_with else 0)
        for step in fleet.steps
        for recipe, _ in step.finetune
    ]
    largest = max([batch, *batches])
    weights = Stack(fleet.network, data.classes, image_size=data.size).weights_each()
    device, size = data.pixels.device, data.size
    return models_at_once(device, wanted, weights=weights, batch=largest, image_size=size)
