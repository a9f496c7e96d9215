import csv
import dataclasses
import hashlib
import io
import pickle
import random
import re
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from random_mask.artifacts.files import read_npz, write_npz
from random_mask.data import archives
from random_mask.data.division import divide, duplicates
from random_mask.data.readers import Dataset, digits, opened
from random_mask.data.settings import ARCHIVES, Data
from random_mask.data.splits import SPLITS, read_files, read_split, split_as_csv
from random_mask.errors import InputError
from random_mask.stages import prepare_data

LABELS = np.arange(1797) % 10
NAMES = [f"train/{label}/{image}.png" for image, label in enumerate(LABELS)]
DATASET = Dataset(
    pixels=np.zeros((1797, 3, 1, 1), np.uint8).__getitem__,
    labels=LABELS,
    classes=[str(label) for label in range(10)],
    files=NAMES,
    pools={("train", "validation", "test"): np.ones(1797, dtype=bool)},
    groups=[f"person {image % 60}" for image in range(1797)],
)


def data(train=1000, validation=100, test=200, forget=50, **other) -> Data:
    sizes = {"train": train, "validation": validation, "test": test}
    kind = forget if isinstance(forget, dict) else {"size": forget}
    return Data.model_validate({"name": "digits", **sizes, "forget": kind, **other})


def read(of: Data) -> Dataset:
    """Return a data set with the pixels of all images, as an array."""
    with opened(of) as dataset:
        return dataclasses.replace(dataset, pixels=dataset.pixels(np.arange(len(dataset.labels))))


def test_digits_are_the_whole_data_set():
    found = read(data())
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
    splits, labels = divide(DATASET, data(train, validation, test, forget), seed)
    sizes = {"retain": train - forget, "forget": forget, "validation": validation, "test": test}
    assert {split: len(indices) for split, indices in splits.items()} == sizes
    everything = np.concatenate([splits[split] for split in SPLITS])
    assert len(np.unique(everything)) == len(everything) == train + validation + test
    assert everything.min() >= 0
    assert everything.max() < 1797
    assert np.array_equal(labels, LABELS)


def test_a_split_depends_on_the_seed_alone():
    first, again, other = (divide(DATASET, data(), seed)[0] for seed in (1, 1, 2))
    assert all(np.array_equal(first[split], again[split]) for split in SPLITS)
    assert not np.array_equal(first["forget"], other["forget"])


def test_a_larger_forget_set_leaves_validation_and_test_alone():
    small, large = (divide(DATASET, data(forget=size), 1)[0] for size in (10, 90))
    assert np.array_equal(small["validation"], large["validation"])
    assert np.array_equal(small["test"], large["test"])


def test_images_that_are_held_out_are_for_the_test_alone():
    held = np.arange(1797) % 3 == 0
    divided = dataclasses.replace(DATASET, pools={("train", "validation"): ~held, ("test",): held})
    splits, _ = divide(divided, data(), 1)
    assert held[splits["test"]].all()
    assert not held[np.concatenate([splits[split] for split in ("retain", "forget", "validation")])].any()
    with pytest.raises(InputError, match="data: test: 700 images, but there are 599; lower it"):
        divide(divided, data(test=700, train=500), 1)
    with pytest.raises(InputError, match=r"data: train \+ validation: 1200 images, but there are 1198"):
        divide(divided, data(test=1, train=1100), 1)


def test_forgetting_classes():
    splits, _ = divide(DATASET, data(forget={"kind": "class", "classes": ["3", "7"]}), 1)
    assert set(LABELS[splits["forget"]]) == {3, 7}
    assert not set(LABELS[splits["retain"]]) & {3, 7}
    some, _ = divide(DATASET, data(forget={"kind": "class", "classes": ["3"], "size": 20}), 1)
    assert len(some["forget"]) == 20
    with pytest.raises(InputError, match=r"data\.forget\.classes: no class cat; there are 0, 1"):
        divide(DATASET, data(forget={"kind": "class", "classes": ["cat"]}), 1)
    with pytest.raises(InputError, match=r"data\.forget\.size: 900, but these classes have"):
        divide(DATASET, data(forget={"kind": "class", "classes": ["3"], "size": 900}), 1)


