"""Writes what depends on the claims into documents: `make claims` calls it, and a test compares.

ARTIFACT.md gets the claims of `paper/claims.yaml`, README.md what the authors' runs said of them.
"""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pandas as pd

from random_mask.experiment.config import Experiment, load
from random_mask.report.claims import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, Claim, criterion, read_claims
from random_mask.report.labels import Labels
from random_mask.report.originals import over_originals

ROOT = Path(__file__).parents[2]
REFERENCES = [ROOT / "reference" / name for name in ("digits", "digits-128", "cifar10_jpeg")]
ALL_METHODS = ROOT / "reference" / "digits-all"


def by_experiment(claims: list[Claim], references: list[Path]) -> str:
    """Return the claims by experiment: command, minutes, what decides, and what the authors' runs say."""
    judged = {folder.name: tested(folder).set_index("id") for folder in references}
    parts = []
    for config, group in groupby(sorted(claims, key=lambda claim: claim.minutes), lambda claim: claim.config):
        of_it = list(group)
        command = "snakemake --cores 2" + ("" if "digits.yaml" in config else f" --configfile {config}")
        parts += [
            f"`{command}`, about {max(claim.minutes for claim in of_it)} minutes on two cores:",
            "",
            "| claim | it is supported if the whole 95 % interval of this is so | the authors' runs | name |",
            "|---|---|---|---|",
            *(
                f"| {of_claim(claim)} | {criterion(claim)} | {said(judged, claim)} | `{claim.id}` |"
                for claim in of_it
            ),
            "",
        ]
    return "\n".join(parts)


IN_SHORT = (
    "In short: by the score, random mask forgets more than plain fine-tuning does and less than retraining "
    "would, and it is not shown that the mask does it: it does not score higher than the same repair without "
    "a mask."
)


def is_so(reference: Path) -> bool:
    """Tell whether a run allows to say `IN_SHORT` of its scores."""
    verdicts = pd.read_csv(reference / "claims.csv").set_index("id")["verdict"]
    beats, below, helps = verdicts[["mask-beats-finetuning", "mask-below-ceiling", "mask-helps-the-repair"]]
    return beats == below == SUPPORTED and helps == NOT_SUPPORTED


def of_claim(claim: Claim) -> str:
    """Return a claim as it stands in a table."""
    return claim.claim + (" (exploratory)" if claim.exploratory else "")


def said(judged: dict[str, pd.DataFrame], claim: Claim) -> str:
    """Return what the authors' runs say of a claim: each verdict with the experiments that it is of."""
    verdicts = {name: verdict(of.loc[claim.id]) for name, of in judged.items() if claim.id in of.index}
    return "; ".join(
        f"{of} ({', '.join(name for name in verdicts if verdicts[name] == of)})"
        for of in dict.fromkeys(verdicts.values())
    )


def verdict(row: pd.Series) -> str:
    """Return the verdict of a run on a claim, and whether it is the opposite that is supported."""
    return "the opposite is supported" if row["opposite"] else row["verdict"]


def measured(claims: list[Claim], references: list[Path], all_methods: Path) -> str:
    """Return what runs said of the claims, those that need all methods apart."""
    of_all = [claim for claim in claims if Path(claim.config).stem == all_methods.name]
    others = [claim for claim in claims if claim not in of_all]
    titles = [title_of(load(folder / "config.yaml")) for folder in references]
    more, label = means(all_methods), Labels(load(all_methods / "config.yaml"))
    highest = more.drop(["original", "retrain"])["score"].nlargest(5).index
    return "\n".join(
        [
            *([IN_SHORT, ""] if all(map(is_so, references)) else []),
            "Scores; in parentheses, their share of the ceiling and their cost as a share of a retraining:",
            "",
            *map(scores_of, references),
            "",
            "Verdicts, each with the difference, share or ratio that decides and its 95 % interval:",
            "",
            *table(dict(zip(titles, map(tested, references), strict=True)), others),
            "",
            f"Of the {len(more) - 2} methods and variants of `config/digits-all.yaml`, on the same data and "
            f"seeds as the first, the five highest are "
            f"{'; '.join(shared(more, method, label(method)) for method in highest)}. "
            f"{shared(more, 'random_mask_author', 'Random mask with the values of its author')}.",
            "",
            *table({f"{titles[0]}, all methods": tested(all_methods)}, of_all),
            "",
        ]
    )


