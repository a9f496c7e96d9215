r"""The numbers of the paper: a flat mapping of keys to text, which LaTeX reads as `\result{key}`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from random_mask.experiment.config import Experiment
from random_mask.metrics.competition import points
from random_mask.metrics.intervals import Interval
from random_mask.report.measures import MEASURES, correlations, nearness, of_methods, turned
from random_mask.report.originals import NOT_TESTABLE, differences, over_originals, rows_of
from random_mask.report.study import Study

__all__ = ["as_tex", "escape", "of_all", "of_claims", "of_study", "plain"]

_NAMES = {"adam": "Adam", "sgd": "SGD", "cross_entropy": "cross entropy"}

_SPECIAL = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def escape(text: str) -> str:
    """Return text in which LaTeX sees no commands."""
    return "".join(_SPECIAL.get(character, character) for character in text)


BATCH_NORMS = {"Batch norms of the trunk": r"bn\d", "Batch norms of the shortcuts": r"downsample\.1"}
KINDS = {"Convolutions": r"conv\d|downsample\.0", **BATCH_NORMS, "Linear layer": r"^fc\."}
"""Kinds of tensors of torchvision's ResNet, and a pattern of their names."""

UNKNOWN = r"\text{--}"
"""What is not known, in text or in a formula."""

ORIGINS = {
    "agreement": "measures.csv and scores.csv (rule scores)",
    "authors": "CITATION.cff",
    "budget": "the configuration",
    "claims": "claims.csv (rule paper_tables)",
    "compare": "comparisons.csv (rule scores)",
    "config": "the configuration",
    "corrected": "examples.npz (rule collect)",
    "cost": "run.json (rule collect)",
    "data": "the configuration and run.json (rule collect)",
    "masks": "masks.csv (rule collect)",
    "measures": "measures.csv (rule scores)",
    "methods": "the configuration",
    "metric": "the configuration: what the metric allows with so many models",
    "model": "run.json (rule collect)",
    "nearness": "measures.csv (rule scores)",
    "position": "examples.npz (rule collect)",
    "scores": "scores.csv (rule scores)",
    "simulation": "simulation.csv (rule simulate)",
    "tuning": "chosen.yaml (rule choose)",
}
"""The file, and the rule that makes it, from which the numbers of each kind are taken."""


def as_tex(numbers: Mapping[str, str]) -> str:
    r"""Return the definitions of all `\result` keys, each with the file that it was taken from.

    The keys of an experiment begin with its name, and go on with a kind of `ORIGINS`, as other keys begin.
    """
    lines = []
    for key, value in numbers.items():
        kinds = [part for part in key.split("/")[:2] if part in ORIGINS]
        lines.append(f"\\newresult{{{key}}}{{{value}}}% {ORIGINS[kinds[0]]}")
    return "\n".join(["% Made by the workflow; do not edit.", *lines]) + "\n"


def of_study(study: Study) -> dict[str, str]:
    """Return every number that the paper takes from an experiment, by key; keys begin with its name."""
    experiment = study.experiment
    # How the work is cut into jobs changes nothing that is printed, and trials have a file of their own.
    configured = experiment.model_dump(mode="json", exclude={"shards", "search", "tuned"})
    numbers = {f"config/{key}": text for key, text in _leaves(configured)}
    numbers |= _derived(experiment, study.run["model"])
    numbers |= _scores(study.scores)
    numbers["scores/highest"] = _highest(study)
    numbers |= _positions(study)
    for method, qualities in study.corrected_quality.items():
        numbers |= {f"corrected/{method}/{what}": f"{quality:.3f}" for what, quality in qualities.items()}
    numbers |= _comparisons(study.comparisons)
    numbers |= _measures(study.measures, study.scores, experiment.swept_method(), experiment.unmasked())
    for method, counts in study.mask_counts().items():
        numbers |= _masks(method, counts)
    numbers["cost/reference"] = escape(study.run["reference"])
    return {f"{study.name}/{key}": text for key, text in numbers.items()}


