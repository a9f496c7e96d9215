"""The tables of the paper, as LaTeX tabulars.

Throughout, `methods` are unlearning methods in the order of the rows, `labels` are theirs, and `page` is how
many rows fit on a page, for a table that may break over pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from random_mask.experiment.config import Experiment
from random_mask.methods.random_mask import RandomMask
from random_mask.metrics.intervals import Interval
from random_mask.report.agreement import compare_scores
from random_mask.report.claims import NOT_TESTABLE, SUPPORTED
from random_mask.report.labels import Labels
from random_mask.report.measures import MEASURES
from random_mask.report.numbers import KINDS, UNKNOWN, escape, plain
from random_mask.report.originals import over_originals, pooled_by, rows_of
from random_mask.training.recipe import Recipe

__all__ = [
    "claims",
    "config",
    "cost",
    "environment",
    "masks",
    "measures",
    "reference",
    "scores",
    "simulation",
    "tuning",
]


PAGE = 50
"""Rows of a line each that fit on a page with a caption."""


def tabular(
    columns: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    above: str | None = None,
    page: int | None = None,
) -> str:
    r"""Return a tabular with booktabs rules; an empty row becomes a rule.

    Args:
        columns: LaTeX's specification of the columns.
        head: the last line of the head.
        rows: cells.
        above: lines of the head before that one.
        page: rows that fit on a page; each so many become the argument of a `\tablepart`.
    """
    if page is not None:
        cuts = [rows[start : start + page] for start in range(0, len(rows), page)]
        # The head ends with a rule, so no part begins with one.
        parts = [tabular(columns, head, cut[not cut[0] :], above=above) for cut in cuts]
        return "".join(f"\\tablepart{{%\n{part}}}\n" for part in parts)
    body = [" & ".join(row) + r" \\" if row else r"\midrule" for row in rows]
    top = [r"\toprule"] + ([above] if above else [])
    lines = [rf"\begin{{tabular}}{{{columns}}}", *top, " & ".join(head) + r" \\", r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def scores(table: pd.DataFrame, methods: Sequence[str], labels: Labels, *, page: int | None = None) -> str:
    """Return the main table, of `scores.csv`: a row for each method, pooled over the original models."""
    means = over_originals(table)
    ceiling, retraining = means["score"]["retrain"], means["seconds_per_model"]["retrain"]
    rows: list[list[str]] = []
    for method in ["original", *methods, "retrain"]:
        row = means.loc[method]
        if method == "retrain":
            rows.append([])
        rows.append(
            [
                escape(labels(method)),
                *(f"{row.score:.3f}", f"[{row.score_low:.3f}, {row.score_high:.3f}]"),
                f"{row.forgetting_quality:.3f}",
                f"[{row.forgetting_quality_low:.3f}, {row.forgetting_quality_high:.3f}]",
                *(f"{100 * row[f'{part}_accuracy']:.1f}" for part in ("retain", "forget", "test")),
                f"{100 * row.score / ceiling:.0f}" if ceiling else "{--}",
                f"{100 * row.seconds_per_model / retraining:.0f}",
            ]
        )
    above = r" & \multicolumn{2}{c}{Score} & \multicolumn{2}{c}{Forgetting quality} & "
    above += r"\multicolumn{3}{c}{Accuracy (\%)} & {Share} & {Cost} \\"
    rules = r"\cmidrule(lr){2-3}\cmidrule(lr){4-5}\cmidrule(lr){6-8}"
    head = ["Method", "", "", "", "", "{retain}", "{forget}", "{test}", r"{(\%)}", r"{(\%)}"]
    columns = "@{}l" + 2 * r"S[table-format=1.3]@{\;}c" + 3 * "S[table-format=3.1]"
    columns += 2 * "S[table-format=3.0]" + "@{}"
    return tabular(columns, head, rows, above=above + "\n" + rules, page=page)


def masks(counts: Mapping[str, pd.DataFrame], labels: Labels) -> str:
    """Return the share of the weights of each kind that methods mask: of `masks.csv`, its rows by method."""
    if not counts:
        return tabular("@{}l@{}", ["Tensors"], [["no method of this table draws masks"]])
    rows: list[list[str]] = []
    for kind, pattern in {**KINDS, "All": ""}.items():
        parts = [table[table["tensor"].str.contains(pattern)] for table in counts.values()]
        shares = [f"{100 * part['masked'].sum() / part['weights'].sum():.1f}" for part in parts]
        rows.append([kind, plain(int(parts[0]["weights"].sum())), *shares])
    above = rf" & & \multicolumn{{{len(counts)}}}{{c}}{{Masked (\%)}} \\" + "\n"
    above += rf"\cmidrule(l){{3-{2 + len(counts)}}}"
    head = ["Tensors", "Weights", *(f"{{{escape(labels(method))}}}" for method in counts)]
    columns = "@{}lr" + "S[table-format=2.1]" * len(counts) + "@{}"
    return tabular(columns, head, [*rows[:-1], [], rows[-1]], above=above)


def measures(
    table: pd.DataFrame, methods: Sequence[str], labels: Labels, *, main: bool = True, page: int | None = None
) -> str:
    """Return measures of `measures.csv`, the main or else the other ones: a row for each method, pooled."""
    there = set(table["measure"])
    shown = {name: of for name, of in MEASURES.items() if of.in_table == main and name in there}
    found = pooled_by(table, ["method", "measure"], "value")
    names = ["original", *methods, "retrain"]
    rows = [[escape(labels(name)), *(_bracketed(found[name, key]) for key in shown)] for name in names]
    above = " & ".join(["Method", *(measure.head for measure in shown.values())]) + r" \\"
    ideal = ["", *(measure.ideal for measure in shown.values())]
    columns = "@{}l" + "l" * len(shown) + "@{}"
    return tabular(columns, ideal, [*rows[:-1], [], rows[-1]], above=above, page=page)


def _bracketed(interval: Interval) -> str:
    """Return an estimate with its interval in small brackets."""
    if isnan(interval.estimate):
        return "--"
    low, high = (UNKNOWN if isnan(end) else f"{end:z.2f}" for end in (interval.low, interval.high))
    return rf"${interval.estimate:z.2f}$ {{\scriptsize $[{low}, {high}]$}}"


def simulation(table: pd.DataFrame) -> str:
    """Return the forgetting quality of pairs of normal distributions by N, of `simulation.csv`."""
    sizes = sorted(table["models"].unique())
    rows = []
    for case, part in table.groupby("case", sort=False):
        values = part.set_index("models")["forgetting_quality"]
        rows.append([SIMULATED[str(case)], *(f"{values[n]:.3f}" for n in sizes)])
    head = ["Unlearned confidences", f"{{$N={sizes[0]}$}}", *(f"{{{n}}}" for n in sizes[1:])]
    return tabular(f"@{{}}l*{{{len(sizes)}}}{{S[table-format=1.3]}}@{{}}", head, rows)


SIMULATED = {
    "same": "same distribution",
    "same_sd_0.3": r"same distribution, both of sd 0.3",
    "shift_0.25": "mean shifted by 0.25",
    "shift_0.5": "mean shifted by 0.5",
    "shift_1": "mean shifted by 1",
    "sd_0.9": "same mean, sd 0.9",
    "sd_0.8": "same mean, sd 0.8",
    "sd_0.5": "same mean, sd 0.5",
}


def cost(costs: pd.DataFrame, labels: Labels) -> str:
    """Return what training cost, by fleet, of `costs.csv`."""
    names = {"oracle": "Retrained (oracle)", "retrain": "Retrained (independent)"}
    rows: list[list[str]] = []
    for fleet, models, seconds in zip(costs["fleet"], costs["models"], costs["seconds"], strict=True):
        name = escape(names.get(fleet) or labels(fleet))
        rows.append([name, str(models), f"{seconds / models:.1f}", f"{seconds / 60:.1f}"])
    rows += [[], ["All", str(costs["models"].sum()), "", f"{costs['seconds'].sum() / 60:.1f}"]]
    head = ["Fleet", "Models", "Seconds a model", "Core minutes"]
    return tabular("@{}lrrr@{}", head, rows, page=PAGE)


ENVIRONMENT = {
    "processor": "Processor",
    "cores": "Cores",
    "memory": "Memory (GiB)",
    "device": "Trained on",
    "precision": "Precision of training",
    "threads": "Threads a training job",
    "system": "System",
    "python": "Python",
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "numpy": "NumPy",
    "scipy": "SciPy",
    "scikit-learn": "scikit-learn",
    "pandas": "pandas",
    "matplotlib": "Matplotlib",
    "snakemake": "Snakemake",
}


def environment(found: Mapping[str, str]) -> str:
    """Return what the run was computed on and with, by the keys of `ENVIRONMENT`."""
    rows = [[name, escape(found[key])] for key, name in ENVIRONMENT.items()]
    return tabular("@{}ll@{}", ["Machine and software", ""], rows)


def config(experiment: Experiment, labels: Labels) -> str:
    """Return side by side how networks are trained and the recipes of the methods that have a single one.

    Variants and tuned methods are left out: what they change is said elsewhere.
    """
    columns = {"Original, retrained": ("--", experiment.training)}
    for name in experiment.drawn():
        method = experiment.all_methods()[name]
        recipes = [recipe for step in method.steps() for recipe in step.finetune]
        if len(recipes) == 1 and method.variant_of is None and method.tuned_from is None:
            ratio = f"{method.perturb.ratio:g}" if isinstance(method.perturb, RandomMask) else "--"
            columns[escape(labels(name))] = (ratio, recipes[0])
    lines: dict[str, Callable[[Recipe], str]] = {
        "Epochs": lambda recipe: plain(recipe.epochs),
        "Batch": lambda recipe: plain(recipe.batch),
        "Optimiser": lambda recipe: (
            plain(recipe.optimizer) + (f", momentum {recipe.momentum:g}" if recipe.optimizer == "sgd" else "")
        ),
        "Learning rate, first": lambda recipe: plain(recipe.learning_rate),
        "Learning rate, last": lambda recipe: plain(recipe.final_learning_rate),
        "Weight decay": lambda recipe: plain(recipe.weight_decay),
    }
    rows = [["Mask ratio", *(ratio for ratio, _ in columns.values())]]
    rows += [[name, *(text(recipe) for _, recipe in columns.values())] for name, text in lines.items()]
    return tabular("@{}l" + "c" * len(columns) + "@{}", ["", *columns], rows)


def tuning(choices: Sequence[Mapping[str, Any]], labels: Labels, methods: Sequence[str]) -> str:
    """Return the values that tuning chose: of the `chosen.yaml` that an experiment takes methods from."""
    rows = [
        [
            escape(labels.untuned(name)),
            escape(", ".join(f"{key} {_value(value)}" for key, value in choice["values"].items())),
            f"{choice['score']:.3f}",
            f"{100 * choice['cost']:.0f}",
        ]
        for content in choices
        for name, choice in content["choices"].items()
        if name in methods
    ]
    head = ["Method", "Chosen values", "{Score of the trial}", r"{Cost (\%)}"]
    columns = r"@{}l>{\raggedright\arraybackslash}p{0.6\linewidth}S[table-format=1.3]S[table-format=3.0]@{}"
    rows = rows or [["--", "no method of this experiment was tuned", "{--}", "{--}"]]
    return tabular(columns, head, rows, page=PAGE // 2)


def _value(value: Any) -> str:
    """Return a value of a configuration on one line, a section without its braces."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def claims(table: pd.DataFrame, references: Mapping[str, pd.DataFrame]) -> str:
    """Return the claims of `claims.csv`, with the verdicts here and in each experiment of the authors."""
    known = {name: {row.id: _short(row) for row in rows_of(one)} for name, one in references.items()}
    rows = []
    for row in rows_of(table):
        tested = row.verdict != NOT_TESTABLE
        found = [f"{value:z.3f}" for value in (row.estimate, row.low, row.high)] if tested else []
        estimate = f"${found[0]}$ & $[{found[1]},\\,{found[2]}]$" if tested else "-- & "
        verdicts = [_short(row), *(one.get(row.id, "--") for one in known.values())]
        claim = escape(row.claim[0].upper() + row.claim[1:]) + (r"\,*" if row.exploratory else "")
        rows.append([claim, estimate, *verdicts])
    head = ["Claim", r"\multicolumn{2}{c}{Estimate and interval}", "Here", *map(escape, known)]
    columns = r"@{}>{\raggedright\arraybackslash}p{0.57\linewidth}r@{\;}l" + "c" * (1 + len(known)) + "@{}"
    return tabular(columns, head, rows)


