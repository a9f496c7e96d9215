"""The figures. Each function draws one from tables and arrays, and reads no file.

Throughout, `table` is `scores.csv` unless another file is named, `methods` are unlearning methods in the
order of the figure, `labels` are theirs, `fleets` are the arrays of each method's evaluation, and `studies`
are experiments, each of which gets a panel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from random_mask.artifacts.files import atomic_write
from random_mask.metrics.intervals import interval_of_mean
from random_mask.report.labels import Colour, Labels
from random_mask.report.measures import FEWEST_METHODS, MEASURES, correlations
from random_mask.report.originals import over_originals
from random_mask.report.study import Fleets, Positions, Study, fleets_of

__all__ = [
    "ablations",
    "agreement",
    "by_n",
    "confidences",
    "epsilons",
    "mask_ratio",
    "mask_ratios",
    "of_study",
    "save",
    "scores",
    "scores_by_data",
    "shift_spread",
    "shift_spreads",
    "training",
]

WIDTH = 6.5
"""Width of the text of the paper, in inches: figures are drawn at the size at which they are read."""

HEIGHT = 8.2
"""The largest height of a figure that leaves room for its caption."""

TEXT = (
    "font.size",
    "axes.labelsize",
    "axes.titlesize",
    "xtick.labelsize",
    "ytick.labelsize",
    "legend.fontsize",
)
sns.set_theme(
    style="ticks",
    rc={
        **dict.fromkeys(TEXT, 8),
        **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 3),
        **{"lines.linewidth": 1.2, "lines.markersize": 4, "errorbar.capsize": 2},
        **{"legend.frameon": False, "figure.constrained_layout.use": True},
        # Titles of methods are a person's own, and may hold any sign.
        **{"pdf.fonttype": 42, "svg.hashsalt": "random-mask", "text.parse_math": False},
    },
)

MARKERS = "osD^vP*X<>"
QUANTITIES = {"score": "score", "forgetting_quality": "forgetting quality"}
"""What the figures of all methods show, and what it is called there."""

BROWSER_DPI = 180
"""Of PNGs: as wide as a window of 1300 pixels leaves room for in the HTML report."""
UNDATED = {".pdf": {"CreationDate": None, "Creator": None, "Producer": None}, ".png": {"Software": None}}


def save(figure: Figure, *paths: Path) -> None:
    """Write a figure as PDF or PNG, by the suffix; the same figure gives the same bytes."""
    for path in paths:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, metadata=UNDATED[path.suffix], dpi=BROWSER_DPI)
    plt.close(figure)


def of_study(study: Study) -> dict[str, Callable[[], Figure]]:
    """Return what draws each figure of an experiment, by name."""
    experiment, table, labels = study.experiment, study.scores, study.labels
    drawn, base = experiment.drawn(), experiment.swept_method()
    fleets = fleets_of(study.examples, [*drawn, "original", "retrain"])
    colour = labels.colour(base) if base else None
    return {
        "scores": lambda: scores(table, experiment.shown(), labels),
        "shift_spread": lambda: shift_spread(study.positions, drawn, labels),
        "mask_ratio": lambda: mask_ratio(table, experiment.ratio_series(), colour),
        "ablations": lambda: ablations(study.comparisons, experiment.ablations(), labels),
        "confidences": lambda: confidences(fleets, drawn, labels),
        "epsilons": lambda: epsilons(fleets, drawn, labels),
        "by_n": lambda: by_n(study.scores_by_n, drawn, labels),
        "agreement": lambda: agreement(correlations(study.measures, table)),
        "training": lambda: training(fleets, drawn, labels),
    }


def scores(table: pd.DataFrame, methods: Sequence[str], labels: Labels) -> Figure:
    """Draw the score of each method with its interval, between the floor and the ceiling."""
    rows = ["original", *methods, "retrain"]
    height = 0.5 + min(0.28, (HEIGHT - 0.5) / len(rows)) * len(rows)
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True)
    for axes, (column, title) in zip(panels, QUANTITIES.items(), strict=True):
        _bounds(axes, table, column, vertical=True)
        for place, method in enumerate(rows):
            _points(axes, place, _of(method, table), column, "o", labels.colour(method))
        axes.set(xlabel=title, xlim=(-0.008, None))
    _name_rows(panels[0], [labels(method) for method in rows])
    sns.despine(figure)
    return figure


def scores_by_data(studies: Sequence[Study]) -> Figure:
    """Draw the score of each method with its interval, between the floor and the ceiling of each data set."""
    rows = [["original", *study.experiment.drawn(), "retrain"] for study in studies]
    height = 0.7 + 0.16 * max(map(len, rows))
    figure, panels = plt.subplots(1, len(studies), figsize=(WIDTH, height))
    for axes, study, names in zip(panels, studies, rows, strict=True):
        _bounds(axes, study.scores, "score", vertical=True)
        for place, method in enumerate(names):
            _points(axes, place, _of(method, study.scores), "score", "o", study.labels.colour(method))
        axes.set(xlabel="score", xlim=(-0.008, None), title=study.title)
        _name_rows(axes, [study.labels(method) for method in names])
    sns.despine(figure)
    return figure


def shift_spread(positions: Positions, methods: Sequence[str], labels: Labels) -> Figure:
    """Draw for each method how much its confidences spread, against how far their mean is off."""
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 3.0))
    _positions(axes, positions, ["original", *methods, "retrain"], labels)
    axes.set(ylabel=SPREAD)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return figure


def shift_spreads(studies: Sequence[Study]) -> Figure:
    """Draw the same for several experiments, the methods that all have in the same way."""
    figure, panels = plt.subplots(1, len(studies), figsize=(WIDTH, 2.5), sharey=True)
    handles: dict[str, Any] = {}
    for axes, study in zip(panels, studies, strict=True):
        names = ["original", *study.experiment.drawn(), "retrain"]
        _positions(axes, study.positions, names, study.labels)
        axes.set(title=study.title)
        found = zip(*axes.get_legend_handles_labels(), strict=True)
        handles |= {label: handle for handle, label in found if label not in handles}
    panels[0].set(ylabel=SPREAD)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3)
    return figure


SPREAD = "spread (retrained: 1)"
PANELS = 7
"""Panels that have room side by side."""


def _positions(axes: Axes, positions: Positions, methods: Sequence[str], labels: Labels) -> None:
    """Draw shift and spread of methods with their intervals; lines cross where retrained models are."""
    axes.axvline(0, color="0.6", lw=0.8, ls=":", zorder=0)
    axes.axhline(1, color="0.6", lw=0.8, ls=":", zorder=0)
    for method in methods:
        x, y = positions[method].shift, positions[method].spread
        axes.errorbar(
            *([x.estimate], [y.estimate]),
            xerr=[[x.estimate - x.low], [x.high - x.estimate]],
            yerr=[[y.estimate - y.low], [y.high - y.estimate]],
            **labels.style(method) | {"ls": "", "ms": 5, "elinewidth": 0.7},
        )
    axes.set(xlabel="shift (retrained: 0)", ylim=(-0.05, None))
    sns.despine(ax=axes)


def mask_ratios(studies: Sequence[Study]) -> Figure:
    """Draw the score, and shift and spread, against the mask ratio, a column for each experiment."""
    figure, grid = plt.subplots(2, len(studies), figsize=(WIDTH, 2.5), sharex="col", sharey="row")
    for (upper, lower), study in zip(grid.T, studies, strict=True):
        series = study.experiment.ratio_series()
        means = over_originals(study.scores).loc[list(series.values())].set_axis(list(series))
        masked = study.labels.colour(str(study.experiment.swept_method()))
        upper.errorbar(means.index, means["score"], yerr=_errors(means, "score"), marker="o", color=masked)
        _bounds(upper, study.scores, "score", vertical=False)
        upper.set(title=study.title, ylim=(-0.008, None))
        for place, (name, style) in enumerate({"shift": "s-", "spread": "^--"}.items()):
            found = [getattr(study.positions[method], name) for method in series.values()]
            ends = [[one.estimate - one.low for one in found], [one.high - one.estimate for one in found]]
            values = [one.estimate for one in found]
            lower.errorbar(
                list(series), values, yerr=ends, fmt=style, color=("0.1", "0.5")[place], label=name
            )
            lower.axhline(place, color="0.35", lw=0.8, ls=":", zorder=0)
        lower.set(xlabel="mask ratio")
    grid[0, 0].set_ylabel("score")
    grid[1, 0].set_ylabel("shift, spread")
    grid[1, 0].legend()
    sns.despine(figure)
    return figure


def mask_ratio(table: pd.DataFrame, ratios: Mapping[float, str], colour: Colour | None) -> Figure:
    """Draw forgetting quality and score, and the accuracies, against the mask ratio.

    Args:
        table: `scores.csv`.
        ratios: the method that stands for each ratio, ascending.
        colour: of the method whose ratio is varied.
    """
    if not ratios:
        return _note("no ratio_sweep in the configuration")
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 1.9))
    means = over_originals(table).loc[list(ratios.values())].set_axis(list(ratios))
    styles = {
        "forgetting_quality": ("forgetting quality", "s", "--", (0.35, 0.35, 0.35)),
        "score": ("score", "o", "-", colour),
    }
    for (column, (name, marker, line, paint)), shift in zip(styles.items(), (-0.004, 0.004), strict=True):
        style: dict[str, Any] = {"marker": marker, "ls": line, "color": paint, "label": name}
        left.errorbar(means.index + shift, means[column], yerr=_errors(means, column), **style)
    _bounds(left, table, "score", vertical=False)
    left.set(xlabel="mask ratio", ylabel="score,\nforgetting quality", ylim=(-0.008, None))
    for part, line, marker, place in (
        ("retain", "-", "o", 3),
        ("forget", "--", "s", 4),
        ("test", ":", "^", 9),
    ):
        style = {"marker": marker, "ls": line, "color": sns.color_palette("colorblind")[place], "label": part}
        right.plot(means.index, means[f"{part}_accuracy"], **style)
    right.set(xlabel="mask ratio", ylabel="accuracy", ylim=(None, 1.005))
    _legend_above(left, columns=2)
    _legend_above(right, columns=3)
    sns.despine(figure)
    return figure


def ablations(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], labels: Labels) -> Figure:
    """Draw the paired difference of each variant of a method to that method, with its interval.

    Args:
        table: `comparisons.csv`.
        pairs: each variant and the method that it is compared with, in the order of the rows.
        labels: of the methods.
    """
    if not pairs:
        return _note("no variant of another method in the configuration")
    table = table.rename(columns={"low": "difference_low", "high": "difference_high"})
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 0.7 + 0.125 * len(pairs)), sharey=True)
    markers = dict(zip(dict.fromkeys(plain for _, plain in pairs), cycle(MARKERS), strict=False))
    for axes, (quantity, name) in zip(panels, QUANTITIES.items(), strict=True):
        axes.axvline(0, color="0.35", lw=0.8, ls=":", zorder=1)
        for place, (variant, plain) in enumerate(pairs):
            of_pair = (table["a"] == variant) & (table["b"] == plain) & (table["quantity"] == quantity)
            _points(axes, place, table[of_pair], "difference", markers[plain], labels.colour(plain))
        axes.set(xlabel=f"difference of the {name}")
    _name_rows(panels[0], [labels(variant) for variant, _ in pairs])
    handles = [
        Line2D([], [], ls="", marker=marker, color=labels.colour(plain), label=f"against {labels(plain)}")
        for plain, marker in markers.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    sns.despine(figure)
    return figure


def confidences(fleets: Fleets, methods: Sequence[str], labels: Labels) -> Figure:
    """Draw the confidences of six forget examples under the models of each fleet.

    The examples are those at six evenly spaced ranks of the oracle's median confidence: no hand-picked ones.
    """
    rows = ["oracle", *methods]
    oracle = fleets["retrain"]["oracle_confidences"]
    ranked = np.argsort(np.median(oracle, axis=0), kind="stable")
    chosen = ranked[np.linspace(0, len(ranked) - 1, 6).round().astype(int)]
    figure, grid = plt.subplots(2, 3, figsize=(WIDTH, 0.9 + 0.34 * len(rows)), sharey=True)
    most = max(len(fleet["confidences"]) for fleet in fleets.values())
    spread = np.random.default_rng(0).uniform(-0.22, 0.22, size=most)
    for axes, example in zip(grid.flat, chosen, strict=True):
        for place, method in enumerate(rows):
            values = (oracle if method == "oracle" else fleets[method]["confidences"])[:, example]
            paint = labels.colour(method)
            alpha = 0.8 if len(values) <= 32 else 0.3
            axes.plot(values, place + spread[: len(values)], "o", ms=2.5, mew=0, alpha=alpha, color=paint)
            axes.plot([np.median(values)] * 2, [place - 0.34, place + 0.34], lw=1.6, color=paint)
        axes.axvline(0, color="0.8", lw=0.6, zorder=0)
        image, label = (fleets["retrain"][name][example] for name in ("image", "label"))
        axes.set_title(f"image {image}, class {label}")
    for axes in grid[:, 0]:
        axes.set_yticks(range(len(rows)), [labels(method) for method in rows])
    grid[0, 0].invert_yaxis()
    figure.supxlabel("logit-scaled confidence", fontsize=8)
    sns.despine(figure)
    return figure


def epsilons(fleets: Fleets, methods: Sequence[str], labels: Labels) -> Figure:
    """Draw how the epsilons of the forget examples fall into the buckets of the metric."""
    rows = [*methods, "retrain"]
    models = len(fleets["retrain"]["confidences"])
    # The buckets of the metric, and one bin for all that lies beyond and earns nothing.
    beyond = float(np.ceil(np.log(models - 1)))
    edges = np.arange(0, beyond + 1.0, 0.5)
    lines = -(-len(rows) // PANELS)
    figure, grid = plt.subplots(
        lines, -(-len(rows) // lines), figsize=(WIDTH, 0.3 + 1.4 * lines), sharey=True, squeeze=False
    )
    for axes in grid.flat[len(rows) :]:
        axes.set_axis_off()
    for axes, method in zip(grid.flat, rows, strict=False):
        values = np.minimum(fleets[method]["epsilons"], beyond + 0.25)
        counts, _ = np.histogram(values, edges)
        paint = labels.colour(method)
        axes.bar(edges[:-1], counts / len(values), width=0.5, align="edge", color=paint, ec="white", lw=0.5)
        axes.axvline(beyond, color="0.4", lw=0.8, ls=":")
        axes.set(xlabel="ε", xticks=np.arange(0, beyond + 0.1))
        axes.set_title(labels(method).replace(" (", "\n(").replace(", ", ",\n"))
    figure.supylabel("share of forget examples", size=plt.rcParams["axes.labelsize"])
    sns.despine(figure)
    return figure


def training(fleets: Fleets, methods: Sequence[str], labels: Labels) -> Figure:
    """Draw loss and accuracy on the training images by epoch: mean of the models and its 95 % interval."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
    for axes, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        for method in ["retrain", *methods]:
            found = [interval_of_mean(values) for values in fleets[method][f"history_{quantity}"].T]
            mean, half = [one.estimate for one in found], [one.high - one.estimate for one in found]
            style = labels.style(method) | {"ms": 3, "capsize": 1.5}
            axes.errorbar(np.arange(1, len(found) + 1), mean, yerr=half, **style)
        axes.set(xlabel="epoch", ylabel=f"training {quantity}")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_yscale("log")
    for formatted in (panels[0].yaxis.set_major_formatter, panels[0].yaxis.set_minor_formatter):
        formatted(_Decimals(minor_thresholds=(1, 0.3)))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    sns.despine(figure)
    return figure


