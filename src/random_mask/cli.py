"""The command `random-mask`: measures for logits from anywhere; scores, agreement and cost of runs.

A subcommand is one function that takes the parsed arguments, prints its result, returns the exit code, and
raises `InputError` with one line for the user; `_parser` lists them.
"""

from __future__ import annotations

import argparse
import csv
import filecmp
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from random_mask.artifacts import provenance as collected
from random_mask.artifacts.files import replacing
from random_mask.errors import InputError
from random_mask.metrics import competition, intervals

FILE_LAYOUT = """\
Each file is a .npz archive of one fleet (numpy.savez), whose arrays are
  confidences      [models, forget examples]   logit-scaled confidences, or instead
  logits           [models, forget examples, classes]   and
  labels           [forget examples]           integers;
  retain_accuracy  [models]                    in [0, 1], optional
  test_accuracy    [models]                    in [0, 1], optional
Without both accuracies in both files only the forgetting quality is printed."""

AGREEMENT = """\
Two scores agree if 0 lies in the interval of their difference, which follows from both intervals. It is meant
for independent runs: runs that share their seed agree more often than the 95 % say.

exit codes: 0 no verdict changed, 3 a verdict changed, 1 bad input, 2 bad usage. Scores that do not agree are
reported, and leave the exit code alone: by chance alone about one in twenty does not."""

