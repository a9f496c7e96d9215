"""Print how fast the competition metric is, against the definition written plainly, and what memory it takes.

    python benchmarks/metric.py                # about a minute on one core
    python benchmarks/metric.py --intervals    # only those of 512 models and 1,000 examples, 1,000 replicates
    python benchmarks/metric.py --intervals --models 64 --examples 200 --replicates 100 --workers 1

Times are processor seconds of one process (intervals: of all, beside the clock's); set OMP_NUM_THREADS=1
for one core. Each ratio is of two times taken in turns in this run, on the same examples, and both results
must be equal.
"""

import argparse
import os
import resource
import time
import tracemalloc

import numpy as np

from random_mask.metrics import competition, intervals

N_MODELS = 512
PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def fleets(n_models, n_examples, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    shift = np.linspace(0, spread, n_examples)
    return rng.normal(0, spread, (n_models, n_examples)), rng.normal(shift, spread, (n_models, n_examples))


def seconds(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def against_the_definition(n_examples=4, rounds=3):
    import brute_force  # brings torch, whose memory is not the metric's

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


def resampling(n_models, n_examples, replicates, workers):
    accuracy = np.full(n_models, 0.9)
    pair = [intervals.Fleet(values, accuracy, accuracy) for values in fleets(n_models, n_examples)]
    clock, spent = time.perf_counter(), processor_seconds()
    intervals.score_intervals(*pair, seed=0, replicates=replicates, workers=workers)
    clock, spent = time.perf_counter() - clock, processor_seconds() - spent
    largest = max(resource.getrusage(who).ru_maxrss for who in PROCESSES)  # KiB on Linux
    print(
        f"\nIntervals: N = {n_models}, {n_examples:,} examples, {replicates:,} replicates, {workers} workers"
    )
    print(f"  {clock:.1f} s by the clock, {spent:.1f} processor seconds")
    print(f"  {spent / replicates / n_examples * 1e3:.3f} ms of a processor for an example and replicate")
    print(f"  {largest / 1024:.0f} MB in the largest process")


def processor_seconds():
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, PROCESSES))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--intervals", action="store_true", help="only the intervals")
    parser.add_argument("--models", type=int, default=N_MODELS, help="of each fleet, for the intervals")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    if not options.intervals:
        against_the_definition()
        by_number_of_models()
        by_number_of_examples()
        peak_memory()
        ceiling()
        options.examples, options.replicates = 100, 40
    resampling(options.models, options.examples, options.replicates, options.workers)


if __name__ == "__main__":
    main()
