"""Fleets of models from anywhere, one `.npz` file each, for the competition's score."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from random_mask.errors import InputError
from random_mask.metrics.competition import logit_scaled_confidence
from random_mask.metrics.intervals import Fleet, Interval, score_intervals

__all__ = ["FleetFile", "read", "scores", "suspicions"]


@dataclass(frozen=True, eq=False)
class FleetFile:
    """What a file holds.

    Attributes:
        path: the file.
        fleet: its models; accuracies that it lacks are taken as 1.
        has_accuracies: whether it has those on retain and test.
        labels: [forget examples], or None where it holds confidences without them.
        looks_like: what its values seem to be, if not what they should be.
    """

    path: Path
    fleet: Fleet
    has_accuracies: bool
    labels: np.ndarray | None
    looks_like: str | None = None


def read(path: Path, precision: Literal["float64", "float32"] = "float64") -> FleetFile:
    """Read a fleet: `confidences`, or `logits` and `labels`; `retain_accuracy` and `test_accuracy` if there.

    Args:
        path: the file.
        precision: of the exponentials that make confidences of logits, see `logit_scaled_confidence`.

    Raises:
        InputError: if the file is missing, is no such archive, or holds what cannot be.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [name.removesuffix(".npy") for name in archive.zip.namelist()]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(f"{path}: holds {twice[0]} twice; write it with numpy.savez")
            arrays = {name: archive[name] for name in archive.files}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except Exception:  # whatever stumbles over a stranger's file
        # np.load returns a bare array, which is no context manager, for a .npy file.
        raise InputError(
            f"{path}: not a .npz archive of plain arrays; write it with numpy.savez, without object arrays"
        ) from None
    if "confidences" not in arrays and not {"logits", "labels"} <= arrays.keys():
        names = sorted(arrays)
        held = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise InputError(
            f"{path}: holds {held or 'no array'}; it needs `confidences`, or `logits` "
            "and `labels` (see random-mask score --help)"
        )
    if precision != "float64" and "confidences" in arrays:
        raise InputError(
            f"{path}: holds confidences, which are made already; --precision needs logits and labels"
        )
    try:
        for name in KINDS.keys() & arrays.keys():
            _check_kind(name, arrays[name])
        given = "confidences" if "confidences" in arrays else "logits"
        confidences = arrays[given]
        looks = _looks_like(given, confidences)
        if given == "logits":
            if confidences.ndim != 3:
                raise ValueError(f"logits must be [models, examples, classes], not {confidences.shape}")
            confidences = logit_scaled_confidence(confidences, arrays["labels"], precision=precision)
        ones = np.ones(len(confidences)) if confidences.ndim else np.ones(())
        accuracies = [arrays.get(name, ones) for name in ("retain_accuracy", "test_accuracy")]
        fleet = Fleet(confidences, *accuracies)
        labels = arrays.get("labels")
        if labels is not None and labels.shape != confidences.shape[1:]:
            raise ValueError(
                f"labels must be [{confidences.shape[1]}], one for each example, not {labels.shape}"
            )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return FleetFile(path, fleet, {"retain_accuracy", "test_accuracy"} <= arrays.keys(), labels, looks)


KINDS = {
    "confidences": "fiu",
    "logits": "fiu",
    "labels": "iu",
    "retain_accuracy": "fiu",
    "test_accuracy": "fiu",
}
"""The kinds of numbers of each array, by the letters of NumPy: floating-point, integer, unsigned."""


def _check_kind(name: str, array: object) -> None:
    """Refuse what is no array of plain numbers.

    Raises:
        ValueError: with what it is.
    """
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is no NumPy array; write the file with numpy.savez")
    if array.dtype.kind in KINDS[name]:
        return
    if array.dtype.kind == "V" and not array.dtype.names:
        guess = {1: " (float8?)", 2: " (bfloat16?)"}.get(array.dtype.itemsize, "")
        kind, remedy = f"{array.dtype}{guess}, which NumPy lacks", "; save it as float32"
    else:
        kind, remedy = str(array.dtype), ""
    raise ValueError(
        f"{name} must be {'integers' if name == 'labels' else 'real numbers'}, not {kind}{remedy}"
    )


