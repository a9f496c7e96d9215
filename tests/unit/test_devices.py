"""Which device trains, how much at once, and what is said when it cannot; all without a GPU."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_gpu import fake_graphs
from small_images import small_images

from random_mask.errors import InputError
from random_mask.methods import catalogue
from random_mask.stages import fleet as stage
from random_mask.training import devices, loop
from random_mask.training.devices import captures, choose, fitting, models_at_once
from random_mask.training.fleet import Fleet, Step, fit_fleet, initial
from random_mask.training.networks import NETWORKS

GPU, GIB = torch.device("cuda", 0), 2**30
RESNET18 = NETWORKS["resnet18"]


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Return a function that lets this machine have GPUs, by their identities."""
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_claims", [])
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

    current: list[torch.device] = []

    def have(*identities: str, error: str = "") -> None:
        def zeros(*_, **__):
            if error:
                raise RuntimeError(error)

        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(identities))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(identities))
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=identities[number])
        )
        monkeypatch.setattr(torch, "zeros", zeros)
        monkeypatch.setattr(torch.cuda, "set_device", current.append)

    have.current = current
    yield have
    for claim in devices._claims:
        os.close(claim)
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before


def test_without_a_gpu_the_processor_trains(gpus):
    gpus()
    assert choose() == torch.device("cpu")
    assert captures(torch.device("cpu")) is False


def test_each_job_takes_a_gpu_of_its_own_and_the_first_is_shared_where_there_are_too_few(gpus):
    gpus("a", "b")
    assert [choose().index for _ in range(3)] == [0, 1, 0]
    assert [device.index for device in gpus.current] == [0, 1, 0]  # whose streams are used from then on


def test_a_gpu_is_known_by_its_identity(gpus):
    gpus("a", "b")
    assert choose().index == 0
    gpus("b", "a")  # as another job may count them
    assert choose().index == 0
    assert choose().index == 0
    gpus("a", "b", "c")
    assert choose().index == 2


def test_single_precision_is_not_rounded_to_tensorfloat(gpus):
    gpus("a")
    choose()
    assert not torch.backends.cudnn.allow_tf32


def test_a_gpu_that_cannot_be_used_is_said_in_one_line(gpus):
    gpus("a", error="CUDA error: all CUDA-capable devices are busy or unavailable\nand more")
    with pytest.raises(
        InputError, match=r"cuda:0: CUDA error: all .* busy or unavailable; end what"
    ) as error:
        choose()
    assert "\n" not in str(error.value)
    assert "CUDA_VISIBLE_DEVICES" in str(error.value)


def test_graphs_can_be_switched_off(monkeypatch):
    assert captures(GPU)
    assert not captures(torch.device("cpu"))
    monkeypatch.setenv("RANDOM_MASK_CUDA_GRAPHS", "0")
    assert not captures(GPU)
    monkeypatch.setenv("RANDOM_MASK_CUDA_GRAPHS", "off")
    with pytest.raises(InputError, match=r"RANDOM_MASK_CUDA_GRAPHS=off: set it to 1 .* or to 0"):
        captures(GPU)


def free(monkeypatch, gib: float) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(gib * GIB), 80 * GIB))


def test_as_many_models_as_fit_into_what_is_free(monkeypatch):
    def fit(gib: float, wanted: int = 1000, batch: int = 64, image_size: int = 32) -> int:
        free(monkeypatch, gib)
        return models_at_once(GPU, wanted, weights=4_234_826, batch=batch, image_size=image_size)

    assert fit(78, wanted=128) == 128  # of an H100
    assert fit(78, wanted=5) == 5
    assert fit(5) < fit(20) < fit(40)  # others use the rest
    assert fit(37, wanted=100) == 50  # and not 90 and ten
    assert fit(78, batch=512) < fit(78)
    assert fit(78, image_size=64) < fit(78)
    assert models_at_once(torch.device("cpu"), 8, weights=1, batch=64, image_size=32) == 1


def test_memory_that_others_use_is_said_in_one_line(monkeypatch):
    free(monkeypatch, 0.4)
    with pytest.raises(InputError, match=r"cuda:0: 0\.4 GiB of 80 are free, too little for one model; end"):
        models_at_once(GPU, 4, weights=11_181_642, batch=64, image_size=32)


