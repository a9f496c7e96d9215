"""Writes what depends on the claims into documents: `make claims` calls it, and a test compares.

ARTIFACT.md gets the claims of `paper/claims.yaml` and what the authors' runs took, docs/results.md what they
say of the claims, and README.md what was found in short.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from random_mask.artifacts.files import read_npz
from random_mask.artifacts.provenance import problems
from random_mask.experiment.config import Experiment, load
from random_mask.report.claims import Claim, criterion, read_claims
from random_mask.report.labels import Labels
from random_mask.report.names import ALL, MAIN
from random_mask.report.originals import NOT_SUPPORTED, NOT_TESTABLE, OPPOSITE, SUPPORTED, over_originals
from random_mask.report.study import data_title, positions
from random_mask.workflow.experiments import Reported, read_reported
from random_mask.workflow.paths import Plan
from random_mask.workflow.work import Workload

ROOT = Path(__file__).parents[2]
FOUND = (
    (
        *("mask-beats-finetuning@cifar10_jpeg", SUPPORTED),
        "By the competition's score random mask forgets more than plain fine-tuning, and far less than "
        "retraining would.",
    ),
    (
        *("mask-helps-the-repair@cifar10_jpeg", OPPOSITE),
        "With values set by hand the mask itself does not help by the score: on CIFAR-10 the same repair "
        "without one scores higher.",
    ),
    (
        *("mask-helps-the-repair@digits-128", OPPOSITE),
        "So it does on the digits in fleets of 128 models; in those of 16 the two cannot be told apart.",
    ),
    (
        *("author-mask-helps@cifar10_jpeg", SUPPORTED),
        "With its author's values, half of the weights and a slower and longer repair, the mask does help on "
        "CIFAR-10: without it such a repair forgets next to nothing.",
    ),
    (
        *("mask-helps-the-tuned-repair@cifar10_jpeg", SUPPORTED),
        "So it does there with the values that a search chose; on the digits that is not shown.",
    ),
    (
        *("mask-brings-the-mean-home@cifar10_jpeg", SUPPORTED),
        "The score hides what the mask does. Set by hand, it moves the confidence on CIFAR-10's forgotten "
        "images to where retrained models have it, on average (shift), where the repair alone stops short.",
    ),
    (
        *("mask-spreads-less@cifar10_jpeg", SUPPORTED),
        "Single images stay off (\\|shift\\|), and its models resemble each other more than retrained ones "
        "do (spread), which the metric punishes as much.",
    ),
    (
        *("tuned-leads@cifar10_jpeg", NOT_SUPPORTED),
        "Tuned, it gains spread there and gives up some of the mean; it cannot be told apart from the "
        "best of the other tuned methods.",
    ),
    (
        *("original-is-off@digits", OPPOSITE),
        "On the digits the original model is hardly surer of the forgotten images than retrained ones are: "
        "there is little to forget, and what counts is to keep the mean and to have the right spread.",
    ),
)
"""What README.md says, each sentence with the claim and the verdict that it was written for."""
TABLE = (
    "original",
    "finetune",
    "random_mask",
    "random_mask_ratio_0",
    "random_mask_author",
    "unmasked_author",
    "random_mask_tuned",
    "tuned_repair",
    "unmasked_tuned",
    "scrub_tuned",
    "retrain",
)
"""The rows of its table, of those that an experiment has."""


def kept(name: str) -> Path:
    """Return the folder of the authors' results of an experiment."""
    return ROOT / "reference" / name


def judged(name: str) -> pd.DataFrame:
    """Return what the authors' run of an experiment says of its claims, by their names."""
    table = pd.read_csv(kept(name) / "claims.csv").set_index("id")
    return table.assign(verdict=table["verdict"].where(~table["opposite"], OPPOSITE))


def _cell(text: str) -> str:
    """Return text as it stands in a cell of Markdown."""
    return text.replace("|", "\\|")


def of_claim(claim: Claim) -> str:
    """Return a claim as it stands in a table."""
    return claim.claim + (" (exploratory)" if claim.exploratory else "")


