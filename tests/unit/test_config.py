import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from random_mask import cli
from random_mask.errors import InputError
from random_mask.experiment.config import json_schema, load, read, validate

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.stem != "paper")


@pytest.fixture
def content() -> dict:
    return yaml.safe_load((ROOT / "config" / "digits.yaml").read_text())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path):
    assert load(path).experiment == path.stem
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(json_schema()))


def test_the_schema_in_the_repository_is_current():
    schema = ROOT / "workflow" / "schemas" / "config.schema.json"
    assert schema.read_text() == json_schema(), "run `make schema`"


def test_every_key_has_a_description():
    schema = json.loads(json_schema())
    for name, section in {"Experiment": schema, **schema["$defs"]}.items():
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"


def change(content: dict, path: str, value) -> dict:
    changed = json.loads(json.dumps(content))  # YAML anchors are shared objects
    *parents, last = path.split(".")
    section = changed
    for parent in parents:
        section = section[parent]
    section[last] = value
    return changed


MASK = {"name": "random_mask", "ratio": 0.3, "spare": "published"}
RELEARN = {
    **{"images": "forget", "epochs": 2, "batch": 64, "optimizer": "adam"},
    **{"learning_rate": 1e-4, "schedule": "constant"},
}
NO_MORE = {"ratio_sweep": None, "tuned": None}
"""Of an experiment without what its methods are for."""
MISTAKES = [
    ("modles", 16, "modles: unknown key"),
    ("data.trian", 5, "data.trian: unknown key"),
    (
        "methods.random_mask.perturb.raito",
        0.3,
        "methods.random_mask.perturb.raito: unknown key",
    ),
    ("methods.random_mask.finetune.lr", 0.3, "methods.random_mask.finetune.lr: unknown key"),
    ("training.momentum", 0.9, "training.momentum: only sgd uses it; remove it"),
    ("models", "sixteen", "models: input should be a valid integer, not 'sixteen'"),
    ("models", 1, "models: input should be greater than or equal to 2, not 1"),
    ("models", 16.5, "models: "),
    ("seed", -1, "seed: "),
    ("experiment", "../up", "experiment: "),
    ("training.learning_rate", "fast", "training.learning_rate: "),
    ("training.learning_rate", 0, "training.learning_rate: "),
    ("training.optimizer", "adagrad", "training.optimizer: "),
    ("training.batch", 1, "training.batch: "),
    ("methods.random_mask.perturb.ratio", 1.5, "methods.random_mask.perturb.ratio: "),
    ("methods.random_mask.perturb.ratio", -0.1, "methods.random_mask.perturb.ratio: "),
    ("methods.random_mask.perturb.spare", "bn", "methods.random_mask.perturb.spare: "),
    (
        "methods.random_mask.perturb.name",
        "shake",
        "methods.random_mask.perturb.name: unknown 'shake'",
    ),
    ("data.forget.kind", "mislabeled", "data.forget.kind: unknown 'mislabeled'; known are 'random', 'class'"),
    (
        "methods.random_mask.finetune.objective",
        "hinge",
        "methods.random_mask.finetune.objective.name: unknown 'hinge'",
    ),
    (
        "training.schedule",
        "cosin",
        "training.schedule: input should be 'cosine', 'linear' or 'constant', not",
    ),
    (
        "methods.schedule",
        {"finetune": RELEARN | {"images": "retain"}, "compare_with": "x"},
        "methods.schedule.compare_with: input should be a valid list",
    ),
    ("training.schedule", 3, "training.schedule: input should be 'cosine', 'linear' or 'constant', not 3"),
    ("training.schedule", [1.0, "x"], "training.schedule.1: input should be a valid number"),
    ("training.schedule", [-1.0], "training.schedule: input should be greater than or equal to 0, not -1.0"),
    (
        "methods.finetune.finetune.schedule",
        "cosin",
        "methods.finetune.finetune.schedule: input should be 'cosine'",
    ),
    ("data.forget", {"kind": "group"}, "data.forget.groups: none; name some, or say how many by first"),
    ("ratio_sweep.method", "mask", "ratio_sweep.method: unknown key"),
    ("ratio_sweep.ratios", [0.1, 0.10000001], "ratio_sweep.ratios: 0.1 stands twice; remove one"),
    (
        "methods.random_mask.variant_of",
        "random_mask",
        "methods.random_mask.variant_of: there is no other method random_mask; correct its name",
    ),
    (
        "methods.random_mask.variant_of",
        "mine",
        "methods.random_mask.variant_of: there is no other method mine",
    ),
    (
        "methods.random_mask.compare_with",
        ["a"],
        "methods.random_mask.compare_with: there is no other method a",
    ),
    ("methods.random_mask.group", "team", "methods.random_mask.group: "),
    ("ratio_sweep.of", "mine", "ratio_sweep.of: mine; name the method whose ratio is varied"),
    ("ratio_sweep.of", "finetune", "ratio_sweep.of: finetune has no mask of one ratio"),
    ("methods.random_mask.perturb.ratio_to", 0.5, "ratio_sweep.of: random_mask has no mask of one ratio"),
    (
        "search",
        {"trials": 1, "budget": 1, "spaces": {"random_mask": {"perturb.ratio": [0.1]}}},
        "ratio_sweep.of: random_mask is searched, so that it is run in trials alone",
    ),
    ("training.learning_rate", float("inf"), "training.learning_rate: "),
    ("models", 10_000, "models: "),
    ("ratio_sweep.ratios", [0.1, 2], "ratio_sweep.ratios.1: "),
    ("ratio_sweep.ratios", [0.5, 0.5], "ratio_sweep.ratios: "),
    ("ratio_sweep.ratios", [0.5, 0.3], "ratio_sweep.ratios: "),
    ("data.forget.size", 800, "data.forget.size: 800 images to forget, but train has 800"),
    ("data.forget.size", 799, "data.forget.size: 799 images to forget, but train has 800; at least two must"),
    ("data.forget.size", 5000, "data.forget.size: 5000 images to forget"),
    ("data.forget.size", 0, "data.forget.size: "),
    ("data.train", 1700, "data.train + validation + test: "),
    ("data.name", "mnist", "data.name: "),
    ("data.image_size", 64, "data.image_size: only images of a folder are resized; remove it"),
    ("data", None, "data: "),
    ("training.batch", 759, "training.batch: 760 images in batches of 759"),
    ("replicates", 1, "replicates: "),
    ("relearn", {"models": 17, "finetune": RELEARN}, "relearn.models: 17, but a fleet has 16"),
    ("methods.random_mask.perturb.held", True, "methods.random_mask.perturb.held: is now called frozen"),
    (
        "methods.random_mask.finetune.temperature",
        2,
        "methods.random_mask.finetune.temperature: is now called",
    ),
    (
        "methods.random_mask.finetune.images",
        "both",
        "methods.random_mask.finetune.images: both is now images: retain",
    ),
    (
        "methods.random_mask.finetune.paired_with",
        "forget",
        "methods.random_mask.finetune.paired_with: cross_",
    ),
    (
        "methods.random_mask.finetune.objective",
        "relabel",
        "methods.random_mask.finetune.objective.with_labels",
    ),
    (
        "methods.random_mask.finetune.schedule",
        [1.0],
        "methods.random_mask.finetune.schedule: 1 factors, but 2",
    ),
    ("training.objective", "ascent", "training.objective: networks are trained by `cross_entropy`"),
    ("network", "lenet", "network: "),
    ("relearn", {"finetune": RELEARN | {"order": "fleet"}}, "relearn.finetune.order: for unlearning only"),
    ("relearn", {"finetune": RELEARN | {"images": "retain"}}, "relearn.finetune.images: relearning takes"),
    (
        "relearn",
        {"finetune": RELEARN | {"schedule": "cosine"}},
        "relearn.finetune.schedule: relearning takes",
    ),
    ("relearn", {"finetune": RELEARN | {"batch": 39}}, "relearn.finetune.batch: 40 images in batches of 39"),
]


