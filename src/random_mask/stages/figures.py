"""Draws the figures of the paper."""

from __future__ import annotations

import pandas as pd
from pydantic import BaseModel

from random_mask.files import read_npz
from random_mask.report import figures
from random_mask.report.measures import correlations
from random_mask.stages.command import Input, Output, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    methods: list[str]
    ratios: dict[str, str]


def main(
    *,
    settings: Settings,
    scores: Input,
    by_n: Input,
    measures: Input,
    evaluations: list[Input],
    output: list[Output],
) -> None:
    """Draw each figure that is asked for; its kind is the name of the file."""
    table = pd.read_csv(scores)
    fleets = {
        path.parent.name: read_npz(path)
        for path in evaluations
        if path.stem == "original-0" and path.parent.name in {*settings.methods, "original", "retrain"}
    }
    ratios = {float(ratio): method for ratio, method in settings.ratios.items()}
    drawings = {
        "scores": lambda: figures.scores(table, settings.methods),
        "mask_ratio": lambda: figures.mask_ratio(table, ratios),
        "confidences": lambda: figures.confidences(fleets, settings.methods),
        "epsilons": lambda: figures.epsilons(fleets, settings.methods),
        "by_n": lambda: figures.by_n(pd.read_csv(by_n), settings.methods),
        "agreement": lambda: figures.agreement(correlations(pd.read_csv(measures), table)),
        "training": lambda: figures.training(fleets, settings.methods),
    }
    for path in output:
        figures.save(drawings[path.stem](), path)
        progress(path.name)


if __name__ == "__main__":
    run(main)