def by_experiment(claims: list[Claim], reported: dict[str, Reported]) -> str:
    """Return the claims by the experiment that judges them first: command, minutes, criterion, verdicts."""
    verdicts = {name: judged(name) for name in reported if (kept(name) / "claims.csv").exists()}
    parts = []
    for name, of in reported.items():
        own = [claim for claim in claims if claim.experiments[0] == name]
        if own:
            parts += [
                f"`snakemake --cores 2 results/{name}/claims.csv`, about {of.minutes} minutes on two cores:",
                "",
                "| claim | supported if the whole 95 % interval of this is so | the authors' runs | name |",
                "|---|---|---|---|",
                *(
                    f"| {of_claim(one)} | {_cell(criterion(one))} | {said(verdicts, one)} | `{one.id}` |"
                    for one in own
                ),
                "",
            ]
    others = [f"`{name}` about {of.minutes}" for name, of in reported.items()]
    return "\n".join([*parts, f"Minutes of each experiment on two cores: {', '.join(others)}.", ""])


def said(verdicts: dict[str, pd.DataFrame], claim: Claim) -> str:
    """Return what the authors' runs say of a claim: each verdict with the experiments that it is of."""
    found = {name: verdicts[name].loc[claim.id, "verdict"] for name in claim.experiments if name in verdicts}
    return "; ".join(
        f"{of} ({', '.join(name for name in found if found[name] == of)})"
        for of in dict.fromkeys(found.values())
    )


def in_short() -> str:
    """Return what was found, and a table of the main experiments.

    Raises:
        ValueError: if a sentence was written for another verdict.
    """
    sentences = []
    for of, written_for, sentence in FOUND:
        claim, _, name = of.partition("@")
        if (found := judged(name).loc[claim, "verdict"]) != written_for:
            raise ValueError(
                f"claims_table.py: FOUND: {of}: written for {written_for!r}, but it is {found!r}"
            )
        sentences.append(sentence)
    return "\n".join([" ".join(sentences), "", *(line for name in MAIN for line in table(name))])


def table(name: str) -> list[str]:
    """Return the table of an experiment's main methods in Markdown."""
    experiment = load(kept(name) / "config.yaml")
    data, labels = experiment.data, Labels(experiment)
    found = pd.read_csv(kept(name) / "scores.csv")
    scores, of = over_originals(found), found.groupby("method")["original"].nunique()
    methods = [method for method in TABLE if method in scores.index]
    places = positions(read_npz(kept(name) / "examples.npz"), methods)
    originals = f", {experiment.originals} original models" if experiment.originals > 1 else ""
    head = f"{data_title(experiment)}, N = {experiment.models}, {data.train:,} images, "
    head += f"{data.forgotten} to forget{originals}"
    rows = []
    for method in methods:
        row, place = scores.loc[method], places[method]
        fewer = f" (on {of[method]} of them)" if of[method] < of.max() else ""
        cells = [
            labels(method) + fewer,
            f"{row['score']:.3f} [{row['score_low']:.3f}, {row['score_high']:.3f}]",
        ]
        cells += [f"{place.shift.estimate:+z.1f}", f"{place.absolute_shift.estimate:.1f}"]
        cells += [f"{place.spread.estimate:.1f}"]
        cells += [f"{row[f'{split}_accuracy']:.0%}" for split in ("retain", "forget", "test")]
        cells.append(f"{row['cost_share']:.0%}")
        rows.append(f"| {' | '.join(cells)} |")
    names = ["score [95 % interval]", "shift", "\\|shift\\|", "spread", "retain", "forget", "test", "cost"]
    return [f"| {head} | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|", *rows, ""]


def results(claims: list[Claim], reported: dict[str, Reported]) -> str:
    """Return all claims with their verdicts, a column for each experiment, and the best methods."""
    names = [name for name in reported if any(name in claim.experiments for claim in claims)]
    of = {name: judged(name) for name in names}

    def cell(name: str, claim: Claim) -> str:
        if name not in claim.experiments:
            return ""
        row = of[name].loc[claim.id]
        if row["verdict"] == NOT_TESTABLE:
            return "not testable"
        return f"{row['verdict']}, {row['estimate']:z.3f} [{row['low']:z.3f}, {row['high']:z.3f}]"

    scores = over_originals(pd.read_csv(kept(ALL) / "scores.csv"))
    labels = Labels(load(kept(ALL) / "config.yaml"))
    highest = scores.drop(["original", "retrain"])["score"].nlargest(5)
    best = "; ".join(f"{labels(method)} {score:.3f}" for method, score in highest.items())
    ceiling = scores.loc["retrain", "score"]
    return "\n".join(
        [
            f"| claim | {' | '.join(names)} |",
            "|---" * (1 + len(names)) + "|",
            *(
                f"| {of_claim(claim)} | {' | '.join(cell(name, claim) for name in names)} |"
                for claim in claims
            ),
            "",
            f"Of the {len(scores) - 2} methods and variants of `config/{ALL}.yaml` the highest are {best}; "
            f"the ceiling there is {ceiling:.3f}.",
            "",
        ]
    )


