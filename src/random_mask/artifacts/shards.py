"""Fleets as they are stored: the logits of N models in shards, and beside each shard what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from random_mask.artifacts.files import read_npz, read_text, write_text
from random_mask.errors import InputError
from random_mask.training.cost import Speed, Work

__all__ = ["read_fleet", "read_speed", "read_works", "write_works"]


def read_fleet(shards: Sequence[Path]) -> dict[str, np.ndarray]:
    """Read the shards of a fleet and put its models one after the other.

    Returns:
        The arrays that `random_mask.training.evaluation.summarise` keeps, each with a leading models axis.

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


def write_works(path: Path, works: Sequence[Work], **more: int) -> None:
    """Write the work of training each model of a shard, and `more`."""
    write_text(path, json.dumps({"work": [work.as_dict() for work in works], **more}, indent=2) + "\n")


def read_works(path: Path) -> list[Work]:
    """Read the work of training each model of a shard."""
    return [Work(**work) for work in json.loads(read_text(path))["work"]]


def read_speed(path: Path) -> Speed:
    """Read the speed of one core, which `benchmarks/speed.py` measured."""
    return Speed(**json.loads(read_text(path))["speed"])
