"""What the methods of an experiment are called and how they look, the same everywhere in its paper."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import seaborn as sns

from random_mask.experiment.config import Experiment

__all__ = ["Colour", "Labels"]

Colour = tuple[float, float, float]

# Colour-blind safe, and of different lightness, so that they differ in grey as well.
_PALETTE = sns.color_palette("colorblind", 10)
_DARK = (0.15, 0.15, 0.15)
_GROUPS = {"mask": (0, 9, 3, 5), "control": (1, 2, 4, 8, 6), "entry": (4,), "literature": (5,), "own": (6, 8)}
"""Places in the palette of the methods of each group."""
_MARKERS = "s^DvP<>ph*"


class Labels:
    """Names and colours of the methods of an experiment, of its original and of its retrained fleets.

    A dagger marks a method that deviates in substance from its source. In figures that hold few methods those
    of a group differ in colour, as far as it has colours; all others have the first colour of their group.
    Methods that are compared in detail differ in their markers, too.

    Args:
        experiment: has titles and groups.
        first: methods that get their colours and markers before others, so that they look alike in several
            experiments.
    """

    def __init__(self, experiment: Experiment, first: Sequence[str] = ()) -> None:
        """Take titles and groups from the configuration."""
        methods = {**experiment.methods, **experiment.all_methods()}
        drawn = sorted(experiment.drawn(), key=lambda name: name not in first)
        self._plain = {"original": "Original", "retrain": "Retrained", "oracle": "Retrained"}
        self._plain |= {name: f"{of.title}{'†' if of.deviation else ''}" for name, of in methods.items()}
        self._tuned = set(experiment.tuned_methods())
        self._colours: dict[str, Colour] = {"original": _PALETTE[7], "retrain": _DARK, "oracle": _DARK}
        self._markers = {"original": "X", "retrain": "o", "oracle": "o"}
        self._markers |= dict(zip(drawn, cycle(_MARKERS), strict=False))
        used = dict.fromkeys(_GROUPS, 0)
        for name in [*drawn, *methods]:
            if name not in self._colours:
                places = _GROUPS[methods[name].group]
                place = used[methods[name].group] if name in drawn else 0
                self._colours[name] = _PALETTE[places[place % len(places)]]
                used[methods[name].group] += 1

    def __call__(self, method: str) -> str:
        """Return what a method is called in figures and tables."""
        return f"{self._plain[method]} (tuned)" if method in self._tuned else self._plain[method]

    def known(self, name: str) -> str:
        """Return what a method is called, and any other name as it is."""
        return self(name) if name in self._plain else name

    def untuned(self, method: str) -> str:
        """Return what a method is called where all are tuned."""
        return self._plain[method]

    def colour(self, method: str) -> Colour:
        """Return the colour of a method."""
        return self._colours[method]

    def style(self, method: str) -> dict[str, Any]:
        """Return colour, marker and name of a method that is compared in detail, as Matplotlib takes them."""
        return {
            "color": self.colour(method),
            "marker": self._markers[method],
            "label": self(method),
        }
