"""Folders and archives of images: which files are images, and when one of them has changed.

What is read and what is planned go by the same listing, so that a file that is not read re-runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from random_mask.artifacts.files import atomic_write
from random_mask.data.settings import Data
from random_mask.errors import InputError, named

__all__ = ["AGES", "Listing", "fingerprint", "listing", "packed", "unpacked"]

SPLITS = ("train", "test")
PHOTOS = "WBackground/*/*/real.rssdk/color/*.jpg"
"""The colour images of real faces in `casia_surf`, by person."""
AGES = "Age_Gender.txt"
SETTLED_NS = 2_000_000_000
"""A file that changed this short a time ago may change again without a new time stamp."""


@dataclass
class Listing:
    """The images of a folder or an archive.

    Attributes:
        files: where each image is, by its name from `train` or `test` on; names are `train/<class>/...`.
        notes: what was left out, and why, a line each.
    """

    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted({name.split("/", 2)[1] for name in self.files})


def unpacked(folder: Path) -> Listing:
    """List the images of a folder. Links are followed; hidden files and folders are left out.

    Raises:
        InputError: if a name stands twice, a link leads nowhere, or there are no images.
    """
    found, paths, broken = Listing(), [], []
    for path, problem in _walk(str(folder), "", (os.path.realpath(folder),)):
        if not problem:
            paths.append(path)
        elif problem in (LOOP, AGAIN):
            found.notes.append(f"{folder / path}: left out, {problem}")
        else:
            broken.append(f"{path or '.'} ({problem})")
    if broken:
        raise InputError(f"{folder}: cannot be read: {named(broken)}; correct or remove them")
    _choose(folder, paths, found)
    found.files = {name: f"{folder}/{path}" for name, path in found.files.items()}  # `/` takes long
    return found


LOOP = "a link to a folder that it is in"
AGAIN = "a folder that is read behind the same link already"


def _walk(
    folder: str, below: str, around: tuple[str, ...], linked: set[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the files below a folder, relative to it, each with what is wrong with it, if anything.

    Args:
        folder: where to look.
        below: the path of `folder` from where the walk began, with a slash at its end.
        around: the folders in which it is, without links.
        linked: behind a link, the folders that were read there: each is read once, or else folders that
            link to each other would be read in every order.
    """
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield below, str(error.strerror)
        return
    for entry in inside:
        if entry.name.startswith("."):
            continue
        path = below + entry.name
        try:
            if entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{around[-1]}/{entry.name}"
                behind = set[str]() if linked is None and entry.is_symlink() else linked
                if real in around or f"{around[-1]}/".startswith(f"{real.rstrip('/')}/"):
                    yield path, LOOP
                elif behind is not None and real in behind:
                    yield path, AGAIN
                else:
                    if behind is not None:
                        behind.add(real)
                    yield from _walk(entry.path, f"{path}/", (*around, real), behind)
            else:
                broken = "a link that leads nowhere" if entry.is_symlink() else "neither a file nor a folder"
                yield path, "" if entry.is_file() else broken
        except OSError as error:  # such as a link to itself
            yield path, str(error.strerror)


def packed(archive: tarfile.TarFile, source: Path) -> tuple[Listing, dict[str, tarfile.TarInfo]]:
    """List the images of a tar archive, by the rules for folders; links to files are followed.

    Returns:
        The listing, and the member that each path in `files` is.

    Raises:
        InputError: if a name stands twice, a link leads to no file, or there are no images.
    """
    found, members, broken = Listing(), {}, []
    paths: list[str] = []
    for member in archive:
        path = PurePosixPath(member.name).as_posix().lstrip("/")
        if member.isdir() or any(part.startswith(".") and part != ".." for part in path.split("/")):
            continue
        link = member.issym() or member.islnk()
        if member.isfile() or (link and _leads_to_a_file(archive, member)):
            paths.append(path)
            members[path] = member
        else:
            broken.append(path)
    _check_end(archive, source)
    if broken:
        raise InputError(
            f"{source}: neither files nor links to files in it: {named(broken)}; unpack it, and name "
            "the folder"
        )
    _choose(source, paths, found)
    return found, members


