"""Print how fast models are trained, against the training loop of the competition's notebooks.

    python benchmarks/training.py                        # two minutes: 5 rounds of 8 seconds for each
    python benchmarks/training.py --precision bf16       # ours with matrix products in bfloat16

Three ways take turns, in another order every round, so that what disturbs the machine disturbs all of them:

    baseline    the competition's loop: a DataLoader over one dict a sample, default threads, images in NCHW,
                float32, Adam, the accuracy of each class counted in every step; one model at a time
    processes   ours, whole kernels: a process on every core, each with one thread and a model of its own,
                the data set as one tensor, channels last, a fused optimiser, sums read once an epoch
    ours        the same without the kernel positions that are unused (`training.stacking`)

Others who use the machine slow the baseline down more than ours, since its threads wait for each other in
every layer. So what they use is measured as well: a round in which it is more than a tenth of the machine is
printed, does not count, and is repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from random_mask.artifacts.machine import machine
from random_mask.methods.losses.cross_entropy import CrossEntropy
from random_mask.training.fleet import initial
from random_mask.training.images import Images
from random_mask.training.loop import fit
from random_mask.training.networks import NETWORKS
from random_mask.training.recipe import Recipe
from random_mask.training.stacking import Stack

CLASSES, SIZE = 10, 32
SAMPLES = 2048
"""Number of images in memory; the speed does not depend on it."""
FULL = {"images": 45_000, "epochs": 30}
"""The competition's recipe on CIFAR-10 shapes, for models an hour."""
WAYS = ("baseline", "processes", "ours")
CORES = os.cpu_count() or 1
DISTURBED = 0.1
"""Share of all cores that others may use in a round that counts."""


RESNET18 = NETWORKS["resnet18"]


def stack_of(models: int, image_size: int | None = SIZE, convolution: str | None = None) -> Stack:
    """Return a stack of networks of the same initial weights, with all kernel positions for size None."""
    made = Stack(RESNET18, CLASSES, models, image_size=image_size, convolution=convolution)
    weights = initial(RESNET18, CLASSES, 1)
    for place in range(models):
        made.load(place, weights)
    return made


def random_images() -> Images:
    """Return `SAMPLES` images of noise."""
    rng = np.random.default_rng(0)
    return Images.from_arrays(
        {
            "pixels": rng.integers(0, 256, (SAMPLES, 3, SIZE, SIZE), dtype=np.uint8),
            "labels": rng.integers(0, CLASSES, SAMPLES),
            "mean": np.full(3, 128, np.float32),
            "std": np.full(3, 64, np.float32),
        }
    )


