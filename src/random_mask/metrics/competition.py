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
from functools import lru_cache
from typing import Any, Literal

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
VALUES_PER_BLOCK = 2**16  # confidences and rows searched at a time; changes speed and memory only
FIRST_GUESS = 1.5  # an epsilon to start a search from; changes the speed only
ATTEMPTS = 3  # at the most promising row, before all that are left are searched; changes the speed only
ROUNDING = 1e-5  # more than float32 changes an epsilon by, beside what DELTA makes up for
MAX_MAGNITUDE = 1e12  # larger confidences are refused: float64 would blur the grids' step of 0.01


def logit_scaled_confidence(
    logits: ArrayLike, labels: ArrayLike, *, precision: Literal["float64", "float32"] = "float64"
) -> np.ndarray:
    """Return log(p_y + 1e-45) - log(sum of the other classes' p + 1e-45), the statistic of the metric.

    Args:
        logits: [..., examples, classes], at least 2 classes. Leading axes (such as models) are kept.
        labels: [examples], integers in [0, classes).
        precision: That of the exponentials. "float32" is the released code's arithmetic for a network's
            float32 logits; it differs where they are saturated (see `docs/metric.md`). The rest is float64.

    Returns:
        [..., examples], float64, in about [-103.3, 103.3]; larger means surer of the label.

    Raises:
        ValueError: On a wrong shape, a logit that is NaN, infinite or beyond the precision, or a label out of
            range; the message names the argument and the index.
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

    if precision == "float32":
        with np.errstate(over="ignore"):
            logits = logits.astype(np.float32)
        checked_finite(logits, "logits in float32")
    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True)).astype(np.float64, copy=False)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    examples = np.arange(len(labels))
    correct = probabilities[..., examples, labels]
    # Summed without the label, not 1 - p_y: the difference would lose everything near p_y = 1.
    probabilities[..., examples, labels] = 0.0
    others = probabilities.sum(axis=-1)
    return np.log(correct + TINY_PROBABILITY) - np.log(others + TINY_PROBABILITY)


def epsilons(unlearned: ArrayLike, retrained: ArrayLike, *, bucketed: bool = False) -> np.ndarray:
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
        bucketed: Return, for each epsilon, the start of its bucket of `points`, which is found sooner.

    Returns:
        [examples], float64 in [0, 50]; the values are float32 numbers, as in the released code.

    Raises:
        ValueError: On fewer than 2 models, no example, shapes that do not match, or a confidence that is
            NaN, infinite or beyond 1e12; the message names the argument and the index.
    """
    return _epsilons(unlearned, retrained, bucketed=bucketed)


def epsilons_all_intervals(unlearned: ArrayLike, retrained: ArrayLike) -> np.ndarray:
    """Return the epsilon of every example over ALL thresholds: a variant, not the competition's metric.

    The attacks are of the same two kinds, but thresholds may lie between any two neighbouring confidences,
    not only on the released code's grids. So no value is below that of `epsilons`, unless there every attack
    was discarded, and nothing depends on the confidences' scale. Everything else is as in `epsilons`.
    """
    return _epsilons(unlearned, retrained, on_grids=False)


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
    return float(points(epsilons(judged, retrained, bucketed=True), len(judged)).mean())


