"""Reads a data set and divides it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_npz, write_text
from random_mask.data.division import divide, duplicates
from random_mask.data.readers import opened
from random_mask.data.settings import Data, check_last_batch
from random_mask.data.splits import split_as_csv
from random_mask.errors import InputError
from random_mask.stages.command import Output, Source, progress, run

AS_THEY_ARE = np.zeros(3), np.ones(3)


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    data: Data
    state: str
    """The content of what is read; see `Plan.data_state`."""
    batches: list[tuple[str, Literal["train", "retain", "forget", "validation"], int | None]] = []
    """What passes over which split in batches of which size, if the sizes of splits are known here first."""


def main(
    *, settings: Settings, files: list[Source], images: Output, split_table: Output
) -> dict[str, list[str]]:
    """Write a data set as one array and the split that each image belongs to.

    `files` are those that the settings name, for the record. Returned are warnings.
    """
    with opened(settings.data) as dataset:
        splits, labels = divide(dataset, settings.data, settings.seed)
        sizes = {split: len(indices) for split, indices in splits.items()}
        sizes["train"] = sizes["retain"] + sizes["forget"]
        for key, split, batch in settings.batches:
            check_last_batch(key, sizes[split], batch)
        used = np.sort(np.concatenate(list(splits.values())))
        pixels = dataset.pixels(used)
    # From here on an image is known by its place among those that are used.
    places = {split: np.searchsorted(used, indices) for split, indices in splits.items()}
    names = [dataset.files[image] for image in used]
    shared = duplicates(pixels, names, places)
    if shared and settings.data.duplicates == "error":
        raise InputError(f"data: {shared}; remove these, or set data.duplicates to warn")
    warnings = [*dataset.notes, *([shared] if shared else [])]
    for warning in warnings:
        progress(f"warning: {warning}")
    # The forget set has no part in the statistics: a retrained model must not know it.
    mean, std = statistics(pixels, places["retain"]) if settings.data.normalise else AS_THEY_ARE
    write_npz(
        images,
        {
            "pixels": pixels,
            "labels": labels[used],
            "mean": mean.astype(np.float32),
            "std": std.astype(np.float32),
        },
    )
    write_text(split_table, split_as_csv(places, labels[used], names))
    told = ", ".join(f"{len(indices)} {split}" for split, indices in splits.items())
    progress(f"{settings.data.name}: {told}, of {len(dataset.labels)} images")
    return {"warnings": warnings}


def statistics(pixels: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each channel of some images.

    Values are counted image by image, since all images of a large data set would not fit into memory twice.

    Args:
        pixels: uint8 [all images, 3, height, width].
        images: the indices of those that count.
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for image in images:
        counts += [np.bincount(channel.ravel(), minlength=256) for channel in pixels[image]]
    values, shares = np.arange(256), counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    return mean, np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))


if __name__ == "__main__":
    run(main)
