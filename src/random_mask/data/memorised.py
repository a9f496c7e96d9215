"""Forget sets of what an earlier experiment's original model memorised."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from random_mask.artifacts.files import read_npz, read_text
from random_mask.data.readers import Dataset
from random_mask.data.settings import MemorisedForget
from random_mask.data.splits import read_files, read_split
from random_mask.errors import InputError

__all__ = ["most_memorised"]


def most_memorised(dataset: Dataset, forget: MemorisedForget, train: np.ndarray) -> np.ndarray:
    """Return the most memorised images of an earlier experiment's forget set.

    An image is memorised as far as the original model, which was trained on it, is surer of its label than
    the retrained models, which were not: the logit-scaled confidence of the original minus its mean over the
    oracle fleet. Feldman (arXiv 1906.05271) defines memorisation so, but of the probability, whose
    differences vanish near one. Ties go to the image that comes first.

    Args:
        dataset: the data set, the same as the earlier experiment's.
        forget: how many images, and the evaluation that ranks them.
        train: indices of the training images.

    Returns:
        Their indices in the data set, ascending, int64 [forget.size].

    Raises:
        InputError: if the evaluation is missing, too small, of another data set, or ranks images that are not
            trained on here.
    """
    table, earlier = forget.split_table, str(Path(forget.of).parents[2])
    arrays, text = read_npz(forget.of), read_text(table)
    splits, labels = read_split(text, table)
    if not np.array_equal(arrays.get("image", []), splits["forget"]):
        raise InputError(f"{forget.of} and {table} differ in the forget set; run {earlier} again")
    names = read_files(text)
    places = {name: index for index, name in enumerate(dataset.files)}
    for split in ("retain", "validation", "test"):  # labels of the forget set may be wrong on purpose
        for image, label in zip(splits[split], labels[split], strict=True):
            if names[image] not in places or dataset.labels[places[names[image]]] != label:
                raise InputError(
                    f"{table}: of another data set, which has an image {names[image]} of class {label}; "
                    "correct data.forget.of, or data.name and data.path"
                )
    if forget.size > len(splits["forget"]):
        raise InputError(
            f"data.forget.size: {forget.size}, but the forget set of {earlier} has {len(splits['forget'])} "
            "images; lower it, or forget more there first"
        )
    memorised = arrays["confidences"].mean(axis=0) - arrays["oracle_confidences"].mean(axis=0)
    ranked = splits["forget"][np.argsort(-memorised, kind="stable")]
    chosen = np.array([places[names[image]] for image in ranked[: forget.size]], dtype=np.int64)
    absent = np.setdiff1d(chosen, train)
    if len(absent):
        raise InputError(
            f"data.forget.of: {len(absent)} of the {forget.size} images are not trained on here, such as "
            f"{dataset.files[absent[0]]}; take the seed, train, validation and test of {earlier}"
        )
    return np.sort(chosen)