def checked_finite(values: ArrayLike, name: str) -> np.ndarray:
    """Return `values` as float64, or raise a ValueError that names the first one that is NaN or infinite."""
    try:
        array = np.asarray(_as_numpy(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers ({error})") from None
    if not np.isfinite(array).all():
        wrong = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name}{wrong.tolist()} is {array[tuple(wrong)]}; every value must be finite")
    return array


def checked_confidences(values: ArrayLike, name: str) -> np.ndarray:
    """Return a fleet's confidences [models, examples] as float64, or raise a ValueError that says why not."""
    array = checked_finite(values, name)
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise ValueError(f"{name} must be [models >= 2, examples >= 1], not {array.shape}")
    if np.abs(array).max() > MAX_MAGNITUDE:
        wrong = np.argwhere(np.abs(array) > MAX_MAGNITUDE)[0]
        raise ValueError(f"{name}{wrong.tolist()} is {array[tuple(wrong)]}, beyond {MAX_MAGNITUDE:g}")
    return array


def _as_numpy(values: Any) -> np.ndarray:
    """Return an array that may share memory with `values`, which may be a torch tensor of any kind."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # unknown to NumPy
            values = values.float()
    return np.asarray(values)


def _epsilons(
    unlearned: ArrayLike, retrained: ArrayLike, *, on_grids: bool = True, bucketed: bool = False
) -> np.ndarray:
    """Return the epsilons [examples], found by blocks of examples that bound the memory."""
    unlearned = checked_confidences(unlearned, "unlearned")
    retrained = checked_confidences(retrained, "retrained")
    if unlearned.shape[1] != retrained.shape[1]:
        raise ValueError(
            f"unlearned {unlearned.shape} and retrained {retrained.shape} must have the same examples"
        )
    result = np.empty(unlearned.shape[1])
    n_rows = math.ceil(2 * BUFFER * THRESHOLDS_PER_UNIT)
    block = max(1, VALUES_PER_BLOCK // (len(unlearned) + len(retrained) + n_rows))
    for start in range(0, len(result), block):
        part = slice(start, start + block)
        # Copied, because rows that are contiguous are sorted several times as fast.
        of_unlearned, of_retrained = (np.sort(fleet[:, part].T.copy()) for fleet in (unlearned, retrained))
        result[part] = _epsilons_of_sorted(of_unlearned, of_retrained, on_grids, bucketed)
    return result


def _epsilons_of_sorted(
    unlearned: np.ndarray, retrained: np.ndarray, on_grids: bool, bucketed: bool
) -> np.ndarray:
    """Return the epsilons [examples] of sorted fleets [examples, models]: the special cases, and the cap."""
    ranges = [fleet[:, -1] - fleet[:, 0] for fleet in (unlearned, retrained)]
    small, large = np.minimum(*ranges), np.maximum(*ranges)
    result = np.where((large == 0) & (unlearned[:, 0] == retrained[:, 0]), 0.0, EPSILON_CAP)
    ratio = np.divide(small, large, out=np.zeros_like(small), where=large > 0)
    attacked = np.flatnonzero(ratio >= MIN_RANGE_RATIO)
    if attacked.size:
        best = _Search(unlearned[attacked], retrained[attacked], on_grids, bucketed).best
        result[attacked] = np.where(best < 0, EPSILON_CAP, np.minimum(best, EPSILON_CAP))
    return result


@lru_cache(maxsize=4)
def _epsilon_table(n_unlearned: int, n_retrained: int, bucketed: bool) -> np.ndarray:
    """Return the epsilon of every outcome of an attack, flat, float32; -inf where it is discarded.

    Entry `u * (n_retrained + 1) + r` is that of the attacks which err on u unlearned and on r retrained
    models: nothing else matters, not even which fleet is positive. So logarithms are taken once.
    """
    u = (np.arange(n_unlearned + 1, dtype=np.float32) / np.float32(n_unlearned))[:, None]
    r = (np.arange(n_retrained + 1, dtype=np.float32) / np.float32(n_retrained))[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        epsilon = np.fmax(np.log(1 - DELTA - r) - np.log(u), np.log(1 - DELTA - u) - np.log(r))
    epsilon = np.where(np.isnan(epsilon), -np.inf, np.maximum(epsilon, 0))
    epsilon[0, :] = epsilon[:, 0] = -np.inf
    epsilon[0, 0] = np.inf
    if bucketed:
        epsilon = np.floor(epsilon / BUCKET_WIDTH) * BUCKET_WIDTH
    return epsilon.astype(np.float32).ravel()


class _Search:
    """The search for the best attack on each of several examples.

    The confidences of both fleets are sorted together. Cut k has the first k of them below it; thresholds
    that fall in one cut are one attack. Where confidences tie, no threshold falls in the cuts between them:
    bounds may consider such cuts, results never do.

    A row is a right threshold of `l <= confidence <= r means narrow`, where narrow is the fleet of the
    smaller range. Such an attack's epsilon is at least e only if TPR >= exp(e) FPR or TNR >= exp(e) FNR,
    which is linear in the shares of the fleets below r and below l: a running minimum over l tells for all
    rows at once which of them may hold such an attack. Only those are searched, and the grids are consulted
    only about attacks that would win.

    Attributes:
        best: [examples], the epsilons; -inf where every attack is discarded.
    """

    def __init__(self, unlearned: np.ndarray, retrained: np.ndarray, on_grids: bool, bucketed: bool) -> None:
        """Search; the fleets are [examples, models], sorted."""
        n_u, n_r = unlearned.shape[1], retrained.shape[1]
        self.best = np.full(len(unlearned), -np.inf)
        self.on_grids = on_grids
        self.table = _epsilon_table(n_u, n_r, bucketed)
        pooled = np.concatenate([unlearned, retrained], axis=1)
        order = np.argsort(pooled, axis=1, kind="stable")  # merges two sorted runs
        self.values = _at(pooled, order)
        below_u = np.zeros((len(pooled), n_u + n_r + 1), np.intp)
        np.cumsum(order < n_u, axis=1, out=below_u[:, 1:])
        below_r = np.arange(n_u + n_r + 1) - below_u

        r_is_positive = (_medians(retrained) > _medians(unlearned))[:, None]
        ends_u, ends_r = unlearned[:, [0, -1]], retrained[:, [0, -1]]
        range_u, range_r = np.diff(ends_u), np.diff(ends_r)
        # At equal ranges the negatives are narrow, as in the released code.
        u_is_narrow = np.where(r_is_positive, range_u <= range_r, range_u < range_r)
        self._set_rows(*np.where(u_is_narrow, ends_u, ends_r).T[..., None])
        self._count(
            np.where(u_is_narrow, below_u / n_u, below_r / n_r),
            np.where(u_is_narrow, below_r / n_r, below_u / n_u),
            np.where(u_is_narrow, below_u * (n_r + 1) - below_r, below_r - below_u * (n_r + 1)),
            np.where(u_is_narrow, n_u * (n_r + 1), n_r),
        )
        self._search_rows(BUCKET_WIDTH if bucketed else 0.0)
        # Of single thresholds the errors are positives below and negatives above.
        errors_u = np.where(r_is_positive, n_u - below_u, below_u)
        errors_r = np.where(r_is_positive, below_r, n_r - below_r)
        self._search_single(errors_u * (n_r + 1) + errors_r)

    def _set_rows(self, low: np.ndarray, high: np.ndarray) -> None:
        """Set each row's cut, and the highest cut of its left thresholds.

        Args:
            low: [examples, 1], the narrow fleet's smallest confidence.
            high: [examples, 1], its largest one.
        """
        if not self.on_grids:  # every cut is a row, with all cuts up to it
            cuts = np.arange(self.values.shape[1] + 1)
            # Between ties no threshold falls: such a row selects nothing.
            self.right_cut = np.where(np.diff(self.values, prepend=-np.inf, append=np.inf) > 0, cuts, 0)
            self.highest = self.right_cut
            return
        width = high - low
        first, last = low + width - BUFFER, high + BUFFER
        n_rows = np.ceil((last - first) * THRESHOLDS_PER_UNIT)
        right = _linspace(first, last, n_rows, np.arange(n_rows.max()))
        # Written as in the definition, because the last bit matters.
        self.left_first, self.left_last = right - width - BUFFER, right - width + BUFFER
        thresholds = np.concatenate([right, self.left_last], axis=1)
        found = [v.searchsorted(t, side="right") for v, t in zip(self.values, thresholds, strict=True)]
        self.right_cut, highest = np.split(np.array(found), 2, axis=1)
        self.highest = np.minimum(highest, self.right_cut)

    def _count(
        self, narrow: np.ndarray, wide: np.ndarray, place: np.ndarray, place_of_all: np.ndarray
    ) -> None:
        """Set what rows and left cuts contribute to an attack's rates and to its place in the table.

        Args:
            narrow: [examples, cuts], the share of the narrow fleet below a cut.
            wide: likewise of the wide fleet.
            place: likewise, how far the models below a cut move an outcome's place in the table.
            place_of_all: [examples, 1], the place where all narrow models are errors, and no others.
        """
        columns = slice(self.highest.max() + 1)  # no left threshold is beyond
        self.row_narrow, self.row_wide = _at(narrow, self.right_cut), _at(wide, self.right_cut)
        self.row_place = place_of_all - _at(place, self.right_cut)
        self.narrow, self.wide, self.place = narrow[:, columns], wide[:, columns], place[:, columns]
        # The highest cut of a left threshold with which the row accepts a wide model, -1 if there is none.
        is_wide = np.diff(wide) > 0
        last_wide = np.full(wide.shape, -1)
        np.maximum.accumulate(
            np.where(is_wide, np.arange(is_wide.shape[1]), -1), axis=1, out=last_wide[:, 1:]
        )
        self.highest_accepting = np.minimum(self.highest, _at(last_wide, self.right_cut))
        self.wide_before = np.where(narrow == 0, wide, 0).max(axis=1, keepdims=True)

    def _promise(self, example: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
        """Return [examples, rows], negative where no attack of the row can have this epsilon [examples]."""
        odds = (1 - ROUNDING) * np.exp(epsilon)[:, None]
        narrow, wide, before = self.narrow[example], self.wide[example], self.wide_before[example]
        row_narrow, row_wide = self.row_narrow[example], self.row_wide[example]
        # TPR - odds FPR, over the left cuts with which FPR > 0: others are discarded.
        highest = self.highest_accepting[example]
        lowest = _at(np.minimum.accumulate(narrow - odds * wide, axis=1), highest)
        by_narrow = np.where(highest < 0, -np.inf, row_narrow - odds * row_wide - lowest)
        # TNR - odds FNR, over those with which FNR > 0: not both r above and l below all narrow models.
        takes_all = row_narrow == 1
        left = np.where(narrow == 0, np.inf, odds * narrow - wide)
        lowest = _at(np.minimum.accumulate(left, axis=1), self.highest[example])
        lowest = np.where(takes_all, lowest, np.minimum(lowest, -before))
        by_wide = 1 - odds + odds * row_narrow - row_wide - lowest
        separates = takes_all & (row_wide == before)
        return np.where(separates, np.inf, np.maximum(by_narrow, by_wide))

    def _search_rows(self, step: float) -> None:
        """Raise `best` to that of double thresholds; epsilons are multiples of `step`, or any if it is 0."""
        example = np.arange(len(self.best))
        is_open = np.ones(self.right_cut.shape, bool)
        row = self._promise(example, np.full(len(example), FIRST_GUESS)).argmax(axis=1)
        self._search_row(example, row, at_least=FIRST_GUESS / 2)
        for _ in range(ATTEMPTS):
            example = example[self.best[example] < np.inf]
            promise = np.where(is_open[example], self._promise(example, self.best[example] + step), -1.0)
            hopeful = (promise >= 0).any(axis=1)
            example, promise = example[hopeful], promise[hopeful]
            if not example.size:
                return
            row = promise.argmax(axis=1)
            self._search_row(example, row)
            is_open[example] = promise >= 0
            is_open[example, row] = False
        i, row = np.nonzero(is_open[example])
        at_a_time = max(1, VALUES_PER_BLOCK // self.place.shape[1])
        for start in range(0, len(row), at_a_time):
            part = slice(start, start + at_a_time)
            self._search_row(example[i[part]], row[part])

    def _search_row(self, example: np.ndarray, row: np.ndarray, at_least: float = -np.inf) -> None:
        """Raise `best` to that of some rows' attacks, if above `at_least`.

        Args:
            example: [rows], in order.
            row: [rows], in order within an example.
            at_least: what an attack must surpass to be looked at.
        """
        # Neighbouring rows in one cut differ in their grids only; the last of them reaches highest.
        cut = self.right_cut[example, row]
        is_last = np.append((np.diff(example) != 0) | (np.diff(cut) != 0), True)
        i, last = example[is_last], row[is_last]
        place = self.row_place[i, last][:, None] + self.place[i]
        epsilon = self.table.take(place, mode="clip")  # beyond the highest left cut there is no place
        wins = epsilon > np.maximum(self.best[i], at_least)[:, None]
        wins &= np.arange(place.shape[1]) <= self.highest[i, last][:, None]
        group = np.cumsum(is_last) - is_last
        kept = np.flatnonzero(wins.any(axis=1)[group])
        i, cut = np.nonzero(wins[group[kept]])
        i = kept[i]
        epsilon, example, row = epsilon[group[i], cut], example[i], row[i]
        low, high = np.where(cut > 0, self.values[example, cut - 1], -np.inf), self.values[example, cut]
        if self.on_grids:
            first, last = self.left_first[example, row], self.left_last[example, row]
            nearest = np.floor((high - first) / ((last - first) / (LEFT_THRESHOLDS - 1)))
            nearest = nearest.clip(1, LEFT_THRESHOLDS - 2)
            points = [_linspace(first, last, LEFT_THRESHOLDS, nearest + shift) for shift in (-1, 0, 1)]
            is_reached = np.any([(low < point) & (point <= high) for point in points], axis=0)
        else:
            is_reached = low < high
        np.maximum.at(self.best, example[is_reached], epsilon[is_reached])

    def _search_single(self, place: np.ndarray) -> None:
        """Raise `best` to that of `confidence >= t means positive`; place: [examples, cuts], in the table."""
        epsilon = self.table.take(place)
        # The outermost cuts are never among these: their attacks are discarded.
        example, cut = np.nonzero(epsilon > self.best[:, None])
        epsilon = epsilon[example, cut]
        low, high = self.values[example, cut - 1], self.values[example, cut]
        if self.on_grids:
            ends = self.values[example, 0], self.values[example, -1]
            is_reached = _grid_points_up_to(high, *ends) > _grid_points_up_to(low, *ends)
        else:
            is_reached = low < high
        np.maximum.at(self.best, example[is_reached], epsilon[is_reached])


def _at(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return table[i, index[i, j]] at [i, j]: np.take_along_axis, several times as fast; -1 is undefined."""
    start = np.arange(len(table))[:, None] * table.shape[1]
    return table.ravel().take(index + start, mode="clip")


def _medians(fleet: np.ndarray) -> np.ndarray:
    """Return [examples]: the medians of a sorted fleet [examples, models]."""
    n_models = fleet.shape[1]
    return (fleet[:, (n_models - 1) // 2] + fleet[:, n_models // 2]) / 2


def _linspace(
    first: np.ndarray, last: np.ndarray, n_points: np.ndarray | int, index: np.ndarray
) -> np.ndarray:
    """Return point `index` of np.linspace(first, last, n_points), bit for bit; beyond the end, the last."""
    return np.where(index >= n_points - 1, last, index * ((last - first) / (n_points - 1)) + first)


def _grid_points_up_to(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how many points of the single-threshold grid from `low` to `high` are at most each value.

    The grid is `torch.linspace(low, high, n)`, whose points are float32 although the confidences are float64:
    a step in float32, then one fused multiply-add from the nearer end. A product of two float32 is exact in
    float64, so that rounding the sum once gives the same bits. Values lie in [low, high]; arguments have one
    shape.
    """
    n_points = np.ceil((high - low) * THRESHOLDS_PER_UNIT).astype(np.int64)
    first, last = (end.astype(np.float32).astype(np.float64) for end in (low, high))
    count = n_points * (first <= values)
    regular = (n_points > 1) & (first < last)
    values, n_points, first, last = values[regular], n_points[regular], first[regular], last[regular]
    step = ((last - first).astype(np.float32) / (n_points - 1).astype(np.float32)).astype(np.float64)
    nearest = np.round((values - first) / step).astype(np.int64)
    # Rounding moves a point by fewer steps than this; bisection starts from there.
    largest = np.maximum(np.abs(first), np.abs(last))
    slack = np.ceil((largest + last - first) * 2.0**-23 / step).astype(np.int64) + 1

    def bisect(point, start, stop):
        low, high = np.clip(nearest - slack, start, stop), np.clip(nearest + slack, start, stop)
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
    count[regular] = bisect(from_first, 0, half) + bisect(from_last, half, n_points)
    return count
