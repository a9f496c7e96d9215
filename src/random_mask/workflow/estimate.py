"""Predicts what an experiment costs before it is started: core hours, wall time, disk and memory.

The jobs are those that Snakemake plans, what they do is counted by `workflow.work`, and a unit of work is
priced at what it takes on this machine while all cores do the same.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from random_mask.artifacts.machine import machine
from random_mask.errors import InputError
from random_mask.experiment.config import Experiment, load
from random_mask.workflow.experiments import Library
from random_mask.workflow.progress import duration
from random_mask.workflow.work import UNKNOWN, JobWork, Workload, price

__all__ = ["Job", "calibrate", "planned", "predict", "report", "wall_time"]

ASSUMED = {"models": 0.2, "masks": 0.03, "counted": 1.1e-7, "report": 1.0}
"""Seconds for units that are not measured: they are little of any experiment but the smallest. Reading and
downloading images take time too, which is not predicted."""
WORKFLOW_SECONDS = 3
"""What Snakemake takes before the first job."""


@dataclass(frozen=True)
class Job:
    """One job of the workflow; `after` are those that must be done before, by their place in the plan."""

    rule: str
    work: JobWork
    after: frozenset[int] = frozenset()
    priority: int = 0


def report(configfile: Path, cores: int | None, seconds: float) -> str:
    """Return what an experiment costs if nothing of it is there yet, as text.

    So many cores run a job each, by default those that this process may use; all of these measure for
    `seconds` at least.

    Raises:
        InputError: in one line, if the experiment cannot be planned here.
    """
    experiment, here = load(configfile), machine()
    jobs, usable = planned(experiment, configfile), usable_cores()
    cores = cores or usable
    rates, memory = calibrate(configfile, processes=usable, seconds=seconds)
    spent, wall = predict(jobs, rates, cores)
    at_once = min(cores, sum(job.work.trains for job in jobs))
    # A job holds the data set as it is read and as it is used.
    held, disk = at_once * (memory + 2 * Workload(experiment).pixels), sum(job.work.written for job in jobs)
    total, counts = sum(spent.values()), Counter(job.rule for job in jobs)
    rows = [("core hours", f"{total / 3600:.3g}", "")]
    for rule, of_rule in sorted(spent.items(), key=lambda item: -item[1]):
        share = f"{of_rule / total:4.0%}  {counts[rule]} job{'s' * (counts[rule] > 1)}"
        rows.append((f"  {rule}", f"{of_rule / 3600:.2g}", share))
    rows.append(("wall time", duration(wall), f"on {cores} core{'s' * (cores > 1)}"))
    rows.append(("memory", f"{held / 1e9:.1f} GB", "of all jobs at a time"))
    rows.append(("disk", f"{disk / 1e9:.2g} GB", "at most"))
    speed = 1 / (rates["images"] + rates["steps"] / experiment.training.batch)
    models = sum(job.work.models for job in jobs)
    lines = [
        f"{experiment.experiment}: {len(jobs)} jobs, which train {models} models",
        f"a core of this machine ({here['processor']}) trains on {speed:.0f} images a second, "
        f"{usable} core{'s' * (usable > 1)} at a time",
        "",
        *(f"{name:<18}{value:<9}{comment}".rstrip() for name, value, comment in rows),
        "",
        "Not predicted: downloads, and what GPUs would take; all of this is on cores.",
    ]
    if not experiment.data.forgotten:
        lines.append(f"The forget set's size is not known yet: {UNKNOWN:.0%} of the training images assumed.")
    if own := experiment.own():
        lines.append(
            f"Not known before: what {', '.join(own)} costs, your own; as much as retraining is assumed."
        )
    return "\n".join(lines)


def usable_cores() -> int:
    """Return how many processors this process may use: not always all of the machine, as under SLURM."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dry_run(configfile: Path) -> list[Any]:
    """Return what Snakemake says of the jobs of an experiment, in its order, as if none were done.

    It plans them in a dry run, from the root of the repository, and writes nothing but its log.

    Raises:
        InputError: in one line, if it cannot.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import WorkflowError
    from snakemake.logging import logger
    from snakemake.settings import types

    if not Path("Snakefile").exists():
        raise InputError(f"{Path.cwd()}: no Snakefile here; run this from the root of the repository")
    told: list[Any] = []

    def keep(record: logging.LogRecord) -> bool:
        # Of `all`, which has no command, there is nothing to do. Nothing is printed.
        if getattr(record, "event", None) == "job_info" and getattr(record, "shellcmd", None):
            told.append(record)
        return False

    try:
        with SnakemakeApi() as api:
            logger.addFilter(keep)
            workflow = api.workflow(
                types.ResourceSettings(cores=1), types.ConfigSettings(configfiles=[configfile])
            )
            everything = types.DAGSettings(forceall=True, force_incomplete=True)
            workflow.dag(everything).execute_workflow(executor="dryrun")
    except (SystemExit, WorkflowError) as error:
        raise InputError(f"{configfile}: cannot be planned: {error}") from None
    finally:
        logger.removeFilter(keep)
    return told


def planned(experiment: Experiment, configfile: Path) -> list[Job]:
    """Return the jobs of an experiment; see `dry_run`."""
    told = dry_run(configfile)
    library = Library()
    workloads = {experiment.experiment: Workload(experiment)}

    def work(job: Any) -> JobWork:
        name = job.wildcards.get("experiment")
        if name and name not in workloads:  # another one that this one's forget set is chosen by
            workloads[name] = Workload(library.plan(name).experiment)
        return workloads[name or experiment.experiment].of(job.rule_name, SimpleNamespace(**job.wildcards))

    maker = {path: number for number, job in enumerate(told) for path in job.output}
    return [
        Job(
            rule=job.rule_name,
            work=work(job),
            after=frozenset(maker[path] for path in job.input if path in maker),
            priority=job.priority,
        )
        for job in told
    ]


def predict(jobs: Sequence[Job], rates: Mapping[str, float], cores: int) -> tuple[dict[str, float], float]:
    """Return the seconds of one core that jobs take, by rule, and those from start to end on some cores.

    `rates` are the seconds for one of a unit of work, see `calibrate`.
    """
    lengths = [price(job.work, rates) for job in jobs]
    spent = dict.fromkeys((job.rule for job in jobs), 0.0)
    for job, length in zip(jobs, lengths, strict=True):
        spent[job.rule] += length
    return spent, WORKFLOW_SECONDS + wall_time(jobs, lengths, cores)


def wall_time(jobs: Sequence[Job], lengths: Sequence[float], cores: int) -> float:
    """Return the seconds until all jobs are done, which take so many each, one a core, as soon as it can."""
    waits_for = [set(job.after) for job in jobs]
    ready = [(-job.priority, number) for number, job in enumerate(jobs) if not job.after]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < cores:
            _, number = heapq.heappop(ready)
            heapq.heappush(running, (now + lengths[number], number))
        now, done = heapq.heappop(running)
        for number, waited in enumerate(waits_for):
            if waited == {done}:
                heapq.heappush(ready, (-jobs[number].priority, number))
            waited.discard(done)
    return now


def calibrate(configfile: Path, *, processes: int, seconds: float) -> tuple[dict[str, float], int]:
    """Measure what this machine takes for the work of an experiment, in so many processes at a time.

    Each measures for `seconds` at least; starting them comes on top.

    Returns:
        The processor seconds for one of a unit of work, by the attributes of `work.JobWork`, and the bytes of
        memory of a job that trains, with a data set of a few images.

    Raises:
        RuntimeError: if a process that measures fails.
    """
    calibration = [sys.executable, "-m", "random_mask.workflow.calibration", str(configfile), str(seconds)]
    answers = [json.loads(text) for text in _beside_each_other(calibration, processes)[0]]
    # What a stage imports, it has imported when it explains its options.
    start, training_start = (
        _beside_each_other([sys.executable, "-m", f"random_mask.stages.{stage}", "--help"], processes)[1]
        for stage in ("evaluate", "retrain")
    )
    measured = {unit: statistics.median(rates[unit] for rates, _ in answers) for unit in answers[0][0]}
    starts = {"starts": start, "trains": max(0.0, training_start - start)}
    return ASSUMED | starts | measured, max(memory for _, memory in answers)


def _beside_each_other(command: Sequence[str], processes: int) -> tuple[list[str], float]:
    """Run a command in so many processes; return what each prints, and the processor seconds of one."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start = partial(
        subprocess.Popen, command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )
    running = [start() for _ in range(processes)]
    printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError(f"{' '.join(command)} failed, see above")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return printed, used / processes
