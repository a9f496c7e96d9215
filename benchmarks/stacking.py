"""Print how fast models are trained side by side on one device, by their number, batch size and precision.

    python benchmarks/stacking.py --peak 989                     # on an H200, whose dense bf16 peak this is
    python benchmarks/stacking.py --models 1 2 --batch 16 --precision fp32 --seconds 1     # a toy, on a core

Every row is `training.loop.fit` of a stack of cropped networks, timed over whole epochs, the
first not counted. Before each row the competition's own loop (`benchmarks/training.py`) trains one model on
the same device, with batches of 64 in fp32; `against` is the ratio to it. On a GPU a step is captured as a
graph; on a processor all of this is slower than a process on every core, which `training.py` measures.
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import dataclass

import torch
from training import FULL, SIZE, Baseline, fit_for, random_images, stack_of

from random_mask.artifacts.machine import machine
from random_mask.training.cost import BACKWARD
from random_mask.training.devices import choose
from random_mask.training.images import Images

BATCH = 64
"""Of the competition's loop."""
PROTOCOL = {"retrained": (512, 30), "unlearned": (512, 5)}
"""The competition's full protocol: how many models, and the epochs of each."""


@dataclass
class Row:
    """What was measured of one combination.

    Attributes:
        precision: of matrix products.
        batch: images a step and model.
        models: networks side by side.
        speed: images a second, over all of them; 0 where they did not fit into memory.
        baseline: images a second of the competition's loop just before.
    """

    precision: str
    batch: int
    models: int
    speed: float
    baseline: float


def bounds(rows: list[Row]) -> list[str]:
    """Return what bounds each row of one precision and batch size, as far as the next ones tell.

    While twice the models train nearly twice as many images a second, the device waits for steps to be
    launched or is not filled by them; once they train hardly more, it is full: of arithmetic, or of memory
    traffic, which a profile would tell apart.
    """
    fitted = [row for row in rows if row.speed]
    names = []
    for row in rows:
        if not row.speed:
            names.append("memory: does not fit")
            continue
        at = fitted.index(row)
        if len(fitted) == 1:
            names.append("unknown")
            continue
        fewer, more = fitted[at : at + 2] if at + 1 < len(fitted) else fitted[-2:]
        growth = math.log(more.speed / fewer.speed) / math.log(more.models / fewer.models)
        names.append("launches" if growth > 0.5 else "the device" if growth < 0.15 else "both")
    return names


def protocol_hours(speed: float) -> float:
    """Return the hours of the competition's full protocol on CIFAR-10 shapes, training alone."""
    return sum(models * epochs for models, epochs in PROTOCOL.values()) * FULL["images"] / speed / 3600


def measure(
    options: argparse.Namespace, baseline: Baseline, images: Images, precision: str, batch: int
) -> list[Row]:
    """Return the rows of one precision and batch size."""
    rows = []
    for models in options.models:
        before = baseline.images_per_second(options.seconds)
        try:
            speed = fit_for(
                stack_of(models).to(baseline.device),
                images,
                batch=batch,
                precision=precision,
                seconds=options.seconds,
                steps=options.steps,
            )
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            speed = 0.0
        rows.append(Row(precision, batch, models, speed, before))
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    on_gpu = torch.cuda.is_available()
    models = [1, 2, 4, 8, 16, 32, 64, 128] if on_gpu else [1, 2, 4]
    parser.add_argument("--models", type=int, nargs="+", default=models, help="side by side")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256] if on_gpu else [64])
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=3, help="of each row, and of the baseline before it")
    parser.add_argument("--steps", type=int, default=50 if on_gpu else 2, help="of an epoch")
    parser.add_argument("--peak", type=float, metavar="TFLOPS", help="of the device, in bf16: H200 989")
    options = parser.parse_args(arguments)
    options.models.sort()
    device = choose()
    name = torch.cuda.get_device_name(device) if on_gpu else machine()["processor"]
    print(f"{name}{'' if on_gpu else f', {torch.get_num_threads()} threads'}, torch {torch.__version__}")
    recipe = f"{FULL['epochs']} epochs of {FULL['images']:,} images"
    print(f"models an hour: {recipe}; peak: share of {options.peak or 'unknown'} TFLOP/s\n")
    print("| precision | batch | models | images/s | models an hour | peak | against | bounded by |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    baseline, images = Baseline(random_images(), BATCH, device), random_images().to(device)
    rows: list[Row] = []
    for precision in options.precision:
        for batch in options.batch:
            series = measure(options, baseline, images, precision, batch)
            print_rows(series, options.peak)
            rows += series
    print_protocol(rows)


def print_rows(series: list[Row], peak: float | None) -> None:
    flops = stack_of(1).flops_each(SIZE) * (1 + BACKWARD)
    for row, bound in zip(series, bounds(series), strict=True):
        hourly = 3600 * row.speed / math.prod(FULL.values())
        share = f"{row.speed * flops / peak / 1e12:.2%}" if peak else ""
        print(
            f"| {row.precision} | {row.batch} | {row.models} | {row.speed:,.0f} | {hourly:.2f} | {share} "
            f"| {row.speed / row.baseline:.2f}x | {bound} |",
            flush=True,
        )


def print_protocol(rows: list[Row]) -> None:
    models = " and ".join(
        f"{models} models {name} for {epochs} epochs" for name, (models, epochs) in PROTOCOL.items()
    )
    print(
        f"\nThe competition's protocol, training alone: {models}, {FULL['images']:,} images of {SIZE}x{SIZE}"
    )
    for batch in dict.fromkeys(row.batch for row in rows):
        best = max((row for row in rows if row.batch == batch), key=lambda row: row.speed)
        if best.speed:
            how = f"{best.precision}, {best.models} side by side, batches of {batch}"
            print(f"  ours ({how}): {protocol_hours(best.speed):,.1f} hours, extrapolated")
    usual = statistics.median(row.baseline for row in rows)
    print(f"  its own loop (fp32, batches of {BATCH}): {protocol_hours(usual):,.1f} hours, extrapolated")


if __name__ == "__main__":
    main()
