"""The prediction of costs: the jobs that Snakemake plans, their arithmetic at injected rates, the command."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from random_mask import cli
from random_mask.errors import InputError
from random_mask.experiment.config import load, validate
from random_mask.workflow import estimate
from random_mask.workflow.estimate import Job, calibrate, planned, predict, wall_time
from random_mask.workflow.paths import Plan
from random_mask.workflow.work import JobWork, price

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "config" / "smoke.yaml"


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def smoke():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return planned(load(SMOKE), SMOKE)


def contents(folder):
    return sorted(folder.rglob("*")) if folder.exists() else None


def test_the_jobs_are_those_of_the_workflow(tmp_path):
    content = yaml.safe_load(SMOKE.read_text()) | {"experiment": "planned", "originals": 2}
    content["shards"] = {"retrain": 1, "unlearn": 3}
    path = tmp_path / "planned.yaml"
    path.write_text(yaml.safe_dump(content))
    before = contents(ROOT / "results")
    jobs, experiment = planned(load(path), path), validate(content)
    assert contents(ROOT / "results") == before
    plan, counts = Plan(experiment), Counter(job.rule for job in jobs)
    roles = [plan.role(method, number) for method, number in plan.rows]
    fleets = {role: len(plan.fleet(role)) for role in roles}
    assert counts["train_original"] == 2
    assert counts["retrain"] == len(plan.fleet("oracle")) + fleets["retrain"]
    assert counts["unlearn"] == sum(n for role, n in fleets.items() if "/original-" in role)
    assert counts["evaluate"] == len(plan.evaluations())
    assert counts["relearn"] == 2 + 2 * len(experiment.all_methods())
    assert counts["page"] == 1
    assert "all" not in counts


def test_all_models_of_the_workflow_are_trained(smoke):
    # One original, and of each of two retrained fleets and four methods four models, two of them once more.
    assert sum(job.work.models for job in smoke) == 1 + (2 + 4) * (4 + 2)


def test_jobs_wait_for_what_they_read(smoke):
    rules_before = {
        rule: {smoke[number].rule for job in smoke if job.rule == rule for number in job.after}
        for rule in ("prepare_data", "retrain", "unlearn", "evaluate", "page")
    }
    assert rules_before["prepare_data"] == set()
    assert rules_before["retrain"] == {"prepare_data"}
    assert rules_before["unlearn"] == {"prepare_data", "train_original", "mask"}
    assert rules_before["evaluate"] == {"prepare_data", "train_original", "retrain", "unlearn"}
    assert rules_before["page"] == {"prepare_data", "collect", "scores", "claims", "figures"}
    priority = {job.rule: job.priority for job in smoke}
    assert priority["train_original"] > priority["retrain"] > priority["unlearn"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "image_folder", "path": "nowhere"}, "nowhere: no such file or folder"),
        ({"name": "image_folder", "path": "README.md", "groups": "none.csv"}, "none.csv: no such file"),
    ],
    ids=["data", "groups"],
)
def test_what_is_missing_is_said_as_snakemake_says_it(tmp_path, data, message):
    content = yaml.safe_load(SMOKE.read_text())
    content["data"] |= data
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=message):
        planned(load(path), path)


def test_elsewhere_nothing_can_be_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="root of the repository"):
        planned(load(SMOKE), SMOKE)


def test_a_price_is_the_sum_over_units():
    work = JobWork(models=2, images=100, steps=10)
    assert price(work, {"images": 0.5, "steps": 2, "masks": 7}) == 100 * 0.5 + 10 * 2
    assert price(work, {"starts": 3, "trains": 4}) == 7
    assert price(JobWork(masks=2), {"starts": 3, "trains": 4, "masks": 7}) == 3 + 2 * 7


def job(seconds, after=(), **options) -> Job:
    return Job("rule", JobWork(report=seconds), frozenset(after), **options)


def lengths(jobs):
    return [job.work.report for job in jobs]


@pytest.mark.parametrize(("cores", "wall"), [(1, 20), (2, 11), (3, 11), (9, 11)])
def test_wall_time_respects_what_jobs_wait_for(cores, wall):
    jobs = [job(9), job(4, priority=1), job(5, [1]), job(2, [2])]
    assert wall_time(jobs, lengths(jobs), cores) == wall


def test_jobs_of_a_higher_priority_start_first():
    long_last = [job(1), job(1), job(4)]
    assert wall_time(long_last, lengths(long_last), 2) == 5
    long_first = [job(1), job(1), job(4, priority=1)]
    assert wall_time(long_first, lengths(long_first), 2) == 4


def test_on_more_cores_it_takes_less_time_but_never_less_than_its_longest_chain(smoke):
    rates = {"starts": 1.0, "images": 0.01, "evaluated": 0.004, "resampled": 0.001}
    spent, _ = predict(smoke, rates, 1)
    walls = [predict(smoke, rates, cores)[1] - estimate.WORKFLOW_SECONDS for cores in (1, 2, 4, 10_000)]
    assert walls == sorted(walls, reverse=True)
    assert walls[0] == pytest.approx(sum(spent.values()))
    ends: list[float] = []
    for each in smoke:  # in an order in which they can be done
        ends.append(max((ends[number] for number in each.after), default=0) + price(each.work, rates))
    assert walls[-1] == pytest.approx(max(ends))


def test_a_calibration_on_this_machine(smoke):
    rates, memory = calibrate(SMOKE, processes=1, seconds=0.1)
    assert rates["full_images"] > rates["images"] > rates["evaluated"] > 0
    assert rates["starts"] > 0
    assert rates["trains"] > 0
    assert all(hasattr(JobWork(), unit) for unit in rates)
    assert memory > 10**8
    assert sum(predict(smoke, rates, 1)[0].values()) > len(smoke) * rates["starts"]


def test_the_command_prints_the_costs(capsys, monkeypatch):
    rates = {"images": 0.01, "steps": 0.0, "starts": 1.0}
    monkeypatch.setattr(estimate, "calibrate", lambda configfile, processes, seconds: (rates, 10**9))
    assert cli.main(["estimate", str(SMOKE), "--cores", "3"]) == 0
    printed = capsys.readouterr()
    for text in (
        "smoke: 48 jobs, which train 37 models",
        "trains on 100 images a second",
        "core hours",
        "  unlearn",
        "wall time",
        "on 3 cores",
        "memory            3.0 GB",
        "disk",
        "GPU",
    ):
        assert text in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such configuration file"),
        ("a: [", "not valid YAML"),
        (json.dumps(yaml.safe_load(SMOKE.read_text()) | {"models": 1, "sed": 2}), "models: "),
    ],
    ids=["absent", "no yaml", "two mistakes"],
)
def test_a_bad_configfile_is_one_line_a_mistake(tmp_path, capsys, content, message):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    assert cli.main(["estimate", "--configfile", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"random-mask: {path}: ")
    assert message in captured.err
    assert captured.err.count("\n") == captured.err.count(str(path))


@pytest.mark.parametrize(
    "module", ["random_mask.cli", "random_mask.workflow.resources", "random_mask.workflow.estimate"]
)
def test_planning_need_not_wait_for_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
