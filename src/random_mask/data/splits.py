"""Splits: which image is retained, forgotten, kept for validation or for the test."""

from __future__ import annotations

import csv
import io

import numpy as np

from random_mask.errors import InputError
from random_mask.seeds import generator
from random_mask.settings import Data

__all__ = ["PARTS", "read_split", "split", "split_as_csv"]

PARTS = ("retain", "forget", "validation", "test")
"""The disjoint parts of a data set. The training set is retain and forget together."""


def split(images: int, data: Data, seed: int) -> dict[str, np.ndarray]:
    """Divide a data set at random.

    Args:
        images: number of images in the data set.
        data: the sizes of the parts.
        seed: root seed of the experiment.

    Returns:
        The indices of the images of each part, ascending: {part: int64 [images of the part]}.
    """
    order = generator(seed, "data", 0, "split").permutation(images)
    ends = np.cumsum([data.train, data.validation, data.test])
    train, validation, test, _ = np.split(order, ends)
    forget = generator(seed, "data", 0, "forget").choice(train, size=data.forget.size, replace=False)
    parts = {
        "retain": np.setdiff1d(train, forget),
        "forget": forget,
        "validation": validation,
        "test": test,
    }
    return {part: np.sort(indices) for part, indices in parts.items()}


def split_as_csv(parts: dict[str, np.ndarray], labels: np.ndarray) -> str:
    """Return the table of a split: one row an image that is used, with `image`, `label` and `part`."""
    rows = sorted((int(image), part) for part, indices in parts.items() for image in indices)
    return "image,label,part\n" + "".join(f"{image},{labels[image]},{part}\n" for image, part in rows)


def read_split(text: str, source: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read the table of a split.

    Args:
        text: what `split_as_csv` returned.
        source: the name of the file, for messages.

    Returns:
        The image indices of each part, ascending, and the labels of the same images.

    Raises:
        InputError: if it is damaged.
    """
    try:
        rows = [
            (row["part"], int(row["image"]), int(row["label"])) for row in csv.DictReader(io.StringIO(text))
        ]
    except (KeyError, TypeError, ValueError):
        rows = []
    if {part for part, _, _ in rows} != set(PARTS) or len({image for _, image, _ in rows}) < len(rows):
        raise InputError(f"{source}: damaged; delete it and run snakemake again to re-make it")
    columns = {part: np.array([row[1:] for row in rows if row[0] == part], dtype=np.int64) for part in PARTS}
    return {p: c[:, 0].copy() for p, c in columns.items()}, {p: c[:, 1].copy() for p, c in columns.items()}
