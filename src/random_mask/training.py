"""Fits models to images: the training loop of every fleet, and the logits that are kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from random_mask.cost import Work
from random_mask.models import forward_flops, parameter_count, without_dead_taps
from random_mask.objectives import OBJECTIVES
from random_mask.settings import Recipe

__all__ = ["History", "Images", "evaluate", "fit", "fit_fleet", "summarise", "work_of"]

EVALUATION_BATCH = 500
RETAIN_SAMPLE = 2000
"""Of the retain set, which can be large, the logits of this many images are kept."""


@dataclass(frozen=True)
class Images:
    """A data set as one tensor in memory.

    Attributes:
        pixels: uint8 [images, 3, height, width], in channels-last order.
        labels: int64 [images].
        mean: float32 [3], mean of each channel over the retain set, in 0..255.
        std: float32 [3], standard deviation of each channel over the retain set.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Images:
        """Build from the arrays of the same names that `prepare_data` writes."""
        tensors = {name: torch.from_numpy(arrays[name]) for name in ("pixels", "labels", "mean", "std")}
        tensors["pixels"] = tensors["pixels"].contiguous(memory_format=torch.channels_last)
        return cls(**tensors)

    @property
    def size(self) -> int:
        """Height and width of the images, in pixels."""
        return self.pixels.shape[-1]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    def inputs(self, indices: torch.Tensor) -> torch.Tensor:
        """Return normalised images, float32 [len(indices), 3, height, width]."""
        pixels = self.pixels[indices].to(torch.float32)
        return (pixels - self.mean[:, None, None]) / self.std[:, None, None]


@dataclass(frozen=True)
class History:
    """Training curves.

    Attributes:
        loss: float64 [epochs], mean loss over the training images while they were trained on.
        accuracy: float64 [epochs], likewise, in [0, 1].
    """

    loss: np.ndarray
    accuracy: np.ndarray


def learning_rates(recipe: Recipe, steps: int) -> Iterator[float]:
    """Yield the learning rate of each of `steps` steps: half a cosine from the first to the final one."""
    low, span = recipe.final_learning_rate, recipe.learning_rate - recipe.final_learning_rate
    for step in range(steps):
        yield low + span * (1 + math.cos(math.pi * step / steps)) / 2


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    common = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), **common)
    return torch.optim.SGD(model.parameters(), momentum=recipe.momentum, **common)


def fit(
    model: nn.Module,
    images: Images,
    indices: np.ndarray,
    recipe: Recipe,
    *,
    rng: np.random.Generator,
    progress: Callable[[int, float, float], None] = lambda *_: None,
) -> History:
    """Train `model` in place on some of the images.

    Args:
        model: maps images to logits; batch norm is in training mode while it is fitted.
        images: the data set.
        indices: the images to train on [training images].
        recipe: objective, optimiser, schedule, batch size and epochs.
        rng: draws a new order of the images for every epoch.
        progress: is told after every epoch the number of epochs done, the loss, and the seconds spent.

    Returns:
        The training curves.
    """
    begun = time.perf_counter()
    model.train()
    objective = OBJECTIVES[recipe.objective]
    optimizer = _optimizer(model, recipe)
    starts = range(0, len(indices), recipe.batch)
    rates = learning_rates(recipe, len(starts) * recipe.epochs)
    losses, hits = torch.zeros(recipe.epochs, dtype=torch.float64), torch.zeros(recipe.epochs)
    for epoch in range(recipe.epochs):
        order = torch.from_numpy(rng.permutation(indices))
        for start in starts:
            batch = order[start : start + recipe.batch]
            labels = images.labels[batch]
            logits = model(images.inputs(batch))
            loss = objective(logits[None], labels[None]).sum()
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = next(rates)
            optimizer.step()
            losses[epoch] += loss.detach() * len(batch)
            hits[epoch] += (logits.detach().argmax(dim=1) == labels).sum()
        progress(epoch + 1, float(losses[epoch]) / len(indices), time.perf_counter() - begun)
    return History(loss=losses.numpy() / len(indices), accuracy=hits.double().numpy() / len(indices))


def work_of(model: nn.Module, image_size: int, training_images: int, recipe: Recipe) -> Work:
    """Return the work of fitting `model` by a recipe.

    Args:
        model: the network as it is trained.
        image_size: height and width of the images, in pixels.
        training_images: number of images it is trained on.
        recipe: how it is trained.
    """
    return Work(
        images=training_images * recipe.epochs,
        steps=math.ceil(training_images / recipe.batch) * recipe.epochs,
        flops=forward_flops(model, image_size),
        weights=parameter_count(model),
    )


@torch.no_grad()
def evaluate(model: nn.Module, images: Images, indices: np.ndarray) -> np.ndarray:
    """Return the logits of some of the images, float32 [len(indices), classes], in evaluation mode."""
    model.eval()
    batches = torch.from_numpy(indices).split(EVALUATION_BATCH)
    return torch.cat([model(images.inputs(batch)) for batch in batches]).numpy()


def fit_fleet(
    starts: Mapping[int, Callable[[], nn.Module]],
    images: Images,
    parts: Mapping[str, np.ndarray],
    recipe: Recipe,
    *,
    train_on: np.ndarray,
    order: Callable[[int], np.random.Generator],
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, np.ndarray], list[Work]]:
    """Train the models of one shard, each alone, and return what is kept of them.

    Args:
        starts: for each model's index in its fleet, how to make it with its initial weights.
        images: the data set.
        parts: image indices of `retain`, `forget`, `validation` and `test`.
        recipe: how each model is trained.
        train_on: image indices to train on.
        order: gives the generator of a model's data order from its index.
        progress: is told how far the shard is.

    Returns:
        The arrays of the shard (see `summarise`, with a leading models axis, and `model`, the indices), and
        the work of training each model.
    """
    rows, works = [], []
    for done, (index, make) in enumerate(starts.items()):
        model = without_dead_taps(make(), images.size).to(memory_format=torch.channels_last)

        def tell(epoch: int, loss: float, spent: float, done: int = done, index: int = index) -> None:
            whole = spent / epoch * recipe.epochs
            left = whole - spent + (len(starts) - done - 1) * whole
            progress(
                f"model {index} ({done + 1} of {len(starts)} in this job), epoch {epoch}/{recipe.epochs}, "
                f"loss {loss:.4f}, {left:.0f} s left"
            )

        works.append(work_of(model, images.size, len(train_on), recipe))
        history = fit(model, images, train_on, recipe, rng=order(index), progress=tell)
        rows.append({"model": np.int64(index)} | summarise(model, images, parts, history))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}, works


def summarise(
    model: nn.Module, images: Images, parts: Mapping[str, np.ndarray], history: History
) -> dict[str, np.ndarray]:
    """Return what is kept of a trained model: logits, accuracies and training curves, but no weights.

    Returns:
        logits_<part>: float32 [images of the part, classes]; of retain, the first `RETAIN_SAMPLE` images.
        accuracy_<part>: float64, share of the part's images (all of them) that are classified correctly.
        history_loss, history_accuracy: float64 [epochs].
    """
    kept: dict[str, np.ndarray] = {}
    for part, indices in parts.items():
        logits = evaluate(model, images, indices)
        labels = images.labels.numpy()[indices]
        kept[f"accuracy_{part}"] = np.float64((logits.argmax(axis=1) == labels).mean())
        kept[f"logits_{part}"] = logits[:RETAIN_SAMPLE] if part == "retain" else logits
    return kept | {"history_loss": history.loss, "history_accuracy": history.accuracy}
