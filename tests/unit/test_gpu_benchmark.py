"""The one command for a GPU runs in toy size on a processor; nothing is said of its times."""

import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu():
    torch.set_num_threads(1)
    return importlib.import_module("gpu")


def run_part(gpu, out: Path, part: str, *more: str) -> dict:
    """Run a part in this process; return what it wrote."""
    gpu.main([str(out), "--toy", "--part", part, *more])
    return json.loads((out / f"{part}.json").read_text())


def test_what_is_computed_in_another_way_agrees(gpu, tmp_path):
    found = run_part(gpu, tmp_path, "checks-bf16")
    compared = {name: value for name, value in found.items() if isinstance(value, dict) and "good" in value}
    assert len(compared) == 8
    assert all(value["good"] for value in compared.values())
    assert found["summary"] == "8 of 8 agree"


def test_a_check_that_fails_or_ends_with_an_error_hides_no_other(gpu, tmp_path, monkeypatch, capsys):
    def planar(*_):
        raise RuntimeError("no such algorithm")

    wrong = gpu.CONVOLUTIONS["grouped"]
    monkeypatch.setitem(gpu.CONVOLUTIONS, "planar", planar)
    monkeypatch.setitem(gpu.CONVOLUTIONS, "products", lambda maps, *rest: 0.5 * wrong(maps.roll(1, 2), *rest))
    found = run_part(gpu, tmp_path, "checks-fp32")
    ways = {way: found[f"sgd: convolutions {way} against the chosen"] for way in gpu.CONVOLUTIONS}
    assert [ways[way]["good"] for way in ("grouped", "planar", "products")] == [True, False, False]
    assert ways["planar"]["error"] == "no such algorithm"
    assert "Traceback" in capsys.readouterr().err
    assert found["summary"].startswith("7 of 9 agree; not: sgd: convolutions planar")


def test_every_convolution_is_measured_in_every_way(gpu, tmp_path):
    found = run_part(gpu, tmp_path, "layers")
    shapes = [name for name in found if name.startswith(("fp32", "bf16"))]
    assert len(shapes) == 2 * 8  # distinct ones; those of whole maps are products already
    assert all(found[name].keys() == gpu.CONVOLUTIONS.keys() for name in shapes)


def test_throughput_and_what_is_read_from_it(gpu, tmp_path):
    arguments = ["--models", "2", "1", "--batch", "64", "--precision", "fp32", "--row-seconds", "0.01"]
    found = run_part(gpu, tmp_path, "throughput", *arguments)
    rows = gpu.rows_of(gpu.options_of([str(tmp_path)]))
    assert [(row.precision, row.batch, row.models) for row in rows] == [("fp32", 64, 1), ("fp32", 64, 2)]
    assert all(found[f"fp32, batches of 64, {models} models"]["speed"] > 0 for models in (1, 2))
    forced = [name for name in found if name.endswith(("grouped", "planar", "products"))]
    assert len(forced) == 3
    assert "its protocol would take" in found["summary"]


def test_what_bounds_a_stack(gpu):
    def bounds(*speeds):
        rows = [gpu.Row("bf16", 64, 2**power, speed, 1.0) for power, speed in enumerate(speeds)]
        return gpu.bounds(rows)

    assert bounds(100, 190, 200, 0) == ["launches", "the device", "the device", "memory: does not fit"]
    assert bounds(100, 130) == ["both", "both"]
    assert bounds(100) == ["unknown"]


def test_the_time_of_the_protocol_of_the_competition(gpu):
    # 512 models of 30 epochs and 512 of 5, each of 45,000 images.
    assert gpu.protocol_hours(1e6) == pytest.approx(512 * 35 * 45_000 / 1e6 / 3600)


def test_the_profile_names_kernels(gpu, tmp_path):
    found = run_part(gpu, tmp_path, "profile")
    assert found["busy"] > 0
    assert found["largest"][0]["ms_a_step"] >= found["largest"][-1]["ms_a_step"] >= 0
    assert "aten::" in (tmp_path / "profile.txt").read_text()


def test_cifar10_goes_on_where_it_stopped(gpu, tmp_path, monkeypatch):
    first = run_part(gpu, tmp_path, "cifar10")
    assert {"model-0000", "retrain-0000", "random_mask-0000"} <= first.keys()
    assert first["summary"].startswith("2 models of each fleet; forgetting quality")
    assert "of made-up images" in first["summary"]
    files = {path: path.read_bytes() for path in (tmp_path / "cifar10").iterdir()}
    (tmp_path / "cifar10" / "random_mask-0000.npz").unlink()
    again = run_part(gpu, tmp_path, "cifar10")
    assert "random_mask-0000" in again
    assert "retrain-0000" not in again
    assert again["forgetting_quality"] == first["forgetting_quality"]
    for path, content in files.items():
        assert path.read_bytes() == content, path


def test_no_shard_is_begun_that_would_not_end(gpu, tmp_path, monkeypatch):
    run_part(gpu, tmp_path, "cifar10")
    monkeypatch.setattr(gpu, "speeds_of", lambda *_: {8: 1.0})
    for path in (tmp_path / "cifar10").glob("r*.npz"):
        path.unlink()
    monkeypatch.setattr(gpu, "PROTOCOL", {"retrained": (512, 30)})
    options = gpu.options_of([str(tmp_path), "--part", "cifar10", "--seconds", "5"])
    options.toy, options.data = False, None
    monkeypatch.setattr(gpu, "data_of", lambda _: (gpu.synthetic(44, 4), gpu.divided(24, 8, 4, 8)))
    assert gpu.cifar10(options, gpu.Report(tmp_path / "x.json")).startswith("0 retrained, 0 unlearned")


