# Random masking as machine unlearning: from data to paper.
# What is studied is in config/, how it is run in profiles/, the science in src/random_mask/.
import os
import sys
from pathlib import Path
from shlex import quote

from snakemake.utils import min_version

min_version("9.20")

# The code that runs is that of this checkout, whatever else is installed, and the Python is the one that runs
# Snakemake, unless `--sdm conda` brings its own.
SOURCE = Path(workflow.basedir) / "src"
if not Path.cwd().samefile(workflow.basedir) or not os.access(".", os.W_OK):
    sys.exit(
        f"{workflow.basedir}: run this in the repository, where all paths begin, and where it can be written: cd "
        "there, or clone it; for results elsewhere, make `results` a link to there"
    )
if (results := Path("results")).is_symlink() and not results.exists():
    sys.exit(
        f"results: a link to {os.readlink(results)}, which is not there; make that folder"
    )
if results.exists() and not results.is_dir():
    sys.exit("results: a file where the folder of all results belongs; rename it")
sys.path.insert(0, str(SOURCE))
here = quote(str(Path(sys.executable).parent))
path = "" if workflow.deployment_settings.deployment_method else f'PATH={here}:"$PATH" '
shell.prefix(f"export {path}PYTHONPATH={quote(str(SOURCE))} OMP_NUM_THREADS=1; ")


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/unlearn.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


# Neither of these runs in a dry run, nor in the processes of jobs.
onstart:
    # Snakemake's limit on jobs a second, which nothing here comes near, leaves a timer behind for every job that
    # ends; each of them makes it plan anew every second from then on.
    workflow.scheduler.job_rate_limiter = None
    terminal.follow(
        {
            workflow.dag.jobid(job): Share(
                of.seconds(job.rule.name, job.wildcards),
                of.models(job.rule.name, job.wildcards),
            )
            for job in workflow.dag.needrun_jobs()
            if job.is_shell
            for of in [needs(job.wildcards)]
        }
    )


onsuccess:
    if "all" in terminal.rules and not workflow.touch:
        for name in (
            [library.given.experiment.experiment] if library.given else paper.run
        ):
            shell("{sys.executable:q} -m random_mask.cli summary results/{name}")
        if not library.given:
            print(
                Path("results/paper/deviations.txt").read_text(encoding="utf-8"),
                end="",
            )
            print("results/paper.pdf", flush=True)


rule all:
    """The paper and the experiments that it makes here; with `--configfile`, that experiment alone."""
    default_target: True
    input:
        (
            library.given.everything
            if library.given
            else reported(lambda: ["results/paper.pdf", *paper.made_here(library)])
        ),
