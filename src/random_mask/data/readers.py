"""Readers: each returns a whole data set."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError
from sklearn.datasets import load_digits

from random_mask.errors import InputError
from random_mask.settings import Data

__all__ = ["Dataset", "read"]


@dataclass(frozen=True)
class Dataset:
    """A data set as arrays.

    Attributes:
        pixels: uint8 [images, 3, height, width], 0 to 255.
        labels: int64 [images].
        classes: names of the classes, by label.
        files: names of the images, or their numbers where they have none.
        held_out: bool [images], true for images that must not be trained on; None if all may be.
        groups: the group of each image, or None.
    """

    pixels: np.ndarray
    labels: np.ndarray
    classes: list[str]
    files: list[str]
    held_out: np.ndarray | None = None
    groups: list[str] | None = None


def read(data: Data) -> Dataset:
    """Read the data set that a configuration names.

    Raises:
        InputError: if it is not there, or some of its files are no images; all of these are named.
    """
    return {"digits": lambda data: digits(), "image_folder": image_folder}[data.name](data)


def digits() -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits, which travel with the library, as 32x32 RGB images.

    They are resized bilinearly, the three channels alike.

    Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository: the 8x8 images of its test set, with 17 grey levels.
    """
    grey, labels = load_digits(return_X_y=True)
    small = np.rint(grey.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    large = [
        np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)) for image in small
    ]
    pixels = np.repeat(np.stack(large)[:, None], 3, axis=1)
    numbers = [str(number) for number in range(len(labels))]
    return Dataset(pixels, labels.astype(np.int64), [str(label) for label in range(10)], numbers)


def image_folder(data: Data) -> Dataset:
    """Return the images of a folder, or of a tar archive: `train/<class>/*` and `test/<class>/*`.

    They are ordered by name, made RGB and resized bilinearly to the configured size if they have another.
    Hidden files are left out.
    """
    source = Path(data.path)
    if not source.exists():
        raise InputError(f"{source}: no such folder or archive; correct data.path in the configuration")
    files, pixels, bad = [], [], []
    for name, content in _contents(source):
        try:
            with Image.open(io.BytesIO(content)) as image:
                pixels.append(_resized(image, data.image_size))
            files.append(name)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            bad.append(name)
    if bad:
        more = [f"and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise InputError(
            f"{source}: these files are damaged or no images; mend or remove them:\n  "
            + "\n  ".join([*sorted(bad)[:20], *more])
        )
    if not files:
        raise InputError(f"{source}: holds no images in train/<class>/ and test/<class>/")
    order = np.argsort(files, kind="stable")
    files = [files[i] for i in order]
    classes = sorted({PurePosixPath(name).parts[1] for name in files})
    numbers = {name: number for number, name in enumerate(classes)}
    return Dataset(
        pixels=np.stack([pixels[i] for i in order]),
        labels=np.array([numbers[PurePosixPath(name).parts[1]] for name in files], dtype=np.int64),
        classes=classes,
        files=files,
        held_out=np.array([name.startswith("test/") for name in files]),
        groups=_groups(Path(data.groups), files) if data.groups else None,
    )


def _resized(image: Image.Image, size: int) -> np.ndarray:
    image = image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def _contents(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name, from `train` or `test` on, and content of each file of a folder or archive."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            name = _name(path.relative_to(source).as_posix())
            if name and path.is_file():
                yield name, path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                name = _name(member.name)
                if name and member.isfile():
                    yield name, archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{source}: neither a folder nor a whole tar archive ({error})") from None


def _name(path: str) -> str | None:
    parts = PurePosixPath(path).parts
    for at, part in enumerate(parts):
        if part in ("train", "test") and len(parts) == at + 3 and not parts[-1].startswith("."):
            return "/".join(parts[at:])
    return None


def _groups(table: Path, files: list[str]) -> list[str]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            found = {row["file"]: row["group"] for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise InputError(f"{table}: no such table; correct data.groups in the configuration") from None
    except (KeyError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{table}: not a CSV table with the columns file and group") from None
    missing = [name for name in files if name not in found]
    if missing:
        raise InputError(
            f"{table}: has no group for {missing[0]} and {len(missing) - 1} other images; add them"
        )
    return [found[name] for name in files]
