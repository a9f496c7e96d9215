"""`random-mask compare`: what it prints, its exit codes, and one clear line for what it cannot compare."""

import subprocess
import sys

import pytest

from random_mask import cli

SCORES = (
    "method,original,n_models,forgetting_quality,forgetting_quality_low,forgetting_quality_high,"
    "retain_accuracy,forget_accuracy,test_accuracy,score,score_low,score_high,seconds_per_model\n"
    "random_mask,0,16,0.07,0.05,0.09,0.98,0.94,0.96,0.068,0.048,0.087,4.8\n"
    "retrain,0,16,0.23,0.18,0.28,1.0,0.98,0.98,0.227,0.177,0.276,17.2\n"
)
COMPARISONS = (
    "a,b,original,quantity,difference,low,high\n"
    "random_mask,retrain,0,score,-0.16,-0.20,-0.12\n"
    "random_mask,finetune,0,score,0.05,0.02,0.07\n"
)
CLAIMS = "id,measured,verdict\nmask_helps,0.05,supported\n"


def write(folder, scores=SCORES, comparisons=COMPARISONS, claims=None):
    folder.mkdir(parents=True)
    for name, text in (("scores", scores), ("comparisons", comparisons), ("claims", claims)):
        if text is not None:
            (folder / f"{name}.csv").write_text(text)
    return folder


@pytest.fixture
def a(tmp_path):
    return write(tmp_path / "results" / "digits")