def runs() -> str:
    """Return a table of the authors' runs: what was trained, on what, and what it took."""
    heads = ["images", "forgotten", "N", "original models", "methods", "models trained", "images trained on"]
    heads += ["core hours", "in", "processor", "from", "by"]
    lines = [f"| experiment | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for folder in sorted((ROOT / "reference").glob("*/")):
        experiment = load(folder / "config.yaml")
        found = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        collected = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        models, images = trained(experiment, found["model"]["classes"])
        environment = found["environment"]
        cells = [f"{experiment.data.train:,}", str(found["model"]["forget"]), str(experiment.models)]
        cells += [str(experiment.originals), str(len(experiment.all_methods())), f"{models:,}"]
        cells += [f"{images / 1e6:.1f} million"]
        cells += [f"{collected['cost']['all']['processor_seconds'] / 3600:.1f}", environment["precision"]]
        cells += [f"{environment['processor']}, {environment['cores']} cores"]
        cells += [min(record["started"] for record in collected["artifacts"].values())[:10]]
        cells.append("earlier code" if problems(folder)[1] else "this code")
        lines.append(f"| `{folder.name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def trained(experiment: Experiment, classes: int) -> tuple[int, int]:
    """Return how many models an experiment trains, and on how many images, each as often as it is seen."""
    plan, work = Plan(experiment), Workload(experiment, classes=classes)
    rules = {"original": "train_original", "oracle": "retrain", "retrain": "retrain"}
    rules |= dict.fromkeys(experiment.own(), "unlearn_own")
    roles = dict.fromkeys(["oracle", *(plan.role(*row) for row in plan.rows)])
    jobs = [
        work.of(rules.get(name, "unlearn"), SimpleNamespace(method=name, first=0, last=experiment.models - 1))
        for name in (role.partition("/")[0] for role in roles)
    ]
    return sum(job.models for job in jobs), sum(job.images for job in jobs)


def renewed(document: str, name: str, content: str) -> str:
    """Return a document with new content between the marks of a name."""
    begin, end = f"<!-- {name}: made by `make claims` -->", f"<!-- end of {name} -->"
    assert begin in document, begin
    assert end in document, end
    return re.sub(
        f"{re.escape(begin)}.*{re.escape(end)}",
        lambda _: f"{begin}\n\n{content}\n{end}",
        document,
        flags=re.S,
    )


def judge_again(folder: Path) -> None:
    """Judge the claims by kept results, as the rule `claims` does."""
    experiment = load(folder / "config.yaml")
    settings = {"experiment": experiment.experiment, "tuned": experiment.tuned_methods()}
    tables = ("scores.csv", "comparisons.csv", "measures.csv", "examples.npz")
    options = {"settings": json.dumps(settings), "claims": "paper/claims.yaml"}
    options |= {"output": folder / "claims.csv"}
    options |= {Path(name).stem: folder / name for name in tables}
    arguments = [str(text) for name, value in options.items() for text in (f"--{name}", value)]
    subprocess.run([sys.executable, "-m", "random_mask.stages.claims", *arguments], check=True)


def documents() -> dict[Path, str]:
    """Return the documents as they should be."""
    claims = read_claims(ROOT / "paper" / "claims.yaml")
    reported = read_reported(ROOT / "config" / "paper.yaml")
    contents = {
        "ARTIFACT.md": {"claims": by_experiment(claims, reported), "runs": runs()},
        "README.md": {"results": in_short()},
        "docs/results.md": {"results": results(claims, reported)},
    }
    texts = {}
    for path, parts in contents.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        for name, content in parts.items():
            text = renewed(text, name, content)
        texts[ROOT / path] = text
    return texts


if __name__ == "__main__":
    for configuration in sorted(Path("reference").glob("*/config.yaml")):
        judge_again(configuration.parent)
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
