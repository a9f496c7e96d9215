"""Relearns: fits the forget set again, to see how much of it a model still knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from random_mask.metrics.competition import logit_scaled_confidence
from random_mask.training.batch import Loss
from random_mask.training.evaluation import evaluate
from random_mask.training.images import Images
from random_mask.training.loop import fit
from random_mask.training.recipe import Recipe
from random_mask.training.stacking import Stack

__all__ = ["relearn"]


def relearn(
    stack: Stack,
    images: Images,
    splits: Mapping[str, np.ndarray],
    recipe: Recipe,
    loss: Loss,
    *,
    rngs: Sequence[np.random.Generator],
    precision: str = "fp32",
) -> np.ndarray:
    """Fit a stack of networks to the forget set, in place.

    Args:
        stack: the networks.
        images: the data set, on the same device.
        splits: indices of the images of each split.
        recipe: how, with `images: forget`.
        loss: what is minimised: cross entropy.
        rngs: for each network, what draws the order of the images.
        precision: as of `fit`.

    Returns:
        float64 [models, epochs + 1]: the mean loss on the forget set, in evaluation mode, before the first
        epoch and after every one.
    """
    forget = splits["forget"]
    labels = images.labels.cpu().numpy()[forget]
    losses = []

    def look(*_: float) -> None:
        logits = evaluate(stack, images, forget)
        losses.append(np.logaddexp(0, -logit_scaled_confidence(logits, labels)).mean(axis=1))
        stack.train()

    look()
    fit(stack, images, splits, recipe, loss, rngs=rngs, precision=precision, progress=look)
    return np.stack(losses, axis=1)
