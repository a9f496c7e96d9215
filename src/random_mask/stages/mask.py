"""Draws the masks of a fleet: the first half of unlearning by a random mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_text
from random_mask.artifacts.weights import read_weights, write_masks
from random_mask.methods.perturbation import parameters
from random_mask.methods.random_mask import RandomMask, draw_masks
from random_mask.seeds import generator
from random_mask.stages.command import Input, Output, progress, run
from random_mask.training.networks import NETWORKS


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    network: str
    steps: list[dict[str, Any] | None]
    """How the masks of each step are drawn, none for a step without."""


def main(
    *, settings: Settings, role: str, first: int, last: int, weights: Input, masks: Output, table: Output
) -> None:
    """Write the masks of the models `first` to `last` for every step, and how many weights they touch."""
    original = read_weights(weights)
    drawn: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for index in range(first, last + 1):
        for step, content in enumerate(settings.steps):
            if content is not None:
                section = RandomMask.model_validate(content)
                model = index if section.per == "model" else 0
                rng = generator(settings.seed, role, model, f"mask/{step}" if step else "mask")
                drawn[index, step] = draw_masks(original, section, rng, NETWORKS[settings.network])
    write_masks(masks, drawn, {"seed": str(settings.seed), "role": role})
    rows = [
        (index, step, name, original[name].size, int((~found[name]).sum()) if name in found else 0)
        for (index, step), found in drawn.items()
        for name in parameters(original)
    ]
    lines = ["model,step,tensor,weights,masked", *(",".join(map(str, row)) for row in rows)]
    write_text(table, "\n".join(lines) + "\n")
    weights_in_all, masked_in_all = (sum(column) for column in list(zip(*rows, strict=True))[3:])
    progress(f"{role}: {masked_in_all / weights_in_all:.1%} of the weights masked")


if __name__ == "__main__":
    run(main)
