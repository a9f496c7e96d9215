import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from random_mask.experiment.config import load, validate
from random_mask.metrics import spread
from random_mask.metrics.competition import forgetting_quality
from random_mask.report import figures, numbers, summary, tables
from random_mask.report.claims import Claim
from random_mask.report.labels import Labels
from random_mask.report.measures import MEASURES, of_methods
from random_mask.report.originals import over_originals
from random_mask.report.study import Study

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def experiment():
    return load(ROOT / "config" / "digits.yaml")


@pytest.fixture(scope="module")
def labels(experiment):
    return Labels(experiment)


def made(experiment, originals=1, images=12, seed=0) -> Study:
    """Return a study of an experiment whose numbers are made up."""
    rng, n = np.random.default_rng(seed), experiment.models
    methods = ["original", *experiment.all_methods(), "retrain"]
    examples = {
        "oracle/image": np.arange(images),
        "oracle/label": np.arange(images) % 10,
        "oracle/oracle_confidences": rng.normal(size=(n, images)),
    }
    scores, measures = [], []
    for place, method in enumerate(methods):
        for original in range(originals):
            value = 0.02 * place + original / 10
            row = {"method": method, "original": original, "n_models": n, "seconds_per_model": 1.0 + place}
            for name in ("score", "forgetting_quality"):
                row |= {name: value, f"{name}_low": value / 2, f"{name}_high": value * 1.5}
            scores.append(
                row | {f"{part}_accuracy": 0.7 + place / 1000 for part in ("retain", "forget", "test")}
            )
            known = {"method": method, "original": original, "value": 0.5 + value, "low": 0.4, "high": 9.0}
            measures += [known | {"measure": name} for name in MEASURES]
            key = f"{method}/{original}"
            examples[f"{key}/confidences"] = rng.normal(size=(n, images))
            examples[f"{key}/epsilons"] = rng.exponential(size=images)
            for name in ("loss", "accuracy"):
                examples[f"{key}/history_{name}"] = rng.uniform(0.1, 1, size=(n, 3))
    pairs = pd.DataFrame(experiment.pairs(), columns=["a", "b"])
    quantities = pd.DataFrame({"quantity": ["score", "forgetting_quality"]})
    numbers_of_models = pd.DataFrame({"models": [8, 16]})
    drawn = pd.DataFrame({"method": [*experiment.drawn(), "retrain"]})
    tensors = ["conv1.weight", "bn1.weight", "layer2.0.downsample.1.bias", "fc.bias"]
    counts = pd.DataFrame({"tensor": tensors, "weights": [60, 10, 20, 10], "masked": [20, 0, 10, 0]})
    masked = [name for name, method in experiment.methods.items() if method.masks()]
    return Study(
        experiment=experiment,
        scores=pd.DataFrame(scores),
        comparisons=pairs.merge(quantities, how="cross").assign(
            original=0, difference=0.1, low=0.05, high=0.2
        ),
        scores_by_n=drawn.merge(numbers_of_models, how="cross").assign(
            score=0.1, score_low=0.05, score_high=0.2
        ),
        measures=pd.DataFrame(measures),
        examples=examples,
        masks=pd.DataFrame({"method": masked}).merge(counts, how="cross"),
        costs=pd.DataFrame({"fleet": ["oracle", methods[1]], "models": [1, 2], "seconds": [7200.0, 3600.0]}),
        run={
            "model": {"weights": 1000, "cropped_weights": 400, "classes": 10, "retain": 760, "forget": 40},
            "environment": {"processor": "A_B & Co", "cores": "2"},
            "reference": "C_D",
        },
    )


@pytest.fixture(scope="module")
def study(experiment):
    return made(experiment)


@pytest.fixture(scope="module")
def scores(study):
    return study.scores


@pytest.fixture(scope="module")
def collected(study):
    return numbers.of_study(study)


def cells(table: str) -> list[list[str]]:
    """Return the rows of a tabular."""
    return [line.removesuffix(" \\\\").split(" & ") for line in table.splitlines() if " & " in line]