def _short(row: Any) -> str:
    """Return the verdict on a claim in a word."""
    if row.verdict == NOT_TESTABLE:
        return "--"
    return "yes" if row.verdict == SUPPORTED else "opp." if row.opposite else "no"


def reference(table: pd.DataFrame, theirs: Sequence[pd.DataFrame], labels: Labels) -> str:
    """Return the scores of a run beside those of the authors' runs, all of `agreement.parse_scores`."""
    several = table.index.get_level_values("original").nunique() > 1
    rows = []
    for one in theirs:
        for row in rows_of(compare_scores(table, one).reset_index()):
            name = escape(labels(row.method) + (f", model {row.original}" if several else ""))
            here = f"{row.a:.3f} & [{row.a_low:.3f}, {row.a_high:.3f}]"
            there = f"{row.b:.3f} & [{row.b_low:.3f}, {row.b_high:.3f}]"
            rows.append([name, here, there, "yes" if row.agrees else "no"])
    head = ["Method", r"\multicolumn{2}{c}{Here}", r"\multicolumn{2}{c}{Authors}", "Agree"]
    columns = "@{}l" + 2 * r"S[table-format=1.3]@{\;}c" + "c@{}"
    return tabular(columns, head, rows or [["--", "{--}", "", "{--}", "", "--"]])
