"""The authors' own results: small files, from which every figure, table and verdict can be made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from random_mask.artifacts.files import write_text
from random_mask.artifacts.provenance import KEPT, kept_of, read_collected
from random_mask.artifacts.records import digest, record_of, verify
from random_mask.errors import InputError

__all__ = ["keep"]


def keep(folder: Path, into: Path) -> list[Path]:
    """Copy what the paper needs of a run into `into/<experiment>/`, with its configuration as `config.yaml`.

    Returns the files that were written.

    Raises:
        InputError: if the run is not complete, a file is not what the workflow wrote, or it cannot be kept
            there.
        OSError: with the name of a file that cannot be written.
    """
    collected = read_collected(folder)
    experiment = collected["experiment"]
    name, search = experiment["experiment"], experiment.get("search")
    if folder.resolve().name != name:
        raise InputError(
            f"{folder}: holds the experiment {name}; call the folder so, too, to keep it as {into / name}"
        )
    target = into / name
    if target.resolve() == folder.resolve():
        raise InputError(f"{folder}: is kept already; give the folder of a run, such as results/{name}")
    if folder.resolve() in (into.resolve(), *into.resolve().parents):
        raise InputError(f"{folder}: cannot be kept in itself; choose another --into than {into}")
    fleets = [path for path in kept_of(name, collected["artifacts"]) if path.startswith("retrained/")]
    costs = [path.replace(".npz", ".json") for path in fleets]
    if experiment.get("tuned"):
        # The file may have more methods by the time that the kept configuration is read.
        tuned = [one for one, of in experiment["methods"].items() if of.get("tuned_from")]
        experiment = experiment | {"tuned": experiment["tuned"] | {"methods": tuned}}
    names = sorted({*KEPT, *(["chosen.yaml"] if search else []), *fleets, *costs})
    for one in names:
        verify(folder / one)
        record = collected["artifacts"].get(f"results/{name}/{one}")
        if record and digest(folder / one) != record["sha256"]:
            again = f"snakemake --cores 2 results/{name}/provenance.json"
            raise InputError(f"{folder / one}: made again after provenance.json; first complete it: {again}")
    if not into.is_dir():
        into.mkdir()  # and none above it, which may be a slip
    target.mkdir(exist_ok=True)
    kept = [target / "config.yaml", target / "provenance.json"]
    write_text(kept[0], yaml.safe_dump(experiment, sort_keys=False, default_flow_style=None, width=110))
    shutil.copyfile(folder / "provenance.json", kept[1])
    for one in names:
        for source in (folder / one, record_of(folder / one)):
            kept.append(target / source.relative_to(folder))
            kept[-1].parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, kept[-1])
    return kept