def test_every_number_names_the_file_it_was_taken_from(collected):
    lines = numbers.as_tex(collected).splitlines()[1:]
    assert len(lines) == len(collected)
    assert all(re.fullmatch(r"\\newresult\{digits/.*\}\{.*\}% \w.*", line) for line in lines)
    (score,) = (line for line in lines if "{digits/scores/random_mask/score}" in line)
    assert score.endswith("% scores.csv (rule scores)")


def test_how_the_work_is_cut_is_printed_nowhere(collected):
    assert not [key for key in collected if "shards" in key]


def test_the_ceiling_is_the_retrained_fleet(collected, scores):
    ceiling = scores.set_index("method").loc["retrain", "score"]
    share = scores.set_index("method").loc["random_mask", "score"] / ceiling
    assert collected["digits/scores/random_mask/share_of_ceiling"] == f"{100 * share:.0f}"
    assert collected["digits/scores/retrain/share_of_ceiling"] == "100"


def test_the_highest_scores_are_named_with_their_methods(study, collected):
    """Scores rise with the place of the method; those of the sweep have no row of their own."""
    names = [f"{study.labels(name)} ({0.02 * place:.3f})" for name, place in (("random_mask_described", 3),)]
    assert names[0] in collected["digits/scores/highest"]
    assert collected["digits/scores/highest"].count("(0.") == numbers.HIGHEST
    assert "ratio 0" not in collected["digits/scores/highest"]
    # One that was applied to fewer original models is compared on these.
    apart = made(study.experiment, originals=2)
    only = (apart.scores["method"] != "finetune") | (apart.scores["original"] == 0)
    few = dataclasses.replace(apart, scores=apart.scores[only])
    assert numbers.of_study(few)["digits/scores/highest"] == collected["digits/scores/highest"]
    assert not collected["digits/scores/highest"].startswith("Original")


def test_claims_have_verdict_origin_and_interval():
    row = {"id": "a", "claim": "it is so", "criterion": "", "exploratory": False, "reason": ""}
    found = {"estimate": 0.1, "low": -0.05, "high": 0.2}
    unknown = dict.fromkeys(found, np.nan)
    rows = [
        row | found | {"verdict": "supported", "opposite": False},
        row | found | {"id": "b", "verdict": "not supported", "opposite": True},
        row | unknown | {"id": "c", "verdict": "not testable", "opposite": False},
    ]
    of_claims = numbers.of_claims(pd.DataFrame(rows), "digits", "run")
    assert of_claims["claims/a@digits"] == "supported"
    assert of_claims["claims/a@digits/from"] == "run"
    assert of_claims["claims/a@digits/found"] == r"$0.100$ $[-0.050,\,0.200]$"
    assert of_claims["claims/b@digits"] == "opposite"
    assert of_claims["claims/c@digits"] == "not testable"
    assert of_claims["claims/c@digits/found"] == numbers.UNKNOWN


def test_numbers_of_the_configuration_the_model_and_the_masks(collected):
    expected = {
        "config/data/train": "800",
        "config/replicates": "100",
        "config/seed": "2023",
        "config/training/learning_rate": "0.001",
        "config/methods/random_mask/perturb/ratio_percent": "30",
        "config/methods/random_mask/finetune/optimizer": "Adam",
        "budget/share": "20",
        "metric/buckets": "6",
        "metric/lowest_points": r"\ensuremath{2^{-5}}",
        "model/unused_share": "60",
        "masks/random_mask/share": "30.0",
        "masks/random_mask/batch_norm_tensors": "1",
        "masks/random_mask/batch_norm_share": "33.3",
        "cost/reference": r"C\_D",
    }
    assert {key: collected[f"digits/{key}"] for key in expected} == expected


