"""Official archives of public data sets: downloaded once, and checked before anything in them is read."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from random_mask.errors import InputError

__all__ = ["fetch", "official", "read_verified"]

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 1.0
"""Before the second attempt; doubled before each further one."""
TIMEOUT_SECONDS = 60
CHUNK_BYTES = 2**20


def official(name: str) -> tuple[str, str]:
    """Return the address and the MD5 sum of an archive, as torchvision knows them.

    Args:
        name: the name of the file, such as `cifar-10-python.tar.gz`.
    """
    from torchvision.datasets import CIFAR10, CIFAR100, SVHN  # takes seconds

    known = {source.filename: (source.url, source.tgz_md5) for source in (CIFAR10, CIFAR100)}
    return (known | {file: (url, md5) for url, file, md5 in SVHN.split_list.values()})[name]


def read_verified(path: Path) -> bytes:
    """Return the content of an archive, which is the official one.

    What is returned is what was checked, so it may be unpickled.

    Raises:
        InputError: if it is missing, or its MD5 sum is not the official one.
    """
    url, expected = official(path.name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run snakemake again, or put {url} there") from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise InputError(
            f"{path}: damaged, or not the official file (MD5 {found}, not {expected}); delete it and run "
            f"snakemake again, which downloads {url}"
        )
    return content


def fetch(path: Path, progress: Callable[[str], None]) -> None:
    """Download an archive. One that is there is only checked, a part of one is continued.

    Raises:
        InputError: if it cannot be had, or is not the official one.
    """
    if path.exists():
        read_verified(path)
        progress(f"{path}: is there already")
        return
    url, expected = official(path.name)
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        begun = part.stat().st_size if part.exists() else 0
        try:
            progress(f"downloading {url}" + (f" from byte {begun} on" if begun else ""))
            _continue(url, part, begun)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
            progress(reason)
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                break
            continue
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found == expected:
            part.replace(path)
            return
        part.unlink()
        reason = f"what came has the MD5 {found}"
        progress(reason)
        if not begun:  # the whole was read at once: it will not be another one next time
            break
    raise InputError(
        f"{path}: cannot be downloaded ({reason}); get {url} elsewhere, put it here as {path} "
        f"(MD5 {expected}) and run snakemake again"
    )


def _continue(url: str, part: Path, begun: int) -> None:
    """Append what is missing of a file to the part of it that is there, or write it anew."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"} if begun else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # there is no more of it
        raise
    with response, part.open("ab" if response.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as file:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
        if response.length:
            raise ConnectionError(f"the connection ended {response.length} bytes too early")
