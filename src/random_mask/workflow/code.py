"""Which modules of this package a module imports, found without importing it.

The workflow lists them as inputs of each rule, so that a change of code re-runs just the stages that use it.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import grimp

__all__ = ["modules_of", "stage_code"]


def stage_code(stage: str, *loaded: str) -> list[str]:
    """Return the files that a stage runs, relative to the working directory.

    Args:
        stage: such as `finetune`.
        loaded: modules that it loads by name while it runs, as those that a method names.
    """
    return [os.path.relpath(path) for path in modules_of(f"random_mask.stages.{stage}", *loaded)]


def modules_of(*modules: str) -> list[Path]:
    """Return the files of a package that run when modules of it are imported or executed, sorted.

    Args:
        modules: dotted names, for example `random_mask.stages.finetune`.

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
    root = Path(spec.origin).parent
    plain = [root.joinpath(*name.split(".")[1:]) for name in found]
    return sorted(path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in plain)


@cache
def _graph(package: str) -> grimp.ImportGraph:
    """Return who imports whom, anywhere in the text but where only a type checker reads."""
    return grimp.build_graph(package, cache_dir=None, exclude_type_checking_imports=True)
