"""Scores a person's own function against the oracle that the authors kept: nothing is retrained.

The stages are those of the workflow, run here in processes of one thread. What they made before is taken
again if its record says that this code made it of the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from random_mask.artifacts.files import read_npz, read_text, write_text
from random_mask.artifacts.records import digest, read_record, verify
from random_mask.artifacts.shards import read_fleet, read_speed, read_works
from random_mask.data.splits import read_files, read_split
from random_mask.errors import InputError
from random_mask.experiment.config import Experiment, Method, load
from random_mask.methods.own.function import check, files_of, located
from random_mask.metrics.competition import epsilons
from random_mask.metrics.intervals import SMALLEST_FLEET, Fleet, Interval, paired_difference, score_intervals
from random_mask.metrics.spread import shift, spread_ratio
from random_mask.report import page
from random_mask.report.agreement import parse_scores
from random_mask.seeds import seed_of
from random_mask.stages.collect import environment_of
from random_mask.stages.judging import StoredFleet
from random_mask.training.cost import Work, seconds
from random_mask.workflow.estimate import usable_cores
from random_mask.workflow.experiments import REFERENCE
from random_mask.workflow.paths import Plan
from random_mask.workflow.progress import columns, duration

__all__ = ["attempt", "shown"]

ROLE = "try/original-0"
"""The fleet of a function, from which the randomness of its models follows."""
COMPARED = ("finetune", "random_mask")
"""Methods that a function is compared with, where the authors' experiment has them."""
OWN = "tried"
"""What the function is called beside the methods that it is compared with; none of the authors' is."""
TRAINED = {"output": "npz", "cost": "json"}
"""Options of stages that train, and the kind of file that each names."""
SPLITS = ("retain", "forget", "test")

Say = Callable[[str], None]
Files = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Trial:
    """How a function is tried.

    Attributes:
        function: `file.py`, or `file.py:name`.
        experiment: one of those in `reference/`, whose original model, oracle and settings are taken.
        models: how many, at most as the oracle has; None for as many.
        batches: what a batch is to the function: `both`, `dict` or `pair`.
        timeout: seconds that a model may take.
        cores: processes at a time; None for as many as there are processors.
    """

    function: str
    experiment: str
    models: int | None = None
    batches: str = "both"
    timeout: float | None = None
    cores: int | None = None


