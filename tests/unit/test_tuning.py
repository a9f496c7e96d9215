"""The search: the same number of trials for every method, and the best of them."""

import pandas as pd
import pytest
import yaml

from random_mask.errors import InputError
from random_mask.experiment.config import Experiment, validate
from random_mask.experiment.search import chosen
from random_mask.report.labels import Labels
from random_mask.workflow.paths import Plan

CONTENT = yaml.safe_load("""
experiment: search
seed: 1
data: {name: digits, train: 128, validation: 32, test: 64, forget: {kind: random, size: 16}}
models: 4
training: {epochs: 10, batch: 32, optimizer: adam, learning_rate: 1.0e-3}
methods:
  finetune:
    finetune: {epochs: 1, batch: 32, optimizer: sgd, learning_rate: 1.0e-3}
  random_mask:
    title: A mask
    group: mask
    main: true
    deviation: It differs.
    compare_with: [finetune]
    perturb: {name: random_mask, ratio: 0.3, spare: published}
    finetune: {epochs: 1, batch: 32, optimizer: adam, learning_rate: 1.0e-3}
  random_mask_described:
    variant_of: random_mask
    perturb: {name: random_mask, ratio: 0.3, spare: described}
    finetune: {epochs: 1, batch: 32, optimizer: adam, learning_rate: 1.0e-3}
search:
  trials: 2
  budget: 0.2
  spaces:
    finetune: {finetune.learning_rate: [1.0e-3, 1.0e-2, 1.0e-1]}
    random_mask:
      perturb.ratio: [0.1, 0.5]
      finetune:
        - {epochs: 2, batch: 32, optimizer: sgd, learning_rate: 1.0e-2}
        - {epochs: 1, batch: 32, optimizer: adam, learning_rate: 3.0e-3}
""")
LOOK = {"name": "dampen", "alpha": 1.0, "strength": 1.0}


def with_search(**values) -> dict:
    return CONTENT | {"search": CONTENT["search"] | values}


def test_every_method_gets_as_many_trials_which_differ_only_in_what_is_searched():
    experiment = validate(CONTENT)
    trials = experiment.trials()
    assert list(trials) == [f"{m}.trial_{k}" for m in ("finetune", "random_mask") for k in (0, 1)]
    first, second = (trials[f"finetune.trial_{k}"] for k in (0, 1))
    assert first.finetune[0].learning_rate != second.finetune[0].learning_rate
    assert first.model_copy(update={"finetune": second.finetune, "title": second.title}) == second
    for name, values in experiment.trial_values()["random_mask"].items():
        assert trials[name].perturb.ratio == values["perturb.ratio"]
        assert trials[name].finetune[0].optimizer == values["finetune"]["optimizer"]
    # What is searched is run in trials alone, and so compared with nothing.
    assert set(experiment.all_methods()) == {*trials, "random_mask_described"}
    assert experiment.shown() == ["random_mask_described"]
    assert experiment.pairs() == []


def test_trials_are_made_once_and_a_copy_without_a_search_has_none():
    """A plan asks for them a thousand times."""
    experiment = validate(CONTENT)
    assert experiment.trials() is experiment.trials()
    assert experiment.model_copy(update={"search": None}).trials() == {}
    assert validate(CONTENT) == experiment
    assert experiment.model_dump() == validate(CONTENT).model_dump()


def test_stages_see_the_same_trials_as_the_workflow():
    """The order of what is varied decides which combination a trial is."""
    experiment = validate(CONTENT)
    settings = experiment.model_dump_json()
    assert Experiment.model_validate_json(settings).trials() == experiment.trials()
    unsorted = {"random_mask": {"perturb.ratio": [0.1, 0.5], "finetune.batch": [16, 32, 64]}}
    experiment = validate(with_search(trials=3, spaces=unsorted))
    settings = experiment.model_dump_json()
    assert Experiment.model_validate_json(settings).trials() == experiment.trials()


def test_a_chosen_method_without_fine_tuning_is_one_again():
    content = with_search(trials=2, spaces={"fisher": {"perturb.alpha": [1.0e-8, 1.0e-7]}})
    fisher = {"perturb": {"name": "fisher_noise", "alpha": 1.0e-6}, "finetune": []}
    experiment = validate(content | {"methods": content["methods"] | {"fisher": fisher}})
    names = [*experiment.trials(), "retrain"]
    scores = pd.DataFrame(
        [
            dict.fromkeys(("score", "score_low", "score_high", "seconds_per_model"), place) | {"method": name}
            for place, name in enumerate(names, start=1)
        ]
    )
    methods = chosen(experiment, scores)["methods"]
    again = validate({key: of for key, of in CONTENT.items() if key != "search"} | {"methods": methods})
    (trial,) = [of for name, of in experiment.trials().items() if name == "fisher.trial_1"]
    assert again.methods["fisher_tuned"].steps() == trial.steps()


