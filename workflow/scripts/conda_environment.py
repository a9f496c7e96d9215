"""Writes `environment.yml`, the conda twin of the lock `requirements.txt`."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["as_environment"]

HEAD = """\
# The conda twin of requirements.txt: the same versions. Made by `make lock`; do not edit.
#   conda env create --file environment.yml && conda activate random-mask
name: random-mask
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.12
  - pip
  - pip:
"""


def as_environment(lock: str) -> str:
    """Return the conda environment of a lock.

    Args:
        lock: the text of `requirements.txt`.
    """
    pins = [line.rstrip("\\ ") for line in lock.splitlines() if line[:1].isalnum()]
    return HEAD + "".join(f'      - "{pin}"\n' for pin in pins)


if __name__ == "__main__":
    Path("environment.yml").write_text(as_environment(Path(sys.argv[1]).read_text()))
