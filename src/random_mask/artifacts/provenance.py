"""`provenance.json`: the records of all artifacts of a run in one file.

Stages import `random_mask.artifacts.records` alone, so that a change here trains nothing again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from random_mask.artifacts.files import read_text
from random_mask.artifacts.records import REMEDY, digest, read_record
from random_mask.errors import InputError, named

__all__ = ["chain", "condensed", "expanded", "problems", "read_collected", "warnings"]

REPOSITORY = Path(__file__).parents[3]
"""Where this package lies, unless it was installed elsewhere."""


KEPT = (
    *("scores.csv", "comparisons.csv", "scores_by_n.csv", "measures.csv", "claims.csv"),
    *("examples.npz", "masks.csv", "costs.csv", "run.json"),
)
"""What is kept of a run, each file with the record of its making; of a search `chosen.yaml`, too, and of all
others the condensed fleets of retrained models."""


def kept_of(experiment: str, artifacts: Iterable[str]) -> list[str]:
    """Return which of the artifacts of a run are kept, relative to its folder."""
    root = f"results/{experiment}/"
    names = [name.removeprefix(root) for name in artifacts if name.startswith(root)]
    return [name for name in names if name in (*KEPT, "chosen.yaml") or name.startswith("retrained/")]


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
        if records[path]["artifact"] == path:  # what was kept of another run has its own chain beside it
            waiting.extend(records[path]["inputs"])
    for path, record in records.items():
        for source, expected in record["inputs"].items():
            if source in records and records[source]["sha256"] != expected:
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


def read_collected(folder: Path) -> dict[str, Any]:
    """Return the `provenance.json` of a run, with its records in full as `artifacts`.

    Raises:
        InputError: if there is none, or a damaged one.
    """
    collected = folder / "provenance.json"
    if not collected.exists():
        raise InputError(f"{collected}: no such file; give the folder of a run that is complete")
    try:
        content = json.loads(read_text(collected))
        records = expanded(content)
        known = all({"sha256", "sources"} <= record.keys() for record in records.values())
        if known and records and isinstance(content["experiment"]["experiment"], str):
            return content | {"artifacts": records}
        raise ValueError("no records of a run")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{collected}: damaged; {REMEDY}") from None


def warnings(folder: Path) -> list[str]:
    """Return what the stages of a run warned of; nothing where it is not complete."""
    if not (folder / "provenance.json").exists():
        return []
    records = read_collected(folder)["artifacts"].values()
    return list(dict.fromkeys(text for record in records for text in record["computed"].get("warnings", [])))


def problems(folder: Path) -> tuple[int, list[str]]:
    """Check every artifact of a run, and that the code which made it is the code here.

    Of what was kept of a run, with its `config.yaml`, only the files that are there are asked for, and the
    code of what they were made from; other sources, such as archives of images, where they are there, but
    not what other runs made.

    Args:
        folder: the folder of results, which may have been moved or copied.

    Returns:
        The number of artifacts, and one line for each file that is missing or was changed since, and one for
        all code that is not found: it is looked for in the working directory and where this package lies.

    Raises:
        InputError: if the folder has no readable `provenance.json`, or a file that was kept no record.
    """
    content = read_collected(folder)
    root = f"results/{content['experiment']['experiment']}/"
    # What another run kept, such as an oracle, has its own records beside it.
    collected = {
        name.removeprefix(root): record
        for name, record in content["artifacts"].items()
        if name.startswith(root)
    }
    records = collected
    kept = (folder / "config.yaml").exists()
    asked = kept_of(content["experiment"]["experiment"], content["artifacts"])
    if kept:
        records = _behind_kept(folder, root, records)
    found: list[str] = []
    code: dict[str, set[str]] = {}
    checked = 0
    for name, record in records.items():
        path = folder / name
        there = {
            source: of
            for source, of in record["sources"].items()
            # What another run made here is of that run, and need not have the same bytes.
            if not kept or (Path(source).exists() and not source.startswith("results/"))
        }
        for source, expected in (record["code"] | there).items():
            code.setdefault(source, set()).add(expected)
        checked += path.is_file()
        if not path.is_file():
            again = "" if kept else f"; to make it again, type: snakemake --cores 2 {root}{name}"
            found += [f"{path}: missing{again}"] if not kept or name in asked else []
        elif digest(path) != record["sha256"]:
            found.append(f"{path}: {_differs(path, root)}")
        elif kept and name != "claims.csv" and record["sha256"] != collected[name]["sha256"]:
            found.append(f"{path}: of another run than provenance.json; keep a complete run")
    absent, some_here = [], False
    for name, expected in sorted(code.items()):
        here = next((base / name for base in (Path(), REPOSITORY) if (base / name).is_file()), None)
        some_here |= here is not None
        if here is None:
            absent.append(name)
        elif expected != {digest(here)}:
            found.append(f"{here}: changed since it made some of these results")
    if absent and some_here:
        found.append(f"no longer here, and so of earlier code: {', '.join(absent)}")
    elif absent:
        found.append(f"not found here, and so not checked: {named(absent)}; run this in the repository")
    return checked if kept else len(records), found


def _differs(path: Path, root: str) -> str:
    """Return how a file came to be another one than that of the collected record."""
    try:
        made_again = read_record(path)["sha256"] == digest(path)
    except InputError:
        made_again = False
    if made_again:
        return f"made again after provenance.json; type: snakemake --cores 2 {root}provenance.json"
    return "damaged, or changed since the workflow wrote it"


def _behind_kept(folder: Path, root: str, records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the records of the kept files, as they lie beside them, and of all that these were made from."""
    # Claims may have been judged again since, from what was kept.
    behind = {
        name: read_record(folder / name) if (folder / name).is_file() else records[name]
        for name in kept_of(root.split("/")[1], [f"{root}{name}" for name in records])
    }
    waiting = list(behind)
    while waiting:
        for path in behind[waiting.pop()]["inputs"]:
            there = path.startswith("results/")
            name = path.removeprefix(root) if there else "/".join(Path(path).parts[2:])
            if name in records and name not in behind:
                behind[name] = records[name]
                waiting.append(name)
    return behind