@pytest.fixture
def compare(capsys):
    """Return a function that runs the command and returns its exit code and the lines of its output."""

    def run(*arguments):
        code = cli.main(["compare", *map(str, arguments)])
        return code, capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def refusal(capsys):
    """Return a function that runs the command, expects exit code 1, and returns its one line on stderr."""

    def run(*arguments):
        assert cli.main(["compare", *map(str, arguments)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("random-mask: ")
        return captured.err

    return run


def test_a_run_agrees_with_itself(a, compare):
    code, lines = compare(a, a)
    assert code == 0
    assert "scores.csv is the same in both, byte for byte" in lines
    assert (
        "random_mask           0         0.0680 [0.0480, 0.0870]  0.0680 [0.0480, 0.0870]  "
        "+0.0000 [-0.0276, +0.0276]  agrees"
    ) in lines
    assert "accuracies: they differ by 0.0000 at most" in lines
    assert "random_mask, retrain   scores lower than   scores lower than   same" in lines
    assert lines[-1] == (
        "2 of 2 scores agree (about 5 % of honest repetitions do not, by chance); 0 of 2 verdicts changed"
    )


def test_a_changed_verdict_exits_with_3(a, tmp_path, compare):
    other = write(tmp_path / "other", comparisons=COMPARISONS.replace("0.02,0.07", "-0.01,0.07"))
    code, lines = compare(a, other)
    assert code == 3
    assert "random_mask, finetune  scores higher than  cannot be told apart from  CHANGED" in lines
    assert lines[-1].endswith("1 of 2 verdicts changed")


def test_scores_that_differ_are_reported_and_exit_with_0(a, tmp_path, compare):
    other = write(tmp_path / "other", SCORES.replace("0.227,0.177,0.276", "0.427,0.377,0.476"))
    code, lines = compare(a, other)
    assert code == 0
    assert [line.split()[0] for line in lines if line.endswith("DIFFERS")] == ["retrain"]
    assert "forgetting quality: 2 of 2 agree" in lines
    assert lines[-1].startswith("1 of 2 scores agree")
    assert not any("byte for byte" in line for line in lines)


def test_the_folder_of_the_same_name_is_found(a, tmp_path, compare, monkeypatch):
    reference = write(tmp_path / "reference" / "digits").parent
    assert compare(a, reference) == compare(a, reference / "digits")
    monkeypatch.chdir(a)
    code, lines = compare(".", reference)
    assert code == 0
    assert f"B: {reference / 'digits'}" in lines


def test_a_folder_of_results_comes_before_one_in_it(a, tmp_path, compare):
    reference = write(tmp_path / "reference")
    write(reference / "digits", comparisons=COMPARISONS.replace("0.02,0.07", "-0.01,0.07"))
    assert compare(a, reference)[0] == 0
    assert compare(a, reference / "digits")[0] == 3


def test_a_differing_n_is_named(a, tmp_path, compare):
    code, lines = compare(a, write(tmp_path / "other", SCORES.replace(",0,16,", ",0,32,")))
    assert code == 0
    assert "N differs: 16 models in A, 32 in B; scores depend on N and need not agree" in lines


def test_differing_methods_are_named(a, tmp_path, compare):
    other = write(
        tmp_path / "other", SCORES.replace("random_mask", "lottery"), COMPARISONS.splitlines()[0] + "\n"
    )
    code, lines = compare(a, other)
    assert code == 0
    assert (
        "only in A: random_mask; verdict on random_mask, retrain; verdict on random_mask, finetune" in lines
    )
    assert "only in B: lottery" in lines
    assert lines[-1].endswith("0 of 0 verdicts changed")


def test_claims_count_where_both_have_them(a, tmp_path, compare):
    other = write(tmp_path / "other", claims=CLAIMS.replace("supported", "not supported"))
    assert compare(a, other)[0] == 0
    (a / "claims.csv").write_text(CLAIMS)
    code, lines = compare(a, other)
    assert code == 3
    assert any(
        line.split() == ["claim", "mask_helps", "supported", "not", "supported", "CHANGED"] for line in lines
    )


@pytest.mark.parametrize("name", ["scores.csv", "comparisons.csv"])
def test_missing_files(a, tmp_path, refusal, name):
    other = write(tmp_path / "other")
    (other / name).unlink()
    line = refusal(a, other)
    assert f"{other / name}: no such file; give the folder of a run that is complete" in line
    assert refusal(other, a) == line


def test_folders_that_are_absent_or_files(a, tmp_path, refusal):
    assert "absent/scores.csv: no such file" in refusal(a, tmp_path / "absent")
    assert "scores.csv/scores.csv: cannot be read (Not a directory)" in refusal(a, a / "scores.csv")


def test_a_folder_in_place_of_a_file(a, tmp_path, refusal):
    other = write(tmp_path / "other", comparisons=None)
    (other / "comparisons.csv").mkdir()
    assert "comparisons.csv: cannot be read (Is a directory)" in refusal(a, other)


@pytest.mark.parametrize("name", ["scores.csv", "comparisons.csv", "claims.csv"])
@pytest.mark.parametrize(
    "damage", [b"", b"\n", b"\x00\xff\xfe\n", b"version https://git-lfs\n", b'"', b"a,b\n1\n"]
)
def test_damaged_files(a, tmp_path, refusal, name, damage):
    (a / "claims.csv").write_text(CLAIMS)
    other = write(tmp_path / "other", claims=CLAIMS)
    (other / name).write_bytes(damage)
    line = refusal(a, other)
    assert f"{other / name}: damaged (" in line
    assert "copy it again, or delete it and run snakemake again" in line


def test_runs_of_different_experiments(a, tmp_path, refusal):
    other = write(tmp_path / "other", SCORES.replace("random_mask", "x").replace("retrain", "y"))
    assert "no method in common; give two runs of one experiment" in refusal(a, other)


@pytest.mark.parametrize("arguments", [["compare"], ["compare", "a"], ["compare", "a", "b", "c"]])
def test_bad_usage_exits_with_2(arguments, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("random-mask: ")
    assert captured.err.endswith("See: random-mask --help\n")
    assert captured.err.count("\n") == 1


def test_the_exit_code_reaches_the_shell_and_torch_is_not_loaded(a, tmp_path):
    other = write(tmp_path / "other", comparisons=COMPARISONS.replace("0.02,0.07", "-0.01,0.07"))
    command = [sys.executable, "-X", "importtime", "-m", "random_mask.cli", "compare", str(a), str(other)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "random_mask.report.agreement" in modules
    assert not modules & {"torch", "matplotlib", "pydantic"}
