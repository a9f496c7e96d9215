"""What an edit re-runs, and what it does not: read from Snakemake's plan after real edits."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from random_mask.experiment.config import Experiment, load

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

DATA = {"prepare_data"}
TRAIN = {"train_original", "retrain"}
UNLEARN = {"mask", "unlearn"}
JUDGE = {"evaluate", "measure", "compare", "scores_by_n"}
REPORT = {"collect", "scores", "claims", "figures", "tables", "page", "provenance"}
UNLEARNING = UNLEARN | {"relearn"} | JUDGE | REPORT
AFTER_TRAINING = TRAIN | UNLEARNING | {"condense"}
EVERYTHING = DATA | AFTER_TRAINING
REPAIR = UNLEARNING - {"mask"}
# How methods are called and what they are compared with trains nothing.
SHOWING = {"figures", "tables", "page", "provenance"}
COMPARING = {"compare"} | REPORT - {"collect"}
# What is collected are the arrays behind the score.
MEASURING = {"measure"} | REPORT - {"collect"}
RELEARNING = {"relearn"} | MEASURING

ONE_VALUE = None
"""There is no other value that the configuration of this experiment admits."""
TABLE = {
    # leaf: another value, the rules that it re-runs
    "seed": (2, EVERYTHING),
    "precision": ("bf16", AFTER_TRAINING),
    "network": ("vgg11_bn", AFTER_TRAINING),
    "data.name": ONE_VALUE,
    "data.title": ("Digits", SHOWING),
    "data.path": ONE_VALUE,
    "data.groups": ONE_VALUE,
    "data.leave_out": ("config/lists/digits-judged.txt", EVERYTHING),
    "data.duplicates": ("error", EVERYTHING),
    "data.image_size": ONE_VALUE,
    "data.normalise": (False, EVERYTHING),
    "data.train": (130, EVERYTHING),
    "data.validation": (33, EVERYTHING),
    "data.test": (65, EVERYTHING),
    "data.forget.kind": ("mislabelled", EVERYTHING),
    "data.forget.size": (17, EVERYTHING),
    # Fleets of one more original; the oracle and the first original stay.
    "originals": (2, {"train_original", "evaluate", "measure", "compare", "relearn"} | UNLEARN | REPORT),
    # There is but one original.
    "originals_of_others": (1, SHOWING),
    "models": (8, {"retrain", "condense"} | UNLEARN | JUDGE | REPORT),
    "replicates": (101, JUDGE | REPORT),
    # What it is by default.
    "ratio_sweep.of": ("random_mask", SHOWING),
    # By the number of models, only the repair without a mask is drawn.
    "ratio_sweep.ratios": ([0.1], UNLEARNING - {"scores_by_n"}),
    "search": (
        {"trials": 1, "budget": 1.0, "spaces": {"finetune": {"finetune.learning_rate": [0.1]}}},
        {"unlearn", "evaluate", "choose"} | REPORT,
    ),
    # The file of an earlier search, and fleets that were kept, which this checkout has not.
    "tuned": ONE_VALUE,
    "oracle": ONE_VALUE,
    "relearn.models": (3, RELEARNING),
    "shards.retrain": (2, {"retrain", "condense"} | JUDGE | REPORT),
    "shards.unlearn": (2, UNLEARNING),
}
STEP = {
    "title": ("Mine", SHOWING),
    "group": ("own", SHOWING),
    "deviation": ("It differs.", SHOWING),
    # There are few methods, all of which are drawn.
    "main": ("the other one", SHOWING),
    "variant_of": ("finetune", SHOWING),
    "compare_with": (["finetune", "retrain", "random_mask_described"], COMPARING),
    # What is tuned and main is compared with all others, and claims know it.
    "tuned_from": ("mine", COMPARING),
    # Another perturbation, or a drawn ratio, would have no sweep.
    "perturb.name": ONE_VALUE,
    "perturb.spare": ("described", UNLEARNING),
    "perturb.ratio_to": ONE_VALUE,
    "perturb.ratio": (0.4, UNLEARNING),
    "perturb.only": ("inner", UNLEARNING),
    "perturb.unit": ("tensor", UNLEARNING),
    "perturb.per": ("fleet", UNLEARNING),
    # The masks are the same, what is done with them is not.
    "perturb.fill": ("initial", REPAIR),
    "perturb.rescale": (True, REPAIR),
    "perturb.frozen": (True, REPAIR),
    # A function of one's own takes the place of a perturbation and a repair.
    "function": ONE_VALUE,
    "batches": ONE_VALUE,
    "cycles": (2, UNLEARNING),
    "rounds": (2, REPAIR),
    "models": ("even", REPAIR),
    "then": ([{"finetune": {"epochs": 1, "batch": 32, "optimizer": "adam", "learning_rate": 0.1}}], REPAIR),
}
RECIPE = {
    # Another loss, or a pair, would need other keys beside it.
    "objective.name": ONE_VALUE,
    "objective.class_weight_exponent": 1.0,
    "objective.class_weights_of": "batches",
    "images": "validation",
    "paired_with": ONE_VALUE,
    "paired_batch": ONE_VALUE,
    "epochs": 3,
    "last_epoch": 0.5,
    "batch": 16,
    "optimizer": "the other one",
    "learning_rate": 2e-3,
    "final_learning_rate": 1e-5,
    "schedule": "linear",
    "warm_up": 1,
    "momentum": 0.5,
    "weight_decay": 1e-3,
    "l1": 1e-5,
    "noise": 0.1,
    "last": 2,
    "salient": 0.5,
    "unperturbed_gradient_scale": 0.1,
    "order": "fleet",
}
FOR_UNLEARNING = {"images", "last", "salient", "unperturbed_gradient_scale"}
WALKED = ("random_mask",)
"""Methods are treated alike: all leaves of this one are walked, and one of each of the others."""


def expected(leaf: str):
    """Return another value of a leaf, and what it re-runs, by the tables above."""
    for section, rules, fixed in (
        ("training.", AFTER_TRAINING, FOR_UNLEARNING),
        ("relearn.finetune.", RELEARNING, FOR_UNLEARNING | {"schedule", "order"}),
        (".finetune.0.", REPAIR, {"warm_up"}),  # there is but one epoch
    ):
        _, found, key = leaf.partition(section)
        if found:
            return None if key in fixed or RECIPE[key] is None else (RECIPE[key], rules)
    if leaf.startswith("methods."):
        method, rest = leaf.split(".", 2)[1:]
        found = STEP[rest]
        if method == "finetune" and found:  # which draws no masks
            return found[0], REPAIR
        return found
    return TABLE[leaf]


def leaves(value, prefix=""):
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{prefix}{key}.")]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for at, inner in enumerate(value) for leaf in leaves(inner, f"{prefix}{at}.")]
    return [prefix[:-1]]


def walked(leaf: str) -> bool:
    """Whether a leaf is changed: not the name of the experiment, which has its own folder of results."""
    _, _, rest = leaf.partition("methods.")
    method = rest.split(".")[0]
    return leaf != "experiment" and (not rest or method in WALKED or leaf.endswith("0.epochs"))


def changed(content: dict, leaf: str, value) -> dict:
    copy = json.loads(json.dumps(content))
    *parents, key = leaf.split(".")
    section = copy
    for parent in parents:
        section = section[int(parent) if parent.isdigit() else parent]
    if key == "main":
        value = not section["main"]
    if key == "momentum" and section["optimizer"] == "adam":
        return {}  # which has none
    if key == "optimizer":
        value = {"adam": "sgd", "sgd": "adam"}[section.pop("optimizer")]
        section.pop("momentum")
    section[key] = value
    return copy


def test_every_value_of_the_configuration_re_runs_what_depends_on_it(finished, tmp_path):
    """Walk every leaf, those with defaults included: change it, and compare the plan with the table."""
    content = load(finished.root / "config" / "smoke.yaml").model_dump(mode="json")

    def plan(leaf: str):
        other = expected(leaf)
        edited = other and changed(content, leaf, other[0])
        if not edited:
            return None
        path = tmp_path / f"{leaf}.yaml"
        path.write_text(yaml.safe_dump(edited))
        return finished.planned(config=path) - {"all"}, other[1]

    chosen = [leaf for leaf in leaves(content) if walked(leaf)]
    with ThreadPoolExecutor(2) as pool:
        plans = dict(zip(chosen, pool.map(plan, chosen), strict=True))
    wrong = {leaf: found for leaf, found in plans.items() if found and found[0] != found[1]}
    assert not wrong
    assert sum(found is not None for found in plans.values()) > 50


def test_a_change_of_one_method_re_trains_that_method_only(finished, tmp_path):
    content = yaml.safe_load((finished.root / "config" / "smoke.yaml").read_text())
    content["methods"]["finetune"]["finetune"]["epochs"] = 3
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content))
    assert trained(finished, tmp_path / "other.yaml") == {"finetune 0000-0003"}


def trained(checkout, config) -> set[str]:
    """Return the fleets that the plan trains: name and models."""
    jobs = re.findall(
        r"Job \d+: (?:Unlearning|Retraining) models (\d+) to (\d+) of (?:the )?(\S+)(?: fleet)?",
        checkout.plan(config=config),
    )
    return {f"{fleet} {first}-{last}" for first, last, fleet in jobs}


def test_a_new_method_trains_only_itself(finished, tmp_path):
    content = yaml.safe_load((finished.root / "config" / "smoke.yaml").read_text())
    content["methods"]["mine"] = content["methods"]["random_mask"] | {
        "perturb": {"name": "random_mask", "ratio": 0.1, "spare": "described"}
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert trained(finished, tmp_path / "mine.yaml") == {"mine 0000-0003"}


def test_more_models_add_shards_and_re_make_none(finished, tmp_path):
    content = yaml.safe_load((finished.root / "config" / "smoke.yaml").read_text())
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(content | {"models": 8}))
    fleets = ("oracle", "retrain", "finetune", "random_mask", "random_mask_described", "random_mask_ratio_0")
    assert trained(finished, tmp_path / "more.yaml") == {f"{fleet} 0004-0007" for fleet in fleets}


def test_two_values_that_change_places_are_noticed(finished, tmp_path):
    """Snakemake compares the values of bare params as a set."""
    content = yaml.safe_load((finished.root / "config" / "smoke.yaml").read_text())
    recipe = content["training"]
    recipe["learning_rate"], recipe["weight_decay"] = recipe["weight_decay"], recipe["learning_rate"]
    (tmp_path / "swapped.yaml").write_text(yaml.safe_dump(content))
    assert finished.planned(config=tmp_path / "swapped.yaml") - {"all"} == AFTER_TRAINING


def test_the_order_of_methods_is_that_of_the_results(finished, tmp_path):
    """So that the same configuration gives the same bytes, whatever was there before."""
    content = yaml.safe_load((finished.root / "config" / "smoke.yaml").read_text())
    content["methods"] = dict(reversed(content["methods"].items()))
    (tmp_path / "turned.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    assert finished.planned(config=tmp_path / "turned.yaml") - {"all"} == REPORT


def test_touching_re_runs_nothing_and_editing_only_what_uses_it(copy_of_finished):
    source = copy_of_finished.root / "src" / "random_mask"
    for path in source.rglob("*.py"):
        path.touch()
    assert copy_of_finished.planned() == set()
    for module, rules in {
        "report/figures.py": {"figures", "page", "provenance"},
        "report/tables.py": {"tables", "page", "provenance"},
        "metrics/klom.py": MEASURING,
        "training/relearning.py": RELEARNING,
        "artifacts/provenance.py": {"provenance"},
        "metrics/intervals.py": JUDGE | REPORT | {"condense"},
        "methods/random_mask.py": UNLEARNING,
        "methods/transpose.py": SHOWING,
        "methods/losses/distil.py": SHOWING,
        "methods/losses/cross_entropy.py": AFTER_TRAINING,
        "training/loop.py": AFTER_TRAINING,
        "data/readers.py": EVERYTHING,
        "experiment/config.py": SHOWING,
        "cli.py": set(),
    }.items():
        text = (source / module).read_text()
        (source / module).write_text(text + "# edited\n")
        assert copy_of_finished.planned() - {"all"} == rules, module
        (source / module).write_text(text)
    assert copy_of_finished.planned() == set()


def test_a_new_perturbation_and_a_new_loss_train_only_what_uses_them(copy_of_finished):
    """As CONTRIBUTING.md shows them: each is one new file."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    files = dict(re.findall(r"```python\n# (src/\S+)\n(.*?)```", text, re.S))
    for name, content in files.items():
        (copy_of_finished.root / name).write_text(content)
    assert len(files) == 2
    assert copy_of_finished.planned() - {"all"} == SHOWING
    (example,) = re.findall(r"```yaml\n(methods:\n  shuffled:.*?)```", text, re.S)
    smoke = (copy_of_finished.root / "config" / "smoke.yaml").read_text()
    config = copy_of_finished.root / "mine.yaml"
    config.write_text(smoke.replace("methods:\n", example.replace("batch: 64", "batch: 32"), 1))
    assert trained(copy_of_finished, config) == {"shuffled 0000-0003"}


def test_another_environment_trains_again(copy_of_finished):
    lock = copy_of_finished.root / "requirements.txt"
    lock.write_text(lock.read_text() + "# another version\n")
    assert {"prepare_data", "relearn"} | TRAIN | UNLEARN <= copy_of_finished.planned()


def test_results_copied_into_a_fresh_clone_are_taken_with_one_command(finished, fresh):
    shutil.copytree(finished.root / "results", fresh.root / "results", copy_function=shutil.copyfile)
    touched = fresh.snakemake("--touch")
    assert touched.returncode == 0, touched.stdout
    assert fresh.planned() == set()
    (fresh.root / "src" / "random_mask" / "report" / "figures.py").open("a").write("# edited\n")
    assert fresh.planned() == {"figures", "page", "provenance", "all"}


def test_the_table_has_no_leaf_too_many():
    schema = json.dumps(Experiment.model_json_schema())
    assert all(f'"{leaf.rpartition(".")[2]}"' in schema for leaf in [*TABLE, *STEP, *RECIPE])
