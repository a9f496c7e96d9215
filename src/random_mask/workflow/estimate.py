"""Predicts what an experiment costs before it is started: core hours, wall time, disk and memory.

The work is counted from the configuration, as `experiment.cost` counts it, and priced at the pace of this
machine. `calibrate` measures that as the workflow computes, with the stages' own code in processes of one
thread, one on every core at the same time.
"""

from __future__ import annotations

import heapq
import json
import os
import resource
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from random_mask.artifacts.machine import machine
from random_mask.experiment.config import Experiment, load
from random_mask.experiment.cost import BACKWARD, Speed, Work, looked_at, work_of
from random_mask.experiment.cost import seconds as price
from random_mask.metrics.intervals import SMALLEST_FLEET, subset_size
from random_mask.settings import RandomMask, Step
from random_mask.workflow.paths import shards
from random_mask.workflow.progress import columns, duration

__all__ = ["Estimate", "Gpu", "Job", "Pace", "calibrate", "jobs_of", "predict", "report", "wall_time"]

KINDS = ("training", "evaluation", "start-up", "report")
"""What the seconds of a job are spent on: models; their logits and the metric with its intervals; starting
Python, reading modules and the first step, which plans all others; data, simulation, tables and the PDF."""

REPORT = {
    "prepare_data": 1.7,
    "simulate": 7.5,
    "scores": 0.4,
    "collect": 1.0,
    "choose": 1.0,
    "claims": 1.0,
    "tables": 1.8,
    "figures": 4.9,
    "paper": 5.5,
    "provenance": 0.4,
}
"""Processor seconds of the stages that cost about the same in every experiment, start-up included, on the
machine of `reference/speed.json`. They are not measured again and matter to the smallest experiments only.
Downloads are not counted: they are once for all experiments and depend on the network."""

MEASURE_START, SECONDS_A_COUNT, SECONDS_A_FIT = 2.1, 1.1e-7, 0.02
"""Likewise of the other measures: to start, for each replicate, image and model of both fleets, and to fit
the attacks of each model."""

WORKFLOW_SECONDS = 3
"""What Snakemake takes before the first job."""

ASSUMED = 10
"""Where the size of the forget set is known only once the images are read, one training image in so many."""
# Bytes on disk.
EACH_JOB = 12_000
"""Log, benchmark and the records of its outputs."""
EACH_RUN = 2_000_000
"""Figures, tables, the PDF and the provenance of all."""


@dataclass(frozen=True)
class Gpu:
    """How fast the GPUs of this machine train.

    Attributes:
        count: number of GPUs.
        whole: images a second of the original model, which keeps its dead taps and is trained alone.
        live: images a second of a stack over all its models, by (batch size, models in a job).
    """

    count: int
    whole: float
    live: Mapping[tuple[int, int], float]


@dataclass(frozen=True)
class Pace:
    """How fast one core works while all others do too.

    Attributes:
        flops: floating-point operations of one image's forward pass without dead taps.
        weights: trained weights without dead taps.
        live: speed of training such a network, by batch size.
        whole_flops, whole_weights, whole: likewise of the whole network, which the original models are.
        inference: images a second whose logits are computed, without dead taps.
        model: seconds that a model takes besides: made, stacked, taken apart, written.
        mask: seconds to draw and write the masks of one model.
        metric: seconds of the metric for one forget example, by models in both fleets.
        start: processor seconds of a job before its work and after, by what it imports: `torch` or `numpy`.
        memory: bytes of a job at most, likewise, with a data set of a few images.
        gpu: how fast the GPUs train, where there are any.
    """

    flops: int
    weights: int
    live: Mapping[int, Speed]
    whole_flops: int
    whole_weights: int
    whole: Speed
    inference: float
    model: float
    mask: float
    metric: Mapping[int, float]
    start: Mapping[str, float]
    memory: Mapping[str, int]
    gpu: Gpu | None = None


