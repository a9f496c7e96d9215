"""The command `random-mask`: the project's measures for logits from anywhere.

A subcommand is one function that takes the parsed arguments, prints its result, and raises `InputError`
with one line for the user; `_parser` lists them.
"""

from __future__ import annotations

import argparse
import csv
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from random_mask.errors import InputError
from random_mask.files import replacing
from random_mask.metrics import competition, intervals

FILE_LAYOUT = """\
Each file is a .npz archive of one fleet (numpy.savez), whose arrays are
  confidences      [models, forget examples]   logit-scaled confidences, or instead
  logits           [models, forget examples, classes]   and
  labels           [forget examples]           integers;
  retain_accuracy  [models]                    in [0, 1], optional
  test_accuracy    [models]                    in [0, 1], optional
Without both accuracies in both files only the forgetting quality is printed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 on bad input (2, from argparse, on bad usage)."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"random-mask: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="random-mask", description="Measures of machine unlearning.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "score",
        help="the competition's score of a fleet of unlearned models, with its 95 %% interval",
        description="Print the competition's score of a fleet of unlearned models, with its 95 %% interval.",
        epilog=FILE_LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("unlearned", type=Path, help=".npz of the unlearned fleet")
    command.add_argument("retrained", type=Path, help=".npz of the fleet retrained without the forget set")
    command.add_argument(
        "--per-example", type=Path, metavar="CSV", help="write epsilon and points of each example"
    )
    command.add_argument(
        "--ceiling", type=Path, metavar="NPZ", help="a second retrained fleet, to show what could be reached"
    )
    command.add_argument("--seed", type=_integer(0), default=0, help="of the resampling (default 0)")
    command.add_argument(
        "--replicates", type=_integer(2), default=200, help="resamples for the interval (default 200)"
    )
    command.set_defaults(run=_score)
    return parser


def _integer(lowest: int):
    """Return an argparse type: an integer of at least `lowest`."""

    def parse(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, not {value}")
        return value

    parse.__name__ = "integer"  # argparse names it in its message
    return parse


class _File(NamedTuple):
    fleet: intervals.Fleet
    has_accuracies: bool
    labels: np.ndarray | None


def _score(options: argparse.Namespace) -> None:
    inputs = [options.unlearned, options.retrained, options.ceiling]
    if options.per_example and options.per_example.resolve() in [path.resolve() for path in inputs if path]:
        raise InputError(f"{options.per_example}: is one of the inputs; choose another path for the table")
    oracle = _read_fleet(options.retrained)
    unlearned, result = _judge(options.unlearned, oracle, options)
    ceiling = _judge(options.ceiling, oracle, options) if options.ceiling else None
    if options.per_example:
        _write_examples(options.per_example, unlearned, oracle.fleet)

    n_examples = unlearned.confidences.shape[1]
    print(f"{n_examples} forget examples, {len(oracle.fleet)} retrained models; 95 % intervals in brackets")
    for name, value in result.items():
        _print_line(name.replace("_", " "), value, len(unlearned))
    if "score" not in result:
        print("score               not computed: it needs retain_accuracy and test_accuracy in both files")
    if ceiling:
        for name, value in ceiling[1].items():
            _print_line(f"ceiling of {name.split('_')[-1]}", value, len(ceiling[0]))
            if name in result and value.estimate > 0:
                print(f"{'  share reached':<20}{result[name].estimate / value.estimate:.2f}")


def _print_line(label: str, value: intervals.Interval, n_models: int) -> None:
    print(f"{label:<20}{value.estimate:.4f}  [{value.low:.4f}, {value.high:.4f}]  N = {n_models}")


def _judge(
    path: Path, oracle: _File, options: argparse.Namespace
) -> tuple[intervals.Fleet, dict[str, intervals.Interval]]:
    """Return the file's fleet, and its intervals against the oracle as far as there are accuracies."""
    file, retrained = _read_fleet(path), oracle.fleet
    fleet = file.fleet
    if fleet.confidences.shape[1] != retrained.confidences.shape[1]:
        raise InputError(
            f"{path} holds {fleet.confidences.shape[1]} forget examples but {options.retrained} "
            f"{retrained.confidences.shape[1]}; both need the same examples, in the same order"
        )
    if (
        file.labels is not None
        and oracle.labels is not None
        and not np.array_equal(file.labels, oracle.labels)
    ):
        first = int(np.flatnonzero(file.labels != oracle.labels)[0])
        raise InputError(
            f"{path}: labels[{first}] is {file.labels[first]}, but in {options.retrained} "
            f"{oracle.labels[first]}; both need the same examples, in the same order"
        )
    try:
        result = intervals.score_intervals(fleet, retrained, seed=options.seed, replicates=options.replicates)
    except ValueError as error:
        raise InputError(f"{path} against {options.retrained}: {error}") from None
    if not (file.has_accuracies and oracle.has_accuracies):
        del result["score"]
    return fleet, result


def _read_fleet(path: Path) -> _File:
    """Read the fleet of a file. Accuracies that it lacks are taken as 1."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError):
        # np.load returns a bare array, which is no context manager, for a .npy file.
        raise InputError(
            f"{path}: not a .npz archive of plain arrays; write it with numpy.savez, without object arrays"
        ) from None

    if "confidences" in arrays:
        confidences = arrays["confidences"]
    elif {"logits", "labels"} <= arrays.keys():
        confidences = arrays["logits"]
    else:
        raise InputError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'no array'}; it needs `confidences`, or `logits` "
            "and `labels` (see random-mask score --help)"
        )
    try:
        if "confidences" not in arrays:
            if confidences.ndim != 3:
                raise ValueError(f"logits must be [models, examples, classes], not {confidences.shape}")
            confidences = competition.logit_scaled_confidence(confidences, arrays["labels"])
        ones = np.ones(len(confidences)) if confidences.ndim else 1.0
        fleet = intervals.Fleet(
            confidences, arrays.get("retain_accuracy", ones), arrays.get("test_accuracy", ones)
        )
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return _File(fleet, {"retain_accuracy", "test_accuracy"} <= arrays.keys(), arrays.get("labels"))


def _write_examples(path: Path, unlearned: intervals.Fleet, retrained: intervals.Fleet) -> None:
    epsilons = competition.epsilons(unlearned.confidences, retrained.confidences)
    columns = {
        "example": range(len(epsilons)),
        "epsilon": epsilons.tolist(),
        "points": competition.points(epsilons, len(unlearned)).tolist(),
        "unlearned_median": np.median(unlearned.confidences, axis=0).tolist(),
        "retrained_median": np.median(retrained.confidences, axis=0).tolist(),
    }
    try:
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another path") from None


if __name__ == "__main__":
    sys.exit(main())
