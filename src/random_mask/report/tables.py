"""The tables of the paper, as LaTeX tabulars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from random_mask.config import Experiment
from random_mask.report.names import label
from random_mask.report.numbers import escape, plain

__all__ = ["config", "cost", "masks", "scores"]


def tabular(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a tabular with booktabs rules; an empty row becomes a rule."""
    body = [" & ".join(row) + r" \\" if row else r"\midrule" for row in rows]
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def scores(table: pd.DataFrame, methods: Sequence[str]) -> str:
    """Return the main table: one row a method and original model, with the 95 % intervals.

    Args:
        table: `scores.csv`.
        methods: unlearning methods, in the order of the rows.
    """
    several = table["original"].nunique() > 1
    ceiling = table[table["method"] == "retrain"]["score"].mean()
    rows: list[list[str]] = []
    for method in ["original", *methods, "retrain"]:
        if method == "retrain":
            rows.append([])
        for row in table[table["method"] == method].itertuples():
            name = label(method) + (f", model {row.original}" if several else "")
            rows.append(
                [
                    escape(name),
                    str(row.n_models),
                    f"{row.score:.3f}",
                    f"[{row.score_low:.3f}, {row.score_high:.3f}]",
                    f"{100 * row.score / ceiling:.0f}" if ceiling else "--",
                    f"{row.forgetting_quality:.3f}",
                    *(
                        f"{100 * a:.1f}"
                        for a in (row.retain_accuracy, row.forget_accuracy, row.test_accuracy)
                    ),
                    f"{row.seconds_per_model:.1f}",
                ]
            )
    head = ["method", "$N$", "score", r"95\,\% interval", r"\% ceil.", "$F$", "RA", "FA", "TA", "s"]
    return tabular("@{}lrrcrrrrrr@{}", head, rows)


KINDS = {
    "convolutions": r"conv\d|downsample\.0",
    r"classifier (\texttt{fc})": r"^fc\.",
    r"batch norms named \texttt{bn}": r"bn\d",
    r"batch norms of the shortcuts": r"downsample\.1",
}


def masks(counts: Mapping[str, pd.DataFrame]) -> str:
    """Return the share of the weights of each kind that each random-mask method set to zero.

    Args:
        counts: the counts of masked weights by method.
    """
    first = next(iter(counts.values()))
    one = first[first["model"] == first["model"].min()]
    rows = []
    for kind, pattern in {**KINDS, "all": ""}.items():
        row = [kind]
        chosen = one[one["tensor"].str.contains(pattern)]
        row += [str(len(chosen)), f"{chosen['weights'].sum():,}".replace(",", r"\,")]
        for table in counts.values():
            part = table[table["tensor"].str.contains(pattern)]
            row.append(f"{100 * part['masked'].sum() / part['weights'].sum():.1f}")
        if kind == "all":
            rows.append([])
        rows.append(row)
    head = ["", "tensors", "weights", *(rf"{escape(label(m))} (\%)" for m in counts)]
    return tabular("@{}lrr" + "r" * len(counts) + "@{}", head, rows)


def cost(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return what training cost, by fleet.

    Args:
        seconds: for each fleet, the seconds that each of its models took on one core.
    """
    rows = [
        [escape(name), str(len(s)), f"{sum(s) / len(s):.1f}", f"{sum(s) / 60:.1f}"]
        for name, s in seconds.items()
    ]
    total = [spent for s in seconds.values() for spent in s]
    rows += [[], ["total", str(len(total)), "", f"{sum(total) / 60:.1f}"]]
    return tabular("@{}lrrr@{}", ["fleet", "models", "seconds a model", "core minutes"], rows)


def config(experiment: Experiment) -> str:
    """Return the recipes side by side."""
    recipes = {"training": experiment.training} | {
        label(name): method.finetune
        for name, method in experiment.methods.items()
        if name in ("finetune", "random_mask")
    }
    keys = {
        "objective": "objective",
        "optimizer": "optimiser",
        "epochs": "epochs",
        "batch": "batch size",
        "learning_rate": "learning rate, first step",
        "final_learning_rate": "learning rate, last step",
        "momentum": "momentum",
        "weight_decay": "weight decay",
    }
    rows = []
    for key, name in keys.items():
        values = [getattr(recipe, key) for recipe in recipes.values()]
        texts = [
            "--" if key == "momentum" and recipe.optimizer == "adam" else _cell(value)
            for value, recipe in zip(values, recipes.values(), strict=True)
        ]
        rows.append([name, *texts])
    return tabular("@{}l" + "l" * len(recipes) + "@{}", ["", *map(escape, recipes)], rows)


def _cell(value: object) -> str:
    names = {"adam": "Adam", "sgd": "SGD", "cross_entropy": "cross entropy"}
    return names.get(value) if isinstance(value, str) and value in names else plain(value)
