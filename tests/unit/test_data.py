import csv
import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from random_mask.data.division import split
from random_mask.data.readers import Dataset, digits, read
from random_mask.data.splits import PARTS, read_split, split_as_csv
from random_mask.errors import InputError
from random_mask.settings import Data

LABELS = np.arange(1797) % 10
NAMES = [f"train/{label}/{image}.png" for image, label in enumerate(LABELS)]
DATASET = Dataset(
    pixels=np.zeros((1797, 3, 1, 1), np.uint8),
    labels=LABELS,
    classes=[str(label) for label in range(10)],
    files=NAMES,
    groups=[f"person {image % 60}" for image in range(1797)],
)


def data(train=1000, validation=100, test=200, forget=50, **other) -> Data:
    sizes = {"train": train, "validation": validation, "test": test}
    kind = forget if isinstance(forget, dict) else {"size": forget}
    return Data.model_validate({"name": "digits", **sizes, "forget": kind, **other})


def test_digits_are_the_whole_data_set():
    found = digits()
    assert found.pixels.shape == (1797, 3, 32, 32)
    assert found.pixels.dtype == np.uint8
    assert (found.pixels.min(), found.pixels.max()) == (0, 255)
    assert np.array_equal(np.bincount(found.labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert np.array_equal(found.pixels[:, 0], found.pixels[:, 2])


@given(
    seed=st.integers(0, 2**32),
    train=st.integers(4, 1000),
    validation=st.integers(1, 300),
    test=st.integers(1, 400),
    share=st.floats(0, 0.999),
)
def test_parts_are_disjoint_and_complete(seed, train, validation, test, share):
    forget = max(1, min(train - 2, int(share * train)))
    parts, labels = split(DATASET, data(train, validation, test, forget), seed)
    sizes = {"retain": train - forget, "forget": forget, "validation": validation, "test": test}
    assert {part: len(indices) for part, indices in parts.items()} == sizes
    everything = np.concatenate([parts[part] for part in PARTS])
    assert len(np.unique(everything)) == len(everything) == train + validation + test
    assert everything.min() >= 0
    assert everything.max() < 1797
    assert np.array_equal(labels, LABELS)


def test_a_split_depends_on_the_seed_alone():
    first, again, other = (split(DATASET, data(), seed)[0] for seed in (1, 1, 2))
    assert all(np.array_equal(first[part], again[part]) for part in PARTS)
    assert not np.array_equal(first["forget"], other["forget"])


def test_a_larger_forget_set_leaves_validation_and_test_alone():
    small, large = (split(DATASET, data(forget=size), 1)[0] for size in (10, 90))
    assert np.array_equal(small["validation"], large["validation"])
    assert np.array_equal(small["test"], large["test"])


def test_images_that_are_held_out_are_for_the_test_alone():
    held = np.arange(1797) % 3 == 0
    parts, _ = split(Dataset(**{**vars(DATASET), "held_out": held}), data(), 1)
    assert held[parts["test"]].all()
    assert not held[np.concatenate([parts[part] for part in ("retain", "forget", "validation")])].any()
    with pytest.raises(InputError, match="data: test: 700 images, but there are 599; lower it"):
        split(Dataset(**{**vars(DATASET), "held_out": held}), data(test=700, train=500), 1)


def test_forgetting_classes():
    parts, _ = split(DATASET, data(forget={"kind": "class", "classes": ["3", "7"]}), 1)
    assert set(LABELS[parts["forget"]]) == {3, 7}
    assert not set(LABELS[parts["retain"]]) & {3, 7}
    some, _ = split(DATASET, data(forget={"kind": "class", "classes": ["3"], "size": 20}), 1)
    assert len(some["forget"]) == 20
    with pytest.raises(InputError, match=r"data\.forget\.classes: no class cat; there are 0, 1"):
        split(DATASET, data(forget={"kind": "class", "classes": ["cat"]}), 1)
    with pytest.raises(InputError, match=r"data\.forget\.size: 900, but these classes have"):
        split(DATASET, data(forget={"kind": "class", "classes": ["3"], "size": 900}), 1)


def test_forgetting_groups_takes_all_of_them(monkeypatch):
    forget = {"kind": "group", "groups": ["person 5"], "random": 3}
    chosen = data(forget=forget, name="image_folder", path="x", groups="g.csv")
    parts, _ = split(DATASET, chosen, 1)
    group = np.array(DATASET.groups)
    forgotten = set(group[parts["forget"]])
    assert len(forgotten) == 4
    assert "person 5" in forgotten
    assert not forgotten & set(group[parts["retain"]])
    other = data(
        forget={"kind": "group", "groups": ["nobody"]}, name="image_folder", path="x", groups="g.csv"
    )
    with pytest.raises(InputError, match="no training image is of group nobody"):
        split(DATASET, other, 1)


def test_forgetting_a_list(tmp_path):
    parts, _ = split(DATASET, data(), 1)
    chosen = [*parts["retain"][:3], *parts["forget"][:2]]
    path = tmp_path / "forget.txt"
    path.write_text("\n".join([NAMES[chosen[0]], *map(str, chosen[1:])]) + "\n")
    again, _ = split(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)
    assert set(again["forget"]) == set(chosen)
    path.write_text(f"{parts['test'][0]}\n")
    with pytest.raises(InputError, match="no training image; remove the line"):
        split(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)


def test_mislabelled_images_are_the_ones_to_forget():
    parts, labels = split(DATASET, data(forget={"kind": "mislabelled", "size": 50}), 1)
    wrong = np.flatnonzero(labels != LABELS)
    assert np.array_equal(wrong, parts["forget"])
    assert set(labels) <= set(range(10))


def test_the_table_of_a_split_can_be_read_back():
    parts, _ = split(DATASET, data(), 1)
    text = split_as_csv(parts, LABELS, NAMES)
    indices, classes = read_split(text, "split.csv")
    for part in PARTS:
        assert np.array_equal(indices[part], parts[part])
        assert np.array_equal(classes[part], LABELS[parts[part]])
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if int(row["image"]) == parts["test"][0]]
    assert row["file"] == NAMES[parts["test"][0]]


@pytest.fixture
def folder(tmp_path):
    """Six images of two classes, of which one is larger, one grey and one hidden."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for number, name in enumerate(
        ["train/cat/a.png", "train/cat/b.jpg", "train/dog/a.png", "train/dog/c.png", "test/cat/a.png"]
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 40 if number == 2 else 32
        image = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
        (image.convert("L") if number == 3 else image).save(path)
    (root / "train" / "cat" / ".hidden").write_text("not an image")
    (root / "LICENSE.txt").write_text("not an image")
    return root


def own(path, **other) -> Data:
    return data(train=3, validation=1, test=1, forget=1, name="image_folder", path=str(path), **other)


def test_a_folder_of_images(folder):
    found = read(own(folder))
    assert found.pixels.shape == (5, 3, 32, 32)
    assert found.classes == ["cat", "dog"]
    assert found.files == [
        *("test/cat/a.png", "train/cat/a.png", "train/cat/b.jpg", "train/dog/a.png", "train/dog/c.png")
    ]
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.held_out.tolist() == [True, False, False, False, False]
    expected = np.asarray(Image.open(folder / "train/cat/a.png")).transpose(2, 0, 1)
    assert np.array_equal(found.pixels[1], expected)
    assert np.array_equal(found.pixels[4, 0], found.pixels[4, 2])  # grey


def test_an_archive_holds_the_same(folder, tmp_path):
    with tarfile.open(tmp_path / "images.tar.xz", "w:xz") as archive:
        archive.add(folder, arcname="some/where")
    packed, plain = read(own(tmp_path / "images.tar.xz")), read(own(folder))
    assert packed.files == plain.files
    assert np.array_equal(packed.pixels, plain.pixels)


def test_groups_of_images(folder, tmp_path):
    table = tmp_path / "groups.csv"
    rows = [f"{name},person {number % 2}" for number, name in enumerate(read(own(folder)).files)]
    table.write_text("\n".join(["file,group", *rows]) + "\n")
    assert read(own(folder, groups=str(table))).groups == [f"person {n % 2}" for n in range(5)]
    table.write_text("\n".join(["file,group", *rows[:-1]]) + "\n")
    with pytest.raises(InputError, match=r"groups\.csv: has no group for train/dog/c\.png and 0 other"):
        read(own(folder, groups=str(table)))
    table.write_text("image,person\n")
    with pytest.raises(InputError, match=r"has no group for"):
        read(own(folder, groups=str(table)))


def test_damaged_images_are_all_named_before_anything_is_trained(folder, tmp_path):
    (folder / "train/dog/bad.png").write_bytes(b"")
    (folder / "train/cat/text.jpg").write_text("hello")
    whole = (folder / "train/cat/a.png").read_bytes()
    (folder / "train/cat/cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as error:
        read(own(folder))
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        *("train/cat/cut.png", "train/cat/text.jpg", "train/dog/bad.png")
    ]


def test_a_folder_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such folder or archive; correct data\.path"):
        read(own(tmp_path / "nowhere"))
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="holds no images in train/<class>/"):
        read(own(tmp_path))
    (tmp_path / "a.tar").write_text("no archive")
    with pytest.raises(InputError, match=r"a\.tar: neither a folder nor a whole tar archive"):
        read(own(tmp_path / "a.tar"))


TWICE = "image,label,part\n0,1,retain\n1,1,forget\n2,1,validation\n3,1,test\n3,1,retain\n"


@pytest.mark.parametrize(
    "text", ["", "image,label,part\n", "image,label\n1,2\n", "image,label,part\nx,1,retain\n", TWICE]
)
def test_a_damaged_table_is_named(text):
    with pytest.raises(InputError, match=r"split\.csv: damaged; delete it"):
        read_split(text, "split.csv")
