"""Fits models to images: the training loop of every fleet, and the logits that are kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn

from random_mask.cost import Work
from random_mask.models import forward_flops, parameter_count, without_dead_taps
from random_mask.objectives import OBJECTIVES
from random_mask.settings import Recipe
from random_mask.stacked import stack

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

    def to(self, device: torch.device) -> Images:
        """Return the same images on a device."""
        return Images(*(getattr(self, field.name).to(device) for field in fields(self)))

    def inputs(self, indices: torch.Tensor) -> torch.Tensor:
        """Return normalised images as a stack of networks reads them.

        Args:
            indices: [models, batch], for each network its own images.

        Returns:
            float32 [batch, models x 3, height, width].
        """
        models, batch = indices.shape
        pixels = self.pixels[indices.flatten()].to(torch.float32)
        normal = (pixels - self.mean[:, None, None]) / self.std[:, None, None]
        return normal.unflatten(0, (models, batch)).transpose(0, 1).flatten(1, 2)


@dataclass(frozen=True)
class History:
    """Training curves.

    Attributes:
        loss: float64 [models, epochs], mean loss over the training images while they were trained on.
        accuracy: float64 [models, epochs], likewise, in [0, 1].
    """

    loss: np.ndarray
    accuracy: np.ndarray


def learning_rates(recipe: Recipe, steps: int) -> Iterator[float]:
    """Yield the learning rate of each of `steps` steps: half a cosine from the first to the final one."""
    low, span = recipe.final_learning_rate, recipe.learning_rate - recipe.final_learning_rate
    for step in range(steps):
        yield low + span * (1 + math.cos(math.pi * step / steps)) / 2


def _optimizer(network: nn.Module, recipe: Recipe, rate: float | torch.Tensor) -> torch.optim.Optimizer:
    common = {"lr": rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), **common, capturable=isinstance(rate, torch.Tensor))
    return torch.optim.SGD(network.parameters(), momentum=recipe.momentum, **common)


def fit(
    network: nn.Module,
    images: Images,
    indices: np.ndarray,
    recipe: Recipe,
    *,
    rngs: Sequence[np.random.Generator],
    precision: str = "fp32",
    progress: Callable[[int, float, float], None] = lambda *_: None,
) -> History:
    """Train a stack of networks in place, each on the same images in an order of its own.

    Args:
        network: maps images [batch, models x 3, height, width] to logits [models, batch, classes]; batch
            norm is in training mode while it is fitted.
        images: the data set, on the same device.
        indices: the images to train on [training images].
        recipe: objective, optimiser, schedule, batch size and epochs.
        rngs: for each network, what draws a new order of the images for every epoch.
        precision: `fp32`, or `bf16` for matrix products in bfloat16 with float32 weights.
        progress: is told after every epoch the number of epochs done, the mean loss, and the seconds spent.

    Returns:
        The training curves.
    """
    begun = time.perf_counter()
    network.train()
    step = _Step(network, images, recipe, models=len(rngs), precision=precision)
    starts = range(0, len(indices), recipe.batch)
    rates = learning_rates(recipe, len(starts) * recipe.epochs)
    losses, accuracies = [], []
    for epoch in range(recipe.epochs):
        orders = torch.from_numpy(np.stack([rng.permutation(indices) for rng in rngs]))
        orders = orders.to(images.pixels.device)
        for start in starts:
            step(orders[:, start : start + recipe.batch], next(rates))
        loss, hits = step.take_sums()
        losses.append(loss / len(indices))
        accuracies.append(hits / len(indices))
        progress(epoch + 1, float(losses[-1].mean()), time.perf_counter() - begun)
    return History(loss=np.stack(losses, axis=1), accuracy=np.stack(accuracies, axis=1))


class _Step:
    """A step of training. On a GPU it is captured once for each batch size and replayed from then on."""

    def __init__(self, network: nn.Module, images: Images, recipe: Recipe, *, models: int, precision: str):
        self.network, self.images, self.precision = network, images, precision
        self.objective = OBJECTIVES[recipe.objective]
        self.device = images.pixels.device
        self.captured: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self.captures = self.device.type == "cuda"
        # A captured step reads the learning rate from where it lies.
        rate = torch.tensor(recipe.learning_rate, device=self.device) if self.captures else 0.0
        self.optimizer = _optimizer(network, recipe, rate)
        # Sums are kept on the device, so that no step waits for a number.
        self.loss = torch.zeros(models, dtype=torch.float64, device=self.device)
        self.hits = torch.zeros(models, dtype=torch.float64, device=self.device)

    def __call__(self, batch: torch.Tensor, rate: float) -> None:
        """Take one step on the images `batch` [models, images], at a learning rate."""
        for group in self.optimizer.param_groups:
            if self.captures:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if not self.captures:
            self._compute(batch)
            return
        size = batch.shape[1]
        if size not in self.captured:
            self.captured[size] = self._capture(batch)
        graph, place = self.captured[size]
        place.copy_(batch)
        graph.replay()

    def _compute(self, batch: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        labels = self.images.labels[batch]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.network(self.images.inputs(batch))
        if self.precision == "bf16":
            logits = logits.float()
        loss = self.objective(logits, labels)
        loss.sum().backward()
        self.optimizer.step()
        self.loss += loss.detach() * batch.shape[1]
        self.hits += (logits.detach().argmax(dim=2) == labels).sum(dim=1)

    def _capture(self, batch: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
        place = batch.clone()
        before = self._state()
        kept = [tensor.clone() for tensor in before]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # what is allocated only once must not be part of the graph
                self._compute(place)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute(place)
        # The steps that were only taken to warm up are undone; what did not exist before them was zero.
        with torch.no_grad():
            for tensor in self._state()[len(before) :]:
                tensor.zero_()
            for tensor, old in zip(before, kept, strict=True):
                tensor.copy_(old)
        return graph, place

    def _state(self) -> list[torch.Tensor]:
        kept = [value for state in self.optimizer.state.values() for value in state.values()]
        model = [*self.network.parameters(), *self.network.buffers(), self.loss, self.hits]
        return [*model, *(value for value in kept if isinstance(value, torch.Tensor))]

    def take_sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of losses and of right answers since the last call, float64 [models]."""
        sums = self.loss.cpu().numpy().copy(), self.hits.cpu().numpy().copy()
        self.loss.zero_()
        self.hits.zero_()
        return sums


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
def evaluate(network: nn.Module, images: Images, indices: np.ndarray, *, models: int = 1) -> np.ndarray:
    """Return the logits of some of the images in evaluation mode, float32 [models, len(indices), classes]."""
    network.eval()
    batches = torch.from_numpy(indices).to(images.pixels.device).split(EVALUATION_BATCH)
    logits = [network(images.inputs(batch.expand(models, -1))) for batch in batches]
    return torch.cat(logits, dim=1).cpu().numpy()


