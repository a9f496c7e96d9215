"""Reads a data set and divides it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.data.readers import READERS
from random_mask.data.splits import split, split_as_csv
from random_mask.files import write_npz, write_text
from random_mask.settings import Data
from random_mask.stages.command import Output, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    data: Data


def main(*, settings: Settings, images: Output, split_table: Output) -> None:
    """Write a data set as one array and the part that each image belongs to."""
    pixels, labels = READERS[settings.data.name]()
    parts = split(len(labels), settings.data, settings.seed)
    retain = pixels[parts["retain"]].astype(np.float64)
    # The forget set has no part in the statistics: a retrained model must not know it.
    mean, std = retain.mean(axis=(0, 2, 3)), retain.std(axis=(0, 2, 3))
    write_npz(
        images,
        {"pixels": pixels, "labels": labels, "mean": mean.astype(np.float32), "std": std.astype(np.float32)},
    )
    write_text(split_table, split_as_csv(parts, labels))
    sizes = ", ".join(f"{len(indices)} {part}" for part, indices in parts.items())
    progress(f"{settings.data.name}: {sizes}")


if __name__ == "__main__":
    run(main)
