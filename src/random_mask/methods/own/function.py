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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from random_mask.errors import InputError

__all__ = ["NAME", "OFFERED", "Function", "check", "files_of", "located"]

NAME = "unlearning"
"""What the function is called, if nothing else is said."""
_MODULE = "_own_function"
_FOUR = ("network", "retain", "forget", "validation")
"""What the first four parameters are, unless their names say otherwise."""
_NETWORK = re.compile(r"net|model|network")
OFFERED = ("device", "param_names", "class_counts", "class_weights")
"""What else it may ask for, by name."""
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


def check(reference: str, arguments: Mapping[str, Any] | None = None) -> None:
    """Check, without running it, that a file can be read and defines the function, as far as that tells.

    Args:
        reference: `file.py` or `file.py:name`.
        arguments: values of parameters of its own; None if they are not known yet.

    Raises:
        InputError: if it cannot, if what it imports is not installed, or if the function cannot be called so.
    """
    try:
        path, name = located(reference)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the path of the function")
    tree = _parsed(path)
    bound = dict(_bound(tree))
    if name not in bound and "*" not in bound:
        functions = [of for of, node in bound.items() if isinstance(node, ast.FunctionDef)]
        one_of = (
            f"it has {', '.join(functions)}; name one of them, as {path}:{functions[0]}" if functions else ""
        )
        raise InputError(f"{path}: has no function {name}; {one_of or 'define it'}")
    for file in files_of(path):
        _check_imports(file, path.parent)
    node = bound.get(name)
    # What is imported from elsewhere, assigned or decorated can be any function.
    wrong = None
    if isinstance(node, ast.AsyncFunctionDef):
        wrong = "is `async`, which nobody waits for; define it with `def` alone"
    elif isinstance(node, ast.ClassDef | ast.Import):
        wrong = "is no function; name one that takes a network"
    elif isinstance(node, ast.FunctionDef) and not node.decorator_list and arguments is not None:
        try:
            _given(_parameters(node), {role: object() for role in _FOUR}, dict.fromkeys(OFFERED), arguments)
        except ValueError as error:
            wrong = str(error)
    if wrong and node:
        raise InputError(f"{path}:{node.lineno}: {name} {wrong}")


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
        parameters = list(inspect.signature(self._function).parameters.values())
        try:
            positional, named = _given(parameters, {"network": network, **loaders}, offered, arguments)
        except ValueError as error:
            raise self.wrong(str(error)) from None
        return self._run(self._function, *positional, **named)

    def wrong(self, what: str) -> InputError:
        """Return the error that says what is wrong with the function, with its file and line."""
        line = getattr(getattr(self._function, "__code__", None), "co_firstlineno", 1)
        return InputError(f"{_shown(self.path)}:{line}: {self.name} {what}")

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call what is a person's code, and explain its exceptions by the lines of that code."""
        here = Path.cwd()
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
        finally:
            os.chdir(here)  # relative paths are to stay what they were


def _given(
    parameters: Sequence[inspect.Parameter],
    four: Mapping[str, Any],
    offered: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """Return what the parameters are given, by place those that have no name to the caller.

    Raises:
        ValueError: if they ask for something else; what follows the name of the function.
    """
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
            raise ValueError(
                f"asks for `{p.name}`; give it a default, or a value in `arguments`; there are: {there}"
            )
        else:
            value = p.default
        if p.kind is p.POSITIONAL_ONLY:
            positional.append(value)
        else:
            named[p.name] = value
    if unused:
        raise ValueError(f"takes no `{min(unused)}`; remove it from `arguments`, or correct its name")
    if not any(value is four["network"] for value in [*positional, *named.values()]):
        raise ValueError("takes no network; let its first parameter be one")
    return positional, named


def _parameters(function: ast.FunctionDef) -> list[inspect.Parameter]:
    """Return the parameters of a function that is not run."""
    args, kind = function.args, inspect.Parameter
    by_place = [*args.posonlyargs, *args.args]
    required = [kind.empty] * (len(by_place) - len(args.defaults))
    found = [
        kind(
            one.arg,
            kind.POSITIONAL_ONLY if place < len(args.posonlyargs) else kind.POSITIONAL_OR_KEYWORD,
            default=default,
        )
        for place, (one, default) in enumerate(zip(by_place, [*required, *args.defaults], strict=True))
    ]
    found += [kind(args.vararg.arg, kind.VAR_POSITIONAL)] if args.vararg else []
    found += [
        kind(one.arg, kind.KEYWORD_ONLY, default=default or kind.empty)
        for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    return found + ([kind(args.kwarg.arg, kind.VAR_KEYWORD)] if args.kwarg else [])


def _bound(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that a file binds, each with the statement that does; `*` for all of another module."""
    for statement in tree.body:
        inner = [statement]
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = [node for node in ast.walk(statement) if isinstance(node, ast.stmt)]
        for node in inner:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name, node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    yield alias.asname or alias.name.split(".")[0], node
            else:
                for one in ast.walk(node):
                    if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                        yield one.id, node


def _check_imports(file: Path, folder: Path) -> None:
    """Check that what a file imports whatever happens is beside it, or installed."""
    for node in _parsed(file).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        else:
            continue
        for name in (one.split(".")[0] for one in names):
            beside = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
            if not beside and name not in sys.modules and importlib.util.find_spec(name) is None:
                where = f"{file}:{node.lineno}"
                raise InputError(f"{where}: imports {name}; install it in this environment")


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
    elif isinstance(node, ast.ImportFrom) and node.level <= len(file.relative_to(folder).parents):
        base = file.parents[node.level - 1] if node.level else folder
        names = [f"{node.module}.{alias.name}" if node.module else alias.name for alias in node.names]
    else:
        return
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            yield base.joinpath(*parts[:end])
