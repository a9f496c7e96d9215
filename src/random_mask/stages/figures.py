"""Draws the figures of an experiment."""

from __future__ import annotations

import pandas as pd

from random_mask.artifacts.files import read_npz
from random_mask.experiment.config import Experiment
from random_mask.report import figures
from random_mask.report.labels import Labels
from random_mask.report.measures import correlations
from random_mask.report.study import fleets_of, shift_and_spread
from random_mask.stages.command import Input, Output, progress, run


def main(
    *,
    settings: Experiment,
    scores: Input,
    comparisons: Input,
    by_n: Input,
    measures: Input,
    examples: Input,
    output: list[Output],
) -> None:
    """Draw each figure that is asked for, once for all its formats; its kind is the name of the file."""
    experiment = settings
    labels, drawn, base = Labels(experiment), experiment.drawn(), experiment.swept_method()
    table, differences, measured = (pd.read_csv(path) for path in (scores, comparisons, measures))
    arrays, judged = read_npz(examples), [*drawn, "original", "retrain"]
    fleets = fleets_of(arrays, judged)
    colour = labels.colour(base) if base else None
    drawings = {
        "scores": lambda: figures.scores(table, experiment.shown(), labels),
        "shift_spread": lambda: figures.shift_spread(shift_and_spread(arrays, judged), drawn, labels),
        "mask_ratio": lambda: figures.mask_ratio(table, experiment.ratio_series(), colour),
        "ablations": lambda: figures.ablations(differences, experiment.ablations(), labels),
        "confidences": lambda: figures.confidences(fleets, drawn, labels),
        "epsilons": lambda: figures.epsilons(fleets, drawn, labels),
        "by_n": lambda: figures.by_n(pd.read_csv(by_n), drawn, labels),
        "agreement": lambda: figures.agreement(correlations(measured, table)),
        "training": lambda: figures.training(fleets, drawn, labels),
    }
    for kind in dict.fromkeys(path.stem for path in output):
        figures.save(drawings[kind](), *(path for path in output if path.stem == kind))
        progress(kind)


if __name__ == "__main__":
    run(main)
