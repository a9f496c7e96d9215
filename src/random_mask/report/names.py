"""What methods are called and how they look, the same everywhere in the paper."""

from __future__ import annotations

import seaborn as sns

__all__ = ["colour", "label"]

_LABELS = {
    "original": "Original",
    "finetune": "Fine-tuning",
    "random_mask_ratio_0": "Same repair, no mask",
    "random_mask": "Random mask",
    "random_mask_described": "Random mask (described)",
    "retrain": "Retrained",
    "oracle": "Retrained",
}
# Colour-blind safe, and of different lightness, so that they differ in grey as well.
_PALETTE = sns.color_palette("colorblind", 10)
_COLOURS = {
    "original": _PALETTE[7],
    "finetune": _PALETTE[1],
    "random_mask_ratio_0": _PALETTE[2],
    "random_mask": _PALETTE[0],
    "random_mask_described": _PALETTE[9],
    "retrain": (0.15, 0.15, 0.15),
    "oracle": (0.15, 0.15, 0.15),
}


def label(method: str) -> str:
    """Return the name of a method in figures and tables."""
    return _LABELS.get(method, method.replace("_", " ").capitalize())


def colour(method: str, methods: list[str]) -> tuple[float, float, float]:
    """Return the colour of a method; one that has none of its own gets the next by its place in `methods`."""
    others = [name for name in methods if name not in _COLOURS]
    free = [c for c in _PALETTE if c not in _COLOURS.values()]
    return _COLOURS[method] if method in _COLOURS else free[others.index(method) % len(free)]
