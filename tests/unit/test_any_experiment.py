"""Figures, tables and claims of experiments that lack what the paper has: none of them fails late."""

import csv
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from test_report import made

from random_mask.artifacts.files import write_npz
from random_mask.experiment.config import load, validate
from random_mask.report.names import FIGURES, TABLES
from random_mask.stages import claims, figures, tables

ROOT = Path(__file__).parents[2]
ODD = r"[*] $\foo_ö & 50% #1^{~} †$ <b>, (x)"
"""A title in which LaTeX, Matplotlib and browsers see commands."""


def one_method(name: str, models: int, originals: int = 1, **values) -> dict:
    training = {"epochs": 1, "batch": 8, "optimizer": "adam", "learning_rate": 1e-3}
    sizes = {"train": 64, "validation": 8, "test": 8, "forget": {"kind": "random", "size": 4}}
    return {
        "experiment": name,
        **{"seed": 1, "models": models, "originals": originals, "replicates": 10, "training": training},
        "data": {"name": "digits", "title": ODD, **sizes},
        "methods": {"mine": {"title": ODD, "finetune": training, **values}},
    }


CASES = {
    "one image, two models, nothing compared": (one_method("mine", 2), 1),
    "four images, several originals": (one_method("mine", 8, 2, compare_with=["retrain"]), 4),
    "a search": (load(ROOT / "reference/digits_tuning/config.yaml"), 12),
}


@pytest.fixture(scope="module", params=CASES)
def made_of(request, tmp_path_factory):
    """The study of a case, and where the files of its figures, tables and claims are."""
    configuration, images = CASES[request.param]
    experiment = validate(configuration) if isinstance(configuration, dict) else configuration
    study = made(experiment, experiment.originals, images)
    study.examples["oracle/label"][:] = 0  # one class
    folder = tmp_path_factory.mktemp("any")
    sources = {
        name: folder / f"{name}.csv" for name in ("scores", "comparisons", "measures", "masks", "costs")
    }
    for name, path in sources.items():
        getattr(study, name).to_csv(path, index=False)
    by_n = study.scores_by_n if experiment.models >= 8 else study.scores_by_n.head(0)
    by_n.to_csv(folder / "scores_by_n.csv", index=False)
    write_npz(folder / "examples.npz", dict(study.examples))
    shared = {name: sources[name] for name in ("scores", "comparisons", "measures")}
    examples = folder / "examples.npz"
    figures.main(
        settings=experiment,
        **shared,
        by_n=folder / "scores_by_n.csv",
        examples=examples,
        output=[folder / f"{name}.{kind}" for name in FIGURES for kind in ("pdf", "png")],
    )
    claims.main(
        settings=claims.Settings(experiment=experiment.experiment, tuned=experiment.tuned_methods()),
        claims=ROOT / "paper" / "claims.yaml",
        **shared,
        examples=examples,
        output=folder / "claims.csv",
    )
    (folder / "tables").mkdir()
    tables.main(
        settings=experiment,
        **sources,
        claims=folder / "claims.csv",
        output=[folder / f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "html", "tex")],
    )
    return study, folder


def test_every_figure_is_drawn(made_of):
    _, folder = made_of
    for name in FIGURES:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
        assert min(Image.open(folder / f"{name}.png").size) > 100


def test_every_table_has_a_row_for_each_method_in_every_form(made_of):
    study, folder = made_of
    methods = dict.fromkeys(study.scores["method"])
    rows = list(csv.DictReader((folder / "tables" / "scores.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["method"] for row in rows} == {study.labels(name) for name in methods}
    assert len(rows) == len(study.scores)
    for name in TABLES:
        assert (folder / f"tables/{name}.html").read_text().count("<tr") > 0
        assert "<b>" not in (folder / f"tables/{name}.html").read_text()


def test_claims_that_it_cannot_test_are_said_to_be_so(made_of):
    study, folder = made_of
    judged = pd.read_csv(folder / "claims.csv")
    assert len(judged)
    untested = judged[judged["verdict"] == "not testable"]
    assert untested["reason"].str.len().gt(0).all()
    if "mine" in study.experiment.methods:
        assert len(untested) == len(judged)


@pytest.mark.skipif(shutil.which("latexmk") is None, reason="no latexmk here")
def test_latex_takes_every_table(made_of, tmp_path):
    _, folder = made_of
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs,textcomp,array,adjustbox}"
    inputs = [
        rf"\begin{{adjustbox}}{{max size={{\textwidth}}{{0.9\textheight}}}}"
        rf"\input{{{folder}/tables/{name}}}\end{{adjustbox}}"
        for name in TABLES
    ]
    body = "\n\n".join(inputs)
    (tmp_path / "main.tex").write_text(
        rf"\documentclass{{article}}{packages}\begin{{document}}" + f"\n{body}\n" + r"\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert process.returncode == 0, re.findall(r"^!.*", process.stdout, re.M)