@dataclass(frozen=True)
class Job:
    """One job of the workflow.

    Attributes:
        stage: its rule.
        group: the jobs that others wait for together.
        needs: groups that must be done before.
        seconds: what it takes of one core, by kind (`KINDS`).
        gpu_seconds: what it takes of one GPU, while a core waits.
        priority: jobs of a higher one start first.
    """

    stage: str
    group: str
    needs: frozenset[str]
    seconds: Mapping[str, float]
    gpu_seconds: float = 0.0
    priority: int = 0

    @property
    def length(self) -> float:
        """Seconds from start to end."""
        return sum(self.seconds.values()) + self.gpu_seconds


@dataclass(frozen=True)
class Estimate:
    """What an experiment costs.

    Attributes:
        jobs: number of jobs by stage.
        seconds: of one core, by stage and kind.
        gpu_seconds: of one GPU.
        wall: seconds from start to end.
        disk: bytes of the results, at most: images and logits are compressed when they are written.
        memory: bytes of all jobs that run at a time.
        models: models that are trained.
    """

    jobs: Mapping[str, int]
    seconds: Mapping[str, Mapping[str, float]]
    gpu_seconds: float
    wall: float
    disk: int
    memory: int
    models: int

    def by_kind(self) -> dict[str, float]:
        """Return the seconds of one core, by kind."""
        return {kind: sum(of[kind] for of in self.seconds.values()) for kind in KINDS}

    def by_stage(self) -> dict[str, float]:
        """Return the seconds of one core, by stage."""
        return {stage: sum(of.values()) for stage, of in self.seconds.items()}

    @property
    def core_seconds(self) -> float:
        """Seconds of one core, of everything."""
        return sum(self.by_stage().values())


def predict(experiment: Experiment, pace: Pace, cores: int) -> Estimate:
    """Return what an experiment costs at a pace, if nothing of it is there yet.

    Args:
        experiment: its configuration.
        pace: of the machine, see `calibrate`.
        cores: how many jobs run at a time, as in `snakemake --cores`.
    """
    jobs = jobs_of(experiment, pace)
    stages: dict[str, dict[str, float]] = {}
    for job in jobs:
        spent = stages.setdefault(job.stage, dict.fromkeys(KINDS, 0.0))
        for kind, seconds in job.seconds.items():
            spent[kind] += seconds
    trains = sum(job.stage in ("train_original", "retrain", "finetune", "relearn") for job in jobs)
    at_once = min(cores, trains)
    # The data set is held as it is read and as it is used.
    held = pace.memory["torch"] + 2 * _pixels(experiment)
    fleets = 2 + len(experiment.all_methods()) * experiment.originals
    each = experiment.models + (experiment.relearn.models if experiment.relearn else 0)
    return Estimate(
        jobs=Counter(job.stage for job in jobs),
        seconds=stages,
        gpu_seconds=sum(job.gpu_seconds for job in jobs),
        wall=WORKFLOW_SECONDS + wall_time(jobs, cores, pace.gpu.count if pace.gpu else 0),
        disk=disk(experiment, pace, len(jobs)),
        memory=at_once * held + max(0, cores - at_once) * pace.memory["numpy"],
        models=experiment.originals + fleets * each,
    )


