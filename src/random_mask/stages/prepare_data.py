"""Reads a data set and divides it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.data.division import split
from random_mask.data.readers import read
from random_mask.data.splits import split_as_csv
from random_mask.files import write_npz, write_text
from random_mask.settings import Data
from random_mask.stages.command import Output, Source, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    data: Data
    folder: str
    """The state of a folder of images; see `Plan.data_folder`."""


def main(*, settings: Settings, files: list[Source], images: Output, split_table: Output) -> None:
    """Write a data set as one array and the part that each image belongs to.

    `files` are those that the settings name, for the record.
    """
    dataset = read(settings.data)
    parts, labels = split(dataset, settings.data, settings.seed)
    retain = dataset.pixels[parts["retain"]].astype(np.float64)
    # The forget set has no part in the statistics: a retrained model must not know it.
    mean, std = retain.mean(axis=(0, 2, 3)), retain.std(axis=(0, 2, 3))
    used = np.sort(np.concatenate(list(parts.values())))
    write_npz(
        images,
        {
            "pixels": dataset.pixels[used],
            "labels": labels[used],
            "mean": mean.astype(np.float32),
            "std": std.astype(np.float32),
        },
    )
    # From here on an image is known by its place among those that are used.
    places = {part: np.searchsorted(used, indices) for part, indices in parts.items()}
    names = [dataset.files[image] for image in used]
    write_text(split_table, split_as_csv(places, labels[used], names))
    sizes = ", ".join(f"{len(indices)} {part}" for part, indices in parts.items())
    progress(f"{settings.data.name}: {sizes}")


if __name__ == "__main__":
    run(main)
