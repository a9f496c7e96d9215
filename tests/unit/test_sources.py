import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import random_mask
from random_mask.methods import catalogue
from random_mask.workflow.code import modules_of, stage_code

PACKAGE = Path(random_mask.__file__).parent

STAGES = sorted(
    path.stem
    for path in (PACKAGE / "stages").glob("*.py")
    if path.stem not in ("__init__", "command", "fleet")
)


LOADED = """
import json, os, sys
import numpy, pandas, pydantic, scipy.stats, seaborn, torch, torchvision, yaml  # once for all

for stage in sys.argv[1:]:
    if not os.fork():
        __import__(f"random_mask.stages.{stage}")
        ours = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "random_mask"]
        print(json.dumps([stage, ours]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[Path]]:
    """The modules that Python itself loads for each stage, in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", LOADED, *STAGES], capture_output=True, text=True, check=True
    )
    return {stage: set(map(Path, files)) for stage, files in map(json.loads, result.stdout.splitlines())}


@pytest.mark.parametrize("stage", STAGES)
def test_the_modules_of_a_stage_are_those_it_loads(stage, loaded):
    """All methods too, where they are loaded by name to read a whole configuration."""
    assert set(map(os.path.abspath, stage_code(stage))) == set(map(str, loaded[stage]))


def test_what_a_method_loads_by_name_is_code_of_its_fleets():
    step = {"perturb": {"name": "noise"}, "finetune": [{"objective": {"name": "contrast"}}]}
    modules = catalogue.modules_of([step])
    assert modules == ["random_mask.methods.losses.contrast", "random_mask.methods.noise"]
    code = stage_code("unlearn", *modules)
    for file in ("losses/contrast.py", "noise.py", "perturbation.py", "loss.py"):
        assert os.path.relpath(PACKAGE / "methods" / file) in code
    assert os.path.relpath(PACKAGE / "methods" / "random_mask.py") not in code


def names(stage: str) -> set[str]:
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix()
        for path in modules_of(f"random_mask.stages.{stage}")
    }


def test_what_an_edit_re_runs():
    """Editing a figure never retrains, and editing the perturbation never retrains the oracle."""
    trains = ("train_original", "retrain", "unlearn")
    assert not any("report/figures" in names(stage) for stage in trains)
    assert not any("methods/random_mask" in names(stage) for stage in trains)
    assert "methods/random_mask" in names("mask")
    assert all("training/loop" in names(stage) for stage in trains)
    assert "training/loop" not in names("evaluate") | names("figures") | names("mask")


def test_imports_are_found_however_they_are_written(tmp_path, monkeypatch):
    package = tmp_path / "pack"
    (package / "sub").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "a": "import pack.b\nfrom . import c\ndef f():\n    from .sub import d\n"
        "if TYPE_CHECKING:\n    import pack.unused",
        "b": "",
        "c": "from pack.sub.e import x",
        "sub/__init__": "",
        "sub/d": "",
        "sub/e": "x = 1\nfrom .. import b",
        "unused": "",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def found(*modules: str) -> set[str]:
        return {path.relative_to(package).with_suffix("").as_posix() for path in modules_of(*modules)}

    assert found("pack.a") == {"__init__", "a", "b", "c", "sub/__init__", "sub/d", "sub/e"}
    # What is loaded by name is added, with what that imports.
    assert found("pack.b", "pack.sub.e") == {"__init__", "b", "sub/__init__", "sub/e"}


def test_an_unknown_module_is_an_error():
    with pytest.raises(ModuleNotFoundError, match=r"no module random_mask\.nothing"):
        modules_of("random_mask.nothing")


def test_a_change_of_the_whole_configuration_retrains_nothing():
    trains = ("prepare_data", "train_original", "retrain", "mask", "unlearn", "evaluate")
    assert not any("experiment/config" in names(stage) for stage in trains)