class _Decimals(LogFormatter):
    """Labels of a logarithmic axis as 0.1, where Matplotlib has 1e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick, empty where Matplotlib has none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, columnspacing=1.2)


def by_n(table: pd.DataFrame, methods: Sequence[str], labels: Labels) -> Figure:
    """Draw the score of each method against the number of models of its fleet: `scores_by_n.csv`."""
    if table.empty:
        return _note("needs fleets of at least 8 models")
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 2.4))
    axes.set(xlabel="models per fleet, N", ylabel="score")
    sns.despine(figure)
    rows = [*methods, "retrain"]
    for place, method in enumerate(rows):
        part = table[table["method"] == method]
        # A little apart, so that the intervals do not cover each other.
        places = np.log2(part["models"]) + 0.06 * (place - (len(rows) - 1) / 2)
        style = labels.style(method) | {"ms": 3.5}
        axes.errorbar(places, part["score"], yerr=_errors(part, "score"), **style)
    sizes = sorted(table["models"].unique())
    axes.set_xticks(np.log2(sizes), [str(n) for n in sizes])
    axes.set(ylim=(-0.008, None))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def agreement(correlations: pd.DataFrame) -> Figure:
    """Draw how far the measures rank the methods alike, by their `correlations`."""
    known = correlations.dropna(how="all").dropna(how="all", axis=1)
    if len(known) < 2:
        return _note(f"needs at least {FEWEST_METHODS} methods that differ")
    names = ["Score" if name == "score" else MEASURES[name].name for name in known.columns]
    figure, axes = plt.subplots(figsize=(0.9 * WIDTH, 0.8 + 0.24 * len(names)))
    sns.heatmap(
        known,
        # The upper half says the same, the diagonal nothing.
        mask=np.triu(np.ones(known.shape, dtype=bool)),
        vmin=-1,
        vmax=1,
        cmap=sns.diverging_palette(30, 250, s=80, l=55, as_cmap=True),
        annot=known.map(lambda value: f"{value:z.2f}".replace("-", "\N{MINUS SIGN}")),
        fmt="",
        annot_kws={"size": 8},
        linewidths=0.5,
        xticklabels=names,
        yticklabels=names,
        cbar_kws={"label": "Spearman's rank correlation", "ticks": [-1, -0.5, 0, 0.5, 1]},
        ax=axes,
    )
    axes.set(xlim=(0, len(names) - 1), ylim=(len(names), 1), xlabel="", ylabel="")
    axes.tick_params(length=0)
    axes.tick_params(axis="x", rotation=40)
    plt.setp(axes.get_xticklabels(), ha="right", rotation_mode="anchor")
    return figure


def _note(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 1.2))
    axes.text(0.5, 0.5, text, ha="center", va="center")
    axes.set(xticks=[], yticks=[])
    sns.despine(figure, left=True, bottom=True)
    return figure


def _of(method: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a method of `scores.csv`; the retrained fleet is the same for every original."""
    rows = table[table["method"] == method]
    return rows.head(1) if method == "retrain" else rows


