"""Accuracy gaps to retrained models, and the tug of war (ToW) that joins them.

ToW = (1 - |dFA|) (1 - |dRA|) (1 - |dTA|), with the differences of the mean accuracies on forget, retain and
test from those of retrained models; 1 is ideal.

Source: Zhao et al., arXiv 2406.01257.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from random_mask.metrics.intervals import Interval, interval_of_difference

__all__ = ["SPLITS", "intervals"]

SPLITS = ("retain", "forget", "test")


def intervals(
    unlearned: Mapping[str, np.ndarray], retrained: Mapping[str, np.ndarray]
) -> dict[str, Interval]:
    """Return "gap_<split>", unlearned less retrained, and "tow", with 95 % intervals.

    The interval of ToW is that of its linearisation in the six mean accuracies, whose covariance over models
    is kept; it is clipped to [0, 1], and rough where a gap is not larger than its own error.

    Args:
        unlearned: [models] accuracies in [0, 1] by split.
        retrained: likewise.
    """
    found = {f"gap_{split}": interval_of_difference(unlearned[split], retrained[split]) for split in SPLITS}
    gaps = {split: found[f"gap_{split}"].estimate for split in SPLITS}
    tow = math.prod(1 - abs(gap) for gap in gaps.values())
    slopes = {
        split: -math.copysign(math.prod(1 - abs(other) for name, other in gaps.items() if name != split), gap)
        for split, gap in gaps.items()
    }
    linear = [
        np.sum([slopes[split] * fleet[split] for split in SPLITS], axis=0) for fleet in (unlearned, retrained)
    ]
    spread = interval_of_difference(*linear)
    margin = spread.high - spread.estimate
    return found | {"tow": Interval(tow, max(0.0, tow - margin), min(1.0, tow + margin))}
