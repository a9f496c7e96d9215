"""Judges claims of the paper by the results of an experiment."""

from __future__ import annotations

import pandas as pd
from pydantic import BaseModel

from random_mask.artifacts.files import read_npz, write_text
from random_mask.report.claims import Results, asked_of, judge, read_claims
from random_mask.report.originals import rows_of
from random_mask.stages.command import Input, Output, Source, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    experiment: str
    """Its name."""
    tuned: list[str]
    """The methods whose values a search chose."""


def main(
    *,
    settings: Settings,
    claims: Source,
    scores: Input,
    comparisons: Input,
    measures: Input,
    examples: Input,
    output: Output,
) -> None:
    """Write a row for each claim that the experiment judges: verdict, estimate and interval."""
    results = Results(
        scores=pd.read_csv(scores),
        comparisons=pd.read_csv(comparisons),
        measures=pd.read_csv(measures),
        examples=read_npz(examples),
        tuned=settings.tuned,
    )
    table = judge(asked_of(read_claims(claims), settings.experiment), results)
    write_text(output, table.to_csv(index=False, lineterminator="\n", float_format="%.6f"))
    for row in rows_of(table):
        progress(f"{row.verdict:13} {row.id}")


if __name__ == "__main__":
    run(main)