def test_forgetting_groups_takes_all_of_them(monkeypatch):
    forget = {"kind": "group", "groups": ["person 5"], "random": 3}
    chosen = data(forget=forget, name="image_folder", path="x", groups="g.csv")
    splits, _ = divide(DATASET, chosen, 1)
    group = np.array(DATASET.groups)
    forgotten = set(group[splits["forget"]])
    assert len(forgotten) == 4
    assert "person 5" in forgotten
    assert not forgotten & set(group[splits["retain"]])
    first = data(forget={"kind": "group", "first": 2}, name="image_folder", path="x", groups="g.csv")
    splits, _ = divide(DATASET, first, 1)
    assert set(group[splits["forget"]]) == {"person 0", "person 1"}
    assert not {"person 0", "person 1"} & set(group[splits["retain"]])
    other = data(
        forget={"kind": "group", "groups": ["nobody"]}, name="image_folder", path="x", groups="g.csv"
    )
    with pytest.raises(InputError, match="no training image is of group nobody"):
        divide(DATASET, other, 1)


def test_forgetting_a_list(tmp_path):
    splits, _ = divide(DATASET, data(), 1)
    chosen = [*splits["retain"][:3], *splits["forget"][:2]]
    path = tmp_path / "forget.txt"
    path.write_text("\n".join([NAMES[chosen[0]], *map(str, chosen[1:])]) + "\n")
    again, _ = divide(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)
    assert set(again["forget"]) == set(chosen)
    path.write_text(f"{splits['test'][0]}\n")
    with pytest.raises(InputError, match="not a training image; remove it"):
        divide(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)
    path.write_text("\ufeff" + "\r\n".join(NAMES[image] for image in chosen), encoding="utf-8")
    again, _ = divide(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)
    assert set(again["forget"]) == set(chosen)
    for wrong in ("\u00b2", "-1", "# all", str(len(NAMES))):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(InputError, match=rf"forget\.txt: {wrong}: no image of the data set"):
            divide(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)
    path.write_bytes(NAMES[0].encode("utf-16"))
    with pytest.raises(InputError, match=r"forget\.txt: damaged, or not UTF-8; save it as UTF-8"):
        divide(DATASET, data(forget={"kind": "list", "file": str(path)}), 1)
    with pytest.raises(InputError, match="cannot be read"):
        divide(DATASET, data(forget={"kind": "list", "file": str(tmp_path)}), 1)


def test_images_that_are_left_out_are_in_no_part(tmp_path):
    splits, _ = divide(DATASET, data(), 1)
    path = tmp_path / "left.txt"
    path.write_text("".join(f"{image}\n" for image in splits["forget"]))
    others, _ = divide(DATASET, data(leave_out=str(path)), 1)
    assert not set(splits["forget"]) & {image for indices in others.values() for image in indices}
    path.write_text("nothing\n")
    with pytest.raises(InputError, match="nothing: no image of the data set"):
        divide(DATASET, data(leave_out=str(path)), 1)


def test_mislabelled_images_are_the_ones_to_forget():
    splits, labels = divide(DATASET, data(forget={"kind": "mislabelled", "size": 50}), 1)
    wrong = np.flatnonzero(labels != LABELS)
    assert np.array_equal(wrong, splits["forget"])
    assert set(labels) <= set(range(10))


def test_one_class_is_no_data_set():
    alone = dataclasses.replace(DATASET, classes=["0"], labels=np.zeros(1797, int))
    for forget in (5, {"kind": "mislabelled", "size": 5}):
        with pytest.raises(InputError, match=r"data: all images are of one class, 0; there must be two"):
            divide(alone, data(forget=forget), 1)
    splits, _ = divide(DATASET, data(), 1)
    only_tested = dataclasses.replace(DATASET, labels=(np.arange(1797) == splits["test"][0]).astype(int))
    with pytest.raises(InputError, match=r"data\.train: 1000 images, all of the class 0; there must be two"):
        divide(only_tested, data(), 1)


