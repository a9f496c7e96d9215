"""The drawing of the rules in CONTRIBUTING.md."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "workflow" / "scripts" / "drawing.py"))


def test_the_drawing_is_that_of_the_rules(fresh):
    rulegraph = fresh.snakemake("--rulegraph", "mermaid-js", config=None).stdout
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert "prepare_data" in SCRIPT["as_drawing"](rulegraph)
    assert SCRIPT["replaced"](text, rulegraph) == text, "the rules have changed; type: make drawing"


def test_arrows_that_follow_from_others_are_left_out():
    graph = "flowchart TB\n\tid0[all]\n\tid1[b]\n\tid2[a]\n\tid3[c]\n"
    graph += "\tid2 --> id1\n\tid1 --> id3\n\tid2 --> id3\n\tid3 --> id0\n\tid2 --> id0\n"
    assert SCRIPT["as_drawing"](graph) == "flowchart LR\n    a --> b\n    b --> c\n"
