"""Plans, made by forks of a process that has imported Snakemake: most of a dry run is that import."""

import multiprocessing
import os
import tempfile
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli"])


def dry_run(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """Return the exit status of `snakemake --dry-run` in a folder, and what it prints."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "output"
        process = FORKS.Process(target=snakemake, args=(folder, output, ["--dry-run", *arguments]))
        process.start()
        process.join()
        return process.exitcode, output.read_text()


def snakemake(folder: Path, output: Path, arguments: list[str]) -> None:
    """Run Snakemake in this process as its command does; what it prints goes into a file."""
    from snakemake.cli import main

    os.chdir(folder)
    with output.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    main(["--cores", "2", *arguments])
