# Reads the configurations and plans the files. Every rule uses `plan`, which gives the plan of a job's experiment,
# `memory`, `minutes` and `stage_code`.
from functools import cache

from random_mask.data.settings import ARCHIVES
from random_mask.errors import InputError
from random_mask.artifacts.records import first_damaged
from random_mask.report.names import FIGURES, PAPER_FIGURES, PAPER_TABLES, TABLES
from random_mask.workflow.code import stage_code
from random_mask.workflow.experiments import Library, Paper, read_reported
from random_mask.workflow.paths import Plan, as_settings, paper_sources
from random_mask.workflow.progress import Share, Terminal
from random_mask.workflow.resources import JobResources
from snakemake.logging import logger

terminal = Terminal(logger)


def check(plan: Plan) -> None:
    """Stop before anything is run if an experiment cannot be; say what is to be kept in mind of it."""
    if not workflow.is_main_process:
        return
    # A damaged file would make Snakemake run what reads it, and delete good results before that fails.
    if (
        problem := first_damaged(plan.results)
        or plan.missing_data()
        or plan.unusable_function()
        or plan.unusable_oracle()
    ):
        raise InputError(problem)
    for caution in plan.experiment.cautions():
        logger.warning(caution)


try:
    library = Library(
        workflow.overwrite_configfiles or workflow.configfiles, config, check
    )
    paper = Paper(read_reported(), config.get("run"))
except InputError as error:
    sys.exit(str(error))


def plan(wildcards, **checked) -> Plan:
    """Return the plan of the experiment of a job, whose method is checked as `check_method` says."""
    try:
        found = library.plan(wildcards.experiment)
        found.check_method(wildcards.get("method"), **checked)
        return found
    except InputError as error:  # Snakemake would make a traceback of it
        sys.exit(str(error))


@cache
def needs(name: str | None) -> JobResources:
    """Return what the jobs of an experiment ask for, or those of none."""
    return JobResources(library.plan(name).experiment if name else None)


def memory(rule: str):
    """Return the memory of a rule's jobs, in MB, as a function of wildcards and attempt."""
    return lambda wildcards, attempt: needs(wildcards.get("experiment")).memory(rule)(
        wildcards, attempt
    )


def minutes(rule: str):
    """Return the run time of a rule's jobs, in minutes, as a function of wildcards and attempt."""
    return lambda wildcards, attempt: needs(wildcards.get("experiment")).minutes(rule)(
        wildcards, attempt
    )


def reported(make):
    """Return a function of wildcards that says what the paper needs, or stops in one line."""

    def of(wildcards):
        try:
            paper.check()
            return make()
        except InputError as error:
            sys.exit(str(error))

    return of


def made_here() -> list[str]:
    """Return the files of the experiments of the paper that are made here."""
    return [path for name in paper.run for path in library.plan(name).everything]


wildcard_constraints:
    # Other folders of `results` are no experiments.
    experiment=r"(?!(download|paper|slurm-logs|try)/)[a-z0-9][a-z0-9_-]*",
    first=r"\d{4}",
    last=r"\d{4}",
    original=r"\d+",
    method=r"[a-z0-9_.]+",