class Samples(Dataset):
    """A data set as the competition's notebooks hold it: a dict of an image and its label for each sample."""

    def __init__(self, images: Images):
        """Take the images apart."""
        normal = images.inputs(torch.arange(len(images.labels))[None]).contiguous()
        self.samples = [
            {"image": image, "label": label} for image, label in zip(normal, images.labels, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.samples[index]


class Baseline:
    """The competition's loop, which goes on where it stopped when it is called again."""

    def __init__(self, images: Images, batch: int, device: torch.device):
        """Take a first step, which costs more than all others."""
        self.device = device
        self.loader = DataLoader(Samples(images), batch_size=batch, shuffle=True, drop_last=True)
        self.batches = self._forever()
        self.net = RESNET18.build(CLASSES, seed=1).to(device)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.running_loss = 0.0
        self.right: list[float] = [0] * CLASSES
        self.seen: list[float] = [0] * CLASSES
        self.step()

    def _forever(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> int:
        """Take one step and return its number of images."""
        self.net.train()
        sample = next(self.batches)
        inputs, targets = sample["image"].to(self.device), sample["label"].to(self.device)
        self.optimizer.zero_grad()
        outputs = self.net(inputs)
        loss = self.criterion(outputs, targets)
        loss.backward()
        self.optimizer.step()
        self.running_loss += loss.item()
        predictions = outputs.argmax(dim=1)
        for label in range(CLASSES):
            of_class = targets == label
            self.right[label] += (predictions[of_class] == label).sum().item()
            self.seen[label] += of_class.sum().item()
        return len(targets)

    def images_per_second(self, seconds: float) -> float:
        """Train for about so many seconds, at least one step."""
        begun, images = time.perf_counter(), 0
        while images == 0 or time.perf_counter() - begun < seconds:
            images += self.step()
        return images / (time.perf_counter() - begun)


class _OutOfTimeError(Exception):
    """Ends a training that would go on."""


def fit_for(
    stack: Stack,
    images: Images,
    *,
    batch: int,
    precision: str = "fp32",
    seconds: float,
    steps: int = 3,
) -> float:
    """Train a stack of networks by `training.loop.fit`; return images a second, over all networks.

    Epochs have `steps` steps. The first, in which memory is taken and, on a GPU, the step is captured, is not
    counted; of the others at least one is.
    """
    recipe = Recipe(epochs=10**6, batch=batch, optimizer="adam", learning_rate=1e-3, weight_decay=5e-4)
    indices = np.resize(np.arange(SAMPLES), batch * steps)
    ends: list[float] = []

    def look_at_the_clock(epoch: int, loss: float, spent: float) -> None:
        ends.append(spent)
        if epoch > 1 and spent >= seconds:
            raise _OutOfTimeError

    rngs = [np.random.default_rng(index) for index in range(stack.models)]
    with contextlib.suppress(_OutOfTimeError):
        fit(
            stack,
            images,
            {"retain": indices},
            recipe,
            CrossEntropy(name="cross_entropy"),
            rngs=rngs,
            precision=precision,
            progress=look_at_the_clock,
        )
    return (len(ends) - 1) * len(indices) * stack.models / (ends[-1] - ends[0])


def worker(orders: Connection, batch: int, precision: str) -> None:
    """Train one model on one core, as (way, seconds) arrive; answer with (images a second, what it used)."""
    torch.set_num_threads(1)
    images = random_images()
    stacks = {"processes": stack_of(1, None), "ours": stack_of(1)}
    orders.send("ready")
    while (order := orders.recv()) is not None:
        (way, seconds), before = order, time.process_time()
        speed = fit_for(stacks[way], images, batch=batch, precision=precision, seconds=seconds)
        orders.send((speed, time.process_time() - before))


class Workers:
    """A process for each core. All of them end with the block."""

    def __init__(self, cores: int, batch: int, precision: str):
        """Start them; they are ready when the block begins."""
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(cores)]
        self.ends = [mine for mine, _ in pairs]
        for _, theirs in pairs:
            context.Process(target=worker, args=(theirs, batch, precision), daemon=True).start()

    def __enter__(self) -> Workers:
        for end in self.ends:
            end.recv()
        return self

    def __exit__(self, *_: object) -> None:
        for end in self.ends:
            end.send(None)

    def train(self, way: str, seconds: float) -> tuple[float, float]:
        """Let all of them train; return images a second and processor seconds of all."""
        for end in self.ends:
            end.send((way, seconds))
        speeds, used = zip(*(end.recv() for end in self.ends), strict=True)
        return sum(speeds), sum(used)


def processor_seconds() -> float:
    """Return what all processes of this machine have used since it was started, or NaN where not known."""
    try:
        user, nice, system, _, _, *more = map(
            int, Path("/proc/stat").read_text(encoding="utf-8").split("\n")[0].split()[1:9]
        )
    except (OSError, ValueError):
        return math.nan
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(patience: float) -> None:
    """Wait until others leave the machine alone for three seconds, but no longer than so many seconds."""
    until = time.perf_counter() + patience
    while time.perf_counter() < until:
        before = processor_seconds()
        time.sleep(3)
        if not processor_seconds() - before > 3 * CORES * DISTURBED / 2:
            return


def take_turns(
    turns: list[str], baseline: Baseline, workers: Workers, seconds: float
) -> tuple[dict[str, float], float]:
    """Let each way train; return images a second by way, and the share of the machine that others used."""
    speeds, own = {}, 0.0
    begun, before = time.perf_counter(), processor_seconds()
    for way in turns:
        if way == "baseline":
            start = time.process_time()
            speeds[way] = baseline.images_per_second(seconds)
            own += time.process_time() - start
        else:
            speeds[way], used = workers.train(way, seconds)
            own += used
    others = processor_seconds() - before - own
    return speeds, max(0.0, others / (time.perf_counter() - begun) / CORES)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often all take their turn (default 5)")
    parser.add_argument("--seconds", type=float, default=8, help="of each turn (default 8)")
    parser.add_argument("--batch", type=int, default=64, help="images a step, of all (default 64)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="of ours")
    parser.add_argument("--cores", type=int, default=CORES, help="processes of ours (default all)")
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait for quiet before a round")
    options = parser.parse_args(arguments)
    with Workers(options.cores, options.batch, options.precision) as workers:
        measure(workers, options)


def measure(workers: Workers, options: argparse.Namespace) -> None:
    baseline = Baseline(random_images(), options.batch, torch.device("cpu"))
    print(f"{machine()['processor']}, {CORES} cores, torch {torch.__version__}")
    print(f"batches of {options.batch}; baseline: fp32, {torch.get_num_threads()} threads; ", end="")
    print(f"ours: {options.precision}, {options.cores} processes")
    print(
        f"{'images a second':<17}" + "".join(f"{way:>11}" for way in WAYS) + f"{'others use':>12}", flush=True
    )
    every: list[dict[str, float]] = []
    quiet: list[dict[str, float]] = []
    while len(quiet) < options.rounds and len(every) < 3 * options.rounds:
        wait_for_quiet(options.patience)
        turns = [WAYS[(len(every) + turn) % len(WAYS)] for turn in range(len(WAYS))]
        speeds, others = take_turns(turns, baseline, workers, options.seconds)
        every.append(speeds)
        if not others > DISTURBED:  # where it is not known, every round counts
            quiet.append(speeds)
        row = "".join(f"{speeds[way]:>11.0f}" for way in WAYS)
        note = "  not counted" if others > DISTURBED else ""
        print(f"  round {len(every):<9}{row}{others:>12.0%}{note}", flush=True)
    if not quiet:
        print("others used the machine in every round: all of them count, and none is to be trusted")
    report(quiet or every)


def report(rounds: list[dict[str, float]]) -> None:
    medians = {way: statistics.median(found[way] for found in rounds) for way in WAYS}
    print(f"{'  median':<17}" + "".join(f"{medians[way]:>11.0f}" for way in WAYS))
    print(f"models an hour of {FULL['epochs']} epochs of {FULL['images']:,} images")
    hourly = [3600 * medians[way] / math.prod(FULL.values()) for way in WAYS]
    print(f"{'':<17}" + "".join(f"{models:>11.2f}" for models in hourly))
    print(f"ratio in a round, median of {len(rounds)} (range)")
    for a, b in (("processes", "baseline"), ("ours", "processes"), ("ours", "baseline")):
        ratios = [found[a] / found[b] for found in rounds]
        print(
            f"  {a + ' / ' + b:<22}{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
