"""Writes `environment.yml`, the conda twin of the lock: conda_environment.py LOCK OUTPUT."""

import sys
from pathlib import Path

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
    """Return the conda environment with the versions of a lock, given as text."""
    pins = [line.rstrip("\\ ") for line in lock.splitlines() if line[:1].isalnum()]
    return HEAD + "".join(f'      - "{pin}"\n' for pin in pins)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(
        as_environment(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8"
    )
