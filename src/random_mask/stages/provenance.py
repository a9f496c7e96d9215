"""Collects where everything comes from, and what it took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from random_mask.artifacts.files import write_text
from random_mask.artifacts.provenance import chain, condensed
from random_mask.stages.command import Input, progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    experiment: dict[str, Any]


def main(*, settings: Settings, artifacts: list[Input], output: Path) -> None:
    """Write the records of artifacts and of all that they were made from, and the cost by stage.

    A chain that is broken is an error: an artifact made from another version of a file than the one there.
    """
    records = chain(artifacts)
    collected = {"experiment": settings.experiment, "cost": _cost(records)} | condensed(records)
    write_text(output, json.dumps(collected, indent=1) + "\n")
    progress(f"{len(records)} artifacts")


def _cost(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return jobs, wall and processor seconds and the highest memory of each stage, and of all."""
    # The outputs of one job share everything but their own name and hash.
    jobs = {tuple(record["outputs"]): record for record in records.values()}
    stages = sorted({record["stage"] for record in jobs.values()})
    return {
        stage: {
            "jobs": len(chosen),
            "wall_seconds": round(sum(job["wall_seconds"] for job in chosen), 1),
            "processor_seconds": round(sum(job["processor_seconds"] for job in chosen), 1),
            "peak_memory_mib": max(job["peak_memory_mib"] for job in chosen),
        }
        for stage in [*stages, "all"]
        for chosen in [[job for job in jobs.values() if stage in (job["stage"], "all")]]
    }


if __name__ == "__main__":
    run(main)
