"""Judges a fleet against the oracle by the competition's score."""

from __future__ import annotations

import json

from random_mask.artifacts.files import write_npz, write_text
from random_mask.errors import InputError
from random_mask.metrics.competition import epsilons, points
from random_mask.metrics.intervals import score_intervals
from random_mask.seeds import seed_of
from random_mask.stages.command import Input, Output, progress, run
from random_mask.stages.judging import FleetSettings, read_stored


def main(
    *,
    settings: FleetSettings,
    method: str,
    original: int,
    unlearned: list[Input],
    oracle: list[Input],
    split_table: Input,
    row: Output,
    examples: Output,
) -> None:
    """Write the row of one method and original model, and what each forget example contributes to it."""
    oracle_fleet = read_stored(oracle, split_table, models=settings.models)
    fleet = read_stored(unlearned, split_table, models=settings.models)
    judged, retrained = (one.with_confidences(one.confidences("forget")) for one in (fleet, oracle_fleet))
    try:
        intervals = score_intervals(
            judged,
            retrained,
            # The retrained fleet is the same for every original model, and so is its interval.
            seed=seed_of(settings.seed, "intervals", 0 if method == "retrain" else original, method),
            replicates=settings.replicates,
        )
    except ValueError as error:
        raise InputError(f"{method}: no score ({error}); train longer, or on more images") from None
    result: dict[str, str | int | float] = {"method": method, "original": original, "n_models": len(judged)}
    for name in ("forgetting_quality", "score"):
        interval = intervals[name]
        result |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
    for split in ("retain", "forget", "test"):
        result[f"{split}_accuracy"] = float(fleet.accuracy(split).mean())
    write_text(row, json.dumps(result, indent=2) + "\n")
    found = epsilons(judged.confidences, retrained.confidences)
    write_npz(
        examples,
        {
            "image": fleet.images["forget"],
            "label": fleet.labels["forget"],
            "confidences": judged.confidences,
            "oracle_confidences": retrained.confidences,
            "retain_accuracy": judged.retain_accuracy,
            "test_accuracy": judged.test_accuracy,
            "oracle_retain_accuracy": retrained.retain_accuracy,
            "oracle_test_accuracy": retrained.test_accuracy,
            "epsilons": found,
            "points": points(found, len(judged)),
            "history_loss": fleet.arrays["history_loss"],
            "history_accuracy": fleet.arrays["history_accuracy"],
        },
    )
    progress(f"{method}: score {result['score']:.4f}")


if __name__ == "__main__":
    run(main)
