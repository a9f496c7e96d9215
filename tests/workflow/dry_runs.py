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
        output, status = Path(temporary) / "output", Path(temporary) / "status"
        process = FORKS.Process(target=snakemake, args=(folder, output, status, ["--dry-run", *arguments]))
        process.start()
        process.join()
        # Not `process.exitcode`: a thread that starts a process also asks for the status of all others, which
        # is told but once; who asks after that gets 255.
        return int(status.read_text()), output.read_text()


def snakemake(folder: Path, output: Path, status: Path, arguments: list[str]) -> None:
    """Run Snakemake in this process as its command does; what it prints goes into a file, and its status."""
    from snakemake.cli import main

    os.chdir(folder)
    with output.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    try:
        main(["--cores", "2", *arguments])
    except SystemExit as ended:
        status.write_text(str(int(ended.code if isinstance(ended.code, int) else ended.code is not None)))
        raise
