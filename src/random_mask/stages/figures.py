"""Draws the figures of the paper."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import BaseModel

from random_mask.artifacts.files import read_npz
from random_mask.report import figures
from random_mask.report.measures import correlations
from random_mask.stages.command import Input, Output, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    methods: list[str]
    drawn: list[str]
    ratios: dict[str, str]
    ablations: list[tuple[str, str]]


def main(
    *,
    settings: Settings,
    scores: Input,
    comparisons: Input,
    by_n: Input,
    measures: Input,
    examples: Input,
    output: list[Output],
) -> None:
    """Draw each figure that is asked for, once for all its formats; its kind is the name of the file."""
    table = pd.read_csv(scores)
    arrays = read_npz(examples)
    oracle = _under("oracle", arrays)
    fleets = {name: oracle | _under(f"{name}/0", arrays) for name in [*settings.drawn, "original", "retrain"]}
    ratios = {float(ratio): method for ratio, method in settings.ratios.items()}
    drawings = {
        "scores": lambda: figures.scores(table, settings.methods),
        "mask_ratio": lambda: figures.mask_ratio(table, ratios),
        "ablations": lambda: figures.ablations(pd.read_csv(comparisons), settings.ablations),
        "confidences": lambda: figures.confidences(fleets, settings.drawn),
        "epsilons": lambda: figures.epsilons(fleets, settings.drawn),
        "by_n": lambda: figures.by_n(pd.read_csv(by_n), settings.drawn),
        "agreement": lambda: figures.agreement(correlations(pd.read_csv(measures), table)),
        "training": lambda: figures.training(fleets, settings.drawn),
    }
    for kind in dict.fromkeys(path.stem for path in output):
        figures.save(drawings[kind](), *(path for path in output if path.stem == kind))
        progress(kind)


def _under(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, by the rest of their names."""
    names = [name for name in arrays if name.startswith(f"{prefix}/")]
    return {name.removeprefix(f"{prefix}/"): arrays[name] for name in names}


if __name__ == "__main__":
    run(main)
