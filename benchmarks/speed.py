"""Measures the speed of one core, at which the work of training is priced, and writes `reference/speed.json`.

    OMP_NUM_THREADS=1 python benchmarks/speed.py --write

The steps of a ResNet-18 on 32x32 images are timed in two parts, passes and optimiser, with Adam and batches
of 64, by the processor's clock (`workflow.calibration.training_speed`). Every part is repeated for a
minute and its median taken. Without `--write` it only prints.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch

from random_mask.artifacts.machine import machine, versions
from random_mask.experiment.cost import Work, seconds
from random_mask.training.networks import build_resnet18, forward_flops, parameter_count, without_dead_taps
from random_mask.training.stacking import stack
from random_mask.workflow.calibration import training_speed

BATCH = 64


def product_flops_per_second(size: int = 1024, times: int = 30) -> float:
    """Return the speed of products of square matrices, the best of several: what this core can do at most."""
    a, b = torch.randn(2, size, size)
    taken = []
    for _ in range(times):
        begun = time.process_time()
        torch.mm(a, b)
        taken.append(time.process_time() - begun)
    return 2 * size**3 / min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write reference/speed.json")
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure (default 60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = stack([without_dead_taps(build_resnet18(10, seed=1), 32)])
    measured, n_steps = training_speed(network, batch=BATCH, seconds=options.seconds)
    speed = {name: float(f"{value:.3g}") for name, value in asdict(measured).items()}
    found = {"machine": machine(), "versions": versions(), "threads": 1, "speed": speed}
    print(json.dumps(found, indent=2))
    step = seconds(Work(BATCH, 1, forward_flops(network, 32), parameter_count(network)), measured)
    moved = parameter_count(network) / measured.weights_per_second
    print(f"{BATCH / step:.0f} images a second; {n_steps} steps, {moved / step:.0%} of it the optimiser")
    fastest = product_flops_per_second()
    share = measured.flops_per_second / fastest
    print(f"matrix products: {fastest / 1e9:.0f} GFLOP/s, of which training's passes reach {share:.0%}")
    if options.write:
        path = Path(__file__).parents[1] / "reference" / "speed.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
