"""Writes the tables of an experiment, each as CSV, as a page for the browser, and for LaTeX."""

from __future__ import annotations

import pandas as pd

from random_mask.artifacts.files import write_text
from random_mask.experiment.config import Experiment
from random_mask.report import summary
from random_mask.report.labels import Labels
from random_mask.report.tables import escape, tabular
from random_mask.stages.command import Input, Output, progress, run


def main(
    *,
    settings: Experiment,
    scores: Input,
    comparisons: Input,
    measures: Input,
    masks: Input,
    costs: Input,
    claims: Input,
    output: list[Output],
) -> None:
    """Write each table that is asked for, by the name of the file, in the form that its suffix says."""
    labels = Labels(settings)
    tables = {
        "scores": ("Scores", summary.scores(pd.read_csv(scores).set_index(["method", "original"]))),
        "comparisons": ("Paired differences", summary.comparisons(pd.read_csv(comparisons))),
        "measures": ("Other measures", summary.measures(pd.read_csv(measures))),
        "masks": ("Masked weights", summary.masks(pd.read_csv(masks), labels)),
        "cost": ("Cost of training", summary.cost(pd.read_csv(costs))),
        "claims": ("Claims", summary.claims(pd.read_csv(claims))),
    }
    for path in output:
        title, rows = tables[path.stem]
        named = {name: rows[name].map(labels.known) for name in ("method", "against") if name in rows}
        rows = rows.assign(**named)
        match path.suffix:
            case ".csv":
                write_text(path, rows.to_csv(index=False, lineterminator="\n"))
            case ".html":
                write_text(path, summary.page(title, rows))
            case _:
                cells = [[escape(str(cell)) for cell in row] for row in rows.itertuples(index=False)]
                head = [escape(str(name)) for name in rows.columns]
                write_text(path, tabular("@{}" + "l" * len(head) + "@{}", head, cells))
    progress(f"{len(tables)} tables")


if __name__ == "__main__":
    run(main)
