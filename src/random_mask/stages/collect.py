"""Collects what figures and tables need of all fleets into a few small files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from random_mask.artifacts.files import read_npz, read_text, write_npz, write_text
from random_mask.artifacts.records import read_record
from random_mask.artifacts.shards import read_speed, read_works
from random_mask.stages.command import Input, Output, Source, progress, run
from random_mask.training.cost import seconds


def main(
    *,
    evaluations: list[Input],
    masks: list[Input],
    costs: list[Input],
    speed: Source,
    examples: Output,
    mask_counts: Output,
    costs_table: Output,
    run_file: Output,
) -> None:
    """Write four files.

    `examples` has the arrays of all evaluations, from which every score and interval can be computed again
    without training, as `<method>/<original>/<array>`; what the oracle adds to them is the same in all and
    stands once, as `oracle/<array>`. `mask_counts` has the weights of each tensor and how many of them a
    mask has on average; `costs_table` the models of each fleet and their seconds, counted; `run_file` what
    the network is and what computed the run.
    """
    arrays: dict[str, np.ndarray] = {}
    for path in evaluations:
        method, original = path.parent.name, path.stem.removeprefix("original-")
        for name, array in read_npz(path).items():
            shared = name in ("image", "label") or name.startswith("oracle_")
            arrays[f"oracle/{name}" if shared else f"{method}/{original}/{name}"] = array
    write_npz(examples, arrays)
    tables = [pd.read_csv(path).assign(method=path.parent.parent.name) for path in masks]
    counted = pd.concat(tables or [pd.DataFrame(columns=["method", "tensor", "weights", "masked"])])
    shares = counted.groupby(["method", "tensor"], sort=False, as_index=False)
    _write(mask_counts, shares.agg(weights=("weights", "first"), masked=("masked", "mean")))
    reference = read_speed(speed)
    spent: dict[str, list[float]] = {}
    for path in costs:
        spent.setdefault(_fleet(path), []).extend(seconds(work, reference) for work in read_works(path))
    rows = [{"fleet": name, "models": len(one), "seconds": sum(one)} for name, one in spent.items()]
    _write(costs_table, pd.DataFrame(rows))
    trained = next(path for path in costs if _fleet(path) == "original")
    network = {"weights": read_works(trained)[0].weights, **json.loads(read_text(trained))}
    names = ("weights", "cropped_weights", "classes", "retain", "forget")
    found = {
        "model": {name: network[name] for name in names},
        "environment": environment_of([record for record in map(read_record, costs) if _trained(record)]),
        "reference": json.loads(read_text(speed))["machine"]["processor"],
    }
    write_text(run_file, json.dumps(found, indent=2) + "\n")
    progress(f"{len(evaluations)} evaluations")


def _write(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _trained(record: Mapping[str, Any]) -> bool:
    """Return whether models were trained here; fleets that another experiment kept are condensed."""
    return bool(record["stage"] != "condense")


def environment_of(records: list[dict]) -> dict[str, str]:
    """Return what the fleets were trained on and with; several machines are named one after the other."""
    parts = ("machine", "computed", "versions")
    found = [{name: value for part in parts for name, value in record[part].items()} for record in records]
    names = [name for name in found[0] if name != "warnings"]
    return {name: ", ".join(sorted({str(one[name]) for one in found if name in one})) for name in names}


def _fleet(path: Path) -> str:
    """Return the fleet of a file: `oracle`, `retrain`, `original` or a method."""
    folder = path.parent
    return folder.name if folder.name in ("oracle", "retrain") else folder.parent.name


if __name__ == "__main__":
    run(main)
