"""Draws the figures of the paper."""

from __future__ import annotations

from pydantic import BaseModel

from random_mask.experiment.config import Experiment
from random_mask.report import figures
from random_mask.report.names import ALL, LARGE, MAIN
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
    panels = [studies[name] for name in MAIN]
    of_all = figures.of_study(studies[ALL])
    drawings = figures.of_study(panels[-1]) | {
        "scores": lambda: figures.scores_by_data(panels),
        "shift_spread": lambda: figures.shift_spreads(panels),
        "mask_ratio": lambda: figures.mask_ratios(panels),
        "by_n": figures.of_study(studies[LARGE])["by_n"],
        **{name: of_all[name] for name in ("ablations", "agreement")},
    }
    for path in output:
        figures.save(drawings[path.stem](), path)
        progress(path.stem)


if __name__ == "__main__":
    run(main)