def jobs_of(experiment: Experiment, pace: Pace) -> list[Job]:
    """Return the jobs of an experiment, each with what it takes."""
    prices, n = _Prices(experiment, pace), experiment.models
    methods, originals = experiment.all_methods(), range(experiment.originals)
    retraining = [Step(finetune=[experiment.training])]
    jobs = [_report("prepare_data", []), *(prices.original(number) for number in originals)]
    jobs += [
        prices.fit("retrain", role, ["prepare_data"], retraining, range(first, last + 1), priority=5)
        for role in ("oracle", "retrain")
        for first, last in shards(n, experiment.shards.retrain)
    ]
    if experiment.relearn:
        jobs += [prices.relearn(role, ["prepare_data"], retraining) for role in ("oracle", "retrain")]
    for number in originals:
        for name, method in methods.items():
            fleet, drawn, needs = f"{name} {number}", f"masks {name} {number}", [f"original {number}"]
            spans = [range(first, last + 1) for first, last in shards(n, experiment.shards.unlearn)]
            if method.masks():
                jobs += [prices.masks(drawn, needs, method.steps(), models) for models in spans]
                needs = [drawn]
            jobs += [prices.fit("finetune", fleet, needs, method.steps(), models) for models in spans]
            if experiment.relearn:
                jobs.append(prices.relearn(fleet, needs, method.steps()))
        for name in ["original", *methods, "retrain"]:
            fleet = "retrain" if name == "retrain" else f"{name} {number}"
            jobs.append(prices.metric("evaluate", f"evaluate {name}", ["oracle", fleet], prices.interval))
            again = {f"relearn {fleet}", "relearn oracle"} if experiment.relearn else set()
            again.discard(f"relearn original {number}")
            jobs.append(prices.measures(f"measure {name}", ["oracle", fleet, *again]))
    compared = 2 * prices.interval * experiment.originals
    jobs += [
        prices.metric("compare", "compare", [f"evaluate {a}", f"evaluate {b}"], compared)
        for a, b in experiment.pairs()
    ]
    jobs += [
        prices.metric("scores_by_n", "by_n", [f"evaluate {name}"], prices.by_n)
        for name in [*experiment.drawn(), "retrain"]
    ]
    judged = [f"evaluate {name}" for name in ["original", *methods, "retrain"]]
    measured = [f"measure {name}" for name in ["original", *methods, "retrain"]]
    return [
        *jobs,
        _report("simulate", []),
        _report("scores", [*judged, *measured, "compare", "by_n"]),
        _report("collect", judged),
        *([_report("choose", ["scores"])] if experiment.search else []),
        _report("claims", ["scores", "collect"]),
        _report("tables", ["claims", "simulate"]),
        _report("figures", ["scores", "collect"]),
        _report("paper", ["tables", "figures"]),
        _report("provenance", ["paper"]),
    ]


def _report(stage: str, needs: Sequence[str]) -> Job:
    return Job(stage, stage, frozenset(needs), {"report": REPORT[stage]})