def test_what_belongs_to_no_experiment_is_there_once():
    simulation = pd.DataFrame(
        [{"case": "same", "models": 16, "examples": 400, "forgetting_quality": 0.18, "standard_error": 0.005}]
    )
    search = {"experiment": "search", "trials": 5, "models": 8, "budget": 0.25}
    authors = [{"given-names": "Ann", "family-names": "Ox"}, {"name": "B & Co"}]
    found = numbers.of_all(simulation, [search], {"authors": authors})
    assert found["authors"] == r"Ann Ox, B \& Co"
    assert found["simulation/same/16"] == "0.180"
    assert found["tuning/search/budget"] == "25"
    assert numbers.as_tex(found).count("\\newresult") == len(found)


def test_small_numbers_are_powers_of_ten():
    assert numbers.plain(5e-4) == r"\ensuremath{5\times 10^{-4}}"
    assert numbers.plain(0.0) == "0"


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
    assert Labels(load(ROOT / "config" / "digits-all.yaml"))("scrub_tuned") == "SCRUB† (tuned)"


def test_tables_are_tabulars_with_a_row_for_every_method_of_every_experiment(study):
    other = made(load(ROOT / "config" / "smoke.yaml"))
    text = tables.scores([study, other])
    assert text.startswith(r"\begin{tabular}")
    assert text.rstrip().endswith(r"\end{tabular}")
    blocks = text.split(r"\itshape ")[1:]
    assert [block.partition("}")[0] for block in blocks] == [study.title, other.title]
    assert [row[0] for row in cells(blocks[0])] == [
        "Original",
        "Fine-tuning",
        "Same repair, no mask",
        "Random mask",
        "Random mask (described)",
        "Same tuned repair, no mask",
        "Random mask (tuned)",
        "No mask (tuned)",
        "Retrained",
    ]
    assert [row[0] for row in cells(blocks[1])][0::-1] == ["Original"]
    at = study.positions["random_mask"]
    (row,) = (row for row in cells(blocks[0]) if row[0] == "Random mask")
    assert row[4:7] == [f"{one.estimate:z.2f}" for one in (at.shift, at.absolute_shift, at.spread)]


def test_what_a_correction_would_gain_is_told_of_every_method(study):
    oracle = study.examples["oracle/oracle_confidences"]
    fleet = study.examples["random_mask/0/confidences"]
    (row,) = (row for row in cells(tables.corrections([study])) if row[0] == "Random mask")
    corrected = [fleet, *(spread.corrected(fleet, oracle, what) for what in ("shift", "means", "spreads"))]
    assert row[1:] == [f"{forgetting_quality(one, oracle):.3f}" for one in corrected]


def test_no_interval_of_a_measure_goes_beyond_its_limits():
    columns = {"method": "a", "measure": "klom_forget_p95", "original": [0, 1, 2], "value": [4.0, 9.0, 11.0]}
    table = pd.DataFrame(columns).assign(low=lambda of: of["value"] - 0.5, high=lambda of: of["value"] + 0.5)
    (found,) = of_methods(table).values()
    assert found.estimate == pytest.approx(8)
    assert (found.low, found.high) == (0.0, pytest.approx(np.log(1e5)))


def test_a_dagger_is_that_of_the_search_whose_values_are_shown():
    content = load(ROOT / "config" / "cifar10_jpeg.yaml").model_dump(mode="json")
    content["methods"]["scrub_tuned"]["deviation"] = None
    of_all, others = made(load(ROOT / "config" / "digits-all.yaml")), made(validate(content))
    choices = [
        {"experiment": name, "choices": {"scrub_tuned": {"values": {}, "score": 0.1, "cost": 0.2}}}
        for name in ("digits_tuning", "cifar10_tuning")
    ]
    rows = [row[0] for row in cells(tables.tuning(choices, [of_all, others]))[1:]]
    assert rows == [study.labels.untuned("scrub_tuned") for study in (of_all, others)]
    assert [name.endswith("†") for name in rows] == [True, False]


def test_a_table_of_more_rows_than_fit_on_a_page_is_cut(study):
    whole = tables.scores([study], everything=True, page=1000)
    # A line that names the experiment, six methods, and the original and the retrained fleet beside them.
    text = tables.scores([study], everything=True, page=4)
    parts = text.split("\\tablepart{%\n")
    assert parts[0] == ""
    assert len(parts) == 4
    rows = [row for row in cells(text) if "[" in row[2]]
    assert rows == [row for row in cells(whole) if "[" in row[2]]
    assert all(part.count("\\midrule") == 1 for part in parts[1:])


