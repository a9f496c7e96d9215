"""Which files of a folder or archive are images, and which changes of them count."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from random_mask.data import folders
from random_mask.data.folders import fingerprint, listing, packed, unpacked
from random_mask.data.settings import Data
from random_mask.errors import InputError

NAMES = [
    f"{split}/{kind}/{n}.png" for split in ("test", "train") for kind in ("cat", "dog") for n in range(2)
]


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


@pytest.fixture
def root(tmp_path):
    return put(tmp_path / "images", *NAMES)


def tar(path: Path, members: list[tuple[str, bytes | tuple[bytes, str]]]) -> tarfile.TarFile:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                archive.addfile(member)
    return tarfile.open(path)


def read_tar(path: Path, members) -> dict[str, bytes]:
    """Return the images of an archive of these members, by name."""
    with tar(path, members) as archive:
        found, by_path = packed(archive, path)
        return {name: archive.extractfile(by_path[at]).read() for name, at in found.files.items()}


PLAIN = [(name, name.encode()) for name in NAMES]


def test_images_are_named_from_their_split_on(root):
    found = unpacked(root)
    assert list(found.files) == NAMES
    assert all(Path(path).read_bytes() == name.encode() for name, path in found.files.items())
    assert found.classes() == ["cat", "dog"]
    assert found.notes == []


@pytest.mark.parametrize(
    "hidden", ["train/.ipynb_checkpoints/0.png", "train/cat/.0.png", ".git/train/cat/0.png"]
)
def test_what_is_hidden_is_left_out(root, hidden):
    put(root, hidden)
    assert list(unpacked(root).files) == NAMES


def test_images_below_the_folder_of_a_class_belong_to_it(root, tmp_path):
    put(root, "train/cat/a/b/9.png")
    assert unpacked(root).classes() == ["cat", "dog"]
    assert "train/cat/a/b/9.png" in unpacked(root).files
    assert "train/cat/a/b/9.png" in read_tar(tmp_path / "a.tar", [*PLAIN, ("train/cat/a/b/9.png", b"")])


def test_folders_around_the_splits_may_be_called_like_them(tmp_path):
    root = put(tmp_path, *(f"test/train/v1/{name}" for name in NAMES))
    assert list(unpacked(root).files) == NAMES


def test_links_are_followed(root, tmp_path):
    (root / "train/dog").rename(tmp_path / "dogs")
    (root / "train/dog").symlink_to(tmp_path / "dogs")
    (root / "test").rename(tmp_path / "held")
    (root / "test").symlink_to("../held")
    (root / "train/cat/0.png").rename(tmp_path / "0.png")
    (root / "train/cat/0.png").symlink_to(tmp_path / "0.png")
    assert list(unpacked(root).files) == NAMES
    (tmp_path / "link").symlink_to(root)
    assert list(unpacked(tmp_path / "link").files) == NAMES


def test_a_loop_is_harmless_and_named(root):
    (root / "train/cat/loop").symlink_to(root)
    (root / "train/dog/cats").symlink_to(root / "train/cat")
    found = unpacked(root)
    assert set(NAMES) < set(found.files)
    assert "train/dog/cats/0.png" in found.files
    assert len(found.files) == len(NAMES) + 2
    assert f"{root}/train/cat/loop: left out, a link to a folder that it is in" in found.notes
    for above in ("/", root.parent):
        (root / "train/cat/loop").unlink()
        (root / "train/cat/loop").symlink_to(above)
        assert unpacked(root) == found


@pytest.mark.parametrize("target", ["/nowhere.png", "broken.png"])
def test_a_link_to_nothing_is_named(root, target):
    (root / "train/cat/broken.png").symlink_to(target)
    with pytest.raises(InputError, match=r"images: cannot be read: train/cat/broken\.png \("):
        unpacked(root)


def test_what_is_no_file_is_named(root):
    os.mkfifo(root / "train/cat/pipe.png")
    with pytest.raises(InputError, match=r"train/cat/pipe\.png \(neither a file nor a folder\)"):
        unpacked(root)


def test_a_name_may_stand_once(root, tmp_path):
    put(root, "v2/train/cat/0.png", "v2/test/cat/5.png")
    with pytest.raises(InputError, match=r"images of the same name: train/cat/0\.png, v2/train/cat/0\.png; "):
        unpacked(root)
    with pytest.raises(InputError, match=r"images of the same name: train/cat/1\.png; "):
        read_tar(tmp_path / "a.tar", [*PLAIN, ("./train/cat/1.png", b"other")])


def test_images_beside_the_splits_are_counted(root):
    put(root, "val/cat/7.png", "val/cat/8.JPG", "README.md", "train/9.png")
    assert list(unpacked(root).files) == NAMES
    (note,) = unpacked(root).notes
    assert "left out, since they are not in train/<class>/ or test/<class>/: " in note
    assert all(name in note for name in ("val/cat/7.png", "val/cat/8.JPG", "train/9.png"))
    assert "README" not in note


def test_without_a_test_set_what_is_there_is_said(tmp_path):
    root = put(tmp_path, "train/cat/0.png", "val/cat/0.png")
    with pytest.raises(InputError, match="holds no images in test/<class>/; there are train, val; rename"):
        unpacked(root)


def test_names_that_are_not_utf_8_are_named(root, tmp_path):
    Path(os.fsdecode(bytes(root / "train/cat") + b"/caf\xe9.png")).write_bytes(b"")
    with pytest.raises(InputError, match=r"names that are not UTF-8: train/cat/caf\\xe9\.png; rename"):
        unpacked(root)


def test_an_archive_is_read_as_its_folder_is(tmp_path):
    for prefix in ("", "./", ".//./", "/data/x/", "some/./where/", "../x/"):
        found = read_tar(tmp_path / "a.tar", [(prefix + name, content) for name, content in PLAIN])
        assert found == dict(PLAIN)


def test_links_to_files_of_an_archive_are_followed_and_others_named(tmp_path):
    hard = ("train/cat/8.png", (tarfile.LNKTYPE, "train/cat/0.png"))
    soft = ("train/cat/9.png", (tarfile.SYMTYPE, "../dog/1.png"))
    found = read_tar(tmp_path / "a.tar", [*PLAIN, hard, soft])
    assert found == {
        **dict(PLAIN),
        "train/cat/8.png": b"train/cat/0.png",
        "train/cat/9.png": b"train/dog/1.png",
    }
    for target in ("/nowhere", "9.png", "../cat"):
        with pytest.raises(InputError, match=r"nor links to files in it: train/cat/9\.png; unpack it"):
            read_tar(tmp_path / "a.tar", [*PLAIN, ("train/cat/9.png", (tarfile.SYMTYPE, target))])
    with pytest.raises(InputError, match="nor links to files in it: train/emu; unpack it"):
        read_tar(tmp_path / "a.tar", [*PLAIN, ("train/emu", (tarfile.SYMTYPE, "dog"))])


def state(root: Path, table: Path) -> str:
    return fingerprint(unpacked(root).files.items(), table)


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once, so that the table is used."""
    monkeypatch.setattr(folders, "SETTLED_NS", 0)