def test_identical_images_in_several_parts_are_counted_and_named():
    pixels = np.random.default_rng(0).integers(0, 256, (1797, 3, 4, 4), dtype=np.uint8)
    splits, _ = divide(DATASET, data(), 1)
    assert duplicates(pixels, NAMES, splits) is None
    first, second = splits["retain"][:2]
    pixels[second] = pixels[first]  # in the same split
    assert duplicates(pixels, NAMES, splits) is None
    forget, test = splits["forget"][0], splits["test"][0]
    pixels[[forget, test]] = pixels[first]
    told = f"{NAMES[first]} (retain) = {NAMES[forget]} (forget) = {NAMES[test]} (test)"
    assert duplicates(pixels, NAMES, splits) == f"1 image is in several splits, pixel by pixel: {told}"
    pixels[splits["validation"][:5]] = pixels[splits["forget"][1:6]]
    assert re.match(r"6 images are in several splits.* and 3 more$", duplicates(pixels, NAMES, splits))


@pytest.mark.parametrize("rule", ["warn", "error"])
def test_what_is_done_about_identical_images_is_configured(folder, tmp_path, rule, capsys):
    (folder / "test/cat/a.png").write_bytes((folder / "train/cat/a.png").read_bytes())
    (folder / "train/cat/loop").symlink_to(folder)
    settings = prepare_data.Settings(seed=1, data=own(folder, duplicates=rule), state="")
    outputs = {"images": tmp_path / "images.npz", "split_table": tmp_path / "split.csv"}
    if rule == "error":
        with pytest.raises(InputError, match=r"^data: 1 image is in several splits.*; remove these, or set"):
            prepare_data.main(settings=settings, files=[], **outputs)
        assert not outputs["images"].exists()
        return
    loop, others, classes, shared = prepare_data.main(settings=settings, files=[], **outputs)["warnings"]
    assert "LICENSE.txt" in others
    assert classes.endswith("classes with images in train/ and none in test/: dog")
    assert "loop: left out" in loop
    assert shared.startswith("1 image is in several splits, pixel by pixel: ")
    logged = capsys.readouterr().err
    assert f"warning: {loop}\n" in logged
    assert f"warning: {shared}\n" in logged


def test_the_table_of_a_split_can_be_read_back():
    splits, _ = divide(DATASET, data(), 1)
    text = split_as_csv(splits, LABELS, NAMES)
    indices, classes = read_split(text, "split.csv")
    for split in SPLITS:
        assert np.array_equal(indices[split], splits[split])
        assert np.array_equal(classes[split], LABELS[splits[split]])
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if int(row["image"]) == splits["test"][0]]
    assert row["file"] == NAMES[splits["test"][0]]


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
    assert found.pools["test",].tolist() == [True, False, False, False, False]
    assert found.pools["train", "validation"].tolist() == [False, True, True, True, True]
    expected = np.asarray(Image.open(folder / "train/cat/a.png")).transpose(2, 0, 1)
    assert np.array_equal(found.pixels[1], expected)
    assert np.array_equal(found.pixels[4, 0], found.pixels[4, 2])  # grey


def test_an_archive_holds_the_same(folder, tmp_path):
    with tarfile.open(tmp_path / "images.tar.xz", "w:xz") as archive:
        archive.add(folder, arcname="some/where")
    packed, plain = read(own(tmp_path / "images.tar.xz")), read(own(folder))
    assert packed.files == plain.files
    assert np.array_equal(packed.pixels, plain.pixels)


def test_an_archive_in_any_order_is_read_in_one_go(folder, tmp_path, monkeypatch):
    """A compressed one goes back to its beginning for every step back, which took hours for many images."""
    plain = read(own(folder))
    with tarfile.open(tmp_path / "images.tar.gz", "w:gz") as archive:
        for name in random.Random(1).sample(plain.files, 5):
            archive.add(folder / name, arcname=name)
    places, extract = [], tarfile.TarFile.extractfile

    def noted(archive, member):
        places.append(member.offset_data)
        return extract(archive, member)

    monkeypatch.setattr(tarfile.TarFile, "extractfile", noted)
    packed = read(own(tmp_path / "images.tar.gz"))
    assert packed.files == plain.files
    assert np.array_equal(packed.pixels, plain.pixels)
    assert len(places) == 5
    assert places == sorted(places)


