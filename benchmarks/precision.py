"""Print whether training in bfloat16 moves scores: fleets of a finished run in fp32, and the same in bf16.

    OMP_NUM_THREADS=1 python benchmarks/precision.py     # after snakemake: digits, ten minutes of one core
    python benchmarks/precision.py --configfile FILE --models 4

The oracle, the original model, its masks, the retrained fleet and that of random_mask are those of the run,
in fp32. Both fleets are trained once more, in bf16 from the same seeds. Evaluation is always fp32.

Where no hardware computes in bf16, autocast is emulated in fp32: what a layer of products reads, its weights
too, and what every layer returns is rounded to bf16, and so are the gradients there on their way back; within
a layer, sums are fp32. That is what matrix units do which add up in fp32, but for the order of their sums.
With `--hardware` nothing is emulated and autocast itself runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from random_mask.artifacts.files import read_text
from random_mask.artifacts.machine import machine
from random_mask.artifacts.shards import read_fleet
from random_mask.data.splits import read_split
from random_mask.errors import InputError
from random_mask.experiment.config import Experiment, load
from random_mask.metrics.intervals import (
    CONFIDENCE,
    Fleet,
    Interval,
    interval_of_mean,
    paired_difference,
    score_intervals,
)
from random_mask.stages import retrain, unlearn
from random_mask.stages.judging import StoredFleet
from random_mask.workflow.paths import Plan, shards

METHOD = "random_mask"
FLEETS = (METHOD, "retrain")
SPLITS = ("retain", "forget", "test")
ENDS = {"output": "npz", "cost": "json"}

PRODUCTS = (torch.conv2d, torch.bmm, torch.baddbmm)
BETWEEN = (
    functional.batch_norm,
    functional.relu,
    functional.max_pool2d,
    functional.adaptive_avg_pool2d,
    torch.Tensor.add_,
)
"""What computes in a ResNet-18 (`training.stacking`): matrix products, and everything between them."""

Arrays = dict[str, np.ndarray]


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Return float32 values rounded to bfloat16; autograd rounds their gradient likewise."""
    return tensor.bfloat16().float()


class EmulatedAutocast(TorchFunctionMode):
    """Takes the place of `torch.autocast` to bfloat16, and computes in float32 on rounded values."""

    def __init__(self, device_type: str, dtype: torch.dtype, *, enabled: bool = True):
        """Take the arguments of `torch.autocast`, as far as training passes any."""
        super().__init__()
        if dtype != torch.bfloat16:
            raise ValueError(f"only bfloat16 is emulated, not {dtype}")
        self.enabled = enabled

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), options: Mapping | None = None
    ) -> Any:
        """Call a function of torch; round what it reads and returns as autocast would."""
        options = options or {}
        if not self.enabled or function not in PRODUCTS + BETWEEN:
            return function(*arguments, **options)
        if function in PRODUCTS:
            arguments = tuple(
                rounded(given) if isinstance(given, torch.Tensor) else given for given in arguments
            )
        return rounded(function(*arguments, **options))


def emulated() -> contextlib.AbstractContextManager:
    """Return a context in which training in `bf16` is emulated."""
    return mock.patch.object(torch, "autocast", EmulatedAutocast)


def in_bf16(experiment: Experiment, models: int, folder: Path) -> dict[str, Arrays]:
    """Train the first models of both fleets in bf16, from the data, weights and masks of a finished run.

    Args:
        experiment: that of the run.
        models: how many.
        folder: where the stages' files go.

    Returns:
        What the stages keep, by fleet.
    """
    plan = Plan(experiment)
    common: dict[str, Any] = {"seed": experiment.seed, "network": experiment.network, "precision": "bf16"}
    files = {
        "images": Path(plan.path("data/images.npz")),
        "split_table": Path(plan.path("data/split.csv")),
    }

    def outputs(fleet: str, first: int) -> dict[str, Path]:
        return {suffix: folder / f"{fleet}-{first:04d}.{end}" for suffix, end in ENDS.items()}

    retrain.main(
        settings=retrain.Settings(recipe=experiment.training.model_dump(mode="json"), **common),
        fleet="retrain",
        first=0,
        last=models - 1,
        **files,
        **outputs("retrain", 0),
    )
    for first, last in shards(experiment.models, experiment.shards.unlearn):
        if first < models:
            unlearn.main(
                settings=unlearn.Settings(steps=plan.steps(METHOD), **common),
                role=plan.role(METHOD, 0),
                first=first,
                last=min(last, models - 1),
                weights=Path(plan.path("original/0.safetensors")),
                masks=[Path(path) for path in plan.masks(METHOD, "0", f"{first:04d}", f"{last:04d}")],
                **files,
                **outputs(METHOD, first),
            )
    return {name: read_fleet(sorted(folder.glob(f"{name}-*.npz"))) for name in FLEETS}


