"""The command `random-mask`: measures for logits from anywhere; scores, agreement and cost of runs.

A subcommand is a function: its parameters are the arguments, its docstring is the help, what it returns is
the exit code, and on bad input it raises `InputError`, one line a mistake. Each imports what it needs when it
is called: `score` starts fast, and does without the extra `study`, as `check` does.
"""

from __future__ import annotations

import csv
import filecmp
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import App, CycloptsError, Parameter, validators
from cyclopts.types import NonNegativeInt, PositiveFloat, PositiveInt

from random_mask.artifacts.files import atomic_write
from random_mask.errors import InputError
from random_mask.workflow.progress import columns

VERDICT_CHANGED = NOT_AS_RECORDED = 3
CLOSED = 128 + signal.SIGPIPE
"""What a shell says of a program whose reader has gone."""

app = App(
    "random-mask",
    help="Measures of machine unlearning.",
    help_format="markdown",
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    It is 0, 1 on bad input, 2 on bad usage, 3 where `compare` finds a changed verdict or `check` a changed
    file, and 141 where nobody reads on.
    """
    tokens = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack letters
    try:
        if not tokens:
            raise CycloptsError(msg="No command.")
        code = app(tokens) or 0
        if sys.stdout is not None:  # a shell may have closed it
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # who reads it has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except CycloptsError as error:
        code, message = 2, f"{error} See: random-mask --help"
    except InputError as error:
        code, message = 1, str(error)
    except OSError as error:  # a name that is too long, a folder that may not be entered, a full disk
        code, message = 1, f"{error.filename or 'output'}: {error.strerror or error}"
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("random_mask"):
            raise
        message = f"this command needs {error.name}; type: pip install 'random-mask[study]'"
        if file := _method_that_failed(error):
            message = f"{file}: imports {error.name}; install it in this environment"
        code = 1
    except SyntaxError as error:  # of a method's file
        code, message = 1, f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    print(f"random-mask: {message.strip()}", file=sys.stderr)
    return code


def _method_that_failed(error: Exception) -> str | None:
    """Return the file and line of `methods/` where an error began, if it did there."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if Path(one.filename).parent.name in ("methods", "losses")]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None


@app.command
def score(
    unlearned: Path,
    retrained: Path,
    /,
    *,
    per_example: Path | None = None,
    ceiling: Path | None = None,
    seed: NonNegativeInt = 0,
    replicates: Annotated[int, Parameter(validator=validators.Number(gte=2))] = 200,
    precision: Literal["float64", "float32"] = "float64",
) -> int:
    """Print the competition's score of a fleet of unlearned models, with its 95 % interval.

    Each file is a .npz archive of one fleet (numpy.savez), with the arrays

        confidences      [models, examples]           logit-scaled, or instead
        logits           [models, examples, classes]  and
        labels           [examples]                   integers
        retain_accuracy  [models]                     in [0, 1], optional
        test_accuracy    [models]                     in [0, 1], optional

    where the examples are those to be forgotten. Without both accuracies in both files only the forgetting
    quality is printed.

    Args:
        unlearned: .npz of the unlearned fleet.
        retrained: .npz of the fleet retrained without the forget set.
        per_example: CSV to write, with epsilon and points of each example.
        ceiling: .npz of a second retrained fleet, to show what could be reached.
        seed: of the resampling.
        replicates: resamples for the interval.
        precision: of the exponentials; float32 as the competition's own code has them, for logits only.
    """
    from random_mask.metrics import files

    inputs = [unlearned, retrained, *([ceiling] if ceiling else [])]
    if per_example is not None:
        _check_place(per_example, inputs)
    oracle, judged, *second = (files.read(path, precision) for path in (retrained, unlearned, *inputs[2:]))
    found = files.scores(judged, oracle, seed=seed, replicates=replicates)
    best = [files.scores(file, oracle, seed=seed, replicates=replicates) for file in second]
    for warning in files.suspicions([judged, oracle, *second]):
        print(f"random-mask: warning: {warning}", file=sys.stderr)
    if per_example is not None:
        _write_examples(per_example, judged.fleet.confidences, oracle.fleet.confidences)

    def line(label: str, name: str, of: dict, n_models: int) -> str:
        value = of[name]
        return f"{label:<20}{value.estimate:.4f}  [{value.low:.4f}, {value.high:.4f}]  N = {n_models}"

    n_examples = judged.fleet.confidences.shape[1]
    print(f"{n_examples} forget examples, {len(oracle.fleet)} retrained models; 95 % intervals in brackets")
    for name in found:
        print(line(name.replace("_", " "), name, found, len(judged.fleet)))
    if "score" not in found:
        print("score               not computed: it needs retain_accuracy and test_accuracy in both files")
    for file, reached in zip(second, best, strict=True):
        for name, value in reached.items():
            print(line(f"ceiling of {name.split('_')[-1]}", name, reached, len(file.fleet)))
            if name in found and value.estimate > 0:
                print(f"{'  share reached':<20}{found[name].estimate / value.estimate:.2f}")
    return 0


def _check_place(path: Path, inputs: Sequence[Path]) -> None:
    """Refuse a place for a table that is none."""
    if path.resolve() in [source.resolve() for source in inputs]:
        raise InputError(f"{path}: is one of the inputs; choose another path for the table")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file for the table")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is a device or the like; name a file for the table")
    if not path.parent.is_dir():
        raise InputError(
            f"{path}: cannot be written, there is no folder {path.parent}; make it, or choose another"
        )


