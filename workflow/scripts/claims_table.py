"""Writes what depends on the claims into documents: `make claims` calls it, and a test compares.

ARTIFACT.md gets the claims of `paper/claims.yaml`, README.md what the authors' runs of the default experiment
and of all methods said of them.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pandas as pd

from random_mask.config import load
from random_mask.report.claims import NOT_TESTABLE, Claim, criterion, read_claims
from random_mask.report.names import label

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "reference" / "digits"
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


def measured(reference: Path, all_methods: Path) -> str:
    """Return what a run said of the claims that it could test, and another of those left."""
    experiment = load(reference / "config.yaml")
    scores = pd.read_csv(reference / "scores.csv").set_index("method")
    named = {
        "random_mask": "random mask",
        "random_mask_tuned": "tuned random mask",
        "unmasked_tuned": "the repair without a mask, tuned alike,",
        "finetune": "fine-tuning",
    }
    shares = [shared(scores, method, name) for method, name in named.items() if method in scores.index]
    more = pd.read_csv(all_methods / "scores.csv").set_index("method")
    others = more.drop(["original", "retrain"])["score"].nlargest(5).index
    judged, judged_more = (tested(folder) for folder in (reference, all_methods))
    return "\n".join(
        [
            f"On scikit-learn's digits, with {experiment.models} models a fleet and "
            f"{experiment.data.forgotten} images to forget. Scores, their share of the ceiling of "
            f"{scores.loc['retrain', 'score']:.3f}, and the cost as a share of a retraining: "
            f"{'; '.join(shares)}.",
            "",
            *table(judged),
            "",
            f"Of the {len(more) - 2} methods and variants of `config/digits-all.yaml`, on the same data and "
            f"seeds, the five highest are "
            f"{'; '.join(shared(more, method, label(method)) for method in others)}.",
            "",
            *table(judged_more[~judged_more["claim"].isin(judged["claim"])]),
            "",
        ]
    )


def tested(reference: Path) -> pd.DataFrame:
    """Return the claims that a run could test."""
    judged = pd.read_csv(reference / "claims.csv")
    return judged[judged["verdict"] != NOT_TESTABLE]


def table(judged: pd.DataFrame) -> list[str]:
    """Return the lines of a table of verdicts."""
    return [
        "| claim | difference, share or ratio that decides, 95 % interval | verdict |",
        "|---|---|---|",
        *(
            f"| {row.claim} | {row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}] | {row.verdict} |"
            for row in judged.itertuples()
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
        "README.md": ("results", measured(REFERENCE, ALL_METHODS)),
    }
    return {
        ROOT / path: renewed((ROOT / path).read_text(), name, content)
        for path, (name, content) in contents.items()
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
