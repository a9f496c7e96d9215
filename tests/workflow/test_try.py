"""A person's own function, scored against kept results, and as a method of an experiment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from random_mask import cli
from random_mask.artifacts import keeping
from random_mask.artifacts.files import read_npz, write_npz
from random_mask.errors import InputError
from random_mask.trying import Trial, attempt, folder_of, shown

NOTHING = "def unlearning(net, retain_loader, forget_loader, val_loader):\n    pass\n"
HELPED = "from helper import noise\n\n\ndef spoil(net, retain, forget, val):\n    noise(net)\n"
HELPER = "import torch\n\n\ndef noise(net):\n    net.fc.bias.data += 0.1 * torch.randn(10)\n"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kept(finished, tmp_path_factory) -> Path:
    """A folder with the results of the smoke experiment, kept as the authors' are, and the run itself."""
    folder = tmp_path_factory.mktemp("kept")
    for name in ("results/smoke", "reference", "config", "src"):
        shutil.copytree(finished.root / name, folder / name)
    keeping.keep(folder / "results" / "smoke", folder / "reference")
    return folder


@pytest.fixture
def root(kept, monkeypatch) -> Path:
    """The same, which is where commands run; files of functions are left by each test."""
    monkeypatch.chdir(kept)
    for name in ("mine.py", "helper.py"):
        Path(name).unlink(missing_ok=True)
    return kept


def test_a_function_that_does_nothing_is_the_original_model(root):
    Path("mine.py").write_text(NOTHING)
    said = []
    found = attempt(Trial("mine.py", "smoke"), said.append)
    assert json.loads(json.dumps(found)) == found
    lines = shown(found).splitlines()
    assert lines[0] == "mine.py on smoke, N = 4, 95 % intervals in brackets"
    assert "0% of the ceiling" in lines[1]
    examples = read_npz("reference/smoke/examples.npz")
    for part in ("retain", "test"):
        assert found["accuracy"][part] == examples[f"original/0/{part}_accuracy"].mean()
    assert (found["models"], found["cost"], found["score"]["estimate"]) == (4, 0, 0)
    assert found["spread"]["estimate"] < 1e-6
    oracle = examples["oracle/oracle_confidences"]
    gaps = examples["original/0/confidences"].mean(axis=0) - oracle.mean(axis=0)
    assert found["shift"]["estimate"] == pytest.approx((gaps / oracle.std(axis=0, ddof=1)).mean(), rel=1e-3)
    text = Path(found["page"]).read_text()
    assert "unlearning" in text
    assert "1 original model;" in text
    assert '<th scope="row">warnings' not in text
    assert text.count("data:image/png") == len(oracle[0])
    # The run here was made by the same code, so nothing but the models is made.
    assert said[0].startswith("unlearning 4 models by mine.py")
    assert "warning: mine.py: changed no weight of the network, and returned no other" in said
    assert [path.name for path in Path("results/try/smoke").iterdir()] == ["functions"]
    # Compared with the methods of that experiment, which is the only one of its kind.
    assert found["differences"].keys() == {"finetune", "random_mask"}
    assert found["place"]["experiment"] == "smoke"
    assert found["place"]["of"] == 5


