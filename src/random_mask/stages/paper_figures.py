"""Draws the figures of the paper."""

from __future__ import annotations

from pydantic import BaseModel

from random_mask.experiment.config import Experiment
from random_mask.report import figures
from random_mask.report.measures import correlations
from random_mask.report.names import ALL, LARGE, MAIN
from random_mask.report.study import fleets_of
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.reported import read_studies


class Settings(BaseModel):
    """What this stage depends on."""

    experiments: dict[str, Experiment]


def main(*, settings: Settings, results: list[Input], output: list[Output]) -> None:
    """Draw each figure that is asked for; its kind is the name of the file.

    `results` are the files of `report.names.RESULTS` of every experiment, in a folder of its name.
    """
    studies = read_studies(settings.experiments, results)
    panels, everything, large = [studies[name] for name in MAIN], studies[ALL], studies[LARGE]
    shown = panels[-1]
    drawn, judged = shown.experiment.drawn(), [*shown.experiment.drawn(), "original", "retrain"]
    fleets = fleets_of(shown.examples, judged)
    drawings = {
        "scores": lambda: figures.scores_by_data(panels),
        "shift_spread": lambda: figures.shift_spreads(panels),
        "mask_ratio": lambda: figures.mask_ratios(panels),
        "ablations": lambda: figures.ablations(
            everything.comparisons, everything.experiment.ablations(), everything.labels
        ),
        "agreement": lambda: figures.agreement(correlations(everything.measures, everything.scores)),
        "by_n": lambda: figures.by_n(large.scores_by_n, large.experiment.drawn(), large.labels),
        "confidences": lambda: figures.confidences(fleets, drawn, shown.labels),
        "epsilons": lambda: figures.epsilons(fleets, drawn, shown.labels),
        "training": lambda: figures.training(fleets, drawn, shown.labels),
    }
    for path in output:
        figures.save(drawings[path.stem](), path)
        progress(path.stem)


if __name__ == "__main__":
    run(main)
