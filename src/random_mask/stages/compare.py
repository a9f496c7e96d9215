"""Compares two methods, on the same oracle models and forget examples."""

from __future__ import annotations

from random_mask.artifacts.files import write_text
from random_mask.metrics.intervals import paired_difference
from random_mask.seeds import seed_of
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.judging import Settings, read_evaluation


def main(*, settings: Settings, a: str, b: str, of_a: list[Input], of_b: list[Input], output: Output) -> None:
    """Write the difference of two methods, a minus b, with its interval: a row per original and quantity."""
    lines = ["a,b,original,quantity,difference,low,high"]
    for original, (first, second) in enumerate(zip(of_a, of_b, strict=True)):
        fleet_a, oracle = read_evaluation(first)
        fleet_b, _ = read_evaluation(second)
        differences = paired_difference(
            fleet_a,
            fleet_b,
            oracle,
            seed=seed_of(settings.seed, "intervals", original, f"{a} - {b}"),
            replicates=settings.replicates,
        )
        for quantity, found in differences.items():
            lines.append(f"{a},{b},{original},{quantity},{found.estimate},{found.low},{found.high}")
            progress(f"{quantity}: {found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")
    write_text(output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    run(main)
