"""What an interval of a difference allows to say, in words."""

from __future__ import annotations

__all__ = ["verdict"]


def verdict(low: float, high: float) -> str:
    """Return what a 95 % interval of a difference allows to say."""
    if low > 0:
        return "scores higher than"
    return "scores lower than" if high < 0 else "cannot be told apart from"
