# Checks the configuration and plans the files; every rule uses `experiment`, `plan`, `needs` and `stage_code`.
import re

from random_mask.experiment.config import read, validate
from random_mask.errors import InputError
from random_mask.workflow.paths import Plan, paper_sources
from random_mask.artifacts.records import first_damaged
from random_mask.workflow.resources import JobResources
from random_mask.data.settings import ARCHIVES
from random_mask.workflow.code import stage_code
from random_mask.workflow.progress import Share, Terminal
from snakemake.logging import logger

try:
    files = workflow.overwrite_configfiles or workflow.configfiles
    for file in files:
        read(file)  # Snakemake would not say that a key stands twice.
    experiment = validate(config, source=", ".join(map(str, files)))
except InputError as error:
    sys.exit(str(error))

plan = Plan(experiment)
needs = JobResources(experiment)
terminal = Terminal(logger)

# A damaged file would make Snakemake run what reads it, and delete good results before that fails.
if workflow.is_main_process and (
    problem := first_damaged(plan.results)
    or plan.missing_data()
    or plan.unusable_function()
):
    sys.exit(problem)
if workflow.is_main_process:
    for caution in experiment.cautions():
        logger.warning(caution)


wildcard_constraints:
    first=r"\d{4}",
    last=r"\d{4}",
    original=r"\d+",
    method=r"[a-z0-9_.]+",
    # Where a paper is made: of a run, or of the authors' results of the experiment of that name.
    folder=r"results/[a-z0-9][a-z0-9_-]*(/reference)?",
