"""Readers: each returns a data set, whose pixels are decoded on demand."""

from __future__ import annotations

import io
import lzma
import pickle
import random
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import loadmat
from sklearn.datasets import load_digits

from random_mask.artifacts.files import read_text
from random_mask.data import decoding
from random_mask.data.archives import read_verified
from random_mask.data.folders import AGES, listing, packed, unpacked
from random_mask.data.groups import read_groups
from random_mask.data.settings import ARCHIVES, Data
from random_mask.errors import InputError, named

__all__ = ["Dataset", "opened"]


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        pixels: returns those of some images, given their indices: uint8 [images, 3, height, width], 0 to 255.
            Of a folder all images are decoded for it, so that all that are damaged are named, and these kept.
        labels: int64 [images].
        classes: names of the classes, by label.
        files: names of the images, or their numbers where they have none.
        pools: the images that splits are drawn from, {splits: bool [images]}: one pool for all splits of a
            data set that comes undivided, otherwise several, so that no split takes an image of another.
        groups: the group of each image, or None.
        notes: what was left out of a folder, and why.
    """

    pixels: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    classes: list[str]
    files: list[str]
    pools: dict[tuple[str, ...], np.ndarray]
    groups: list[str] | None = None
    notes: list[str] = field(default_factory=list)


class File(NamedTuple):
    """An image that is not decoded yet: its name, and what reads it."""

    name: str
    content: Callable[[], bytes]


@contextmanager
def opened(data: Data) -> Iterator[Dataset]:
    """Give the data set that a configuration names; its pixels can be had as long as it is open.

    Raises:
        InputError: if it is not there, or cannot be read.
    """
    with ExitStack() as files:
        readers: dict[str, Callable[[], Dataset]] = {
            "digits": digits,
            "cifar10": partial(cifar, data),
            "cifar100": partial(cifar, data),
            "svhn": svhn,
            "image_folder": partial(image_folder, data, files),
            "casia_surf": partial(casia_surf, data),
        }
        yield readers[data.name]()


def _divided(test: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    """Return the pools of a data set whose test images (bool [images]) must not be trained on."""
    return {("train", "validation"): ~test, ("test",): test}


def _numbered(images: int) -> list[str]:
    return [str(number) for number in range(images)]


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
    return Dataset(
        pixels=pixels.__getitem__,
        labels=labels.astype(np.int64),
        classes=_numbered(10),
        files=_numbered(len(labels)),
        pools={("train", "validation", "test"): np.ones(len(labels), dtype=bool)},
    )


def cifar(data: Data) -> Dataset:
    """Return CIFAR-10 or CIFAR-100 (fine labels): 50,000 training images, then 10,000 for the test, 32x32.

    Source: A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images. The "Python version":
    batches in a tar archive, each a pickled dictionary of rows of 3,072 bytes and labels.

    Raises:
        InputError: if the archive is missing, or not the official one. It is not unpickled then.
    """
    from torchvision.datasets import CIFAR10, CIFAR100  # takes seconds

    source = {"cifar10": CIFAR10, "cifar100": CIFAR100}[data.name]
    (path,) = ARCHIVES[data.name]
    with tarfile.open(fileobj=io.BytesIO(read_verified(Path(path)))) as archive:
        found = {
            PurePosixPath(member.name).name: pickle.loads(_content(archive, member), encoding="latin1")
            for member in archive
            if PurePosixPath(member.name).name in _members(source)
        }
    train, test = ([found[name] for name, _ in batches] for batches in (source.train_list, source.test_list))
    key = "labels" if data.name == "cifar10" else "fine_labels"
    labels = np.concatenate([np.asarray(batch[key], dtype=np.int64) for batch in [*train, *test]])
    held = np.arange(len(labels)) >= sum(len(batch[key]) for batch in train)
    rows = np.concatenate([batch["data"] for batch in [*train, *test]])
    return Dataset(
        pixels=rows.reshape(-1, 3, 32, 32).__getitem__,
        labels=labels,
        classes=list(found[source.meta["filename"]][source.meta["key"]]),
        files=_numbered(len(labels)),
        pools=_divided(held),
    )


def _members(source: Any) -> set[str]:
    """Return the names of the files that are read of an archive of CIFAR."""
    return {name for name, _ in [*source.train_list, *source.test_list]} | {source.meta["filename"]}


def svhn() -> Dataset:
    """Return the cropped digits of SVHN: 73,257 training images, then 26,032 for the test, 32x32 RGB.

    Source: Y. Netzer et al. (2011), Reading Digits in Natural Images with Unsupervised Feature Learning: two
    MATLAB files with `X`, uint8 [32, 32, 3, images], and `y`, where the digit 0 has the label 10.

    Raises:
        InputError: if a file is missing, or not the official one.
    """
    train, test = (loadmat(io.BytesIO(read_verified(Path(path)))) for path in ARCHIVES["svhn"])
    labels = np.concatenate([train["y"], test["y"]]).ravel().astype(np.int64) % 10
    return Dataset(
        pixels=np.concatenate([train["X"], test["X"]], axis=3).transpose(3, 2, 0, 1).__getitem__,
        labels=labels,
        classes=_numbered(10),
        files=_numbered(len(labels)),
        pools=_divided(np.arange(len(labels)) >= len(train["y"])),
    )


def image_folder(data: Data, open_files: ExitStack) -> Dataset:
    """Return the images of a folder, or of a tar archive: `train/<class>/*` and `test/<class>/*`.

    They are ordered by name, and read as `docs/data.md` says: what of the folder, and how each file.

    Args:
        data: the folder or archive, the size of images, and the table of groups.
        open_files: what closes the archive.

    Raises:
        InputError: if it is missing, names stand twice, or some files cannot be read.
    """
    source = Path(data.path or "")
    if not source.exists():
        raise InputError(f"{source}: no such folder or archive; correct data.path in the configuration")
    if source.is_dir():
        found = unpacked(source)
        files = [File(name, Path(path).read_bytes) for name, path in found.files.items()]
        order: Sequence[int] = range(len(files))
    else:
        archive = open_files.enter_context(_archive(source))
        found, by_path = packed(archive, source)
        members = [by_path[path] for path in found.files.values()]
        contents = [partial(_content, archive, member) for member in members]
        files = [File(name, content) for name, content in zip(found.files, contents, strict=True)]
        # Where an archive is compressed, a step back is a way from its beginning.
        order = sorted(range(len(files)), key=lambda image: members[image].offset_data)
    classes, names = found.classes(), list(found.files)
    numbers = {name: number for number, name in enumerate(classes)}
    return Dataset(
        pixels=partial(_decoded, source, files, order, data.image_size),
        labels=np.array([numbers[PurePosixPath(name).parts[1]] for name in names], dtype=np.int64),
        classes=classes,
        files=names,
        pools=_divided(np.array([name.startswith("test/") for name in names])),
        groups=read_groups(Path(data.groups), names) if data.groups else None,
        notes=found.notes,
    )


@contextmanager
def _archive(source: Path) -> Iterator[tarfile.TarFile]:
    """Open an archive. As long as it is open, what cannot be read of it is explained in one line."""
    try:
        with tarfile.open(source) as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = "" if "\n" in str(error) else f" ({error})"  # of every way to pack it
        remedy = "unpack it, and name the folder in data.path, or pack it as .tar"
        raise InputError(f"{source}: neither a folder nor a whole tar archive{reason}; {remedy}") from None


def casia_surf(data: Data) -> Dataset:
    """Return the faces of CASIA-SURF by age, as the NeurIPS 2023 unlearning competition used them.

    The folder holds `Age_Gender.txt`, with a line `id age gender` for each person, and the colour images of
    real faces, `WBackground/*/<person>/real.rssdk/color/*.jpg`; other files are left out. The classes are ten
    bins of equal width from the lowest age of the table to the highest plus one. 80 % of the images are for
    training, 10 % for validation and 10 % for the test, drawn by `random.Random(43)`, so a person may be in
    several splits; the groups are the persons. The pools are these splits, whatever the seed.

    Sources: S. Zhang et al., arXiv 1812.00408 (the data); the reader in github.com/google-deepmind/
    unlearning_evaluation (order, bins and split). That one forgets the 15 persons who come first, `first: 15`
    here; whether these were the competition's own, and how many images its version of the data had, is not
    known. It resizes by torchvision, we by Pillow, also bilinearly, so that pixels may differ by rounding.

    Raises:
        InputError: if a file is missing or damaged, or a person has no age.
    """
    folder = Path(data.path or "")
    ages = _ages(folder / AGES)
    paths = [Path(path) for name, path in listing(data).files.items() if name != AGES]
    if not paths:
        raise InputError(f"{folder}: holds no images WBackground/*/<person>/real.rssdk/color/*.jpg")
    persons = [path.parts[-4] for path in paths]
    ageless = sorted(set(persons) - ages.keys())
    if ageless:
        raise InputError(f"{folder / AGES}: has no age for {', '.join(ageless)}; add them")
    files = [File(path.relative_to(folder).as_posix(), path.read_bytes) for path in paths]
    edges = np.linspace(min(ages.values()), max(ages.values()) + 1, 11)
    order = list(range(len(files)))
    random.Random(43).shuffle(order)
    belongs = np.empty(len(files), dtype=int)
    for number, images in enumerate(np.split(order, [int(0.8 * len(files)), int(0.9 * len(files))])):
        belongs[images] = number
    return Dataset(
        pixels=partial(_decoded, folder, files, range(len(files)), data.image_size),
        labels=np.digitize([ages[person] for person in persons], edges) - 1,
        classes=_numbered(10),
        files=[file.name for file in files],
        pools={(name,): belongs == number for number, name in enumerate(("train", "validation", "test"))},
        groups=persons,
    )


def _ages(table: Path) -> dict[str, int]:
    ages: dict[str, int] = {}
    for number, line in enumerate(read_text(table).splitlines(), start=1):
        fields = line.split()
        if fields and (len(fields) != 3 or not fields[1].isdecimal() or fields[0] in ages):
            raise InputError(f"{table}: line {number} is no new `id age gender`; correct it")
        if fields:
            ages[fields[0]] = int(fields[1])
    return ages


def _decoded(
    source: Path, files: Sequence[File], order: Sequence[int], size: int, images: np.ndarray
) -> np.ndarray:
    """Return the pixels of some images, uint8 [images, 3, size, size].

    All files are decoded, one at a time in this order.

    Raises:
        InputError: if some are no images; all of these are named.
    """
    pixels = np.empty((len(images), 3, size, size), dtype=np.uint8)
    places, bad = {image: place for place, image in enumerate(images.tolist())}, []
    for image in order:
        name, content = files[image]
        try:
            decoded = decoding.pixels(content(), size)
        except decoding.UnreadableError as error:
            bad.append(named([name]) + (f": {error}" if str(error) else ""))
        else:
            if image in places:
                pixels[places[image]] = decoded
    if bad:
        more = [f"and {len(bad) - 20} more"] if len(bad) > 20 else []
        raise InputError(
            f"{source}: these files are damaged or no images; repair or remove them:\n  "
            + "\n  ".join([*sorted(bad)[:20], *more])
        )
    return pixels


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # what is no folder
    return file.read()