def test_of_many_images_those_that_are_used_are_kept_and_all_that_are_damaged_named(folder, tmp_path):
    names = [f"train/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(100)]
    for name in names:
        (folder / name).write_bytes((folder / "train/dog/a.png").read_bytes())
    sizes = {"train": 6, "validation": 1, "test": 1, "forget": 2, "image_size": 256}
    few = data(name="image_folder", path=str(folder), **sizes)
    outputs = {"images": tmp_path / "images.npz", "split_table": tmp_path / "split.csv"}
    settings = prepare_data.Settings(seed=1, data=few, state="")
    prepare_data.main(settings=settings, files=[], **outputs)  # imports, too
    tracemalloc.start()
    prepare_data.main(settings=settings, files=[], **outputs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read_npz(outputs["images"])["pixels"]) == 8
    assert peak < 205 * 3 * 256**2 / 4
    outputs["images"].unlink()
    used = read_files(outputs["split_table"].read_text()).values()
    unused = next(name for name in names if name not in used)
    (folder / unused).write_bytes(b"")
    with pytest.raises(InputError, match=rf"damaged or no images; repair or remove them:\n  {unused}$"):
        prepare_data.main(settings=settings, files=[], **outputs)
    assert not outputs["images"].exists()


def test_groups_of_images(folder, tmp_path):
    table = tmp_path / "groups.csv"
    rows = [f"{name},person {number % 2}" for number, name in enumerate(read(own(folder)).files)]
    table.write_text("\n".join(["file,group", *rows]) + "\n")
    assert read(own(folder, groups=str(table))).groups == [f"person {n % 2}" for n in range(5)]
    table.write_text("\n".join(["file,group", *rows[:-1]]) + "\n")
    with pytest.raises(InputError, match=r"groups\.csv: has no group for train/dog/c\.png and 0 other"):
        read(own(folder, groups=str(table)))
    table.write_text("image,person\n")
    with pytest.raises(InputError, match=r"columns file and group; its first line is image,person"):
        read(own(folder, groups=str(table)))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("test/cat/a.png", r"line 2: test/cat/a\.png does not fit file,group; correct it"),
        ("test/cat/a.png,", r"line 2: test/cat/a\.png, does not fit"),
        ("test/cat/a.png,a,b", "line 2: .* does not fit"),
        ("train/cat/a.png,other", r"line 4: train/cat/a\.png,.* stands twice"),
    ],
)
def test_a_row_that_is_no_group_of_a_file_is_named(folder, tmp_path, row, told):
    table = tmp_path / "groups.csv"
    rows = [row, *(f"{name},person" for name in read(own(folder)).files)]
    table.write_text("\n".join(["file,group", *rows]) + "\n")
    with pytest.raises(InputError, match=rf"groups\.csv: {told}"):
        read(own(folder, groups=str(table)))


def test_a_table_of_groups_may_have_other_columns_and_a_byte_order_mark(folder, tmp_path):
    table = tmp_path / "groups.csv"
    rows = [f"{number},{name},p{number}" for number, name in enumerate(read(own(folder)).files)]
    table.write_text("\ufeff" + "\r\n".join(["age,file,group", *rows]) + "\r\n", encoding="utf-8")
    assert read(own(folder, groups=str(table))).groups == [f"p{number}" for number in range(5)]
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read(own(folder, groups=str(tmp_path)))


