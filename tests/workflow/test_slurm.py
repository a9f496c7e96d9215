"""The smallest real experiment, run on a real SLURM of one node, in which one job is killed."""

import fcntl
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Checkout, checkout

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

ONE_NODE = Path(__file__).parents[1] / "slurm" / "one-node.sh"
CANNOT_RUN_HERE = 77
# The test cluster has no database, and the test no time: by default the first look is after 40 seconds.
OPTIONS = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]


@pytest.fixture(scope="module")
def slurm():
    """A SLURM of one node, for one test session at a time."""
    # Installing packages and starting daemons takes root; nothing of the project but this test needs it.
    if os.geteuid() != 0:
        pytest.skip("setting up SLURM needs root")
    with (Path(tempfile.gettempdir()) / "random-mask-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = subprocess.run([ONE_NODE, "start"], stdout=subprocess.PIPE, text=True)
        # Another SLURM is here, which is left alone, or its packages cannot be had: the script says which.
        if started.returncode == CANNOT_RUN_HERE:
            pytest.skip(started.stdout.splitlines()[-1])
        assert started.returncode == 0, started.stdout
        yield
        subprocess.run([ONE_NODE, "stop"], check=True)


@dataclass
class Run:
    """A finished run on SLURM.

    Attributes:
        made: the checkout in which it ran.
        output: what Snakemake printed.
        cancelled: SLURM's number of the job that was killed.
    """

    made: Checkout
    returncode: int
    output: str
    cancelled: str

    def logs(self) -> list[Path]:
        """What SLURM kept of each submission."""
        return sorted((self.made.root / "results" / "slurm-logs").rglob("*.log"))

    def submissions(self) -> list[str]:
        """SLURM's number of each submission."""
        return re.findall(r"has been submitted with SLURM jobid (\d+)", self.output)


@pytest.fixture(scope="module")
def run(slurm, tmp_path_factory) -> Run:
    """The smoke experiment, run through SLURM; a training job is killed while it trains."""
    made = checkout(tmp_path_factory.mktemp("slurm"))
    printed = made.root / "printed"
    command = [Path(sys.executable).parent / "snakemake", "--workflow-profile", "profiles/slurm", *OPTIONS]
    with printed.open("w") as output:
        process = subprocess.Popen(
            [*command, "--configfile", "config/smoke.yaml"],
            cwd=made.root,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            cancelled = cancel_training(made, process)
            returncode = process.wait(timeout=1800)
        finally:
            process.terminate()
            process.wait()
    return Run(made, returncode, printed.read_text(), cancelled)


def cancel_training(made: Checkout, process: subprocess.Popen) -> str:
    """Wait until the oracle is being trained, kill that job, and return its number."""
    log = made.result("logs/oracle/models-0000-0003.log")
    while not (log.exists() and "epoch 1/2" in log.read_text()):
        assert process.poll() is None, (made.root / "printed").read_text()
        time.sleep(0.2)
    (number,) = [
        number
        for number, comment in map(str.split, ask("squeue", "--noheader", "--format=%i %k").splitlines())
        if comment == "rule_retrain_wildcards_smoke_oracle_0000_0003"
    ]
    ask("scancel", number)
    return number


def ask(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def asked_for(number: str) -> tuple[int, int]:
    """Return the minutes and MB that a job asked for."""
    shown = ask("scontrol", "show", "job", number)
    hours, minutes = re.search(r"TimeLimit=(\d+):(\d+):00", shown).groups()
    return 60 * int(hours) + int(minutes), int(re.search(r"MinMemoryNode=(\d+)M", shown)[1])


def test_a_killed_job_is_retried_with_more_time_and_memory(run):
    assert run.returncode == 0, run.output
    assert f"SLURM-job '{run.cancelled}' failed, SLURM status is: 'CANCELLED'" in run.output
    attempts = {path.stem for path in run.logs() if path.parent.name == "smoke_oracle_0000_0003"}
    (second,) = attempts - {run.cancelled}
    for first, more in zip(asked_for(run.cancelled), asked_for(second), strict=True):
        assert more == 2 * first


def test_results_are_those_of_a_local_run(run, finished):
    for name in ("scores.csv", "comparisons.csv", "figures/scores.pdf"):
        assert run.made.result(name).read_bytes() == finished.result(name).read_bytes(), name


def test_logs_are_where_the_profile_says(run):
    """Those of SLURM, of failed and of finished jobs, and those of the stages."""
    assert sorted(path.stem for path in run.logs()) == sorted(run.submissions())
    assert "CANCELLED" in next(path for path in run.logs() if path.stem == run.cancelled).read_text()
    assert "done in" in run.made.result("logs/oracle/models-0000-0003.log").read_text()


def test_short_jobs_share_submissions(run):
    (steps,) = re.findall(r"(\d+) of \d+ steps \(100%\) done", run.output)
    # One step runs nothing, and one submission was killed.
    jobs, submissions = int(steps) - 1, len(run.submissions()) - 1
    assert submissions < jobs / 2
    folders = " ".join(path.parent.name for path in run.logs())
    assert all(f"group_{name}_" in folders for name in ("unlearn", "evaluate", "compare", "report", "page"))


def test_nothing_is_left_to_do_for_a_local_run(run):
    assert "Nothing to be done" in run.made.snakemake().stdout
