"""Scores a person's own function against the oracle that the authors kept: nothing is retrained.

The stages are those of the workflow, run here in processes of one thread. What they made before is taken
again if its record says that this code made it of the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
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
from random_mask.metrics.competition import epsilons, logit_scaled_confidence
from random_mask.metrics.intervals import SMALLEST_FLEET, Fleet, paired_difference, score_intervals
from random_mask.metrics.spread import shift, spread_ratio
from random_mask.report import page
from random_mask.report.agreement import parse_scores
from random_mask.seeds import seed_of
from random_mask.training.cost import Work, seconds
from random_mask.workflow.experiments import REFERENCE
from random_mask.workflow.paths import Plan
from random_mask.workflow.progress import columns, duration

__all__ = ["attempt", "shown"]

ROLE = "try/original-0"
"""The fleet of a function, from which the randomness of its models follows."""
COMPARED = ("finetune", "random_mask")
"""Methods that a function is compared with, where the authors' experiment has them."""
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
    check(trial.function)
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
    images, table = data.made(folders, say)
    examples, counts = read_npz(kept / "examples.npz"), json.loads(read_text(kept / "run.json"))["model"]
    _check_same_data(table, examples, counts, kept)

    recipe = study.training.model_dump(mode="json")
    original = Job("train_original", {**common, "recipe": recipe, "precision": study.precision})
    original.options["original"] = 0
    original.inputs |= {"images": [images], "split-table": [table]}
    original.outputs |= {"weights": "original/0.safetensors"}
    original.outputs |= {name: f"fleets/original/0/models.{kind}" for name, kind in FLEET.items()}
    weights = original.made(folders, say)[0]

    path, name = located(trial.function)
    own = {**common, "data": plan.data, "function": trial.function, "arguments": {}, "batches": trial.batches}
    jobs = []
    for model in range(models):
        job = Job("unlearn_own", own, {"role": ROLE, "first": model, "last": model})
        job.inputs |= {"images": [images], "split-table": [table], "weights": [weights]}
        job.sources["files"] = [*files_of(path), *map(Path, [study.data.groups] if study.data.groups else [])]
        stem = f"functions/{path.stem}.{name}/models-{model:04d}"
        job.outputs |= {output: f"{stem}.{kind}" for output, kind in FLEET.items()}
        jobs.append(job)
    cores = trial.cores or _cores()
    say(f"unlearning {models} models by {trial.function}, {min(cores, models)} at a time")
    shards = [made[0] for made in _all_made(jobs, folders[1:], cores, trial.timeout, say)]
    say("judging them")
    judged = _judged(study, examples, counts, shards, kept)
    place = folders[-1] / "functions" / f"{path.stem}.{name}" / "report.html"
    write_text(place, _page(study, trial, name, examples, shards, judged, images, table, kept))
    found = {"function": trial.function, "experiment": study.experiment, "models": models}
    return found | judged | {"page": str(place)}


FLEET = {"output": "npz", "cost": "json"}
"""Options of stages that train, and the kind of file that each names."""


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
        """Run it in a process of one thread; what it prints goes to a file."""
        here = str(Path(__file__).parents[2])
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
                    env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_same_data(
    table: Path, examples: Mapping[str, np.ndarray], counts: Mapping[str, int], kept: Path
) -> None:
    """Check that the images here are those that the oracle was asked."""
    numbers, labels = read_split(read_text(table), str(table))
    asked = (("image", numbers), ("label", labels))
    same = all(np.array_equal(of["forget"], examples[f"oracle/{name}"]) for name, of in asked)
    if not same or any(len(numbers[split]) != counts[split] for split in ("retain", "forget")):
        raise InputError(f"{table}: other images than those of {kept}; is the data set another version?")


def _judged(
    study: Experiment,
    examples: Mapping[str, np.ndarray],
    counts: Mapping[str, int],
    shards: Sequence[Path],
    kept: Path,
) -> dict[str, Any]:
    """Return what is found of a fleet; see `attempt`."""
    arrays, n = read_fleet(shards), len(shards)
    fleet, oracle = _fleet(shards, examples["oracle/label"]), _stored(examples, "oracle/oracle_", n)
    options: dict[str, Any] = {"replicates": study.replicates, "workers": _cores()}
    options["seed"] = seed_of(study.seed, "intervals", 0, ROLE)
    intervals = score_intervals(fleet, oracle, **options)
    others = [name for name in COMPARED if f"{name}/0/confidences" in examples]
    differences = {
        name: paired_difference(fleet, _stored(examples, f"{name}/0/", n), oracle, **options)["score"]
        for name in others
    }
    retrained = parse_scores(read_text(kept / "scores.csv")).xs("retrain", level="method")
    works = [work for shard in shards for work in read_works(shard.with_suffix(".json"))]
    speed = read_speed(REFERENCE / "speed.json")
    passed, steps = study.training.images_passed(counts), study.training.steps(counts)
    whole = seconds(Work(passed, steps, works[0].flops, works[0].weights), speed)
    return {
        **{name: asdict(interval) for name, interval in intervals.items()},
        "ceiling": score_intervals(_stored(examples, "retrain/0/", n), oracle, **options)["score"].estimate,
        "accuracy": {split: float(arrays[f"accuracy_{split}"].mean()) for split in SPLITS},
        "retrained_accuracy": {split: float(retrained[f"{split}_accuracy"].iloc[0]) for split in SPLITS},
        "shift": asdict(shift(fleet.confidences, oracle.confidences)),
        "spread": asdict(spread_ratio(fleet.confidences, oracle.confidences)),
        "cost": float(np.mean([seconds(work, speed) for work in works])) / whole,
        "measured_seconds": float(np.mean([read_record(shard)["wall_seconds"] for shard in shards])),
        "differences": {name: asdict(interval) for name, interval in differences.items()},
        "place": _place(intervals["score"].estimate, study, n),
    }


