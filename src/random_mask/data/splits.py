"""The table of a split: which image is retained, forgotten, kept for validation or for the test."""

from __future__ import annotations

import csv
import io

import numpy as np

from random_mask.errors import InputError

__all__ = ["SPLITS", "read_files", "read_split", "split_as_csv"]


SPLITS = ("retain", "forget", "validation", "test")
"""The disjoint splits of a data set. The training set is retain and forget together."""


def split_as_csv(splits: dict[str, np.ndarray], labels: np.ndarray, files: list[str]) -> str:
    """Return the table of a split: one row an image, with `image`, `label`, `split` and `file`.

    Args:
        splits: the indices of the images of each split.
        labels: int64 [images].
        files: the name of each image in its data set.
    """
    rows = sorted((int(image), split) for split, indices in splits.items() for image in indices)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "label", "split", "file"])
    table.writerows([image, labels[image], split, files[image]] for image, split in rows)
    return text.getvalue()


def read_split(text: str, source: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read the table of a split.

    Args:
        text: what `split_as_csv` returned.
        source: the name of the file, for messages.

    Returns:
        The image indices of each split, ascending, and the labels of the same images.

    Raises:
        InputError: if it is damaged.
    """
    try:
        rows = [
            (row["split"], int(row["image"]), int(row["label"])) for row in csv.DictReader(io.StringIO(text))
        ]
    except (KeyError, TypeError, ValueError):
        rows = []
    if {split for split, _, _ in rows} != set(SPLITS) or len({image for _, image, _ in rows}) < len(rows):
        raise InputError(f"{source}: damaged; delete it and run snakemake again to re-make it")
    columns = {
        split: np.array([row[1:] for row in rows if row[0] == split], dtype=np.int64) for split in SPLITS
    }
    return {p: c[:, 0].copy() for p, c in columns.items()}, {p: c[:, 1].copy() for p, c in columns.items()}


def read_files(text: str) -> dict[int, str]:
    """Return the name of each image in its data set, by its number in the table of a split."""
    return {int(row["image"]): row["file"] for row in csv.DictReader(io.StringIO(text))}
