"""What the training stages have in common: reading the data, training a shard, writing what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from random_mask.artifacts.files import read_npz, read_text, write_npz
from random_mask.artifacts.shards import write_works
from random_mask.data.splits import read_split
from random_mask.settings import Precision
from random_mask.stages.command import progress
from random_mask.training.devices import choose, models_at_once, precision_of
from random_mask.training.fleet import Fleet, fit_fleet
from random_mask.training.loop import Images

# Float sums depend on the number of threads, so it is fixed here; jobs run beside each other instead.
torch.set_num_threads(1)


def prepare(
    images: Path, split_table: Path, precision: Precision
) -> tuple[Images, dict[str, np.ndarray], dict[str, str | int]]:
    """Read what `prepare_data` wrote, and choose where to compute.

    Returns:
        The images on the device, the indices of each part, and how it is computed, for the record.
    """
    device = choose()
    parts, _ = read_split(read_text(split_table), str(split_table))
    computed = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": precision_of(precision, device),
        "threads": torch.get_num_threads(),
    }
    return Images.from_arrays(read_npz(images)).to(device), parts, computed


def train_shard(
    fleet: Fleet,
    models: range,
    *,
    precision: Precision,
    images: Path,
    split_table: Path,
    output: Path,
    cost: Path,
) -> dict[str, str | int]:
    """Train some models of a fleet; write their logits, and what they cost.

    Returns:
        How it was computed, for the record.
    """
    data, parts, computed = prepare(images, split_table, precision)
    largest = max((recipe.batch for step in fleet.steps for recipe in step.finetune), default=0)
    at_once = models_at_once(data.pixels.device, len(models), batch=2 * largest, image_size=data.size)
    arrays, works = fit_fleet(
        fleet,
        models,
        data,
        parts,
        at_once=at_once,
        precision=computed["precision"],
        progress=progress,
    )
    write_npz(output, arrays)
    write_works(cost, works)
    return computed | {"models_at_once": at_once}