def test_no_part_of_a_table_ends_with_two_rules():
    first, second = tables.tabular("l", ["head"], [["a"], [], ["b"]], page=2).split("\\tablepart{%\n")[1:]
    assert all(part.count("\\midrule") == 1 for part in (first, second))


def test_a_cell_that_begins_like_an_argument_is_no_argument():
    table = tables.tabular("l", ["head"], [["a"], ["[b] c"], ["*d"]])
    assert "a \\\\\n{}[b] c \\\\\n{}*d \\\\\n" in table


def test_a_method_may_be_called_like_a_column_of_a_table():
    counts = pd.DataFrame(
        {"method": name, "tensor": tensor, "weights": 8, "masked": masked}
        for name, masked in (("weights", 2), ("tensor", 4))
        for tensor in ("conv1.weight", "fc.weight")
    )
    shown = summary.masks(counts, {"weights": "weights", "tensor": "tensor"}.get)
    assert shown.columns.to_list() == ["tensor", "weights", "weights", "tensor"]
    assert shown.to_numpy().tolist() == [[name, "8", "25.0%", "50.0%"] for name in counts["tensor"][:2]]


def test_recipes_have_a_row_for_each_that_differs_from_its_method(study):
    rows = {row[0]: row[1:] for row in cells(tables.recipes([study]))}
    assert rows["Original, retrained"][:2] == ["--", "10"]
    assert rows["Random mask"][:4] == ["0.3", "2", "64", "Adam"]
    assert rows["Fine-tuning"][3] == "SGD, momentum 0.9"
    assert rows["Same repair, no mask"] == ["0", *rows["Random mask"][1:]]
    assert "Random mask (described)" not in rows


def test_the_values_of_the_author_are_among_the_recipes(study):
    experiment = load(ROOT / "config" / "cifar10_jpeg.yaml")
    shown = dataclasses.replace(study, experiment=experiment)
    rows = {row[0]: row[1:] for row in cells(tables.recipes([shown]))}
    assert rows["Random mask, author's values"][:4] == ["0.5", "5", "64", "Adam"]
    assert rows["No mask, author's values"] == ["--", *rows["Random mask, author's values"][1:]]


def test_the_table_of_claims_has_a_column_for_each_experiment():
    plain = {"quantity": {"kind": "difference", "of": ["a", "b"]}, "relation": "above"}
    asked = [
        Claim.model_validate(plain | {"id": name, "claim": f"{name} is so", "experiments": of})
        for name, of in (("both", ["x", "y_z"]), ("one", ["y_z"]))
    ]
    row = {"verdict": "supported", "opposite": False, "estimate": 1.0, "low": 0.5, "high": 1.5}
    against = row | {"id": "both", "verdict": "not supported", "opposite": True}
    untested = row | {"id": "one", "verdict": "not testable"}
    judged = {"x": pd.DataFrame([row | {"id": "both"}]), "y_z": pd.DataFrame([against, untested])}
    head, both, one = cells(tables.claims(asked, judged))
    assert head == ["Claim", "x", r"y\_z"]
    assert both[1].startswith("yes ")
    assert both[2].startswith("opp. ")
    assert one == ["One is so", "", "--"]


def test_the_table_of_the_reproduction_says_what_agrees_or_that_nothing_was_run(study):
    assert "No experiment of this paper was run here" in tables.reproduction([])
    theirs = study.scores.set_index(["method", "original"])
    ours = theirs.copy()
    ends = ["score", "score_low", "score_high"]
    ours.loc[("random_mask", 0), ends] += 1.0
    rows = {row[0]: row[-1] for row in cells(tables.reproduction([(study, ours, theirs)]))}
    assert rows["Random mask"] == "no"
    assert rows["Fine-tuning"] == "yes"


