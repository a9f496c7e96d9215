"""Measures the speed of one core, at which the work of training is priced, and writes `reference/speed.json`.

    OMP_NUM_THREADS=1 python benchmarks/speed.py --write

The steps of a ResNet-18 on 32x32 images are timed in two parts, passes and optimiser, with Adam and batches
of 64. Every part is repeated for a minute and its median taken. Without `--write` it only prints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.nn import functional

from random_mask.cost import BACKWARD
from random_mask.machine import machine, versions
from random_mask.models import build_resnet18, forward_flops, parameter_count, without_dead_taps

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write reference/speed.json")
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure (default 60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = without_dead_taps(build_resnet18(10, seed=1), 32).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (BATCH,))
    passes, steps = [], []
    until = time.perf_counter() + options.seconds
    while time.perf_counter() < until:
        begun = time.perf_counter()
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        between = time.perf_counter()
        optimizer.step()
        passes.append(between - begun)
        steps.append(time.perf_counter() - between)
    flops = forward_flops(model, 32) * BATCH * (1 + BACKWARD)
    speed = {
        "flops_per_second": float(f"{flops / statistics.median(passes):.3g}"),
        "weights_per_second": float(f"{parameter_count(model) / statistics.median(steps):.3g}"),
    }
    found = {"machine": machine(), "versions": versions(), "threads": 1, "speed": speed}
    print(json.dumps(found, indent=2))
    per_second = BATCH / (statistics.median(passes) + statistics.median(steps))
    print(f"{per_second:.0f} images a second; {len(passes)} steps")
    if options.write:
        path = Path(__file__).parents[1] / "reference" / "speed.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