def of_all(
    simulation: pd.DataFrame, choices: Sequence[Mapping[str, Any]], citation: Mapping[str, Any]
) -> dict[str, str]:
    """Return what belongs to no single experiment: of the simulation, of searches and `CITATION.cff`."""
    names = [
        " ".join(filter(None, map(one.get, ("given-names", "family-names", "name"))))
        for one in citation["authors"]
    ]
    numbers = {"authors": escape(", ".join(names))} | _simulation(simulation)
    for content in choices:
        own = f"tuning/{content['experiment']}"
        numbers |= {f"{own}/{key}": plain(content[key]) for key in ("trials", "models")}
        numbers[f"{own}/budget"] = f"{100 * content['budget']:g}"
    return numbers


def of_claims(judged: pd.DataFrame, experiment: str, origin: str) -> dict[str, str]:
    r"""Return verdict and estimate of each claim that an experiment judges, for `\claimed` and `\found`.

    Args:
        judged: rows of `report.claims.judge`.
        experiment: its name.
        origin: `run`, or `reference`, for its numbers.
    """
    numbers: dict[str, str] = {}
    for row in rows_of(judged):
        key = f"claims/{row.id}@{experiment}"
        numbers |= {key: "opposite" if row.opposite else row.verdict, f"{key}/from": origin}
        numbers[f"{key}/found"] = UNKNOWN
        if row.verdict != NOT_TESTABLE:
            values = (f"{value:z.3f}" for value in (row.estimate, row.low, row.high))
            numbers[f"{key}/found"] = "${}$ $[{},\\,{}]$".format(*values)
    return numbers


def _leaves(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{prefix}{key}/")]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        # A single recipe needs no number.
        keys = [""] if len(value) == 1 else [f"{place}/" for place in range(len(value))]
        return [leaf for k, inner in zip(keys, value, strict=True) for leaf in _leaves(inner, f"{prefix}{k}")]
    if isinstance(value, list):
        return [(prefix.rstrip("/"), ", ".join(plain(item) for item in value))]
    key = prefix.rstrip("/")
    leaves = [(key, str(value) if key == "seed" else plain(value))]
    if key.endswith("/ratio") and isinstance(value, float):
        leaves.append((f"{key}_percent", f"{100 * value:g}"))
    return leaves


def plain(value: Any) -> str:
    """Return a value of the configuration as it stands in a text."""
    if isinstance(value, float) and value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:e}".split("e")
        return rf"\ensuremath{{{float(mantissa):g}\times 10^{{{int(exponent)}}}}}"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else escape(_NAMES.get(value, str(value)))


def _derived(experiment: Experiment, model: Mapping[str, int]) -> dict[str, str]:
    earned = [float(each) for each in points(0.5 * np.arange(64), experiment.models) if each > 0]
    shown = experiment.shown()
    several = {"methods/all": str(len(shown))} if len(shown) > len(experiment.drawn()) else {}
    repairs = [one.finetune[0] for one in experiment.methods.values() if one.masks() and one.finetune]
    if repairs:
        several["budget/share"] = f"{100 * repairs[0].epochs / experiment.training.epochs:.0f}"
    unused = 1 - model["cropped_weights"] / model["weights"]
    return several | {
        "data/forget": plain(model["forget"]),
        "data/classes": str(model["classes"]),
        "metric/buckets": str(len(earned)),
        "metric/lowest_points": rf"\ensuremath{{2^{{{round(math.log2(earned[-1]))}}}}}" if earned else "0",
        "model/weights": plain(model["weights"]),
        "model/cropped_weights": plain(model["cropped_weights"]),
        "model/unused_share": f"{100 * unused:.0f}",
    }


def _scores(scores: pd.DataFrame) -> dict[str, str]:
    means: Any = over_originals(scores).to_dict("index")
    numbers = {}
    for method, row in means.items():
        for column, value in row.items():
            if column.endswith("accuracy"):
                numbers[f"scores/{method}/{column}"] = f"{100 * value:.1f}"
            elif column == "seconds_per_model":
                numbers[f"scores/{method}/{column}"] = f"{value:.1f}"
            elif column in ("share_of_ceiling", "cost_share"):
                numbers[f"scores/{method}/{column}"] = "--" if math.isnan(value) else f"{100 * value:.0f}"
            elif column not in ("original", "n_models"):
                numbers[f"scores/{method}/{column}"] = f"{value:.3f}"
    return numbers


