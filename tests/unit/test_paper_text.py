"""What the text of the paper says, and what it may not say: its numbers and verdicts come from results."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from random_mask.errors import InputError
from random_mask.report.names import PAPER_FIGURES, PAPER_TABLES
from random_mask.stages import paper, paper_figures, paper_tables, simulate
from random_mask.workflow.experiments import Library, Paper, read_reported

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "paper").rglob("*.tex"))
TEXT = "\n".join(re.sub(r"(?<!\\)%.*", "", path.read_text(encoding="utf-8")) for path in SOURCES)

needs_tex = pytest.mark.skipif(shutil.which("latexmk") is None, reason="no latexmk here")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder with figures, tables and numbers of the authors' kept results."""
    folder = tmp_path_factory.mktemp("paper")
    reported = Paper(read_reported(), "none")
    library = Library()
    experiments = reported.experiments(library)
    results = [Path(path) for path in reported.results]
    (folder / "figures").mkdir()
    (folder / "tables").mkdir()
    paper_figures.main(
        settings=paper_figures.Settings(experiments=experiments),
        results=results,
        output=[folder / "figures" / f"{name}.pdf" for name in PAPER_FIGURES],
    )
    simulation = folder / "simulation.csv"
    simulate.main(settings=simulate.Settings(seed=2023, examples=40), output=simulation)
    paper_tables.main(
        settings=paper_tables.Settings(experiments=experiments, run=[]),
        results=results,
        claims=Path("paper/claims.yaml"),
        tuned=[Path(path) for path in reported.chosen(library)],
        citation=Path("CITATION.cff"),
        simulation=simulation,
        reference=[],
        numbers_file=folder / "numbers.tex",
        tabulars=[folder / "tables" / f"{name}.tex" for name in PAPER_TABLES],
        verdicts=folder / "claims.csv",
    )
    return folder


@pytest.fixture(scope="module")
def numbers(kept) -> dict[str, str]:
    lines = (kept / "numbers.tex").read_text(encoding="utf-8").splitlines()[1:]
    return dict(re.fullmatch(r"\\newresult\{(.*?)\}\{(.*)\}% .*", line).groups() for line in lines)


def claimed() -> list[tuple[str, str]]:
    """Return each claim that a sentence rests on, and the verdict that it was written for."""
    return re.findall(r"\\claimed\{([^}]*)\}\{([^}]*)\}", TEXT)


def test_every_number_of_the_text_is_known(numbers):
    keys = set(re.findall(r"\\result\{([^}#]+)\}", TEXT))
    for command, ends in {
        "estimate": ("", "_low", "_high"),
        "difference": ("/difference", "/low", "/high"),
    }.items():
        keys |= {key + end for key in re.findall(rf"\\{command}\{{([^}}#]+)\}}", TEXT) for end in ends}
    keys |= {f"claims/{key}/found" for key in re.findall(r"\\found\{([^}#]+)\}", TEXT)}
    assert len(keys) > 100
    assert keys - numbers.keys() == set()


def test_sentences_that_compare_say_what_the_kept_results_say(numbers):
    assert len(claimed()) > 30
    wrong = {(claim, verdict, numbers.get(f"claims/{claim}")) for claim, verdict in claimed()}
    assert {one for one in wrong if one[1] != one[2]} == set()


def test_every_figure_and_table_is_shown_and_referred_to():
    shown = set(re.findall(r"\\includegraphics(?:\[[^]]*\])?\{([^}]*)\}", TEXT))
    assert shown == set(PAPER_FIGURES)
    tables = set(re.findall(r"\\generated\{(\w+)\}", TEXT))
    tables |= set(re.findall(r"\}\{(\w+)\}\}?$", TEXT, re.M)) & set(PAPER_TABLES)
    assert tables == set(PAPER_TABLES)
    labels = set(re.findall(r"(?:\\label|\\generatedparts)\{((?:fig|tab):[^}]*)\}", TEXT))
    named = {name for names in re.findall(r"\\[cC]ref\{([^}]*)\}", TEXT) for name in names.split(",")}
    assert labels - named == set()


def test_no_sentence_is_conditional():
    assert r"\if" not in TEXT


