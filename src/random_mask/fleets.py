"""Fleets as they are stored: the logits of N models, in shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from random_mask.errors import InputError
from random_mask.files import read_npz

__all__ = ["read_fleet", "repeated"]


def read_fleet(shards: Sequence[Path]) -> dict[str, np.ndarray]:
    """Read the shards of a fleet and put its models one after the other.

    Returns:
        The arrays that `random_mask.training.summarise` keeps, each with a leading models axis.

    Raises:
        InputError: if a shard is missing or damaged, or the shards do not belong together.
    """
    parts = [read_npz(shard) for shard in shards]
    for shard, part in zip(shards, parts, strict=True):
        wrong = {
            name for name in parts[0] if name not in part or part[name].shape[1:] != parts[0][name].shape[1:]
        }
        if wrong or part.keys() != parts[0].keys():
            raise InputError(
                f"{shard}: does not fit {shards[0]}; delete both and run snakemake again to re-make them"
            )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def repeated(fleet: dict[str, np.ndarray], models: int) -> dict[str, np.ndarray]:
    """Return a fleet of copies of one model: what a method that changes nothing yields."""
    return {name: np.repeat(array, models, axis=0) for name, array in fleet.items()}