def test_what_is_searched_has_no_files_of_its_own():
    plan = Plan(validate(CONTENT))
    files = [*plan.all_fleets("npz"), *plan.mask_tables(), *plan.measures, *plan.by_n, *plan.comparisons]
    assert any("random_mask_described" in path for path in plan.mask_tables())
    assert not [path for path in files for name in ("finetune", "random_mask") if f"/{name}/" in path]


def test_trials_follow_from_the_seed():
    drawn = {validate(CONTENT | {"seed": seed}).model_copy().trial_values().__repr__() for seed in range(20)}
    assert len(drawn) > 1
    assert validate(CONTENT).trial_values() == validate(CONTENT).trial_values()


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"trials": 5}, "search.spaces.finetune: 3 combinations"),
        ({"budget": 0.05}, "more than the budget of 56"),
        # An epoch, and the gradients of retain and, twice, of forget.
        (
            {"spaces": {"finetune": {"perturb": [LOOK, LOOK | {"alpha": 2.0}]}}},
            "a trial passes 256 images",
        ),
        ({"spaces": {"mine": {"perturb.ratio": [0.1, 0.2]}}}, "search.spaces.mine: no method"),
        ({"spaces": {"finetune": {"finetune.rate": [0.1, 0.2]}}}, "rate: unknown key"),
        ({"spaces": {"finetune": {"fine.rate": [0.1, 0.2]}}}, "fine.rate: no such key"),
        ({"spaces": {"random_mask": {"perturb.ratio": [0.1, 2.0]}}}, "perturb.ratio: input should be less"),
        (
            {"spaces": {"finetune": {"finetune.batch": [111, 55]}}},
            "search.spaces.finetune: finetune.batch: 112 images in batches of 111 leave a last batch of one",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(values, part):
    with pytest.raises(InputError) as error:
        validate(with_search(**values), source="x.yaml")
    assert part in str(error.value)
    assert "\n" not in str(error.value)


def scores(experiment, values: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"method": name, "original": k, "score": s, "score_low": s - 0.1, "score_high": s + 0.1}
        | {"seconds_per_model": 10.0 if name == "retrain" else 2.0}
        for name in [*experiment.all_methods(), "retrain"]
        for k, s in enumerate(values.get(name, [0.0]))
    ]
    return pd.DataFrame(rows)


def test_the_best_trial_over_all_originals_is_chosen_and_can_be_used(tmp_path, monkeypatch):
    experiment = validate(CONTENT)
    found = chosen(
        experiment,
        scores(
            experiment,
            {"finetune.trial_0": [0.3, 0.0], "finetune.trial_1": [0.2, 0.2], "random_mask.trial_0": [0.1]},
        ),
    )
    assert found["choices"]["finetune_tuned"]["trial"] == "finetune.trial_1"
    assert found["choices"]["random_mask_tuned"]["trial"] == "random_mask.trial_0"
    assert found["choices"]["random_mask_tuned"]["cost"] == 0.2
    (tmp_path / "chosen.yaml").write_text(yaml.safe_dump(found))
    plain = {key: value for key, value in CONTENT.items() if key != "search"}
    monkeypatch.chdir(tmp_path)
    user = validate(plain | {"tuned": {"file": "chosen.yaml"}})
    trials = experiment.trials()
    assert user.methods["finetune_tuned"].steps() == trials["finetune.trial_1"].steps()
    assert user.methods["random_mask_tuned"].steps() == trials["random_mask.trial_0"].steps()
    # It is called what its method is; and as a main one that is no control, compared with all others.
    labels = Labels(user)
    assert labels("random_mask_tuned") == "A mask† (tuned)"
    assert labels.untuned("random_mask_tuned") == labels("random_mask") == "A mask†"
    assert labels("finetune_tuned") == "Finetune (tuned)"
    assert user.tuned_methods() == ["finetune_tuned", "random_mask_tuned"]
    others = ["finetune", "random_mask", "random_mask_described", "finetune_tuned", "retrain"]
    assert [b for a, b in user.pairs() if a == "random_mask_tuned"] == others
    assert not [b for a, b in user.pairs() if a == "finetune_tuned"]
    one = validate(plain | {"tuned": {"file": "chosen.yaml", "methods": ["random_mask_tuned"]}})
    assert "finetune_tuned" not in one.methods
    with pytest.raises(InputError, match=r"tuned\.methods: chosen\.yaml has no other"):
        validate(plain | {"tuned": {"file": "chosen.yaml", "methods": ["other"]}})
    # What stages are given, the whole experiment, is read the same again.
    assert validate(user.model_dump(mode="json")) == user


def test_a_missing_or_foreign_choice_is_named(tmp_path):
    plain = {key: value for key, value in CONTENT.items() if key != "search"}
    with pytest.raises(InputError, match=r"tuned\.file: nowhere\.yaml does not exist"):
        validate(plain | {"tuned": {"file": "nowhere.yaml"}})
    (tmp_path / "x.yaml").write_text("just text")
    with pytest.raises(InputError, match="not a file of chosen methods"):
        validate(plain | {"tuned": {"file": str(tmp_path / "x.yaml")}})