def test_damaged_images_are_all_named_before_anything_is_trained(folder, tmp_path):
    (folder / "train/dog/bad.png").write_bytes(b"")
    (folder / "train/cat/text.jpg").write_text("hello")
    float32 = Image.fromarray(np.zeros((32, 32), np.float32))
    float32.save(folder / "train/cat/float.tif")
    whole = (folder / "train/cat/a.png").read_bytes()
    (folder / "train/cat/cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as error:
        read(own(folder))
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "train/cat/cut.png",
        "train/cat/float.tif: has floating-point numbers, whose range is not known; "
        "save it with 8 or 16 bits",
        *("train/cat/text.jpg", "train/dog/bad.png"),
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
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train/cat/a.png", b"")
    with pytest.raises(
        InputError, match=r"nor a whole tar archive; unpack it, and name the folder in data\.path"
    ):
        read(own(tmp_path / "a.zip"))


TWICE = "image,label,split\n0,1,retain\n1,1,forget\n2,1,validation\n3,1,test\n3,1,retain\n"


@pytest.mark.parametrize(
    "text", ["", "image,label,split\n", "image,label\n1,2\n", "image,label,split\nx,1,retain\n", TWICE]
)
def test_a_damaged_table_is_named(text):
    with pytest.raises(InputError, match=r"split\.csv: damaged; delete it"):
        read_split(text, "split.csv")


def small(name, **other) -> Data:
    return data(train=6, validation=1, test=2, forget=2, name=name, **other)


class Trap:
    """What a pickle of somebody else's may do when it is loaded."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def put_official(monkeypatch, contents: dict[str, bytes]) -> None:
    """Put files into `data/`, as the official ones."""
    Path("data").mkdir()
    sums = {}
    for path, content in contents.items():
        Path(path).write_bytes(content)
        sums[Path(path).name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(archives, "official", lambda name: (f"http://localhost/{name}", sums[name]))


def packed(files: dict[str, object]) -> bytes:
    """Return a compressed tar archive of pickles."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            pickled = pickle.dumps(content)
            member = tarfile.TarInfo(name)
            member.size = len(pickled)
            archive.addfile(member, io.BytesIO(pickled))
    return packed.getvalue()


def cifar_archive(name: str, rows: np.ndarray, labels: list[int], **more: object) -> bytes:
    """Return an archive like the official ones: two images a batch for training, the rest for the test."""
    ten = name == "cifar10"
    folder, key = ("cifar-10-batches-py", "labels") if ten else ("cifar-100-python", "fine_labels")
    names = [f"data_batch_{n}" for n in range(1, 6)] if ten else ["train"]
    each = 2 if ten else 10
    cuts = [*(slice(each * n, each * (n + 1)) for n in range(len(names))), slice(10, None)]
    batches = {
        batch: {"data": rows[cut], key: labels[cut], "coarse_labels": [0] * len(labels[cut])}
        for batch, cut in zip([*names, "test_batch" if ten else "test"], cuts, strict=True)
    }
    meta = "batches.meta" if ten else "meta"
    classes = {"label_names" if ten else "fine_label_names": ["cat", "dog", "emu"], "coarse_label_names": []}
    # The order in the archive is not that of the batches.
    content = {**dict(reversed(batches.items())), meta: classes, **more}
    return packed({f"{folder}/{file}": pickled for file, pickled in content.items()})


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_as_it_is_documented(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).integers(0, 256, (14, 3072), dtype=np.uint8)
    labels = [*range(3)] * 5
    archive = cifar_archive(name, rows, labels[:14], readme=Trap())
    put_official(monkeypatch, {ARCHIVES[name][0]: archive})
    found = read(small(name))
    assert found.classes == ["cat", "dog", "emu"]
    assert found.labels.tolist() == labels[:14]
    # A row is the red channel row by row, then the green one, then the blue one.
    assert found.pixels.shape == (14, 3, 32, 32)
    assert found.pixels[7, 1, 2, 5] == rows[7, 1024 + 2 * 32 + 5]
    assert found.pools["test",].tolist() == 10 * [False] + 4 * [True]
    assert not Path("sprung").exists(), "only what is read is unpickled"
    splits, _ = divide(found, small(name), 1)
    assert splits["test"].min() >= 10
    assert max(splits["retain"].max(), splits["forget"].max()) < 10


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_archive_that_is_not_the_official_one_is_not_unpickled(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    path = Path(ARCHIVES[name][0])
    batch = "cifar-10-batches-py/data_batch_1" if name == "cifar10" else "cifar-100-python/train"
    path.write_bytes(packed({batch: Trap()}))
    url, expected = archives.official(path.name)
    with pytest.raises(InputError, match=rf"^{path}: damaged, or not the official file .*{expected}.*{url}$"):
        read(small(name))
    assert not Path("sprung").exists()
    path.unlink()
    with pytest.raises(InputError, match=f"^{path}: no such file; run snakemake again, or put {url} there$"):
        read(small(name))


def test_svhn_is_read_as_it_is_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 14), dtype=np.uint8)
    labels = np.array([*range(1, 11), 10, 1, 2, 3], dtype=np.uint8)[:, None]
    contents = {}
    for path, cut in zip(ARCHIVES["svhn"], (slice(0, 10), slice(10, None)), strict=True):
        file = io.BytesIO()
        savemat(file, {"X": pixels[..., cut], "y": labels[cut]})
        contents[path] = file.getvalue()
    put_official(monkeypatch, contents)
    found = read(small("svhn"))
    assert found.labels.tolist() == [*range(1, 10), 0, 0, 1, 2, 3]
    assert found.pixels.shape == (14, 3, 32, 32)
    assert found.pixels[11, 2, 3, 4] == pixels[3, 4, 2, 11]
    assert found.pools["test",].tolist() == 10 * [False] + 4 * [True]
    Path(ARCHIVES["svhn"][1]).write_bytes(contents[ARCHIVES["svhn"][0]])
    with pytest.raises(InputError, match=r"^data/test_32x32\.mat: damaged, or not the official file"):
        read(small("svhn"))