def title_of(experiment: Experiment) -> str:
    """Return what readers know the data of an experiment by."""
    title = {"digits": "scikit-learn's digits"}.get(experiment.data.name, experiment.data.name)
    return f"{experiment.data.title or title}, N = {experiment.models}"


def scores_of(folder: Path) -> str:
    """Return an item of a list: the scores of the methods that are studied."""
    experiment, scores = load(folder / "config.yaml"), means(folder)
    named = {
        "finetune": "fine-tuning",
        "random_mask": "random mask",
        "random_mask_ratio_0": "its repair without a mask",
        "random_mask_tuned": "tuned random mask",
        "unmasked_tuned": "a repair without a mask, tuned alike,",
    }
    shares = [shared(scores, method, name) for method, name in named.items() if method in scores.index]
    originals = f"{experiment.originals} original model" + ("s" if experiment.originals > 1 else "")
    data = experiment.data
    return (
        f"- {title_of(experiment)} ({data.train:,} training images, {data.forgotten} of them "
        f"to be forgotten; {originals}; ceiling "
        f"{scores.loc['retrain', 'score']:.3f}): {'; '.join(shares)}."
    )


def means(folder: Path) -> pd.DataFrame:
    """Return the scores of a run by method, means over its original models."""
    return over_originals(pd.read_csv(folder / "scores.csv"))


def tested(reference: Path) -> pd.DataFrame:
    """Return the claims that a run could test."""
    judged = pd.read_csv(reference / "claims.csv")
    return judged[judged["verdict"] != NOT_TESTABLE]


def table(judged: dict[str, pd.DataFrame], claims: list[Claim]) -> list[str]:
    """Return the lines of a table of verdicts, a column for each run."""
    found = {
        (title, row["id"]): f"{verdict(row)}, {row['estimate']:z.3f} [{row['low']:z.3f}, {row['high']:z.3f}]"
        for title, of in judged.items()
        for _, row in of.iterrows()
    }
    return [
        f"| claim | {' | '.join(judged)} |",
        "|---" * (1 + len(judged)) + "|",
        *(
            f"| {of_claim(claim)} | "
            f"{' | '.join(found.get((title, claim.id), 'not tested') for title in judged)} |"
            for claim in claims
        ),
    ]


def shared(scores: pd.DataFrame, method: str, name: str) -> str:
    """Return the score of a method, its share of the ceiling, and its cost as a share of a retraining."""
    found, ceiling = scores.loc[method], scores.loc["retrain"]
    score, cost = found["score"], found["seconds_per_model"] / ceiling["seconds_per_model"]
    return f"{name} {score:.3f} ({score / ceiling['score']:.0%}, cost {cost:.0%})"


def renewed(document: str, name: str, content: str) -> str:
    """Return a document with new content between the marks of a name."""
    begin, end = f"<!-- {name}: made by `make claims` -->", f"<!-- end of {name} -->"
    return re.sub(
        f"{re.escape(begin)}.*{re.escape(end)}",
        lambda _: f"{begin}\n\n{content}\n{end}",
        document,
        flags=re.S,
    )


def documents() -> dict[Path, str]:
    """Return the documents as they should be."""
    claims = read_claims(ROOT / "paper" / "claims.yaml")
    contents = {
        "ARTIFACT.md": ("claims", by_experiment(claims, [*REFERENCES, ALL_METHODS])),
        "README.md": ("results", measured(claims, REFERENCES, ALL_METHODS)),
    }
    return {
        ROOT / path: renewed((ROOT / path).read_text(encoding="utf-8"), name, content)
        for path, (name, content) in contents.items()
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