def _page(
    study: Experiment,
    trial: Trial,
    name: str,
    examples: Mapping[str, np.ndarray],
    shards: Sequence[Path],
    judged: Mapping[str, Any],
    images: Path,
    table: Path,
    kept: Path,
) -> str:
    """Return a page for the browser: the function beside the authors' methods of the same N."""
    n, options = len(shards), {"replicates": study.replicates, "seed": study.seed, "workers": _cores()}
    own = Method.model_validate(
        {"function": trial.function, "title": name, "compare_with": list(judged["differences"])}
    )
    others = {method: of for method, of in study.methods.items() if method in judged["differences"]}
    update = {
        "methods": {name: own, **others},
        "models": n,
        "ratio_sweep": None,
        "search": None,
        "tuned": None,
    }
    experiment = study.model_copy(update=update)
    fleets = {method: _stored(examples, f"{method}/0/", n) for method in [*others, "retrain"]}
    oracle = _stored(examples, "oracle/oracle_", n)
    fleets = {name: _fleet(shards, examples["oracle/label"]), **fleets}
    table_of: Any = pd.read_csv(kept / "scores.csv").query("original == 0").set_index("method")
    arrays = {key: of[:n] if of.ndim > 1 else of for key, of in examples.items() if key.startswith("oracle/")}
    whole = float(table_of.loc["retrain", "seconds_per_model"])
    rows = []
    for method, fleet in fleets.items():
        found = score_intervals(fleet, oracle, **options)
        row = {"method": method, "original": 0, "n_models": n}
        for quantity in ("score", "forgetting_quality"):
            one = found[quantity]
            row |= {quantity: one.estimate, f"{quantity}_low": one.low, f"{quantity}_high": one.high}
        forget = judged["accuracy"]["forget"] if method == name else table_of.loc[method, "forget_accuracy"]
        row |= {"retain_accuracy": fleet.retain_accuracy.mean(), "forget_accuracy": forget}
        cost = judged["cost"] * whole if method == name else table_of.loc[method, "seconds_per_model"]
        rows.append(row | {"test_accuracy": fleet.test_accuracy.mean(), "seconds_per_model": cost})
        arrays[f"{method}/0/confidences"] = fleet.confidences
        arrays[f"{method}/0/epsilons"] = epsilons(fleet.confidences, oracle.confidences)
    record = read_record(shards[0])
    environment = {
        key: str(value) for part in ("machine", "computed", "versions") for key, value in record[part].items()
    }
    return page.page(
        read_text(Path(page.__file__).with_suffix(".html")),
        experiment,
        scores=pd.DataFrame(rows),
        comparisons=pd.DataFrame(
            [
                {"a": name, "b": other, "original": 0, "quantity": "score", "difference": of["estimate"]}
                | {"low": of["low"], "high": of["high"]}
                for other, of in judged["differences"].items()
            ],
            columns=["a", "b", "original", "quantity", "difference", "low", "high"],
        ),
        claims=None,
        costs=pd.DataFrame([{"fleet": name, "models": n, "seconds": n * judged["cost"] * whole}]),
        found={
            "environment": environment,
            "reference": json.loads(read_text(kept / "run.json"))["reference"],
        },
        arrays=arrays,
        pixels=read_npz(images)["pixels"],
        files=read_files(read_text(table)),
        figures={},
    )


def _fleet(shards: Sequence[Path], labels: np.ndarray) -> Fleet:
    """Return a fleet as the metric takes it, of its shards."""
    arrays = read_fleet(shards)
    confidences = np.stack([logit_scaled_confidence(one, labels) for one in arrays["logits_forget"]])
    return Fleet(confidences, arrays["accuracy_retain"], arrays["accuracy_test"])


def _stored(examples: Mapping[str, np.ndarray], prefix: str, models: int) -> Fleet:
    """Return the first models of a fleet of the authors, of `examples.npz`."""
    names = ("confidences", "retain_accuracy", "test_accuracy")
    return Fleet(*(examples[f"{prefix}{name}"][:models] for name in names))


def _place(score: float, study: Experiment, models: int) -> dict[str, Any] | None:
    """Return where a score stands among the authors' methods on the same data, with the same seed and N.

    None, if the authors have none such. Of several experiments it is the one with the most methods.
    """
    found: dict[str, Any] | None = None
    for path in sorted(REFERENCE.glob("*/config.yaml")):
        other = load(path)
        same = all(getattr(other, key) == getattr(study, key) for key in ("seed", "training", "network"))
        if same and Plan(other).data == Plan(study).data and other.models == models and not other.search:
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
        ("shift of confidences", f"{interval(found['shift'], '+.2f')} standard deviations of the oracle"),
        ("spread of confidences", f"{interval(found['spread'], '.2f')} times the oracle's"),
        (
            "cost of a model",
            f"{found['cost']:.0%} of a retraining, counted; {found['measured_seconds']:.0f} s measured here",
        ),
    ]
    for name, difference in found["differences"].items():
        rows.append((f"score less {name}'s", interval(difference, "+.3f")))
    place = found["place"]
    if place:
        near = ", ".join(f"{title} {score:.3f}" for title, score in place["beside"].items())
        where = f"{place['place']} of {place['of']} in reference/{place['experiment']}, beside {near}"
    else:
        where = "-, the authors ran no such experiment with so many models"
    rows += [("place by score", where), ("page", found["page"])]
    head = f"{found['function']} on {found['experiment']}, N = {found['models']}, 95 % intervals in brackets"
    return f"{head}\n{columns(rows)}"