def sizes_of(experiment: Experiment) -> dict[str, int]:
    """Return the number of images of each part, as far as it is known before they are read."""
    data = experiment.data
    forget = data.forgotten or max(1, data.train // ASSUMED)
    return {
        "retain": data.train - forget,
        "forget": forget,
        "validation": data.validation,
        "test": data.test,
    }


def _pixels(experiment: Experiment) -> int:
    """Return the bytes of the images that are used, which are stored."""
    data = experiment.data
    return (data.train + data.validation + data.test) * 3 * data.image_size**2


class _Prices:
    """What jobs of one experiment take at a pace."""

    def __init__(self, experiment: Experiment, pace: Pace):
        self.experiment, self.pace = experiment, pace
        self.sizes, self.replicates = sizes_of(experiment), experiment.replicates
        n = experiment.models
        resampled = self.replicates * pace.metric[subset_size(n)] if n >= SMALLEST_FLEET else 0.0
        # The observed fleets once, then their subsets: see `random_mask.metrics.intervals`.
        self.interval = self.sizes["forget"] * (pace.metric[n] + resampled)
        smaller = sum(self.replicates * pace.metric[size] for size in sizes_below(n))
        self.by_n = self.sizes["forget"] * smaller + (self.interval if n >= 8 else 0.0)

    def original(self, number: int) -> Job:
        pace, recipe = self.pace, self.experiment.training
        images, steps = work_of({"retain": self.experiment.data.train}, recipe)
        evaluated = sum(self.sizes.values())
        # Inference is a forward pass, which costs the whole network more than the one without dead taps.
        seconds = {
            "training": price(Work(images, steps, pace.whole_flops, pace.whole_weights), pace.whole),
            "evaluation": evaluated / pace.inference * pace.whole_flops / pace.flops,
        }
        return self._job(
            "train_original",
            f"original {number}",
            ["prepare_data"],
            seconds,
            (images + evaluated / (1 + BACKWARD)) / pace.gpu.whole if pace.gpu else None,
            10,
            models=1,
        )

    def fit(
        self,
        stage: str,
        group: str,
        needs: list[str],
        steps: Sequence[Step],
        models: range,
        priority: int = 0,
    ) -> Job:
        pace, training, on_gpu = self.pace, 0.0, 0.0
        for step in steps:
            taking = sum(step.models in ("all", ("even", "odd")[model % 2]) for model in models)
            times = taking * step.cycles
            for recipe in step.finetune:
                images, taken = work_of(self.sizes, recipe)
                speed = pace.live[recipe.batch]
                training += times * price(Work(images, taken, pace.flops, pace.weights), speed)
                if pace.gpu:
                    on_gpu += times * images / pace.gpu.live[recipe.batch, len(models)]
            looked = looked_at(step, self.sizes)
            training += times * looked * pace.whole_flops * (1 + BACKWARD) / pace.whole.flops_per_second
            if pace.gpu:
                on_gpu += times * looked / pace.gpu.whole
        evaluated = len(models) * sum(self.sizes.values())
        if pace.gpu:
            on_gpu += evaluated / (1 + BACKWARD) / max(pace.gpu.live.values())
        seconds = {"training": training, "evaluation": evaluated / pace.inference}
        gpu_seconds = on_gpu if pace.gpu else None
        return self._job(stage, group, needs, seconds, gpu_seconds, priority, models=len(models))

    def relearn(self, role: str, needs: list[str], steps: Sequence[Step]) -> Job:
        """Return the job in which models of a fleet are trained once more, and relearn."""
        relearning = self.experiment.relearn
        again = Step(finetune=[relearning.finetune])
        models = range(relearning.models)
        job = self.fit("relearn", f"relearn {role}", needs, [*steps, again], models)
        looks = relearning.models * (relearning.finetune.epochs + 1) * self.sizes["forget"]
        if not self.pace.gpu:
            job.seconds["evaluation"] += looks / self.pace.inference
        return job

    def _job(
        self,
        stage: str,
        group: str,
        needs: list[str],
        seconds: dict[str, float],
        gpu_seconds: float | None,
        priority: int,
        *,
        models: int,
    ) -> Job:
        """Return a job that trains, on a GPU if `gpu_seconds` says how long, and on a core if not."""
        if gpu_seconds is not None:
            seconds = {"training": 0.0}
        seconds["training"] += models * self.pace.model
        seconds["start-up"] = self.pace.start["torch"]
        return Job(stage, group, frozenset(needs), seconds, gpu_seconds or 0.0, priority)

    def masks(self, group: str, needs: list[str], steps: Sequence[Step], models: range) -> Job:
        seconds = {"training": len(models) * masks_of(steps) * self.pace.mask}
        seconds["start-up"] = self.pace.start["numpy"]
        return Job("perturb", group, frozenset(needs), seconds)

    def metric(self, stage: str, group: str, needs: list[str], spent: float) -> Job:
        seconds = {"evaluation": spent, "start-up": self.pace.start["scipy"]}
        return Job(stage, group, frozenset(needs), seconds)

    def measures(self, group: str, needs: list[str]) -> Job:
        counted = self.replicates * kept_of(self.sizes) * SECONDS_A_COUNT
        spent = 2 * self.experiment.models * (counted + SECONDS_A_FIT)
        return Job("measure", group, frozenset(needs), {"evaluation": spent, "start-up": MEASURE_START})


def kept_of(sizes: Mapping[str, int]) -> int:
    """Return of how many images the logits are kept."""
    from random_mask.training.loop import RETAIN_SAMPLE  # takes seconds

    return sum(sizes.values()) - max(0, sizes["retain"] - RETAIN_SAMPLE)


def masks_of(steps: Sequence[Step]) -> int:
    """Return how many masks a model takes."""
    return sum(step.cycles for step in steps if isinstance(step.perturb, RandomMask))


def sizes_below(n_models: int) -> list[int]:
    """Return the sizes of fleets, below that of the experiment, for which a score is estimated."""
    return [2**power for power in range(3, 20) if 2**power < n_models]


def wall_time(jobs: Sequence[Job], cores: int, gpus: int = 0) -> float:
    """Return the seconds until all jobs are done, each started as soon as it can be.

    Args:
        jobs: what is to be done. One that takes a GPU takes a core as well.
        cores: how many run at a time.
        gpus: how many of those that take a GPU run at a time.
    """
    left = Counter(job.group for job in jobs)
    blocked = [(-job.priority, number, job) for number, job in enumerate(jobs)]
    ready: dict[bool, list[tuple[int, int, Job]]] = {False: [], True: []}
    running: list[tuple[float, int, Job]] = []
    free, free_gpus, now, done = cores, gpus, 0.0, True
    while blocked or running or any(ready.values()):
        if done:  # a group is: others may start
            waiting, blocked = blocked, []
            for entry in waiting:
                can = not any(left[group] for group in entry[2].needs)
                heapq.heappush(ready[entry[2].gpu_seconds > 0], entry) if can else blocked.append(entry)
        while free:
            able = [queue for gpu, queue in ready.items() if queue and (not gpu or free_gpus)]
            if not able:
                break
            _, number, job = heapq.heappop(min(able, key=lambda queue: queue[0][:2]))
            free, free_gpus = free - 1, free_gpus - (job.gpu_seconds > 0)
            heapq.heappush(running, (now + job.length, number, job))
        if not running:
            raise ValueError("jobs wait for each other, or for a GPU that is not there")
        now, _, job = heapq.heappop(running)
        free, free_gpus = free + 1, free_gpus + (job.gpu_seconds > 0)
        left[job.group] -= 1
        done = not left[job.group]
    return now


def disk(experiment: Experiment, pace: Pace, n_jobs: int) -> int:
    """Return the bytes of the results, at most."""
    n, sizes = experiment.models, sizes_of(experiment)
    kept = kept_of(sizes)
    methods, originals = experiment.all_methods().values(), experiment.originals
    logits = kept * experiment.data.classes * 4
    fleets = originals + n * (2 + len(methods) * originals)
    masks = sum(masks_of(method.steps()) for method in methods) * originals * n * pace.whole_weights // 8
    rows = originals * (2 + len(methods))
    confidences = rows * 2 * n * sizes["forget"] * 8
    weights = originals * 4 * pace.whole_weights
    return (
        _pixels(experiment) + weights + fleets * logits + masks + confidences + EACH_RUN + n_jobs * EACH_JOB
    )


@dataclass
class _Found:
    """What processes that measured the same thing at the same time found.

    Attributes:
        answers: of each.
        memory: bytes of the largest.
        exits: processor seconds of one after its answer.
    """

    answers: list[dict[str, Any]] = field(default_factory=list)
    memory: int = 0
    exits: float = 0.0

    def median(self, *keys: str) -> float:
        """Return the median over the processes of what stands in their answers under these keys."""
        values = []
        for answer in self.answers:
            value: Any = answer
            for key in keys:
                value = value[key]
            values.append(value)
        return statistics.median(values)


def _beside_each_other(what: str, request: Mapping[str, Any], processes: int) -> _Found:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "random_mask.workflow.calibration", what, json.dumps(request)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    found = _Found()
    for process in running:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"measuring {what} failed, see above")
        found.answers.append(json.loads(output))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = sum(answer.pop("processor_seconds") for answer in found.answers)
    found.exits = max(0.0, used - told) / processes
    found.memory = max(answer.pop("memory") for answer in found.answers)
    return found


