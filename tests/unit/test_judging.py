"""Fleets as the stages that judge read them: with the labels of the images, and only if these fit."""

import numpy as np
import pytest

from random_mask.artifacts.files import read_npz, write_npz, write_text
from random_mask.artifacts.shards import read_works, write_works
from random_mask.data.splits import SPLITS, split_as_csv
from random_mask.errors import InputError
from random_mask.metrics.competition import logit_scaled_confidence
from random_mask.stages import condense, evaluate, judging
from random_mask.stages.judging import read_stored
from random_mask.training.cost import Work

SIZES = {"retain": 9, "forget": 4, "validation": 3, "test": 5}


@pytest.fixture
def split_table(tmp_path):
    ends = np.cumsum(list(SIZES.values()))
    splits = {split: np.arange(end - SIZES[split], end) for split, end in zip(SIZES, ends, strict=True)}
    path = tmp_path / "split.csv"
    write_text(path, split_as_csv(splits, np.arange(ends[-1]) % 3, ["x"] * ends[-1]))
    return path


def shard(folder, models, **sizes):
    rng = np.random.default_rng(0)
    # Of retain, the logits of the first images are stored.
    sizes = SIZES | {"retain": 6} | sizes
    arrays = {f"logits_{split}": rng.normal(size=(models, sizes[split], 3)).astype("f") for split in SPLITS}
    arrays |= {f"accuracy_{split}": rng.uniform(size=models) for split in SPLITS}
    write_npz(folder / "models.npz", arrays)
    return folder / "models.npz"


def test_confidences_are_those_of_the_metric_on_the_stored_images(tmp_path, split_table):
    fleet = read_stored([shard(tmp_path, 4)], split_table)
    for split in SPLITS:
        logits = fleet.arrays[f"logits_{split}"]
        expected = logit_scaled_confidence(logits, fleet.labels[split][: logits.shape[1]])
        np.testing.assert_array_equal(fleet.confidences(split), expected)
    metric = fleet.with_confidences(fleet.confidences("forget"))
    np.testing.assert_array_equal(metric.test_accuracy, fleet.accuracy("test"))


@pytest.mark.parametrize("split", SPLITS)
def test_a_model_that_diverged_is_named_with_the_remedy(tmp_path, split_table, split):
    arrays = read_npz(shard(tmp_path, 4)) | {"model": np.arange(8, 12)}
    arrays[f"logits_{split}"][2, 1, 0] = np.nan
    write_npz(tmp_path / "models.npz", arrays)
    with pytest.raises(
        InputError, match=rf"{tmp_path}: model 10 diverged while it was .* lower the learning_rate"
    ):
        read_stored([tmp_path / "models.npz"], split_table)


def test_one_model_stands_for_a_fleet(tmp_path, split_table):
    fleet = read_stored([shard(tmp_path, 1)], split_table, models=3)
    assert fleet.confidences("forget").shape == (3, 4)
    assert (fleet.confidences("forget") == fleet.confidences("forget")[0]).all()
    assert fleet.accuracy("retain").shape == (3,)


@pytest.mark.parametrize("sizes", [{"forget": 3}, {"forget": 5}, {"test": 6}, {"retain": 10}])
def test_a_fleet_that_does_not_fit_the_table_is_named(tmp_path, split_table, sizes):
    with pytest.raises(InputError, match=r"models\.npz and .*split\.csv differ in the images; delete both"):
        read_stored([shard(tmp_path, 2, **sizes)], split_table)


def test_a_score_that_would_be_divided_by_nothing_is_explained(tmp_path, split_table):
    """No retrained model has a test image right, as it may be with very few of them."""
    path = shard(tmp_path, 4)
    arrays = read_npz(path)
    write_npz(path, arrays | {"accuracy_test": np.zeros(4)})
    outputs = {"row": tmp_path / "row.json", "examples": tmp_path / "examples.npz"}
    settings = judging.FleetSettings(seed=1, replicates=2, models=4)
    with pytest.raises(InputError, match=r"^mine: no score \(retrained\.test_accuracy is 0 .*; train longer"):
        evaluate.main(
            settings=settings,
            method="mine",
            original=0,
            unlearned=[path],
            oracle=[path],
            split_table=split_table,
            **outputs,
        )
    assert not any(output.exists() for output in outputs.values())


@pytest.fixture
def condensed_fleet(tmp_path, split_table):
    """A fleet of four models, and the same condensed."""
    path = shard(tmp_path, 4)
    arrays = read_npz(path) | {"model": np.arange(4)}
    write_npz(path, arrays)
    cost = path.with_suffix(".json")
    write_works(cost, [Work(1, 2, 3.0, 4)] * 4)
    kept = tmp_path / "kept.npz"
    condense.main(
        fleet=[path], costs=[cost], split_table=split_table, output=kept, cost=tmp_path / "kept.json"
    )
    assert read_works(tmp_path / "kept.json") == read_works(cost)
    return path, kept


def test_a_condensed_fleet_is_judged_as_the_whole_one(condensed_fleet, split_table):
    whole, kept = (read_stored([path], split_table) for path in condensed_fleet)
    first = read_stored([condensed_fleet[1]], split_table, models=3)
    for split in SPLITS:
        np.testing.assert_array_equal(kept.confidences(split), whole.confidences(split))
        np.testing.assert_array_equal(kept.accuracy(split), whole.accuracy(split))
        np.testing.assert_array_equal(first.confidences(split), whole.confidences(split)[:3])
    assert not any(name.startswith("logits") for name in kept.arrays)


def test_a_condensed_fleet_of_other_images_is_refused(condensed_fleet, split_table):
    text = split_table.read_text().replace("0,0,retain", "99,0,retain")
    write_text(split_table, text)
    with pytest.raises(InputError, match=r"kept\.npz: not of the images in .*split\.csv; .* Remove `oracle`"):
        read_stored([condensed_fleet[1]], split_table)
