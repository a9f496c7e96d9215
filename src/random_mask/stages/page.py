"""Writes the page of an experiment for a browser."""

from __future__ import annotations

import json

import pandas as pd

from random_mask.artifacts.files import read_npz, read_text, write_text
from random_mask.data.splits import read_files
from random_mask.errors import InputError
from random_mask.experiment.config import Experiment
from random_mask.report.page import page
from random_mask.stages.command import Input, Output, Source, progress, run


def main(
    *,
    settings: Experiment,
    template: Source,
    scores: Input,
    comparisons: Input,
    claims: Input,
    costs: Input,
    run_file: Input,
    examples: Input,
    images: Input,
    split_table: Input,
    figures: list[Input],
    output: Output,
) -> None:
    """Write the page."""
    for path in figures:
        if path.suffix != ".png":
            raise InputError(f"{path}: a page for browsers shows PNG files; name that of the figure")
    text = page(
        read_text(template),
        settings,
        scores=pd.read_csv(scores),
        comparisons=pd.read_csv(comparisons),
        claims=pd.read_csv(claims),
        costs=pd.read_csv(costs),
        found=json.loads(read_text(run_file)),
        arrays=read_npz(examples),
        pixels=read_npz(images)["pixels"],
        files=read_files(read_text(split_table)),
        figures={path.stem: path.read_bytes() for path in figures},
    )
    write_text(output, text)
    progress(f"{len(text.encode()) / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