def calibrate(experiment: Experiment, *, processes: int | None = None, seconds: float = 6) -> Pace:
    """Measure the pace of this machine for an experiment.

    Args:
        experiment: its recipes, precision, number of models and of forget examples are those measured with.
        processes: how many measure beside each other, by default one on every core.
        seconds: how long training is measured, and the metric for half as long. Starting the processes comes
            on top.

    Raises:
        RuntimeError: if a process that measures fails.
    """
    processes = processes or os.cpu_count() or 1
    methods = experiment.all_methods().values()
    recipes = [recipe for method in methods for step in method.steps() for recipe in step.finetune]
    recipes += [experiment.relearn.finetune] if experiment.relearn else []
    n = experiment.models
    request = {
        "seconds": seconds,
        "precision": experiment.precision,
        "image_size": experiment.data.image_size,
        "recipe": experiment.training.model_dump(mode="json"),
        "batches": sorted({experiment.training.batch, *(recipe.batch for recipe in recipes)}),
        "in_a_job": sorted(set(_jobs_of_models(experiment))),
    }
    torch = _beside_each_other("torch", request, processes)
    first = torch.answers[0]
    metric_request = {
        "seconds": seconds / 2,
        "models": sorted({n, max(2, subset_size(n)), *sizes_below(n)}),
        "examples": sizes_of(experiment)["forget"],
    }
    scipy = _beside_each_other("scipy", metric_request, processes)
    numpy = _beside_each_other("numpy", {"weights": first["whole_weights"]}, processes)
    gpu = None
    if first["gpus"]:
        (answer,) = _beside_each_other("gpu", request, 1).answers
        speeds = {(batch, models): speed for batch, models, speed in answer["live"]}
        gpu = Gpu(first["gpus"], answer["whole"], speeds)
    return Pace(
        flops=first["flops"],
        weights=first["weights"],
        live={
            int(batch): Speed(**{key: torch.median("live", batch, key) for key in speed})
            for batch, speed in first["live"].items()
        },
        whole_flops=first["whole_flops"],
        whole_weights=first["whole_weights"],
        whole=Speed(**{key: torch.median("whole", key) for key in first["whole"]}),
        inference=torch.median("inference"),
        model=torch.median("model"),
        mask=numpy.median("mask"),
        metric={int(models): scipy.median("metric", models) for models in scipy.answers[0]["metric"]},
        start={
            name: found.median("start") + found.exits
            for name, found in (("torch", torch), ("scipy", scipy), ("numpy", numpy))
        },
        memory={"torch": torch.memory, "numpy": max(scipy.memory, numpy.memory)},
        gpu=gpu,
    )


