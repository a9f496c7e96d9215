"""The profiles for GPUs and for SLURM, as far as they can be tried without either."""

import re

import pytest
import yaml

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("arguments", "gpus"), [([], 1), (["--resources", "gpu=2"], 2)])
def test_never_more_training_jobs_than_gpus(fresh, arguments, gpus):
    config = fresh.root / "config" / "smoke.yaml"
    config.write_text(config.read_text().replace("models: 4", "models: 2").replace("epochs: 2", "epochs: 1"))
    fleets = ("oracle", "retrain")
    targets = [f"results/smoke/fleets/{fleet}/models-0000-0001.npz" for fleet in fleets]
    process = fresh.snakemake("--workflow-profile", "profiles/gpu", *targets, *arguments)
    assert process.returncode == 0, process.stdout
    times = []
    for fleet in fleets:
        benchmark = fresh.result(f"benchmarks/{fleet}/models-0000-0001.tsv")
        end, seconds = benchmark.stat().st_mtime, float(benchmark.read_text().splitlines()[1].split()[0])
        times.append((end - seconds, end))
    (_, first_ends), (second_begins, _) = sorted(times)
    # Two cores are there, so that nothing but the GPUs keeps the second job waiting.
    assert (second_begins < first_ends) == (gpus == 2)


def test_what_is_commented_out_for_a_cluster_is_understood(fresh):
    """The lines on accounts, partitions and GPUs, as someone would take them into use.

    Snakemake also finds here whether a group waits for itself, by way of a rule that is not in it.
    """
    path = fresh.root / "profiles" / "slurm" / "config.yaml"
    text, lines = re.subn(r"^# (?=[a-z-]+:|  [a-z_]+: )", "", path.read_text(), flags=re.M)
    path.write_text(text)
    assert lines == 11
    assert {"default-resources", "slurm-status-command", "set-resources"} <= yaml.safe_load(text).keys()
    assert {"retrain", "unlearn", "page"} <= fresh.planned("--workflow-profile", "profiles/slurm")
