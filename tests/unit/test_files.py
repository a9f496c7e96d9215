import json
import subprocess
import sys

import numpy as np
import pytest

from random_mask.artifacts.files import atomic_write, read_npz, read_text, write_npz, write_text
from random_mask.artifacts.shards import read_fleet
from random_mask.artifacts.weights import read_masks, read_weights, write_masks, write_weights
from random_mask.errors import InputError
from random_mask.methods.random_mask import RandomMask, draw_masks

ARRAYS = {"logits": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), "model": np.arange(3)}


def test_arrays_survive_and_give_the_same_bytes(tmp_path):
    write_npz(tmp_path / "a.npz", ARRAYS)
    write_npz(tmp_path / "b.npz", ARRAYS)
    read = read_npz(tmp_path / "a.npz")
    assert read.keys() == ARRAYS.keys()
    assert all(np.array_equal(read[name], array) for name, array in ARRAYS.items())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_tensors_give_the_same_bytes_whatever_order_the_metadata_come_in(tmp_path):
    metadata = {f"key {number}": "\N{MINUS SIGN}" for number in range(8)}
    contents = set()
    for order in (1, -1):
        write_weights(tmp_path / "a.safetensors", ARRAYS, dict(list(metadata.items())[::order]))
        contents.add((tmp_path / "a.safetensors").read_bytes())
    assert len(contents) == 1
    assert read_weights(tmp_path / "a.safetensors").keys() == ARRAYS.keys()
    content = contents.pop()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == list(metadata)


def test_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz(tmp_path / "a.npz", {"x": np.array([{}])})
    np.savez(tmp_path / "b.npz", x=np.array([{}]))
    with pytest.raises(InputError, match=r"b\.npz: damaged"):
        read_npz(tmp_path / "b.npz")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def fail():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


FILL = """
import resource, sys
import numpy as np
from random_mask.artifacts.files import write_npz, write_text
from random_mask.artifacts.weights import write_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
numbers = np.random.default_rng(0).random(100_000)
for name, write in {
    "a.npz": lambda path: write_npz(path, {"a": numbers}),
    "a.safetensors": lambda path: write_weights(path, {"a": numbers}, {}),
    "a.csv": lambda path: write_text(path, "x" * 100_000),
}.items():
    try:
        write(f"{sys.argv[1]}/{name}")
    except OSError as error:
        print(error.filename)
"""


def test_a_disk_that_is_full_leaves_nothing_half_written(tmp_path):
    """The largest allowed file stands for the space that is left."""
    (tmp_path / "a.csv").write_text("old")
    done = subprocess.run([sys.executable, "-c", FILL, tmp_path], capture_output=True, text=True)
    assert done.stdout.split() == [str(tmp_path / name) for name in ("a.npz", "a.safetensors", "a.csv")]
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_what_a_killed_attempt_left_is_cleared_away(tmp_path):
    (tmp_path / ".a.12345.tmp.npz").write_bytes(b"half")
    (tmp_path / ".ab.12345.tmp.npz").write_bytes(b"of another file")
    write_npz(tmp_path / "a.npz", ARRAYS)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", ".ab.12345.tmp.npz"}


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, cut):
    write_npz(tmp_path / "a.npz", ARRAYS)
    write_weights(tmp_path / "a.safetensors", ARRAYS, {})
    for name, read in (("a.npz", read_npz), ("a.safetensors", read_weights)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(InputError, match=rf"{name}: damaged.*; delete it and run snakemake again"):
            read(path)


@pytest.mark.parametrize("read", [read_npz, read_weights, read_text])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(InputError, match="none: no such file"):
        read(tmp_path / "none")


def test_masks_take_one_bit_a_weight(tmp_path):
    section = RandomMask(name="random_mask", ratio=0.3, spare="described")
    weights = {"conv1.weight": np.ones((64, 3, 7, 7), np.float32), "fc.bias": np.ones(10, np.float32)}
    masks = {
        (model, step): draw_masks(weights, section, np.random.default_rng(model + step))
        for model in (4, 5)
        for step in (0, 1)
    }
    path = tmp_path / "masks.safetensors"
    write_masks(path, masks, {"seed": "1"})
    for (model, step), drawn in masks.items():
        read = read_masks(path, model, step)
        assert read.keys() == drawn.keys()
        assert all(np.array_equal(read[name], mask) for name, mask in drawn.items())
    with pytest.raises(InputError, match=r"has no masks of model 40, step 0"):
        read_masks(path, 40)
    assert path.stat().st_size < 4 * (64 * 3 * 49 + 10) / 8 + 1000


def test_shards_are_put_together_in_order(tmp_path):
    paths = [tmp_path / f"{n}.npz" for n in range(2)]
    for n, path in enumerate(paths):
        write_npz(path, {"model": np.array([2 * n, 2 * n + 1]), "logits": np.full((2, 3), n)})
    assert np.array_equal(read_fleet(paths)["model"], [0, 1, 2, 3])


def test_shards_that_do_not_belong_together_are_named(tmp_path):
    paths = [tmp_path / f"{n}.npz" for n in range(2)]
    for n, path in enumerate(paths):
        write_npz(path, {"logits": np.zeros((2, 3 + n))})
    with pytest.raises(InputError, match=r"1\.npz: does not fit .*0\.npz"):
        read_fleet(paths)