AGES = {"CLKJ_AS0001": 20, "CLKJ_AS0002": 24, "CLKJ_AS0003": 25, "CLKJ_AS0007": 69, "CLKJ_AS0009": 44}


@pytest.fixture
def faces(tmp_path):
    """Four colour images of real faces each of five persons, and files that are not to be read."""
    root = tmp_path / "CASIA-SURF"
    rng = np.random.default_rng(0)
    for number, person in enumerate(AGES):
        base = root / "WBackground" / f"Training_{number % 2}" / person
        for kind in ("real.rssdk/color", "real.rssdk/depth", "03_fake.rssdk/color"):
            (base / kind).mkdir(parents=True)
            for image in range(4):
                pixels = rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(base / kind / f"{image}.jpg")
    rows = [f"{person} {age} F" for person, age in AGES.items()]
    (root / "Age_Gender.txt").write_text("\n".join(rows) + "\n")
    return root


def surf(root, **other) -> Data:
    return Data.model_validate(
        {"name": "casia_surf", "path": str(root), "train": 16, "validation": 2, "test": 2}
        | {"forget": {"kind": "group", "first": 2}}
        | other
    )


def test_the_faces_of_the_competition_are_divided_as_its_code_does(faces):
    found = read(surf(faces))
    assert found.pixels.shape == (20, 3, 32, 32)
    assert found.files[0] == "WBackground/Training_0/CLKJ_AS0001/real.rssdk/color/0.jpg"
    assert all("/real.rssdk/color/" in name for name in found.files)
    assert found.groups == [Path(name).parts[2] for name in found.files]
    # From 20 to 70 in ten bins of five years: 24 is still in the first one, 25 in the second.
    bins = {"CLKJ_AS0001": 0, "CLKJ_AS0002": 0, "CLKJ_AS0003": 1, "CLKJ_AS0007": 9, "CLKJ_AS0009": 4}
    assert found.labels.tolist() == [bins[person] for person in found.groups]
    shuffled = list(found.files)
    random.Random(43).shuffle(shuffled)
    for seed in (1, 2):  # whatever the seed
        splits, _ = divide(found, surf(faces), seed)
        names = {split: {found.files[image] for image in images} for split, images in splits.items()}
        assert names["retain"] | names["forget"] == set(shuffled[:16])
        assert names["validation"] == set(shuffled[16:18])
        assert names["test"] == set(shuffled[18:])
        forgotten = {found.groups[image] for image in splits["forget"]}
        assert forgotten == {"CLKJ_AS0001", "CLKJ_AS0002"}
        assert not forgotten & {found.groups[image] for image in splits["retain"]}
    with pytest.raises(InputError, match="data: validation: 3 images, but there are 2; lower it"):
        divide(found, surf(faces, validation=3), 1)


