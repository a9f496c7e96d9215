import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from random_mask.experiment.config import load, validate
from random_mask.report import figures, numbers, tables
from random_mask.report.labels import Labels
from random_mask.report.measures import MEASURES
from random_mask.report.originals import over_originals

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def experiment():
    return load(ROOT / "config" / "digits.yaml")


@pytest.fixture(scope="module")
def labels(experiment):
    return Labels(experiment)


@pytest.fixture(scope="module")
def scores(experiment):
    rows = []
    for place, method in enumerate(["original", *experiment.all_methods(), "retrain"]):
        value = 0.02 * place
        row = {"method": method, "original": 0, "n_models": 16, "seconds_per_model": 1.0 + place}
        for name in ("score", "forgetting_quality"):
            row |= {name: value, f"{name}_low": value / 2, f"{name}_high": value * 1.5}
        row |= {f"{part}_accuracy": 0.9 + place / 100 for part in ("retain", "forget", "test")}
        rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def collected(experiment, scores):
    differences = {
        ("random_mask", "finetune"): 0.05,
        ("random_mask_described", "random_mask"): -0.05,
        ("finetune", "retrain"): 0.01,
        ("random_mask", "random_mask_ratio_0"): 0.03,
    }
    found = [(a, b, differences.get((a, b), 0.0)) for a, b in experiment.pairs()]
    comparisons = pd.DataFrame(
        {
            "a": a,
            "b": b,
            "original": 0,
            "quantity": "score",
            "difference": d,
            "low": d - 0.02,
            "high": d + 0.02,
        }
        for a, b, d in found
    )
    masks = pd.DataFrame(
        {
            "tensor": ["conv1.weight", "bn1.weight", "layer2.0.downsample.1.bias"],
            "weights": [70, 10, 20],
            "masked": [20, 0, 10],
        }
    )
    simulation = pd.DataFrame(
        [{"case": "same", "models": 16, "examples": 400, "forgetting_quality": 0.18, "standard_error": 0.005}]
    )
    return numbers.collect(
        experiment,
        scores,
        comparisons,
        {"random_mask": masks},
        pd.DataFrame({"fleet": ["original", "retrain"], "models": [1, 2], "seconds": [10.0, 50.0]}),
        {
            "model": {"weights": 1000, "cropped_weights": 400, "classes": 10, "retain": 760, "forget": 40},
            "environment": {"processor": "A_B & Co", "cores": "2"},
            "reference": "C_D",
        },
        simulation,
        pd.DataFrame(
            {"method": method, "original": 0, "measure": name, "value": 0.5, "low": 0.4, "high": 0.6}
            for method in scores["method"].unique()
            for name in MEASURES
        ),
        [{"experiment": "search", "trials": 5, "models": 8, "budget": 0.25}],
        pd.DataFrame(
            [
                {"id": "a", "verdict": "supported", "estimate": 0.1, "low": -0.05, "high": 0.2}
                | {"claim": "it is so", "criterion": "", "reason": ""}
            ]
        ),
    )


def test_every_number_names_the_file_it_was_taken_from(collected):
    lines = numbers.as_tex(collected).splitlines()[1:]
    assert len(lines) == len(collected)
    assert all(re.fullmatch(r"\\newresult\{.*\}\{.*\}% \w.*", line) for line in lines)
    (score,) = (line for line in lines if "{scores/random_mask/score}" in line)
    assert score.endswith("% scores.csv (rule scores)")


def test_how_the_work_is_cut_is_printed_nowhere(collected):
    assert not [key for key in collected if "shards" in key]


def test_the_ceiling_is_the_retrained_fleet(collected, scores):
    ceiling = scores.set_index("method").loc["retrain", "score"]
    share = scores.set_index("method").loc["random_mask", "score"] / ceiling
    assert collected["scores/random_mask/share_of_ceiling"] == f"{100 * share:.0f}"
    assert collected["scores/retrain/share_of_ceiling"] == "100"


def test_words_follow_from_the_intervals(collected):
    words = {key: value for key, value in collected.items() if key.endswith("/words")}
    higher = {f"compare/random_mask/{other}/words" for other in ("finetune", "random_mask_ratio_0")}
    lower = {"compare/random_mask_described/random_mask/words"}
    assert {key for key, text in words.items() if text == "scores higher than"} == higher
    assert {key for key, text in words.items() if text == "scores lower than"} == lower
    assert words["compare/finetune/retrain/words"] == "cannot be told apart from"


def test_a_claim_is_a_sentence_with_its_interval(collected):
    assert collected["claims/a"] == r"It is so (0.100 [\ensuremath{-}0.050, 0.200])."
    assert collected["tuning/budget"] == "25"


