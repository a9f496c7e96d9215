"""Each loss against its definition, written out with softmaxes; and models that do not mix."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from random_mask.methods import catalogue
from random_mask.methods.loss import Loss
from random_mask.training.batch import Batch, cross_entropy

MODELS, BATCH, CLASSES = 3, 5, 4
COUNTS = torch.tensor([1.0, 2.0, 4.0, 0.0], dtype=torch.float64)


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    logits, original, incompetent = (
        torch.randn(MODELS, BATCH, CLASSES, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    labels = torch.randint(0, CLASSES, (MODELS, BATCH), generator=generator)
    return Batch(logits, labels, COUNTS, {"original": original, "incompetent": incompetent})


RETAIN, FORGET = batch(0), batch(1)


def ce(of: Batch) -> np.ndarray:
    logs = log_softmax(of.logits.numpy(), axis=2)
    return -np.take_along_axis(logs, of.labels.numpy()[..., None], axis=2).mean(axis=(1, 2))


def kl(teacher: torch.Tensor, student: torch.Tensor, t: float = 1.0) -> np.ndarray:
    wanted, found = log_softmax(teacher.numpy() / t, axis=2), log_softmax(student.numpy() / t, axis=2)
    return t**2 * (np.exp(wanted) * (wanted - found)).sum(axis=2).mean(axis=1)


def entropy(logits: torch.Tensor) -> np.ndarray:
    p = softmax(logits.numpy(), axis=2)
    return -(p * np.log(p)).sum(axis=2)


R, F = RETAIN, FORGET
SOFT = -(softmax(R.original.numpy(), axis=2) * log_softmax(R.logits.numpy(), axis=2)).sum(2).mean(1)
EXPECTED = {
    "cross_entropy": ({}, ce(R)),
    "ascent": ({}, -ce(R)),
    "neg_grad_plus": ({"balance": 0.95}, 0.95 * ce(R) - 0.05 * ce(F)),
    "relabel": ({"with_labels": "random"}, ce(R) + ce(F)),
    "uniform": ({}, kl(torch.zeros_like(R.logits), R.logits)),
    "contrast": (
        {"temperature": 1.15},
        -log_softmax(F.logits.numpy() @ R.logits.numpy().swapaxes(1, 2) / 1.15, axis=2).mean(axis=(1, 2)),
    ),
    "distil": ({"balance": 0.3, "temperature": 2.0}, 0.3 * kl(R.original, R.logits, 2) + 0.7 * ce(R)),
    "match_logits": ({}, ((R.logits - R.original) ** 2).numpy().mean(axis=(1, 2))),
    "match_entropy": ({}, ce(R) + ((entropy(R.logits) - entropy(R.original)) ** 2).mean(axis=1)),
    "distil_and_learn": ({}, ce(R) + SOFT + kl(R.original, R.logits)),
    "repel": ({"temperature": 2.0}, -kl(R.original, R.logits, 2)),
    "bad_teacher": ({}, kl(R.original, R.logits) + kl(F.incompetent, F.logits)),
}


def loss(name: str) -> Loss:
    return catalogue.loss({"name": name, **EXPECTED[name][0]})


def test_every_loss_is_here():
    names = [kind.__module__.rpartition(".")[2] for kind in catalogue.all_losses()]
    assert sorted(EXPECTED) == sorted(names)


@pytest.mark.parametrize("name", EXPECTED)
def test_is_what_it_says(name):
    found = loss(name)(RETAIN, FORGET if loss(name).pairs else None)
    np.testing.assert_allclose(found.numpy(), EXPECTED[name][1], rtol=1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_asks_for_the_teachers_that_it_reads(name):
    def known(of: Batch) -> Batch:
        return Batch(of.logits, of.labels, COUNTS, {who: of.teachers[who] for who in loss(name).teachers})

    loss(name)(known(RETAIN), known(FORGET))


@pytest.mark.parametrize("name", [name for name in EXPECTED if loss(name).pairs])
def test_a_loss_of_two_batches_needs_them(name):
    with pytest.raises(TypeError, match="second batch"):
        loss(name)(RETAIN, None)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_model_feels_its_own_loss_only(name):
    logits = RETAIN.logits.clone().requires_grad_()
    forget = FORGET.logits.clone().requires_grad_()
    of_retain = Batch(logits, RETAIN.labels, COUNTS, RETAIN.teachers)
    of_forget = Batch(forget, FORGET.labels, COUNTS, FORGET.teachers)
    losses = loss(name)(of_retain, of_forget)
    assert losses.shape == (MODELS,)
    losses[1].backward()
    for gradient in (logits.grad, forget.grad):
        if gradient is not None:
            assert gradient[1].any()
            assert not gradient[[0, 2]].any()


@pytest.mark.parametrize("exponent", [0.0, 0.1, 1.0])
def test_class_weights_weigh_the_mean(exponent):
    weights = torch.tensor([1.0, 2.0, 4.0, 1.0], dtype=torch.float64) ** -exponent
    for model in range(MODELS):
        expected = torch.nn.functional.cross_entropy(
            RETAIN.logits[model], RETAIN.labels[model], weight=weights
        )
        torch.testing.assert_close(RETAIN.cross_entropy(exponent)[model], expected)


def test_cross_entropy_is_separate_for_each_model():
    losses = cross_entropy(RETAIN.logits, RETAIN.labels)
    for model in range(MODELS):
        expected = torch.nn.functional.cross_entropy(RETAIN.logits[model], RETAIN.labels[model])
        torch.testing.assert_close(losses[model], expected)


def test_a_loss_is_named_like_its_file():
    for kind in [*catalogue.all_losses(), *catalogue.all_perturbations()]:
        assert kind.model_fields["name"].annotation.__args__ == (kind.__module__.rpartition(".")[2],)