def _write_examples(path: Path, unlearned: np.ndarray, retrained: np.ndarray) -> None:
    """Write what each example adds to the score; the fleets are [models, forget examples]."""
    from random_mask.metrics import competition

    epsilons = competition.epsilons(unlearned, retrained)
    table = {
        "example": range(len(epsilons)),
        "epsilon": epsilons.tolist(),
        "points": competition.points(epsilons, len(unlearned)).tolist(),
        "unlearned_median": np.median(unlearned, axis=0).tolist(),
        "retrained_median": np.median(retrained, axis=0).tolist(),
    }
    try:
        with (
            atomic_write(path.resolve()) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); choose another path") from None


@app.command
def compare(a: Path, b: Path, /) -> int:
    """Print whether the scores and the verdicts of two runs of an experiment agree.

    Two scores agree if 0 lies in the interval of their difference, which follows from both intervals. It is
    meant for independent runs: runs that share their seed agree more often than the 95 % say.

    Exit codes: 0 no verdict changed, 3 a verdict changed, 1 bad input, 2 bad usage. Scores that do not agree
    are reported, and leave the exit code alone: by chance alone about one in twenty does not.

    Args:
        a: folder of results, such as results/digits.
        b: another, or the folder that holds one named like A.
    """
    from random_mask.report import agreement

    folders = [a, _folder_like(a, b)]
    runs = []
    for folder in folders:
        scores = agreement.read_table(folder / "scores.csv", agreement.parse_scores)
        comparisons = agreement.read_table(folder / "comparisons.csv", agreement.parse_comparisons)
        runs.append(agreement.Run(scores, agreement.pair_verdicts(comparisons)))
    claims = [folder / "claims.csv" for folder in folders]
    if all(path.exists() for path in claims):
        for run, path in zip(runs, claims, strict=True):
            run.verdicts.update(agreement.claim_verdicts(agreement.read_table(path, agreement.parse_claims)))
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
    print(columns([("score, 95 % interval", "original", "A", "B", "A - B", ""), *rows]))
    qualities = found.forgetting_quality["agrees"]
    print(f"forgetting quality: {qualities.sum()} of {len(qualities)} agree")
    print(f"accuracies: they differ by {found.accuracy_difference:.4f} at most")
    verdicts = [(v.subject, v.a, v.b, "CHANGED" if v.changed else "same") for v in found.verdicts]
    print(columns([("verdict on", "A", "B", ""), *verdicts]))
    n_agree, n_changed = found.scores["agrees"].sum(), sum(verdict.changed for verdict in found.verdicts)
    print(
        f"{n_agree} of {len(rows)} scores agree (about 5 % of honest repetitions do not, by chance); "
        f"{n_changed} of {len(verdicts)} verdicts changed"
    )
    return VERDICT_CHANGED if n_changed else 0


@app.command
def summary(folder: Path = Path("results/digits"), /) -> None:
    """Print the scores of a run, with their 95 % intervals and their share of the ceiling.

    Args:
        folder: folder of results.
    """
    from random_mask.artifacts.provenance import warnings
    from random_mask.report import agreement, summary
    from random_mask.report.originals import NOT_TESTABLE

    rows = summary.scores(agreement.read_table(folder / "scores.csv", agreement.parse_scores))
    print(columns([tuple(rows.columns), *rows.itertuples(index=False)]))
    judged = folder / "claims.csv"
    if judged.exists():
        claims = summary.claims(agreement.read_table(judged, agreement.parse_judged_claims))
        open_ones = claims["verdict"] == NOT_TESTABLE
        print()
        for row in claims[~open_ones].itertuples(index=False):
            print(f"{row[0]}: {row[1]}, {row[2]}")
        # What a run cannot test, it cannot for few reasons.
        for reason, untested in claims[open_ones].groupby("estimate and interval", sort=False):
            print(f"{len(untested)} of {len(claims)} claims not testable: {reason}")
        print()
    for warning in warnings(folder):
        print(f"warning: {warning}")
    page = folder / "report.html"
    if page.exists():
        print(page)