def attempt(trial: Trial, say: Say = lambda _: None, results: Path = Path("results")) -> dict[str, Any]:
    """Unlearn models by a function and judge them.

    Args:
        trial: the function, and how it is tried.
        say: is told how far it is.
        results: the folder of all results.

    Returns:
        What was found, by name, intervals as `estimate`, `low` and `high`, ready for JSON. `shift` and
        `spread` are those of `metrics.spread` against the oracle, `cost` a share of a retraining, counted,
        `measured_seconds` what a model took here, Python's start included, and `page` the file of a page for
        the browser.

    Raises:
        InputError: if the function fails for a model, or there is nothing to judge it by.
    """
    check(trial.function, {})
    kept = REFERENCE / trial.experiment
    if not (kept / "config.yaml").exists():
        known = sorted(path.parent.name for path in REFERENCE.glob("*/config.yaml"))
        there = f"there are {', '.join(known)}" if known else "go to the root of the repository first"
        raise InputError(f"{kept}: no kept results of an experiment of this name; {there}")
    study = load(kept / "config.yaml")
    models = study.models if trial.models is None else trial.models
    if not SMALLEST_FLEET <= models <= study.models:
        allowed = f"take {SMALLEST_FLEET} to {study.models}, as many as its oracle has"
        raise InputError(f"--models {models}: of {kept} {allowed}")
    plan = Plan(study)
    if missing := plan.missing_data():
        raise InputError(missing)
    folders = [results / study.experiment, results / "try" / study.experiment]
    common = {"seed": study.seed, "network": study.network}

    data = Job("prepare_data", {"seed": study.seed, "data": plan.data, "state": plan.data_state})
    data.sources["files"] = [Path(name) for name in plan.data_files]
    data.outputs |= {"images": "data/images.npz", "split-table": "data/split.csv"}
    with _alone(folders[-1]):
        images, table = data.made(folders, say)
    examples, counts = read_npz(kept / "examples.npz"), json.loads(read_text(kept / "run.json"))["model"]
    _check_same_data(table, examples, counts, kept)

    recipe = study.training.model_dump(mode="json")
    original = Job("train_original", {**common, "recipe": recipe, "precision": study.precision})
    original.options["original"] = 0
    original.inputs |= {"images": [images], "split-table": [table]}
    original.outputs |= {"weights": "original/0.safetensors"}
    original.outputs |= {name: f"fleets/original/0/models.{kind}" for name, kind in TRAINED.items()}
    with _alone(folders[-1]):
        weights = original.made(folders, say)[0]

    path, name = located(trial.function)
    mine = Method.model_construct(function=trial.function, title=name)
    folder = Path("functions", folder_of(path, name))
    own = {**common, "data": plan.data, "function": trial.function, "arguments": {}, "batches": trial.batches}
    jobs = []
    for model in range(models):
        job = Job("unlearn_own", own, {"role": ROLE, "first": model, "last": model})
        job.inputs |= {"images": [images], "split-table": [table], "weights": [weights]}
        job.sources["files"] = [*files_of(path), *map(Path, [study.data.groups] if study.data.groups else [])]
        stem = folder / f"models-{model:04d}"
        job.outputs |= {output: f"{stem}.{kind}" for output, kind in TRAINED.items()}
        jobs.append(job)
    cores = trial.cores or usable_cores()
    say(f"unlearning {models} models by {trial.function}, {min(cores, models)} at a time")
    shards = [made[0] for made in _all_made(jobs, folders[1:], cores, trial.timeout, say)]
    told = (read_record(path)["computed"].get("warnings", []) for path in shards)
    for warning in dict.fromkeys(text for of_model in told for text in of_model):
        say(f"warning: {warning}")
    say("judging them")
    compared = _compared(study, examples, shards)
    judged = _judged(study, compared, counts, shards)
    text = _page(study, mine, compared, examples, judged, shards, images, table)
    place = folders[-1] / folder / "report.html"
    write_text(place, text)
    found = {"function": trial.function, "experiment": study.experiment, "models": models}
    return found | judged | {"page": str(place)}


def folder_of(path: Path, name: str) -> str:
    """Return the name of the folder for what is made by a function; files of one name have their own."""
    path = path.resolve().with_suffix("")
    parts = path.relative_to(Path.cwd()).parts if path.is_relative_to(Path.cwd()) else path.parts[1:]
    return f"{'--'.join(parts)}.{name}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let nobody else try a function meanwhile; the lock lies beside the folder, which has results only."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Job:
    """A run of a stage."""

    def __init__(self, stage: str, settings: Mapping[str, Any], options: Mapping[str, Any] | None = None):
        """Name the stage, what it depends on, and its options besides; files are to be added."""
        self.stage, self.settings = stage, settings
        self.options = dict(options or {})
        self.inputs: dict[str, Sequence[Path]] = {}
        self.sources: dict[str, Sequence[Path]] = {}
        self.outputs: dict[str, str] = {}

    def made(
        self, folders: Sequence[Path], say: Say | None = None, timeout: float | None = None
    ) -> list[Path]:
        """Return the outputs: those of one of the folders if they are right, else made in the last one.

        Raises:
            InputError: with what the stage said, if it fails.
        """
        for folder in folders:
            paths = [folder / name for name in self.outputs.values()]
            if all(self._is_made(path) for path in paths):
                return paths
        if say:
            say(self.stage.replace("_", " "))
        options = {"settings": [json.dumps(self.settings)], **self.inputs, **self.sources}
        options |= {name: [value] for name, value in self.options.items()}
        options |= {name: [path] for name, path in zip(self.outputs, paths, strict=True)}
        arguments = [text for name, values in options.items() for text in (f"--{name}", *map(str, values))]
        for path in paths:  # of an attempt with another function, say
            path.unlink(missing_ok=True)
        self._run(arguments, paths[0].with_suffix(".log"), timeout)
        return paths

    def _is_made(self, path: Path) -> bool:
        """Return whether a file is there that this code made of just this."""
        try:
            record = read_record(path)
            verify(path)
            return (
                record["stage"] == self.stage
                and _holds(record["options"], {"settings": self.settings, **self.options})
                and sorted(record["inputs"].values()) == _digests(self.inputs)
                and sorted(record["sources"].values()) == _digests(self.sources)
                and all(digest(name) == expected for name, expected in record["code"].items())
            )
        except InputError:
            return False

    def _run(self, arguments: Sequence[str], log: Path, timeout: float | None) -> None:
        """Run it in a process of one thread; what it prints goes to a file, in its order."""
        here = str(Path(__file__).parents[1])
        paths = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", f"random_mask.stages.{self.stage}", *arguments]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                    timeout=timeout,
                )
            except subprocess.TimeoutExpired:
                what = self.settings.get("function", self.stage)
                raise InputError(f"{what}: took more than the {timeout:g} s of --timeout") from None
        if done.returncode:
            printed = log.read_text(encoding="utf-8", errors="replace")
            _, mark, said = f"\n{printed}".rpartition(f"\n{self.stage}: ")
            otherwise = f"{self.stage} ended with exit code {done.returncode}; what it printed is in {log}"
            raise InputError(said.strip() if mark else otherwise)