def test_an_interval_that_touches_zero_decides_nothing():
    assert numbers.verdict(0.0, 0.1) == numbers.verdict(-0.1, 0.0) == "cannot be told apart from"


def test_numbers_of_the_configuration_the_machine_and_the_cost(collected):
    expected = {
        "config/data/train": "800",
        "config/replicates": "100",
        "config/seed": "2023",
        "config/training/learning_rate": "0.001",
        "config/methods/random_mask/perturb/ratio_percent": "30",
        "config/methods/random_mask/finetune/optimizer": "Adam",
        "data/retain": "760",
        "budget/share": "20",
        "metric/buckets": "6",
        "metric/lowest_points": r"\ensuremath{2^{-5}}",
        "model/unused_share": "60",
        "masks/random_mask/share": "30.0",
        "masks/random_mask/batch_norm_tensors": "1",
        "masks/random_mask/batch_norm_share": "33.3",
        "sweep/ratios": "0, 0.15, 0.3 and 0.5",
        "machine/processor": r"A\_B \& Co",
        "cost/models": "3",
        "cost/core_hours": "0.02",
        "cost/reference": r"C\_D",
    }
    assert {key: collected[key] for key in expected} == expected


def test_small_numbers_are_powers_of_ten():
    assert numbers.plain(5e-4) == r"\ensuremath{5\times 10^{-4}}"
    assert numbers.plain(0.0) == "0"


def test_every_key_of_the_paper_that_does_not_depend_on_a_run_is_known(collected):
    """The others are checked by LaTeX itself, which stops at an unknown key."""
    text = "".join(path.read_text() for path in (ROOT / "paper").rglob("*.tex"))
    keys = {
        key
        for key in re.findall(r"\\result\{([^}#]+)\}", text)
        if key.startswith(("config/", "sweep/", "data/")) and not re.search("_author/|/relearn/", key)
    }
    assert keys
    assert keys <= collected.keys()


@pytest.mark.parametrize("path", sorted((ROOT / "paper").rglob("*.tex")), ids=lambda path: path.stem)
def test_what_the_text_compares_a_value_with_is_written_as_the_value_is(path):
    compared = re.findall(r"\\ifresult\{[^}]*\}\{([^}]*)\}", path.read_text())
    assert [value for value in compared if value != numbers.escape(value.replace("\\_", "_"))] == []


def test_the_section_of_ablations_is_there_if_all_its_methods_are():
    text = (ROOT / "paper" / "sections" / "ablations.tex").read_text()
    (condition,) = re.findall(r"\\ifscoresknown\{([^}]*)\}", text)
    assert set(re.findall(r"random_mask_\w+", text)) == set(condition.split(","))
    assert set(load(ROOT / "config" / "digits-all.yaml").shown()) >= set(condition.split(","))


@pytest.mark.parametrize("section", ["results", "ablations", "claims"])
def test_no_number_of_a_result_is_typed_by_hand(section):
    text = (ROOT / "paper" / "sections" / f"{section}.tex").read_text()
    text = re.sub(r"(?<!\\)%.*", "", text)
    # Keys, labels, file names and what a value is compared with may hold digits.
    text = re.sub(r"\\ifresult\{[^}]*\}\{[^}]*\}", "", text)
    commands = (
        "result|estimate|difference|nearness|ifresultknown|ifscoresknown|citet|citep|Cref|cref|label|ref"
    )
    text = re.sub(rf"\\({commands})\{{[^}}]*\}}", "", text)
    text = re.sub(r"\\setlength{\\tabcolsep}{\dpt}", "", text)
    assert not re.search(r"\d", text), re.findall(r".{20}\d.{20}", text)


def test_methods_with_a_dagger_are_those_of_the_document_and_the_document_has_all():
    lines = (ROOT / "docs" / "methods.md").read_text().splitlines()
    marked = {re.search(r"`(\w+)` †", line)[1] for line in lines if line.startswith("|") and "` †" in line}
    methods = load(ROOT / "config" / "digits-all.yaml").methods
    untuned = {name: method for name, method in methods.items() if not method.tuned_from}
    assert marked == {name for name, method in untuned.items() if method.deviation}
    named = set(re.findall(r"`(\w+)`", "\n".join(lines)))
    assert set(untuned) - named == {
        "random_mask_linear",
        "random_mask_inner",
        "random_mask_one_order",
    }  # by their ends
    assert Labels(load(ROOT / "config" / "digits-all.yaml"))("kookmin_tuned") == "Kookmin† (tuned)"


