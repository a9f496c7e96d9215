"""Divides a data set: what is trained on, what is to be forgotten, what is kept for validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from random_mask.artifacts.files import read_text
from random_mask.data.memorised import most_memorised
from random_mask.data.readers import Dataset
from random_mask.data.settings import (
    ClassForget,
    Data,
    Forget,
    GroupForget,
    ListForget,
    MemorisedForget,
    MislabelledForget,
    RandomForget,
)
from random_mask.errors import InputError, named
from random_mask.seeds import generator

__all__ = ["divide", "duplicates"]


def divide(dataset: Dataset, data: Data, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Divide a data set at random, and choose what is to be forgotten.

    Args:
        dataset: the data set, and which of its images each split may be drawn from.
        data: the sizes of the splits, and the kind of forget set.
        seed: root seed of the experiment.

    Returns:
        The indices of the images of each split, ascending: {split: int64 [images of the split]}, and the
        labels that are trained on [images], which differ from the data set's where images are mislabelled.

    Raises:
        InputError: if there are too few images, or the forget set cannot be drawn.
    """
    order = generator(seed, "data", 0, "split").permutation(len(dataset.labels))
    if len(dataset.classes) < 2:
        raise InputError(
            f"data: all images are of one class, {named(dataset.classes)}; there must be two at least"
        )
    if data.leave_out:
        order = order[~np.isin(order, _listed(dataset, Path(data.leave_out)))]
    drawn: dict[str, np.ndarray] = {}
    for names, pool in dataset.pools.items():
        available = order[pool[order]]
        ends = np.cumsum([getattr(data, name) for name in names])
        if ends[-1] > len(available):
            raise InputError(
                f"data: {' + '.join(names)}: {ends[-1]} images, but there are {len(available)}; lower it"
            )
        drawn |= zip(names, np.split(available, ends), strict=False)  # what is left is not used
    train = drawn["train"]
    forget = _forget(dataset, data.forget, train, generator(seed, "data", 0, "forget"))
    if not 0 < len(forget) < len(train) - 1:
        raise InputError(f"data.forget: {len(forget)} of {len(train)} training images; choose some, not all")
    labels = dataset.labels.copy()
    if isinstance(data.forget, MislabelledForget):
        shift = generator(seed, "data", 0, "labels").integers(1, len(dataset.classes), len(forget))
        labels[forget] = (labels[forget] + shift) % len(dataset.classes)
    if len(np.unique(labels[train])) < 2:
        only = dataset.classes[labels[train[0]]]
        raise InputError(
            f"data.train: {len(train)} images, all of the class {only}; there must be two at least"
        )
    splits = {
        "retain": np.setdiff1d(train, forget),
        "forget": forget,
        "validation": drawn["validation"],
        "test": drawn["test"],
    }
    return {split: np.sort(indices) for split, indices in splits.items()}, labels


def duplicates(pixels: np.ndarray, files: Sequence[str], splits: Mapping[str, np.ndarray]) -> str | None:
    """Return how many images stand pixel by pixel in several splits, and the first of them, or None.

    Args:
        pixels: uint8 [images, 3, height, width].
        files: the name of each image in its data set.
        splits: the indices of the images of each split.
    """
    seen: dict[bytes, dict[str, str]] = {}
    for split, indices in splits.items():
        for image in indices:
            content = hashlib.sha256(pixels[image].tobytes()).digest()
            seen.setdefault(content, {}).setdefault(split, files[image])
    shared = [of for of in seen.values() if len(of) > 1]
    if not shared:
        return None
    listed = [" = ".join(f"{file} ({split})" for split, file in of.items()) for of in shared]
    count = "1 image is" if len(shared) == 1 else f"{len(shared)} images are"
    return f"{count} in several splits, pixel by pixel: {named(listed)}"


def _forget(dataset: Dataset, forget: Forget, train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the indices of the training images that are to be forgotten."""
    match forget:
        case RandomForget() | MislabelledForget():
            return rng.choice(train, size=forget.size, replace=False)
        case ClassForget():
            unknown = [name for name in forget.classes if name not in dataset.classes]
            if unknown:
                raise InputError(
                    f"data.forget.classes: no class {unknown[0]}; there are {', '.join(dataset.classes)}"
                )
            numbers = [dataset.classes.index(name) for name in forget.classes]
            chosen = train[np.isin(dataset.labels[train], numbers)]
            if forget.size and forget.size > len(chosen):
                raise InputError(
                    f"data.forget.size: {forget.size}, but these classes have {len(chosen)} images"
                )
            return rng.choice(chosen, size=forget.size, replace=False) if forget.size else chosen
        case GroupForget():
            groups = np.array(dataset.groups)
            names = np.unique(groups[train])
            unknown = [name for name in forget.groups if name not in names]
            if unknown:
                raise InputError(f"data.forget.groups: no training image is of group {unknown[0]}")
            listed = [*forget.groups, *names[: forget.first or 0]]
            others = np.setdiff1d(names, listed)
            if (forget.random or 0) > len(others):
                raise InputError(f"data.forget.random: {forget.random}, but there are {len(others)} groups")
            drawn = rng.choice(others, size=forget.random or 0, replace=False)
            return train[np.isin(groups[train], [*listed, *drawn])]
        case ListForget():
            return _listed(dataset, Path(forget.file), train)
        case MemorisedForget():
            return most_memorised(dataset, forget, train)


def _listed(dataset: Dataset, path: Path, train: np.ndarray | None = None) -> np.ndarray:
    """Return the images that a file lists, one a line, by number or file: those of `train`, if given."""
    numbers = {name: number for number, name in enumerate(dataset.files)}
    found = []
    known = None if train is None else set(train.tolist())
    for line in read_text(path).split("\n"):
        name = line.strip()
        if not name:
            continue
        number = numbers.get(name, int(name) if name.isdecimal() and len(name) < 19 else -1)
        if not 0 <= number < len(dataset.labels):
            raise InputError(f"{path}: {named([name])}: no image of the data set; remove it")
        if known is not None and number not in known:
            raise InputError(f"{path}: {named([name])}: not a training image; remove it, or raise data.train")
        found.append(number)
    return np.unique(np.array(found, dtype=np.int64))
