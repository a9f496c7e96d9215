"""`provenance.json`: the records of all artifacts of a run in one file.

Stages import `random_mask.artifacts.records` alone, so that a change here trains nothing again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from random_mask.artifacts.records import REMEDY, digest, read_record
from random_mask.errors import InputError

__all__ = ["chain", "condensed", "expanded", "problems"]


def chain(artifacts: Iterable[Path | str]) -> dict[str, dict[str, Any]]:
    """Return the records of artifacts and of everything that they were made from, by path, sorted.

    Raises:
        InputError: if the chain is broken: an artifact was made from another version of a file than the one
            that is there.
    """
    records: dict[str, dict[str, Any]] = {}
    waiting = [str(path) for path in artifacts]
    while waiting:
        path = waiting.pop()
        if path in records:
            continue
        records[path] = read_record(path)
        waiting.extend(records[path]["inputs"])
    for path, record in records.items():
        for source, expected in record["inputs"].items():
            if records[source]["sha256"] != expected:
                raise InputError(f"{path}: made from another version of {source}; {REMEDY}")
    return dict(sorted(records.items()))


COMMON = ("code", "computed", "machine", "options", "versions")
"""What many records of a run have in common."""


def condensed(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return records without repetition: `common`, values by their hash, and `artifacts` that name them."""
    common: dict[str, Any] = {}
    artifacts = {}
    for path, record in records.items():
        artifacts[path] = dict(record)
        for key in COMMON:
            name = hashlib.sha256(json.dumps(record[key], sort_keys=True).encode()).hexdigest()[:12]
            common[name] = record[key]
            artifacts[path][key] = name
    return {"common": dict(sorted(common.items())), "artifacts": artifacts}


def expanded(collected: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the records that `condensed` was given."""
    common = collected["common"]
    return {
        path: record | {key: common[record[key]] for key in COMMON}
        for path, record in collected["artifacts"].items()
    }


def problems(folder: Path) -> tuple[int, list[str]]:
    """Check every artifact of a run, and that the code which made it is the code here.

    Args:
        folder: the folder of results, which may have been moved or copied.

    Returns:
        The number of artifacts, and one line for each file that is missing or was changed since.

    Raises:
        InputError: if the folder has no readable `provenance.json`.
    """
    collected = folder / "provenance.json"
    try:
        content = json.loads(collected.read_text())
        records, root = expanded(content), f"results/{content['experiment']['experiment']}/"
    except FileNotFoundError:
        raise InputError(f"{collected}: no such file; give the folder of a run that is complete") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{collected}: damaged; {REMEDY}") from None
    found: list[str] = []
    code: dict[str, str] = {}
    for name, record in records.items():
        path = folder / name.removeprefix(root)
        code |= record["code"] | record["sources"]
        if not path.exists():
            found.append(f"{path}: missing")
        elif digest(path) != record["sha256"]:
            found.append(f"{path}: damaged, or changed since the workflow wrote it")
    for name, expected in sorted(code.items()):
        if not Path(name).exists() or digest(name) != expected:
            found.append(f"{name}: changed since it made some of these results")
    return len(records), found
