"""Of which group, such as a person, each image is, for those who read the images that were prepared."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

import numpy as np

from random_mask.artifacts.files import read_text
from random_mask.data.settings import Data
from random_mask.data.splits import read_files

__all__ = ["group_numbers"]


def group_numbers(data: Data, split_table: Path) -> np.ndarray | None:
    """Return the group of each image as a number, int64 [images], counted in the order of their names.

    Args:
        data: the data set.
        split_table: the table of its split, whose rows are the images.

    Returns:
        None if the data set has no groups.
    """
    files = read_files(read_text(split_table))
    names = [files[image] for image in sorted(files)]
    if data.name == "casia_surf":
        groups = [PurePosixPath(name).parts[-4] for name in names]
    elif data.groups is not None:
        rows = csv.DictReader(io.StringIO(read_text(Path(data.groups), newline=""), newline=""))
        group_of = {row["file"]: row["group"] for row in rows}
        groups = [group_of[name] for name in names]
    else:
        return None
    return np.unique(groups, return_inverse=True)[1]
