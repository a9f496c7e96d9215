"""The results of an experiment, as figures, tables and numbers are made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from random_mask.artifacts.files import read_npz, read_text
from random_mask.experiment.config import Experiment
from random_mask.metrics.intervals import Interval
from random_mask.metrics.spread import shift, spread_ratio
from random_mask.report.labels import Labels
from random_mask.report.originals import pooled

__all__ = ["Fleets", "Positions", "Study", "data_title", "fleets_of", "shift_and_spread"]

Fleets = Mapping[str, Mapping[str, np.ndarray]]
"""The arrays of each method's evaluation, by method."""
Positions = Mapping[str, tuple[Interval, Interval]]
"""Shift and spread by method."""


@dataclass(frozen=True, eq=False)
class Study:
    """What is known of an experiment: its configuration, and the contents of files named like the attributes.

    `run` is `run.json`. Figures do without the last three.
    """

    experiment: Experiment
    scores: pd.DataFrame
    comparisons: pd.DataFrame
    scores_by_n: pd.DataFrame
    measures: pd.DataFrame
    examples: Mapping[str, np.ndarray]
    masks: pd.DataFrame = field(default_factory=pd.DataFrame)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    run: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, experiment: Experiment, folder: Path) -> Study:
        """Read the files of `report.names.RESULTS` of an experiment."""
        names = ("scores", "comparisons", "scores_by_n", "measures", "masks", "costs")
        return cls(
            experiment=experiment,
            **{name: pd.read_csv(folder / f"{name}.csv") for name in names},
            examples=read_npz(folder / "examples.npz"),
            run=json.loads(read_text(folder / "run.json")),
        )

    @cached_property
    def labels(self) -> Labels:
        """What its methods are called."""
        return Labels(self.experiment)

    @property
    def name(self) -> str:
        """Its name."""
        return self.experiment.experiment

    @property
    def title(self) -> str:
        """What readers know its data by, and N."""
        return f"{data_title(self.experiment)}, N = {self.experiment.models}"

    @cached_property
    def positions(self) -> Positions:
        """Shift and spread of each method of the scores; see `shift_and_spread`."""
        trials = self.experiment.trials()
        methods = [name for name in self.scores["method"].unique() if name not in trials]
        return shift_and_spread(self.examples, methods)

    def mask_counts(self) -> dict[str, pd.DataFrame]:
        """Return the rows of `masks` by method."""
        methods = self.masks["method"]
        return {name: self.masks[methods == name] for name in methods.unique()}


def data_title(experiment: Experiment) -> str:
    """Return what readers know the data of an experiment by."""
    data = experiment.data
    return data.title or {"digits": "Digits"}.get(data.name, data.name)


def fleets_of(examples: Mapping[str, np.ndarray], methods: Sequence[str]) -> Fleets:
    """Return the arrays of each method's first original model, of `examples.npz`, with the oracle's."""
    oracle = _under("oracle", examples)
    return {name: oracle | _under(f"{name}/0", examples) for name in methods}


def shift_and_spread(examples: Mapping[str, np.ndarray], methods: Sequence[str]) -> Positions:
    """Return shift and spread of the confidences of each method against the oracle, over its original models.

    Args:
        examples: the content of `examples.npz`.
        methods: their names.
    """
    oracle = examples["oracle/oracle_confidences"]
    found = {}
    for method in methods:
        fleets = [
            array
            for name, array in examples.items()
            if name.startswith(f"{method}/") and name.endswith("/confidences")
        ]
        found[method] = (
            pooled([shift(fleet, oracle) for fleet in fleets]),
            pooled([spread_ratio(fleet, oracle) for fleet in fleets]),
        )
    return found


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, by the rest of their names."""
    names = [name for name in arrays if name.startswith(f"{prefix}/")]
    return {name.removeprefix(f"{prefix}/"): arrays[name] for name in names}
