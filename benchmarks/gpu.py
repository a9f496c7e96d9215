"""Try all that runs on a GPU in one command: is it right, how fast, does the workflow run, and CIFAR-10.

    python benchmarks/gpu.py results/gpu --minutes 9.5     # on an H100 or H200
    python benchmarks/gpu.py results/gpu-toy --toy         # in toy size, on a processor too

    checks-fp32, checks-bf16  models side by side against alone, steps captured against launched, and more
    layers                    each convolution of a stack, in every way, forward and backward
    throughput                images a second by models side by side, batch and precision
    profile                   which kernels the time of a step goes to
    smoke                     config/smoke.yaml by profiles/gpu, or by a plan that was made elsewhere
    cifar10                   retraining and unlearning at 45,000 images, for the time that is left

Every part is a process with a time limit, so that none keeps the next from running. It writes PART.json as
it goes and PART.log into the folder, and one line is printed of each. A part that has ended well is not run
again, and `cifar10` goes on where it stopped: run the same command again. docs/gpu.md says what to bring.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training import FULL, SIZE, Baseline, fit_for, random_images, stack_of

from random_mask.artifacts.files import read_npz, read_text, write_npz, write_text
from random_mask.artifacts.machine import machine
from random_mask.artifacts.shards import read_fleet
from random_mask.data.splits import read_split
from random_mask.methods import catalogue
from random_mask.methods.random_mask import RandomMask, draw_masks
from random_mask.metrics.competition import forgetting_quality, logit_scaled_confidence
from random_mask.training.convolution import CONVOLUTIONS, seconds_of_each
from random_mask.training.cost import BACKWARD
from random_mask.training.devices import SWITCH, choose, fitting, models_at_once, out_of_memory
from random_mask.training.evaluation import evaluate
from random_mask.training.fleet import Fleet, Step, fit_fleet, initial
from random_mask.training.images import Images
from random_mask.training.loop import Fit, fit
from random_mask.training.networks import NETWORKS
from random_mask.training.stacking import Stack

ROOT = Path(__file__).parents[1]
RESNET18 = NETWORKS["resnet18"]
BATCH = 64
"""Of the competition's loop."""
PROTOCOL = {"retrained": (512, 30), "unlearned": (512, 5)}
"""The competition's full protocol: how many models, and the epochs of each."""
PEAK = 989
"""TFLOP/s of an H100 or H200, dense, in bf16."""


class Report:
    """What a part found: a JSON file that is written anew at every step."""

    def __init__(self, path: Path):
        """Begin an empty one."""
        self.path, self.content = path, {"machine": machine(), "torch": torch.__version__}

    def add(self, name: str, value: Any) -> None:
        """Write a value, and print it into the log."""
        self.content[name] = value
        write_text(self.path, json.dumps(self.content, indent=1) + "\n")
        print(time.strftime("%H:%M:%S"), f"{name}: {json.dumps(value)}", flush=True)


# --- checks

SGD = {"optimizer": "sgd", "learning_rate": 1e-3, "weight_decay": 5e-4}
ADAM = {"optimizer": "adam", "learning_rate": 1e-5, "weight_decay": 5e-4}
PLAIN = {"objective": {"name": "cross_entropy"}}
MASK = {"name": "random_mask", "ratio": 0.3, "spare": "published"}
CHECKED: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "sgd": (SGD | PLAIN, None),
    "adam": (ADAM | PLAIN, None),
    "frozen masks": (SGD | PLAIN, MASK | {"frozen": True}),
    "a teacher": (SGD | {"objective": {"name": "distil_and_learn"}}, MASK),
    "two teachers, paired": (SGD | {"objective": {"name": "bad_teacher"}, "paired_with": "forget"}, None),
    "other labels, paired": (
        ADAM | {"objective": {"name": "relabel", "with_labels": "random"}, "paired_with": "forget"},
        None,
    ),
    "noise, l1, last blocks": (SGD | PLAIN | {"noise": 0.01, "l1": 1e-6, "last": 3}, None),
}
"""Recipes and perturbations whose training is compared: what a step can consist of."""
APART = {"fp32": 0.02, "bf16": 0.35}
"""How far two trainings may be apart, as a share of how far they moved the logits."""


