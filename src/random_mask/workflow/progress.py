"""What a run prints to the terminal: a line for each job that starts, and how far the run has come.

Snakemake's log file keeps everything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Share", "Terminal", "columns", "duration"]

REPLACED = ("job_info", "job_started", "job_finished", "progress")
"""Snakemake's events that are said in fewer words, or not at all."""
NOISE = "Select jobs to execute"
"""How messages without an event begin that are dropped as well."""
EVERY = 0.05
"""The share of the steps after which progress is printed again."""
TOO_EARLY = 0.1
"""The share of the work before which nothing is said about the time left."""


@dataclass(frozen=True)
class Share:
    """What one job is of a run: its estimated work, in any unit, and the models that it trains."""

    seconds: float
    models: int = 0


class Terminal(logging.Filter):
    """A filter that replaces, in what a handler prints, Snakemake's reports of jobs by shorter ones.

    The time left is the time spent, times the work that is left over the work that is done.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic):
        """Print nothing before `follow`; Snakemake's logger prints the lines, the clock gives seconds."""
        super().__init__()
        self._logger, self._clock = logger, clock
        self._jobs: Mapping[int, Share] = {}
        self._started, self._finished, self._next = clock(), set[int](), 0.0
        self.rules: set[str] = set()
        """The rules of the jobs that were started."""

    def follow(self, jobs: Mapping[int, Share]) -> None:
        """Begin: these jobs, by Snakemake's number, are all of the run."""
        self._jobs, self._started = jobs, self._clock()
        for handler in self._logger.handlers:
            if handler.name == "DefaultStreamHandler":
                handler.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether Snakemake's own words are printed; what replaces them is printed at once."""
        # Snakemake adds what a message means as attributes of the record.
        said: Any = record
        event = getattr(record, "event", None)
        if event == "job_info":
            self.rules.add(said.rule_name)
            if said.rule_msg:  # `all` has nothing to say
                self._print(said.rule_msg)
        elif event == "job_finished":
            self._finished.add(said.job_id)
        elif event == "progress" and (said.done == said.total or said.done >= self._next * said.total):
            self._next = said.done / said.total + EVERY
            self._print(self.progress(said.done, said.total))
        return event not in REPLACED and not str(record.msg).startswith(NOISE)

    def _print(self, text: str) -> None:
        self._logger.info(f"{time.strftime('%H:%M:%S')}  {text}")

    def progress(self, done: int, total: int) -> str:
        """Return how far the run has come, of whose steps so many are done."""
        parts = [f"{done} of {total} steps ({100 * done // total}%) done"]
        finished = [self._jobs[number] for number in self._finished if number in self._jobs]
        models = sum(job.models for job in self._jobs.values())
        if models:
            parts.append(f"{sum(job.models for job in finished)} of {models} models trained")
        ahead = sum(job.seconds for number, job in self._jobs.items() if number not in self._finished)
        work = sum(job.seconds for job in finished)
        if ahead and work >= TOO_EARLY * (work + ahead):
            parts.append(f"about {duration((self._clock() - self._started) * ahead / work)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is read."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines, with their cells one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in cells)