def test_tables_are_tabulars_with_a_row_for_every_method(scores, experiment, labels):
    text = tables.scores(scores, experiment.shown(), labels)
    assert text.startswith(r"\begin{tabular}")
    assert text.rstrip().endswith(r"\end{tabular}")
    body = text.partition(r"\midrule")[2].splitlines()
    assert [row.split(" & ")[0] for row in body if "&" in row] == [
        "Original",
        "Fine-tuning",
        "Same repair, no mask",
        "Random mask",
        "Random mask (described)",
        "Random mask (tuned)",
        "No mask (tuned)",
        "Retrained",
    ]


def test_a_table_of_more_rows_than_fit_on_a_page_is_cut(scores, experiment, labels):
    methods = experiment.shown()
    whole = tables.scores(scores, methods, labels)
    # Five methods, the original before them, a rule, and the retrained fleet, which the last part has alone.
    text = tables.scores(scores, methods, labels, page=len(methods) + 1)
    parts = text.split("\\tablepart{%\n")
    assert parts[0] == ""
    assert len(parts) == 3
    rows = [line for line in text.splitlines() if " & " in line and "[" in line]
    assert rows == [line for line in whole.splitlines() if " & " in line and "[" in line]
    assert all(part.count("\\midrule") == 1 for part in parts[1:])


def test_several_originals_are_one_row_of_a_table_and_one_point_of_the_sweep(scores, experiment, labels):
    apart = scores.assign(original=1, score=scores["score"] + 0.1, score_high=scores["score_high"] + 0.1)
    several = pd.concat([scores, apart])
    methods = experiment.shown()
    assert len(tables.scores(several, methods, labels).splitlines()) == len(
        tables.scores(scores, methods, labels).splitlines()
    )
    measured = pd.DataFrame(
        {"method": method, "original": original, "measure": name, "value": 0.5, "low": 0.4, "high": 0.6}
        for method in ["original", *methods, "retrain"]
        for original in (0, 1)
        for name in MEASURES
    )
    text = tables.measures(measured, methods, labels)
    assert all(text.count(f"\n{labels(name)} & ") == 1 for name in methods)
    panel = figures.mask_ratio(several, experiment.ratio_series(), labels.colour("random_mask")).axes[0]
    drawn = panel.containers[1].lines[0].get_ydata()
    means = several.groupby("method")["score"].mean()
    assert list(drawn) == pytest.approx([means[name] for name in experiment.ratio_series().values()])


def test_no_interval_of_a_pooled_score_goes_below_zero(scores):
    far = pd.concat([scores, scores.assign(original=1, score=scores["score"] + 0.5)])
    found = over_originals(far)
    assert (found[["score_low", "forgetting_quality_low"]] >= 0).all(axis=None)
    # Two originals that far apart say little of their mean.
    assert (found["score_high"] > far["score_high"].max()).all()


def test_the_figure_of_ablations_has_every_variant_with_its_own_difference():
    experiment = load(ROOT / "config" / "digits-all.yaml")
    pairs = experiment.ablations()
    untuned = [name for name, method in experiment.methods.items() if not method.tuned_from]
    masks = [name for name in untuned if experiment.methods[name].group == "mask"]
    assert [variant for variant, _ in pairs] == [name for name in masks if name != "random_mask"]
    assert ("random_mask_layers", "random_mask_described") in pairs
    assert ("random_mask_held", "random_mask") in pairs
    assert set(pairs) <= set(experiment.pairs())
    table = pd.DataFrame(
        {
            "a": a,
            "b": b,
            "original": original,
            "quantity": quantity,
            "difference": (d := place / 100 + original / 10 + shift),
            "low": d - 0.01,
            "high": d + 0.02,
        }
        for place, (a, b) in enumerate([*pairs, ("random_mask", "finetune")])
        for original in (1, 0)
        for shift, quantity in enumerate(("score", "forgetting_quality"))
    )
    figure = figures.ablations(table, pairs, Labels(experiment))
    for shift, axes in enumerate(figure.axes):
        points = [container.lines[0].get_xydata() for container in axes.containers]
        assert len(points) == len(pairs)
        for place, drawn in enumerate(points):
            assert list(drawn[:, 0]) == pytest.approx([place / 100 + shift, place / 100 + shift + 0.1])
            assert drawn[:, 1].round() == pytest.approx([place, place])


