"""Writes what depends on the claims into documents: `make claims` calls it, and a test compares.

ARTIFACT.md gets the claims of `paper/claims.yaml`, README.md what the authors' runs said of them.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pandas as pd

from random_mask.config import Experiment, load
from random_mask.report.claims import NOT_TESTABLE, Claim, criterion, read_claims
from random_mask.report.names import label
from random_mask.report.originals import over_originals

ROOT = Path(__file__).parents[2]
REFERENCES = [ROOT / "reference" / name for name in ("digits", "cifar10_jpeg")]
ALL_METHODS = ROOT / "reference" / "digits-all"


def by_experiment(claims: list[Claim]) -> str:
    """Return the claims by experiment: command, minutes, and what decides."""
    parts = []
    for config, group in groupby(sorted(claims, key=lambda claim: claim.minutes), lambda claim: claim.config):
        of_it = list(group)
        command = "snakemake --cores 2" + ("" if "digits.yaml" in config else f" --configfile {config}")
        parts += [
            f"`{command}`, about {max(claim.minutes for claim in of_it)} minutes on two cores:",
            "",
            "| claim | it is supported if the whole 95 % interval of this is so | name |",
            "|---|---|---|",
            *(f"| {claim.claim} | {criterion(claim)} | `{claim.id}` |" for claim in of_it),
            "",
        ]
    return "\n".join(parts)


def measured(references: list[Path], all_methods: Path) -> str:
    """Return what runs said of the claims that they could test, and a run of all methods of those left."""
    judged = {folder: tested(folder) for folder in references}
    claims = list(dict.fromkeys(claim for of in judged.values() for claim in of["claim"]))
    titles = [title_of(load(folder / "config.yaml")) for folder in references]
    more = means(all_methods)
    others = more.drop(["original", "retrain"])["score"].nlargest(5).index
    judged_more = tested(all_methods)
    left = judged_more[~judged_more["claim"].isin(claims)]
    first = title_of(load(all_methods / "config.yaml"))
    return "\n".join(
        [
            "Scores; in parentheses, their share of the ceiling and their cost as a share of a retraining:",
            "",
            *map(scores_of, references),
            "",
            "Verdicts, each with the difference, share or ratio that decides and its 95 % interval:",
            "",
            *table(dict(zip(titles, judged.values(), strict=True)), claims),
            "",
            f"Of the {len(more) - 2} methods and variants of `config/digits-all.yaml`, on the same data and "
            f"seeds as the first, the five highest are "
            f"{'; '.join(shared(more, method, label(method)) for method in others)}.",
            "",
            *table({first: left}, list(left["claim"])),
            "",
        ]
    )


def title_of(experiment: Experiment) -> str:
    """Return what readers know the data of an experiment by."""
    return experiment.data.title or {"digits": "scikit-learn's digits"}.get(
        experiment.data.name, experiment.data.name
    )


def scores_of(folder: Path) -> str:
    """Return an item of a list: the scores of the methods that are studied."""
    experiment, scores = load(folder / "config.yaml"), means(folder)
    named = {
        "finetune": "fine-tuning",
        "random_mask": "random mask",
        "random_mask_ratio_0": "its repair without a mask",
        "random_mask_tuned": "tuned random mask",
        "unmasked_tuned": "a repair without a mask, tuned alike,",
    }
    shares = [shared(scores, method, name) for method, name in named.items() if method in scores.index]
    originals = f"{experiment.originals} original model" + ("s" if experiment.originals > 1 else "")
    data = experiment.data
    return (
        f"- {title_of(experiment)} ({data.train:,} training images, {data.forgotten} of them "
        f"to be forgotten; {experiment.models} models a fleet, {originals}; ceiling "
        f"{scores.loc['retrain', 'score']:.3f}): {'; '.join(shares)}."
    )


def means(folder: Path) -> pd.DataFrame:
    """Return the scores of a run by method, means over its original models."""
    return over_originals(pd.read_csv(folder / "scores.csv"))


def tested(reference: Path) -> pd.DataFrame:
    """Return the claims that a run could test."""
    judged = pd.read_csv(reference / "claims.csv")
    return judged[judged["verdict"] != NOT_TESTABLE]


def table(judged: dict[str, pd.DataFrame], claims: list[str]) -> list[str]:
    """Return the lines of a table of verdicts, a column for each run."""
    found = {
        (title, row.claim): f"{row.verdict}, {row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}]"
        for title, of in judged.items()
        for row in of.itertuples()
    }
    return [
        f"| claim | {' | '.join(judged)} |",
        "|---" * (1 + len(judged)) + "|",
        *(
            f"| {claim} | {' | '.join(found.get((title, claim), 'not tested') for title in judged)} |"
            for claim in claims
        ),
    ]


def shared(scores: pd.DataFrame, method: str, name: str) -> str:
    """Return the score of a method, its share of the ceiling, and its cost as a share of a retraining."""
    found, ceiling = scores.loc[method], scores.loc["retrain"]
    score, cost = found["score"], found["seconds_per_model"] / ceiling["seconds_per_model"]
    return f"{name} {score:.3f} ({score / ceiling['score']:.0%}, cost {cost:.0%})"


def renewed(document: str, name: str, content: str) -> str:
    """Return a document with new content between the marks of a name."""
    begin, end = f"<!-- {name}: made by `make claims` -->", f"<!-- end of {name} -->"
    return re.sub(
        f"{re.escape(begin)}.*{re.escape(end)}",
        lambda _: f"{begin}\n\n{content}\n{end}",
        document,
        flags=re.S,
    )


def documents() -> dict[Path, str]:
    """Return the documents as they should be."""
    claims = read_claims(ROOT / "paper" / "claims.yaml")
    contents = {
        "ARTIFACT.md": ("claims", by_experiment(claims)),
        "README.md": ("results", measured([path for path in REFERENCES if path.exists()], ALL_METHODS)),
    }
    return {
        ROOT / path: renewed((ROOT / path).read_text(), name, content)
        for path, (name, content) in contents.items()
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
