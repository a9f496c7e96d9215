"""The results of an experiment, as figures, tables and numbers are made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd

from random_mask.artifacts.files import read_npz, read_text
from random_mask.experiment.config import Experiment
from random_mask.metrics.competition import forgetting_quality
from random_mask.metrics.intervals import Interval
from random_mask.metrics.spread import Correction, absolute_shift, corrected, shift, spread_ratio
from random_mask.report.labels import Labels
from random_mask.report.originals import pooled

__all__ = ["Fleets", "Position", "Positions", "Study", "data_title", "fleets_of", "positions"]

Fleets = Mapping[str, Mapping[str, np.ndarray]]
"""The arrays of each method's evaluation, by method."""


class Position(NamedTuple):
    """Where the confidences of a method lie beside those of retrained models; see `metrics.spread`."""

    shift: Interval
    spread: Interval
    absolute_shift: Interval


Positions = Mapping[str, Position]
"""By method."""


@dataclass(frozen=True, eq=False)
class Study:
    """What is known of an experiment: its configuration, and the contents of files named like the attributes.

    `run` is `run.json`; `alike` are methods that are to look as in other experiments. Figures of one
    experiment do without the last four.
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
    alike: Sequence[str] = ()

    @classmethod
    def read(cls, experiment: Experiment, folder: Path, alike: Sequence[str] = ()) -> Study:
        """Read the files of `report.names.RESULTS` of an experiment."""
        names = ("scores", "comparisons", "scores_by_n", "measures", "masks", "costs")
        return cls(
            experiment=experiment,
            **{name: pd.read_csv(folder / f"{name}.csv") for name in names},
            examples=read_npz(folder / "examples.npz"),
            run=json.loads(read_text(folder / "run.json")),
            alike=alike,
        )

    @cached_property
    def labels(self) -> Labels:
        """What its methods are called."""
        return Labels(self.experiment, self.alike)

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
        """That of each method of the scores."""
        trials = self.experiment.trials()
        methods = [name for name in self.scores["method"].unique() if name not in trials]
        return positions(self.examples, methods)

    @cached_property
    def corrected_quality(self) -> Mapping[str, Mapping[Correction, float]]:
        """The forgetting quality of each method that is compared in detail, after each correction.

        The mean over its original models; what the score would gain if a part of what it punishes were right.
        """
        oracle = self.examples["oracle/oracle_confidences"]

        def quality(method: str, what: Correction) -> float:
            fleets = _confidences(self.examples, method)
            return float(
                np.mean([forgetting_quality(corrected(one, oracle, what), oracle) for one in fleets])
            )

        methods = ["original", *self.experiment.drawn(), "retrain"]
        return {method: {what: quality(method, what) for what in get_args(Correction)} for method in methods}

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


def positions(examples: Mapping[str, np.ndarray], methods: Sequence[str]) -> Positions:
    """Return where the confidences of each method lie beside the oracle's, over its original models.

    Args:
        examples: the content of `examples.npz`.
        methods: their names.
    """
    oracle = examples["oracle/oracle_confidences"]
    statistics = (shift, spread_ratio, absolute_shift)
    return {
        method: Position(
            *(
                pooled([statistic(fleet, oracle) for fleet in _confidences(examples, method)])
                for statistic in statistics
            )
        )
        for method in methods
    }


def _confidences(examples: Mapping[str, np.ndarray], method: str) -> list[np.ndarray]:
    """Return the confidences of a method's fleets, one for each original model."""
    return [
        array
        for name, array in examples.items()
        if name.startswith(f"{method}/") and name.endswith("/confidences")
    ]


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, by the rest of their names."""
    names = [name for name in arrays if name.startswith(f"{prefix}/")]
    return {name.removeprefix(f"{prefix}/"): arrays[name] for name in names}
