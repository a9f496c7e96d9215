"""Profiles say how to run the rules, so they have to name them rightly and all of them."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = {
    match[1]: match[2]
    for path in (ROOT / "workflow" / "rules").glob("*.smk")
    for match in re.finditer(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.M | re.S)
}
TRAINS = {"train_original", "retrain", "unlearn", "unlearn_own", "relearn"}


def profile(name: str) -> dict:
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", ["gpu", "slurm"])
def test_a_profile_repeats_the_default_one_which_it_replaces(name):
    assert profile("default").items() <= profile(name).items()


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_asks_for_its_own_memory_and_time(rule):
    assert f'mem_mb=memory("{rule}"),' in RULES[rule]
    assert f'runtime=minutes("{rule}"),' in RULES[rule]


def test_what_trains_asks_for_a_gpu_in_the_profile_for_gpus_and_there_alone():
    gpu = profile("gpu")
    assert gpu["resources"] == {"gpu": 1}
    assert gpu["set-resources"] == {rule: {"gpu": 1} for rule in TRAINS}
    assert not any("gpu" in text for text in RULES.values())
    assert "set-resources" not in profile("slurm")


def test_every_short_rule_shares_submissions():
    slurm = profile("slurm")
    long = {"prepare_data", "train_original", "retrain", "relearn", "unlearn_own"}
    assert RULES.keys() - slurm["groups"].keys() == long | {"download"}  # which runs where `snakemake` does
    assert slurm["groups"].keys() <= RULES.keys()
    assert slurm["group-components"].keys() <= set(slurm["groups"].values())
