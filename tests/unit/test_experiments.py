"""Which experiments a run of the workflow knows, and where the paper takes its numbers from."""

import json
from pathlib import Path

import pytest
import yaml

from random_mask.errors import InputError
from random_mask.experiment.config import Experiment
from random_mask.workflow.experiments import Library, Paper, Reported, read_reported

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout with one configuration."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    text = (ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8")
    (tmp_path / "config" / "smoke.yaml").write_text(text, encoding="utf-8")
    return tmp_path


REPORTED = {
    name: Reported.model_validate({"from": source, "minutes": 1})
    for name, source in {"digits": "run", "digits-all": "reference", "cifar10_jpeg": "reference"}.items()
}


def test_an_experiment_is_read_and_checked_once_when_it_is_asked_for():
    checked = []
    library = Library(check=lambda plan: checked.append(plan.results))
    assert not checked
    assert library.plan("smoke") is library.plan("smoke")
    library.plan("digits")
    assert checked == ["results/smoke", "results/digits"]


def test_a_missing_configuration_is_one_line_that_names_those_there_are(folder):
    with pytest.raises(InputError, match=r"^config/nope.yaml: no such file; the experiments here are smoke$"):
        Library().plan("nope")


def test_a_configuration_of_another_name_is_refused(folder):
    (folder / "config" / "smoke.yaml").rename(folder / "config" / "mine.yaml")
    with pytest.raises(InputError, match=r"^config/mine.yaml: experiment: smoke, which is not the name"):
        Library().plan("mine")


@pytest.mark.parametrize("name", ["paper", "try"])
def test_a_name_that_is_taken_is_refused(folder, name):
    content = yaml.safe_load((folder / "config" / "smoke.yaml").read_text()) | {"experiment": name}
    with pytest.raises(InputError, match=rf"^mine.yaml: experiment: results/{name} is taken"):
        Library([written(folder / "mine.yaml", content).name], content)


def written(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_configuration_elsewhere_is_the_experiment_of_its_name(folder):
    content = yaml.safe_load((folder / "config" / "smoke.yaml").read_text()) | {"experiment": "mine"}
    path = written(folder / "elsewhere.yaml", content)
    library = Library([path], content | {"models": 3, "run": "all"})
    assert library.given is library.plan("mine")
    assert library.given.experiment.models == 3
    assert library.plan("smoke").experiment.models != 3


def test_two_configurations_are_not_mixed():
    with pytest.raises(
        InputError, match=r"^--configfile a.yaml b.yaml: is for one experiment; give one file$"
    ):
        Library(["a.yaml", "b.yaml"], {"models": 3})


def test_a_key_of_no_experiment_is_refused():
    with pytest.raises(InputError, match=r"^--config models: of which experiment\?"):
        Library([], {"models": 3})
    assert Library([], {"run": "none"}).given is None


@pytest.mark.parametrize(
    ("switch", "run"),
    [
        (None, ["digits"]),
        ("all", list(REPORTED)),
        ("none", []),
        ("cifar10_jpeg, digits", ["digits", "cifar10_jpeg"]),
        ("digits,", ["digits"]),
        (["digits-all"], ["digits-all"]),
    ],
)
def test_a_switch_says_which_experiments_are_made_here(switch, run):
    paper = Paper(REPORTED, switch)
    assert paper.run == run
    for name in REPORTED:
        assert paper.folder(name) == ("results/" if name in run else "reference/") + name
    assert {Path(path).parent.as_posix() for path in paper.results} == set(map(paper.folder, REPORTED))
    assert all(path.startswith("reference/") for path in paper.authors)


def test_a_switch_that_names_what_the_paper_does_not_report_is_refused():
    with pytest.raises(
        InputError, match=r"^--config run=smoke: the paper does not report smoke; choose `all`"
    ):
        Paper(REPORTED, "smoke")


def test_the_authors_results_of_what_is_not_made_here_have_to_be_there(folder):
    with pytest.raises(InputError, match=r"reference/digits-all: not there.*--config run=digits,digits-all$"):
        Paper(REPORTED).check()
    Paper(REPORTED, "all").check()


def test_the_settings_of_the_paper_fit_in_an_argument_and_are_read_as_they_were():
    """An argument of Linux has 128 KiB at most; there should be room for methods of others."""
    paper = Paper(read_reported(), "all")
    settings = paper.settings(Library())
    assert len(settings) < 100_000
    read_again = {
        name: Experiment.model_validate(of) for name, of in json.loads(settings)["experiments"].items()
    }
    assert read_again == paper.experiments(Library())


def test_what_the_paper_reports_is_there():
    reported = read_reported()
    paper = Paper(reported, "none")
    paper.check()
    assert list(paper.experiments(Library())) == list(reported)
    assert all(Path(path).exists() for path in [*paper.results, *paper.chosen(Library())])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("experiments: {digits: {from: here, minutes: 1}}", "config/paper.yaml: experiments.digits.from: "),
        ("experiments: {digits: {from: run}}", "config/paper.yaml: experiments.digits.minutes: "),
        ("experiment: [", "config/paper.yaml: not valid YAML: "),
        ("", "config/paper.yaml: "),
        (
            "experiments:\n  digits: {from: run, minutes: 1}\n  digits: {from: run, minutes: 2}",
            "config/paper.yaml: not valid YAML: line 3: `digits` stands twice",
        ),
    ],
)
def test_a_wrong_list_is_one_line(folder, text, told):
    (folder / "config" / "paper.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_reported()
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
