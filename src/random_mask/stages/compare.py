"""Compares methods in pairs, on the same oracle models and forget examples."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from random_mask.files import read_npz, write_text
from random_mask.metrics.intervals import Fleet, paired_difference
from random_mask.seeds import seed_of
from random_mask.stages.command import progress, run


class Settings(BaseModel):
    """What this stage depends on."""

    seed: int
    replicates: int
    pairs: list[tuple[str, str]]
    originals: int


def main(*, settings: Settings, evaluations: list[Path], output: Path) -> None:
    """Write the difference of the scores of each pair of methods, with its interval, per original model."""
    files = {(path.parent.name, path.stem): path for path in evaluations}
    rows = []
    for original in range(settings.originals):
        for a, b in settings.pairs:
            first, second = (read_npz(files[name, f"original-{original}"]) for name in (a, b))
            oracle = Fleet(
                first["oracle_confidences"], first["oracle_retain_accuracy"], first["oracle_test_accuracy"]
            )
            differences = paired_difference(
                *(Fleet(e["confidences"], e["retain_accuracy"], e["test_accuracy"]) for e in (first, second)),
                oracle,
                seed=seed_of(settings.seed, "intervals", original, f"{a} - {b}"),
                replicates=settings.replicates,
            )
            for quantity, difference in differences.items():
                rows.append(
                    {
                        "a": a,
                        "b": b,
                        "original": original,
                        "quantity": quantity,
                        "difference": difference.estimate,
                        "low": difference.low,
                        "high": difference.high,
                    }
                )
    write_text(output, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    progress(f"{len(settings.pairs)} pairs compared")


if __name__ == "__main__":
    run(main)
