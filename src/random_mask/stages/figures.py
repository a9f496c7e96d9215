"""Draws the figures of an experiment."""

from __future__ import annotations

import pandas as pd

from random_mask.artifacts.files import read_npz
from random_mask.experiment.config import Experiment
from random_mask.report import figures
from random_mask.report.study import Study
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
    study = Study(
        experiment=settings,
        scores=pd.read_csv(scores),
        comparisons=pd.read_csv(comparisons),
        scores_by_n=pd.read_csv(by_n),
        measures=pd.read_csv(measures),
        examples=read_npz(examples),
    )
    drawings = figures.of_study(study)
    for kind in dict.fromkeys(path.stem for path in output):
        figures.save(drawings[kind](), *(path for path in output if path.stem == kind))
        progress(kind)


if __name__ == "__main__":
    run(main)
