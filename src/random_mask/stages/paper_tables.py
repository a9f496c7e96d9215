"""Writes the tables of the paper, the numbers of its text, and what was found of its claims."""

from __future__ import annotations

import pandas as pd
import yaml
from pydantic import BaseModel

from random_mask.artifacts.files import read_text, write_text
from random_mask.experiment.config import Experiment
from random_mask.report import numbers, tables
from random_mask.report.claims import Results, asked_of, judge, read_claims
from random_mask.report.names import ALL, MAIN
from random_mask.report.study import Study
from random_mask.stages.command import Input, Output, Source, progress, run
from random_mask.stages.reported import read_studies


class Settings(BaseModel):
    """What this stage depends on."""

    experiments: dict[str, Experiment]
    run: list[str]
    """Those that were run here; the others are the authors'."""


def main(
    *,
    settings: Settings,
    results: list[Input],
    claims: Source,
    tuned: list[Source],
    citation: Source,
    simulation: Input,
    reference: list[Input],
    numbers_file: Output,
    tabulars: list[Output],
    verdicts: Output,
) -> None:
    """Write the macros, `verdicts`, a row for each claim and experiment, and each table that is asked for.

    `results` are the files of `report.names.RESULTS` of every experiment, in a folder of its name, `tuned`
    the choices that they take methods from, and `reference` the authors' scores of those that were run here.
    """
    studies = read_studies(settings.experiments, results)
    main_ones, everything = [studies[name] for name in MAIN], [studies[name] for name in (ALL, MAIN[-1])]
    asked, choices = read_claims(claims), [yaml.safe_load(read_text(path)) for path in tuned]
    simulated = pd.read_csv(simulation)
    judged = {
        name: judge(
            asked_of(asked, name),
            Results(
                scores=study.scores,
                comparisons=study.comparisons,
                measures=study.measures,
                examples=study.examples,
                tuned=study.experiment.tuned_methods(),
            ),
        )
        for name, study in studies.items()
        if any(name in claim.experiments for claim in asked)
    }
    found = numbers.of_all(simulated, choices, yaml.safe_load(read_text(citation)))
    for study in studies.values():
        found |= numbers.of_study(study)
    for name, rows in judged.items():
        found |= numbers.of_claims(rows, name, "run" if name in settings.run else "reference")
    write_text(numbers_file, numbers.as_tex(found))
    each = [rows.assign(experiment=name) for name, rows in judged.items()]
    write_text(verdicts, pd.concat(each).to_csv(index=False, lineterminator="\n", float_format="%.6f"))

    def compared() -> list[tuple[Study, pd.DataFrame, pd.DataFrame]]:
        rows = ["method", "original"]
        theirs = {path.parent.name: pd.read_csv(path).set_index(rows) for path in reference}
        there = [studies[name] for name in settings.run if name in theirs]
        return [(study, study.scores.set_index(rows), theirs[study.name]) for study in there]

    texts = {
        "scores": lambda: tables.scores(main_ones),
        "corrections": lambda: tables.corrections(main_ones),
        "all_scores": lambda: tables.scores(everything, everything=True, page=tables.PAGE),
        "measures": lambda: tables.measures(main_ones),
        "more_measures": lambda: tables.measures(main_ones, main=False),
        "all_measures": lambda: tables.measures(everything, everything=True, page=tables.PAGE),
        "recipes": lambda: tables.recipes(main_ones),
        "masks": lambda: tables.masks(_plain_masks(main_ones[0]), main_ones[0].labels),
        "experiments": lambda: tables.experiments([*studies.values()], settings.run),
        "environment": lambda: tables.environment([*studies.values()]),
        "simulation": lambda: tables.simulation(simulated),
        "tuning": lambda: tables.tuning(choices, [*studies.values()]),
        "claims": lambda: tables.claims(asked, judged),
        "reproduction": lambda: tables.reproduction(compared()),
    }
    for path in tabulars:
        write_text(path, texts[path.stem]())
    progress(f"{len(found)} numbers")


def _plain_masks(study: Study) -> dict[str, pd.DataFrame]:
    """Return the masks of the methods whose values were set by hand."""
    methods = study.experiment.all_methods()
    return {
        name: of
        for name, of in study.mask_counts().items()
        if name in study.experiment.drawn() and not methods[name].tuned_from
    }


if __name__ == "__main__":
    run(main)
