"""`random-mask keep` and `check`, on a small run made by hand."""

import json
from pathlib import Path

import pytest
import yaml

from random_mask import cli
from random_mask.artifacts import keeping, provenance
from random_mask.artifacts.provenance import KEPT, condensed
from random_mask.artifacts.records import digest, read_record, write_records

OWN = ("artifact", "sha256", "outputs")
"""Keys of a record that are of one file."""
NOTE = "1 image is in several splits"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A complete run of an experiment `mine`, in `results/`, made by code in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    code = Path("src/module.py")
    code.write_text("code\n")
    folder = Path("results/mine")
    folder.mkdir(parents=True)
    record = {"stage": "test", "inputs": {}, "sources": {}, "code": {str(code): digest(code)}, "machine": {}}
    record |= {"options": {}, "versions": {}, "computed": {"warnings": [NOTE]}}
    for name in KEPT:
        (folder / name).write_text(name)
        write_records([folder / name], record)
    records = {f"results/mine/{name}": read_record(folder / name) for name in KEPT}
    collected = {"experiment": {"experiment": "mine", "search": None}, "cost": {}} | condensed(records)
    (folder / "provenance.json").write_text(json.dumps(collected))
    Path("reference").mkdir()
    return folder


@pytest.fixture
def line(capsys):
    """Return a function that runs a command, expects exit code 1, and returns its one line on stderr."""

    def run_it(*arguments):
        assert cli.main([*map(str, arguments)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        return captured.err

    return run_it


def test_a_run_is_kept_and_may_be_kept_again(run, capsys):
    for _ in range(2):
        assert cli.main(["keep", str(run)]) == 0
        assert capsys.readouterr().out.endswith("MB, in reference/mine\n")
        kept = Path("reference/mine")
        assert {path.name for path in kept.iterdir()} >= {*KEPT, "config.yaml", "provenance.json"}


def test_a_mix_of_two_runs_is_not_kept(run, line, capsys):
    record = {key: of for key, of in read_record(run / "scores.csv").items() if key not in OWN}
    (run / "scores.csv").write_text("of other settings")
    write_records([run / "scores.csv"], record)
    complete = "snakemake --cores 2 results/mine/provenance.json"
    assert (
        f"results/mine/scores.csv: made again after provenance.json; first complete it: {complete}"
        in line("keep", run)
    )
    assert cli.main(["check", str(run)]) == 3
    assert f"scores.csv: made again after provenance.json; type: {complete}" in capsys.readouterr().out


def test_what_was_kept_of_two_runs_is_a_problem(run, capsys):
    (kept, *_) = keeping.keep(run, Path("reference"))
    scores = kept.parent / "scores.csv"
    record = {key: of for key, of in read_record(run / "scores.csv").items() if key not in OWN}
    scores.write_text("of another run")
    write_records([scores], record)
    assert cli.main(["check", str(kept.parent)]) == 3
    assert f"{scores}: of another run than provenance.json; keep a complete run" in capsys.readouterr().out


def test_what_is_kept_is_not_kept_once_more(run, line):
    keeping.keep(run, Path("reference"))
    before = {path: path.read_bytes() for path in Path("reference/mine").iterdir()}
    assert "reference/mine: is kept already; give the folder of a run" in line("keep", "reference/mine")
    assert {path: path.read_bytes() for path in Path("reference/mine").iterdir()} == before


def test_a_run_under_another_name_is_not_kept_over_its_namesake(run, line):
    run.rename("results/other")
    told = "results/other: holds the experiment mine; call the folder so, too, to keep it as reference/mine"
    assert told in line("keep", "results/other")
    assert list(Path("reference").iterdir()) == []


@pytest.mark.parametrize("into", ["file", "nowhere/deep"])
def test_a_place_that_is_none_is_named(run, line, into):
    Path("file").write_text("")
    assert f"{into}: " in line("keep", run, "--into", into)
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"experiment": {"experiment": "mine"}}', "\0", None]
)
@pytest.mark.parametrize("command", ["keep", "check"])
def test_a_broken_record_of_a_run_is_named(run, line, command, content):
    path = run / "provenance.json"
    if content is None:
        path.unlink()
        assert "provenance.json: no such file; give the folder of a run that is complete" in line(
            command, run
        )
    else:
        path.write_text(content)
        assert "provenance.json: damaged; delete it and run snakemake again" in line(command, run)


