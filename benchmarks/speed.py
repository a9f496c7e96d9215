"""Measures the speed of one core, at which the work of training is priced, and writes `reference/speed.json`.

    OMP_NUM_THREADS=1 python benchmarks/speed.py --write

The steps of a ResNet-18 on 32x32 images are timed in two parts, passes and optimiser, with Adam and batches
of 64, by the processor's clock, which others who use the machine disturb least. Every part is repeated for
a minute and its median taken. Without `--write` it only prints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch.nn import functional
from training import SIZE, stack_of

from random_mask.artifacts.machine import machine, versions
from random_mask.training.cost import BACKWARD, Speed, Work, seconds
from random_mask.training.stacking import Stack

BATCH = 64


def training_speed(network: Stack, seconds: float) -> tuple[Speed, int]:
    """Return the speed of training a stack of one network, and the number of steps that were timed."""
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=5e-4, fused=True)
    images = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))
    passes: list[float] = []
    moves: list[float] = []
    until = time.process_time() + seconds
    while len(moves) < 4 or time.process_time() < until:
        begun = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images)[0], labels).backward()
        between = time.process_time()
        optimizer.step()
        passes.append(between - begun)
        moves.append(time.process_time() - between)
    # The first step takes memory and plans the products, once.
    flops = network.flops_each(SIZE) * BATCH * (1 + BACKWARD)
    speed = Speed(
        flops_per_second=flops / statistics.median(passes[1:]),
        weights_per_second=network.weights_each() / statistics.median(moves[1:]),
    )
    return speed, len(moves) - 1


def product_flops_per_second(size: int = 1024, times: int = 30) -> float:
    """Return the speed of products of square matrices, the best of several: what this core can do at most."""
    a, b = torch.randn(2, size, size)
    taken = []
    for _ in range(times):
        begun = time.process_time()
        torch.mm(a, b)
        taken.append(time.process_time() - begun)
    return 2 * size**3 / min(taken)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write reference/speed.json")
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure (default 60)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    network = stack_of(1)
    measured, n_steps = training_speed(network, options.seconds)
    speed = {name: float(f"{value:.3g}") for name, value in asdict(measured).items()}
    found = {"machine": machine(), "versions": versions(), "threads": 1, "speed": speed}
    print(json.dumps(found, indent=2))
    step = seconds(Work(BATCH, 1, network.flops_each(SIZE), network.weights_each()), measured)
    moved = network.weights_each() / measured.weights_per_second
    print(f"{BATCH / step:.0f} images a second; {n_steps} steps, {moved / step:.0%} of it the optimiser")
    fastest = product_flops_per_second()
    share = measured.flops_per_second / fastest
    print(f"matrix products: {fastest / 1e9:.0f} GFLOP/s, of which training's passes reach {share:.0%}")
    if options.write:
        path = Path(__file__).parents[1] / "reference" / "speed.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
