"""Draws the perturbations of the original weights: the first step of unlearning."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.files import write_text
from random_mask.perturb import draw_masks, parameters
from random_mask.seeds import generator
from random_mask.settings import NoPerturbation, RandomMask
from random_mask.stages.command import Input, Output, progress, run
from random_mask.weights import read_weights, write_masks


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    perturb: RandomMask | NoPerturbation


def main(
    *, settings: Settings, role: str, first: int, last: int, weights: Input, masks: Output, table: Output
) -> None:
    """Write the masks of the models `first` to `last`, and how many weights of each tensor they zero.

    Without a perturbation the masks are empty.
    """
    original = read_weights(weights)
    drawn: dict[int, dict[str, np.ndarray]] = {}
    for index in range(first, last + 1):
        rng = generator(settings.seed, role, index, "mask")
        drawn[index] = {}
        if isinstance(settings.perturb, RandomMask):
            drawn[index] = draw_masks(
                original, ratio=settings.perturb.ratio, spare=settings.perturb.spare, rng=rng
            )
    metadata = {"seed": str(settings.seed), "role": role, "perturb": settings.perturb.model_dump_json()}
    write_masks(masks, drawn, metadata)
    rows = [
        {
            "model": index,
            "tensor": name,
            "weights": original[name].size,
            "masked": int((~drawn[index][name]).sum()) if name in drawn[index] else 0,
        }
        for index in range(first, last + 1)
        for name in parameters(original)
    ]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    write_text(table, "\n".join(lines) + "\n")
    weights_in_all, masked_in_all = (sum(row[key] for row in rows) for key in ("weights", "masked"))
    progress(f"{role}: {masked_in_all / weights_in_all:.1%} of the weights masked")


if __name__ == "__main__":
    run(main)