HIGHEST = 5
"""Methods that the text names as those of the highest scores."""


def _highest(study: Study) -> str:
    """Return the methods with the highest scores, each with its own, as a list in words.

    Over the original models that all of them were applied to.
    """
    table = study.scores[study.scores["method"].isin(study.experiment.shown())].pivot(
        index="original", columns="method", values="score"
    )
    found = table.dropna().mean().nlargest(HIGHEST)
    names = [f"{escape(study.labels(str(name)))} ({score:.3f})" for name, score in found.items()]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _positions(study: Study) -> dict[str, str]:
    """Return where each method lies, with intervals."""
    numbers = {}
    for method, found in study.positions.items():
        for name, one in found._asdict().items():
            for suffix, value in (("", one.estimate), ("_low", one.low), ("_high", one.high)):
                numbers[f"position/{method}/{name}{suffix}"] = f"{value:z.2f}"
    return numbers


def _comparisons(comparisons: pd.DataFrame) -> dict[str, str]:
    numbers: dict[str, str] = {}
    for (a, b), found in differences(comparisons).items():
        numbers |= _difference(f"compare/{a}/{b}", found)
    return numbers


def _difference(key: str, found: Interval) -> dict[str, str]:
    values = {"difference": found.estimate, "low": found.low, "high": found.high}
    return {f"{key}/{name}": f"{value:z.3f}" for name, value in values.items()}


def _measures(
    measures: pd.DataFrame, scores: pd.DataFrame, masked: str | None, unmasked: str | None
) -> dict[str, str]:
    numbers = {}
    for (method, measure), of_all in of_methods(measures).items():
        for suffix, value in (("", of_all.estimate), ("_low", of_all.low), ("_high", of_all.high)):
            text = UNKNOWN if math.isnan(value) else f"{value:z.3f}"
            numbers[f"measures/{method}/{measure}{suffix}"] = text
    measured = [name for name in MEASURES if name in set(measures["measure"])]
    for measure in measured:
        if not masked or not unmasked:
            break
        found = nearness(measures, masked, unmasked, measure)
        ends = ("difference", "low", "high")
        unknown = {f"nearness/{measure}/{end}": UNKNOWN for end in ends}
        numbers |= _difference(f"nearness/{measure}", found) if found else unknown
    ranks = correlations(measures, scores)
    if ranks.empty:
        return numbers
    agreement = ranks["score"][measured]
    numbers |= {
        f"agreement/{name}": UNKNOWN if math.isnan(value) else f"{value:z.2f}"
        for name, value in agreement.items()
    }
    return numbers | {"agreement/methods": str(len(turned(measures, scores)))}


def _simulation(simulation: pd.DataFrame) -> dict[str, str]:
    columns = zip(simulation["case"], simulation["models"], simulation["forgetting_quality"], strict=True)
    return {f"simulation/{case}/{n}": f"{quality:.3f}" for case, n, quality in columns} | {
        "simulation/examples": plain(int(simulation["examples"].iloc[0])),
        "simulation/largest_standard_error": f"{simulation['standard_error'].max():.3f}",
    }


def _masks(method: str, counts: pd.DataFrame) -> dict[str, str]:
    norms = counts[counts["tensor"].str.contains("|".join(BATCH_NORMS.values()))]
    share = UNKNOWN if norms.empty else f"{100 * norms['masked'].sum() / norms['weights'].sum():.1f}"
    return {
        f"masks/{method}/share": f"{100 * counts['masked'].sum() / counts['weights'].sum():.1f}",
        f"masks/{method}/batch_norm_tensors": str(norms.groupby("tensor")["masked"].sum().gt(0).sum()),
        f"masks/{method}/batch_norm_share": share,
    }
