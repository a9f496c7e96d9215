"""The authors' own results: small files, from which every figure, table and verdict can be made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from random_mask.artifacts.files import read_text, write_text
from random_mask.artifacts.records import record_of, verify

__all__ = ["KEPT", "keep"]

KEPT = (
    *("scores.csv", "comparisons.csv", "scores_by_n.csv", "measures.csv", "simulation.csv", "claims.csv"),
    *("examples.npz", "masks.csv", "costs.csv", "run.json"),
)
"""What is kept of a run, each file with the record of its making; of a search `chosen.yaml`, too."""


def keep(folder: Path, into: Path) -> list[Path]:
    """Copy what the paper needs of a run into `into/<experiment>/`, with its configuration as `config.yaml`.

    Returns the files that were written.

    Raises:
        InputError: if the run is not complete, or a file is not what the workflow wrote.
    """
    experiment = json.loads(read_text(folder / "provenance.json"))["experiment"]
    target = into / experiment["experiment"]
    names = [*KEPT, *(["chosen.yaml"] if experiment["search"] else [])]
    for name in names:
        verify(folder / name)
    target.mkdir(parents=True, exist_ok=True)
    kept = [target / "config.yaml", target / "provenance.json"]
    write_text(kept[0], yaml.safe_dump(experiment, sort_keys=False, default_flow_style=None, width=110))
    shutil.copyfile(folder / "provenance.json", kept[1])
    for name in names:
        for source in (folder / name, record_of(folder / name)):
            kept.append(target / source.name)
            shutil.copyfile(source, kept[-1])
    return kept