def fleet_of(recipe: Mapping[str, Any] | None, perturb: Mapping[str, Any] | None) -> Fleet:
    """Return a fleet that starts from one original model, and is not fitted without a recipe."""
    original = initial(RESNET18, 4, 0)
    taken = catalogue.perturbation(perturb) if perturb else None

    def masks(model: int, step: int) -> dict[str, np.ndarray]:
        return draw_masks(original, RandomMask.model_validate(perturb), np.random.default_rng([model, step]))

    return Fleet(
        role="gpu",
        seed=1,
        network=RESNET18,
        start=lambda index: original,
        steps=[Step([catalogue.recipe_and_loss(recipe)] if recipe else [], taken)],
        masks=masks,
        original=original,
    )


def synthetic(count: int, classes: int) -> Images:
    """Return noisy images of classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    pixels = rng.integers(0, 120, (count, 3, SIZE, SIZE), dtype=np.uint8)
    pixels += (120 * labels // classes).astype(np.uint8)[:, None, None, None]
    mean, std = np.full(3, 110, np.float32), np.full(3, 50, np.float32)
    arrays: dict[str, np.ndarray] = {
        "pixels": pixels,
        "labels": labels.astype(np.int64),
        "mean": mean,
        "std": std,
    }
    return Images.from_arrays(arrays)


def divided(retain: int, forget: int, validation: int, test: int) -> dict[str, np.ndarray]:
    """Return splits of so many images, one after the other."""
    ends = np.cumsum([retain, forget, validation, test])
    names = ("retain", "forget", "validation", "test")
    return dict(zip(names, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))


@contextmanager
def launched() -> Iterator[None]:
    """Launch steps one by one within the block."""
    before = os.environ.get(SWITCH, "1")
    os.environ[SWITCH] = "0"
    try:
        yield
    finally:
        os.environ[SWITCH] = before


def checks(options: argparse.Namespace, report: Report, precision: str) -> str:
    """Compare trainings that differ in how they are computed alone."""
    device, models = choose(), 2 if options.toy else 4
    checked = ("frozen masks", "other labels, paired") if options.toy else tuple(CHECKED)
    splits = divided(*((20, 8, 2, 8) if options.toy else (160, 40, 16, 64)))
    images = synthetic(sum(map(len, splits.values())), 4)
    # Two steps an epoch, the second of a smaller batch.
    size = {"epochs": 1 if options.toy else 4, "batch": 12 if options.toy else 96}
    good = {}

    def trained(
        name: str, at_once: int, on: torch.device = device, **changes: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        recipe, perturb = CHECKED[name]
        arrays, _ = fit_fleet(
            fleet_of(size | recipe | changes, perturb),
            range(models),
            images.to(on),
            splits,
            at_once=at_once,
            precision=precision,
        )
        return arrays["history_loss"], arrays["logits_test"]

    def stacked(**options: Any) -> tuple[np.ndarray, np.ndarray]:
        stack = Stack(RESNET18, 4, models, **{"image_size": SIZE} | options)
        for place in range(models):
            stack.load(place, initial(RESNET18, 4, 0))
        stack.to(device)
        recipe, loss = catalogue.recipe_and_loss(size | SGD | PLAIN)
        rngs = [np.random.default_rng(place) for place in range(models)]
        history = fit(stack, images.to(device), splits, recipe, loss, rngs=rngs, precision=precision)
        return history.loss, evaluate(stack, images.to(device), splits["test"])

    def uncaptured(name: str, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
        with launched():
            return trained(name, models, **changes)

    def start_of(perturb: Mapping[str, Any] | None) -> np.ndarray:
        return fit_fleet(fleet_of(None, perturb), range(models), images.to(device), splits)[0]["logits_test"]

    one_step = {"batch": len(splits["retain"])}
    alone, together = partial(trained, at_once=1), partial(trained, at_once=models)
    pairs: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
    for name in checked:
        pairs[f"{name}: {models} side by side against alone"] = partial(together, name), partial(alone, name)
    for name in checked:
        pairs[f"{name}: captured against launched"] = partial(together, name), partial(uncaptured, name)
    for name in () if options.toy else ("sgd", "adam"):
        steps = partial(together, name, **one_step), partial(uncaptured, name, **one_step)
        pairs[f"{name}: captured against launched, step by step"] = steps
    pairs["sgd: without unused kernel positions against with all"] = (
        stacked,
        partial(stacked, image_size=None),
    )
    for way in CONVOLUTIONS:
        pairs[f"sgd: convolutions {way} against the chosen"] = partial(stacked, convolution=way), stacked
    if precision == "fp32":
        here = partial(alone, "sgd")
        pairs["sgd: on this device against on the processor"] = here, partial(here, on=torch.device("cpu"))
    for name, (one, other) in pairs.items():
        try:
            (losses, logits), (other_losses, other_logits) = one(), other()
            perturb = CHECKED[name.partition(":")[0]][1]
            moved = np.linalg.norm(other_logits - start_of(perturb))
            apart = float(np.linalg.norm(logits - other_logits) / moved)
            by_step = np.abs(losses / other_losses - 1).max(axis=0)
            good[name] = apart <= APART[precision] and bool(np.isfinite(by_step).all())
            report.add(name, {"good": good[name], "apart": apart, "losses_apart": by_step.tolist()})
        except Exception as error:
            good[name] = False
            traceback.print_exc()
            report.add(name, {"good": False, "error": str(error).split("\n")[0]})
    wrong = [name for name, is_good in good.items() if not is_good]
    return f"{len(good) - len(wrong)} of {len(good)} agree" + (f"; not: {', '.join(wrong)}" if wrong else "")


# --- speed


def layers(options: argparse.Namespace, report: Report) -> str:
    """Measure each convolution in every way."""
    device = choose()
    models, batch = (2, 2) if options.toy else (64, BATCH)
    stack, seen = stack_of(models).to(device), {}

    def note(layer: Any, inputs: Sequence[torch.Tensor]) -> None:
        seen[tuple(inputs[0].shape), tuple(layer.weight.shape), layer.stride] = layer

    for layer in stack.network.modules():
        if hasattr(layer, "way"):
            layer.register_forward_pre_hook(note)
    with torch.no_grad():
        stack(torch.zeros(batch, 3 * models, SIZE, SIZE, device=device))
    best = dict.fromkeys(CONVOLUTIONS, 0)
    for precision in ("bf16", "fp32"):
        for shape, layer in seen.items():
            maps = torch.randn(shape[0], device=device).contiguous(memory_format=torch.channels_last)
            if precision == "bf16" and shape[0][1] > 3 * models:
                maps = maps.bfloat16()
            maps.requires_grad_(shape[0][1] > 3 * models)  # images have no gradient
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                seconds = seconds_of_each(maps, layer.weight, layer.stride, layer.padding)
            _, _, height, width = shape[0]
            pixels = batch * height * width // math.prod(layer.stride)
            flops = 2 * pixels * layer.weight.numel() * (3 if maps.requires_grad else 2)
            best[min(seconds, key=seconds.__getitem__)] += 1
            report.add(
                f"{precision} {list(shape[0])} {list(layer.weight.shape)} stride {layer.stride[0]}",
                {
                    name: {"ms": 1000 * each, "tflops": flops / each / 1e12 if each else None}
                    for name, each in seconds.items()
                },
            )
    return "fastest: " + ", ".join(f"{name} {count}" for name, count in best.items())


@dataclass
class Row:
    """What was measured of one combination.

    Attributes:
        precision: of matrix products.
        batch: images a step and model.
        models: networks side by side.
        speed: images a second, over all of them; 0 where they did not fit into memory.
        baseline: images a second of the competition's loop just before.
        convolution: how they are convolved, or None for the fastest way of each layer.
        memory: GiB of a GPU that were taken at most.
    """

    precision: str
    batch: int
    models: int
    speed: float
    baseline: float
    convolution: str | None = None
    memory: float = 0.0


def bounds(rows: list[Row]) -> list[str]:
    """Return what bounds each row of one precision and batch size, as far as the next ones tell.

    While twice the models train nearly twice as many images a second, the device waits for steps to be
    launched or is not filled by them; once they train hardly more, it is full: of arithmetic, or of memory
    traffic, which the profile tells apart.
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


