"""Downloads an archive of a data set."""

from __future__ import annotations

from random_mask.data.archives import fetch
from random_mask.stages.command import Output, progress, run


def main(*, archive: Output) -> None:
    """Write an official archive of a public data set, checked by its MD5 sum."""
    fetch(archive, progress)


if __name__ == "__main__":
    run(main)