PAIRED = {"objective": "neg_grad_plus", "paired_with": "forget"}


@pytest.mark.parametrize(("size", "paired_batch", "refused"), [(1, 64, True), (1, 2, True), (65, 64, False)])
def test_a_batch_is_paired_with_two_images_at_least(content, size, paired_batch, refused):
    """They come round, so that no last batch is smaller: 65 in batches of 64 leave none of one."""
    recipe = content["methods"]["finetune"]["finetune"] | PAIRED | {"paired_batch": paired_batch}
    changed = change(content, "data.forget.size", size) | NO_MORE
    changed["methods"] = {"mine": {"finetune": recipe}}
    if not refused:
        assert validate(changed).data.forgotten == size
        return
    with pytest.raises(InputError, match=r"^config: methods\.mine\.finetune\.paired_with: the split has one"):
        validate(changed)


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[f"{p}={v}" for p, v, _ in MISTAKES])
def test_a_mistake_is_one_line_that_names_the_key(content, path, value, message):
    with pytest.raises(InputError) as caught:
        validate(change(content, path, value), source="config/mine.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"config/mine.yaml: {message}"), lines[0]


def test_a_method_has_a_name_that_can_be_a_folder(content):
    content["methods"]["Random Mask"] = content["methods"]["finetune"]
    with pytest.raises(InputError, match=r"methods\.Random Mask: string should match pattern"):
        validate(content)


def test_several_mistakes_are_several_lines(content):
    changed = change(change(content, "models", 1), "modles", 3)
    with pytest.raises(InputError) as caught:
        validate(changed)
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_section_is_named(content):
    del content["training"]
    with pytest.raises(InputError, match="training: missing"):
        validate(content)


def test_any_methods_are_an_experiment(content):
    recipe = content["training"]
    experiment = validate(content | {"methods": {"mine": {"finetune": recipe}}, **NO_MORE})
    assert experiment.shown() == experiment.drawn() == list(experiment.all_methods()) == ["mine"]
    assert experiment.pairs() == experiment.ablations() == experiment.tuned_methods() == []
    assert experiment.swept_method() is None
    assert experiment.ratio_series() == {}


def test_pairs_follow_from_fields_and_not_from_names(content):
    recipe = content["training"]
    methods = {
        "b": {"finetune": recipe, "compare_with": ["random_mask_c", "retrain"]},
        "random_mask_c": {"finetune": recipe},
        "d_tuned": {"finetune": recipe, "main": True, "variant_of": "b"},
        "e": {"finetune": recipe, "main": True, "tuned_from": "elsewhere"},
    }
    experiment = validate(content | {"methods": methods, **NO_MORE})
    all_others = [("e", other) for other in ("b", "random_mask_c", "d_tuned", "retrain")]
    assert experiment.pairs() == [("b", "random_mask_c"), ("b", "retrain"), ("d_tuned", "b"), *all_others]
    assert experiment.ablations() == [("d_tuned", "b")]
    assert experiment.tuned_methods() == ["e"]
    control = methods | {"e": methods["e"] | {"group": "control"}}
    assert validate(content | {"methods": control, **NO_MORE}).pairs() == experiment.pairs()[:3]


def test_of_many_methods_the_main_ones_are_drawn(content):
    recipe = content["training"]
    methods = {name: {"finetune": recipe, "main": name in "cg"} for name in "abcdefg"}
    assert validate(content | {"methods": methods, **NO_MORE}).drawn() == ["c", "g"]
    few = {name: methods[name] for name in "abcdef"}
    assert validate(content | {"methods": few, **NO_MORE}).drawn() == list("abcdef")
    no_main = {name: {"finetune": recipe} for name in "abcdefg"}
    assert validate(content | {"methods": no_main, **NO_MORE}).drawn() == list("abcdef")


@pytest.mark.parametrize("name", ["digits", "smoke"])
def test_the_pairs_of_the_experiments_of_the_paper(name):
    mask, described, tuned = "random_mask", "random_mask_described", "random_mask_tuned"
    sweep = ["random_mask_ratio_0", "random_mask_ratio_0.15", "random_mask_ratio_0.5"]
    pairs = {(mask, "finetune"), (described, mask), (mask, "retrain"), ("finetune", "retrain")}
    pairs |= {(mask, swept) for swept in (sweep if name == "digits" else sweep[:1])}
    if name == "digits":
        others = ("finetune", sweep[0], mask, described, "tuned_repair", "unmasked_tuned", "retrain")
        pairs |= {(tuned, other) for other in others}
    assert set(load(ROOT / "config" / f"{name}.yaml").pairs()) == pairs


@pytest.mark.parametrize("name", ["digits", "digits-128", "cifar10_jpeg"])
def test_the_control_of_the_tuned_mask_is_its_repair_without_the_mask(name):
    methods = load(ROOT / "config" / f"{name}.yaml").methods
    repair, tuned = methods["tuned_repair"], methods["random_mask_tuned"]
    assert (repair.perturb.name, repair.finetune, repair.then) == ("none", tuned.finetune, tuned.then)


def test_the_search_on_the_digits_chose_the_repair_set_by_hand_where_there_is_no_mask_as_the_paper_says():
    methods = load(ROOT / "config" / "digits.yaml").methods
    assert methods["unmasked_tuned"].finetune == methods["random_mask"].finetune


@pytest.mark.parametrize("name", ["original", "retrain", "oracle"])
def test_the_names_of_the_references_are_reserved(content, name):
    content["methods"][name] = content["methods"]["finetune"]
    with pytest.raises(InputError, match=rf"methods\.{name}: .*reserved"):
        validate(content)


def test_the_names_of_the_sweep_are_reserved(content):
    content["methods"]["random_mask_ratio_0"] = content["methods"]["finetune"]
    with pytest.raises(InputError, match=r"methods\.random_mask_ratio_0: .*choose another"):
        validate(content)


def test_any_notation_of_a_number_is_read(content, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((ROOT / "config" / "digits.yaml").read_text().replace("1.0e-3", "1e-3"))
    assert load(path) == validate(content)


@pytest.mark.parametrize("text", ["a: [", "", "- 1", "7"])
def test_a_file_that_is_no_mapping_is_named(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml: "):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: no such configuration file"):
        load(tmp_path / "none.yaml")


def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n  y: 3\n")
    assert read(path)["b"] == {"x": 2, "y": 3}
    path.write_text(path.read_text() + "  x: 4\n")
    with pytest.raises(InputError, match=r"twice\.yaml: .*line 6: `x` stands twice; remove one"):
        read(path)


def test_the_sweep_adds_a_fleet_for_every_ratio(content):
    experiment = validate(change(content, "ratio_sweep.ratios", [0.0, 0.5]))
    series = experiment.ratio_series()
    assert series == {0.0: "random_mask_ratio_0", 0.3: "random_mask", 0.5: "random_mask_ratio_0.5"}
    methods = experiment.all_methods()
    for ratio, name in series.items():
        assert methods[name].perturb.ratio == ratio
        assert methods[name].finetune == methods["random_mask"].finetune


def test_a_ratio_of_any_size_is_the_name_of_a_fleet(content):
    """Whose signs are those that the rules take in names of methods."""
    experiment = validate(change(content, "ratio_sweep.ratios", [0.00001, 1, 0.1234567]))
    names = [f"random_mask_ratio_{ratio}" for ratio in ("0.00001", "0.123457", "1")]
    assert [name for name in experiment.ratio_series().values() if name != "random_mask"] == names
    assert experiment.all_methods()[names[0]].title == "Random mask ratio 0.00001"


def test_a_name_that_a_search_gives_is_taken(content):
    content["methods"]["finetune.trial_0"] = content["methods"]["finetune"]
    searched = {"search": {"trials": 1, "budget": 1, "spaces": {"finetune": {"finetune.batch": [32]}}}}
    assert "finetune.trial_0" in validate(content).all_methods()
    with pytest.raises(InputError, match=r"^config: methods\.finetune\.trial_0: the search makes one"):
        validate(content | searched)


def test_a_name_that_an_earlier_search_chose_is_taken(content):
    validate(validate(content).model_dump(mode="json"))
    content["methods"]["unmasked_tuned"] = content["methods"]["finetune"]
    told = r"^config: methods\.unmasked_tuned: reference/\S+ has one of this name; choose another, or leave"
    with pytest.raises(InputError, match=told):
        validate(content)
    content["tuned"]["methods"] = ["random_mask_tuned"]
    assert validate(content).methods["unmasked_tuned"].tuned_from is None


def test_the_sweep_is_of_any_method_with_a_mask(content):
    content["methods"]["mine"] = content["methods"].pop("random_mask") | {"compare_with": [], "title": "Mine"}
    for name in ("random_mask_described", "tuned_repair"):
        del content["methods"][name]
    experiment = validate(content | {"tuned": None})
    assert experiment.swept_method() == "mine"
    assert experiment.unmasked() == "mine_ratio_0"
    assert experiment.shown() == ["finetune", "mine_ratio_0", "mine"]
    swept = experiment.all_methods()
    assert swept["mine_ratio_0"].group == "control"
    assert swept["mine_ratio_0.5"].title == "Mine ratio 0.5"
    content["methods"]["second"] = content["methods"]["mine"]
    with pytest.raises(InputError, match=r"ratio_sweep\.of: missing; name the method whose ratio is varied"):
        validate(content | {"tuned": None})
    content["ratio_sweep"]["of"] = "second"
    assert validate(content | {"tuned": None}).unmasked() == "second_ratio_0"


def test_every_method_has_the_same_budget(content):
    for path in (ROOT / "config" / "digits.yaml", ROOT / "config" / "smoke.yaml"):
        experiment = load(path)
        assert len({m.finetune[0].epochs for m in experiment.all_methods().values()}) == 1, path


def test_few_replicates_are_a_try_of_which_is_warned(content, tmp_path, capsys):
    assert validate(content).cautions() == []
    (caution,) = validate(content | {"replicates": 50}).cautions()
    assert caution.startswith("replicates: 50 are for a first try; take 100 or more")
    path = tmp_path / "try.yaml"
    path.write_text(yaml.safe_dump(content | {"replicates": 50}))
    assert cli.main(["config", str(path)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"random-mask: {path}: {caution}\n")


@pytest.mark.parametrize(
    "title", ["Caf\u00e9 \u2014 \u0141\u00f3d\u017a 5 % & more", "\u0218i \u0100\u011f \u2020"]
)
def test_titles_in_latin_letters_are_set(content, title):
    assert validate(content | {"data": content["data"] | {"title": title}}).data.title == title


@pytest.mark.parametrize("title", ["\u043a\u043e\u0442", "\u732b", "a\U0001f408", "a\n\nb", "e\u0301"])
def test_titles_that_the_paper_cannot_set_are_named_before_anything_is_trained(content, title):
    methods = content["methods"]
    own = {"finetune": methods["finetune"] | {"title": title}}
    for key, changed in (
        ("data.title", {"data": content["data"] | {"title": title}}),
        ("methods.finetune.title", {"methods": methods | own}),
    ):
        with pytest.raises(InputError) as error:
            validate(content | changed)
        assert str(error.value).startswith(f"config: {key}")
        assert "the fonts of the paper have no" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[a, b]: 1", "{a: b}: 1", "? [a]\n: 1", "data: {[a]: 1}"])
def test_a_key_that_is_no_name_is_named_with_its_line(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(f"seed: 1\n{text}\n")
    with pytest.raises(
        InputError, match=r"c\.yaml: not valid YAML: line 2: a key that is a list or a mapping"
    ):
        load(path)


def test_what_is_no_text_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        load(tmp_path)
    (tmp_path / "c.yaml").write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(InputError, match=r"c\.yaml: damaged, or not UTF-8"):
        load(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("tuned", "told"),
    [
        ({"file": "."}, r"\.: cannot be read \(Is a directory\)"),
        ({"methods": "random_mask_tuned"}, r"tuned\.methods: input should be a valid list"),
        ({"methods": [["a"]]}, r"tuned\.methods: input should be a valid string"),
        ({"methods": []}, r"tuned\.methods: "),
        ({"methods": ["mine"]}, r"tuned\.methods: .*chosen\.yaml has no mine"),
    ],
)
def test_what_cannot_be_taken_from_a_search_is_named(content, tuned, told):
    with pytest.raises(InputError, match=told) as error:
        validate(content | {"tuned": content["tuned"] | tuned})
    assert "\n" not in str(error.value)


def test_a_configuration_is_read_as_utf_8_whatever_the_locale(tmp_path):
    path = tmp_path / "c.yaml"
    text = (ROOT / "config" / "smoke.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("data:\n", "data:\n  title: \u0141\u00f3d\u017a\n", 1), encoding="utf-8")
    code = "import sys; from random_mask.experiment.config import load; "
    code += "print(ascii(load(sys.argv[1]).data.title))"
    process = subprocess.run(
        [sys.executable, "-c", code, path],
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    assert process.stdout == r"'\u0141\xf3d\u017a'" + "\n", process.stderr


@pytest.mark.parametrize(
    "text",
    [
        "experiment: 2024-02-30",
        "seed: !!int abc",
        "a: !!float x",
        "a: !!timestamp x",
        "a: !!map [1]",
        "[" * 2000,
    ],
)
def test_a_value_that_is_none_of_its_kind_is_no_traceback(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"odd\.yaml: not valid YAML: ") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_a_name_that_is_too_long_is_told():
    with pytest.raises(InputError, match="File name too long; correct the path"):
        read("x" * 300)
