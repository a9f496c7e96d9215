"""Packages build on each other in one direction, and no module imports one that imports it."""

import grimp
import pytest

LAYERS = (
    ("errors", "seeds", "settings"),
    ("metrics",),
    ("training",),
    ("artifacts", "methods"),
    ("data",),
    ("experiment",),
    ("report",),
    ("workflow",),
    ("stages",),
    ("trying",),
    ("cli",),
)
"""From the bottom. What stands in one layer does not import each other."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("random_mask", cache_dir=None)


@pytest.fixture(scope="module")
def imports(graph) -> list[tuple[str, str]]:
    """Return who imports whom, by names without that of the package."""
    return [
        (importer.removeprefix("random_mask."), imported.removeprefix("random_mask."))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    ]


def test_every_part_has_a_layer(imports):
    assert {name.split(".")[0] for pair in imports for name in pair} == LEVEL.keys()


def test_nothing_imports_what_is_above_or_beside_it(imports):
    wrong = set()
    for pair in imports:
        above, below = (name.split(".")[0] for name in pair)
        if above != below and LEVEL[above] <= LEVEL[below]:
            wrong.add(pair)
    assert wrong == set()


def test_no_module_imports_one_that_imports_it(graph):
    for module in graph.modules:
        assert not graph.find_upstream_modules(module) & graph.find_downstream_modules(module), module


def test_stages_know_nothing_of_the_workflow(imports):
    assert not [pair for pair in imports if pair[0].startswith("stages.") and pair[1].startswith("workflow")]