def test_figures_are_the_same_bytes_again(scores, experiment, labels, tmp_path):
    for path in (tmp_path / "a.pdf", tmp_path / "b.pdf"):
        figures.save(figures.scores(scores, list(experiment.methods), labels), path)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_a_figure_shows_every_example_that_it_should(experiment, labels):
    rng = np.random.default_rng(0)
    fleets = {
        method: {
            "confidences": rng.normal(size=(16, 45)),
            "oracle_confidences": rng.normal(size=(16, 45)),
            "image": np.arange(45),
            "label": np.arange(45) % 10,
            "epsilons": rng.exponential(size=45),
        }
        for method in [*experiment.methods, "retrain"]
    }
    axes = figures.confidences(fleets, list(experiment.methods), labels).axes
    assert len(axes) == 6
    shown = [int(panel.get_title().split()[1].rstrip(",")) for panel in axes]
    medians = np.median(fleets["retrain"]["oracle_confidences"], axis=0)[shown]
    assert list(medians) == sorted(medians)
    bars = figures.epsilons(fleets, list(experiment.methods), labels).axes
    for panel in bars:
        assert sum(bar.get_height() for bar in panel.patches) == pytest.approx(1)


def test_the_methods_of_a_figure_of_few_differ_in_colour(experiment, labels):
    drawn = ["original", *experiment.drawn(), "retrain"]
    assert len({labels.colour(name) for name in drawn}) == len(drawn)
    assert labels.colour("random_mask_ratio_0.15") == labels.colour("random_mask")
    of_all = load(ROOT / "config" / "digits-all.yaml")
    many = Labels(of_all)
    for group in ("entry", "literature"):
        members = [name for name, method in of_all.methods.items() if method.group == group]
        assert len({many.colour(name) for name in members}) == 1


def test_an_experiment_without_a_mask_has_its_numbers_tables_and_figures(experiment, scores):
    content = experiment.model_dump(mode="json")
    mine = {"finetune": content["training"]}
    single = validate(content | {"methods": {"mine": mine}, "ratio_sweep": None, "tuned": None})
    labels = Labels(single)
    assert labels("mine") == "Mine"
    assert "no method" in tables.masks({}, labels)
    assert "Mine & " in tables.config(single, labels) or "& Mine" in tables.config(single, labels)
    assert "budget/share" not in numbers._derived(
        single, {"weights": 2, "cropped_weights": 1, "classes": 10, "retain": 760, "forget": 40}
    )
    assert numbers._sweep(single, scores) == {}
    for figure, text in (
        (figures.mask_ratio(scores, {}, None), "no ratio_sweep"),
        (figures.ablations(scores, [], labels), "no variant"),
    ):
        assert text in figure.axes[0].texts[0].get_text()


def test_figures_of_a_search_have_the_fleets_that_are_no_methods(scores, labels):
    """What is searched is run in trials alone, and no figure shows these."""
    rng = np.random.default_rng(0)
    retrain = {name: rng.normal(size=(16, 45)) for name in ("confidences", "oracle_confidences")}
    retrain |= {"image": np.arange(45), "label": np.arange(45) % 10, "epsilons": rng.exponential(size=45)}
    retrain |= {f"history_{name}": rng.uniform(1, 2, size=(16, 3)) for name in ("loss", "accuracy")}
    fleets = {"retrain": retrain}
    assert len(figures.scores(scores, [], labels).axes[0].get_yticks()) == 2
    assert len(figures.confidences(fleets, [], labels).axes) == 6
    assert len(figures.epsilons(fleets, [], labels).axes) == 1
    assert len(figures.training(fleets, [], labels).axes[0].containers) == 1


def test_what_is_known_of_no_model_is_a_dash():
    """As membership inference by fewer than five images, or U-LiRA of few models."""
    methods = ["random_mask", "random_mask_ratio_0", *(f"m{n}" for n in range(8)), "original", "retrain"]
    scores = pd.DataFrame({"method": methods, "original": 0, "score": np.linspace(0, 0.2, len(methods))})
    measures = pd.DataFrame(
        {"method": method, "original": original, "measure": name, "value": value, "low": value, "high": value}
        for method in methods
        for original in (0, 1)
        for name in MEASURES
        for value in [{"mia_gap": np.nan, "tow": 0.5 if original else np.nan}.get(name, 0.1)]
    )
    found = numbers._measures(measures, scores, "random_mask", "random_mask_ratio_0")
    for key in ("measures/random_mask/mia_gap", "measures/retrain/mia_gap_low", "agreement/mia_gap"):
        assert found[key] == numbers.UNKNOWN
    assert found["nearness/mia_gap/difference"] == numbers.UNKNOWN
    assert found["nearness/mia_gap/words"] == "not known"
    assert found["measures/random_mask/tow"] == "0.500"
