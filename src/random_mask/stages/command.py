"""Turns a function into the command line of a stage."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import sys
import time
import typing
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError

from random_mask.artifacts import records as provenance
from random_mask.artifacts.machine import machine, versions
from random_mask.errors import InputError

__all__ = ["Input", "Output", "Source", "progress", "run"]

Source = Annotated[Path, "source"]
"""A file of the repository that a stage reads."""
Input = Annotated[Path, "input"]
"""An artifact that a stage reads; it is checked against its record first."""
Output = Annotated[Path, "output"]
"""An artifact that a stage writes; it gets a record."""

PROGRAM = ("__main__", "random_mask")
"""What a stage consists of: modules by the first part of their name."""


def run(function: Callable[..., dict[str, Any] | None]) -> None:
    """Call `function` with the command line's arguments, keep a record of it, and exit.

    Its keyword parameters are the options: `Source`, `Input`, `Output`, `str`, `int`, lists of these, or a
    pydantic model, which is given as JSON. What it returns goes into the record: how it computed. Bad input
    is explained in one line and exits with 1.
    """
    name = Path(sys.argv[0]).stem
    kinds = typing.get_type_hints(function, include_extras=True)
    kinds.pop("return")
    options = _parse(kinds, inspect.getdoc(function))
    try:
        _recorded(function, kinds, options)
    except (InputError, ValidationError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"{name}: {error.filename}: {error.strerror}; fix that and run snakemake again")


def _parse(kinds: dict[str, Any], description: str | None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    for name, kind in kinds.items():
        item = _item(kind)
        plain = typing.get_args(item)[0] if typing.get_origin(item) is Annotated else item
        how: dict[str, Any] = {"type": plain, "required": True}
        if item is not kind:
            how = {"type": plain, "nargs": "*", "default": []}
        elif issubclass(plain, BaseModel):
            how |= {"type": plain.model_validate_json, "metavar": "JSON"}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    return vars(parser.parse_args())


def _item(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind


def _recorded(
    function: Callable[..., dict[str, Any] | None], kinds: dict[str, Any], options: dict[str, Any]
) -> None:
    """Check the inputs, call the function, write the records of its outputs."""
    roles = {name: next(iter(getattr(_item(kind), "__metadata__", [])), "") for name, kind in kinds.items()}
    files: dict[str, list[Path]] = {"source": [], "input": [], "output": []}
    for name, role in roles.items():
        if role:
            files[role] += options[name] if isinstance(options[name], list) else [options[name]]
    started, clock = datetime.now(UTC), time.perf_counter()
    record: dict[str, Any] = {
        "stage": Path(sys.argv[0]).stem,
        "options": {
            name: json.loads(value.model_dump_json()) if isinstance(value, BaseModel) else value
            for name, value in options.items()
            if not roles[name]
        },
        "inputs": {str(path): provenance.verify(path) for path in files["input"]},
        "sources": {str(path): provenance.digest(path) for path in files["source"]},
    }
    code = _code()
    computed = function(**options)
    wall = time.perf_counter() - clock
    # What the stage loaded by name meanwhile, such as a perturbation, is code of it too.
    record["code"] = dict(sorted((_code() | code).items()))
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    provenance.write_records(
        files["output"],
        record
        | {
            "machine": machine(),
            "versions": versions(),
            "computed": {"device": "cpu", "precision": "float64", "threads": 1, **(computed or {})},
            "started": started.isoformat(timespec="milliseconds"),
            "wall_seconds": round(wall, 3),
            "processor_seconds": round(sum(used.ru_utime + used.ru_stime for used in usage), 3),
            "peak_memory_mib": round(max(used.ru_maxrss for used in usage) / 1024),
        },
    )
    progress(f"done in {wall:.1f} s")


def _code() -> dict[str, str]:
    """Return the SHA-256 of each file of this package that the program has loaded so far, by path."""
    loaded = [module for name, module in sys.modules.items() if name.partition(".")[0] in PROGRAM]
    files = {os.path.relpath(file) for module in loaded if (file := module.__file__)}
    return {file: provenance.digest(file) for file in files}


def progress(text: str) -> None:
    """Write one line to the log of the stage."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