def _check_end(archive: tarfile.TarFile, source: Path) -> None:
    """Check that an archive ends behind its last member: `tarfile` also stops at a damaged header."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    first = True
    while block := file.read(2**20):
        if block.strip(b"\0"):
            raise InputError(
                f"{source}: cannot be read behind its first {archive.offset} bytes: damaged, or several "
                "archives in one file; pack it anew, or unpack it, and name the folder"
            )
        first = False
    if first:
        raise InputError(f"{source}: not a whole tar archive, its end is missing; pack it anew")


def _leads_to_a_file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    try:
        return archive.extractfile(member) is not None
    except (KeyError, RecursionError):
        return False


def _choose(source: Path, paths: list[str], found: Listing) -> None:
    """Put those of the paths into a listing that are images of a split, by their names.

    The splits are those of a folder that has both, or of any folder where none has both.
    """
    places = [(path, _places(path)) for path in paths]
    splits: dict[str, set[str]] = {}
    for path, starts in places:
        for at in starts:
            splits.setdefault(path[:at], set()).add(path[at:].partition("/")[0])
    both = {root for root, present in splits.items() if len(present) == len(SPLITS)}
    outside: list[str] = []
    where: dict[str, list[str]] = {}
    for path, starts in places:
        chosen = [start for start in starts if not both or path[:start] in both]
        if chosen:
            where.setdefault(path[chosen[0] :], []).append(path)
        else:
            outside.append(path)
    twice = [", ".join(dict.fromkeys(of)) for of in where.values() if len(of) > 1]
    if twice:
        raise InputError(
            f"{source}: images of the same name: {named(twice)}; every name, from train/ or test/ on, may "
            "stand once"
        )
    for split in SPLITS:
        if not any(name.startswith(f"{split}/") for name in where):
            folders = sorted({path.partition("/")[0] for path in paths})
            there = f"there are {named(folders)}" if folders else "there is nothing that is not hidden"
            raise InputError(
                f"{source}: holds no images in {split}/<class>/; {there}; rename or link what is meant"
            )
    # Surrogates stand for bytes that are not UTF-8, and are no text.
    unreadable = [name for name in where if name.encode(errors="ignore").decode() != name]
    if unreadable:
        raise InputError(f"{source}: names that are not UTF-8: {named(unreadable)}; rename these files")
    encoding = sys.getfilesystemencoding()
    foreign = [name for name in where if not name.isascii()]
    if foreign and encoding != "utf-8":
        raise InputError(
            f"{source}: names with letters that the locale, of {encoding}, may read as others; "
            "set one of UTF-8: export LC_ALL=C.UTF-8"
        )
    if outside:
        outside.sort(key=lambda path: not path.lower().endswith(IMAGES))
        found.notes.append(
            f"{source}: left out, since they are not in train/<class>/ or test/<class>/: {named(outside)}"
        )
    found.files = {name: of[0] for name, of in sorted(where.items())}
    found.notes += [f"{source}: {note}" for note in _odd_classes(found)]


IMAGES = (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What most images are called; of files that are left out, these are named first."""


def _odd_classes(found: Listing) -> Iterator[str]:
    """Yield what is odd about the classes: such as are in one split only, or differ in hardly anything."""
    splits = {
        split: {name.split("/", 2)[1] for name in found.files if name.startswith(f"{split}/")}
        for split in SPLITS
    }
    for split, other in (SPLITS, SPLITS[::-1]):
        alone = sorted(splits[split] - splits[other])
        if alone:
            yield f"classes with images in {split}/ and none in {other}/: {named(alone)}"
    alike: dict[str, list[str]] = {}
    for name in found.classes():
        alike.setdefault(unicodedata.normalize("NFKC", name).casefold().strip(), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield f"classes whose names look the same: {', '.join(map(ascii, names))}; are they one?"


def _places(path: str) -> list[int]:
    """Return where the names `train/<class>/...` and `test/<class>/...` in a path begin."""
    parts, starts, at = path.split("/"), [], 0
    for number, part in enumerate(parts):
        if part in SPLITS and number + 2 < len(parts):
            starts.append(at)
        at += len(part) + 1
    return starts


def listing(data: Data) -> Listing:
    """List the images of a configured folder, of none where the data set is no folder.

    Raises:
        InputError: as `unpacked` does.
    """
    folder = Path(data.path or "")
    if data.path is None or not folder.is_dir():
        return Listing()
    if data.name == "image_folder":
        return unpacked(folder)
    # Person by person, as the competition's code has them.
    paths = sorted(folder.glob(PHOTOS), key=lambda path: (str(path.parents[2]), str(path)))
    return Listing({path.relative_to(folder).as_posix(): str(path) for path in [folder / AGES, *paths]})


def fingerprint(files: Iterable[tuple[str, str]], table: Path) -> str:
    """Return what tells files from others by their contents: a hash of all names and contents.

    Contents are hashed once: what was found stands in a table, and holds for a file whose size and times of
    change are the same, to the nanosecond.

    Args:
        files: the name of each and where it is.
        table: of size, times and hash, by name; it is made, and renewed where it is out of date.
    """
    known, now = _known(table), time.time_ns()
    found: dict[str, list[int | str]] = {}
    whole = hashlib.sha256()
    for name, path in files:
        try:
            status = Path(path).stat()
            state: list[int | str] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            row = known.get(name, [])
            if row[:3] != state:
                with Path(path).open("rb") as file:
                    row = [*state, hashlib.file_digest(file, "sha256").hexdigest()]
        except OSError as error:  # the stage that reads it says more
            row = [0, 0, now, str(error.strerror)]
        found[name] = row
        whole.update(f"{name}\0{row[3]}\n".encode(errors="surrogateescape"))
    settled = {name: row for name, row in found.items() if int(row[2]) < now - SETTLED_NS}
    if settled != known:
        with suppress(OSError), atomic_write(table) as temporary:  # it only saves time
            temporary.write_text(json.dumps(settled, indent=0), encoding="utf-8")
    return whole.hexdigest()


def _known(table: Path) -> dict[str, list[int | str]]:
    """Return the rows of the table of `fingerprint`, or none if it is not there or damaged."""
    try:
        rows = json.loads(table.read_text(encoding="utf-8"))
        return {name: row for name, row in rows.items() if len(row) == 4 and isinstance(row[3], str)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
