"""Each objective against its definition, written out with softmaxes; and models that do not mix."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from random_mask.methods.objectives import OBJECTIVES, Batch, cross_entropy
from random_mask.settings import Recipe

MODELS, BATCH, CLASSES = 3, 5, 4


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    logits, teacher, stranger = (
        torch.randn(MODELS, BATCH, CLASSES, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    labels = torch.randint(0, CLASSES, (MODELS, BATCH), generator=generator)
    return Batch(logits, labels, teacher, stranger)


RETAIN, FORGET = batch(0), batch(1)


def recipe(objective: str, **options) -> Recipe:
    images = "both" if objective in ("neg_grad_plus", "relabel", "contrast", "bad_teacher") else "retain"
    values = {"epochs": 1, "batch": 8, "optimizer": "sgd", "learning_rate": 0.1, "images": images}
    return Recipe(objective=objective, **values, **options)


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
SOFT = -(softmax(R.teacher.numpy(), axis=2) * log_softmax(R.logits.numpy(), axis=2)).sum(2).mean(1)
EXPECTED = {
    "cross_entropy": ({}, ce(R)),
    "ascent": ({}, -ce(R)),
    "neg_grad_plus": ({"balance": 0.95}, 0.95 * ce(R) - 0.05 * ce(F)),
    "relabel": ({"labels": "random"}, ce(R) + ce(F)),
    "uniform": ({}, kl(torch.zeros_like(R.logits), R.logits)),
    "contrast": (
        {"temperature": 1.15},
        -log_softmax(F.logits.numpy() @ R.logits.numpy().swapaxes(1, 2) / 1.15, axis=2).mean(axis=(1, 2)),
    ),
    "distil": ({"balance": 0.3, "temperature": 2.0}, 0.3 * kl(R.teacher, R.logits, 2) + 0.7 * ce(R)),
    "match_logits": ({}, ((R.logits - R.teacher) ** 2).numpy().mean(axis=(1, 2))),
    "match_entropy": ({}, ce(R) + ((entropy(R.logits) - entropy(R.teacher)) ** 2).mean(axis=1)),
    "distil_and_learn": ({}, ce(R) + SOFT + kl(R.teacher, R.logits)),
    "repel": ({"temperature": 2.0}, -kl(R.teacher, R.logits, 2)),
    "bad_teacher": ({}, kl(R.teacher, R.logits) + kl(F.stranger, F.logits)),
}


def test_every_objective_is_here():
    assert EXPECTED.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_is_what_it_says(name):
    options, expected = EXPECTED[name]
    found = OBJECTIVES[name](RETAIN, FORGET, recipe(name, **options), None)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_model_feels_its_own_loss_only(name):
    logits = RETAIN.logits.clone().requires_grad_()
    forget = FORGET.logits.clone().requires_grad_()
    of_retain = Batch(logits, RETAIN.labels, RETAIN.teacher, RETAIN.stranger)
    of_forget = Batch(forget, FORGET.labels, FORGET.teacher, FORGET.stranger)
    losses = OBJECTIVES[name](of_retain, of_forget, recipe(name, **EXPECTED[name][0]), None)
    assert losses.shape == (MODELS,)
    losses[1].backward()
    for gradient in (logits.grad, forget.grad):
        if gradient is not None:
            assert gradient[1].any()
            assert not gradient[[0, 2]].any()


def test_class_weights_weigh_the_mean():
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    found = cross_entropy(RETAIN.logits, RETAIN.labels, weights)
    for model in range(MODELS):
        expected = torch.nn.functional.cross_entropy(
            RETAIN.logits[model], RETAIN.labels[model], weight=weights
        )
        torch.testing.assert_close(found[model], expected)
