"""What is asked of trained networks: their logits and accuracies, and the gradients of their loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from random_mask.training.batch import cross_entropy
from random_mask.training.devices import EVALUATION_BATCH
from random_mask.training.images import Images
from random_mask.training.stacking import Stack

__all__ = ["RETAIN_SAMPLE", "evaluate", "gradients", "summarise"]

GRADIENT_BATCH = 64
RETAIN_SAMPLE = 2000
"""Of the retain set, which can be large, the logits of this many images are kept."""


@torch.no_grad()
def evaluate(stack: Stack, images: Images, indices: np.ndarray) -> np.ndarray:
    """Return the logits of some of the images in evaluation mode, float32 [models, len(indices), classes]."""
    stack.eval()
    batches = torch.from_numpy(indices).to(images.pixels.device).split(EVALUATION_BATCH)
    logits = [stack(images.inputs(batch.expand(stack.models, -1))) for batch in batches]
    return torch.cat(logits, dim=1).cpu().numpy()


def summarise(stack: Stack, images: Images, splits: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is saved of trained networks: logits and accuracies, but no weights.

    Args:
        stack: the networks.
        images: the data set, on the same device.
        splits: indices of the images of each split.

    Returns:
        logits_<split>: float32 [models, images of the split, classes]; of retain, the first `RETAIN_SAMPLE`
            images.
        accuracy_<split>: float64 [models], share of the split's images (all of them) classified correctly.
    """
    outputs: dict[str, np.ndarray] = {}
    for split, indices in splits.items():
        logits = evaluate(stack, images, indices)
        labels = images.labels.cpu().numpy()[indices]
        outputs[f"accuracy_{split}"] = (logits.argmax(axis=2) == labels).mean(axis=1)
        outputs[f"logits_{split}"] = logits[:, :RETAIN_SAMPLE] if split == "retain" else logits
    return outputs


def gradients(
    stack: Stack, images: Images, indices: np.ndarray, *, squared: bool = False
) -> dict[str, torch.Tensor]:
    """Return the gradient of the mean cross entropy on some images, in evaluation mode.

    Args:
        stack: the networks.
        images: the data set, on the same device.
        indices: the images.
        squared: return the mean square of the batches' gradients instead, which estimates the diagonal of the
            Fisher information as the code of SSD (arXiv 2308.07707) does.

    Returns:
        By parameter, in its shape.
    """
    stack.eval().requires_grad_(True)
    weights = stack.parameters_by_name()
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    batches = torch.from_numpy(indices).to(images.pixels.device).split(GRADIENT_BATCH)
    for batch in batches:
        chosen = batch.expand(stack.models, -1)
        loss = cross_entropy(stack(images.inputs(chosen)), images.labels[chosen]).sum()
        found = torch.autograd.grad(loss, list(weights.values()))
        for total, gradient in zip(sums.values(), found, strict=True):
            share = len(batch) / len(indices)
            total += gradient.square() / len(batches) if squared else gradient * share
    return sums
