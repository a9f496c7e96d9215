"""Writes the tables and numbers of the paper."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from random_mask.config import Experiment
from random_mask.cost import seconds
from random_mask.files import read_text, write_text
from random_mask.fleets import read_speed, read_works
from random_mask.provenance import read_record
from random_mask.report import numbers, tables
from random_mask.report.names import label
from random_mask.stages.command import Input, Output, Source, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    experiment: Experiment


def main(
    *,
    settings: Settings,
    scores: Input,
    comparisons: Input,
    measures: Input,
    masks: list[Input],
    costs: list[Input],
    speed: Source,
    simulation: Input,
    output: Output,
    tabulars: list[Output],
) -> None:
    """Write `output`, the macros, and each table that is asked for; its kind is the name of the file."""
    experiment = settings.experiment
    table, simulated = pd.read_csv(scores), pd.read_csv(simulation)
    measured = pd.read_csv(measures)
    counts = {
        method: pd.concat([pd.read_csv(path) for path in masks if path.parent.parent.name == method])
        for method, definition in experiment.methods.items()
        if definition.masks()
    }
    reference = read_speed(speed)
    spent: dict[str, list[float]] = {}
    for path in costs:
        spent.setdefault(_fleet(path), []).extend(seconds(work, reference) for work in read_works(path))
    original = next(path for path in costs if path.parent.parent.name == "original")
    model = {"weights": read_works(original)[0].weights, **json.loads(read_text(original))}
    environment = _environment([read_record(path) for path in costs])
    collected = numbers.collect(
        experiment,
        table,
        pd.read_csv(comparisons),
        counts,
        spent,
        {name: model[name] for name in ("weights", "live_weights", "classes", "retain", "forget")},
        environment,
        json.loads(read_text(speed))["machine"]["processor"],
        simulated,
        measured,
    )
    write_text(output, numbers.as_tex(collected))
    texts = {
        "scores": lambda: tables.scores(table, experiment.shown()),
        "masks": lambda: tables.masks(
            {method: counts[method] for method in ("random_mask", "random_mask_described")},
            {
                method: experiment.methods[method].perturb.spare
                for method in ("random_mask", "random_mask_described")
            },
        ),
        "cost": lambda: tables.cost(spent),
        "simulation": lambda: tables.simulation(simulated),
        "measures": lambda: tables.measures(measured, experiment.shown()),
        "environment": lambda: tables.environment(environment),
        "config": lambda: tables.config(experiment),
    }
    for path in tabulars:
        write_text(path, texts[path.stem]())
    progress(f"{len(collected)} numbers")


def _environment(records: list[dict]) -> dict[str, str]:
    """Return what the fleets were trained on and with; several machines are named one after the other."""
    parts = ("machine", "computed", "versions")
    found = [{name: value for part in parts for name, value in record[part].items()} for record in records]
    return {name: ", ".join(sorted({str(one[name]) for one in found if name in one})) for name in found[0]}


def _fleet(path: Path) -> str:
    """Return the name of the fleet to which a file of its folder belongs."""
    folder = path.parent
    if folder.name.startswith("original-"):
        return label(folder.parent.name)
    return {"oracle": "Retrained (oracle)", "retrain": "Retrained (independent)"}.get(folder.name, "Original")


if __name__ == "__main__":
    run(main)