def test_faces_that_are_damaged_or_have_no_age_are_named(faces, tmp_path):
    table = faces / "Age_Gender.txt"
    text = table.read_text()
    table.write_text(text.replace("CLKJ_AS0007 69 F\n", ""))
    with pytest.raises(InputError, match=r"Age_Gender\.txt: has no age for CLKJ_AS0007; add them"):
        read(surf(faces))
    for wrong in ("CLKJ_AS0001 33 F", "CLKJ_AS0010 old F", "CLKJ_AS0010 33"):
        table.write_text(text + wrong + "\n")
        with pytest.raises(InputError, match=r"Age_Gender\.txt: line 6 is no new `id age gender`"):
            read(surf(faces))
    table.write_text(text)
    damaged = "WBackground/Training_1/CLKJ_AS0002/real.rssdk/color/2.jpg"
    (faces / damaged).write_bytes(b"")
    with pytest.raises(InputError, match=rf"damaged or no images; repair or remove them:\n  {damaged}$"):
        read(surf(faces))
    with pytest.raises(InputError, match=r"Age_Gender\.txt: no such file"):
        read(surf(tmp_path))
    (tmp_path / "Age_Gender.txt").write_text(text)
    with pytest.raises(InputError, match="holds no images WBackground/"):
        read(surf(tmp_path))


@pytest.mark.parametrize("normalise", [True, False])
def test_pixels_are_normalised_by_the_retain_set_unless_they_are_left_as_they_are(faces, tmp_path, normalise):
    settings = prepare_data.Settings(seed=1, data=surf(faces, normalise=normalise), state="")
    outputs = {"images": tmp_path / "images.npz", "split_table": tmp_path / "split.csv"}
    prepare_data.main(settings=settings, files=[], **outputs)
    arrays = read_npz(outputs["images"])
    splits, _ = read_split(outputs["split_table"].read_text(), "split.csv")
    retain = arrays["pixels"][splits["retain"]].astype(np.float64)
    mean, std = (retain.mean(axis=(0, 2, 3)), retain.std(axis=(0, 2, 3))) if normalise else (0, 1)
    np.testing.assert_allclose(arrays["mean"], np.broadcast_to(mean, 3), rtol=1e-6)
    np.testing.assert_allclose(arrays["std"], np.broadcast_to(std, 3), rtol=1e-6)


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """An earlier experiment that forgot 50 of 1,000 images, on which its models differ by known amounts."""
    monkeypatch.chdir(tmp_path)
    splits, _ = divide(DATASET, data(), 1)
    used = np.sort(np.concatenate(list(splits.values())))
    places = {split: np.searchsorted(used, indices) for split, indices in splits.items()}
    table = Path("results/first/data/split.csv")
    table.parent.mkdir(parents=True)
    table.write_text(split_as_csv(places, LABELS[used], [NAMES[image] for image in used]), encoding="utf-8")
    rng = np.random.default_rng(0)
    gap = rng.permutation(50).astype(float)
    oracle = 50 * rng.normal(size=(8, 50))
    evaluation = Path("results/first/evaluation/original/original-0.npz")
    arrays = {"image": places["forget"], "oracle_confidences": oracle}
    arrays["confidences"] = np.tile(oracle.mean(axis=0) + gap, (8, 1))
    write_npz(evaluation, arrays)
    return splits["forget"][np.argsort(-gap)], evaluation, table


def memorised(size, **other) -> Data:
    of = "results/first/evaluation/original/original-0.npz"
    return data(forget={"kind": "memorised", "size": size, "of": of}, **other)


@pytest.mark.parametrize("size", [1, 10, 50])
def test_forgetting_what_is_memorised(earlier, size):
    ranked, _, _ = earlier
    splits, labels = divide(DATASET, memorised(size), 1)
    assert set(splits["forget"]) == set(ranked[:size])
    assert len(splits["retain"]) == 1000 - size
    assert np.array_equal(labels, LABELS)


def test_what_is_memorised_is_found_again_where_images_have_other_numbers(earlier):
    ranked, _, _ = earlier
    backwards = dataclasses.replace(
        DATASET,
        labels=LABELS[::-1],
        files=NAMES[::-1],
        pools={
            ("train",): np.isin(np.arange(1797)[::-1], ranked),
            ("validation", "test"): np.ones(1797, bool),
        },
    )
    splits, _ = divide(backwards, memorised(5, train=50), 3)
    assert {backwards.files[image] for image in splits["forget"]} == {NAMES[image] for image in ranked[:5]}


