"""Objectives: losses over the logits of several models at once.

Every objective has a leading models axis, and the loss of a model depends on its own logits only. It sees
what a step passes through the network: a batch, and for some objectives a batch of the forget set beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from random_mask.settings import Recipe

__all__ = ["OBJECTIVES", "Batch", "cross_entropy"]


@dataclass(frozen=True)
class Batch:
    """What a network says of a batch of images, and what is known of them.

    Attributes:
        logits: [models, batch, classes].
        labels: int64 [models, batch]; of forget images, what the recipe's `labels` asks for.
        teacher: logits of the original model [models, batch, classes].
        stranger: logits of a network that was never trained [models, batch, classes].
    """

    logits: Tensor
    labels: Tensor
    teacher: Tensor
    stranger: Tensor


Objective = Callable[[Batch, Batch | None, Recipe, Tensor | None], Tensor]
"""(batch, batch of forget beside it or None, recipe, class weights [classes] or None) to [models]."""


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of each model, in nats.

    Args:
        logits: [models, batch, classes].
        labels: int64 [models, batch].
        weights: of the classes [classes], or all alike; the mean is then weighted.

    Returns:
        [models].
    """
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    losses = losses.view(labels.shape)
    if weights is None:
        return losses.mean(dim=1)
    of_images = weights[labels]
    return (losses * of_images).sum(dim=1) / of_images.sum(dim=1)


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean Kullback-Leibler divergence of the student from the teacher, in nats [models].

    It is multiplied by the squared temperature, so that its gradient does not shrink (Hinton et al., 2015).
    """
    wanted = functional.log_softmax(teacher / temperature, dim=2)
    found = functional.log_softmax(student / temperature, dim=2)
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(dim=2).mean(dim=1)


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each output, in nats [models, batch]."""
    logs = functional.log_softmax(logits, dim=2)
    return -(logs.exp() * logs).sum(dim=2)


def _learn(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Cross entropy."""
    return cross_entropy(batch.logits, batch.labels, weights)


def _ascent(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Cross entropy with the sign reversed: on forget, NegGrad."""
    return -cross_entropy(batch.logits, batch.labels, weights)


def _neg_grad_plus(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Cross entropy on retain less that on forget (Kurmanji et al., arXiv 2302.09880)."""
    learnt = cross_entropy(batch.logits, batch.labels, weights)
    return recipe.balance * learnt - (1 - recipe.balance) * cross_entropy(forget.logits, forget.labels)


def _relabel(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Cross entropy on retain and, with the labels that the recipe gives them, on forget images."""
    wrong = cross_entropy(forget.logits, forget.labels)
    return cross_entropy(batch.logits, batch.labels, weights) + wrong


def _uniform(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Divergence from outputs that say nothing."""
    return divergence(batch.logits, torch.zeros_like(batch.logits))


def _contrast(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Log softmax of the products of forget logits with retain logits: forget images become unlike any."""
    products = torch.bmm(forget.logits, batch.logits.transpose(1, 2)) / recipe.temperature
    return -functional.log_softmax(products, dim=2).mean(dim=(1, 2))


def _distil(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Divergence from the original model, and cross entropy: `balance` weighs the first."""
    learnt = cross_entropy(batch.logits, batch.labels, weights)
    taught = divergence(batch.logits, batch.teacher, recipe.temperature)
    return recipe.balance * taught + (1 - recipe.balance) * learnt


def _match_logits(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Mean squared difference of the logits from the original model's."""
    return (batch.logits - batch.teacher).square().mean(dim=(1, 2))


def _match_entropy(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Cross entropy, and mean squared difference of the output entropies from the original model's."""
    difference = (entropy(batch.logits) - entropy(batch.teacher)).square().mean(dim=1)
    return cross_entropy(batch.logits, batch.labels, weights) + difference


def _distil_and_learn(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Cross entropy, cross entropy with the original model's outputs as labels, and their divergence."""
    soft = batch.teacher.softmax(dim=2)
    softly = -(soft * functional.log_softmax(batch.logits, dim=2)).sum(dim=2).mean(dim=1)
    taught = divergence(batch.logits, batch.teacher, recipe.temperature)
    return cross_entropy(batch.logits, batch.labels, weights) + softly + taught


def _repel(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Divergence from the original model with the sign reversed: SCRUB's step on forget."""
    return -divergence(batch.logits, batch.teacher, recipe.temperature)


def _bad_teacher(batch: Batch, forget: Batch | None, recipe: Recipe, weights: Tensor | None) -> Tensor:
    """Divergence from the original on retain, and from a stranger on forget (arXiv 2205.08096)."""
    competent = divergence(batch.logits, batch.teacher, recipe.temperature)
    return competent + divergence(forget.logits, forget.stranger, recipe.temperature)


OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": _learn,
    "ascent": _ascent,
    "neg_grad_plus": _neg_grad_plus,
    "relabel": _relabel,
    "uniform": _uniform,
    "contrast": _contrast,
    "distil": _distil,
    "match_logits": _match_logits,
    "match_entropy": _match_entropy,
    "distil_and_learn": _distil_and_learn,
    "repel": _repel,
    "bad_teacher": _bad_teacher,
}
"""The objectives that a recipe can name."""
