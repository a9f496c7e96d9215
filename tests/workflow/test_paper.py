"""The paper: from what the authors kept, from a run, and when it must not be built."""

import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest
import yaml
from conftest import checkout
from PIL import Image

pytestmark = pytest.mark.slow

OF_THE_PAPER = {"simulate", "paper_figures", "paper_tables", "paper"}
KEPT_ALONE = ["--config", "run=none"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A checkout with the paper of the authors' kept results alone."""
    made = checkout(tmp_path_factory.mktemp("kept"))
    assert made.planned(*KEPT_ALONE, config=None) == OF_THE_PAPER | {"all"}
    process = made.snakemake(*KEPT_ALONE, config=None)
    assert process.returncode == 0, process.stdout
    assert "\nresults/paper.pdf\n" in process.stdout
    assert "marked in the margin" not in process.stdout
    return made


def test_the_paper_is_a_pdf_with_text_and_figures(kept):
    pdf = (kept.root / "results" / "paper.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 200_000
    # Nothing in it may depend on when or where it was made.
    assert b"/CreationDate" not in pdf
    assert str(kept.root).encode() not in pdf
    assert (
        "No experiment of this paper was run here"
        in (kept.root / "results/paper/tables/reproduction.tex").read_text()
    )


def test_figures_and_paper_are_the_same_bytes_again(kept):
    results = kept.root / "results"
    made = {path: path.read_bytes() for path in [*results.glob("paper/figures/*.pdf"), results / "paper.pdf"]}
    for path in made:
        path.unlink()
    assert kept.snakemake(*KEPT_ALONE, config=None).returncode == 0
    assert {path: path.read_bytes() for path in made} == made
    assert "Nothing to be done" in kept.snakemake(*KEPT_ALONE, config=None).stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (r"\subsection{Where", r"\result{digits/scores/random_mask/beauty}\subsection{Where", ["beauty"]),
        (
            r"\claimed{mask-below-ceiling@digits}{supported}",
            r"\claimed{mask-below-ceiling@digits}{opposite}",
            ["mask-below-ceiling@digits", "written for 'opposite'", "'supported'"],
        ),
    ],
)
def test_what_the_kept_results_do_not_say_fails_the_build(kept, old, new, told):
    section = kept.root / "paper" / "sections" / "results.tex"
    text = section.read_text()
    assert old in text
    section.write_text(text.replace(old, new))
    process = kept.snakemake(*KEPT_ALONE, config=None)
    section.write_text(text)
    assert process.returncode != 0
    for part in told:
        assert part in process.stdout


def test_without_tex_everything_else_is_made_and_the_remedy_is_named(kept, tmp_path):
    (kept.root / "results" / "paper.pdf").unlink(missing_ok=True)
    figure = kept.root / "results" / "paper" / "figures" / "scores.pdf"
    figure.unlink()
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if program.name not in ("latexmk", "pdflatex") and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    process = kept.snakemake(*KEPT_ALONE, config=None, path=str(programs))
    assert process.returncode != 0
    assert figure.exists()
    assert "no LaTeX here" in process.stdout
    assert "sudo apt-get install --no-install-recommends latexmk" in process.stdout
    assert "Traceback" not in process.stdout


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkout whose digits experiment is as small as can be, with its paper; and what was printed."""
    made = checkout(tmp_path_factory.mktemp("small"))
    path = made.root / "config" / "digits.yaml"
    content = yaml.safe_load(path.read_text())
    content["data"] |= {"train": 64, "validation": 16, "test": 32, "forget": {"kind": "random", "size": 8}}
    content |= {"models": 2, "replicates": 10, "shards": {"retrain": 2, "unlearn": 2}}
    for recipe in (content["training"], *(method["finetune"] for method in content["methods"].values())):
        recipe["epochs"] = 1
    path.write_text(yaml.safe_dump(content))
    process = made.snakemake(config=None)
    assert process.returncode == 0, process.stdout
    return made, process.stdout


def test_a_run_takes_the_place_of_the_authors_results(small):
    made, _ = small
    results = made.root / "results"
    assert (results / "paper.pdf").stat().st_size > 200_000
    for name in ("scores.csv", "claims.csv", "report.html", "provenance.json"):
        assert (results / "digits" / name).exists()
    assert "Random mask (tuned)" in (results / "paper/tables/reproduction.tex").read_text()
    assert r"\newresult{digits/config/models}{2}" in (results / "paper/numbers.tex").read_text()
    assert "Nothing to be done" in made.snakemake(config=None).stdout


def test_sentences_that_a_run_does_not_confirm_are_marked_and_listed(small):
    """Of two models per fleet, no claim is testable."""
    _, printed = small
    marked = re.findall(
        r"^marked in the margin of results/paper.pdf: (\S+): (.*) in the text, (.*) by the run$",
        printed,
        re.M,
    )
    assert ("mask-beats-finetuning@digits", "supported", "not testable") in marked
    assert all(name.endswith("@digits") for name, _, _ in marked)


def test_all_experiments_are_planned_once_their_data_are_there(fresh):
    returncode, printed = fresh.dry_run("--config", "run=all", config=None)
    assert returncode == 1
    assert "data/cifar10-jpeg.tar.xz: no such file or folder" in printed.splitlines()[-1]
    assert not (fresh.root / "results").exists()
    image = fresh.root / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    (fresh.root / "data").mkdir()
    with tarfile.open(fresh.root / "data" / "cifar10-jpeg.tar.xz", "w:xz") as archive:
        for split in ("train", "test"):
            for kind in ("cat", "dog"):
                archive.add(image, f"{split}/{kind}/0.png")
    plan = fresh.plan("--config", "run=all", config=None)
    for name in yaml.safe_load((fresh.root / "config" / "paper.yaml").read_text())["experiments"]:
        assert f"Judging the claims by {name}\n" in plan


def test_two_experiments_in_one_plan_and_a_missing_one_in_one_line(fresh):
    plan = fresh.plan("results/smoke/scores.csv", "results/digits/scores.csv", config=None)
    assert "results/smoke/fleets/oracle/" in plan
    assert "results/digits/fleets/oracle/" in plan
    missing = fresh.snakemake("results/nope/scores.csv", config=None)
    assert missing.returncode == 1
    assert missing.stdout.splitlines()[-1].startswith(
        "config/nope.yaml: no such file; the experiments here are "
    )
    assert "Traceback" not in missing.stdout
    shutil.copy(fresh.root / "config" / "smoke.yaml", fresh.root / "config" / "nope.yaml")
    returncode, printed = fresh.dry_run("results/nope/scores.csv", config=None)
    assert returncode == 1
    assert printed.splitlines()[-1].startswith("config/nope.yaml: experiment: smoke, which is not the name")