def test_half_as_many_models_where_memory_ends(monkeypatch):
    emptied, told, tried = [], [], []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))

    def work(at_once: int) -> str:
        tried.append(at_once)
        if at_once > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert fitting(work, 9, told.append) == ("done", 2)
    assert tried == [9, 5, 3, 2]
    assert len(emptied) == 3
    assert told[-1] == "GPU: out of memory; 2 models side by side instead"


def test_memory_that_ends_within_a_capture_is_known_as_such(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def work(at_once: int) -> int:
        if at_once == 1:
            return at_once
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    assert fitting(work, 2, lambda _: None) == (1, 1)


def test_memory_that_does_not_suffice_for_one_model_and_other_errors(monkeypatch):
    def full(at_once):
        raise torch.OutOfMemoryError

    def wrong(at_once):
        raise RuntimeError("another one")

    with pytest.raises(InputError, match="memory does not suffice for one model; end"):
        fitting(full, 1, lambda _: None)
    with pytest.raises(RuntimeError, match="another one"):
        fitting(wrong, 4, lambda _: None)


def fleet(**recipe) -> Fleet:
    content = {
        **{"epochs": 2, "batch": 16, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 5e-4},
        **{"objective": {"name": "cross_entropy"}},
    }
    return Fleet(
        role="fleet",
        seed=1,
        network=RESNET18,
        start=lambda index: initial(RESNET18, 4, index),
        steps=[Step([catalogue.recipe_and_loss(content | recipe)])],
        original=initial(RESNET18, 4, 9),
    )


SPLITS = {"retain": np.arange(36), "forget": np.arange(36, 42), "test": np.arange(42, 60)}


def test_the_number_side_by_side_counts_paired_images(monkeypatch):
    asked = []
    monkeypatch.setattr(stage, "models_at_once", lambda device, wanted, **sizes: asked.append(sizes["batch"]))
    pair = {"paired_with": "forget", "objective": {"name": "relabel", "with_labels": "random"}}
    for recipe in ({}, pair, pair | {"paired_batch": 6}):
        stage.side_by_side(fleet(**recipe), small_images(8), 4)
    assert asked == [16, 32, 22]


def test_a_shard_says_how_many_it_trained_at_once_in_the_end(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(stage, "models_at_once", lambda *_, **__: 4)
    tried = []

    def fit_fleet(fleet, models, data, splits, *, at_once, **options):
        tried.append(at_once)
        if at_once > 1:
            raise torch.OutOfMemoryError
        return {"model": np.array(models)}, []

    monkeypatch.setattr(stage, "fit_fleet", fit_fleet)
    paths = {"output": tmp_path / "shard.npz", "cost": tmp_path / "cost.json"}
    computed = {"precision": "fp32"}
    record = stage.train_shard(fleet(), range(4), small_images(8), SPLITS, computed, **paths)
    assert tried == [4, 2, 1]
    assert record == {"precision": "fp32", "models_at_once": 1}
    assert paths["output"].exists()


def launched(fit: loop.Fit, batch: torch.Tensor, rate: float, noise: torch.Tensor | None) -> None:
    """Take a step that reads its learning rate as a captured one does."""
    fit.rate.fill_(rate)
    fit._compute(batch, noise)


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "noise": 0.1, "l1": 1e-5},
        {"paired_with": "forget", "objective": {"name": "bad_teacher"}},
    ],
    ids=["adam", "sgd", "paired"],
)
def test_a_captured_step_trains_as_one_that_is_launched(monkeypatch, recipe):
    """The steps that warm up are undone, and every replay has its own images and learning rate."""
    torch.set_num_threads(1)
    images, made = small_images(60), fleet(**recipe)
    monkeypatch.setattr(loop, "captures", lambda device: True)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    with monkeypatch.context() as patch:
        patch.setattr(loop.Fit, "_step", launched)
        expected, _ = fit_fleet(made, [0, 1], images, SPLITS, at_once=2)
    told = fake_graphs(monkeypatch)
    found, _ = fit_fleet(made, [0, 1], images, SPLITS, at_once=2)
    # Batches of 16 and, at the end of an epoch, of 4: two graphs, each after three steps.
    assert told.count("capture") == 2
    assert told.count("launch") == 6
    assert told.count("replay") == 6
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name
