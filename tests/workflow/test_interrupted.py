"""Runs that are killed at random moments go on, and end with the same bytes as one that was not."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from random_mask.artifacts.files import read_npz

pytestmark = pytest.mark.slow


def start(checkout, config: Path, *arguments: str) -> subprocess.Popen:
    """Start snakemake as the head of a process group, as a terminal does."""
    command = [Path(sys.executable).parent / "snakemake", "--cores", "2", *arguments, "--configfile", config]
    return subprocess.Popen(
        command, cwd=checkout.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid for child in map(int, children) for pid in (child, *descendants(child))]


def kill_workflow(process) -> None:
    process.kill()


def kill_job(process) -> None:
    jobs = descendants(process.pid)
    if jobs:
        os.kill(random.Random(len(jobs)).choice(jobs), signal.SIGKILL)


def press_ctrl_c(process) -> None:
    os.killpg(process.pid, signal.SIGINT)


# After a job was killed all others are finished, which takes longest and comes last.
WAYS = (kill_workflow, press_ctrl_c, kill_job)


def interrupt(checkout, config: Path, way, seconds: float) -> bool:
    """Start or go on, interrupt after some seconds, and wait for the end; return whether there was time."""
    process = start(checkout, config)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        way(process)
        process.communicate(timeout=1800)  # other jobs go on after one was killed
        # One that was killed while it still planned has not locked the folder.
        if way is kill_workflow and any((checkout.root / ".snakemake" / "locks").glob("*")):
            locked = checkout.snakemake(config=config)
            assert "--unlock" in locked.stdout
            assert checkout.snakemake("--unlock", config=config).returncode == 0
        return True
    assert process.returncode == 0, process.stderr.read()
    return False


def test_interrupted_runs_end_with_the_same_bytes(finished, fresh):
    """Three interruptions, or as many as INTERRUPTIONS says, at the moments of INTERRUPTION_SEED.

    Of the run that was not interrupted it does a part, cut into other jobs.
    """
    wanted = int(os.environ.get("INTERRUPTIONS", "3"))
    rng = random.Random(int(os.environ.get("INTERRUPTION_SEED", wanted)))
    content = yaml.safe_load((fresh.root / "config" / "smoke.yaml").read_text())
    content["shards"] = {"retrain": 3, "unlearn": 4}
    content["methods"] = {name: content["methods"][name] for name in ("finetune", "random_mask")}
    del content["ratio_sweep"], content["relearn"]
    config = fresh.root / "config" / "other.yaml"
    config.write_text(yaml.safe_dump(content))

    done = 0
    while done < wanted:
        if interrupt(fresh, config, WAYS[done % len(WAYS)], rng.uniform(2, 10)):
            done += 1
        else:  # that was the end of a run: begin anew
            shutil.rmtree(fresh.root / "results")
    last = fresh.snakemake(config=config)
    assert last.returncode == 0, last.stdout
    for name in ("scores.csv", "comparisons.csv", "measures.csv"):
        own, whole = (one.result(name).read_text().splitlines() for one in (fresh, finished))
        assert len(own) > 2, name
        assert set(own) <= set(whole), name
    arrays, all_arrays = (read_npz(one.result("examples.npz")) for one in (fresh, finished))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, all_arrays[name], err_msg=name)
    assert not list((fresh.root / "results").rglob(".*.tmp*"))