def _jobs_of_models(experiment: Experiment) -> Iterator[int]:
    """Yield the numbers of models that jobs train."""
    for size in (experiment.shards.retrain, experiment.shards.unlearn):
        for first, last in shards(experiment.models, size):
            yield last - first + 1
    if experiment.relearn:
        yield experiment.relearn.models


def report(config: Path, cores: int | None, seconds: float) -> str:
    """Return, as text for the terminal, what an experiment costs on this machine.

    Args:
        config: its configuration.
        cores: that will run it, or None for those of this machine.
        seconds: how long training is measured.

    Raises:
        InputError: if the configuration is wrong.
    """
    experiment = load(config)
    here = machine()
    cores = cores or here["cores"]
    pace = calibrate(experiment, seconds=seconds)
    found = predict(experiment, pace, cores)
    batch = experiment.training.batch
    step = price(Work(batch, 1, pace.flops, pace.weights), pace.live[batch])
    rows = [("core hours", f"{found.core_seconds / 3600:.3g}", "")]
    for kind, spent in found.by_kind().items():
        rows.append((f"  {kind}", f"{spent / 3600:.3g}", f"{spent / found.core_seconds:.0%}"))
    if pace.gpu:
        rows.append(("GPU hours", f"{found.gpu_seconds / 3600:.3g}", f"on {pace.gpu.count}"))
    rows.append(("wall time", duration(found.wall), f"on {cores} core{'s' * (cores > 1)}"))
    rows.append(("memory", f"{found.memory / 1e9:.1f} GB", "of all jobs at a time"))
    rows.append(("disk", f"{found.disk / 1e9:.2g} GB", "at most"))
    lines = [
        f"{experiment.experiment}: {sum(found.jobs.values())} jobs, which train {found.models} models",
        f"a core of this machine ({here['processor']}) trains on {batch / step:.0f} images a second "
        f"while all {here['cores']} do\n",
        columns(rows),
    ]
    if not experiment.data.forgotten:
        lines.append(
            f"\nthe size of the forget set is not known yet: a training image in {ASSUMED} was assumed"
        )
    return "\n".join(lines)