def _holds(recorded: Any, asked: Any) -> bool:
    """Return whether a record has all that is asked; stages add defaults."""
    if isinstance(asked, Mapping) and isinstance(recorded, Mapping):
        return all(name in recorded and _holds(recorded[name], value) for name, value in asked.items())
    return bool(recorded == asked)


def _digests(files: Files) -> list[str]:
    return sorted(digest(path) for paths in files.values() for path in paths)


def _all_made(
    jobs: Sequence[Job], folders: Sequence[Path], cores: int, timeout: float | None, say: Say
) -> list[list[Path]]:
    """Return the outputs of jobs, of which so many run at a time; if some fail, the others go on."""
    started, made, failed = time.monotonic(), dict[int, list[Path]](), dict[str, list[int]]()
    with ThreadPoolExecutor(cores) as pool:
        waiting = {pool.submit(job.made, folders, None, timeout): at for at, job in enumerate(jobs)}
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                try:
                    made[waiting[future]] = future.result()
                except InputError as error:
                    if str(error) not in failed:
                        say(f"model {waiting[future]} failed: {error}")
                    failed.setdefault(str(error), []).append(waiting[future])
                left = (time.monotonic() - started) * (len(jobs) - done) / done
                said = f"{done} of {len(jobs)} models done"
                say(f"{said}, about {duration(left)} left" if cores <= done < len(jobs) else said)
        finally:
            pool.shutdown(cancel_futures=True)
    if failed:
        each = [f"{text}\n  (model {', '.join(map(str, sorted(of)))})" for text, of in failed.items()]
        raise InputError("\n".join(each))
    return [made[at] for at in range(len(jobs))]


def _check_same_data(
    table: Path, examples: Mapping[str, np.ndarray], counts: Mapping[str, int], kept: Path
) -> None:
    """Check that the images here are those that the oracle was asked."""
    numbers, labels = read_split(read_text(table), str(table))
    asked = (("image", numbers), ("label", labels))
    same = all(np.array_equal(of["forget"], examples[f"oracle/{name}"]) for name, of in asked)
    if not same or any(len(numbers[split]) != counts[split] for split in ("retain", "forget")):
        raise InputError(f"{table}: other images than those of {kept}; is the data set another version?")


@dataclass(frozen=True)
class Compared:
    """The function's fleet and those of the authors that it is set beside, of as many models.

    Attributes:
        fleets: by name, `OWN` first, `retrain` last.
        oracle: what all are judged against.
        scores: intervals of each fleet; see `score_intervals`.
        differences: of the function's score less each other method's.
        accuracy: of the function's models on each split, on average.
        kept: the authors' scores, by method.
    """

    fleets: Mapping[str, Fleet]
    oracle: Fleet
    scores: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Interval]
    accuracy: Mapping[str, float]
    kept: Any


