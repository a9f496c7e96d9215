import json
import os
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from random_mask.data.settings import ClassForget, ListForget
from random_mask.data.splits import SPLITS
from random_mask.errors import InputError
from random_mask.experiment.config import load, validate
from random_mask.workflow.paths import UNKNOWN_CLASSES, Plan, as_settings, paper_sources, shards
from random_mask.workflow.resources import JobResources

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
            "tuned_repair",
            "random_mask_tuned",
            "unmasked_tuned",
            "random_mask_ratio_0",
            "random_mask_ratio_0.15",
            "random_mask_ratio_0.5",
            "retrain",
        )
    ]


def test_settings_are_json_whatever_yaml_makes_of_a_value():
    arguments = {"since": date(2020, 1, 1), "of": [{"at": date(2021, 1, 1)}]}
    expected = {"since": "2020-01-01", "of": [{"at": "2021-01-01"}]}
    assert json.loads(as_settings({"arguments": arguments})) == {"arguments": expected}


def test_an_experiment_may_be_called_like_a_folder(plan):
    named = Plan(plan.experiment.model_copy(update={"experiment": "fleets"}))
    tables = [path.replace("results/digits/", "results/fleets/") for path in plan.mask_tables()]
    assert named.mask_tables() == tables
    assert tables[0] == "results/fleets/masks/random_mask/original-0/models-0000-0007.csv"


def test_every_fleet_is_made_once(plan):
    fleets = plan.all_fleets("npz")
    assert len(fleets) == len(set(fleets))
    assert {path.split("/")[3] for path in fleets} == {
        "oracle",
        "retrain",
        "original",
        *plan.experiment.all_methods(),
    }


def test_jobs_side_by_side_do_not_take_each_others_temporary_files(plan):
    """What starts with the stem of a file and a point is what an attempt that was killed left of it."""
    tables = [*plan.comparisons, *plan.by_n]
    assert "random_mask_ratio_0.15" in plan.experiment.all_methods()
    stems = [(Path(path).parent, Path(path).stem) for path in tables]
    taken = [(a, b) for a in stems for b in stems if a != b and a[0] == b[0] and b[1].startswith(f"{a[1]}.")]
    assert len(tables) > 10
    assert taken == []


def test_settings_are_one_json_string_whatever_the_order(plan):
    first = plan.settings(seed=1, recipe=plan.experiment.training)
    assert first == plan.settings(recipe=plan.experiment.training, seed=1)
    assert json.loads(first)["recipe"]["epochs"] == plan.experiment.training.epochs


def test_the_sources_of_the_paper_are_found():
    names = {Path(path).name for path in paper_sources(str(ROOT / "paper"))}
    assert {"main.tex", "results.sty", "references.bib", "results.tex"} <= names


def changed(plan: Plan, **data) -> Plan:
    content = plan.experiment.model_dump(mode="json")
    return Plan(validate(content | {"data": content["data"] | data, "tuned": None}))


def test_archives_are_files_of_the_data_set_that_a_rule_makes(plan):
    assert plan.data_files == []
    assert plan.missing_data() is None
    svhn = changed(plan, name="svhn")
    assert svhn.data_files == ["data/train_32x32.mat", "data/test_32x32.mat"]
    assert svhn.missing_data() is None


