"""Chooses the hyper-parameters of each method that is tuned, by the scores of its trials."""

from __future__ import annotations

import pandas as pd
import yaml

from random_mask.artifacts.files import write_text
from random_mask.experiment.config import Experiment
from random_mask.experiment.search import chosen
from random_mask.stages.command import Input, Output, progress, run

HEAD = """\
# Made by the workflow; do not edit. Of the trials of each method, the one with the highest score is chosen.
# `tuned: <this file>` in a configuration adds its methods.
"""


def main(*, settings: Experiment, scores: Input, output: Output) -> None:
    """Write the methods with the values that were chosen, and how each was chosen."""
    content = chosen(settings, pd.read_csv(scores))
    write_text(output, HEAD + yaml.safe_dump(content, sort_keys=False, width=110, default_flow_style=None))
    for name, choice in content["choices"].items():
        progress(f"{name}: {choice['values']}, score {choice['score']:.4f}")


if __name__ == "__main__":
    run(main)
