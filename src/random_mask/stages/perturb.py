"""Draws the masks of a fleet: the first half of unlearning by a random mask."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_text
from random_mask.artifacts.weights import read_weights, write_masks
from random_mask.methods.perturb import draw_masks, parameters
from random_mask.seeds import generator
from random_mask.settings import Perturbation, RandomMask
from random_mask.stages.command import Input, Output, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    steps: list[Perturbation]


def main(
    *, settings: Settings, role: str, first: int, last: int, weights: Input, masks: Output, table: Output
) -> None:
    """Write the masks of the models `first` to `last` for every step, and how many weights they touch."""
    original = read_weights(weights)
    drawn: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for index in range(first, last + 1):
        for step, section in enumerate(settings.steps):
            if isinstance(section, RandomMask):
                drawn[index, step] = draw_masks(
                    original,
                    ratio=section.ratio,
                    ratio_to=section.ratio_to,
                    spare=section.spare,
                    only=section.only,
                    unit=section.unit,
                    rng=generator(
                        settings.seed,
                        role,
                        index if section.drawn == "model" else 0,
                        f"mask/{step}" if step else "mask",
                    ),
                )
    write_masks(masks, drawn, {"seed": str(settings.seed), "role": role})
    rows = [
        {
            "model": index,
            "step": step,
            "tensor": name,
            "weights": original[name].size,
            "masked": int((~found[name]).sum()) if name in found else 0,
        }
        for (index, step), found in drawn.items()
        for name in parameters(original)
    ]
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    write_text(table, "\n".join(lines) + "\n")
    weights_in_all, masked_in_all = (sum(row[key] for row in rows) for key in ("weights", "masked"))
    progress(f"{role}: {masked_in_all / weights_in_all:.1%} of the weights masked")


if __name__ == "__main__":
    run(main)