def test_as_text_and_as_a_page_whatever_the_function_is_called(root, capsys):
    Path("mine.py").write_text(HELPED.replace("spoil", "finetune"))
    Path("helper.py").write_text(HELPER)
    assert cli.main(["try", "mine.py:finetune", "--experiment", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mine.py:finetune on smoke, N = 4, 95 % intervals in brackets"
    page = Path("results/try/smoke/functions/mine.finetune/report.html").read_text()
    of_methods = page[page.index('<section id="scores">') : page.index('<section id="paired-differences">')]
    rows = [re.sub("<[^>]+>", " ", row).split() for row in of_methods.split("<tr>")]
    (own,) = (row for row in rows if row[:1] == ["finetune"])
    assert sum(row[:1] == ["Fine-tuning"] for row in rows) == 1
    score, interval = re.match(r"score +(\S+) (\[\S+ \S+\]),", lines[1]).groups()
    assert " ".join(own[1:4]) == f"{score} {interval}"
    assert lines[1].startswith("score")
    assert "of the ceiling" in lines[1]
    names = [line.split("  ")[0] for line in lines[3:6]]
    assert names == ["retain accuracy", "forget accuracy", "test accuracy"]


def test_what_was_made_is_taken_again_until_something_changes(root):
    Path("mine.py").write_text(HELPED)
    Path("helper.py").write_text(HELPER)
    trial = Trial("mine.py:spoil", "smoke")
    folder = Path("results/try/smoke/functions/mine.spoil")

    def made() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}

    found = attempt(trial)
    before = made()
    assert before.keys() == {f"models-000{model}.npz" for model in range(4)}
    assert attempt(trial) | {"measured_seconds": 0} == found | {"measured_seconds": 0}
    assert made() == before
    # One that is damaged is made anew, to the same.
    (folder / "models-0002.npz").write_bytes(b"")
    assert attempt(trial)["score"] == found["score"]
    assert {name for name, at in made().items() if before[name] != at} == {"models-0002.npz"}
    Path("helper.py").write_text(HELPER.replace("0.1", "0.2"))
    attempt(trial)
    assert not set(made().items()) & set(before.items())


def test_files_of_one_name_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = ("mine.py", "one/mine.py", "../mine.py")
    found = [folder_of(Path(file), "unlearning") for file in files]
    assert found[:2] == ["mine.unlearning", "one--mine.unlearning"]
    assert "/" not in found[2]
    assert len(set(found)) == len(files)


def test_without_a_run_the_original_is_trained_by_the_same_code(root):
    Path("mine.py").write_text(NOTHING)
    said = []
    attempt(Trial("mine.py", "smoke"), said.append, results=Path("elsewhere"))
    assert said[:2] == ["prepare data", "train original"]
    for name in ("original/0.safetensors", "fleets/original/0/models.npz", "data/images.npz"):
        made, in_the_run = (Path(folder) / "smoke" / name for folder in ("elsewhere/try", "results"))
        assert made.read_bytes() == in_the_run.read_bytes()


def test_a_model_that_fails_lets_the_others_go_on(root, capsys, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    Path("mine.py").write_text(
        "import random\n\n\ndef unlearning(net, retain, forget, val):\n"
        "    print('seen')\n    if random.random() < 0.5:\n        net.layer9\n"
    )
    assert cli.main(["try", "mine.py", "--experiment", "smoke"]) == 1
    printed = capsys.readouterr()
    *_, first, frame, models = printed.err.splitlines()
    assert first == "random-mask: mine.py:7: AttributeError: 'ResNet' object has no attribute 'layer9'"
    assert frame == "  mine.py:7, in unlearning: net.layer9"
    failed = json.loads(f"[{models.split('model ')[1].rstrip(')')}]")
    made = {int(path.stem[-4:]) for path in Path("results/try/smoke/functions/mine.unlearning").glob("*.npz")}
    assert made == set(range(4)) - set(failed)
    assert 0 < len(failed) < 4
    assert printed.out == ""


def test_a_model_that_takes_too_long(root):
    Path("mine.py").write_text("import time\n\n\ndef unlearning(net, a, b, c):\n    time.sleep(600)\n")
    said = r"^mine.py: took more than the 5 s of --timeout\n  \(model 0, 1, 2, 3\)$"
    with pytest.raises(InputError, match=said):
        attempt(Trial("mine.py", "smoke", timeout=5, cores=4))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.py"], "no.py: no such file; correct the path of the function"),
        (["mine.py:other"], "mine.py: has no function other; it has unlearning; name one of them, as"),
        (["mine.py", "--experiment", "no"], "reference/no: no kept results of an experiment of this name;"),
        (
            ["mine.py", "--models", "5"],
            "--models 5: of reference/smoke take 4 to 4, as many as its oracle has",
        ),
    ],
)
def test_mistakes(root, capsys, arguments, said):
    Path("mine.py").write_text(NOTHING)
    experiment = [] if "--experiment" in arguments else ["--experiment", "smoke"]
    assert cli.main(["try", *arguments, *experiment]) == 1
    assert capsys.readouterr().err.startswith(f"random-mask: {said}")


def test_an_oracle_of_other_images_is_refused(root):
    Path("mine.py").write_text(NOTHING)
    shutil.copytree("reference/smoke", "reference/changed", dirs_exist_ok=True)
    arrays = read_npz("reference/changed/examples.npz")
    write_npz("reference/changed/examples.npz", arrays | {"oracle/label": 9 - arrays["oracle/label"]})
    try:
        with pytest.raises(InputError, match="other images than those of reference/changed"):
            attempt(Trial("mine.py", "changed"))
    finally:
        shutil.rmtree("reference/changed")


def test_as_a_method_it_is_trained_alone_and_again_if_its_files_change(copy_of_finished):
    root = copy_of_finished.root
    (root / "mine.py").write_text(HELPED)
    (root / "helper.py").write_text(HELPER)
    content = yaml.safe_load((root / "config" / "smoke.yaml").read_text())
    del content["relearn"]
    content["methods"]["mine"] = {"function": "mine.py:spoil", "compare_with": ["finetune"]}
    config = root / "config" / "own.yaml"
    config.write_text(yaml.safe_dump(content))
    trained = {"prepare_data", "train_original", "mask", "unlearn", "retrain", "relearn"}
    planned = copy_of_finished.planned(config=config)
    assert planned & {*trained, "unlearn_own"} == {"unlearn_own"}
    fleet = "results/smoke/own/mine/original-0/models-0000-0003.npz"
    done = copy_of_finished.snakemake(fleet, config=config)
    assert done.returncode == 0, done.stdout
    stored = read_npz(root / fleet)
    assert stored.keys() == read_npz(root / fleet.replace("own/mine", "fleets/finetune")).keys()
    assert len(np.unique(stored["logits_forget"][:, 0, 0])) == 4
    assert copy_of_finished.planned(fleet, config=config) == set()
    (root / "helper.py").write_text(HELPER.replace("0.1", "0.2"))
    assert copy_of_finished.planned(fleet, config=config) == {"unlearn_own"}
    (root / "helper.py").write_text("def broken(:\n")
    returncode, printed = copy_of_finished.dry_run(config=config)
    assert returncode == 1
    assert "helper.py:1: SyntaxError" in printed
    assert "Traceback" not in printed


def test_the_command_without_the_repository(tmp_path):
    (tmp_path / "mine.py").write_text(NOTHING)
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-m", "random_mask.cli", "try", "mine.py"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "random-mask: reference/digits: no kept results of an experiment of this name; "
        "go to the root of the repository first\n"
    )