def test_a_check_from_elsewhere_finds_the_code_where_the_package_lies(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = str(tmp_path / run)
    assert cli.main(["check", folder]) == 0
    (tmp_path / "src/module.py").write_text("edited\n")
    capsys.readouterr()
    assert cli.main(["check", folder]) == 3
    assert "src/module.py: changed since it made some of these results" in capsys.readouterr().out


def test_code_that_is_not_found_is_not_called_changed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path / "results")
    assert cli.main(["check", "mine"]) == 3
    first, last = capsys.readouterr().out.splitlines()
    assert first == "not found here, and so not checked: src/module.py; run this in the repository"
    assert last == f"{len(KEPT)} files checked; 1 problem"


def test_warnings_of_a_run_are_read_from_its_record(run):
    assert provenance.warnings(run) == [NOTE]
    (run / "provenance.json").unlink()
    assert provenance.warnings(run) == []


def test_what_is_kept_is_checked_without_what_is_not(run, capsys):
    record = read_record(run / "scores.csv")
    collected = json.loads((run / "provenance.json").read_text())
    collected["artifacts"]["results/mine/fleets/oracle.npz"] = collected["artifacts"][
        "results/mine/scores.csv"
    ]
    (run / "provenance.json").write_text(json.dumps(collected))
    assert cli.main(["keep", str(run)]) == 0
    assert cli.main(["check", "results/mine"]) == 3
    capsys.readouterr()
    assert cli.main(["check", "reference/mine"]) == 0
    assert capsys.readouterr().out == f"{len(KEPT)} files checked; 0 problems\n"
    Path("reference/mine/scores.csv").write_text("other")
    assert cli.main(["check", "reference/mine"]) == 3
    assert "reference/mine/scores.csv: damaged, or changed" in capsys.readouterr().out
    assert record["sha256"] != digest(Path("reference/mine/scores.csv"))


def test_of_what_is_kept_only_the_code_behind_it_is_checked(run, capsys):
    code = {name: Path(f"src/{name}.py") for name in ("training", "drawing", "judging")}
    for path in code.values():
        path.write_text("code\n")
    collected = json.loads((run / "provenance.json").read_text())
    records = provenance.expanded(collected)

    def made(name, by, inputs=()):
        (run / name).write_text(name)
        record = {**records["results/mine/scores.csv"], "code": {str(code[by]): digest(code[by])}}
        record |= {"inputs": dict.fromkeys(inputs, ""), "sources": {"data/archive.tar.xz": "0"}}
        write_records([run / name], {key: record[key] for key in record if key not in ("artifact", "sha256")})
        records[f"results/mine/{name}"] = read_record(run / name)

    made("fleet.npz", "training")
    made("figure.pdf", "drawing", ["results/mine/fleet.npz"])
    made("scores.csv", "judging", ["results/mine/fleet.npz"])
    (run / "provenance.json").write_text(
        json.dumps({"experiment": collected["experiment"], "cost": {}} | condensed(records))
    )
    assert cli.main(["keep", str(run)]) == 0
    assert cli.main(["check", "reference/mine"]) == 0
    code["drawing"].write_text("edited\n")
    assert cli.main(["check", "reference/mine"]) == 0
    code["judging"].write_text("edited\n")
    assert cli.main(["check", "reference/mine"]) == 3
    # Judged again by the code that is there now, from what was kept.
    again = read_record(run / "scores.csv") | {"inputs": {"reference/mine/fleet.npz": ""}}
    again["code"] = {str(code["judging"]): digest(code["judging"])}
    write_records([Path("reference/mine/scores.csv")], again)
    assert cli.main(["check", "reference/mine"]) == 0
    code["training"].write_text("edited\n")
    capsys.readouterr()
    assert cli.main(["check", "reference/mine"]) == 3
    assert "src/training.py: changed since" in capsys.readouterr().out


def collect(run, records):
    (run / "provenance.json").write_text(
        json.dumps({"experiment": {"experiment": "mine", "search": None}, "cost": {}} | condensed(records))
    )