def job(rule: str, command: str, inputs: list[Path], output: Path) -> dict:
    log = output.parent / "logs" / f"{rule}.log"
    files = {"input": [*map(str, inputs)], "output": [str(output)], "log": [str(log)]}
    return {"rule": rule, "command": f"python -c {command!r} 2> {log}", **files}


def test_a_plan_is_followed_as_far_as_it_goes(gpu, tmp_path, capfd):
    made = {name: tmp_path / "made" / name for name in "abcd"}
    plan = [
        job("a", f"open(r'{made['a']}', 'w')", [], made["a"]),
        job("b", f"open(r'{made['b']}', 'w')", [made["a"]], made["b"]),
        job("c", "raise SystemExit('no module of that name')", [made["a"]], made["c"]),
        job("d", f"open(r'{made['d']}', 'w')", [made["b"], made["c"]], made["d"]),
    ]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    found = run_part(gpu, tmp_path, "smoke", "--plan", str(tmp_path / "plan.json"))
    assert found["summary"] == "2 of 4 jobs; not: c, d (not run)"
    assert "no module of that name" in capfd.readouterr().out
    assert [made[name].exists() for name in "abcd"] == [True, True, False, False]
    again = run_part(gpu, tmp_path, "smoke", "--plan", str(tmp_path / "plan.json"))
    assert str(made["a"]) not in again  # what is there is not made again


def test_the_plan_for_a_machine_without_snakemake_makes_the_scores(gpu, tmp_path, monkeypatch):
    monkeypatch.chdir(gpu.ROOT)
    gpu.write_plan(tmp_path / "plan.json")
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert {"prepare_data", "train_original", "retrain", "mask", "unlearn", "scores"} <= {
        each["rule"] for each in plan
    }
    made = set()
    for each in plan:
        assert all(path in made or Path(path).exists() for path in each["input"]), each["rule"]
        assert each["command"].startswith("python -m random_mask.stages.")
        made |= set(each["output"])
    assert gpu.SCORES in made


def test_with_snakemake_the_profile_for_gpus_is_taken(gpu, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(gpu.subprocess, "run", lambda command, **_: asked.append(command))
    monkeypatch.setattr(gpu.shutil, "which", lambda name: name)
    assert run_part(gpu, tmp_path, "smoke")["summary"] == f"{gpu.SCORES} is made"
    (command,) = asked
    assert command[0] == "snakemake"
    assert (gpu.ROOT / command[command.index("--workflow-profile") + 1] / "config.yaml").exists()
    assert (gpu.ROOT / command[command.index("--configfile") + 1]).exists()


def test_without_snakemake_and_a_plan_the_workflow_is_skipped(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    assert run_part(gpu, tmp_path, "smoke")["summary"].startswith("skipped: there is no snakemake here")


def test_no_part_keeps_the_next_from_running(gpu, tmp_path, capsys):
    """One ends with an error, one is stopped, one runs; packages that are brought along are found."""
    wheels, plan = tmp_path / "wheels", tmp_path / "plan.json"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "brought-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("brought.py", "")
    done = tmp_path / "done"
    plan.write_text(json.dumps([job("a", f"import brought; open(r'{done}', 'w')", [], done)]))
    arguments = [str(tmp_path / "out"), "--toy", "--plan", str(plan), "--packages", str(wheels)]
    arguments += ["--data", str(tmp_path / "nothing"), "--parts"]
    gpu.main([*arguments, "cifar10", "smoke"])
    lines = capsys.readouterr().out.splitlines()
    assert "nothing/split.csv: no such file" in lines[0]
    assert lines[0].startswith("cifar10: failed")
    assert lines[1].startswith("smoke: 1 of 1 jobs (")
    gpu.main([*arguments, "smoke"])
    assert "smoke: 1 of 1 jobs (before; delete smoke.json to run it again)" in capsys.readouterr().out


def test_a_part_that_hangs_is_stopped(gpu, tmp_path, monkeypatch, capsys):
    done = tmp_path / "done"
    (tmp_path / "plan.json").write_text(json.dumps([job("a", "import time; time.sleep(600)", [], done)]))
    monkeypatch.setitem(gpu.PARTS, "smoke", (gpu.smoke, 3))
    out = tmp_path / "out"
    gpu.main([str(out), "--toy", "--plan", str(tmp_path / "plan.json"), "--parts", "smoke"])
    assert capsys.readouterr().out.startswith("smoke: stopped after 3 s (")


def test_without_a_gpu_it_says_how_to_go_on(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="gpu: torch finds no GPU here; add --toy"):
        gpu.main([str(tmp_path)])


def test_splits_follow_each_other(gpu):
    splits = gpu.divided(3, 2, 1, 2)
    assert np.array_equal(np.concatenate(list(splits.values())), np.arange(8))
    assert list(splits["forget"]) == [3, 4]


def test_it_needs_no_package_that_a_bare_machine_lacks():
    lacking = ("cyclopts", "grimp", "matplotlib", "pandas", "sklearn", "snakemake", "yaml")
    code = f"import sys, gpu; print([name for name in {lacking} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
