"""What CONTRIBUTING.md shows is applied and run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"```python\n# (src/\S+)\n(.*?)```", TEXT, re.S))
TRIED = """
import numpy as np, torch, yaml
from random_mask.methods import catalogue

content = yaml.safe_load(open("config/mine.yaml"))["methods"]["shuffled"]
shuffle, loss = catalogue.perturbation(content["perturb"]), catalogue.loss(content["finetune"]["objective"])

class Model:
    weights = {"fc.weight": np.arange(6.0).reshape(2, 3), "layer4.0.conv1.weight": np.arange(24.0)}
    rng = np.random.default_rng(0)

(name, array), = shuffle(Model()).items()
assert name == "layer4.0.conv1.weight" and not np.array_equal(array, Model.weights[name])
assert np.array_equal(np.sort(array), Model.weights[name])

from random_mask.training.batch import Batch
logits, labels = torch.randn(2, 3, 4), torch.tensor([[0, 1, 2], [3, 0, 1]])
found = loss(Batch(logits, labels, torch.ones(4)), None)
for model in range(2):
    expected = torch.nn.functional.cross_entropy(logits[model], labels[model], label_smoothing=0.2)
    torch.testing.assert_close(found[model], expected)
"""


@pytest.fixture
def with_examples(tmp_path) -> Path:
    """A copy of the repository with the files of the examples, and the smoke experiment with their method."""
    for name in ("src", "config", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    assert len(FILES) == 2
    for name, text in FILES.items():
        assert not (ROOT / name).exists()
        (tmp_path / name).write_text(text)
    (example,) = re.findall(r"```yaml\n(methods:\n  shuffled:.*?)```", TEXT, re.S)
    smoke = (tmp_path / "config" / "smoke.yaml").read_text()
    config = smoke.replace("methods:\n", example.replace("batch: 64", "batch: 32"), 1)
    (tmp_path / "config" / "mine.yaml").write_text(config)
    return tmp_path


def test_a_new_perturbation_and_a_new_loss_are_files_of_their_own(with_examples):
    environment = os.environ | {"PYTHONPATH": str(with_examples / "src")}
    for command in (["-m", "random_mask.cli", "config", "config/mine.yaml"], ["-c", TRIED]):
        done = subprocess.run(
            [sys.executable, *command], cwd=with_examples, env=environment, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_are_in_the_style_of_the_project(with_examples):
    ruff = shutil.which("ruff", path=Path(sys.executable).parent)
    for command in (["check"], ["format", "--check"]):
        files = [str(with_examples / name) for name in FILES]
        done = subprocess.run([ruff, *command, *files], cwd=with_examples, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