def throughput(options: argparse.Namespace, report: Report) -> str:
    """Measure images a second, of more and more models side by side."""
    device = choose()
    baseline, images = Baseline(random_images(), BATCH, device), random_images().to(device)
    flops = stack_of(1).flops_each(SIZE) * (1 + BACKWARD)
    counts = options.models or ([1, 2] if options.toy else [1, 4, 16, 32, 64, 128, 256])
    batches = options.batch or ([4] if options.toy else [BATCH, 256])
    kinds = options.precision or ["bf16", "fp32"]
    seconds, steps = options.row_seconds or (0.1 if options.toy else 2), 2 if options.toy else 30

    def measured(precision: str, batch: int, models: int, way: str | None = None) -> Row:
        before = baseline.images_per_second(seconds / 2)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        try:
            stack = stack_of(models, convolution=way).to(device)
            speed = fit_for(stack, images, batch=batch, precision=precision, seconds=seconds, steps=steps)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            speed = 0.0
        memory = torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else 0.0
        return Row(precision, batch, models, speed, before, way, round(memory, 2))

    def told(row: Row, bound: str) -> None:
        name = f"{row.precision}, batches of {row.batch}, {row.models} models"
        share = row.speed * flops / options.peak / 1e12
        more = {"against": row.speed / row.baseline, "peak": share, "bounded_by": bound}
        report.add(name + (f", {row.convolution}" if row.convolution else ""), asdict(row) | more)

    rows: list[Row] = []
    for precision, batch in [(kind, batch) for batch in batches for kind in kinds]:
        series: list[Row] = []
        for models in sorted(counts):
            series.append(measured(precision, batch, models))
            told(series[-1], "unknown")
            if not series[-1].speed:
                break
        for row, bound in zip(series, bounds(series), strict=True):
            told(row, bound)
        rows += series
        best = max(rows, key=lambda row: row.speed)
        report.add("best", asdict(best))
        report.add("protocol_minutes", 60 * protocol_hours(best.speed))
    alike = max((row for row in rows if row.batch == batches[0]), key=lambda row: row.speed)
    for way in CONVOLUTIONS:
        told(measured(alike.precision, alike.batch, alike.models, way), "unknown")
    usual = float(np.median([row.baseline for row in rows]))
    report.add("baseline_protocol_minutes", 60 * protocol_hours(usual))
    return (
        f"{alike.speed:,.0f} images/s ({alike.precision}, batches of {alike.batch}, {alike.models} models), "
        f"{alike.speed / usual:.1f}x the competition's loop, "
        f"{alike.speed * flops / options.peak / 1e12:.1%} of {options.peak:.0f} TFLOP/s; "
        f"its protocol would take {60 * protocol_hours(alike.speed):,.0f} minutes"
    )


