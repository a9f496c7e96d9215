"""The authors' retrained fleets, or anyone's that were kept, in place of an oracle of one's own."""

import json

import pandas as pd
import pytest
import yaml

from random_mask import cli

pytestmark = pytest.mark.slow


def test_kept_fleets_judge_as_those_they_were_kept_of(copy_of_finished, monkeypatch):
    root = copy_of_finished.root
    monkeypatch.chdir(root)
    assert cli.main(["keep", "results/smoke"]) == 0
    content = yaml.safe_load((root / "config" / "smoke.yaml").read_text())
    content |= {"experiment": "mine", "oracle": "reference/smoke"}
    del content["relearn"]
    content["methods"] = {name: content["methods"][name] for name in ("finetune", "random_mask")}
    (root / "config" / "mine.yaml").write_text(yaml.safe_dump(content))

    assert not {"retrain", "condense"} & copy_of_finished.planned(config="config/mine.yaml")
    run = copy_of_finished.snakemake("results/mine/provenance.json", config="config/mine.yaml")
    assert run.returncode == 0, run.stdout
    for name, keys in (("scores.csv", ["method"]), ("measures.csv", ["method", "measure"])):
        own, whole = (pd.read_csv(root / "results" / of / name).set_index(keys) for of in ("mine", "smoke"))
        pd.testing.assert_frame_equal(own, whole.loc[own.index])
    ran, taken_from = (
        json.loads((root / "results" / of / "run.json").read_text()) for of in ("mine", "smoke")
    )
    assert ran == taken_from
    assert "retrain" in pd.read_csv(root / "results" / "mine" / "scores.csv")["method"].tolist()

    assert cli.main(["check", "results/mine"]) == 0

    content["training"]["epochs"] += 1
    (root / "config" / "mine.yaml").write_text(yaml.safe_dump(content))
    returncode, printed = copy_of_finished.dry_run(config="config/mine.yaml")
    assert returncode == 1
    assert printed.splitlines()[-1] == (
        "mine: oracle: reference/smoke: another `training` than here; make it the same, or remove `oracle` "
        "to retrain"
    )
