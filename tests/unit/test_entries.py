"""The competition's entries, as `config/digits-all.yaml` has them, against the values of the runnable ports.

What their perturbations and losses do is tested in `test_unlearning.py` and `test_losses.py`.
"""

from pathlib import Path

import numpy as np
import pytest

from random_mask.experiment.config import FineTuning, Method, load
from random_mask.training.loop import learning_rates

ENTRIES = load(Path(__file__).parents[2] / "config" / "digits-all.yaml").methods
SIZES = {"retain": 760, "forget": 40, "validation": 100}


def recipes(method: Method) -> list[FineTuning]:
    """Return the recipes of a method, in the order in which they are taken up."""
    steps = [step for step in method.steps() for _ in range(step.cycles)]
    return [recipe for step in steps for recipe in step.finetune]


def rates(name: str) -> list[float]:
    """Return the learning rate at the begin of each epoch of a method."""
    found = []
    for recipe in recipes(ENTRIES[name]):
        steps = recipe.model_copy(update={"last_epoch": 1.0}).steps(SIZES)
        found += learning_rates(recipe, steps)[:: steps // recipe.epochs]
    return found


def test_fanchuan():
    uniform, (contrast, repair) = ENTRIES["fanchuan"].finetune[0], ENTRIES["fanchuan"].then[0].finetune
    assert ENTRIES["fanchuan"].then[0].rounds == 8
    assert (uniform.objective.name, uniform.images, uniform.learning_rate) == ("uniform", "forget", 5e-3)
    assert uniform.weight_decay == contrast.weight_decay == 0
    # A step for each batch of forget, each with 256 images of retain.
    assert contrast.steps(SIZES) == 1
    assert contrast.paired_images(SIZES) == 256
    assert (contrast.images, contrast.paired_with, contrast.objective.temperature) == (
        "forget",
        "retain",
        1.15,
    )
    of_all_rounds = learning_rates(contrast, 8)
    assert of_all_rounds[0] == 3e-4
    assert np.all(np.diff(of_all_rounds) < 0)
    assert of_all_rounds[4] == pytest.approx((3e-4 + 1e-6) / 2)
    assert (repair.batch, repair.learning_rate, repair.weight_decay) == (256, 1e-3 * 256 / 64, 1e-2)
    assert set(learning_rates(repair, 8)) == {4e-3}


def test_kookmin():
    (recipe,) = recipes(ENTRIES["kookmin"])
    assert ENTRIES["kookmin"].perturb.share == 0.3
    assert np.allclose(rates("kookmin"), np.array([1, 2, 3, 2, 1]) / 3 * 1e-3, rtol=1e-6)
    assert (recipe.unperturbed_gradient_scale, recipe.batch, recipe.weight_decay) == (0.1, 64, 5e-4)
    # Gradients of forget, and of as many images of retain.
    assert ENTRIES["kookmin"].perturb.gradient_examples(SIZES) == 80


def test_seif():
    first, last = ENTRIES["seif"].perturb, ENTRIES["seif"].then[0].perturb
    assert (first.sigma, first.only, last.sigma, last.only) == (0.6, "stem", 0.005, "stem")
    assert [recipe.epochs for recipe in recipes(ENTRIES["seif"])] == [3, 1]
    assert np.allclose(rates("seif"), 7e-4 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2, rtol=1e-6)
    for recipe in recipes(ENTRIES["seif"]):
        assert (recipe.objective.class_weight_exponent, recipe.objective.class_weights_of) == (1, "batches")


def test_sebastian():
    (recipe,) = recipes(ENTRIES["sebastian"])
    assert ENTRIES["sebastian"].perturb.share == 0.99
    assert recipe.steps(SIZES) == int(3.2 * 12) + 1
    assert set(rates("sebastian")) == {5e-4}
    assert (recipe.objective.name, recipe.objective.class_weight_exponent) == ("match_entropy", 0.1)
    assert ENTRIES["sebastian"].then[0].perturb.name == "half_precision"


def test_toshi_k():
    assert (ENTRIES["toshi_k"].perturb.name, ENTRIES["toshi_k"].models) == ("transpose", "even")
    assert np.allclose(rates("toshi_k")[:3], 1e-3 * (1 + np.cos(np.pi * np.arange(3) / 3)) / 2)


def test_amnesiacs():
    distilled, learned = recipes(ENTRIES["amnesiacs"])
    assert ENTRIES["amnesiacs"].perturb.layers == ["conv1", "fc"]
    assert (distilled.images, distilled.objective.balance) == ("validation", 1)
    for recipe in (distilled, learned):
        assert (recipe.objective.temperature, recipe.objective.rescale, recipe.epochs) == (5, False, 3)
    assert np.allclose(rates("amnesiacs"), [9e-4] * 3 + [1e-3, 7.5e-4, 2.5e-4])


def test_sun():
    assert rates("sun") == [2e-4] * 8 + [1e-3]
    assert all(recipe.epochs == 1 for recipe in recipes(ENTRIES["sun"]))  # each with an optimiser of its own
    steps = [step for step in ENTRIES["sun"].steps()[1:] for _ in range(step.cycles)]
    drawn = [step.perturb for step in steps if step.perturb.name == "noise"]
    assert [noise.noisy for noise in drawn] == [0, 6, 6, 6, 6]
    assert {(noise.sigma, noise.tensors, noise.train, noise.spare) for noise in drawn} == {
        (0.04, 9, "drawn", "published")
    }


def test_a_dagger_is_for_what_deviates_in_substance():
    assert [n for n, m in ENTRIES.items() if m.group == "entry" and m.deviation and not m.tuned_from] == [
        "toshi_k"
    ]