def _compared(study: Experiment, examples: Mapping[str, np.ndarray], shards: Sequence[Path]) -> Compared:
    arrays, models = read_fleet(shards), len(shards)

    def stored(prefix: str) -> Fleet:
        names = ("confidences", "retain_accuracy", "test_accuracy")
        return Fleet(*(examples[f"{prefix}{name}"][:models] for name in names))

    own = StoredFleet(arrays, {"forget": examples["oracle/label"]})
    others = [name for name in COMPARED if f"{name}/0/confidences" in examples]
    fleets = {OWN: own.with_confidences(own.confidences("forget"))}
    fleets |= {name: stored(f"{name}/0/") for name in (*others, "retrain")}
    oracle = stored("oracle/oracle_")
    options: dict[str, Any] = {"replicates": study.replicates, "workers": usable_cores()}
    options["seed"] = seed_of(study.seed, "intervals", 0, ROLE)
    kept = pd.read_csv(REFERENCE / study.experiment / "scores.csv").query("original == 0")
    return Compared(
        fleets,
        oracle,
        scores={name: score_intervals(fleet, oracle, **options) for name, fleet in fleets.items()},
        differences={
            name: paired_difference(fleets[OWN], fleets[name], oracle, **options)["score"] for name in others
        },
        accuracy={split: float(own.accuracy(split).mean()) for split in SPLITS},
        kept=kept.set_index("method"),
    )


def _judged(
    study: Experiment, compared: Compared, counts: Mapping[str, int], shards: Sequence[Path]
) -> dict[str, Any]:
    """Return what is found of a fleet; see `attempt`."""
    own, oracle, intervals = compared.fleets[OWN], compared.oracle, compared.scores[OWN]
    works = [work for shard in shards for work in read_works(shard.with_suffix(".json"))]
    speed = read_speed(REFERENCE / "speed.json")
    passed, steps = study.training.images_passed(counts), study.training.steps(counts)
    whole = seconds(Work(passed, steps, works[0].flops, works[0].weights), speed)
    retrained = compared.kept.loc["retrain"]
    return {
        **{name: asdict(interval) for name, interval in intervals.items()},
        "ceiling": compared.scores["retrain"]["score"].estimate,
        "accuracy": dict(compared.accuracy),
        "retrained_accuracy": {split: float(retrained[f"{split}_accuracy"]) for split in SPLITS},
        "shift": asdict(shift(own.confidences, oracle.confidences)),
        "spread": asdict(spread_ratio(own.confidences, oracle.confidences)),
        "cost": float(np.mean([seconds(work, speed) for work in works])) / whole,
        "measured_seconds": float(np.mean([read_record(shard)["wall_seconds"] for shard in shards])),
        "differences": {name: asdict(interval) for name, interval in compared.differences.items()},
        "place": _place(intervals["score"].estimate, study, len(shards)),
    }


def _page(
    study: Experiment,
    own: Method,
    compared: Compared,
    examples: Mapping[str, np.ndarray],
    judged: Mapping[str, Any],
    shards: Sequence[Path],
    images: Path,
    table: Path,
) -> str:
    """Return a page for the browser: the function beside the authors' methods of the same N."""
    models, whole = len(shards), float(compared.kept.loc["retrain", "seconds_per_model"])
    own_row = pd.Series({"forget_accuracy": compared.accuracy["forget"]})
    own_row["seconds_per_model"] = judged["cost"] * whole
    arrays = {
        key: of[:models] if of.ndim > 1 else of for key, of in examples.items() if key.startswith("oracle/")
    }
    rows = []
    for method, fleet in compared.fleets.items():
        row = {"method": method, "original": 0, "n_models": models}
        for quantity in ("score", "forgetting_quality"):
            one = compared.scores[method][quantity]
            row |= {quantity: one.estimate, f"{quantity}_low": one.low, f"{quantity}_high": one.high}
        row |= {"retain_accuracy": fleet.retain_accuracy.mean(), "test_accuracy": fleet.test_accuracy.mean()}
        of_all = own_row if method == OWN else compared.kept.loc[method]
        rows.append(row | {key: of_all[key] for key in own_row.index})
        arrays[f"{method}/0/confidences"] = fleet.confidences
        arrays[f"{method}/0/epsilons"] = epsilons(fleet.confidences, compared.oracle.confidences)
    differences = [
        {"a": OWN, "b": other, "original": 0, "quantity": "score", "difference": of.estimate}
        | {"low": of.low, "high": of.high}
        for other, of in compared.differences.items()
    ]
    known = read_text(REFERENCE / study.experiment / "run.json")
    others = {method: study.methods[method] for method in compared.differences}
    update = {"methods": {OWN: own, **others}, "models": models, "originals": 1, "originals_of_others": None}
    return page.page(
        read_text(Path(page.__file__).with_suffix(".html")),
        study.model_copy(update=update | {"ratio_sweep": None, "search": None, "tuned": None}),
        scores=pd.DataFrame(rows),
        comparisons=pd.DataFrame(
            differences, columns=["a", "b", "original", "quantity", "difference", "low", "high"]
        ),
        claims=None,
        costs=pd.DataFrame([{"fleet": OWN, "models": models, "seconds": models * judged["cost"] * whole}]),
        found={
            "environment": environment_of([read_record(shards[0])]),
            "reference": json.loads(known)["reference"],
        },
        arrays=arrays,
        pixels=read_npz(images)["pixels"],
        files=read_files(read_text(table)),
        figures={},
    )


