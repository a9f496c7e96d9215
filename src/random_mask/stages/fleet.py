"""What the training stages have in common: reading the data, training a shard, writing what is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from random_mask.data.splits import read_split
from random_mask.files import read_npz, read_text, write_npz
from random_mask.fleets import write_works
from random_mask.seeds import generator
from random_mask.settings import Recipe
from random_mask.stages.command import progress
from random_mask.training import Images, fit_fleet

# Float sums depend on the number of threads, so it is fixed here; jobs run beside each other instead.
torch.set_num_threads(1)

COMPUTED = {"device": "cpu", "precision": "float32", "threads": torch.get_num_threads()}
"""How the training stages compute, for their records."""


def read_data(images: Path, split_table: Path) -> tuple[Images, dict[str, np.ndarray]]:
    """Read what `prepare_data` wrote: the images and the indices of each part."""
    parts, _ = read_split(read_text(split_table), str(split_table))
    return Images.from_arrays(read_npz(images)), parts


def train_shard(
    role: str,
    models: Iterable[int],
    make: Callable[[int], nn.Module],
    recipe: Recipe,
    *,
    seed: int,
    images: Path,
    split_table: Path,
    output: Path,
    cost: Path,
) -> dict[str, str | int]:
    """Train some models of a fleet on the retain set; write their logits, and what they cost.

    Returns:
        How it was computed, for the record.
    """
    data, parts = read_data(images, split_table)
    arrays, works = fit_fleet(
        {index: lambda index=index: make(index) for index in models},
        data,
        parts,
        recipe,
        train_on=parts["retain"],
        order=lambda index: generator(seed, role, index, "order"),
        progress=progress,
    )
    write_npz(output, arrays)
    write_works(cost, works)
    return COMPUTED
