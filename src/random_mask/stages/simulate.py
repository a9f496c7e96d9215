"""Computes the forgetting quality of known distributions, to show what the metric can see."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from random_mask.artifacts.files import write_text
from random_mask.metrics.competition import epsilons, points
from random_mask.seeds import generator
from random_mask.stages.command import Output, progress, run

MODELS = (16, 32, 64, 128, 512)

CASES = {
    "same": (0.0, 1.0, 1.0),
    "same_sd_0.3": (0.0, 0.3, 0.3),
    "shift_0.25": (0.25, 1.0, 1.0),
    "shift_0.5": (0.5, 1.0, 1.0),
    "shift_1": (1.0, 1.0, 1.0),
    "sd_0.9": (0.0, 0.9, 1.0),
    "sd_0.8": (0.0, 0.8, 1.0),
    "sd_0.5": (0.0, 0.5, 1.0),
}
"""Normal confidences: difference of the means, standard deviation of the unlearned and of the retrained."""


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    examples: int


def main(*, settings: Settings, output: Output) -> None:
    """Write one row a case and number of models: the forgetting quality and its standard error."""
    lines = ["case,models,examples,forgetting_quality,standard_error"]
    for models in MODELS:
        for case, (shift, unlearned_sd, retrained_sd) in CASES.items():
            rng = generator(settings.seed, "simulation", models, case)
            unlearned = rng.normal(shift, unlearned_sd, size=(models, settings.examples))
            retrained = rng.normal(0.0, retrained_sd, size=(models, settings.examples))
            earned = points(epsilons(unlearned, retrained), models)
            error = earned.std(ddof=1) / np.sqrt(settings.examples)
            lines.append(f"{case},{models},{settings.examples},{earned.mean()},{error}")
        progress(f"N = {models}")
    write_text(output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main)