def fit_fleet(
    starts: Mapping[int, Callable[[], nn.Module]],
    images: Images,
    parts: Mapping[str, np.ndarray],
    recipe: Recipe,
    *,
    train_on: np.ndarray,
    order: Callable[[int], np.random.Generator],
    at_once: int = 1,
    precision: str = "fp32",
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, np.ndarray], list[Work]]:
    """Train the models of one shard and return what is kept of them.

    Args:
        starts: for each model's index in its fleet, how to make it with its initial weights.
        images: the data set, on the device to train on.
        parts: image indices of `retain`, `forget`, `validation` and `test`.
        recipe: how each model is trained.
        train_on: image indices to train on.
        order: gives the generator of a model's data order from its index.
        at_once: how many models are trained side by side. It changes a model by rounding only.
        precision: of matrix products while training, `fp32` or `bf16`.
        progress: is told how far the shard is.

    Returns:
        The arrays of the shard (see `summarise`, and `model`, the indices), and the work of training each
        model.
    """
    parts_of_shard, works = [], []
    indices = list(starts)
    for first in range(0, len(indices), at_once):
        group = indices[first : first + at_once]
        networks = [without_dead_taps(starts[index](), images.size) for index in group]
        works += [work_of(network, images.size, len(train_on), recipe) for network in networks]
        network = stack(networks).to(images.pixels.device)

        def tell(epoch: int, loss: float, spent: float, group: list[int] = group, first: int = first) -> None:
            whole = spent / epoch * recipe.epochs
            left = whole - spent + whole * (len(indices) - first - len(group)) / len(group)
            progress(
                f"model{_span(group)} ({first + len(group)} of {len(indices)} in this job), "
                f"epoch {epoch}/{recipe.epochs}, loss {loss:.4f}, {left:.0f} s left"
            )

        rngs = [order(index) for index in group]
        history = fit(network, images, train_on, recipe, rngs=rngs, precision=precision, progress=tell)
        kept = summarise(network, images, parts, history)
        parts_of_shard.append({"model": np.array(group, dtype=np.int64)} | kept)
    shard = {name: np.concatenate([part[name] for part in parts_of_shard]) for name in parts_of_shard[0]}
    return shard, works


def _span(group: Sequence[int]) -> str:
    return f" {group[0]}" if len(group) == 1 else f"s {group[0]} to {group[-1]}"


def summarise(
    network: nn.Module, images: Images, parts: Mapping[str, np.ndarray], history: History
) -> dict[str, np.ndarray]:
    """Return what is kept of trained networks: logits, accuracies and training curves, but no weights.

    Returns:
        logits_<part>: float32 [models, images of the part, classes]; of retain, the first `RETAIN_SAMPLE`
            images.
        accuracy_<part>: float64 [models], share of the part's images (all of them) classified correctly.
        history_loss, history_accuracy: float64 [models, epochs].
    """
    kept: dict[str, np.ndarray] = {}
    for part, indices in parts.items():
        logits = evaluate(network, images, indices, models=len(history.loss))
        labels = images.labels.cpu().numpy()[indices]
        kept[f"accuracy_{part}"] = (logits.argmax(axis=2) == labels).mean(axis=1)
        kept[f"logits_{part}"] = logits[:, :RETAIN_SAMPLE] if part == "retain" else logits
    return kept | {"history_loss": history.loss, "history_accuracy": history.accuracy}