def test_a_file_of_the_same_size_and_time_is_another(root, tmp_path, settled):
    table = tmp_path / "table.json"
    before = state(root, table)
    path = root / "train/cat/0.png"
    times = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert state(root, table) != before


def test_what_is_not_read_and_when_it_was_touched_count_for_nothing(root, tmp_path, settled):
    table = tmp_path / "table.json"
    before = state(root, table)
    put(root, ".DS_Store", "train/.DS_Store", "train/cat/.DS_Store", "README.md")
    (root / "train/cat/0.png").touch()
    assert state(root, table) == before
    (root / "train/cat/1.png").rename(root / "train/cat/2.png")
    assert state(root, table) != before


def test_what_did_not_change_is_not_read_again(root, tmp_path, settled, monkeypatch):
    table = tmp_path / "results" / "table.json"
    before = state(root, table)
    read = []
    digest = folders.hashlib.file_digest
    monkeypatch.setattr(
        folders.hashlib, "file_digest", lambda file, name: read.append(file.name) or digest(file, name)
    )
    assert state(root, table) == before
    assert read == []
    (root / "train/cat/0.png").touch()
    assert state(root, table) == before
    assert read == [str(root / "train/cat/0.png")]
    for damaged in ("", "[1]", '{"train/cat/0.png": [1]}', "\0"):
        table.write_text(damaged)
        assert state(root, table) == before


