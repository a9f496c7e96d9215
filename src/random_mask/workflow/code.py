"""Which modules of this package a module imports, found without importing it.

The workflow lists them as inputs of each rule, so that a change of code re-runs just the stages that use it.
"""

from __future__ import annotations

import os
import pkgutil
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import grimp

from random_mask import methods
from random_mask.experiment import config
from random_mask.methods import losses

__all__ = ["modules_of", "stage_code"]


def stage_code(stage: str, *loaded: str) -> list[str]:
    """Return the files that a stage runs, also those `loaded` by name, relative to the working directory.

    A stage that reads whole configurations loads all perturbations and losses.
    """
    files = modules_of(f"random_mask.stages.{stage}", *loaded)
    if Path(config.__file__) in files:
        files = modules_of(f"random_mask.stages.{stage}", *_all_methods())
    return [os.path.relpath(path) for path in files]


def modules_of(*modules: str) -> list[Path]:
    """Return the files that run when modules of a package, by dotted name, are imported or executed, sorted.

    Raises:
        ModuleNotFoundError: if there is no such module.
    """
    package = modules[0].partition(".")[0]
    graph = _graph(package)
    waiting, found = set(modules), set[str]()
    while waiting:
        module = waiting.pop()
        if module not in graph.modules:
            raise ModuleNotFoundError(f"no module {module}")
        found.add(module)
        # The packages around a module are imported before it.
        around = {module.rpartition(".")[0]} - {""}
        waiting |= (graph.find_modules_directly_imported_by(module) | around) - found
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parents[1]
    plain = [root.joinpath(*name.split(".")) for name in found]
    return sorted(path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in plain)


def _all_methods() -> list[str]:
    return [
        f"{package.__name__}.{one.name}"
        for package in (methods, losses)
        for one in pkgutil.iter_modules(package.__path__)
    ]


@cache
def _graph(package: str) -> grimp.ImportGraph:
    """Return who imports whom, anywhere in the text but where only a type checker reads."""
    return grimp.build_graph(package, cache_dir=None, exclude_type_checking_imports=True)
