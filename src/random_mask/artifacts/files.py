"""Reading and writing artifacts: whole or not at all, and never by pickle."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from random_mask.errors import InputError

__all__ = ["atomic_write", "read_npz", "read_text", "write_npz", "write_text"]


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends well, and vanishes otherwise.

    Raises:
        OSError: with the name of `path`, if it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, since writers such as savefig choose the format by it.
    start, end = f".{path.stem}.", f".tmp{path.suffix}"
    for other in path.parent.iterdir():
        if other.name.startswith(start) and other.name.endswith(end):  # of an attempt that was killed
            other.unlink(missing_ok=True)
    temporary = path.with_name(f"{start}{os.getpid()}{end}")
    try:
        yield temporary
        # On the disk before it takes the name, so that a power cut finds it whole.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:  # such as a full disk: say which file could not be written
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text file in one step."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path | str, newline: str | None = None) -> str:
    """Read a text file, in UTF-8, with or without a byte-order mark.

    Args:
        path: the file.
        newline: as for `open`; "" leaves the ends of lines as they are.

    Raises:
        InputError: if the file is missing, cannot be read, or is not text.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline=newline) as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: damaged, or not UTF-8; save it as UTF-8, or delete it and run snakemake again, if that "
            "made it"
        ) from None


def write_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays. The same arrays give the same bytes.

    Raises:
        ValueError: if one holds Python objects, which would have to be pickled.
    """
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_npz(path: Path | str) -> dict[str, np.ndarray]:
    """Read named arrays.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:
        raise InputError(
            f"{path}: damaged ({error}); delete it and run snakemake again to re-make it"
        ) from None
