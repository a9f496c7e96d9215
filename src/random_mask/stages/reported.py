"""What the stages of the paper have in common: reading the results of several experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from random_mask.errors import InputError
from random_mask.experiment.config import Experiment
from random_mask.report.names import ALL, LARGE, MAIN
from random_mask.report.study import Study

__all__ = ["read_studies"]


def read_studies(experiments: Mapping[str, Experiment], results: Sequence[Path]) -> dict[str, Study]:
    """Read the results of experiments, in their order.

    Args:
        experiments: configurations, by name.
        results: the files of `report.names.RESULTS` of each, in a folder of its name.

    Raises:
        InputError: if an experiment that the paper is written about is missing.
    """
    missing = [name for name in (*MAIN, ALL, LARGE) if name not in experiments]
    if missing:
        raise InputError(f"config/paper.yaml: experiments: {missing[0]}: missing; the paper speaks of it")
    folders = {path.parent.name: path.parent for path in results}
    alike = [
        name for name in experiments[MAIN[0]].drawn() if all(name in experiments[of].drawn() for of in MAIN)
    ]
    return {name: Study.read(experiment, folders[name], alike) for name, experiment in experiments.items()}
