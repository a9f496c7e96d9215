"""Turns a function into the command line of a stage."""

from __future__ import annotations

import argparse
import inspect
import sys
import time
import typing
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from random_mask.errors import InputError

__all__ = ["progress", "run"]


def run(function: Callable[..., None]) -> None:
    """Call `function` with the command line's arguments and exit.

    Its keyword parameters are the options: `Path`, `str`, `int`, `list[Path]`, or a pydantic model, which is
    given as JSON. Bad input is explained in one line and exits with 1.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(function), allow_abbrev=False)
    for name, kind in typing.get_type_hints(function).items():
        if name == "return":
            continue
        option = f"--{name.replace('_', '-')}"
        if typing.get_origin(kind) is list:
            parser.add_argument(option, type=typing.get_args(kind)[0], nargs="*", default=[])
        elif issubclass(kind, BaseModel):
            parser.add_argument(option, type=kind.model_validate_json, required=True, metavar="JSON")
        else:
            parser.add_argument(option, type=kind, required=True)
    started = time.perf_counter()
    try:
        function(**vars(parser.parse_args()))
    except (InputError, ValidationError) as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        sys.exit(f"{Path(sys.argv[0]).stem}: {error.filename or 'output'}: {error.strerror}")
    progress(f"done in {time.perf_counter() - started:.1f} s")


def progress(text: str) -> None:
    """Write one line to the log of the stage."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
