"""How often the intervals of U-LiRA and KLoM contain what they aim at: the mean over fleets of the same kind.

    OMP_NUM_THREADS=1 python benchmarks/measures_coverage.py --models 16 --examples 40

Writes a Markdown table. It takes minutes.
"""

from __future__ import annotations

import argparse

import numpy as np

from random_mask.metrics import klom, ulira
from random_mask.metrics.intervals import Fleet

KINDS = ((0.0, 0.0), (2.0, 0.0), (2.0, 0.3))
"""The largest shift of an example's mean, in standard deviations, and the share of variance in common."""


def draw(rng: np.random.Generator, models: int, means: np.ndarray, shared: float) -> Fleet:
    """Return a fleet of normal confidences with standard deviation 1."""
    noise = np.sqrt(shared) * rng.normal(size=(models, 1))
    noise = noise + np.sqrt(1 - shared) * rng.normal(size=(models, len(means)))
    return Fleet(means + noise, np.ones(models), np.ones(models))


def main(arguments: list[str] | None = None) -> None:
    """Draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--draws", type=int, default=120)
    parser.add_argument("--replicates", type=int, default=60)
    options = parser.parse_args(arguments)
    print("| models | examples | shift | shared | measure | mean | sd | half width | coverage |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shift, shared in KINDS:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(options.draws):
            rng = np.random.default_rng(seed)
            means = 2 * rng.normal(size=options.examples)
            shifted = means + shift * rng.uniform(size=options.examples)
            fleets = [draw(rng, options.models, each, shared) for each in (shifted, means)]
            resampling = {"seed": seed, "replicates": options.replicates}
            intervals = ulira.intervals(*fleets, **resampling)
            intervals |= klom.intervals(*fleets, split="forget", **resampling)
            for name, each in intervals.items():
                found.setdefault(name, []).append((each.estimate, each.low, each.high))
        for name, rows in found.items():
            values, low, high = np.array(rows).T
            covered = ((low <= values.mean()) & (values.mean() <= high)).mean()
            cells = [options.models, options.examples, f"{shift:g}", f"{shared:g}", f"`{name}`"]
            numbers = (values.mean(), values.std(ddof=1), ((high - low) / 2).mean())
            cells += [*(f"{number:.3f}" for number in numbers), f"{covered:.2f}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


if __name__ == "__main__":
    main()
