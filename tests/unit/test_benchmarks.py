"""The benchmarks run at toy size; nothing is said of their times."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_images import small_images
from torch.nn import functional

from random_mask.methods.losses.cross_entropy import CrossEntropy
from random_mask.metrics.intervals import Fleet
from random_mask.training.evaluation import evaluate
from random_mask.training.fleet import initial
from random_mask.training.loop import fit
from random_mask.training.networks import NETWORKS
from random_mask.training.recipe import Recipe
from random_mask.training.stacking import Stack

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark():
    """Return a function that imports a benchmark by its name."""
    torch.set_num_threads(1)
    return importlib.import_module


def test_training_against_the_loop_of_the_competition(benchmark, capsys, monkeypatch):
    training = benchmark("training")
    monkeypatch.setattr(training, "DISTURBED", 1.0)  # tests beside this one are no reason to repeat a round
    arguments = "--rounds 1 --seconds 0.1 --batch 4 --cores 1"
    training.main(arguments.split())
    printed = capsys.readouterr().out
    assert re.search(r"round 1 +\d+ +\d+ +\d+ ", printed)
    assert re.search(r"ours / baseline +\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", printed)


def test_the_loop_of_the_competition_counts_every_class(benchmark):
    training = benchmark("training")
    baseline = training.Baseline(training.random_images(), 8, torch.device("cpu"))
    assert baseline.step() == 8
    assert sum(baseline.seen) == 16  # one step is taken at the start
    assert all(right <= seen for right, seen in zip(baseline.right, baseline.seen, strict=True))


def test_what_a_finished_run_has_spent(benchmark, tmp_path):
    cost = {"retrain": {"jobs": 2, "processor_seconds": 7.5}, "all": {"jobs": 2, "processor_seconds": 7.5}}
    (tmp_path / "provenance.json").write_text(json.dumps({"cost": cost}))
    assert benchmark("estimate").spent(tmp_path) == ({"retrain": 2}, {"retrain": 7.5})


def test_the_ratio_of_each_rule(benchmark):
    predicted = {"retrain": 2, "paper": 1}, {"retrain": 9.0, "paper": 1.0}
    spent = {"retrain": 6.0, "other": 4.0}
    table = benchmark("estimate").compare(*predicted, {"retrain": 3, "other": 1}, spent)
    assert "| retrain | 3 | 2 | 6.0 | 9.0 | 1.50 |" in table
    assert "| other | 1 | 0 | 4.0 | 0.0 |  |" in table
    assert table[-1] == "| all | 4 | 3 | 10.0 | 10.0 | 1.00 |"


def test_coverage_of_the_intervals_of_the_score(benchmark, capsys):
    coverage, arguments = (
        benchmark("interval_coverage"),
        "--models 8 --examples 5 --simulations 2 --replicates 3",
    )
    coverage.main(arguments.split())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "N = 8, 5 examples, 2 simulations, 3 replicates"
    rows = [line for line in lines[3:] if line.startswith("| ")]
    assert len(rows) == len(coverage.POPULATIONS)
    for row in rows:
        assert re.fullmatch(r"\| [^|]+( \| \d+\.\d{4}){3}( \| (0|50|100)%){4} \| \d+\.\d{4} \|", row), row
    assert re.match(r"Difference of two equal methods: covers 0 in \d+%; width \d\.\d+ paired, ", lines[-1])


def test_coverage_of_the_intervals_of_the_measures(benchmark, capsys):
    arguments = "--models 8 --examples 5 --draws 2 --replicates 3"
    benchmark("measures_coverage").main(arguments.split())
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    measures = ("ulira_accuracy", "ulira_true_positives", "klom_forget_mean", "klom_forget_p95")
    settings = [("0", "0"), ("2", "0"), ("2", "0.3")]
    assert [(*row[2:4], row[4]) for row in rows] == [
        (*setting, f"`{measure}`") for setting in settings for measure in measures
    ]
    assert all(row[-1] in ("0.00 |", "0.50 |", "1.00 |") for row in rows)


def test_the_speed_of_a_core(benchmark, capsys):
    benchmark("speed").main(["--seconds", "0.01"])
    printed = capsys.readouterr().out
    assert json.loads(printed[: printed.index("\n}") + 2])["speed"].keys() == {
        "flops_per_second",
        "weights_per_second",
    }
    assert re.search(r"\d+ images a second; \d+ steps, \d+% of it the optimiser", printed)


def test_intervals_of_the_metric(benchmark, capsys):
    arguments = "--intervals --models 8 --examples 5 --replicates 2 --workers 1"
    benchmark("metric").main(arguments.split())
    printed = capsys.readouterr().out
    assert "Intervals: N = 8, 5 examples, 2 replicates, 1 workers" in printed
    assert re.search(r"\d+\.\d s by the clock, \d+\.\d processor seconds", printed)
    assert re.search(r"\d+ MB in the largest process", printed)


def small_network():
    made = Stack(NETWORKS["resnet18"], 4, image_size=32)
    made.load(0, initial(NETWORKS["resnet18"], 4, 1))
    return made.train()


def layers_of(network):
    return {name: layer for name, layer in network.named_modules() if not list(layer.children())}


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def test_every_layer_emulates_autocast(benchmark):
    """Given what the layer reads under autocast, and a gradient of what it returns."""
    precision = benchmark("precision")
    network, read = small_network(), {}
    layers = {name: layer for name, layer in layers_of(network).items() if not name.endswith("relu")}
    for name, layer in layers.items():
        layer.register_forward_hook(
            lambda _, inputs, output, name=name: read.update({name: inputs[0].detach()})
        )
    images = small_images(8)
    with autocast():
        network(images.inputs(torch.arange(8)[None]))
    torch.manual_seed(0)
    for name, given in dict(read).items():
        maps = [given.clone().requires_grad_(), given.float().requires_grad_()]
        with autocast():
            expected = layers[name](maps[0])
        with precision.EmulatedAutocast("cpu", torch.bfloat16):
            found = layers[name](maps[1])
        assert expected.dtype == torch.bfloat16
        # Sums in another order are rounded to a neighbour now and then.
        assert (found == expected.float()).float().mean() > 0.999, name
        spread = expected.float().std().item()
        torch.testing.assert_close(found, expected.float(), rtol=2**-7, atol=2**-8 * spread, msg=name)
        back = torch.randn(expected.shape).bfloat16()
        wanted = [*layers[name].parameters()]
        gradients = torch.autograd.grad(found, [maps[1], *wanted], back.float())
        references = torch.autograd.grad(expected, [maps[0], *wanted], back)
        for gradient, reference in zip(gradients, references, strict=True):
            # The processor's own kernels round sums of a gradient once or twice on the way.
            error = (precision.rounded(gradient) - reference.float()).norm() / reference.float().norm()
            assert error < 0.01, name


def test_all_that_passes_between_emulated_layers_is_bfloat16(benchmark):
    """Residual sums, which are what some ReLU reads, and the gradients of kernels too."""
    precision = benchmark("precision")
    network, images, seen = small_network(), small_images(8), []
    for name, layer in layers_of(network).items():
        layer.register_forward_hook(lambda _, inputs, output: seen.append(output.clone()))
        if name.endswith("relu"):
            layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    with precision.EmulatedAutocast("cpu", torch.bfloat16):
        logits = network(images.inputs(torch.arange(8)[None]))
    assert (
        len(seen) == 20 + 20 + 2 * 17 + 3
    )  # of products, batch norms, ReLU (twice), pools and the last layer
    kernels = [layer.weight for layer in network.modules() if type(layer).__name__ == "_Conv2d"]
    seen += torch.autograd.grad(functional.cross_entropy(logits[0], images.labels), kernels)
    for each in seen:
        assert torch.equal(each, precision.rounded(each))


def test_training_in_emulated_bfloat16_is_as_far_from_fp32_as_autocast(benchmark):
    precision = benchmark("precision")
    images = small_images(16)
    recipe = Recipe(epochs=1, batch=8, optimizer="sgd", learning_rate=1e-3, momentum=0.9)

    def logits(kind):
        network, rngs = small_network(), [np.random.default_rng(0)]
        splits, loss = {"retain": np.arange(16), "forget": []}, CrossEntropy(name="cross_entropy")
        fit(network, images, splits, recipe, loss, rngs=rngs, precision=kind)
        return evaluate(network, images, np.arange(16))[0]

    full = logits("fp32")
    with precision.emulated():
        assert np.array_equal(logits("fp32"), full)
        emulated = logits("bf16")
    half = logits("bf16")
    assert not np.array_equal(half, emulated)
    assert 0.5 < np.linalg.norm(emulated - full) / np.linalg.norm(half - full) < 2


def known_fleets(rng, change):
    """Return fleets whose models in bf16 have every confidence and accuracy changed by a constant."""
    fleets, arrays = {}, {}
    for name in ("oracle fp32", "random_mask fp32", "retrain fp32", "random_mask bf16", "retrain bf16"):
        if name.endswith("fp32"):
            confidences = rng.normal(size=(8, 12))
            accuracies = {
                f"accuracy_{part}": rng.uniform(0.5, 0.8, 8) for part in ("retain", "forget", "test")
            }
        else:
            base = name.replace("bf16", "fp32")
            confidences = fleets[base].confidences + change
            accuracies = {part: array + change / 10 for part, array in arrays[base].items()}
        arrays[name] = accuracies
        fleets[name] = Fleet(confidences, accuracies["accuracy_retain"], accuracies["accuracy_test"])
    return fleets, arrays


def test_what_bfloat16_changes(benchmark):
    precision = benchmark("precision")
    smoke = precision.load(BENCHMARKS.parent / "config/smoke.yaml")
    experiment = smoke.model_copy(update={"replicates": 2})
    fleets, arrays = known_fleets(np.random.default_rng(0), 0.5)
    rows = {line.split(" | ")[0]: line for line in precision.differences(fleets, arrays, experiment)}
    for part in ("retain", "forget", "test"):
        assert rows[f"| {part} accuracy"].count("+0.0500 [+0.0500, +0.0500]") == 2
    assert rows["| confidences, same seed, median distance"].count("0.500") == 2
    table = precision.scores(fleets, arrays, experiment)
    assert [line.split(" | ")[:2] for line in table[2:]] == [
        ["| random_mask fp32", "oracle fp32"],
        ["| retrain fp32", "oracle fp32"],
        ["| random_mask bf16", "oracle fp32"],
        ["| retrain bf16", "oracle fp32"],
        ["| random_mask fp32", "retrain fp32"],
        ["| random_mask bf16", "retrain bf16"],
    ]
    fleets, arrays = known_fleets(np.random.default_rng(0), 0.0)
    changed = precision.differences(fleets, arrays, experiment)
    assert all(line.count("| +0.0000 [") == 2 for line in changed[2:7])


def test_what_precision_cannot_measure_is_said_in_one_line(benchmark, monkeypatch, tmp_path):
    precision = benchmark("precision")
    smoke = BENCHMARKS.parent / "config/smoke.yaml"
    monkeypatch.chdir(tmp_path)

    def message(*arguments):
        with pytest.raises(SystemExit) as error:
            precision.main(list(map(str, arguments)))
        return str(error.value)

    expected = "results/smoke/data/split.csv: no such file; run snakemake with the same --configfile first"
    assert message("--configfile", smoke) == f"precision: {expected}"
    assert "give 2 to 4" in message("--configfile", smoke, "--models", 1)
    half = tmp_path / "half.yaml"
    half.write_text(smoke.read_text() + "\nprecision: bf16\n")
    assert message("--configfile", half) == f"precision: {half}: precision: bf16; take a run in fp32"