def test_a_file_that_has_just_changed_is_not_trusted_to_stay(root, tmp_path):
    table = tmp_path / "table.json"
    state(root, table)
    assert not table.exists() or table.read_text() == "{}"


def test_a_table_that_cannot_be_written_only_costs_time(root, tmp_path, settled):
    (tmp_path / "file").write_text("")
    assert state(root, tmp_path / "file" / "table.json") == state(root, tmp_path / "table.json")


def test_a_data_set_that_is_no_folder_has_no_listing(tmp_path):
    sizes = {"train": 10, "validation": 1, "test": 1, "forget": {"size": 2}}
    for own in ({"name": "digits"}, {"name": "image_folder", "path": str(tmp_path / "a.tar")}):
        assert listing(Data.model_validate(own | sizes)).files == {}


def packed_bytes(tmp_path: Path) -> bytes:
    tar(tmp_path / "whole.tar", PLAIN).close()
    return (tmp_path / "whole.tar").read_bytes()


def refused(path: Path, content: bytes, open_as=gzip.compress) -> str:
    path.write_bytes(open_as(content))
    with tarfile.open(path) as archive, pytest.raises(InputError) as error:
        packed(archive, path)
    return str(error.value)


@pytest.mark.parametrize("open_as", [bytes, gzip.compress])
def test_what_is_behind_a_damaged_header_is_not_lost_without_a_word(tmp_path, open_as):
    content = bytearray(packed_bytes(tmp_path))
    at = content.index(b"train/cat/0.png")
    content[at] ^= 255
    assert "cannot be read behind its first" in refused(tmp_path / "a.tar", bytes(content), open_as)
    content[at : at + 512] = bytes(512)
    assert "cannot be read behind its first" in refused(tmp_path / "a.tar", bytes(content), open_as)
    whole = packed_bytes(tmp_path)
    assert "several archives in one file" in refused(tmp_path / "a.tar", whole + whole, open_as)
    cut = whole.rstrip(b"\0")
    cut += bytes(-len(cut) % 512)
    assert "its end is missing" in refused(tmp_path / "a.tar", cut, open_as)


def test_what_may_hide_a_split_is_named(root):
    (root / "part2").symlink_to("/mnt/nowhere/part2")
    with pytest.raises(InputError, match=r"cannot be read: part2 \(a link that leads nowhere\)"):
        unpacked(root)


def test_folders_that_link_to_each_other_end(root):
    for one in range(12):
        put(root, f"train/c{one}/a.png", f"test/c{one}/a.png")
        for other in range(12):
            if other != one:
                (root / f"train/c{one}/l{other}").symlink_to(f"../c{other}")
    found = unpacked(root)
    assert {f"train/c0/l{other}/a.png" for other in range(1, 12)} <= found.files.keys()
    assert any("read behind the same link already" in note for note in found.notes)


def test_whatever_is_left_out_is_named(root):
    put(root, "val/cat/1.jfif", "val/cat/2", "train/loose")
    (note,) = unpacked(root).notes
    assert all(name in note for name in ("val/cat/1.jfif", "val/cat/2", "train/loose"))
    put(root, "a/README", "b/README", "c/README", "val/cat/3.png")
    (note,) = unpacked(root).notes
    assert note.endswith("test/<class>/: val/cat/3.png, a/README, b/README, and 4 more")


@pytest.mark.parametrize(("one", "other"), [("caf\u00e9", "cafe\u0301"), ("Bird", "bird"), ("bird ", "bird")])
def test_classes_that_look_the_same_are_named(root, one, other):
    put(root, f"train/{one}/1.png", f"test/{other}/1.png")
    notes = unpacked(root).notes
    assert any("whose names look the same" in note and ascii(one) in note for note in notes)
    assert any("classes with images in train/ and none in test/" in note for note in notes)
    assert any("classes with images in test/ and none in train/" in note for note in notes)


def test_letters_that_the_locale_may_misread_are_refused(root, monkeypatch):
    put(root, "train/caf\u00e9/1.png", "test/caf\u00e9/1.png")
    unpacked(root)
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    with pytest.raises(InputError, match=r"set one of UTF-8: export LC_ALL=C\.UTF-8"):
        unpacked(root)
