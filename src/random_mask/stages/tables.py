"""Writes the tables and numbers of the paper."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from random_mask.config import Experiment
from random_mask.files import write_text
from random_mask.report import numbers, tables
from random_mask.report.names import label
from random_mask.stages.command import progress, run
from random_mask.stages.scores import read_json


class Settings(BaseModel):
    """What this stage depends on."""

    experiment: Experiment


def main(
    *,
    settings: Settings,
    scores: Path,
    comparisons: Path,
    masks: list[Path],
    costs: list[Path],
    simulation: Path,
    output: Path,
    tabulars: list[Path],
) -> None:
    """Write `output`, the macros, and each table that is asked for; its kind is the name of the file."""
    experiment = settings.experiment
    table, simulated = pd.read_csv(scores), pd.read_csv(simulation)
    counts = {
        method: pd.concat([pd.read_csv(path) for path in masks if path.parent.parent.name == method])
        for method, definition in experiment.methods.items()
        if definition.perturb.name == "random_mask"
    }
    seconds: dict[str, list[float]] = {}
    for path in costs:
        seconds.setdefault(_fleet(path), []).extend(read_json(path)["seconds_per_model"])
    original = next(read_json(path) for path in costs if path.parent.parent.name == "original")
    machine = original["machine"] | {
        "snakemake": version("snakemake"),
        "precision": "32-bit floating-point",
        "threads": 1,
    }
    collected = numbers.collect(
        experiment,
        table,
        pd.read_csv(comparisons),
        counts,
        seconds,
        {name: original[name] for name in ("weights", "live_weights", "classes")},
        machine,
        simulated,
    )
    write_text(output, numbers.as_tex(collected))
    texts = {
        "scores": lambda: tables.scores(table, experiment.shown()),
        "masks": lambda: tables.masks(
            {method: counts[method] for method in ("random_mask", "random_mask_described")},
            {method: experiment.methods[method].perturb.spare for method in counts},
        ),
        "cost": lambda: tables.cost(seconds),
        "simulation": lambda: tables.simulation(simulated),
        "config": lambda: tables.config(experiment),
    }
    for path in tabulars:
        write_text(path, texts[path.stem]())
    progress(f"{len(collected)} numbers")


def _fleet(path: Path) -> str:
    """Return the name of the fleet to which a file of its folder belongs."""
    folder = path.parent
    if folder.name.startswith("original-"):
        return label(folder.parent.name)
    return {"oracle": "Retrained (oracle)", "retrain": "Retrained (independent)"}.get(folder.name, "Original")


if __name__ == "__main__":
    run(main)
