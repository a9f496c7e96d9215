import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_mask.config import load
from random_mask.plan import Plan, paper_sources, shards

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan() -> Plan:
    return Plan(load(ROOT / "config" / "digits.yaml"))


@given(models=st.integers(1, 600), size=st.integers(1, 64))
def test_shards_hold_every_model_once(models, size):
    cut = shards(models, size)
    assert [model for first, last in cut for model in range(first, last + 1)] == list(range(models))
    assert all(last - first < size for first, last in cut)


@given(models=st.integers(1, 64), more=st.integers(1, 64), size=st.integers(1, 16))
def test_more_models_keep_the_full_shards(models, more, size):
    full = [(first, last) for first, last in shards(models, size) if last - first + 1 == size]
    assert set(full) <= set(shards(models + more, size))


def test_rows_of_the_scores(plan):
    assert plan.rows == [
        (method, 0)
        for method in (
            "original",
            "finetune",
            "random_mask",
            "random_mask_described",
            "random_mask_ratio_0",
            "random_mask_ratio_0.15",
            "random_mask_ratio_0.5",
            "retrain",
        )
    ]


def test_every_fleet_is_made_once(plan):
    fleets = plan.all_fleets("npz")
    assert len(fleets) == len(set(fleets))
    assert {path.split("/")[3] for path in fleets} == {
        "oracle",
        "retrain",
        "original",
        *plan.experiment.all_methods(),
    }


def test_settings_are_one_json_string_whatever_the_order(plan):
    first = plan.settings(seed=1, recipe=plan.experiment.training)
    assert first == plan.settings(recipe=plan.experiment.training, seed=1)
    assert json.loads(first)["recipe"]["epochs"] == plan.experiment.training.epochs


def test_the_sources_of_the_paper_are_found():
    names = {Path(path).name for path in paper_sources(str(ROOT / "paper"))}
    assert {"main.tex", "results.sty", "references.bib", "results.tex"} <= names


def test_a_change_of_a_folder_of_images_is_seen(tmp_path):
    experiment = load(ROOT / "config" / "digits.yaml")
    assert Plan(experiment).data_folder == ""
    assert Plan(experiment).data_files == []
    data = experiment.data.model_copy(update={"name": "image_folder", "path": str(tmp_path)})
    plan = Plan(experiment.model_copy(update={"data": data}))
    (tmp_path / "a.png").write_bytes(b"1")
    before = plan.data_folder
    (tmp_path / "a.png").touch()
    assert plan.data_folder == before
    (tmp_path / "b.png").write_bytes(b"1")
    assert plan.data_folder != before
    assert plan.data_files == []
