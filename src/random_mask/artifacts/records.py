"""Where a file comes from: the record that stands beside every artifact of the workflow.

The record of `scores.csv` is `scores.csv.provenance.json`. It names the stage that made the file, its
settings, the SHA-256 of what it read, of its code and of what it wrote, the machine and versions, and what
it took. Every stage checks its inputs against their records before it reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from random_mask.artifacts.files import write_text
from random_mask.errors import InputError

__all__ = ["digest", "first_damaged", "read_record", "record_of", "verify", "write_records"]

SUFFIX = ".provenance.json"

REMEDY = "delete it and run snakemake again to re-make it"


def record_of(artifact: Path | str) -> Path:
    """Return the path of the record that stands beside an artifact."""
    artifact = Path(artifact)
    return artifact.with_name(artifact.name + SUFFIX)


def digest(path: Path | str) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        InputError: if there is no such file.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run snakemake again to make it") from None


def read_record(artifact: Path | str) -> dict[str, Any]:
    """Read the record of an artifact.

    Raises:
        InputError: if it has none, or a damaged one.
    """
    try:
        return json.loads(record_of(artifact).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{artifact}: the record of its making is missing; {REMEDY}") from None
    except ValueError:  # not JSON, or not text
        raise InputError(f"{artifact}: the record of its making is damaged; {REMEDY}") from None


def verify(artifact: Path | str) -> str:
    """Check that an artifact holds what its stage wrote, and return its SHA-256.

    Raises:
        InputError: if it is missing, was changed since, or has no record.
    """
    found = digest(artifact)
    if read_record(artifact).get("sha256") != found:
        raise InputError(f"{artifact}: damaged, or changed since the workflow wrote it; {REMEDY}")
    return found


def first_damaged(folder: Path | str) -> str | None:
    """Return what is wrong with the first artifact in a folder that is not what its stage wrote.

    Files that were deleted are no damage. A gigabyte takes about a second.
    """
    for record in sorted(Path(folder).rglob(f"*{SUFFIX}")):
        artifact = record.with_name(record.name.removesuffix(SUFFIX))
        if artifact.exists():
            try:
                verify(artifact)
            except InputError as error:
                return str(error)
    return None


def write_records(outputs: Iterable[Path], record: dict[str, Any]) -> None:
    """Write the record of one run of a stage beside each of its outputs."""
    digests = {str(path): digest(path) for path in outputs}
    for path, found in digests.items():
        text = json.dumps({"artifact": path, "sha256": found, **record, "outputs": digests}, indent=2)
        write_text(record_of(path), text + "\n")