def _points(axes: Axes, place: int, table: pd.DataFrame, column: str, marker: str, colour: Colour) -> None:
    """Draw a quantity with its intervals in a row, the originals one below the other."""
    rows = table.sort_values("original")
    offsets = np.linspace(-0.2, 0.2, len(rows)) if len(rows) > 1 else np.zeros(1)
    axes.errorbar(rows[column], place + offsets, xerr=_errors(rows, column), fmt=marker, color=colour)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.3, -0.7)


def _errors(rows: pd.DataFrame, column: str) -> list[pd.Series]:
    """Return how far below and above its estimates the intervals of a quantity reach."""
    return [rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]]


def _bounds(axes: Axes, table: pd.DataFrame, column: str, *, vertical: bool) -> None:
    """Draw the ceiling, retrain against retrain with its interval, and the floor, which is 0."""
    ceiling: Any = over_originals(table).loc["retrain"]
    line, span = (axes.axvline, axes.axvspan) if vertical else (axes.axhline, axes.axhspan)
    span(ceiling[f"{column}_low"], ceiling[f"{column}_high"], color="0.92", lw=0, zorder=0)
    line(ceiling[column], color="0.35", lw=0.8, ls="--", zorder=1)
    line(0, color="0.35", lw=0.8, ls=":", zorder=1)
