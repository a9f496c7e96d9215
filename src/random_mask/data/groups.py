"""Of which group, such as a person, each image is."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from random_mask.artifacts.files import read_text
from random_mask.data.settings import Data
from random_mask.data.splits import read_files
from random_mask.errors import InputError, named

__all__ = ["group_numbers", "read_groups"]


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
        groups = read_groups(Path(data.groups), names)
    else:
        return None
    return np.unique(groups, return_inverse=True)[1]


def read_groups(table: Path, files: Sequence[str]) -> list[str]:
    """Return the group of each image, as a table of groups has it.

    Args:
        table: a CSV table with the columns `file` and `group`.
        files: the names of the images.

    Raises:
        InputError: if a row does not fit, or an image has none.
    """
    rows = csv.reader(io.StringIO(read_text(table, newline=""), newline=""))
    try:
        head = [column.strip() for column in next(rows, [])]
        if any(head.count(column) != 1 for column in ("file", "group")):
            raise InputError(
                f"{table}: not a CSV table with the columns file and group; its first line is "
                f"{named([','.join(head)])}"
            )
        found: dict[str, str] = {}
        for row in filter(None, rows):
            cells = {column: cell.strip() for column, cell in zip(head, row, strict=False)}
            name, group = cells.get("file"), cells.get("group")
            if len(row) != len(head) or not name or not group or name in found:
                what = "stands twice" if name in found else f"does not fit {','.join(head)}"
                raise InputError(
                    f"{table}: line {rows.line_num}: {named([','.join(row)])} {what}; correct it"
                )
            found[name] = group
    except csv.Error as error:
        raise InputError(
            f"{table}: line {rows.line_num}: {error}; make it a CSV table of file and group"
        ) from None
    missing = [name for name in files if name not in found]
    if missing:
        raise InputError(
            f"{table}: has no group for {named(missing[:1])} and {len(missing) - 1} other images; add them"
        )
    return [found[name] for name in files]