def rows_of(options: argparse.Namespace) -> list[Row]:
    """Return what was measured with batches of the competition's size and the fastest convolutions."""
    path, names = options.out / "throughput.json", Row.__dataclass_fields__
    content = json.loads(path.read_text()) if path.exists() else {}
    found = [value for value in content.values() if isinstance(value, dict) and value.keys() > names.keys()]
    rows = [Row(**{name: each[name] for name in names}) for each in found]
    return [row for row in rows if row.batch == BATCH and not row.convolution]


def profile(options: argparse.Namespace, report: Report) -> str:
    """Say which kernels the time of a step goes to."""
    device, best = choose(), max(rows_of(options), key=lambda row: row.speed, default=None)
    models = 1 if options.toy else best.models if best else 64
    recipe, loss = catalogue.recipe_and_loss(
        ADAM | PLAIN | {"epochs": 1, "batch": 4 if options.toy else BATCH}
    )
    steps = 2 if options.toy else 10
    fitted = Fit(
        stack_of(models).to(device),
        random_images().to(device),
        {"retain": np.arange(recipe.batch * steps)},
        recipe,
        loss,
        rngs=[np.random.default_rng(place) for place in range(models)],
        rounds=2,
        precision="bf16",
    )
    fitted.run()  # the step is captured
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    begun = time.perf_counter()
    with torch.profiler.profile(activities=kinds) as found:
        fitted.run()
    wall = time.perf_counter() - begun
    kernels = found.key_averages()
    attribute = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    write_text(
        options.out / "profile.txt", kernels.table(sort_by=attribute, row_limit=60, max_name_column_width=120)
    )
    times = sorted(((getattr(each, attribute), each.key) for each in kernels), reverse=True)
    busy = sum(spent for spent, _ in times) / 1e6
    report.add("models", models)
    report.add("step_ms", 1000 * wall / steps)
    report.add("busy", busy / wall)
    report.add(
        "largest", [{"ms_a_step": spent / 1000 / steps, "kernel": name[:160]} for spent, name in times[:20]]
    )
    return f"{models} models: a step of {1000 * wall / steps:.1f} ms, of which kernels fill {busy / wall:.0%}"


