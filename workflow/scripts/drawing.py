"""Draws the rules and what they need into a document: snakemake --rulegraph mermaid-js | drawing.py FILE.

The document's block of mermaid is replaced. Arrows that follow from others are left out, since they would
hide those that matter: what `paper` needs of `scores` it needs by way of `figures` as well.
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"(?<=^```mermaid\n).*?(?=^```$)", re.M | re.S)
# The final target is no work.
TARGET = "all"


def as_drawing(rulegraph: str) -> str:
    """Return the body of the block, for what Snakemake prints."""
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", rulegraph, re.M))
    if not names:
        sys.exit("drawing.py: no rules to draw; see what `snakemake --rulegraph mermaid-js` says")
    arrows = {(names[a], names[b]) for a, b in re.findall(r"^\s*(id\d+) --> (id\d+)", rulegraph, re.M)}
    lines = [f"    {a} --> {b}" for a, b in sorted(direct(arrows)) if b != TARGET]
    return "\n".join(["flowchart LR", *lines]) + "\n"


def direct(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows of an acyclic graph that no other path replaces."""
    after: dict[str, set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)

    def reached(a: str) -> set[str]:
        nearest = after.get(a, set())
        return nearest.union(*map(reached, nearest))

    return {(a, b) for a, b in arrows if not any(b in reached(other) for other in after[a] - {b})}


def replaced(document: str, rulegraph: str) -> str:
    """Return the document with its block renewed."""
    return BLOCK.sub(lambda _: as_drawing(rulegraph), document)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(replaced(path.read_text(encoding="utf-8"), sys.stdin.read()), encoding="utf-8")
