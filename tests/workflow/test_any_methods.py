"""An experiment may hold any methods and another network: here a single method of one's own, and a VGG."""

import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow


def test_a_single_method_has_its_scores_figures_and_tables(copy_of_finished, tmp_path):
    content = yaml.safe_load((copy_of_finished.root / "config" / "smoke.yaml").read_text())
    recipe = content["methods"]["finetune"]["finetune"]
    del content["ratio_sweep"], content["relearn"]
    # The retrained fleets and the original model are those of the finished run.
    content["methods"] = {"mine": {"title": "My & own", "finetune": recipe | {"epochs": 2}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    process = copy_of_finished.snakemake(config=tmp_path / "mine.yaml")

    assert process.returncode == 0, process.stdout
    assert "Retraining" not in process.stdout
    scores = pd.read_csv(copy_of_finished.result("scores.csv"))
    assert list(scores["method"]) == ["original", "mine", "retrain"]
    assert pd.read_csv(copy_of_finished.result("comparisons.csv")).empty
    assert set(pd.read_csv(copy_of_finished.result("claims.csv"))["verdict"]) == {"not testable"}
    for folder, suffix in (("figures", "pdf"), ("figures", "png"), ("tables", "html"), ("tables", "csv")):
        assert list(copy_of_finished.result(folder).glob(f"*.{suffix}"))
    for name in ("scores", "measures", "cost"):
        assert r"My \& own" in copy_of_finished.result(f"tables/{name}.tex").read_text(), name
    for name in ("tables/scores.html", "report.html"):
        assert "My &amp; own" in copy_of_finished.result(name).read_text(), name
    assert copy_of_finished.planned(config=tmp_path / "mine.yaml") == set()


def test_another_network_is_trained_masked_and_scored(fresh):
    """One with biases and dropout that cannot be stacked, at its smallest."""
    content = yaml.safe_load((fresh.root / "config" / "smoke.yaml").read_text())
    content |= {"experiment": "other", "network": "vgg11_bn", "models": 2, "replicates": 10}
    content["shards"] = {"retrain": 2, "unlearn": 2}
    content["methods"] = {"random_mask": content["methods"]["random_mask"] | {"compare_with": ["retrain"]}}
    del content["ratio_sweep"], content["relearn"]
    for recipe in (content["training"], content["methods"]["random_mask"]["finetune"]):
        recipe |= {"epochs": 1, "batch": 112}
    (fresh.root / "config" / "other.yaml").write_text(yaml.safe_dump(content))
    process = fresh.snakemake("results/other/report.html", config=None)

    assert process.returncode == 0, process.stdout
    scores = pd.read_csv(fresh.root / "results/other/scores.csv")
    assert list(scores["method"]) == ["original", "random_mask", "retrain"]
    masks = pd.read_csv(fresh.root / "results/other/masks.csv")
    assert masks["weights"].sum() > 100e6
    share = masks["masked"].sum() / masks["weights"].sum()
    assert 0.29 < share < 0.31