@pytest.mark.parametrize("section", ["results", "ablations"])
def test_no_number_of_a_result_is_typed_by_hand(section):
    text = (ROOT / "paper" / "sections" / f"{section}.tex").read_text(encoding="utf-8")
    text = re.sub(r"(?<!\\)%.*", "", text)
    text = text.replace("CIFAR-10", "").replace(r"95\,\%", "")
    # Keys, labels and file names may hold digits.
    text = re.sub(r"\\claimed\{[^}]*\}\{[^}]*\}", "", text)
    text = re.sub(
        r"\\(result|estimate|difference|found|citet|citep|Cref|cref|label|code|key)\{[^}]*\}", "", text
    )
    text = re.sub(r"\\setlength{\\tabcolsep}{[\d.]+pt}|theirs are 0 and 1", "", text)
    assert not re.search(r"\d", text), re.findall(r".{20}\d.{20}", text)


def test_the_citation_has_the_title_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"] in TEXT
    assert r"\author{\result{authors}}" in TEXT


def small(folder: Path, body: str, numbers: str) -> dict:
    """Write a paper of one sentence; return the arguments of its stage."""
    (folder / "paper").mkdir()
    source = folder / "paper" / "main.tex"
    source.write_text(
        rf"\documentclass{{article}}\usepackage{{results}}\input{{numbers}}\begin{{document}}{body}\end{{document}}"
    )
    style = shutil.copy(ROOT / "paper" / "results.sty", folder / "paper")
    (folder / "numbers.tex").write_text(numbers)
    return {
        "sources": [source, Path(style)],
        "figures": [],
        "tables": [],
        "numbers": folder / "numbers.tex",
        "output": folder / "paper.pdf",
        "deviations": folder / "deviations.txt",
    }


SENTENCE = r"\claimed{a-claim@one_two}{supported}{It scores \found{a-claim@one_two} higher.}"


def verdict(word: str, origin: str) -> str:
    key = "claims/a-claim@one_two"
    values = {key: word, f"{key}/from": origin, f"{key}/found": "$0.1$"}
    return "\n".join(rf"\newresult{{{name}}}{{{value}}}" for name, value in values.items())


@needs_tex
@pytest.mark.parametrize("origin", ["run", "reference"])
def test_a_sentence_with_its_verdict_is_set_as_it_is(tmp_path, origin):
    paper.main(**small(tmp_path, SENTENCE, verdict("supported", origin)))
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "deviations.txt").read_text() == ""


@needs_tex
def test_a_sentence_that_a_run_does_not_confirm_is_marked_and_listed_once(tmp_path, capsys):
    plain = tmp_path / "plain"
    plain.mkdir()
    paper.main(**small(plain, SENTENCE, verdict("supported", "run")))
    paper.main(**small(tmp_path, SENTENCE, verdict("opposite", "run")))
    (line,) = (tmp_path / "deviations.txt").read_text().splitlines()
    assert "a-claim@one_two: supported in the text, opposite by the run" in line
    assert capsys.readouterr().err.count("a-claim@one_two") == 1
    assert (tmp_path / "paper.pdf").read_bytes() != (plain / "paper.pdf").read_bytes()


@needs_tex
@pytest.mark.parametrize(
    ("body", "numbers", "told"),
    [
        (
            SENTENCE,
            verdict("opposite", "reference"),
            ["a-claim@one_two", "supported", "opposite", "main.tex:1"],
        ),
        (SENTENCE.replace("a-claim", "none"), verdict("supported", "run"), ["claims/none@one_two"]),
        (r"\result{no/key}", "", ["no/key"]),
    ],
)
def test_what_results_do_not_say_stops_the_build(tmp_path, body, numbers, told):
    with pytest.raises(InputError) as error:
        paper.main(**small(tmp_path, body, numbers))
    assert not (tmp_path / "paper.pdf").exists()
    for part in told:
        assert part in str(error.value)


@needs_tex
@pytest.mark.parametrize(
    "body", [r"\rule{30cm}{1cm}", r"\ref{nowhere}", r"\begin{figure}\rule{1cm}{30cm}\end{figure}"]
)
def test_what_does_not_fit_or_leads_nowhere_stops_the_build(tmp_path, body):
    with pytest.raises(InputError, match="the paper has defects"):
        paper.main(**small(tmp_path, body, ""))


@needs_tex
@pytest.mark.slow
def test_the_paper_is_built_of_kept_results_alone(kept, tmp_path):
    from random_mask.workflow.paths import paper_sources

    deviations = tmp_path / "deviations.txt"
    paper.main(
        sources=[Path(path) for path in paper_sources()],
        figures=[kept / "figures" / f"{name}.pdf" for name in PAPER_FIGURES],
        tables=[kept / "tables" / f"{name}.tex" for name in PAPER_TABLES],
        numbers=kept / "numbers.tex",
        output=tmp_path / "paper.pdf",
        deviations=deviations,
    )
    assert deviations.read_text() == ""
    assert (tmp_path / "paper.pdf").stat().st_size > 200_000
