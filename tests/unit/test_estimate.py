"""The prediction of costs: its arithmetic at an injected pace, and the command."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from random_mask import cli
from random_mask.experiment.config import Experiment, load, validate
from random_mask.experiment.cost import Speed
from random_mask.settings import Step
from random_mask.workflow import estimate
from random_mask.workflow.estimate import Gpu, Job, Pace, calibrate, jobs_of, predict, wall_time
from random_mask.workflow.paths import Plan

CONFIG = Path(__file__).parents[2] / "config"
SMOKE = yaml.safe_load((CONFIG / "smoke.yaml").read_text())
# An image costs a second and so does a step, without dead taps; of the whole network, two.
PACE = Pace(
    flops=1,
    weights=1,
    live={32: Speed(3, 1), 64: Speed(3, 1)},
    whole_flops=2,
    whole_weights=2,
    whole=Speed(3, 1),
    inference=1,
    model=10,
    mask=7,
    metric={models: models / 1000 for models in range(1, 513)},
    start={"torch": 5, "scipy": 3, "numpy": 2},
    memory={"torch": 10**9, "numpy": 10**8},
)


def experiment(**changes) -> Experiment:
    return validate(SMOKE | changes)


def costs(found: estimate.Estimate, stage: str) -> dict[str, float]:
    return {kind: seconds for kind, seconds in found.seconds[stage].items() if seconds}


def test_costs_are_those_computed_by_hand():
    found = predict(experiment(), PACE, cores=1)
    # 128 training images, 112 without forget; batches of 32, so 4 steps an epoch; 224 images are evaluated.
    assert costs(found, "train_original") == {
        "training": 2 * (2 * 128 + 2 * 4) + 10,
        "evaluation": 2 * 224,
        "start-up": 5,
    }
    assert costs(found, "retrain") == {
        "training": 2 * 4 * (2 * 112 + 2 * 4 + 10),
        "evaluation": 2 * 4 * 224,
        "start-up": 2 * 5,
    }
    # Four methods, of which three draw masks: the sweep's ratio of 0 does as well.
    assert costs(found, "finetune") == {
        "training": 4 * 4 * (112 + 4 + 10),
        "evaluation": 4 * 4 * 224,
        "start-up": 4 * 5,
    }
    # Two models of each of the six fleets once more, then two epochs of the 16 forget examples.
    again = 2 * 16 + 2 * 1 + 10
    assert costs(found, "relearn") == {
        "training": 2 * 2 * (2 * 112 + 2 * 4 + again) + 4 * 2 * (112 + 4 + again),
        "evaluation": 6 * 2 * (224 + 3 * 16),
        "start-up": 6 * 5,
    }
    assert costs(found, "perturb") == {"training": 3 * 4 * 7, "start-up": 3 * 2}
    # 16 forget examples: once with all 4 models, and 100 times with 3 of them.
    interval = 16 * (0.004 + 100 * 0.003)
    assert costs(found, "evaluate") == pytest.approx({"evaluation": 6 * interval, "start-up": 6 * 3})
    assert costs(found, "compare") == pytest.approx({"evaluation": 5 * 2 * interval, "start-up": 5 * 3})
    assert costs(found, "scores_by_n") == {"start-up": 5 * 3}  # no smaller fleet has 8 models
    assert found.models == 1 + (2 + 4) * (4 + 2)
    assert found.core_seconds == pytest.approx(sum(found.by_kind().values()))


def test_scores_of_smaller_fleets_are_counted():
    found = predict(experiment(models=20), PACE, cores=1)
    interval = 0.020 + 100 * 0.015
    assert costs(found, "scores_by_n")["evaluation"] == pytest.approx(
        5 * 16 * (100 * 0.008 + 100 * 0.016 + interval)
    )


def test_jobs_are_those_of_the_workflow():
    for changes in ({}, {"models": 10, "originals": 2}, {"shards": {"retrain": 1, "unlearn": 3}}):
        studied = experiment(**changes)
        plan, counts = Plan(studied), predict(studied, PACE, cores=1).jobs
        roles = [plan.role(method, number) for method, number in plan.rows]
        fleets = {role: len(plan.fleet(role)) for role in roles}
        assert counts["train_original"] == studied.originals
        assert counts["retrain"] == len(plan.fleet("oracle")) + fleets["retrain"]
        assert counts["finetune"] == sum(n for role, n in fleets.items() if "/original-" in role)
        assert counts["evaluate"] == len(plan.evaluations())
        assert counts["measure"] == len(plan.measures)
        again = {path for role in ["oracle", *roles] for path in plan.relearned(role)}
        assert counts["relearn"] == len(again) == 2 + studied.originals * len(studied.all_methods())
        assert counts["compare"] == len(plan.comparisons)
        assert counts["scores_by_n"] == len(plan.by_n)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": 5},
        {"originals": 2},
        {"replicates": 101},
        {"training": SMOKE["training"] | {"epochs": 3}},
        {"data": SMOKE["data"] | {"train": 160}},
        {"ratio_sweep": {"ratios": [0.0, 0.5]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_more_of_anything_costs_more(changes):
    less, more = (predict(experiment(**made), PACE, cores=1) for made in ({}, changes))
    assert more.core_seconds > less.core_seconds
    assert more.wall > less.wall
    assert more.disk >= less.disk


def test_steps_that_only_some_models_take_are_counted_for_these():
    steps = [Step(finetune=[], models="odd", perturb={"name": "dampen", "alpha": 1, "strength": 1}, cycles=3)]
    job = estimate._Prices(experiment(), PACE).fit("finetune", "g", [], steps, range(5))
    # Models 1 and 3, thrice each: gradients of retain and forget and again of forget, of the whole network.
    assert job.seconds["training"] == 2 * 3 * (112 + 2 * 16) * 2 + 5 * 10


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_of_the_repository_can_be_predicted(path):
    pace = dataclasses.replace(PACE, live=dict.fromkeys(range(513), Speed(3, 1)))
    found = predict(load(path), pace, cores=2)
    assert 0 < found.wall < found.core_seconds + estimate.WORKFLOW_SECONDS


def job(group, seconds, needs=(), **options) -> Job:
    return Job("stage", group, frozenset(needs), {"training": seconds}, **options)


@pytest.mark.parametrize(("cores", "wall"), [(1, 20), (2, 11), (3, 11), (9, 11)])
def test_wall_time_respects_what_jobs_wait_for(cores, wall):
    chain = [job("original", 4, priority=1), job("unlearn", 5, ["original"]), job("score", 2, ["unlearn"])]
    assert wall_time([job("oracle", 9), *chain], cores) == wall


def test_jobs_wait_for_all_of_a_group_and_for_a_gpu():
    fleet = [job("fleet", 0, gpu_seconds=3), job("fleet", 0, gpu_seconds=4)]
    assert wall_time([*fleet, job("score", 1, ["fleet"])], cores=4, gpus=2) == 5
    assert wall_time([*fleet, job("score", 1, ["fleet"])], cores=4, gpus=1) == 8
    with pytest.raises(ValueError, match="GPU"):
        wall_time(fleet, cores=4, gpus=0)


def test_on_more_cores_it_takes_less_time_but_never_less_than_its_longest_chain():
    jobs = jobs_of(experiment(models=16), PACE)
    walls = [wall_time(jobs, cores) for cores in (1, 2, 4, 10_000)]
    assert walls == sorted(walls, reverse=True)
    assert walls[0] == pytest.approx(sum(each.length for each in jobs))
    chain = ("prepare_data", "train_original", "perturb", "finetune", "evaluate", "compare")
    chain += ("scores", "figures", "paper", "provenance")
    longest = sum(max(each.length for each in jobs if each.stage == stage) for stage in chain)
    assert walls[-1] == pytest.approx(longest)


def test_a_gpu_takes_over_training():
    gpu = Gpu(count=1, whole=1.0, live={(32, 4): 4.0, (32, 2): 4.0})
    pace = dataclasses.replace(PACE, gpu=gpu)
    found = predict(experiment(), pace, cores=8)
    # Evaluation is a forward pass, a third of the work of a training step.
    retrained = 4 * (2 * 112 + 224 / 3) / 4
    unlearned = 4 * (112 + 224 / 3) / 4
    again = 2 * (retrained / 2) + 4 * (unlearned / 2) + 6 * 2 * (2 * 16) / 4
    trained = 2 * 128 + 224 / 3 + 2 * retrained + 4 * unlearned
    assert found.gpu_seconds == pytest.approx(trained + again)
    assert found.wall > found.gpu_seconds


def test_disk_and_memory():
    found = predict(experiment(), PACE, cores=2)
    pixels, logits, confidences = 224 * 3 * 32**2, 25 * 224 * 10 * 4, 6 * 2 * 4 * 16 * 8
    reports = estimate.EACH_RUN + sum(found.jobs.values()) * estimate.EACH_JOB
    # A weight is four bytes in the original model and a bit in a mask, of which 12 models have one.
    assert found.disk == pixels + 2 * 4 + logits + 12 * 2 // 8 + confidences + reports
    assert found.memory == 2 * (10**9 + 2 * pixels)


def test_a_forget_set_of_unknown_size_is_taken_for_a_tenth():
    forget = {"kind": "class", "classes": ["3"]}
    studied = experiment(data=SMOKE["data"] | {"forget": forget})
    assert estimate.sizes_of(studied) == {"retain": 116, "forget": 12, "validation": 32, "test": 64}


def test_a_calibration_on_this_machine():
    pace = calibrate(experiment(), processes=1, seconds=0.1)
    assert pace.live.keys() == {32}
    assert pace.metric.keys() == {3, 4}
    assert pace.weights < pace.whole_weights
    assert pace.start["torch"] > pace.start["scipy"] > pace.start["numpy"] > 0
    assert predict(experiment(), pace, cores=1).core_seconds > 0


def test_the_command_prints_the_costs(capsys, monkeypatch):
    monkeypatch.setattr(estimate, "calibrate", lambda experiment, seconds: PACE)
    path = str(CONFIG / "smoke.yaml")
    assert cli.main(["estimate", "--configfile", path, "--cores", "3"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "smoke: 47 jobs, which train 37 models",
        "core hours",
        "  training",
        "wall time",
        "on 3 cores",
    ):
        assert text in printed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such configuration file"),
        ("a: [", "not valid YAML"),
        (json.dumps(SMOKE | {"models": 1, "sed": 2}), "models: "),
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


def test_the_other_commands_need_not_wait_for_torch():
    code = "import sys, random_mask.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