def _looks_like(name: str, values: np.ndarray) -> str | None:
    """Say that logits, or logit-scaled confidences, look like probabilities or logarithms, if they do."""
    if not values.size:
        return None
    if name == "confidences" and values.max() <= 0 and np.isfinite(values).all():
        return "confidences look like logarithms of probabilities"
    if values.min() < 0:
        return None
    if name == "confidences" and 50 < values.max() <= 100:
        return "confidences look like probabilities in percent"
    sums = values.sum(axis=-1, dtype=np.float64)
    in_percent = name == "logits" and np.ptp(sums) <= SAME * sums.max()
    return f"{name} look like probabilities" if values.max() <= 1 or in_percent else None


SAME = 0.01
"""How far sums of probabilities may be apart, by rounding to half precision."""


def suspicions(fleets: Sequence[FleetFile]) -> list[str]:
    """Return what makes a score of these fleets doubtful, a line each.

    Args:
        fleets: those that are scored and those that they are scored against; all should be different.
    """
    found = [
        f"{file.path}: {file.looks_like}; the score takes logits, or confidences log p - log(1 - p)"
        for file in fleets
        if file.looks_like
    ]
    for file in fleets:
        repeated = len(file.fleet) - len({model.tobytes() for model in file.fleet.confidences})
        if repeated:
            found.append(
                f"{file.path}: {repeated} models stand there more than once; each should be a run of its own"
            )
    for one, other in itertools.combinations(fleets, 2):
        shared = _in_common(one.fleet.confidences, other.fleet.confidences)
        if shared:
            found.append(
                f"{one.path} and {other.path} have {shared} models in common; fleets should have none"
            )
    return found


ALIKE = 1e-3
"""How far a model may be from another to be the same, rounded: root mean square, in standard deviations."""


def _in_common(one: np.ndarray, other: np.ndarray) -> int:
    """Return how many models of `other` are in `one`, up to rounding; both are [models, examples]."""
    if one.shape[1:] != other.shape[1:]:
        return 0
    center = np.concatenate([one, other]).mean(axis=0)
    a, b = one - center, other - center
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    scale = ((a**2).sum() + (b**2).sum()) / (len(a) + len(b))
    return int((squares <= ALIKE**2 * scale).any(axis=0).sum()) if scale else len(b)


def scores(unlearned: FleetFile, retrained: FleetFile, *, seed: int, replicates: int) -> dict[str, Interval]:
    """Return the 95 % intervals of "forgetting_quality" and, where both have accuracies, "score".

    Arguments are those of `random_mask.metrics.intervals.score_intervals`.

    Raises:
        InputError: if the fleets cannot be compared.
    """
    n_examples, n_retrained = (file.fleet.confidences.shape[1] for file in (unlearned, retrained))
    same = "both need the same examples, in the same order"
    if n_examples != n_retrained:
        raise InputError(
            f"{unlearned.path} holds {n_examples} forget examples but {retrained.path} {n_retrained}; {same}"
        )
    if unlearned.labels is not None and retrained.labels is not None:
        for number, (ours, theirs) in enumerate(zip(unlearned.labels, retrained.labels, strict=True)):
            if ours != theirs:
                raise InputError(
                    f"{unlearned.path}: labels[{number}] is {ours}, but in {retrained.path} {theirs}; {same}"
                )
    try:
        found = score_intervals(unlearned.fleet, retrained.fleet, seed=seed, replicates=replicates)
    except ValueError as error:
        raise InputError(f"{unlearned.path} against {retrained.path}: {error}") from None
    if not (unlearned.has_accuracies and retrained.has_accuracies):
        del found["score"]
    return found
