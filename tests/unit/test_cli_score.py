"""`random-mask score`: what it prints, and one clear line for every file it cannot use."""

import csv
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from random_mask import cli
from random_mask.metrics import competition, intervals

N_MODELS, N_EXAMPLES, N_CLASSES = 8, 5, 3


def fleet_arrays(seed):
    rng = np.random.default_rng(seed)
    return {
        "logits": rng.normal(size=(N_MODELS, N_EXAMPLES, N_CLASSES)),
        "labels": np.arange(N_EXAMPLES) % N_CLASSES,
        "retain_accuracy": rng.uniform(0.9, 1.0, N_MODELS),
        "test_accuracy": rng.uniform(0.7, 0.8, N_MODELS),
    }


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def files(tmp_path):
    """Return the paths of an unlearned and a retrained fleet."""
    return [
        save(tmp_path / f"{name}.npz", **fleet_arrays(i)) for i, name in enumerate(["unlearned", "retrained"])
    ]


@pytest.fixture
def refusal(capsys):
    """Return a function that runs the command, expects exit code 1, and returns its one line on stderr."""

    def run(*arguments):
        assert cli.main(["score", *map(str, arguments), "--replicates", "2"]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("random-mask: ")
        return captured.err

    return run


def expected_intervals(replicates):
    fleets = []
    for seed in (0, 1):
        arrays = fleet_arrays(seed)
        confidences = competition.logit_scaled_confidence(arrays["logits"], arrays["labels"])
        fleets.append(intervals.Fleet(confidences, arrays["retain_accuracy"], arrays["test_accuracy"]))
    return intervals.score_intervals(*fleets, seed=3, replicates=replicates)


def test_prints_score_interval_and_n(files, capsys):
    assert cli.main(["score", *files, "--seed", "3", "--replicates", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, (name, value) in zip(lines[1:], expected_intervals(5).items(), strict=True):
        assert line.split()[-3:] == ["N", "=", "8"]
        assert line.startswith(name.replace("_", " "))
        assert f"{value.estimate:.4f}  [{value.low:.4f}, {value.high:.4f}]" in line


def test_runs_as_a_module_and_loads_nothing_slow(files):
    options = ["-X", "importtime", "-m", "random_mask.cli", "score", *files, "--replicates", "2"]
    done = subprocess.run([sys.executable, *options], capture_output=True, text=True, check=True)
    assert "forgetting quality" in done.stdout
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "random_mask.metrics.intervals" in modules
    assert not modules & {"torch", "pandas", "pydantic", "scipy.stats", "sklearn"}


def test_confidences_and_logits_are_equivalent(files, tmp_path, capsys):
    cli.main(["score", *files, "--replicates", "3"])
    from_logits = capsys.readouterr().out
    paths = []
    for seed in (0, 1):
        arrays = fleet_arrays(seed)
        confidences = competition.logit_scaled_confidence(arrays.pop("logits"), arrays.pop("labels"))
        paths.append(save(tmp_path / f"confidences{seed}.npz", confidences=confidences, **arrays))
    assert cli.main(["score", *paths, "--replicates", "3"]) == 0
    assert capsys.readouterr().out == from_logits


def test_precision_of_the_exponentials(tmp_path, capsys, refusal):
    paths, fleets = [], []
    for seed in (0, 1):
        logits = np.zeros((N_MODELS, N_EXAMPLES, N_CLASSES))
        logits[..., 1:] = -np.random.default_rng(seed).normal(103 + seed, 2, (N_MODELS, N_EXAMPLES, 1))
        labels = np.zeros(N_EXAMPLES, int)
        paths.append(save(tmp_path / f"{seed}.npz", logits=logits, labels=labels))
        fleets.append(competition.logit_scaled_confidence(logits, labels, precision="float32"))
    table = tmp_path / "examples.csv"
    options = ["--precision", "float32", "--replicates", "2"]
    assert cli.main(["score", *paths, *options, "--per-example", str(table)]) == 0
    capsys.readouterr()
    with table.open(newline="") as file:
        found = [float(row["epsilon"]) for row in csv.DictReader(file)]
    np.testing.assert_array_equal(found, competition.epsilons(*fleets))
    made = save(tmp_path / "made.npz", confidences=fleets[0])
    assert "made.npz: holds confidences" in refusal(made, paths[1], "--precision", "float32")


def test_without_accuracies_only_forgetting_quality(files, tmp_path, capsys):
    arrays = fleet_arrays(0)
    del arrays["test_accuracy"]
    assert cli.main(["score", save(tmp_path / "bare.npz", **arrays), files[1], "--replicates", "2"]) == 0
    out = capsys.readouterr().out
    assert "forgetting quality  0." in out
    assert "score               not computed" in out


def test_ceiling_and_share(files, tmp_path, capsys):
    other = save(tmp_path / "other.npz", **fleet_arrays(2))
    assert cli.main(["score", files[0], files[1], "--ceiling", other, "--replicates", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cli.main(["score", other, files[1], "--replicates", "3"]) == 0
    alone = capsys.readouterr().out.splitlines()
    assert (
        lines[3].removeprefix("ceiling of quality").split()
        == alone[1].removeprefix("forgetting quality").split()
    )
    assert lines[5].removeprefix("ceiling of score").split() == alone[2].removeprefix("score").split()
    share = float(lines[2].split()[1]) / float(alone[2].split()[1])
    assert lines[6].startswith("  share reached")
    assert float(lines[6].split()[-1]) == pytest.approx(share, abs=0.01)


def test_corrupt_archive(files, tmp_path, refusal):
    np.savez_compressed(tmp_path / "bad.npz", **fleet_arrays(0))
    data = bytearray((tmp_path / "bad.npz").read_bytes())
    data[200:260] = bytes(60)
    (tmp_path / "bad.npz").write_bytes(data)
    assert "bad.npz: not a .npz archive" in refusal(tmp_path / "bad.npz", files[1])


def test_per_example_table(files, tmp_path, capsys):
    table = tmp_path / "examples.csv"
    assert cli.main(["score", *files, "--per-example", str(table), "--replicates", "2"]) == 0
    quality = float(capsys.readouterr().out.splitlines()[1].split()[2])
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["example"]) for row in rows] == list(range(N_EXAMPLES))
    assert np.mean([float(row["points"]) for row in rows]) == pytest.approx(quality, abs=5e-5)
    points = competition.points([float(row["epsilon"]) for row in rows], N_MODELS)
    np.testing.assert_array_equal(points, [float(row["points"]) for row in rows])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": None}, "holds labels, retain_accuracy, test_accuracy; it needs `confidences`"),
        ({"labels": np.full(N_EXAMPLES, 9)}, "labels[0] is 9"),
        ({"labels": np.zeros(2, int)}, "labels must be [5]"),
        ({"logits": np.zeros((N_EXAMPLES, N_CLASSES))}, "logits must be [models, examples, classes]"),
        ({"logits": np.full((N_MODELS, N_EXAMPLES, N_CLASSES), np.nan)}, "logits[0, 0, 0] is nan"),
        ({"logits": np.array([[[None, None]]])}, "not a .npz archive of plain arrays"),
        ({"confidences": np.zeros((1, N_EXAMPLES))}, "confidences must be [models >= 2"),
        ({"confidences": np.float64(1.0)}, "confidences must be [models >= 2"),
        ({"retain_accuracy": np.full(N_MODELS, 97.0)}, "retain_accuracy[0] is 97.0, outside [0, 1]"),
        ({"test_accuracy": np.ones(3)}, "test_accuracy must be [8]"),
    ],
)
@pytest.mark.parametrize("position", [0, 1])
def test_bad_contents_are_located(files, tmp_path, refusal, change, message, position):
    arrays = {name: array for name, array in (fleet_arrays(0) | change).items() if array is not None}
    files[position] = save(tmp_path / "bad.npz", **arrays)
    line = refusal(*files)
    assert "bad.npz: " in line
    assert message in line


@pytest.mark.parametrize("contents", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_files_that_are_no_archive(files, tmp_path, refusal, contents):
    path = tmp_path / "bad.npz"
    path.write_bytes(contents)
    assert "bad.npz: not a .npz archive" in refusal(path, files[1])


def test_npy_missing_file_and_directory(files, tmp_path, refusal):
    np.save(tmp_path / "array.npy", np.zeros((4, 4)))
    assert "array.npy: not a .npz archive" in refusal(tmp_path / "array.npy", files[1])
    assert "absent.npz: no such file" in refusal(files[0], tmp_path / "absent.npz")
    assert "cannot be read" in refusal(files[0], tmp_path)


def test_truncated_archive(files, tmp_path, refusal):
    data = (tmp_path / "unlearned.npz").read_bytes()
    (tmp_path / "bad.npz").write_bytes(data[: len(data) // 2])
    assert "bad.npz: not a .npz archive" in refusal(tmp_path / "bad.npz", files[1])


def test_fleets_that_do_not_match(files, tmp_path, refusal):
    other = save(tmp_path / "other.npz", confidences=np.random.default_rng(0).normal(size=(N_MODELS, 4)))
    line = refusal(other, files[1])
    assert "other.npz holds 4 forget examples" in line
    assert "retrained.npz 5" in line


def test_oracle_without_any_accuracy(files, tmp_path, refusal):
    dead = save(tmp_path / "dead.npz", **(fleet_arrays(1) | {"test_accuracy": np.zeros(N_MODELS)}))
    assert "dead.npz: retrained.test_accuracy is 0" in refusal(files[0], dead)


def test_table_that_cannot_be_written(files, tmp_path, refusal):
    assert "cannot be written" in refusal(*files, "--per-example", files[0] + "/table.csv")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["scores"],
        ["score"],
        ["score", "a", "b", "c"],
        ["score", "a", "b", "--ceilings", "d"],
        ["score", "a", "b", "--replicates", "1"],
        ["score", "a", "b", "--seed", "x"],
        ["score", "a", "b", "--precision", "float16"],
        ["estimate"],
        ["estimate", "--configfile", "a", "--cores", "0"],
    ],
)
def test_bad_usage_exits_with_2(arguments, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("random-mask: ")
    assert captured.err.endswith("See: random-mask --help\n")
    assert captured.err.count("\n") == 1


def test_the_table_never_replaces_an_input(files, refusal):
    before = Path(files[1]).read_bytes()
    assert "is one of the inputs" in refusal(*files, "--per-example", files[1])
    assert Path(files[1]).read_bytes() == before


def test_labels_that_differ_are_named(tmp_path, refusal):
    paths = []
    for number, label in enumerate((3, 1)):
        arrays = {"logits": np.random.default_rng(number).normal(size=(N_MODELS, 5, 4))}
        labels = np.array([0, 1, label, 2, 3])
        paths.append(save(tmp_path / f"{number}.npz", **arrays, labels=labels))
    assert "labels[2] is 3" in refusal(*paths)


def shown(capsys, *arguments):
    assert cli.main(["score", *map(str, arguments), "--replicates", "2"]) == 0
    return capsys.readouterr().err


def test_two_fleets_pass_without_a_word(files, capsys):
    assert shown(capsys, *files) == ""


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_probabilities_are_scored_with_a_warning(files, tmp_path, capsys, scale, kind):
    arrays = fleet_arrays(0)
    odds = np.exp(arrays["logits"])
    arrays["logits"] = (scale * odds / odds.sum(axis=2, keepdims=True)).astype(kind)
    path = save(tmp_path / "probabilities.npz", **arrays)
    (line,) = shown(capsys, path, files[1]).splitlines()
    assert line.startswith(f"random-mask: warning: {path}: logits look like probabilities")
    path = save(tmp_path / "confidences.npz", confidences=arrays["logits"][:, :, 0].astype(float) / scale)
    assert "confidences.npz: confidences look like probabilities;" in shown(capsys, path, files[1])


def test_logarithms_of_probabilities_are_logits(files, tmp_path, capsys):
    arrays = fleet_arrays(0)
    arrays["logits"] -= np.log(np.exp(arrays["logits"]).sum(axis=2, keepdims=True))
    assert shown(capsys, save(tmp_path / "logarithms.npz", **arrays), files[1]) == ""


def test_models_that_stand_in_two_fleets_are_counted(files, tmp_path, capsys):
    told = "have 8 models in common; fleets should have none"
    assert f"{files[0]} and {files[0]} {told}" in shown(capsys, files[0], files[0])
    assert f"{files[1]} and {files[1]} {told}" in shown(capsys, *files, "--ceiling", files[1])
    other = fleet_arrays(2)
    other["logits"][3] = fleet_arrays(1)["logits"][6]
    assert "have 1 models in common" in shown(capsys, save(tmp_path / "o.npz", **other), files[1])


def test_models_are_the_same_up_to_rounding(files, tmp_path, capsys):
    told = "have 8 models in common"
    for change in (lambda x: x.astype(np.float32), lambda x: x + 5, lambda x: x.round(3)):
        arrays = fleet_arrays(1)
        arrays["logits"] = change(arrays["logits"])
        assert told in shown(capsys, save(tmp_path / "o.npz", **arrays), files[1])


def test_a_model_that_stands_twice_in_a_fleet_is_counted(files, tmp_path, capsys):
    arrays = fleet_arrays(2)
    arrays["logits"][1:4] = arrays["logits"][0]
    path = save(tmp_path / "o.npz", **arrays)
    assert f"{path}: 3 models stand there more than once" in shown(capsys, path, files[1])


def test_confidences_in_percent_or_logarithms_are_scored_with_a_warning(files, tmp_path, capsys):
    p = np.random.default_rng(0).uniform(0.01, 0.99, (N_MODELS, N_EXAMPLES))
    for values, kind in ((100 * p, "probabilities in percent"), (np.log(p), "logarithms of probabilities")):
        path = save(tmp_path / "o.npz", confidences=values)
        assert f"confidences look like {kind}" in shown(capsys, path, files[1])


def test_an_array_that_stands_twice_is_refused(tmp_path, files, refusal):
    path = Path(save(tmp_path / "twice.npz", confidences=CONFIDENCES))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("confidences.npy")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("confidences.npy", content)
    assert "twice.npz: holds confidences twice" in refusal(path, files[1])


def test_the_table_follows_a_link_and_takes_the_place_of_no_device(files, tmp_path, capsys, refusal):
    (tmp_path / "link.csv").symlink_to("table.csv")
    assert cli.main(["score", *files, "--replicates", "2", "--per-example", str(tmp_path / "link.csv")]) == 0
    capsys.readouterr()
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "table.csv").read_text().startswith("example,")
    os.mkfifo(tmp_path / "pipe")
    assert "is a device or the like" in refusal(*files, "--per-example", tmp_path / "pipe")
    assert "File name too long" in refusal(*files, "--per-example", tmp_path / ("x" * 300))


def test_nobody_to_print_to_is_no_traceback(files, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    assert cli.main(["score", *files, "--replicates", "2"]) == 0


CONFIDENCES = np.random.default_rng(0).normal(size=(N_MODELS, N_EXAMPLES))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (CONFIDENCES.astype(complex), "complex128"),
        (CONFIDENCES.astype("datetime64[D]"), r"datetime64[D]"),
        (CONFIDENCES.astype("timedelta64[s]"), r"timedelta64[s]"),
        (CONFIDENCES.astype([("a", float)]), "[('a', '<f8')]"),
        (CONFIDENCES.astype(str), "<U32"),
        (CONFIDENCES > 0, "bool"),
        (CONFIDENCES.astype(np.int8).view("V1"), "|V1 (float8?), which NumPy lacks; save it as float32"),
        (CONFIDENCES.astype(np.float16).view("V2"), "|V2 (bfloat16?), which NumPy lacks; save it as float32"),
    ],
)
def test_what_is_no_plain_number_is_refused(files, tmp_path, refusal, values, kind):
    path = save(tmp_path / "a.npz", confidences=values)
    assert refusal(path, files[1]).endswith(f"a.npz: confidences must be real numbers, not {kind}\n")
    if values.dtype.names is None:
        path = save(tmp_path / "b.npz", **{**fleet_arrays(0), "retain_accuracy": values[:, 0]})
        assert f"retain_accuracy must be real numbers, not {kind}" in refusal(path, files[1])


@pytest.mark.parametrize("labels", [np.zeros((8, 5), int), np.zeros((5, 1), int), np.zeros(4, int)])
def test_labels_beside_confidences_are_checked(files, tmp_path, refusal, labels):
    path = save(tmp_path / "a.npz", confidences=CONFIDENCES, labels=labels)
    for pair in ((path, files[1]), (files[1], path)):
        assert f"labels must be [5], one for each example, not {labels.shape}" in refusal(*pair)


def test_a_member_of_the_archive_that_is_no_array_is_refused(files, tmp_path, refusal):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("confidences", "x")
    assert "a.npz: confidences is no NumPy array" in refusal(path, files[1])


@pytest.mark.parametrize("name", ["", "folder", "nowhere/deep/table.csv"])
def test_a_table_has_a_place_before_anything_is_made(files, tmp_path, refusal, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    refusal(*files, "--per-example", name)
    assert sorted(tmp_path.rglob("*")) == before