def test_what_no_rule_makes_has_to_be_there(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = changed(plan, forget={"kind": "list", "file": "forget.txt"})
    assert listed.data_files == ["forget.txt"]
    assert listed.missing_data() == (
        "forget.txt: no such file or folder, but the experiment digits needs it; put it there (the head of "
        "its configuration may say where it is from), or correct its name in `data`"
    )
    Path("forget.txt").touch()
    assert listed.missing_data() is None


def test_what_is_memorised_is_known_from_an_earlier_experiment(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of, table = "results/first/evaluation/original/original-0.npz", "results/first/data/split.csv"
    later = changed(plan, name="cifar10", forget={"kind": "memorised", "size": 5, "of": of})
    assert later.data_files == ["data/cifar-10-python.tar.gz", of, table]
    assert later.missing_data() is None  # the workflow makes these
    elsewhere = changed(
        plan, name="cifar10", forget={"kind": "memorised", "size": 5, "of": of.replace("results", "old")}
    )
    assert elsewhere.missing_data().startswith("old/first/evaluation/original/original-0.npz: no such file")
    itself = of.replace("first", "digits")
    with pytest.raises(InputError, match=r"data\.forget\.of: this experiment itself; name an earlier one"):
        changed(plan, forget={"kind": "memorised", "size": 5, "of": itself})


def test_a_change_of_a_folder_of_images_is_seen(tmp_path):
    experiment = load(ROOT / "config" / "digits.yaml")
    assert Plan(experiment).data_state == ""
    assert Plan(experiment).data_files == []
    data = experiment.data.model_copy(update={"name": "image_folder", "path": str(tmp_path)})
    plan = Plan(experiment.model_copy(update={"data": data}))
    for name in ("train/cat/a.png", "train/dog/a.png", "test/emu/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"1")
    before = plan.data_state
    (tmp_path / "train/cat/a.png").touch()
    (tmp_path / "train/.DS_Store").touch()
    assert plan.data_state == before
    (tmp_path / "train/cat/a.png").write_bytes(b"2")
    assert plan.data_state != before
    assert plan.data_files == []
    assert plan.missing_data() is None


def test_the_classes_of_a_folder_are_counted_and_those_of_an_archive_once_it_is_read(tmp_path, monkeypatch):
    experiment = load(ROOT / "config" / "digits.yaml")
    monkeypatch.chdir(tmp_path)
    assert Plan(experiment).classes == 10
    data = experiment.data.model_copy(update={"name": "image_folder", "path": "images"})
    plan = Plan(experiment.model_copy(update={"data": data}))
    for number in range(23):
        for split in ("train", "test"):
            folder = tmp_path / "images" / split / f"class {number}"
            folder.mkdir(parents=True)
            (folder / "a.png").touch()
    assert plan.classes == 23
    of_digits, of_folder = JobResources(experiment), JobResources(plan.experiment)
    shard = SimpleNamespace(first="0000", last="0003", method="random_mask", original="0")
    for rule in ("evaluate", "measure", "retrain"):
        assert of_folder.memory(rule, shard, 1) >= of_digits.memory(rule, shard, 1)
    assert (
        of_folder.workload.of("retrain", shard).written > 2 * of_digits.workload.of("retrain", shard).written
    )
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert plan.classes == UNKNOWN_CLASSES
    table = Path(plan.path("data/split.csv"))
    table.parent.mkdir(parents=True)
    rows = [f"{n},{30 * n},{split},file\n" for n, split in enumerate(SPLITS)]
    table.write_text("".join(["image,label,split,file\n", *rows]), encoding="utf-8")
    assert plan.classes == 91


@pytest.mark.parametrize("key", ["groups", "leave_out", "file"])
def test_a_folder_where_a_file_is_meant_is_named_before_anything_runs(tmp_path, key):
    (tmp_path / "folder").mkdir()
    experiment = load(ROOT / "config" / "digits.yaml")
    path = str(tmp_path / "folder")
    update = {key: path} if key != "file" else {"forget": ListForget(kind="list", file=path)}
    plan = Plan(experiment.model_copy(update={"data": experiment.data.model_copy(update=update)}))
    assert plan.missing_data() == f"{path}: a folder; name a file in `data` of the configuration"


def test_a_folder_that_cannot_be_read_is_named_before_anything_runs(tmp_path):
    experiment = load(ROOT / "config" / "digits.yaml")
    data = experiment.data.model_copy(update={"name": "image_folder", "path": str(tmp_path)})
    plan = Plan(experiment.model_copy(update={"data": data}))
    assert "holds no images in train/<class>/" in plan.missing_data()
    assert plan.data_state == ""


def test_methods_that_are_not_main_have_fewer_originals(plan):
    content = plan.experiment.model_dump(mode="json") | {"originals": 3, "originals_of_others": 1}
    fewer = Plan(validate(content))
    main = {name for name, method in fewer.experiment.all_methods().items() if method.main}
    assert "random_mask" in main
    assert "random_mask_ratio_0" in main
    assert "random_mask_ratio_0.5" not in main
    for name, count in {
        **dict.fromkeys(main | {"original", "retrain"}, 3),
        "random_mask_ratio_0.5": 1,
    }.items():
        assert [number for method, number in fewer.rows if method == name] == list(range(count)), name
    assert len(fewer.compared("random_mask", "finetune")) == 3
    # Both sides of a comparison have the same originals.
    assert fewer.compared("random_mask", "random_mask_ratio_0.5") == [
        "results/digits/evaluation/random_mask/original-0.npz"
    ]
    assert [path.split("/")[3] for path in fewer.compared("random_mask_ratio_0.5", "random_mask")] == [
        "random_mask_ratio_0.5"
    ]
    with pytest.raises(InputError, match="originals_of_others: 4, but there are 3"):
        validate(content | {"originals_of_others": 4})


def test_an_older_file_that_takes_the_place_of_another_is_seen(tmp_path, monkeypatch):
    experiment = load(ROOT / "config" / "digits.yaml")
    monkeypatch.chdir(tmp_path)
    update = {"forget": ListForget(kind="list", file="list.txt")}
    plan = Plan(experiment.model_copy(update={"data": experiment.data.model_copy(update=update)}))
    Path("list.txt").write_text("1\n")
    before = plan.data_state
    Path("other.txt").write_text("2\n")
    os.utime("other.txt", (0, 0))
    Path("other.txt").replace("list.txt")
    assert plan.data_state != before


def test_batches_are_told_where_the_sizes_of_splits_are_not_known():
    experiment = load(ROOT / "config" / "digits.yaml")
    assert Plan(experiment).batches == []
    update = {"forget": ClassForget(kind="class", classes=["3"])}
    plan = Plan(experiment.model_copy(update={"data": experiment.data.model_copy(update=update)}))
    assert ("training.batch", "train", experiment.training.batch) in plan.batches
    assert ("methods.random_mask.finetune.batch", "retain", 64) in plan.batches
