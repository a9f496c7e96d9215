"""Relearns: fits the forget set again, to see how much of it a model still knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from random_mask.metrics.competition import logit_scaled_confidence
from random_mask.settings import Recipe
from random_mask.training.loop import Images, evaluate, fit

__all__ = ["relearn"]


def relearn(
    network: nn.Module,
    images: Images,
    parts: Mapping[str, np.ndarray],
    recipe: Recipe,
    *,
    rngs: Sequence[np.random.Generator],
    precision: str = "fp32",
) -> np.ndarray:
    """Fit a stack of networks to the forget set, in place.

    Args:
        network: maps images [batch, models x 3, height, width] to logits [models, batch, classes].
        images: the data set, on the same device.
        parts: indices of the images of each part.
        recipe: how, with `images: forget`.
        rngs: for each network, what draws the order of the images.
        precision: as of `fit`.

    Returns:
        float64 [models, epochs + 1]: the mean loss on the forget set, in evaluation mode, before the first
        epoch and after every one.
    """
    forget = parts["forget"]
    labels = images.labels.cpu().numpy()[forget]
    losses = []

    def look(*_: float) -> None:
        logits = evaluate(network, images, forget, models=len(rngs))
        losses.append(np.logaddexp(0, -logit_scaled_confidence(logits, labels)).mean(axis=1))
        network.train()

    look()
    fit(network, images, parts, recipe, rngs=rngs, precision=precision, progress=look)
    return np.stack(losses, axis=1)