def test_what_cannot_be_ranked_is_explained_in_one_line(earlier):
    _, evaluation, _ = earlier
    with pytest.raises(
        InputError, match="size: 51, but the forget set of results/first has 50 images; lower"
    ):
        divide(DATASET, memorised(51), 1)
    with pytest.raises(InputError, match=r"of the 40 images are not trained on here, .*of results/first$"):
        divide(DATASET, memorised(40), 2)
    other = dataclasses.replace(DATASET, labels=(LABELS + 1) % 10)
    with pytest.raises(InputError, match=r"split\.csv: of another data set, which has an image train/"):
        divide(other, memorised(5), 1)
    with pytest.raises(InputError, match="another data set"):
        divide(dataclasses.replace(DATASET, files=[str(n) for n in range(1797)]), memorised(5), 1)
    arrays = read_npz(evaluation)
    write_npz(evaluation, arrays | {"image": arrays["image"] + 1})
    with pytest.raises(InputError, match="differ in the forget set; run results/first again"):
        divide(DATASET, memorised(5), 1)
    evaluation.write_bytes(b"")
    with pytest.raises(InputError, match=r"original-0\.npz: damaged"):
        divide(DATASET, memorised(5), 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "digits", "path": "x"},
        {"name": "casia_surf"},
        {"name": "cifar10", "train": 50_000},
        {"name": "svhn", "test": 26_033},
        {"name": "cifar10", "forget": {"kind": "group", "first": 2}},
        {"forget": {"kind": "memorised", "size": 5, "of": "results/a/evaluation/finetune/original-0.npz"}},
    ],
)
def test_what_does_not_fit_a_data_set_is_an_error(wrong):
    with pytest.raises(ValueError, match=re.escape("validation error")):
        data(**wrong)


def test_a_last_batch_of_one_is_told_once_the_splits_are_known(tmp_path):
    outputs = {"images": tmp_path / "images.npz", "split_table": tmp_path / "split.csv"}
    forget = data(forget={"kind": "class", "classes": ["3"]})
    splits, _ = divide(digits(), forget, 1)
    batches = [
        ("training.batch", "train", 64),
        ("methods.mine.finetune.batch", "retain", len(splits["retain"]) - 1),
    ]
    settings = prepare_data.Settings(seed=1, data=forget, state="", batches=batches)
    with pytest.raises(
        InputError, match=r"methods\.mine\.finetune\.batch: .* leave a last batch of one image"
    ):
        prepare_data.main(settings=settings, files=[], **outputs)
    assert not outputs["images"].exists()


def test_a_split_of_one_image_that_batches_are_paired_with_is_told_once_it_is_known(tmp_path):
    outputs = {"images": tmp_path / "images.npz", "split_table": tmp_path / "split.csv"}
    splits, _ = divide(digits(), data(), 1)
    (tmp_path / "list").write_text(str(splits["retain"][0]))
    batches = [("methods.mine.finetune.paired_with", "forget", None)]
    listed = data(forget={"kind": "list", "file": str(tmp_path / "list")})
    settings = prepare_data.Settings(seed=1, data=listed, state="", batches=batches)
    with pytest.raises(InputError, match=r"^methods\.mine\.finetune\.paired_with: the split has one image"):
        prepare_data.main(settings=settings, files=[], **outputs)
    (tmp_path / "list").write_text("\n".join(map(str, splits["retain"][:65])))
    prepare_data.main(settings=settings, files=[], **outputs)


def test_spaces_in_a_table_of_groups_do_not_count(folder, tmp_path):
    names = read(own(folder)).files
    table = tmp_path / "groups.csv"
    rows = [f"{name} , {'a' if n else ' a'} " for n, name in enumerate(names)]
    table.write_text("\n".join(["file, group", *rows]))
    assert set(read(own(folder, groups=str(table))).groups) == {"a"}


def test_a_number_of_many_digits_is_no_image(tmp_path):
    (tmp_path / "list").write_text("1" * 5000)
    listed = data(forget={"kind": "list", "file": str(tmp_path / "list")})
    with pytest.raises(InputError, match="no image of the data set; remove it"):
        divide(digits(), listed, 1)
