"""What the stages of the paper have in common: reading the results of several experiments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from random_mask.artifacts.files import read_npz, read_text
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
    files = {(path.parent.name, path.stem): path for path in results}

    def table(name: str, stem: str) -> pd.DataFrame:
        return pd.read_csv(files[name, stem])

    return {
        name: Study(
            experiment=experiment,
            **{stem: table(name, stem) for stem in ("scores", "comparisons", "scores_by_n", "measures")},
            **{stem: table(name, stem) for stem in ("masks", "costs")},
            examples=read_npz(files[name, "examples"]),
            run=json.loads(read_text(files[name, "run"])),
        )
        for name, experiment in experiments.items()
    }