def test_code_that_changed_between_two_files_is_noticed(run, capsys):
    records = provenance.expanded(json.loads((run / "provenance.json").read_text()))
    first, last = min(records), max(records)
    for name, code in ((first, "an earlier one"), (last, records[last]["code"]["src/module.py"])):
        record = {key: of for key, of in records[name].items() if key not in OWN}
        write_records([Path(name)], record | {"code": {"src/module.py": code}})
        records[name] = read_record(Path(name))
    collect(run, records)
    assert cli.main(["check", str(run)]) == 3
    assert capsys.readouterr().out.splitlines()[0] == (
        "src/module.py: changed since it made some of these results"
    )


def test_what_another_run_kept_is_not_looked_for_here(run, capsys):
    records = provenance.expanded(json.loads((run / "provenance.json").read_text()))
    collect(run, records | {"reference/other/retrained/oracle/models.npz": records[min(records)]})
    assert cli.main(["check", str(run)]) == 0
    assert capsys.readouterr().out == f"{len(KEPT)} files checked; 0 problems\n"


def test_what_another_run_made_here_is_no_source_of_what_is_kept(run, capsys):
    records = provenance.expanded(json.loads((run / "provenance.json").read_text()))
    other = Path("results/other/evaluation.npz")
    other.parent.mkdir()
    other.write_text("made again on another machine")
    name = "results/mine/scores.csv"
    record = {key: of for key, of in records[name].items() if key not in OWN}
    write_records([Path(name)], record | {"sources": {str(other): "0"}})
    collect(run, records | {name: read_record(Path(name))})
    assert cli.main(["check", str(run)]) == 3
    keeping.keep(run, Path("reference"))
    assert cli.main(["check", "reference/mine"]) == 0


def test_methods_of_a_search_are_kept_by_name(run):
    """The file that they are from may have more of them later."""
    collected = json.loads((run / "provenance.json").read_text())
    methods = {"first": {}, "first_tuned": {"tuned_from": "first"}}
    collected["experiment"] |= {"methods": methods, "tuned": {"file": "chosen.yaml", "methods": None}}
    (run / "provenance.json").write_text(json.dumps(collected))
    config, *_ = keeping.keep(run, Path("reference"))
    assert yaml.safe_load(config.read_text())["tuned"] == {"file": "chosen.yaml", "methods": ["first_tuned"]}


def test_what_was_kept_and_is_gone_is_missed(run, line, capsys):
    keeping.keep(run, Path("reference"))
    Path("reference/mine/claims.csv").unlink()
    assert cli.main(["check", "reference/mine"]) == 3
    assert "reference/mine/claims.csv: missing" in capsys.readouterr().out
    assert "cannot be kept in itself" in line("keep", run, "--into", run)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, json.dumps({"common": {}, "artifacts": {}, "experiment": {"experiment": "mine"}})],
)
def test_a_record_of_nothing_is_damaged(run, line, content):
    (run / "provenance.json").write_text(content)
    assert "provenance.json: damaged" in line("check", run)


def test_condensed_fleets_are_kept_with_what_they_cost(run, line):
    collected = json.loads((run / "provenance.json").read_text())
    records = provenance.expanded(collected)
    record = {key: value for key, value in records["results/mine/scores.csv"].items() if key not in OWN}
    fleet = run / "retrained" / "oracle"
    fleet.mkdir(parents=True)
    for name in ("models.npz", "models.json"):
        (fleet / name).write_text(name)
        write_records([fleet / name], record)
    records["results/mine/retrained/oracle/models.npz"] = read_record(fleet / "models.npz")
    (run / "provenance.json").write_text(
        json.dumps({"experiment": collected["experiment"], "cost": {}} | condensed(records))
    )
    keeping.keep(run, Path("reference"))
    kept = {path.name for path in Path("reference/mine/retrained/oracle").iterdir()}
    assert kept == {f"models.{kind}{end}" for kind in ("npz", "json") for end in ("", ".provenance.json")}
    (fleet / "models.json").unlink()
    assert "retrained/oracle/models.json: no such file" in line("keep", run)