# --- the workflow

SCORES = "results/smoke/scores.csv"


def write_plan(path: Path) -> None:
    """Write the commands that the smoke experiment's scores need, for a machine without Snakemake."""
    from random_mask.workflow.estimate import dry_run

    jobs = [
        {
            "rule": job.rule_name,
            "command": job.shellcmd,
            **{name: list(map(str, getattr(job, name))) for name in ("input", "output", "log")},
        }
        for job in dry_run(ROOT / "config/smoke.yaml")
    ]
    wanted: set[str] = {SCORES}
    kept: list[dict[str, Any]] = []
    for job in reversed(jobs):  # who reads comes after who writes
        if wanted & set(job["output"]):
            wanted |= set(job["input"])
            kept.insert(0, job)
    write_text(path, json.dumps(kept, indent=1) + "\n")


def follow(plan: Sequence[Mapping[str, Any]], report: Report) -> tuple[int, list[str]]:
    """Run the jobs of a plan, each when its inputs are there; return how many there are, and what failed."""

    def run(job: Mapping[str, Any]) -> tuple[int, float]:
        for path in [*job["output"], *job["log"]]:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        command = f"{shlex.quote(sys.executable)} {job['command'].removeprefix('python ')}"
        begun = time.perf_counter()
        code = subprocess.run(command, shell=True, check=False).returncode
        return code, time.perf_counter() - begun

    failed: list[str] = []
    waiting = [job for job in plan if not all(Path(path).exists() for path in job["output"])]
    while ready := [job for job in waiting if all(Path(path).exists() for path in job["input"])]:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for job, (code, seconds) in zip(ready, pool.map(run, ready), strict=True):
                report.add(job["output"][0], {"exit": code, "seconds": seconds})
                if code:
                    failed.append(job["rule"])
                    print(*(read_text(log) for log in job["log"]), flush=True)
        waiting = [job for job in waiting if job not in ready]
    return len(plan), failed + [f"{job['rule']} (not run)" for job in waiting]