def _place(score: float, study: Experiment, models: int) -> dict[str, Any] | None:
    """Return where a score stands among the authors' methods on the same data, with the same seed and N.

    None, if the authors have none such. Of several experiments it is the one with the most methods.
    """
    found: dict[str, Any] | None = None
    for path in sorted(REFERENCE.glob("*/config.yaml")):
        other = load(path)
        same = Plan(other).differs_from(Plan(study)) is None and other.models == models
        if same and not other.search:
            table = parse_scores(read_text(path.with_name("scores.csv"))).xs(0, level="original")["score"]
            table = table.drop(["original", "retrain"]).sort_values(ascending=False)
            if found is None or len(table) > found["of"] - 1:
                above, below = table[table > score], table[table <= score]
                near = [*above.index[-1:], *below.index[:1]]
                methods = other.all_methods()
                found = {"experiment": other.experiment, "place": len(above) + 1, "of": len(table) + 1}
                found["beside"] = {methods[name].title: float(table[name]) for name in near}
    return found


def shown(found: Mapping[str, Any]) -> str:
    """Return what `attempt` found as text for a terminal."""

    def interval(of: Mapping[str, float], form: str = ".3f") -> str:
        return f"{of['estimate']:{form}} [{of['low']:{form}}, {of['high']:{form}}]"

    of_ceiling = f"{found['score']['estimate'] / found['ceiling']:.0%}" if found["ceiling"] > 0 else "-"
    rows = [
        ("score", f"{interval(found['score'])}, {of_ceiling} of the ceiling of {found['ceiling']:.3f}"),
        ("forgetting quality", interval(found["forgetting_quality"])),
    ]
    for split in SPLITS:
        own, retrained = found["accuracy"][split], found["retrained_accuracy"][split]
        rows.append((f"{split} accuracy", f"{own:.1%}, retrained models {retrained:.1%}"))
    rows += [
        ("shift of confidences", f"{interval(found['shift'], '+z.2f')} standard deviations of the oracle"),
        ("spread of confidences", f"{interval(found['spread'], '.2f')} times the oracle's"),
        (
            "cost of a model",
            f"{found['cost']:.0%} of a retraining, counted; {found['measured_seconds']:.0f} s measured here",
        ),
    ]
    for name, difference in found["differences"].items():
        rows.append((f"score less {name}'s", interval(difference, "+z.3f")))
    place = found["place"]
    if place:
        near = ", ".join(f"{title} {score:.3f}" for title, score in place["beside"].items())
        where = f"{place['place']} of {place['of']} in reference/{place['experiment']}, beside {near}"
    else:
        where = "-, the authors ran no such experiment with so many models"
    rows += [("place by score", where), ("page", found["page"])]
    head = f"{found['function']} on {found['experiment']}, N = {found['models']}, 95 % intervals in brackets"
    return f"{head}\n{columns(rows)}"
