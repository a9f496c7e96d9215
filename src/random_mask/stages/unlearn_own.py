"""Unlearns by a function of a person's own file."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_npz
from random_mask.artifacts.shards import write_works
from random_mask.artifacts.weights import read_weights
from random_mask.data.groups import group_numbers
from random_mask.data.settings import Data
from random_mask.methods.own.samples import Batches
from random_mask.methods.own.unlearning import unlearn
from random_mask.stages.command import Input, Output, Source, progress, run
from random_mask.stages.fleet import prepare
from random_mask.training.networks import NETWORKS


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    network: str
    function: str
    arguments: dict[str, Any]
    batches: Batches
    data: Data
    """Where groups of images are told from, if there are any."""


def main(
    *,
    settings: Settings,
    role: str,
    first: int,
    last: int,
    images: Input,
    split_table: Input,
    weights: Input,
    files: list[Source],
    output: Output,
    cost: Output,
) -> dict[str, str | int | list[str]]:
    """Unlearn the models `first` to `last` of a fleet, one after the other; write their logits.

    `files` are those that the function consists of, and a table of groups, for the record. Returned are
    warnings, too.
    """
    data, splits, computed = prepare(images, split_table, "fp32")
    groups = group_numbers(settings.data, split_table)
    original = read_weights(weights)
    found = []
    for model in range(first, last + 1):
        progress(f"model {model} ({model - first + 1} of {last - first + 1} in this job)")
        found.append(
            unlearn(
                settings.function,
                model,
                data,
                splits,
                role=role,
                seed=settings.seed,
                network=NETWORKS[settings.network],
                original=original,
                arguments=settings.arguments,
                batches=settings.batches,
                more={} if groups is None else {"person_id": groups},
            )
        )
    each = [arrays for arrays, _, _ in found]
    write_npz(output, {name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]})
    write_works(cost, [work for _, work, _ in found])
    warnings = []
    if not any(changed for _, _, changed in found):
        warnings.append(f"{settings.function}: changed no weight of the network, and returned no other")
        progress(f"warning: {warnings[0]}")
    return {**computed, "models_at_once": 1, "warnings": warnings}


if __name__ == "__main__":
    run(main)