def smoke(options: argparse.Namespace, report: Report) -> str:
    """Run the smoke experiment up to its scores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.plan:
        count, failed = follow(json.loads(read_text(options.plan)), report)
        return f"{count - len(failed)} of {count} jobs" + (f"; not: {', '.join(failed)}" if failed else "")
    if not shutil.which("snakemake"):
        return "skipped: there is no snakemake here, and no --plan is given"
    command = "snakemake --workflow-profile profiles/gpu --cores 8 --configfile config/smoke.yaml"
    subprocess.run([*command.split(), SCORES], check=True)
    return f"{SCORES} is made"


# --- CIFAR-10

RETRAIN = {"epochs": 30, "batch": 64, "optimizer": "adam", "learning_rate": 1e-4, "weight_decay": 5e-3}
REPAIR = RETRAIN | {"epochs": 5, "final_learning_rate": 1e-5, "weight_decay": 1e-4}
"""As in config/cifar10.yaml."""


def data_of(options: argparse.Namespace) -> tuple[Images, dict[str, np.ndarray]]:
    """Return what `prepare_data` wrote, if it is given, or images made up in its place."""
    if options.data:
        table = options.data / "split.csv"
        splits, _ = read_split(read_text(table), str(table))
        return Images.from_arrays(read_npz(options.data / "images.npz")), splits
    splits = divided(*((24, 8, 4, 8) if options.toy else (40_000, 5_000, 5_000, 10_000)))
    return synthetic(sum(map(len, splits.values())), 4 if options.toy else 10), splits


def cifar10(options: argparse.Namespace, report: Report) -> str:
    """Retrain and unlearn as many models as there is time for."""
    begun, device, folder = time.monotonic(), choose(), options.out / "cifar10"
    folder.mkdir(exist_ok=True)
    images, splits = data_of(options)
    images, labels = images.to(device), images.labels.numpy()[splits["forget"]]
    changes = PLAIN | ({"epochs": 1, "batch": 8} if options.toy else {})
    precision = "bf16" if device.type == "cuda" else "fp32"

    def train(
        fleet: Fleet,
        models: range,
        parts: Mapping[str, np.ndarray] = splits,
        save: Callable[[int, Any], None] = lambda *_: None,
    ) -> None:
        clock = time.perf_counter()
        (arrays, works), at_once = fitting(
            lambda at_once: fit_fleet(
                fleet, models, images, parts, at_once=at_once, precision=precision, progress=print, save=save
            ),
            models_at_once(
                device,
                len(models),
                weights=stack_of(1).weights_each(),
                batch=BATCH,
                image_size=images.size,
            ),
            print,
        )
        spent = time.perf_counter() - clock
        saved = {name: array for name, array in arrays.items() if name.startswith("accuracy")}
        saved["confidences"] = logit_scaled_confidence(arrays["logits_forget"], labels).astype(np.float32)
        name = f"{fleet.role}-{models[0]:04d}"
        write_npz(folder / f"{name}.npz", saved)
        speed = sum(work.images for work in works) / spent
        told = {"models": len(models), "at_once": at_once, "seconds": spent, "images_per_second": speed}
        report.add(name, told | {name: float(saved[f"accuracy_{name}"].mean()) for name in splits})

    def done(role: str) -> dict[str, np.ndarray]:
        paths = sorted(folder.glob(f"{role}-*.npz"))
        return read_fleet(paths) if paths else {}

    def start(index: int) -> dict[str, np.ndarray]:
        return initial(RESNET18, images.classes, index)

    def masks(model: int, step: int) -> dict[str, np.ndarray]:
        return draw_masks(original, mask, np.random.default_rng([model, step]))

    retraining = [Step([catalogue.recipe_and_loss(RETRAIN | changes)])]
    if not (folder / "original.npz").exists():
        everything = {**splits, "retain": np.union1d(splits["retain"], splits["forget"])}
        fleet = Fleet("model", 2023, RESNET18, start, retraining)
        train(fleet, range(1), everything, lambda _, weights: write_npz(folder / "original.npz", weights))
    original = read_npz(folder / "original.npz")
    mask = RandomMask.model_validate(MASK | {"ratio": 0.5})
    repairing = [Step([catalogue.recipe_and_loss(REPAIR | changes)], mask)]
    fleets = [
        Fleet("retrain", 2023, RESNET18, start, retraining),
        Fleet("random_mask", 2023, RESNET18, lambda index: original, repairing, masks, original),
    ]
    sizes = {name: len(indices) for name, indices in splits.items()}
    passed = [fleet.steps[0].finetune[0][0].images_passed(sizes) for fleet in fleets]
    goal, speeds = (
        (2, {2: math.inf}) if options.toy else (PROTOCOL["retrained"][0], speeds_of(options, device))
    )
    while True:
        counts = [len(done(fleet.role).get("confidences", ())) for fleet in fleets]
        behind, left = counts[0] - counts[1], options.seconds - (time.monotonic() - begun)
        # Both fleets get as many models: unlearning follows, and retraining leaves it the time.
        images_each = passed[1] if behind else sum(passed)
        fit = [many for many, speed in speeds.items() if many * images_each / speed < 0.8 * left]
        many = min(behind or goal - counts[0], max(fit, default=0))
        if not many:
            break
        fleet, first = (fleets[1], counts[1]) if behind else (fleets[0], counts[0])
        train(fleet, range(first, first + many))
    retrained, unlearned = (done(fleet.role) for fleet in fleets)
    count = min(counts)
    if count < 2:
        return f"{counts[0]} retrained, {counts[1]} unlearned; more if the command is run again"
    quality = forgetting_quality(unlearned["confidences"][:count], retrained["confidences"][:count])
    report.add("forgetting_quality", quality)
    of = "given images" if options.data else "made-up images"
    return f"{count} models of each fleet; forgetting quality {quality:.4f}, of {of}"


def speeds_of(options: argparse.Namespace, device: torch.device) -> dict[int, float]:
    """Return images a second by the number of models side by side, as measured before or now."""
    speeds = {row.models: row.speed for row in rows_of(options) if row.precision == "bf16" and row.speed}
    if not speeds:
        images = random_images().to(device)
        for models in (8, 64):
            stack = stack_of(models).to(device)
            speeds[models] = fit_for(stack, images, batch=BATCH, precision="bf16", seconds=2, steps=30)
    return speeds


# --- all of it

PARTS: dict[str, tuple[Callable[[argparse.Namespace, Report], str], float]] = {
    "checks-fp32": (lambda options, report: checks(options, report, "fp32"), 100),
    "checks-bf16": (lambda options, report: checks(options, report, "bf16"), 80),
    "layers": (layers, 45),
    "throughput": (throughput, 150),
    "profile": (profile, 40),
    "smoke": (smoke, 100),
    "cifar10": (cifar10, math.inf),
}
"""By name, what it does and the seconds that it may take at most."""


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for what is found")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything (default 9.5)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="only these")
    parser.add_argument("--toy", action="store_true", help="everything in toy size, on a processor too")
    parser.add_argument("--data", type=Path, help="folder with images.npz and split.csv of prepare_data")
    parser.add_argument("--plan", type=Path, help="commands of the smoke experiment, from --write-plan")
    parser.add_argument("--write-plan", type=Path, help="write that file, where Snakemake is, and end")
    parser.add_argument("--packages", type=Path, help="folder of wheels that are missing here")
    parser.add_argument(
        "--peak", type=float, default=PEAK, help="TFLOP/s of the device in bf16 (default 989)"
    )
    parser.add_argument("--models", type=int, nargs="+", help="side by side, of throughput")
    parser.add_argument("--batch", type=int, nargs="+", help="images a step, of throughput")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], help="of throughput")
    parser.add_argument("--row-seconds", type=float, help="of each row of throughput")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=math.inf, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = options_of(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.write_plan:
        write_plan(options.write_plan)
    elif options.part:
        run_part(options)
    elif not (options.toy or torch.cuda.is_available()):
        sys.exit("gpu: torch finds no GPU here; add --toy to see that everything runs")
    else:
        run_all(options, sys.argv[1:] if arguments is None else arguments)


def run_part(options: argparse.Namespace) -> None:
    report = Report(options.out / f"{options.part}.json")
    if torch.cuda.is_available():
        report.add("device", torch.cuda.get_device_name())
    report.add("summary", PARTS[options.part][0](options, report))


def run_all(options: argparse.Namespace, arguments: list[str]) -> None:
    until = time.monotonic() + 60 * options.minutes
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    if options.packages:
        unpacked = options.out / "packages"
        for wheel in options.packages.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
        paths.append(str(unpacked.resolve()))
    environment = {"PYTHONPATH": os.pathsep.join(paths)} | ({"OMP_NUM_THREADS": "1"} if options.toy else {})
    for name in options.parts:
        begun = time.monotonic()
        seconds = min(PARTS[name][1], until - begun)
        found = summary(options.out / f"{name}.json")
        if found and name != "cifar10":
            print(f"{name}: {found} (before; delete {name}.json to run it again)", flush=True)
            continue
        if seconds <= 0:
            print(f"{name}: not run, the time is over", flush=True)
            continue
        command = [sys.executable, __file__, *arguments, "--part", name, "--seconds", str(seconds)]
        log = options.out / f"{name}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | environment,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = None
        last = (log.read_text(errors="replace").strip().splitlines() or ["nothing in its log"])[-1]
        said = f"stopped after {seconds:.0f} s" if code is None else f"failed: {last}" if code else ""
        said = said or summary(options.out / f"{name}.json")
        print(f"{name}: {said} ({time.monotonic() - begun:.0f} s, {log})", flush=True)


def summary(path: Path) -> str:
    """Return what a part said when it ended well, or nothing."""
    return json.loads(path.read_text(encoding="utf-8")).get("summary", "") if path.exists() else ""


if __name__ == "__main__":
    main()
