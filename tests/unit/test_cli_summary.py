"""`random-mask summary`, and the same tables as pages of the HTML report."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from random_mask import cli
from random_mask.report import summary
from random_mask.report.agreement import parse_comparisons, parse_scores

SCORES = (
    "method,original,n_models,forgetting_quality,forgetting_quality_low,forgetting_quality_high,"
    "retain_accuracy,forget_accuracy,test_accuracy,score,score_low,score_high,seconds_per_model\n"
    "original,0,16,0.0,0.0,0.0,1.0,1.0,0.98,0.0,0.0,0.0,0.0\n"
    "random_mask,0,16,0.07,0.05,0.09,0.98,0.94,0.96,0.05,0.04,0.0874,4.8\n"
    "retrain,0,16,0.23,0.18,0.28,1.0,0.98,0.98,0.2,0.177,0.276,17.2\n"
)
COMPARISONS = (
    "a,b,original,quantity,difference,low,high\n"
    "random_mask,retrain,0,score,-0.16,-0.20,-0.12\n"
    "random_mask,finetune,0,forgetting_quality,0.05,0.02,0.07\n"
    "random_mask,finetune,0,score,0.05,-0.02,0.07\n"
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "results" / "digits"
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_text(SCORES)
    return folder


def test_scores_with_intervals_share_of_the_ceiling_and_the_page(folder, capsys):
    (folder / "report.html").touch()
    assert cli.main(["summary", str(folder)]) == 0
    head, *rows, page = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["method", "score"]
    assert [row.split()[0] for row in rows] == ["original", "random_mask", "retrain"]
    # 0.05 is a quarter of the ceiling of 0.2.
    assert rows[1].split()[1:] == ["0.050", "[0.040,", "0.087]", "25%", "98.0%", "94.0%", "96.0%"]
    assert page == str(folder / "report.html")


def test_the_default_experiment_is_found_from_the_root(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parents[1])
    assert cli.main(["summary"]) == 0
    assert "random_mask" in capsys.readouterr().out


def test_without_results_one_line_says_so(tmp_path, capsys):
    assert cli.main(["summary", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("random-mask: ")
    assert "scores.csv: no such file" in captured.err
    assert captured.err.count("\n") == 1


def test_the_ceiling_is_the_mean_over_the_original_models():
    lines = SCORES.splitlines()
    others = [line.replace(",0,16,", ",1,16,") for line in lines[1:]]
    others[2] = others[2].replace(",0.2,0.177,", ",0.3,0.177,").replace("0.276", "0.376")
    rows = summary.scores(parse_scores("\n".join([*lines, *others]) + "\n"))
    assert list(rows["original"]) == ["0", "0", "0", "1", "1", "1"]
    assert list(rows["of the ceiling"]) == ["0%", "20%", "80%", "0%", "20%", "120%"]


def test_a_ceiling_of_nothing_has_no_shares():
    text = SCORES.replace(",0.2,0.177,0.276,", ",0.0,0.0,0.0,")
    assert set(summary.scores(parse_scores(text))["of the ceiling"]) == {"-"}


def test_differences_with_what_they_allow_to_say():
    rows = summary.comparisons(parse_comparisons(COMPARISONS))
    assert list(rows["verdict"]) == [
        "scores lower than",
        "scores higher than",
        "cannot be told apart from",
    ]
    assert rows["95 % interval"][0] == "[-0.200, -0.120]"


def test_a_page_holds_the_table_and_escapes_what_it_shows():
    rows = pd.DataFrame({"method": ["<b>mine</b>", "yours"], "score": ["0.1", "0.2"]})
    page = summary.page("Scores & more", rows)
    assert "<h1>Scores &amp; more</h1>" in page
    assert "<b>mine" not in page
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells == ["&lt;b&gt;mine&lt;/b&gt;", "0.1", "yours", "0.2"]


CLAIMS = (
    "id,verdict,opposite,estimate,low,high,claim,criterion,exploratory,reason\n"
    "a,supported,False,0.03,0.01,0.05,the mask helps,score: above 0,False,\n"
    "b,not testable,False,,,,it is fast,score: above 0,True,needs 16 models\n"
)


def test_claims_with_what_they_follow_from(folder, capsys):
    (folder / "claims.csv").write_text(CLAIMS)
    assert cli.main(["summary", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "supported: the mask helps, 0.030 [0.010, 0.050]\n" in printed
    assert "1 of 2 claims not testable: needs 16 models\n" in printed


@pytest.mark.parametrize(
    "damaged",
    [
        CLAIMS[:130],
        CLAIMS[:-20],
        CLAIMS.replace("0.03,0.01,0.05", ",,"),
        CLAIMS.replace("0.03,0.01,0.05", "0.03,0.04,0.05"),
        CLAIMS.replace("a,supported", "a,perhaps"),
        CLAIMS.replace("opposite", "other"),
        CLAIMS.replace("a,supported,False", "a,supported,"),
        "",
        "\0",
    ],
)
def test_a_damaged_table_of_claims_is_named(folder, capsys, damaged):
    (folder / "claims.csv").write_text(damaged)
    assert cli.main(["summary", str(folder)]) == 1
    captured = capsys.readouterr()
    assert re.match(r"random-mask: .*claims\.csv: damaged \(.*\); copy it again", captured.err)
    assert captured.err.count("\n") == 1
    assert "nan" not in captured.out


def test_a_reader_who_has_seen_enough_is_no_error(folder):
    command = [sys.executable, "-m", "random_mask.cli", "summary", str(folder)]
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (process.returncode, process.stderr) == (cli.CLOSED, "")