@app.command
def check(folder: Path, /) -> int:
    """Check every file of a run against the record of its making, and the code as well.

    Exits with 0 if all is as recorded, with 3 if not.

    Args:
        folder: folder of results, such as results/digits, or of what was kept of them, such as
            reference/digits.
    """
    from random_mask.artifacts import provenance

    artifacts, problems = provenance.problems(folder)
    for problem in problems:
        print(problem)
    print(f"{artifacts} files checked; {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return NOT_AS_RECORDED if problems else 0


@app.command
def keep(folder: Path, /, *, into: Path = Path("reference")) -> None:
    """Copy what figures, tables and verdicts need of a run, a few small files, to be kept.

    They can be made again from these without training (`snakemake --cores 2 --config run=none`), and runs be
    compared with them.

    Args:
        folder: folder of a complete run, such as results/digits.
        into: where to keep it.
    """
    from random_mask.artifacts import keeping

    try:
        kept = keeping.keep(folder, into)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; fix that, or choose another --into") from None
    size = sum(path.stat().st_size for path in kept)
    print(f"{len(kept)} files, {size / 1e6:.1f} MB, in {kept[0].parent}")


@app.command
def config(file: Path, /) -> None:
    """Check the configuration of an experiment, and print nothing if it is right and no mere try.

    Args:
        file: such as config/digits.yaml.
    """
    from random_mask.experiment.config import read
    from random_mask.workflow.experiments import Library

    plan = Library([file], read(file)).given
    assert plan is not None
    if problem := plan.problem():
        raise InputError(problem)
    for caution in plan.experiment.cautions():
        print(f"random-mask: {file}: {caution}", file=sys.stderr)


@app.command
def estimate(configfile: Path, *, cores: PositiveInt | None = None, seconds: PositiveFloat = 6) -> None:
    """Print what an experiment costs if nothing of it is there yet: core hours, wall time, disk and memory.

    It follows from the configuration and a calibration of this machine on all cores, which takes about half a
    minute.

    Args:
        configfile: such as config/digits.yaml.
        cores: that will run it; by default those of this machine.
        seconds: how long training is measured.
    """
    from random_mask.workflow.estimate import report

    print(report(configfile, cores, seconds))


@app.command(name="try")
def try_(
    file: str,
    /,
    *,
    experiment: str = "digits",
    models: PositiveInt | None = None,
    batches: Literal["both", "dict", "pair"] = "both",
    timeout: PositiveFloat | None = None,
    cores: PositiveInt | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Score your own unlearning function against the authors' oracle; nothing is retrained.

    The function is called as `unlearning(net, retain_loader, forget_loader, val_loader)`, and by name with
    `device`, `param_names`, `class_counts` and `class_weights` where it asks for them. It changes the network
    or returns another. It is your code and runs with your rights.

    Args:
        file: your file, or `file.py:name` if the function is not called `unlearning`.
        experiment: one of those in reference/.
        models: N, at most that of the oracle, which is the default.
        batches: a batch is a dict with the competition's keys, a pair of images and labels, or both.
        timeout: seconds that one model may take.
        cores: processes at a time; by default all cores.
        as_json: print JSON.
    """
    from random_mask.trying import Trial, attempt, shown

    trial = Trial(file, experiment, models, batches, timeout, cores)

    def say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)

    try:
        found = attempt(trial, say)
    except KeyboardInterrupt:
        raise InputError("interrupted; the same command goes on with what is done") from None
    print(json.dumps(found, indent=2) if as_json else shown(found))


def _folder_like(a: Path, b: Path) -> Path:
    """Return the folder of results that `b` means: itself, or the one in it that is named like `a`."""
    inner = b / a.resolve().name
    try:
        is_around = not (b / "scores.csv").exists() and (inner / "scores.csv").exists()
    except OSError:  # reading it will say what is wrong
        return b
    return inner if is_around else b


if __name__ == "__main__":
    sys.exit(main())
