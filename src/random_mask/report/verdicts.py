"""What an interval of a difference allows to say, in words."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["agreed", "verdict"]

_UNDECIDED = "cannot be told apart from"


def verdict(low: float, high: float) -> str:
    """Return what a 95 % interval of a difference allows to say."""
    if low > 0:
        return "scores higher than"
    return "scores lower than" if high < 0 else _UNDECIDED


def agreed(verdicts: Iterable[str]) -> str:
    """Return the verdict of several original models: they must agree before anything is said."""
    different = set(verdicts)
    return different.pop() if len(different) == 1 else _UNDECIDED
