"""Writes the table of claims into ARTIFACT.md: `make claims` calls it, and a test compares."""

from __future__ import annotations

import re
import sys
from itertools import groupby
from pathlib import Path

from random_mask.report.claims import Claim, criterion, read_claims

MARKS = ("<!-- claims: made by `make claims` from paper/claims.yaml -->", "<!-- end of claims -->")


def table(claims: list[Claim]) -> str:
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


def renewed(text: str, claims: list[Claim]) -> str:
    """Return a text with the table between the marks."""
    begin, end = map(re.escape, MARKS)
    found = f"{MARKS[0]}\n\n{table(claims)}\n{MARKS[1]}"
    return re.sub(f"{begin}.*{end}", lambda match: found, text, flags=re.S)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(), read_claims(Path("paper/claims.yaml"))))
