"""The smallest real experiment, run as a user runs it, from data to figures and tables."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dry_runs import dry_run
from PIL import Image

from random_mask.artifacts.weights import read_masks, read_weights
from random_mask.metrics.competition import forgetting_quality

pytestmark = pytest.mark.slow

COLUMNS = (
    "method,original,n_models,forgetting_quality,forgetting_quality_low,forgetting_quality_high,"
    "retain_accuracy,forget_accuracy,test_accuracy,score,score_low,score_high,seconds_per_model"
)
METHODS = ["original", "finetune", "random_mask", "random_mask_described", "random_mask_ratio_0", "retrain"]


def test_the_default_profile_is_loaded(finished):
    assert "Using workflow specific profile profiles/default" in finished.printed
    assert not list(finished.root.glob(".snakemake/conda/*"))  # which only `--sdm conda` asks for


def test_scores(finished):
    path = finished.result("scores.csv")
    assert path.read_text().splitlines()[0] == COLUMNS
    scores = pd.read_csv(path).set_index("method")
    assert list(scores.index) == METHODS
    assert (scores["n_models"] == 4).all()
    for name in ("score", "forgetting_quality"):
        assert (scores[f"{name}_low"] <= scores[name]).all()
        assert (scores[name] <= scores[f"{name}_high"]).all()
    assert scores.loc["original", "score"] == 0
    assert (scores.drop("original")["seconds_per_model"] > 0).all()
    accuracies = scores[["retain_accuracy", "forget_accuracy", "test_accuracy"]].to_numpy()
    assert ((accuracies >= 0) & (accuracies <= 1)).all()


def test_the_score_follows_from_the_stored_logits(finished):
    """From the shards themselves, without the stages in between."""
    split = pd.read_csv(finished.result("data/split.csv"))
    labels = split.loc[split["split"] == "forget", "label"].to_numpy()

    def confidences(logits):
        rest = np.where(np.arange(10) == labels[:, None], -np.inf, logits.astype(float))
        chosen = np.take_along_axis(
            logits.astype(float), np.broadcast_to(labels[:, None], (4, 16, 1)), axis=2
        )
        return chosen[..., 0] - np.logaddexp.reduce(rest, axis=2)

    def fleet(name):
        return np.load(finished.result(f"fleets/{name}/models-0000-0003.npz"))

    unlearned, oracle = fleet("random_mask/original-0"), fleet("oracle")
    quality = forgetting_quality(
        confidences(unlearned["logits_forget"]), confidences(oracle["logits_forget"])
    )
    row = pd.read_csv(finished.result("scores.csv")).set_index("method").loc["random_mask"]
    assert row["forgetting_quality"] == pytest.approx(quality)
    ratio = 1.0
    for split in ("retain", "test"):
        ratio *= unlearned[f"accuracy_{split}"].mean() / oracle[f"accuracy_{split}"].mean()
    assert row["score"] == pytest.approx(quality * ratio)


def test_measures(finished):
    measures = pd.read_csv(finished.result("measures.csv"))
    assert list(measures.columns) == ["method", "original", "measure", "value", "low", "high"]
    assert list(measures["method"].unique()) == METHODS
    assert (measures.groupby("method")["measure"].nunique() == measures["measure"].nunique()).all()
    known = measures.dropna()
    # Of four models per fleet U-LiRA is unknown.
    assert set(measures["measure"]) - set(known["measure"]) == {"ulira_accuracy", "ulira_true_positives"}
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"])).all()
    values = measures.set_index(["method", "measure"])["value"]
    scores = pd.read_csv(finished.result("scores.csv")).set_index("method")
    oracle = np.load(finished.result("fleets/oracle/models-0000-0003.npz"))["accuracy_test"].mean()
    for method in METHODS:
        gap = scores.loc[method, "test_accuracy"] - oracle
        assert values[method, "gap_test"] == pytest.approx(gap)


def test_what_relearns_are_the_models_of_the_fleet(finished):
    """Weights are not kept, so they are trained once more; the first loss is that of the stored logits."""
    split = pd.read_csv(finished.result("data/split.csv"))
    labels = split.loc[split["split"] == "forget", "label"].to_numpy()
    for role in ("oracle", "retrain", "finetune/original-0", "random_mask/original-0"):
        logits = np.load(finished.result(f"fleets/{role}/models-0000-0003.npz"))["logits_forget"][:2]
        logits = logits.astype(float)
        right = np.take_along_axis(logits, np.broadcast_to(labels[:, None], (2, 16, 1)), axis=2)[..., 0]
        losses = np.load(finished.result(f"relearn/{role}.npz"))["loss"]
        assert losses.shape == (2, 3)
        assert losses[:, 0] == pytest.approx((np.logaddexp.reduce(logits, axis=2) - right).mean(axis=1))


def test_masks_are_kept_with_a_table_that_counts_them(finished):
    weights = read_weights(finished.result("original/0.safetensors"))
    folder = finished.result("masks/random_mask/original-0")
    table = pd.read_csv(folder / "models-0000-0003.csv")
    assert set(table["model"]) == {0, 1, 2, 3}
    for model in (0, 3):
        masks = read_masks(folder / "models-0000-0003.safetensors", model)
        for row in table[table["model"] == model].itertuples():
            assert row.weights == weights[row.tensor].size
            assert row.masked == ((~masks[row.tensor]).sum() if row.tensor in masks else 0)
    shortcuts = table[table["tensor"].str.contains(r"downsample\.1")]
    assert (shortcuts["masked"] > 0).all()


def test_every_job_has_a_log_and_a_benchmark(finished):
    jobs = list(finished.result("benchmarks").rglob("*.tsv"))
    logs = list(finished.result("logs").rglob("*.log"))
    (steps,) = re.findall(r"(\d+) of \d+ steps \(100%\) done", finished.printed)
    assert len(jobs) == len(logs) == int(steps) - 1  # the last step, `all`, runs nothing
    text = finished.result("logs/oracle/models-0000-0003.log").read_text()
    assert "model 3 (4 of 4 in this job), epoch 2/2" in text
    assert "s left" in text


def test_figures_are_not_empty(finished, tmp_path):
    pdftoppm = shutil.which("pdftoppm")
    if pdftoppm is None:
        pytest.skip("pdftoppm is not installed (package poppler-utils)")
    for path in sorted(finished.result("figures").glob("*.pdf")):
        os.system(f"{pdftoppm} -r 50 -png -singlefile {path} {tmp_path / path.stem}")
        pixels = np.asarray(Image.open(tmp_path / f"{path.stem}.png").convert("L"))
        assert 0.01 < (pixels < 200).mean() < 0.9, path.name


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.snakemake().stdout


def test_figures_tables_and_page_are_the_same_bytes_again(copy_of_finished, finished):
    made = [path for of in ("figures", "tables") for path in finished.result(of).glob("*.[pcht]*")]
    names = ["report.html", *(f"{path.parent.name}/{path.name}" for path in made if "json" not in path.name)]
    assert len(names) > 20
    for name in [*names, "provenance.json"]:
        copy_of_finished.result(name).unlink()
    assert copy_of_finished.snakemake().returncode == 0
    for name in names:
        assert copy_of_finished.result(name).read_bytes() == finished.result(name).read_bytes(), name


def test_a_mistake_in_the_configuration_stops_before_anything_runs(fresh):
    """In a value, and in the file; `test_config.py` has all that is noticed."""
    path = fresh.root / "config" / "mine.yaml"
    smoke = (fresh.root / "config" / "smoke.yaml").read_text()
    for new, message in (
        ("modles: 4", "modles: unknown key"),
        ("models: 4\nmodels: 8", "not valid YAML: line 13: `models` stands twice"),
    ):
        path.write_text(smoke.replace("models: 4", new))
        process = fresh.snakemake(config=path)
        assert process.returncode == 1
        assert f"config/mine.yaml: {message}" in process.stdout
        assert "Traceback" not in process.stdout
        assert not (fresh.root / "results").exists()


def test_a_file_that_an_experiment_cannot_have_is_one_line(fresh):
    for target, message in (
        (
            "digits/evaluation/nope/original-0.json",
            "results/digits: has no method nope; there are ",
        ),
        ("digits/relearn/oracle.npz", "results/digits: its configuration has no `relearn`, so there is no "),
        ("smoke/relearn/nope/original-0.npz", "results/smoke: has no method nope; there are "),
        ("smoke/relearn/retrain/original-0.npz", "results/smoke: has no method retrain; there are "),
        ("smoke/masks/original/original-0/models-0000-0003.csv", "results/smoke: has no method original; "),
        ("smoke/fleets/retrain/original-0/models-0000-0003.npz", "results/smoke: has no method retrain; "),
        ("smoke/own/finetune/original-0/models-0000-0003.npz", "finetune: no function of your own; its "),
        ("digits/chosen.yaml", "results/digits: its configuration has no `search`, so there is no such file"),
    ):
        status, printed = dry_run(fresh.root, [f"results/{target}"])
        assert status == 1, printed
        assert message in printed
        assert "Traceback" not in printed
    assert not (fresh.root / "results").exists()


def test_the_same_fleets_in_bfloat16(finished):
    """By the benchmark, which reads the finished run and leaves it as it is."""
    benchmark = Path(__file__).parents[2] / "benchmarks/precision.py"
    process = subprocess.run(
        [sys.executable, benchmark, "--configfile", "config/smoke.yaml"],
        cwd=finished.root,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    scores = pd.read_csv(finished.result("scores.csv")).set_index("method")["score"]
    for method in ("random_mask", "retrain"):
        assert re.search(rf"\| {method} fp32 \| oracle fp32 \|.*\| {scores[method]:.4f} \[", process.stdout)
        assert re.search(rf"\| {method} bf16 \| oracle fp32 \|.*\]", process.stdout)
    assert "bf16: emulated\nsmoke, N = 4, 16 forget examples" in process.stdout


def test_a_run_prints_little_and_its_scores_at_the_end(finished):
    printed = finished.printed
    (steps,) = re.findall(r"(\d+) of \d+ steps \(100%\) done, (?:\d+) of \d+ models trained$", printed, re.M)
    lines = printed.splitlines()
    timed = [line for line in lines if re.match(r"\d\d:\d\d:\d\d  ", line)]
    jobs = [line for line in timed if " steps (" not in line]
    assert len(jobs) <= int(steps)
    # Beside jobs and progress: how the run starts, the table of rules, the scores and verdicts.
    rules = [line for line in lines if re.match(r"[a-z_]+ +\d+$", line)]
    assert len(lines) - len(timed) - len(rules) < 35
    assert sum("Unlearning models" in line for line in lines) == 4
    for word in ("Host:", "Reason:", "Finished jobid", "Select jobs"):
        assert word not in printed
    table = printed.partition("\nmethod ")[2]
    assert re.search(r"^random_mask +0\.\d{3}  \[0\.\d{3}, 0\.\d{3}\]  \d+%", table, re.M)
    assert "\nresults/smoke/report.html\n" in table


def test_a_dry_run_and_a_part_of_a_run_print_no_scores(copy_of_finished):
    assert "of the ceiling" not in copy_of_finished.plan("--forceall")
    copy_of_finished.result("tables/scores.tex").unlink()
    part = copy_of_finished.snakemake("results/smoke/tables/scores.tex")
    assert "(100%) done" in part.stdout
    assert "of the ceiling" not in part.stdout
