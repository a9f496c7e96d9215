"""A person's own unlearning function: found in a file, given what it asks for, its mistakes explained.

It is that person's code and runs with the rights of whoever starts it. This module needs no torch, so that a
configuration that names a function is checked quickly.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from random_mask.errors import InputError

__all__ = ["NAME", "Function", "check", "files_of", "located"]

NAME = "unlearning"
"""What the function is called, if nothing else is said."""
_MODULE = "_own_function"
_FOUR = ("network", "retain", "forget", "validation")
"""What the first four parameters are, unless their names say otherwise."""
_NETWORK = re.compile(r"net|model|network")
_SPLIT = re.compile(r"(retain|forget|val)(?:id|idation)?(?:_?(?:data)?_?loader|_dl|_data)?")


def located(reference: str) -> tuple[Path, str]:
    """Return the file and the name of a function that is given as `file.py` or `file.py:name`.

    Raises:
        ValueError: if it is given otherwise.
    """
    found = re.fullmatch(r"(.+\.py)(?::([A-Za-z_]\w*))?", reference)
    if found is None:
        raise ValueError(f"{reference}: names no function; write path/to/file.py, or path/to/file.py:name")
    return Path(found[1]), found[2] or NAME


def check(reference: str) -> None:
    """Check, without running it, that a file can be read and defines the function.

    Raises:
        InputError: if not.
    """
    try:
        path, name = located(reference)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the path of the function")
    tree = _parsed(path)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    # What is imported or assigned can be a function, too.
    if name not in functions and not re.search(rf"\b{name}\b", ast.unparse(tree)):
        others = f"it has {', '.join(functions)}; name one of them, as {path}:{functions[0]}"
        raise InputError(f"{path}: has no function {name}; {others if functions else 'define it'}")


def files_of(path: Path) -> list[Path]:
    """Return a file and the modules beside it that it imports, directly or not, sorted.

    Only import statements are followed, and only to files in or below the folder of the file.

    Raises:
        InputError: if one of them is no Python.
    """
    waiting, found = [path], set[Path]()
    while waiting:
        file = waiting.pop()
        if file not in found and file.is_file():
            found.add(file)
            waiting += [
                base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
                for node in ast.walk(_parsed(file))
                for base in _imported(node, file, path.parent)
            ]
    return sorted(found)


class Function:
    """A function of a file, which is run for it: once for every object, so that models share nothing.

    Attributes:
        path: the file.
        name: the name of the function.
    """

    def __init__(self, reference: str):
        """Run the file.

        Raises:
            InputError: if that fails, or the function is not there.
        """
        check(reference)
        self.path, self.name = located(reference)
        self._files = {file.resolve() for file in files_of(self.path)}
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or os.devnull).resolve() in self._files:
                del sys.modules[name]
        folder = str(self.path.resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location(_MODULE, self.path.resolve())
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[_MODULE] = importlib.util.module_from_spec(spec)
        self._run(spec.loader.exec_module, module)
        found = getattr(module, self.name, None)
        if not callable(found) or isinstance(found, type):
            raise InputError(f"{self.path}: {self.name} is no function; name one that takes a network")
        self._function: Callable[..., Any] = found

    def __call__(
        self,
        network: Any,
        loaders: Mapping[str, Any],
        offered: Mapping[str, Any],
        arguments: Mapping[str, Any],
    ) -> Any:
        """Call the function, and return what it returns.

        Its parameters are told by their names, and the first four otherwise by their place: the network, then
        the loaders. One with a default that is not known keeps it.

        Args:
            network: the network.
            loaders: of `retain`, `forget` and `validation`.
            offered: what else it may ask for, by name.
            arguments: values of parameters of its own, and together the parameter `arguments`.

        Raises:
            InputError: if it asks for something else, or fails; with the lines of the person's own code.
        """
        positional, named = self._given({"network": network, **loaders}, offered, arguments)
        return self._run(self._function, *positional, **named)

    def wrong(self, what: str) -> InputError:
        """Return the error that says what is wrong with the function, with its file and line."""
        line = getattr(getattr(self._function, "__code__", None), "co_firstlineno", 1)
        return InputError(f"{_shown(self.path)}:{line}: {self.name} {what}")

    def _given(
        self, four: Mapping[str, Any], offered: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return what the parameters are given, by place those that have no name to the caller."""
        parameters = inspect.signature(self._function).parameters.values()
        known = {**offered, "arguments": dict(arguments)}
        known |= {p.name: four[role] for p in parameters if (role := _role(p.name))} | dict(arguments)
        named_four = {role for p in parameters if (role := _role(p.name))}
        unused = set(arguments)
        positional, named = list[Any](), dict[str, Any]()
        for place, p in enumerate(parameters):
            required = p.default is p.empty
            if p.kind is p.VAR_POSITIONAL:
                continue
            if p.kind is p.VAR_KEYWORD:
                named |= {name: arguments[name] for name in sorted(unused)}
                unused = set()
                continue
            if p.name in known:
                value = known[p.name]
                unused = set() if p.name == "arguments" else unused - {p.name}
            elif required and place < len(_FOUR) and _FOUR[place] not in named_four:
                value = four[_FOUR[place]]
            elif required:
                there = ", ".join(sorted(known))
                raise self.wrong(
                    f"asks for `{p.name}`; give it a default, or a value in `arguments`; there are: {there}"
                )
            else:
                value = p.default
            if p.kind is p.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[p.name] = value
        if unused:
            raise self.wrong(f"takes no `{min(unused)}`; remove it from `arguments`, or correct its name")
        if not any(value is four["network"] for value in [*positional, *named.values()]):
            raise self.wrong("takes no network; let its first parameter be one")
        return positional, named

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what is a person's code, and explain its exceptions by the lines of that code."""
        try:
            return function(*args, **kwargs)
        except (Exception, SystemExit) as error:
            frames = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).resolve() in self._files
            ]
            where = [f"{_shown(Path(frame.filename))}:{frame.lineno}" for frame in frames]
            said = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
            remedy = "; install it in this environment" if isinstance(error, ModuleNotFoundError) else ""
            lines = [f"{where[-1] if where else self.path}: {said}{remedy}"]
            lines += [f"  {at}, in {of.name}: {of.line}" for at, of in zip(where, frames, strict=True)]
            raise InputError("\n".join(lines)) from None


def _role(name: str) -> str | None:
    """Return which of the first four a parameter is by its name, or None."""
    if _NETWORK.fullmatch(name):
        return "network"
    found = _SPLIT.fullmatch(name)
    return {"val": "validation"}.get(found[1], found[1]) if found else None


def _shown(path: Path) -> str:
    """Return a path as a person looks for it: relative to where they are, if it is below."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: {type(error).__name__}: {error.msg}") from None
    except ValueError:
        raise InputError(f"{path}: no Python; name a file with a function in it") from None


def _imported(node: ast.AST, file: Path, folder: Path) -> Iterator[Path]:
    """Yield where what an import statement names may be, without suffixes."""
    if isinstance(node, ast.Import):
        base, names = folder, [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = file.parents[node.level - 1] if node.level else folder
        names = [f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names]
    else:
        return
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            yield base.joinpath(*parts[:end])
