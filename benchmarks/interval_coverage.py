"""Print how often 95 % intervals cover the score expected over fleets, in populations where it is known.

    python benchmarks/interval_coverage.py                     # N = 16, 60 examples
    python benchmarks/interval_coverage.py --models 128 --examples 40 --simulations 50

Beside the intervals of `random_mask.metrics.intervals` stand three others: the spread over examples alone,
the delete-a-quarter jackknife of the models alone, and the percentiles of an ordinary bootstrap of both.
"""

import argparse

import numpy as np
from scipy import stats

from random_mask.metrics import intervals

POPULATIONS = {
    # shift (mean, sd over examples) and spread of the unlearned fleet; share of variance that models share
    "same, independent examples": {"shift": (0.0, 0.0), "spread": 1.0, "shared": 0.0},
    "same, 80 % shared": {"shift": (0.0, 0.0), "spread": 1.0, "shared": 0.8},
    "same, half shared": {"shift": (0.0, 0.0), "spread": 1.0, "shared": 0.5},
    "shifted, a quarter shared": {"shift": (0.5, 0.5), "spread": 1.0, "shared": 0.25},
    "narrower, a quarter shared": {"shift": (0.2, 0.2), "spread": 0.7, "shared": 0.25},
    "half of the examples far": {"shift": (1.5, 1.5), "spread": 1.0, "shared": 0.25},
    "weak method": {"shift": (1.5, 0.5), "spread": 0.8, "shared": 0.25},
}


def draw(rng, n_models, n_examples, shift, spread, shared, unlearned=1):
    """Return fleets of one population on fresh examples: a retrained one, then the unlearned ones."""
    mean = rng.normal(3.0, 2.0, n_examples)
    shifts = rng.normal(*shift, n_examples)

    def fleet(location, scale):
        of_model = rng.normal(size=(n_models, 1))
        of_both = rng.normal(size=(n_models, n_examples))
        noise = np.sqrt(shared) * of_model + np.sqrt(1 - shared) * of_both
        accuracy = np.clip(0.9 + 0.01 * of_model[:, 0], 0, 1)
        return intervals.Fleet(location + 1.5 * scale * noise, accuracy, accuracy)

    return [fleet(mean, 1.0), *(fleet(mean + 1.5 * shifts, spread) for _ in range(unlearned))]


def ordinary_bootstrap(rng, retrained, unlearned, replicates):
    """Return the percentile interval of models and examples drawn with replacement, and its mean."""
    n_models, n_examples = unlearned.confidences.shape
    scores = []
    for _ in range(replicates):
        fleets = [fleet.take(rng.integers(n_models, size=n_models)) for fleet in (unlearned, retrained)]
        points = intervals._contributions(*fleets)["score"]
        scores.append(points[rng.integers(n_examples, size=n_examples)].mean())
    return (*np.quantile(scores, [0.025, 0.975]), np.mean(scores))


def simulate(name, n_models, n_examples, simulations, replicates, seed=0):
    """Return the rates of coverage and the facts behind them, for one population."""
    rng = np.random.default_rng([seed, n_models, n_examples, *name.encode()])
    population = POPULATIONS[name]
    truth, estimates, ours, examples_only, jackknife, bootstrap, centres = [], [], [], [], [], [], []
    for _ in range(4 * simulations):
        retrained, unlearned = draw(rng, n_models, n_examples, **population)
        truth.append(intervals.score(unlearned, retrained))
    expected = np.mean(truth)
    for simulation in range(simulations):
        retrained, unlearned = draw(rng, n_models, n_examples, **population)
        fleets = [unlearned, retrained]
        # As in `score_intervals`, in steps, so that the jackknife shares the subsets.
        points = intervals._contributions(*fleets)["score"]
        size = intervals.subset_size(n_models)
        subsets = intervals._replicates(
            intervals._contributions, fleets, [size, size], simulation, replicates, workers=1
        )["score"]
        shared = intervals._shared_variance(subsets, size, n_models)
        result = intervals._interval(points, shared, n_models, 0.0, np.inf)
        estimates.append(result.estimate)
        ours.append((result.low, result.high))
        error = stats.norm.ppf(0.975) * points.std(ddof=1) / np.sqrt(n_examples)
        examples_only.append((result.estimate - error, result.estimate + error))
        variance = subsets.mean(axis=1).var(ddof=1) * size / (n_models - size)
        error = stats.norm.ppf(0.975) * np.sqrt(variance)
        jackknife.append((result.estimate - error, result.estimate + error))
        low, high, centre = ordinary_bootstrap(rng, retrained, unlearned, replicates)
        bootstrap.append((low, high))
        centres.append(centre)

    def coverage(found):
        low, high = np.transpose(found)
        return np.mean((low <= expected) & (expected <= high))

    return {
        "expected": expected,
        "sd": np.std(truth + estimates, ddof=1),
        "width": np.mean([high - low for low, high in ours]),
        "ours": coverage(ours),
        "examples": coverage(examples_only),
        "jackknife": coverage(jackknife),
        "bootstrap": coverage(bootstrap),
        "centre": np.mean(centres),
    }


def simulate_difference(n_models, n_examples, simulations, replicates, seed=0):
    """Return how often the interval of a difference of two equal methods covers 0, paired and not."""
    rng = np.random.default_rng([seed, n_models, n_examples])
    covered, widths, unpaired = 0, [], []
    for simulation in range(simulations):
        population = POPULATIONS["shifted, a quarter shared"]
        retrained, a, b = draw(rng, n_models, n_examples, **population, unlearned=2)
        result = intervals.paired_difference(a, b, retrained, seed=simulation, replicates=replicates)["score"]
        covered += result.low <= 0 <= result.high
        widths.append(result.high - result.low)
        single = intervals.score_intervals(a, retrained, seed=simulation, replicates=replicates)["score"]
        unpaired.append(np.sqrt(2) * (single.high - single.low))
    return covered / simulations, np.mean(widths), np.mean(unpaired)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--simulations", type=int, default=60)
    parser.add_argument("--replicates", type=int, default=20)
    parser.add_argument("--population", choices=POPULATIONS, help="only this one")
    options = parser.parse_args(arguments)
    size = (options.models, options.examples, options.simulations, options.replicates)
    print("N = {}, {} examples, {} simulations, {} replicates".format(*size))
    print(
        "| population | expected | sd | width | ours | examples only | jackknife | bootstrap | its centre |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in [options.population] if options.population else POPULATIONS:
        row = simulate(name, *size)
        numbers = [f"{row[key]:.4f}" for key in ("expected", "sd", "width")]
        numbers += [f"{row[key]:.0%}" for key in ("ours", "examples", "jackknife", "bootstrap")]
        print(f"| {name} | {' | '.join(numbers)} | {row['centre']:.4f} |", flush=True)
    if options.population:
        return
    covered, width, unpaired = simulate_difference(*size)
    print(f"\nDifference of two equal methods: covers 0 in {covered:.0%}", end="; ")
    print(f"width {width:.4f} paired, {unpaired:.4f} if taken as independent")


if __name__ == "__main__":
    main()