def test_several_originals_are_one_row_of_a_table_and_one_point_of_the_sweep(study, experiment):
    several = made(experiment, originals=2)
    assert len(tables.scores([several]).splitlines()) == len(tables.scores([study]).splitlines())
    text = tables.measures([several])
    assert all(text.count(f"\n{study.labels(name)} & ") == 1 for name in experiment.drawn())
    means = several.scores.groupby("method")["score"].mean()
    expected = pytest.approx([means[name] for name in experiment.ratio_series().values()])
    series = experiment.ratio_series()
    alone = figures.mask_ratio(several.scores, series, several.labels.colour("random_mask")).axes[0]
    assert list(alone.containers[1].lines[0].get_ydata()) == expected
    panels = figures.mask_ratios([study, several]).axes
    assert list(panels[1].containers[0].lines[0].get_ydata()) == expected
    shifts = [several.positions[name].shift.estimate for name in series.values()]
    assert list(panels[3].containers[0].lines[0].get_ydata()) == pytest.approx(shifts)


def test_what_was_tried_on_fewer_originals_is_marked(experiment):
    several = made(experiment, originals=3)
    only = (several.scores["method"] != "finetune") | (several.scores["original"] == 0)
    few = dataclasses.replace(several, scores=several.scores[only])
    marked = [row[0] for row in cells(tables.scores([few])) if row[0].endswith("*")]
    assert marked == [r"Fine-tuning\,*"]
    assert "*" not in tables.scores([several])


def test_methods_are_where_their_shift_and_spread_are_and_look_alike_in_all_panels(study):
    others = made(load(ROOT / "config" / "smoke.yaml"))
    panels = figures.shift_spreads([study, others]).axes
    looks = []
    for one, axes in zip((study, others), panels, strict=True):
        names = ["original", *one.experiment.drawn(), "retrain"]
        found = {bars.get_label(): bars.lines[0] for bars in axes.containers}
        assert list(found) == [one.labels(name) for name in names]
        for name in names:
            at = one.positions[name]
            drawn = found[one.labels(name)].get_xydata()
            assert drawn == pytest.approx(np.array([[at.shift.estimate, at.spread.estimate]]))
        looks.append({name: (line.get_marker(), line.get_color()) for name, line in found.items()})
    shared = looks[0].keys() & looks[1].keys()
    assert {"Original", "Retrained", "Random mask"} <= shared
    assert {name: looks[0][name] for name in shared} == {name: looks[1][name] for name in shared}
    assert len(set(looks[0].values())) == len(looks[0])


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


def test_methods_of_several_experiments_look_alike_although_one_has_more(experiment):
    content = load(ROOT / "config" / "cifar10_jpeg.yaml").model_dump(mode="json")
    content["methods"]["random_mask_author"]["main"] = False  # a group has four colours
    more = {"title": "Mask, again", "group": "mask", "main": True}
    first = {"again": content["methods"]["random_mask"] | more}
    other = validate(content | {"methods": first | content["methods"]})
    common = [name for name in experiment.drawn() if name in other.drawn()]
    looks = [Labels(one, common) for one in (experiment, other)]
    for name in common:
        assert looks[0].style(name) == looks[1].style(name)
    drawn = ["original", *other.drawn(), "retrain"]
    assert len({looks[1].colour(name) for name in drawn}) == len(drawn)


def test_an_experiment_without_a_mask_has_its_numbers(experiment):
    content = experiment.model_dump(mode="json")
    mine = {"finetune": content["training"]}
    single = made(validate(content | {"methods": {"mine": mine}, "ratio_sweep": None, "tuned": None}))
    assert single.labels("mine") == "Mine"
    assert "Mine & --" in tables.recipes([single])
    found = numbers.of_study(single)
    assert found["digits/scores/mine/score"] == "0.020"
    assert not [key for key in found if re.search("budget/|nearness/", key)]


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
    """As membership inference by fewer than five images, or U-LiRA of few models; likewise what some lack."""
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
    assert found["measures/random_mask/tow"] == numbers.UNKNOWN
    assert found["measures/random_mask/ulira_accuracy"] == "0.100"
