"""An experiment may hold any methods: here a single one of one's own, without a mask."""

import pandas as pd
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("any_methods")]


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
