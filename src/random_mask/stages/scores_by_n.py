"""Shows how the score of a method depends on the number of models."""

from __future__ import annotations

from random_mask.artifacts.files import write_text
from random_mask.metrics.intervals import scores_by_n
from random_mask.seeds import seed_of
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.judging import Settings, read_evaluation


def main(*, settings: Settings, method: str, evaluation: Input, output: Output) -> None:
    """Write the score expected of fleets of 8, 16, ... models with its interval, from the stored fleets."""
    unlearned, oracle = read_evaluation(evaluation)
    rows = scores_by_n(
        unlearned, oracle, seed=seed_of(settings.seed, "intervals", 0, method), replicates=settings.replicates
    )
    lines = ["method,models,score,score_low,score_high"]
    lines += [f"{method},{n},{found.estimate},{found.low},{found.high}" for n, found in rows]
    write_text(output, "\n".join(lines) + "\n")
    progress(f"{method}: {len(rows)} sizes")


if __name__ == "__main__":
    run(main)
