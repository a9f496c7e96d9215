"""The drawing of the rules in CONTRIBUTING.md."""

import importlib.util
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("drawing")]

ROOT = Path(__file__).parents[2]


def test_the_drawing_is_that_of_the_rules(fresh):
    drawing = load_script()
    rulegraph = fresh.snakemake("--rulegraph", "mermaid-js", config=None).stdout
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert "prepare_data" in drawing.as_drawing(rulegraph)
    assert drawing.replaced(text, rulegraph) == text, "the rules have changed; type: make drawing"


def test_arrows_that_follow_from_others_are_left_out():
    graph = "flowchart TB\n\tid0[all]\n\tid1[b]\n\tid2[a]\n\tid3[c]\n"
    graph += "\tid2 --> id1\n\tid1 --> id3\n\tid2 --> id3\n\tid3 --> id0\n\tid2 --> id0\n"
    assert load_script().as_drawing(graph) == "flowchart LR\n    a --> b\n    b --> c\n"


def load_script():
    spec = importlib.util.spec_from_file_location("drawing", ROOT / "workflow" / "scripts" / "drawing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