VERDICT_CHANGED = NOT_AS_RECORDED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    It is 0, 1 on bad input, 3 where `compare` finds a changed verdict or `check` a changed file (2, from
    argparse, on bad usage).
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except InputError as error:
        print(f"random-mask: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="random-mask", description="Measures of machine unlearning.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "score",
        help="the competition's score of a fleet of unlearned models, with its 95 %% interval",
        description="Print the competition's score of a fleet of unlearned models, with its 95 % interval.",
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

    command = commands.add_parser(
        "compare",
        help="whether the results of two runs agree",
        description="Print whether the scores and the verdicts of two runs of an experiment agree.",
        epilog=AGREEMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("a", type=Path, metavar="A", help="folder of results, such as results/digits")
    command.add_argument(
        "b", type=Path, metavar="B", help="another, or the folder that holds one named like A"
    )
    command.set_defaults(run=_compare)
    command = commands.add_parser(
        "summary",
        help="the scores of a run, with their 95 %% intervals and their share of the ceiling",
        description="Print the scores of a run, with their 95 % intervals and their share of the ceiling.",
    )
    command.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("results/digits"),
        help="folder of results (default: %(default)s)",
    )
    command.set_defaults(run=_summary)
    command = commands.add_parser(
        "check",
        help="whether the files of a run are what the workflow wrote, and the code here made them",
        description="Check every file of a run against the record of its making, and the code as well. "
        "Exits with 0 if all is as recorded, with 3 if not.",
    )
    command.add_argument("folder", type=Path, help="folder of results, such as results/digits")
    command.set_defaults(run=_check)
    command = commands.add_parser(
        "keep",
        help="keep what the paper needs of a run in reference/",
        description="Copy what figures, tables and verdicts need of a run, a few small files, so that they "
        "can be made again without training (`snakemake --cores 2 reference_paper`) and be compared with.",
    )
    command.add_argument("folder", type=Path, help="folder of a complete run, such as results/digits")
    command.add_argument(
        "--into", type=Path, default=Path("reference"), help="where to keep it (default: reference)"
    )
    command.set_defaults(run=_keep)
    command = commands.add_parser(
        "estimate",
        help="what an experiment will cost: core hours, wall time, disk and memory",
        description="Print what an experiment costs if nothing of it is there yet: from its configuration "
        "and a calibration of this machine on all cores, which takes about half a minute.",
    )
    command.add_argument(
        "--configfile", type=Path, required=True, metavar="FILE", help="such as config/digits.yaml"
    )
    command.add_argument(
        "--cores", type=_integer(1), metavar="N", help="that will run it (default: those of this machine)"
    )
    command.add_argument("--seconds", type=float, default=6, help="how long training is measured (default 6)")
    command.set_defaults(run=_estimate)
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


def _score(options: argparse.Namespace) -> int:
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
    return 0


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
        names = sorted(arrays)
        held = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise InputError(
            f"{path}: holds {held or 'no array'}; it needs `confidences`, or `logits` "
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


def _compare(options: argparse.Namespace) -> int:
    from random_mask.report import agreement  # needs pandas, which `score` does without

    folders = [options.a, _folder_like(options.a, options.b)]
    runs = []
    for folder in folders:
        scores = _read_table(folder / "scores.csv", agreement.parse_scores)
        comparisons = _read_table(folder / "comparisons.csv", agreement.parse_comparisons)
        runs.append(agreement.Run(scores, agreement.pair_verdicts(comparisons)))
    claims = [folder / "claims.csv" for folder in folders]
    if all(path.exists() for path in claims):
        for run, path in zip(runs, claims, strict=True):
            run.verdicts.update(agreement.claim_verdicts(_read_table(path, agreement.parse_claims)))
    try:
        found = agreement.compare(*runs)
    except ValueError as error:
        raise InputError(f"{folders[0]}, {folders[1]}: {error}; give two runs of one experiment") from None

    print(f"A: {folders[0]}\nB: {folders[1]}")
    if filecmp.cmp(folders[0] / "scores.csv", folders[1] / "scores.csv", shallow=False):
        print("scores.csv is the same in both, byte for byte")
    n_a, n_b = (", ".join(map(str, sorted(set(found.scores[side])))) for side in ("n_a", "n_b"))
    if (found.scores["n_a"] != found.scores["n_b"]).any():
        print(f"N differs: {n_a} models in A, {n_b} in B; scores depend on N and need not agree")
    for side, names in (("A", found.only_in_a), ("B", found.only_in_b)):
        if names:
            print(f"only in {side}: {'; '.join(names)}")
    rows = [
        (
            *(method, str(original)),
            f"{row.a:.4f} [{row.a_low:.4f}, {row.a_high:.4f}]",
            f"{row.b:.4f} [{row.b_low:.4f}, {row.b_high:.4f}]",
            f"{row.difference:+.4f} [{row.difference_low:+.4f}, {row.difference_high:+.4f}]",
            "agrees" if row.agrees else "DIFFERS",
        )
        for (method, original), row in zip(found.scores.index, found.scores.itertuples(), strict=True)
    ]
    _print_columns([("score, 95 % interval", "original", "A", "B", "A - B", ""), *rows])
    qualities = found.forgetting_quality["agrees"]
    print(f"forgetting quality: {qualities.sum()} of {len(qualities)} agree")
    print(f"accuracies: they differ by {found.accuracy_difference:.4f} at most")
    verdicts = [(v.subject, v.a, v.b, "CHANGED" if v.changed else "same") for v in found.verdicts]
    _print_columns([("verdict on", "A", "B", ""), *verdicts])
    n_agree, n_changed = found.scores["agrees"].sum(), sum(verdict.changed for verdict in found.verdicts)
    print(
        f"{n_agree} of {len(rows)} scores agree (about 5 % of honest repetitions do not, by chance); "
        f"{n_changed} of {len(verdicts)} verdicts changed"
    )
    return VERDICT_CHANGED if n_changed else 0


def _summary(options: argparse.Namespace) -> int:
    # What these import takes a second that `score` need not wait for.
    import pandas as pd

    from random_mask.report import agreement, summary
    from random_mask.report.claims import NOT_TESTABLE

    table = _read_table(options.folder / "scores.csv", agreement.parse_scores)
    rows = summary.scores(table)
    _print_columns([tuple(rows.columns), *rows.itertuples(index=False)])
    judged = options.folder / "claims.csv"
    if judged.exists():
        table = pd.read_csv(judged)
        if "opposite" not in table:
            raise InputError(f"{judged}: written by an earlier version; run snakemake again")
        claims = summary.claims(table)
        open_ones = claims["verdict"] == NOT_TESTABLE
        print()
        for row in claims[~open_ones].itertuples(index=False):
            print(f"{row[0]}: {row[1]}, {row[2]}")
        # What a run cannot test, it cannot for few reasons.
        for reason, untested in claims[open_ones].groupby("estimate and interval", sort=False):
            print(f"{len(untested)} of {len(claims)} claims not testable: {reason}")
        print()
    paper = options.folder / "paper.pdf"
    if paper.exists():
        print(paper)
    return 0


def _keep(options: argparse.Namespace) -> int:
    from random_mask.artifacts.keeping import keep

    kept = keep(options.folder, options.into)
    size = sum(path.stat().st_size for path in kept)
    print(f"{len(kept)} files, {size / 1e6:.1f} MB, in {options.into / options.folder.resolve().name}")
    return 0


def _check(options: argparse.Namespace) -> int:
    artifacts, problems = collected.problems(options.folder)
    for problem in problems:
        print(problem)
    print(f"{artifacts} files checked; {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return NOT_AS_RECORDED if problems else 0


def _estimate(options: argparse.Namespace) -> int:
    # What this imports takes a second that the other commands need not wait for.
    from random_mask.workflow.estimate import report

    print(report(options.configfile, options.cores, options.seconds))
    return 0


def _folder_like(a: Path, b: Path) -> Path:
    """Return the folder of results that `b` means: itself, or the one in it that is named like `a`."""
    inner = b / a.resolve().name
    try:
        is_around = not (b / "scores.csv").exists() and (inner / "scores.csv").exists()
    except OSError:  # reading it will say what is wrong
        return b
    return inner if is_around else b


_Table = TypeVar("_Table")


def _read_table(path: Path, parse: Callable[[str], _Table]) -> _Table:
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the folder of a run that is complete") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except ValueError as error:
        raise InputError(
            f"{path}: damaged ({error}); copy it again, or delete it and run snakemake again to re-make it"
        ) from None


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
