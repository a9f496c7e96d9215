# Reads the configurations and plans the files. Every rule uses `plan`, which gives the plan of a job's experiment,
# `memory`, `minutes` and `stage_code`.
import re
from contextlib import contextmanager
from functools import cache

from random_mask.data.settings import ARCHIVES
from random_mask.errors import InputError
from random_mask.report.names import FIGURES, PAPER_FIGURES, PAPER_TABLES, TABLES
from random_mask.workflow.code import stage_code
from random_mask.workflow.experiments import TAKEN, Library, Paper, read_reported
from random_mask.workflow.paths import Plan, as_settings, paper_sources
from random_mask.workflow.progress import Share, Terminal
from random_mask.workflow.resources import JobResources
from snakemake.logging import logger

terminal = Terminal(logger)


def check(plan: Plan) -> None:
    """Stop before anything is run if an experiment cannot be; say what is to be kept in mind of it."""
    if not workflow.is_main_process:
        return
    if problem := plan.problem():
        raise InputError(problem)
    for caution in plan.experiment.cautions():
        logger.warning(caution)


@contextmanager
def in_one_line():
    """End with the one line of an error, of which Snakemake would make a traceback."""
    try:
        yield
    except InputError as error:
        sys.exit(str(error))


with in_one_line():
    library = Library(
        workflow.overwrite_configfiles or workflow.configfiles, config, check
    )
    paper = Paper(read_reported(), config.get("run"))


def plan(wildcards, **checked) -> Plan:
    """Return the plan of the experiment of a job, which is checked as `Plan.check_target` says."""
    with in_one_line():
        found = library.plan(wildcards.experiment)
        found.check_target(wildcards, **checked)
        return found


def whole(wildcards) -> str:
    """Return the settings of a stage that depends on all of an experiment."""
    return plan(wildcards).experiment.model_dump_json()


@cache
def resources_of(name: str | None) -> JobResources:
    """Return what the jobs of an experiment ask for, or those of none."""
    return JobResources(library.plan(name).experiment if name else None)


def needs(wildcards) -> JobResources:
    """Return what the jobs of an experiment ask for, by the wildcards of one."""
    return resources_of(wildcards.get("experiment"))


def memory(name: str):
    """Return the memory of a rule's jobs, in MB, as a function of wildcards and attempt."""
    return lambda wildcards, attempt: needs(wildcards).memory(name, wildcards, attempt)


def minutes(name: str):
    """Return the run time of a rule's jobs, in minutes, as a function of wildcards and attempt."""
    return lambda wildcards, attempt: needs(wildcards).minutes(name, wildcards, attempt)


def reported(make):
    """Return a function of wildcards that says what the paper needs, or stops in one line."""

    def of(wildcards):
        with in_one_line():
            paper.check()
            return make()

    return of


wildcard_constraints:
    # Other folders of `results` are no experiments.
    experiment=rf"(?!({'|'.join(TAKEN)})/)[a-z0-9][a-z0-9_-]*",
    first=r"\d{4}",
    last=r"\d{4}",
    original=r"\d+",
    method=r"[a-z0-9_.]+",
