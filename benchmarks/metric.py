"""Print how fast the competition metric is, against the definition written plainly, and what memory it takes.

    python benchmarks/metric.py            # about a minute on one core
    python benchmarks/metric.py --full     # only 1,000 resamples of 512 models x 1,000 examples, on all cores

Times are processor seconds of one process; set OMP_NUM_THREADS=1 for one core. Each ratio is of two times
taken in turns in this run, on the same examples, and both results must be equal.
"""

import argparse
import os
import time
import tracemalloc

import brute_force
import numpy as np

from random_mask.metrics import competition, intervals

N_MODELS = 512


def fleets(n_models, n_examples, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    shift = np.linspace(0, spread, n_examples)
    return rng.normal(0, spread, (n_models, n_examples)), rng.normal(shift, spread, (n_models, n_examples))


def seconds(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def against_the_definition(n_examples=4, rounds=3):
    print(f"\nAgainst the plain definition, N = {N_MODELS}, median of {rounds} rounds in turns, one core")
    print(f"{'confidences':<22}{'definition':>16}{'this module':>16}{'ratio':>9}")
    for name, spread in (("Gaussian, sd 0.3", 0.3), ("Gaussian, sd 1", 1.0), ("Gaussian, sd 3", 3.0)):
        plain, ours = [], []
        for seed in range(rounds):
            pair = fleets(N_MODELS, n_examples, spread, seed)
            plain_time, expected = seconds(brute_force.epsilons, *pair)
            our_time, actual = min(
                (seconds(competition.epsilons, *pair) for _ in range(3)), key=lambda x: x[0]
            )
            np.testing.assert_array_equal(actual, expected)
            plain.append(plain_time / n_examples * 1e3)
            ours.append(our_time / n_examples * 1e3)
        ratio = np.median(np.array(plain) / ours)
        print(f"{name:<22}{np.median(plain):>11.1f} ms/ex{np.median(ours):>11.2f} ms/ex{ratio:>8.0f}x")


def by_number_of_models():
    print("\nBy N (Gaussian, sd 1, 100 examples), best of 3")
    for n_models in (16, 32, 64, 128, 256, 512, 1024, 2048):
        pair = fleets(n_models, 100)
        competition.epsilons(*(fleet[:, :1] for fleet in pair))  # fills the table of this N
        best = min(seconds(competition.epsilons, *pair)[0] for _ in range(3))
        print(f"  N = {n_models:<6}{best * 10:>7.2f} ms/example")


def by_number_of_examples():
    print(f"\nBy number of examples (Gaussian, sd 1, N = {N_MODELS})")
    for n_examples in (10, 100, 1000):
        pair = fleets(N_MODELS, n_examples)
        taken, _ = seconds(competition.epsilons, *pair)
        print(f"  {n_examples:>5} examples {taken:>8.3f} s {taken / n_examples * 1e3:>7.2f} ms/example")


def peak_memory():
    pair = fleets(N_MODELS, 1000)
    competition._epsilon_table.cache_clear()
    tracemalloc.start()
    competition.forgetting_quality(*pair)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    given = sum(fleet.nbytes for fleet in pair)
    print(f"\nPeak memory, {N_MODELS} models x 1,000 examples")
    print(f"  {peak / 1e6:.0f} MB beside the {given / 1e6:.0f} MB of the two arrays")


def ceiling():
    print(
        "\nForgetting quality of two fleets of one population (Gaussian, 200 examples): grids | all intervals"
    )
    spreads = (0.05, 0.3, 1.0, 3.0)
    print("          " + "".join(f"{f'sd {spread:g}':^19}" for spread in spreads))
    for n_models in (16, 64, 512):
        cells = []
        for spread in spreads:
            rng = np.random.default_rng([n_models, int(100 * spread)])
            pair = rng.normal(0, spread, (2, n_models, 200))
            on_grids = competition.points(competition.epsilons(*pair), n_models).mean()
            anywhere = competition.points(competition.epsilons_all_intervals(*pair), n_models).mean()
            cells.append(f"{on_grids:>8.3f} | {anywhere:<8.3f}")
        print(f"  N = {n_models:<4}" + "".join(cells))


def resampling(full):
    """By the clock, with a process on every core."""
    replicates, n_examples = (1000, 1000) if full else (40, 100)
    accuracy, workers = np.full(N_MODELS, 0.9), os.cpu_count()
    pair = [intervals.Fleet(values, accuracy, accuracy) for values in fleets(N_MODELS, n_examples)]
    start = time.perf_counter()
    intervals.score_intervals(*pair, seed=0, replicates=replicates, workers=workers)
    taken = time.perf_counter() - start
    print(f"\nIntervals, N = {N_MODELS}, {workers} processes, wall-clock time")
    print(f"  {replicates:,} replicates of {n_examples:,} examples {taken / 60:.1f} min")
    if not full:
        minutes = taken * (1000 / replicates) * (1000 / n_examples) / 60
        print(f"  so 1,000 replicates of 1,000 examples {minutes:.1f} min (--full runs them)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="only run all 1,000 resamples (minutes)")
    options = parser.parse_args()
    if options.full:
        return resampling(full=True)
    against_the_definition()
    by_number_of_models()
    by_number_of_examples()
    peak_memory()
    ceiling()
    return resampling(full=False)


if __name__ == "__main__":
    main()