def shown(interval: Interval, sign: str = "") -> str:
    """Return an estimate with its interval."""
    estimate, low, high = (f"{value:{sign}.4f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{estimate} [{low}, {high}]"


def scores(fleets: Mapping[str, Fleet], arrays: Mapping[str, Arrays], experiment: Experiment) -> list[str]:
    """Return a table of the score of each fleet, and of random_mask in bf16 against a bf16 oracle."""
    lines = ["| fleet | oracle | forgetting quality | score | retain | forget | test |"]
    lines += ["|---|---|---|---|---|---|---|"]
    pairs = [(name, "oracle fp32") for name in fleets if name != "oracle fp32"]
    pairs += [(f"{METHOD} {precision}", f"retrain {precision}") for precision in ("fp32", "bf16")]
    for name, oracle in pairs:
        found = score_intervals(
            fleets[name], fleets[oracle], seed=experiment.seed, replicates=experiment.replicates
        )
        cells = [name, oracle, shown(found["forgetting_quality"]), shown(found["score"])]
        cells += [f"{arrays[name][f'accuracy_{split}'].mean():.4f}" for split in SPLITS]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def differences(
    fleets: Mapping[str, Fleet], arrays: Mapping[str, Arrays], experiment: Experiment
) -> list[str]:
    """Return a table of bf16 minus fp32: of scores, of accuracies, and of confidences in absolute terms."""
    lines = [f"| bf16 minus fp32 | {' | '.join(FLEETS)} |", "|---|---|---|"]
    columns = []
    for name in FLEETS:
        half, full = f"{name} bf16", f"{name} fp32"
        found = paired_difference(
            fleets[half],
            fleets[full],
            fleets["oracle fp32"],
            seed=experiment.seed,
            replicates=experiment.replicates,
        )
        rows = {quantity.replace("_", " "): shown(interval, "+") for quantity, interval in found.items()}
        for split in SPLITS:
            change = arrays[half][f"accuracy_{split}"] - arrays[full][f"accuracy_{split}"]
            rows[f"{split} accuracy"] = shown(interval_of_mean(change), "+")
        same, other = apart(fleets[half].confidences, fleets[full].confidences)
        rows["confidences, same seed, median distance"] = f"{same:.3f}"
        rows["confidences, another seed in fp32, median distance"] = f"{other:.3f}"
        columns.append(rows)
    return [*lines, *(f"| {row} | {' | '.join(column[row] for column in columns)} |" for row in columns[0])]


def apart(half: np.ndarray, full: np.ndarray) -> tuple[float, float]:
    """Return how far apart confidences [models, examples] are: in two precisions, and by seed in the second.

    Both are medians over all pairs of models and examples, so that they compare one by one.
    """
    first, second = np.triu_indices(len(full), k=1)
    return float(np.median(np.abs(half - full))), float(np.median(np.abs(full[first] - full[second])))


def fleets_of(experiment: Experiment, models: int) -> tuple[dict[str, Arrays], np.ndarray]:
    """Read the first models of the fleets of a finished run, by name, and the labels of the forget set."""
    plan = Plan(experiment)
    split_table = Path(plan.path("data/split.csv"))
    if not split_table.exists():
        raise InputError(f"{split_table}: no such file; run snakemake with the same --configfile first")
    _, classes = read_split(read_text(split_table), str(split_table))
    roles = {"oracle": "oracle", **{name: plan.role(name, 0) for name in FLEETS}}
    whole = {name: read_fleet([Path(shard) for shard in plan.fleet(role)]) for name, role in roles.items()}
    kept = {name: {key: array[:models] for key, array in fleet.items()} for name, fleet in whole.items()}
    return kept, classes["forget"]


def report(options: argparse.Namespace) -> None:
    """Train in bf16 and print both tables."""
    experiment = load(options.configfile)
    if experiment.precision != "fp32":
        raise InputError(f"{options.configfile}: precision: {experiment.precision}; take a run in fp32")
    models = options.models or experiment.models
    if not 2 <= models <= experiment.models:
        raise InputError(f"--models: {models}; give 2 to {experiment.models}, the models of the run")
    in_fp32, labels = fleets_of(experiment, models)
    context = contextlib.nullcontext() if options.hardware else emulated()
    with tempfile.TemporaryDirectory() as folder, context:
        trained = in_bf16(experiment, models, Path(folder))
    arrays = {f"{name} fp32": fleet for name, fleet in in_fp32.items()}
    arrays |= {f"{name} bf16": fleet for name, fleet in trained.items()}
    stored = {name: StoredFleet(array, {"forget": labels}) for name, array in arrays.items()}
    fleets = {name: one.with_confidences(one.confidences("forget")) for name, one in stored.items()}
    way = "autocast" if options.hardware else "emulated"
    print(f"{machine()['processor']}, {os.cpu_count()} cores, torch {torch.__version__}; bf16: {way}")
    print(f"{experiment.experiment}, N = {models}, {len(labels)} forget examples", end=", ")
    print(f"{CONFIDENCE:.0%} intervals\n")
    print("\n".join([*scores(fleets, arrays, experiment), "", *differences(fleets, arrays, experiment)]))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    digits = Path("config/digits.yaml")
    parser.add_argument(
        "--configfile", type=Path, default=digits, help=f"of a finished run (default {digits})"
    )
    parser.add_argument("--models", type=int, help="only the first ones of each fleet (default all)")
    parser.add_argument(
        "--hardware", action="store_true", help="train in bf16 by autocast, do not emulate it"
    )
    try:
        report(parser.parse_args(arguments))
    except InputError as error:
        sys.exit(f"precision: {error}")


if __name__ == "__main__":
    main()
