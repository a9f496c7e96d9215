"""Writes the tables and numbers of the paper."""

from __future__ import annotations

import json

import pandas as pd
import yaml
from pydantic import BaseModel

from random_mask.artifacts.files import read_text, write_text
from random_mask.experiment.config import Experiment
from random_mask.report import numbers, summary, tables
from random_mask.report.agreement import parse_comparisons, parse_judged_claims, parse_scores, read_table
from random_mask.report.labels import Labels
from random_mask.stages.command import Input, Output, Source, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    experiment: Experiment


def main(
    *,
    settings: Settings,
    scores: Input,
    comparisons: Input,
    measures: Input,
    masks: Input,
    costs: Input,
    run_file: Input,
    simulation: Input,
    claims: Input,
    tuned: list[Source],
    references: list[Source],
    reference: list[Source],
    output: Output,
    tabulars: list[Output],
    pages: list[Output],
) -> None:
    """Write `output`, the macros, and each table and page that is asked for; its kind is the file's name."""
    experiment, labels = settings.experiment, Labels(settings.experiment)
    drawn, shown, methods = experiment.drawn(), experiment.shown(), experiment.methods
    choices = [yaml.safe_load(read_text(path)) for path in tuned]
    table, compared, measured = pd.read_csv(scores), pd.read_csv(comparisons), pd.read_csv(measures)
    simulated, cost, judged, shares = (pd.read_csv(path) for path in (simulation, costs, claims, masks))
    counts = {method: shares[shares["method"] == method] for method in shares["method"].unique()}
    chosen = {name: counts[name] for name in drawn if name in counts and not methods[name].tuned_from}
    found = json.loads(read_text(run_file))
    indexed, *authors = (read_table(path, parse_scores) for path in (scores, *reference))
    models = int(authors[0]["n_models"].max()) if authors else None
    collected = numbers.collect(
        experiment, table, compared, counts, cost, found, simulated, measured, choices, judged, models
    )
    write_text(output, numbers.as_tex(collected))
    # The paper of the authors' own results says nothing twice.
    own = set() if reference else {experiment.experiment}
    others = [path for path in references if path.parent.name not in own]
    theirs = {path.parent.name: read_table(path, parse_judged_claims) for path in others}
    texts = {
        "scores": lambda: tables.scores(table, drawn, labels),
        "all_scores": lambda: tables.scores(table, shown, labels, page=tables.PAGE),
        "masks": lambda: tables.masks(chosen, labels),
        "cost": lambda: tables.cost(cost, labels),
        "simulation": lambda: tables.simulation(simulated),
        "measures": lambda: tables.measures(measured, drawn, labels),
        "more_measures": lambda: tables.measures(measured, drawn, labels, main=False),
        "all_measures": lambda: tables.measures(measured, shown, labels, page=tables.PAGE),
        "environment": lambda: tables.environment(found["environment"]),
        "config": lambda: tables.config(experiment, labels),
        "claims": lambda: tables.claims(judged, theirs),
        "reference": lambda: tables.reference(indexed, authors, labels),
        "tuning": lambda: tables.tuning(choices, labels, list(methods)),
    }
    for path in tabulars:
        write_text(path, texts[path.stem]())
    parsed = parse_comparisons(read_text(comparisons))
    as_pages = {
        "scores": ("Scores", summary.scores(indexed)),
        "claims": ("Claims", summary.claims(judged)),
        "comparisons": ("Paired differences", summary.comparisons(parsed)),
    }
    for path in pages:
        title, rows = as_pages[path.stem]
        named = {name: rows[name].map(labels) for name in ("method", "against") if name in rows}
        write_text(path, summary.page(title, rows.assign(**named)))
    progress(f"{len(collected)} numbers")


if __name__ == "__main__":
    run(main)
