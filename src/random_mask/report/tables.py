"""The tables of the paper, as LaTeX tabulars.

Throughout, `studies` are the experiments that a table shows, and `page` is how many rows fit on a page, for a
table that may break over pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from random_mask.experiment.config import Method
from random_mask.methods.random_mask import RandomMask
from random_mask.metrics.intervals import Interval
from random_mask.report.agreement import compare_scores
from random_mask.report.claims import Claim
from random_mask.report.labels import Labels
from random_mask.report.measures import MEASURES, of_methods
from random_mask.report.numbers import KINDS, UNKNOWN, escape, plain
from random_mask.report.originals import NOT_TESTABLE, SUPPORTED, over_originals, rows_of
from random_mask.report.study import Study, data_title
from random_mask.training.recipe import Recipe

__all__ = [
    "claims",
    "corrections",
    "environment",
    "experiments",
    "masks",
    "measures",
    "recipes",
    "reproduction",
    "scores",
    "simulation",
    "tabular",
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
        # The head ends with a rule, and so does the table: no part begins or ends with one.
        cuts = [cut[not cut[0] : len(cut) - (not cut[-1])] for cut in cuts]
        parts = [tabular(columns, head, cut, above=above) for cut in cuts]
        return "".join(f"\\tablepart{{%\n{part}}}\n" for part in parts)
    # The end of a row, or a rule, would take a bracket or a star after it for its own.
    texts = ["{}" * row[0].startswith(("[", "*")) + " & ".join(row) if row else "" for row in rows]
    body = [rf"{text} \\" if text else r"\midrule" for text in texts]
    top = [r"\toprule"] + ([above] if above else [])
    lines = [rf"\begin{{tabular}}{{{columns}}}", *top, " & ".join(head) + r" \\", r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def scores(studies: Sequence[Study], *, everything: bool = False, page: int | None = None) -> str:
    """Return the scores: a block for each experiment, a row for each method, over its originals.

    The methods are those that are compared in detail, or `everything`. An asterisk marks those that fewer
    original models were tried on than others.
    """
    blocks = []
    for study in studies:
        methods = study.experiment.shown() if everything else study.experiment.drawn()
        blocks.append((_block_title(study, everything), _score_rows(study, methods)))
    above = r" & \multicolumn{2}{c}{Score} & {Share} & {Shift} & {$|$Shift$|$} & {Spread} & "
    above += r"\multicolumn{3}{c}{Accuracy (\%)} & {Cost} \\"
    rules = r"\cmidrule(lr){2-3}\cmidrule(lr){8-10}"
    head = ["Method", "", "", r"{(\%)}", "", "", "", "{retain}", "{forget}", "{test}", r"{(\%)}"]
    columns = "@{}l" + r"S[table-format=1.3]@{\;}c" + "S[table-format=3.0]" + "S[table-format=-2.2]"
    columns += (
        "S[table-format=2.2]" + "S[table-format=1.2]" + 3 * "S[table-format=3.1]" + "S[table-format=3.0]@{}"
    )
    return tabular(columns, head, _blocks(blocks, 11), above=above + "\n" + rules, page=page)


def _score_rows(study: Study, methods: Sequence[str]) -> list[list[str]]:
    means: Any = over_originals(study.scores)
    originals = study.scores.groupby("method")["original"].nunique()
    rows: list[list[str]] = []
    for method in ["original", *methods, "retrain"]:
        row, at = means.loc[method], study.positions[method]
        rows.append(
            [
                escape(study.labels(method)) + r"\,*" * int(originals[method] < originals.max()),
                *(f"{row.score:.3f}", f"[{row.score_low:.3f}, {row.score_high:.3f}]"),
                "{--}" if isnan(row.share_of_ceiling) else f"{100 * row.share_of_ceiling:.0f}",
                *(f"{one.estimate:z.2f}" for one in (at.shift, at.absolute_shift, at.spread)),
                *(f"{100 * row[f'{split}_accuracy']:.1f}" for split in ("retain", "forget", "test")),
                f"{100 * row.cost_share:.0f}",
            ]
        )
    return rows


def _block_title(study: Study, everything: bool) -> str:
    """Return what names a block: where `everything` is shown, two experiments on the same data may be."""
    return f"{study.title} ({study.name})" if everything else study.title


def corrections(studies: Sequence[Study]) -> str:
    """Return the forgetting quality as it is, and as it would be if a part of the confidences were right."""
    blocks = [
        (
            study.title,
            [
                [escape(study.labels(method)), *(f"{quality:.3f}" for quality in found.values())]
                for method, found in study.corrected_quality.items()
            ],
        )
        for study in studies
    ]
    head = ["Method", "{as it is}", "{shift}", "{means}", "{spreads}"]
    above = r" & & \multicolumn{3}{c}{if retrained models had the same} \\" + "\n" + r"\cmidrule(l){3-5}"
    return tabular("@{}l" + 4 * "S[table-format=1.3]" + "@{}", head, _blocks(blocks, 5), above=above)


def _blocks(blocks: Sequence[tuple[str, list[list[str]]]], columns: int) -> list[list[str]]:
    """Return the rows of several experiments below each other, each with a line that names it."""
    rows: list[list[str]] = []
    for title, block in blocks:
        rows += [[]] if rows else []
        rows += [[rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\itshape {escape(title)}}}"], *block]
    return rows


def masks(counts: Mapping[str, pd.DataFrame], labels: Labels) -> str:
    """Return the share of the weights of each kind that methods mask: of `masks.csv`, its rows by method."""
    rows: list[list[str]] = []
    for kind, pattern in {**KINDS, "All": ""}.items():
        parts = [table[table["tensor"].str.contains(pattern)] for table in counts.values()]
        if any(part.empty for part in parts):  # another network
            continue
        shares = [f"{100 * part['masked'].sum() / part['weights'].sum():.1f}" for part in parts]
        rows.append([kind, plain(int(parts[0]["weights"].sum())), *shares])
    above = rf" & & \multicolumn{{{len(counts)}}}{{c}}{{Masked (\%)}} \\" + "\n"
    above += rf"\cmidrule(l){{3-{2 + len(counts)}}}"
    head = ["Tensors", "Weights", *(f"{{{escape(labels(method))}}}" for method in counts)]
    columns = "@{}lr" + "S[table-format=2.1]" * len(counts) + "@{}"
    return tabular(columns, head, [*rows[:-1], [], rows[-1]], above=above)


def measures(
    studies: Sequence[Study], *, main: bool = True, everything: bool = False, page: int | None = None
) -> str:
    """Return measures of `measures.csv`, the main or else the other ones: a block for each experiment.

    Those that all experiments have are shown, of the methods that are compared in detail or of `everything`.
    """
    there = set.intersection(*(set(study.measures["measure"]) for study in studies))
    shown = {name: of for name, of in MEASURES.items() if of.in_table == main and name in there}
    blocks = []
    for study in studies:
        found = of_methods(study.measures)
        methods = study.experiment.shown() if everything else study.experiment.drawn()
        rows = [
            [escape(study.labels(name)), *(_bracketed(found[name, key]) for key in shown)]
            for name in ["original", *methods, "retrain"]
        ]
        blocks.append((_block_title(study, everything), rows))
    above = " & ".join(["Method", *(measure.head for measure in shown.values())]) + r" \\"
    ideal = ["", *(measure.ideal for measure in shown.values())]
    columns = "@{}l" + "l" * len(shown) + "@{}"
    return tabular(columns, ideal, _blocks(blocks, 1 + len(shown)), above=above, page=page)


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


def experiments(studies: Sequence[Study], run: Sequence[str]) -> str:
    """Return what was run: images, models, methods and core hours of each experiment; `run` are made here."""
    rows = []
    for study in studies:
        experiment, counts = study.experiment, study.run["model"]
        rows.append(
            [
                escape(study.name),
                escape(data_title(experiment)),
                plain(experiment.data.train),
                plain(counts["forget"]),
                str(experiment.models),
                str(experiment.originals),
                str(len(experiment.all_methods())),
                plain(int(study.costs["models"].sum())),
                f"{study.costs['seconds'].sum() / 3600:.1f}",
                "here" if study.name in run else "authors",
            ]
        )
    head = ["Experiment", "Data", "{Images}", "{Forget}", "{$N$}", "{Originals}", "{Methods}", "{Models}"]
    return tabular("@{}ll" + "r" * 7 + "l@{}", [*head, "{Core hours}", "Run"], rows)


ENVIRONMENT = {
    "processor": "Processor",
    "cores": "Cores",
    "memory": "GiB",
    "device": "Trained on",
    "precision": "Precision",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "snakemake": "Snakemake",
}


def environment(studies: Sequence[Study]) -> str:
    """Return what the experiments were computed on and with, by the keys of `ENVIRONMENT`."""
    rows = [
        [escape(study.name), *(escape(study.run["environment"].get(key, "--")) for key in ENVIRONMENT)]
        for study in studies
    ]
    columns = r"@{}l>{\raggedright\arraybackslash}p{0.3\linewidth}" + "l" * (len(ENVIRONMENT) - 1) + "@{}"
    return tabular(columns, ["Experiment", *ENVIRONMENT.values()], rows)


def recipes(studies: Sequence[Study]) -> str:
    """Return how networks are trained and the recipes of methods that have a single one, a row for each.

    Tuned methods are left out, whose values stand elsewhere, and variants that have these of their method.
    """
    blocks = []
    for study in studies:
        experiment = study.experiment
        rows = [["Original, retrained", *_recipe("--", experiment.training)]]
        methods = experiment.all_methods()
        cells = {name: found for name, method in methods.items() if (found := _recipe_of(method))}
        for name in experiment.drawn():
            method = methods[name]
            same = method.variant_of is not None and cells.get(name) == cells.get(method.variant_of)
            if name in cells and method.tuned_from is None and not same:
                rows.append([escape(study.labels(name)), *cells[name]])
        blocks.append((study.title, rows))
    above = r"& Mask & & & & \multicolumn{2}{c}{Learning rate} & Weight \\" + "\n" + r"\cmidrule(lr){6-7}"
    head = ["", "ratio", "Epochs", "Batch", "Optimiser", "first", "last", "decay"]
    return tabular("@{}lccclccc@{}", head, _blocks(blocks, len(head)), above=above)


def _recipe_of(method: Method) -> list[str] | None:
    """Return mask ratio and recipe of a method that has a single one."""
    found = [recipe for step in method.steps() for recipe in step.finetune]
    if len(found) != 1:
        return None
    return _recipe(f"{method.perturb.ratio:g}" if isinstance(method.perturb, RandomMask) else "--", found[0])


def _recipe(ratio: str, recipe: Recipe) -> list[str]:
    """Return the cells of a row of `recipes`."""
    momentum = f", momentum {recipe.momentum:g}" if recipe.optimizer == "sgd" else ""
    rates = (recipe.learning_rate, recipe.final_learning_rate, recipe.weight_decay)
    sizes = [plain(recipe.epochs), plain(recipe.batch), plain(recipe.optimizer) + momentum]
    return [ratio, *sizes, *map(plain, rates)]


def tuning(choices: Sequence[Mapping[str, Any]], studies: Sequence[Study]) -> str:
    """Return the values that searches chose, of each `chosen.yaml` that experiments take methods from."""
    blocks = []
    for content in choices:
        titles = {
            name: study.labels.untuned(name)
            for study in studies
            if study.experiment.tuned
            and Path(study.experiment.tuned.file).parent.name == content["experiment"]
            for name in study.experiment.tuned_methods()
        }
        rows = [
            [
                escape(titles[name]),
                escape(", ".join(f"{key} {_value(value)}" for key, value in choice["values"].items())),
                f"{choice['score']:.3f}",
                f"{100 * choice['cost']:.0f}",
            ]
            for name, choice in content["choices"].items()
            if name in titles
        ]
        blocks.append((content["experiment"], rows))
    head = ["Method", "Chosen values", "{Score of the trial}", r"{Cost (\%)}"]
    columns = r"@{}l>{\raggedright\arraybackslash}p{0.6\linewidth}S[table-format=1.3]S[table-format=3.0]@{}"
    return tabular(columns, head, _blocks(blocks, 4), page=PAGE // 2)


def _value(value: Any) -> str:
    """Return a value of a configuration on one line, a section without its braces."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def claims(claims: Sequence[Claim], judged: Mapping[str, pd.DataFrame]) -> str:
    """Return the claims with the verdict of each experiment that they name, and the interval it follows from.

    Args:
        claims: of `paper/claims.yaml`.
        judged: rows of `report.claims.judge`, by experiment.
    """
    known = {(name, row.id): row for name, rows in judged.items() for row in rows_of(rows)}
    rows = [
        [
            escape(claim.claim[0].upper() + claim.claim[1:]) + (r"\,*" if claim.exploratory else ""),
            *(_verdict(known.get((name, claim.id))) for name in judged),
        ]
        for claim in claims
    ]
    columns = (
        r"@{}>{\hangindent=0.8em\raggedright\arraybackslash}p{0.38\linewidth}" + "l" * len(judged) + "@{}"
    )
    return tabular(columns, ["Claim", *map(escape, judged)], rows, page=PAGE // 3 + 1)


def _verdict(row: Any) -> str:
    """Return what an experiment says of a claim: yes, no, or that the opposite is so, with the estimate."""
    if row is None:
        return ""
    if row.verdict == NOT_TESTABLE:
        return "--"
    word = "yes" if row.verdict == SUPPORTED else "opp." if row.opposite else "no"
    return rf"{word} {{\scriptsize $[{row.low:z.3f}, {row.high:z.3f}]$}}"


def reproduction(pairs: Sequence[tuple[Study, pd.DataFrame, pd.DataFrame]]) -> str:
    """Return the scores of runs made here beside those of the authors.

    Args:
        pairs: of each experiment, and its scores here and those of the authors, as `agreement.parse_scores`
            returns them.
    """
    blocks = []
    for study, own, theirs in pairs:
        several = own.index.get_level_values("original").nunique() > 1
        rows = []
        for row in rows_of(compare_scores(own, theirs).reset_index()):
            name = escape(study.labels(row.method) + (f", model {row.original}" if several else ""))
            here = f"{row.a:.3f} & [{row.a_low:.3f}, {row.a_high:.3f}]"
            there = f"{row.b:.3f} & [{row.b_low:.3f}, {row.b_high:.3f}]"
            rows.append([name, here, there, "yes" if row.agrees else "no"])
        blocks.append((study.title, rows))
    head = ["Method", r"\multicolumn{2}{c}{Here}", r"\multicolumn{2}{c}{Authors}", "Agree"]
    columns = "@{}l" + 2 * r"S[table-format=1.3]@{\;}c" + "c@{}"
    none = [[r"\multicolumn{6}{@{}l}{No experiment of this paper was run here.}"]]
    return tabular(columns, head, _blocks(blocks, 6) or none)
