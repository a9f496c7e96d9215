"""The metric of the NeurIPS 2023 machine unlearning challenge: exact, fast on one core, bounded in memory.

Two fleets of models are compared: N models unlearned from one original model, and N models retrained without
the forget set. For each forget example, attacks try to tell from a model's confidence which fleet it is of;
the example's epsilon is that of the best attack; the forgetting quality is the mean of the points that the
epsilons earn. Arrays are [models, forget examples]. NumPy arrays and torch tensors are both accepted, and
never modified.

    confidences = logit_scaled_confidence(logits, labels)          # once for each fleet
    forgetting_quality(unlearned_confidences, retrained_confidences)

Source: Triantafillou et al., arXiv 2406.09073, and the organisers' technical report and released code
(github.com/google-deepmind/unlearning_evaluation), whose numbers these functions reproduce. The definition,
its undefined cases and the measurements are in `docs/metric.md`.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

DELTA = 1e-5
EPSILON_CAP = 50.0
THRESHOLDS_PER_UNIT = 100
LEFT_THRESHOLDS = 400
BUFFER = 2.0  # how far double thresholds look beyond the narrow fleet's range, in units of confidence
MIN_RANGE_RATIO = 0.01
BUCKET_WIDTH = 0.5
TINY_PROBABILITY = 1e-45
ROWS_PER_BLOCK = 4  # right thresholds that share one bound; changes the speed only
MAX_MAGNITUDE = 1e12  # larger confidences are refused: float64 would blur the grids' step of 0.01


def logit_scaled_confidence(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Return log(p_y + 1e-45) - log(sum of the other classes' p + 1e-45), the statistic of the metric.

    Args:
        logits: [..., examples, classes], at least 2 classes. Leading axes (such as models) are kept.
        labels: [examples], integers in [0, classes).

    Returns:
        [..., examples], float64, in about [-103.3, 103.3]; larger means surer of the label.

    Raises:
        ValueError: On a wrong shape, a logit that is NaN or infinite, or a label out of range; the message
            names the argument and the index.
    """
    logits = checked_finite(logits, "logits")
    if logits.ndim < 2 or logits.shape[-1] < 2 or logits.size == 0:
        raise ValueError(f"logits must be [..., examples, classes >= 2] and not empty, not {logits.shape}")
    labels = _as_numpy(labels)
    if labels.shape != logits.shape[-2:-1]:
        raise ValueError(f"labels must be [{logits.shape[-2]}], one for each example, not {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    wrong = np.flatnonzero((labels < 0) | (labels >= logits.shape[-1]))
    if wrong.size:
        raise ValueError(f"labels[{wrong[0]}] is {labels[wrong[0]]}, outside [0, {logits.shape[-1]})")

    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    examples = np.arange(len(labels))
    correct = probabilities[..., examples, labels]
    # Summed without the label, not 1 - p_y: the difference would lose everything near p_y = 1.
    probabilities[..., examples, labels] = 0.0
    others = probabilities.sum(axis=-1)
    return np.log(correct + TINY_PROBABILITY) - np.log(others + TINY_PROBABILITY)


def epsilons(unlearned: ArrayLike, retrained: ArrayLike) -> np.ndarray:
    """Return the epsilon of every forget example: the best attack's, on the released code's own grids.

    Three cases in which the released code divides 0 by 0 or raises are defined here:

    - Both fleets constant on an example: 0 if they are equal, since no attack of any kind can tell them
      apart; 50 if they differ, since a single threshold separates them.
    - Every attack discarded: 50. It means that the grids are too coarse for these confidences (were
      thresholds free, some attack would survive), and where its grids cannot see, the released code's own
      rule is to assign 50; a fleet should not gain from it.
    - Fleets of different sizes: each rate is a mean over its own fleet.

    Args:
        unlearned: [models, examples], logit-scaled confidences of the unlearned models.
        retrained: [models, examples], those of the retrained models.

    Returns:
        [examples], float64 in [0, 50]; the values are float32 numbers, as in the released code.

    Raises:
        ValueError: On fewer than 2 models, no example, shapes that do not match, or a confidence that is
            NaN, infinite or beyond 1e12; the message names the argument and the index.
    """
    return _map_examples(_best_on_grids, unlearned, retrained)


def epsilons_all_intervals(unlearned: ArrayLike, retrained: ArrayLike) -> np.ndarray:
    """Return the epsilon of every example over ALL thresholds: a variant, not the competition's metric.

    The attacks are of the same two kinds, but thresholds may lie between any two neighbouring confidences,
    not only on the released code's grids. So no value is below that of `epsilons`, unless there every attack
    was discarded, and nothing depends on the confidences' scale. Everything else is as in `epsilons`.
    """
    return _map_examples(_best_of_all_intervals, unlearned, retrained)


def points(epsilons: ArrayLike, n_models: int) -> np.ndarray:
    """Return what epsilons earn: 1 in [0, 0.5), 1/2 in [0.5, 1), 1/4, ..., and 0 from ceil(ln(N - 1)) on.

    Args:
        epsilons: Any shape, not negative.
        n_models: The number N of unlearned models; it sets the number of buckets (N = 2 has none).

    Returns:
        The shape of `epsilons`, float64 in [0, 1].

    Raises:
        ValueError: On fewer than 2 models, or an epsilon that is negative or NaN.
    """
    if n_models < 2:
        raise ValueError(f"n_models must be at least 2, not {n_models}")
    epsilons = np.asarray(epsilons, dtype=np.float64)
    wrong = np.argwhere(~(epsilons >= 0))
    if wrong.size:
        raise ValueError(f"epsilons{wrong[0].tolist()} is {epsilons[tuple(wrong[0])]}, not a number >= 0")
    buckets = math.ceil(math.log(n_models - 1)) / BUCKET_WIDTH
    bucket = np.floor(epsilons / BUCKET_WIDTH)
    return np.where(bucket < buckets, 0.5**bucket, 0.0)


def forgetting_quality(unlearned: ArrayLike, retrained: ArrayLike) -> float:
    """Return the forgetting quality F: the mean points over the forget examples, in [0, 1].

    Two independent fleets of one distribution do not earn 1, because epsilon is a maximum over many attacks,
    but 0.09 to 0.20, by the scale of their confidences (see `docs/metric.md`): report F beside N and beside
    the F of a second retrained fleet. Arguments and errors are those of `epsilons`; N is the number of
    unlearned models.
    """
    judged = checked_confidences(unlearned, "unlearned")
    return float(points(epsilons(judged, retrained), len(judged)).mean())


def checked_finite(values: ArrayLike, name: str) -> np.ndarray:
    """Return `values` as float64, or raise a ValueError that names the first one that is NaN or infinite."""
    try:
        array = np.asarray(_as_numpy(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers ({error})") from None
    wrong = np.argwhere(~np.isfinite(array))
    if wrong.size:
        raise ValueError(f"{name}{wrong[0].tolist()} is {array[tuple(wrong[0])]}; every value must be finite")
    return array


def checked_confidences(values: ArrayLike, name: str) -> np.ndarray:
    """Return a fleet's confidences [models, examples] as float64, or raise a ValueError that says why not."""
    array = checked_finite(values, name)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(f"{name} must be [models >= 2, examples >= 1], not {array.shape}")
    wrong = np.argwhere(np.abs(array) > MAX_MAGNITUDE)
    if wrong.size:
        raise ValueError(f"{name}{wrong[0].tolist()} is {array[tuple(wrong[0])]}, beyond {MAX_MAGNITUDE:g}")
    return array


def _as_numpy(values: Any) -> np.ndarray:
    """Return an array that may share memory with `values`, which may be a torch tensor of any kind."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # unknown to NumPy
            values = values.float()
    return np.asarray(values)


def _map_examples(
    best_attack: Callable[[np.ndarray, np.ndarray], float], unlearned: ArrayLike, retrained: ArrayLike
) -> np.ndarray:
    """Return [examples]: what `best_attack(positive, negative)` finds, with the special cases and the cap."""
    unlearned = checked_confidences(unlearned, "unlearned")
    retrained = checked_confidences(retrained, "retrained")
    if unlearned.shape[1] != retrained.shape[1]:
        raise ValueError(
            f"unlearned {unlearned.shape} and retrained {retrained.shape} must have the same examples"
        )
    unlearned, retrained = np.sort(unlearned.T), np.sort(retrained.T)
    retrained_is_positive = np.median(retrained, axis=1) > np.median(unlearned, axis=1)
    result = np.empty(len(unlearned))
    for i, fleets in enumerate(zip(unlearned, retrained, strict=True)):
        negative, positive = fleets if retrained_is_positive[i] else fleets[::-1]
        small, large = sorted([positive[-1] - positive[0], negative[-1] - negative[0]])
        if large == 0:
            result[i] = 0.0 if positive[0] == negative[0] else EPSILON_CAP
        elif small / large < MIN_RANGE_RATIO:
            result[i] = EPSILON_CAP
        else:
            best = best_attack(positive, negative)
            result[i] = EPSILON_CAP if best < 0 else min(best, EPSILON_CAP)
    return result


@lru_cache(maxsize=4)
def _epsilon_tables(n_positive: int, n_negative: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the epsilon of every outcome of an attack, and a bound on it; both flat float32.

    Entry `missed * (n_negative + 1) + accepted` is that of the attacks which miss so many positives and
    accept so many negatives: nothing else about an attack matters, so logarithms are taken once. Discarded
    attacks are -inf. The bound is the largest epsilon of any outcome that errs at least as often on both
    sides; unlike epsilon it can only fall when a threshold moves to err more.
    """
    false_negative = (np.arange(n_positive + 1, dtype=np.float32) / np.float32(n_positive))[:, None]
    false_positive = (np.arange(n_negative + 1, dtype=np.float32) / np.float32(n_negative))[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        epsilon = np.fmax(
            np.log(1 - DELTA - false_positive) - np.log(false_negative),
            np.log(1 - DELTA - false_negative) - np.log(false_positive),
        )
    epsilon = np.where(np.isnan(epsilon), -np.inf, np.maximum(epsilon, 0))
    epsilon[0, :] = epsilon[:, 0] = -np.inf
    epsilon[0, 0] = np.inf
    bound = epsilon[::-1, ::-1]
    bound = np.maximum.accumulate(np.maximum.accumulate(bound, axis=0), axis=1)[::-1, ::-1]
    return epsilon.ravel(), bound.ravel()


def _best_on_grids(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the largest epsilon on the released code's grids, or -inf; both arrays are [models], sorted."""
    cuts = _cuts(positive, negative)
    best = _best_double_threshold(*_narrow_and_wide(positive, negative), cuts)
    return _best_single_threshold(positive, negative, cuts, best)


def _narrow_and_wide(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the fleet of the smaller range first; at equal ranges the negatives, as in the released code."""
    positive_is_wide = positive[-1] - positive[0] >= negative[-1] - negative[0]
    return (negative, positive) if positive_is_wide else (positive, negative)


def _best_single_threshold(
    positive: np.ndarray, negative: np.ndarray, cuts: np.ndarray, best: float
) -> float:
    """Return the largest epsilon of `confidence >= t means positive`, or `best` if that is larger.

    All thresholds between two neighbouring confidences are one attack. So the grid is consulted only for the
    attacks that would win, and only about whether it has a point between the two; its length does not matter.
    """
    epsilon, _ = _epsilon_tables(len(positive), len(negative))
    missed, accepted = positive.searchsorted(cuts), len(negative) - negative.searchsorted(cuts)
    found = epsilon[missed * (len(negative) + 1) + accepted]
    # The outermost cuts belong to attacks that are always discarded.
    winning = 1 + np.flatnonzero(found[1:-1] > best)
    if not winning.size:
        return best
    low, high = cuts[0], cuts[-2]
    reached = _grid_points_up_to(cuts[winning], low, high)
    reached_below = _grid_points_up_to(cuts[winning - 1], low, high)
    return found[winning[reached > reached_below]].max(initial=best)


def _grid_points_up_to(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return, for each value in [low, high], how many points of the single-threshold grid are at most it.

    The grid is `torch.linspace(low, high, n)`, whose points are float32 although the confidences are float64:
    a step in float32, then one fused multiply-add from the nearer end. A product of two float32 is exact in
    float64, so that rounding the sum once gives the same bits.
    """
    n_points = math.ceil((high - low) * THRESHOLDS_PER_UNIT)
    first, last = np.float64(np.float32(low)), np.float64(np.float32(high))
    if n_points < 2 or first == last:
        return n_points * (first <= values)
    step = np.float64(np.float32(last - first) / np.float32(n_points - 1))
    nearest = np.round((values - first) / step).astype(np.int64)
    # Rounding moves a point by fewer steps than this; bisection starts from there.
    slack = math.ceil((max(abs(low), abs(high)) + last - first) * 2.0**-23 / step) + 1

    def bisect(point, start, stop):
        low = np.minimum(np.maximum(nearest - slack, start), stop)
        high = np.minimum(np.maximum(nearest + slack, start), stop)
        while (low < high).any():
            middle = (low + high) // 2
            is_reached = (low < high) & (point(middle) <= values)
            low, high = np.where(is_reached, middle + 1, low), np.where(is_reached, high, middle)
        return low - start

    def from_first(index):
        return (first + step * index.astype(np.float32)).astype(np.float32)

    def from_last(index):
        return (last - step * (n_points - 1 - index).astype(np.float32)).astype(np.float32)

    half = n_points // 2
    return bisect(from_first, 0, half) + bisect(from_last, half, n_points)


def _best_double_threshold(narrow: np.ndarray, wide: np.ndarray, cuts: np.ndarray) -> float:
    """Return the largest epsilon of `l <= confidence <= r means narrow`, or -inf.

    Branch and bound over the right thresholds: few of them can beat what is known, and only those are paired
    with their 400 left thresholds. The bound ignores the left grid: between two neighbouring confidences
    nothing changes, and moving l inwards past wide confidences or outwards past narrow ones only helps, so
    l matters at the corners where a wide confidence is followed by a narrow one, and at its extremes.
    """
    width = narrow[-1] - narrow[0]
    first, last = narrow[0] + width - BUFFER, narrow[-1] + BUFFER
    right = np.linspace(first, last, math.ceil((last - first) * THRESHOLDS_PER_UNIT))
    left_first, left_last = right - width - BUFFER, right - width + BUFFER

    narrow_below, wide_below = narrow.searchsorted(cuts), wide.searchsorted(cuts)
    right_cut = cuts.searchsorted(right, side="right")
    # A left threshold beyond the right one selects nothing, like one at the right cut.
    lowest = np.minimum(cuts.searchsorted(left_first), right_cut)
    highest = np.minimum(cuts.searchsorted(left_last), right_cut)
    passes_wide, passes_narrow = wide_below[1:] > wide_below[:-1], narrow_below[1:] > narrow_below[:-1]
    corners = 1 + np.flatnonzero(passes_wide[:-1] & passes_narrow[1:])
    corners = corners[(corners > lowest[0]) & (corners < highest[-1])]
    epsilon, bound = _epsilon_tables(len(narrow), len(wide))

    def outcome(left_cut, row, last_row):
        """Return the table's entry; over several rows, the fewest errors of either kind."""
        missed = len(narrow) - narrow_below[right_cut[last_row]] + narrow_below[left_cut]
        accepted = np.maximum(wide_below[right_cut[row]] - wide_below[left_cut], 0)
        return missed * (len(wide) + 1) + accepted

    def bounds(rows, last_rows):
        rows, last_rows = rows[:, None], last_rows[:, None]
        low, high = lowest[rows], highest[last_rows]
        left_cut = np.concatenate([low, np.minimum(np.maximum(corners, low), high), high], axis=1)
        return bound[outcome(left_cut, rows, last_rows)].max(axis=1)

    block_starts = np.arange(0, len(right), ROWS_PER_BLOCK)
    block_bounds = bounds(block_starts, np.minimum(block_starts + ROWS_PER_BLOCK, len(right)) - 1)
    order = np.argsort(-block_bounds)
    best = -np.inf
    n_blocks = 1
    while order.size and block_bounds[order[0]] > best:
        rows = (block_starts[order[:n_blocks], None] + np.arange(ROWS_PER_BLOCK)).ravel()
        rows = rows[rows < len(right)]
        rows = rows[bounds(rows, rows) > best]
        left = np.linspace(left_first[rows], left_last[rows], LEFT_THRESHOLDS, axis=1)
        rows = rows[:, None]
        left_cut = np.minimum(cuts.searchsorted(left), right_cut[rows])
        best = max(best, epsilon[outcome(left_cut, rows, rows)].max(initial=-np.inf))
        order = order[n_blocks:]
        n_blocks *= 2
    return best


def _cuts(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the distinct confidences, sorted, and infinity: cut i separates what is below the i-th of them.

    Thresholds that fall between the same cuts are one attack.
    """
    return np.append(np.unique(np.concatenate([positive, negative])), np.inf)


def _best_of_all_intervals(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the largest epsilon over all thresholds, or -inf; both arrays are [models], sorted."""
    cuts = _cuts(positive, negative)
    epsilon, _ = _epsilon_tables(len(positive), len(negative))
    missed, accepted = positive.searchsorted(cuts), len(negative) - negative.searchsorted(cuts)
    best = epsilon[missed * (len(negative) + 1) + accepted].max()

    narrow, wide = _narrow_and_wide(positive, negative)
    narrow_below, wide_below = narrow.searchsorted(cuts), wide.searchsorted(cuts)
    epsilon, _ = _epsilon_tables(len(narrow), len(wide))
    for right in range(1, len(cuts)):
        missed = len(narrow) - narrow_below[right] + narrow_below[:right]
        accepted = wide_below[right] - wide_below[:right]
        best = max(best, epsilon[missed * (len(wide) + 1) + accepted].max())
    return best
