"""Which modules of this package a module imports, found without importing it.

The workflow lists them as inputs of each rule, so that a change of code re-runs just the stages that use it.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["modules_of", "stage_code"]

PACKAGE = Path(__file__).parents[1]


def stage_code(stage: str, *loaded: str) -> list[str]:
    """Return the files that a stage runs, relative to the working directory.

    Args:
        stage: its name.
        loaded: dotted names of modules that it loads by name.
    """
    modules = [f"random_mask.stages.{stage}", *loaded]
    return [os.path.relpath(path) for path in sorted({path for name in modules for path in modules_of(name)})]


def modules_of(module: str, package: Path = PACKAGE) -> list[Path]:
    """Return the files of the package that run when a module is imported or executed, sorted.

    Args:
        module: dotted name of a module, for example `random_mask.stages.finetune`.
        package: the folder of the package.

    Raises:
        FileNotFoundError: if there is no such module.
    """
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        for file in _files(waiting.pop(), package):
            if file not in found:
                found.add(file)
                waiting.extend(_imports(file, package))
    return sorted(found)


def _files(module: str, package: Path) -> list[Path]:
    """Return the file of a module and those of the packages around it."""
    parts = module.split(".")[1:]
    around = [package.joinpath(*parts[:depth], "__init__.py") for depth in range(len(parts) + 1)]
    plain = package.joinpath(*parts).with_suffix(".py")
    if plain.is_file():
        return [*around[:-1], plain]
    if not around[-1].is_file():
        raise FileNotFoundError(f"no module {module} in {package}")
    return around


@cache
def _imports(file: Path, package: Path) -> list[str]:
    """Return the modules of the package that a file imports anywhere in its text."""
    name = package.name
    dotted = [name, *file.relative_to(package).with_suffix("").parts]
    here = dotted[:-1]
    found = []
    for node in _run(ast.parse(file.read_text(), filename=str(file))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] == name]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: len(here) - node.level + 1], node.module or ""]).rstrip(".")
            base = base if node.level else node.module
            if base.split(".")[0] == name:
                found += [
                    base,
                    *(f"{base}.{alias.name}" for alias in node.names if _is_module(base, alias, package)),
                ]
    return found


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for other in node.orelse:
                yield from [other, *_run(other)]
        else:
            yield node
            yield from _run(node)


def _is_module(base: str, alias: ast.alias, package: Path) -> bool:
    path = package.joinpath(*base.split(".")[1:], alias.name)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
