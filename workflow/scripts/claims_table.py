"""Writes what depends on the claims into documents: `make claims` calls it, and a test compares.

ARTIFACT.md gets the claims of `paper/claims.yaml`, README.md what the authors' run of the default experiment
said of them.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pandas as pd

from random_mask.config import load
from random_mask.report.claims import NOT_TESTABLE, Claim, criterion, read_claims

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "reference" / "digits"


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


def measured(reference: Path) -> str:
    """Return what a run said of the claims that it could test."""
    experiment = load(reference / "config.yaml")
    judged = pd.read_csv(reference / "claims.csv")
    rows = [
        f"| {row.claim} | {row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}] | {row.verdict} |"
        for row in judged[judged["verdict"] != NOT_TESTABLE].itertuples()
    ]
    scores = pd.read_csv(reference / "scores.csv").set_index("method")
    ceiling = scores.loc["retrain", "score"]
    named = {
        "random_mask": "random mask",
        "random_mask_tuned": "tuned random mask",
        "unmasked_tuned": "the repair without a mask, tuned alike,",
        "finetune": "fine-tuning",
    }
    shares = [
        f"{name} {scores.loc[method, 'score']:.3f} ({scores.loc[method, 'score'] / ceiling:.0%})"
        for method, name in named.items()
        if method in scores.index
    ]
    return "\n".join(
        [
            f"On scikit-learn's digits, with {experiment.models} models a fleet and "
            f"{experiment.data.forgotten} images to forget. Scores, and their share of the ceiling of "
            f"{ceiling:.3f}: {', '.join(shares)}.",
            "",
            "| claim | difference, share or ratio that decides, 95 % interval | verdict |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


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
        "README.md": ("results", measured(REFERENCE)),
    }
    return {
        ROOT / path: renewed((ROOT / path).read_text(), name, content)
        for path, (name, content) in contents.items()
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text)
