"""Fits models to images: the training loop of every fleet, and the logits that are kept of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import nn

from random_mask.errors import InputError
from random_mask.methods.objectives import OBJECTIVES, Batch, cross_entropy
from random_mask.settings import Recipe
from random_mask.training.names import last_blocks

__all__ = ["History", "Images", "Tables", "evaluate", "fit", "gradients", "summarise"]

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


@dataclass(frozen=True)
class Tables:
    """What objectives know of every image beside its label, looked up by its index.

    Attributes:
        teacher: float32 [images, classes], logits of the original model.
        stranger: float32 [images, classes], logits of a network that was never trained.
        relabelled: int64 [models, images], the labels that the recipe gives to forget images.
    """

    teacher: torch.Tensor
    stranger: torch.Tensor
    relabelled: torch.Tensor


def learning_rates(recipe: Recipe, steps: int) -> Iterator[float]:
    """Yield the learning rate of each of `steps` steps, from the first to the final one by the schedule."""
    low, span = recipe.final_learning_rate, recipe.learning_rate - recipe.final_learning_rate
    rising = steps * recipe.warm_up // recipe.epochs
    for step in range(rising):
        yield recipe.learning_rate * (step + 1) / rising
    for step in range(steps - rising):
        done = step / (steps - rising)
        left = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
        yield low + span * left[recipe.schedule]


def _optimizer(network: nn.Module, recipe: Recipe, rate: float | torch.Tensor) -> torch.optim.Optimizer:
    common = {"lr": rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), **common, capturable=isinstance(rate, torch.Tensor))
    return torch.optim.SGD(network.parameters(), momentum=recipe.momentum, **common)


def fit(
    network: nn.Module,
    images: Images,
    parts: Mapping[str, np.ndarray],
    recipe: Recipe,
    *,
    rngs: Sequence[np.random.Generator],
    tables: Tables | None = None,
    trainable: Mapping[str, torch.Tensor] | None = None,
    factors: Mapping[str, torch.Tensor] | None = None,
    precision: str = "fp32",
    progress: Callable[[int, float, float], None] = lambda *_: None,
) -> History:
    """Train a stack of networks in place, each on the same images in an order of its own.

    Args:
        network: maps images [batch, models x 3, height, width] to logits [models, batch, classes]; batch
            norm is in training mode while it is fitted.
        images: the data set, on the same device.
        parts: indices of the images of each part; the recipe says which are passed over.
        recipe: objective, optimiser, schedule, batch size and epochs.
        rngs: for each network, what draws a new order of the images for every epoch.
        tables: what the objective knows of every image, if it needs more than labels.
        trainable: for some parameters, which weights may change, bool in the shape of the parameter. The
            others are the same after every step, whatever momentum and weight decay do.
        factors: for some parameters, what their gradient is multiplied by.
        precision: `fp32`, or `bf16` for matrix products in bfloat16 with float32 weights.
        progress: is told after every epoch the number of epochs done, the mean loss, and the seconds spent.

    Returns:
        The training curves, on the images that are passed over.
    """
    begun = time.perf_counter()
    if recipe.salient is not None:
        trainable = _salient(network, images, parts["forget"], recipe.salient, len(rngs))
    network.train()
    passed = parts[recipe.passed_over]
    if len(passed) % recipe.batch == 1:
        raise InputError(
            f"batch: {len(passed)} images in batches of {recipe.batch} leave a last batch of one image, on "
            "which batch norm is undefined; change it by one in the configuration"
        )
    device = images.pixels.device
    step = _Step(network, images, recipe, parts, tables, trainable or {}, factors or {}, len(rngs), precision)
    starts = range(0, len(passed), recipe.batch)
    rates = learning_rates(recipe, len(starts) * recipe.epochs)
    beside = min(recipe.batch, len(parts["forget"])) if recipe.images == "both" else 0
    noises = [torch.Generator().manual_seed(int(rng.integers(2**62))) for rng in rngs] if recipe.noise else []
    losses, accuracies = [], []
    for epoch in range(recipe.epochs):
        step.l1.fill_(recipe.l1 * (1 - epoch / recipe.epochs))
        orders = np.stack([rng.permutation(passed) for rng in rngs])
        batches = [orders[:, start : start + recipe.batch] for start in starts]
        if beside:  # the forget images come round as often as they must
            forget = [np.resize(rng.permutation(parts["forget"]), len(starts) * beside) for rng in rngs]
            each = np.split(np.stack(forget), len(starts), axis=1)
            batches = [np.concatenate(pair, axis=1) for pair in zip(batches, each, strict=True)]
        for batch in batches:
            noise = None
            if noises:
                shape = (batch.shape[1], *images.pixels.shape[1:])
                noise = torch.cat([torch.randn(shape, generator=rng) for rng in noises], dim=1).to(device)
            step(torch.from_numpy(batch).to(device), next(rates), beside, noise)
        loss, hits = step.take_sums()
        losses.append(loss / len(passed))
        accuracies.append(hits / len(passed))
        progress(epoch + 1, float(losses[-1].mean()), time.perf_counter() - begun)
    return History(loss=np.stack(losses, axis=1), accuracy=np.stack(accuracies, axis=1))


class _Step:
    """A step of training. On a GPU it is captured once for each batch size and replayed from then on."""

    def __init__(
        self,
        network: nn.Module,
        images: Images,
        recipe: Recipe,
        parts: Mapping[str, np.ndarray],
        tables: Tables | None,
        trainable: Mapping[str, torch.Tensor],
        factors: Mapping[str, torch.Tensor],
        models: int,
        precision: str,
    ):
        self.network, self.images, self.recipe, self.tables = network, images, recipe, tables
        self.precision = precision
        self.device = images.pixels.device
        weights = dict(network.named_parameters())
        kept = last_blocks(weights, recipe.last) if recipe.last else weights
        for name, weight in weights.items():
            weight.requires_grad_(name in kept)
        # What must not change is put back after every step: an optimiser moves more than gradients say.
        self.held = [(weights[name], may, weights[name].detach().clone()) for name, may in trainable.items()]
        self.factors = [(weights[name], factor) for name, factor in factors.items()]
        self.class_weights = _class_weights(images, parts["retain"]) if recipe.class_weights else None
        self.captured: dict[int, tuple[torch.cuda.CUDAGraph, list[torch.Tensor | None]]] = {}
        self.captures = self.device.type == "cuda"
        # A captured step reads the learning rate from where it lies.
        rate = torch.tensor(recipe.learning_rate, device=self.device) if self.captures else 0.0
        self.optimizer = _optimizer(network, recipe, rate)
        # Sums are kept on the device, so that no step waits for a number.
        self.loss = torch.zeros(models, dtype=torch.float64, device=self.device)
        self.hits = torch.zeros(models, dtype=torch.float64, device=self.device)
        self.l1 = torch.zeros((), device=self.device)

    def __call__(self, batch: torch.Tensor, rate: float, beside: int, noise: torch.Tensor | None) -> None:
        """Take one step.

        Args:
            batch: indices of images [models, images]; the last `beside` of them are of forget.
            rate: the learning rate.
            beside: how many of the images are passed beside the others, by themselves.
            noise: standard normal noise for the images, or None.
        """
        for group in self.optimizer.param_groups:
            if self.captures:
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if not self.captures:
            self._compute(batch, beside, noise)
            return
        size = batch.shape[1]
        if size not in self.captured:
            self.captured[size] = self._capture(batch, beside, noise)
        graph, places = self.captured[size]
        for place, given in zip(places, (batch, noise), strict=True):
            if place is not None:
                place.copy_(given)
        graph.replay()

    def _compute(self, batch: torch.Tensor, beside: int, noise: torch.Tensor | None) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        size = batch.shape[1] - beside
        main = self._pass(batch[:, :size], None if noise is None else noise[:size])
        forget = self._pass(batch[:, size:], None if noise is None else noise[size:]) if beside else None
        loss = OBJECTIVES[self.recipe.objective](main, forget, self.recipe, self.class_weights)
        total = loss.sum()
        if self.recipe.l1:
            total = total + self.l1 * sum(weight.abs().sum() for weight in self.network.parameters())
        total.backward()
        for weight, factor in self.factors:
            weight.grad.mul_(factor)
        self.optimizer.step()
        with torch.no_grad():
            for weight, may, start in self.held:
                weight.copy_(torch.where(may, weight, start))
        self.loss += loss.detach() * size
        self.hits += (main.logits.detach().argmax(dim=2) == self.images.labels[batch[:, :size]]).sum(dim=1)

    def _pass(self, indices: torch.Tensor, noise: torch.Tensor | None) -> Batch:
        inputs = self.images.inputs(indices)
        if noise is not None:
            inputs = inputs + self.recipe.noise * noise
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.network(inputs)
        if self.precision == "bf16":
            logits = logits.float()
        if self.tables is None:
            return Batch(logits, self.images.labels[indices], None, None)
        labels = self.tables.relabelled.gather(1, indices)
        return Batch(logits, labels, self.tables.teacher[indices], self.tables.stranger[indices])

    def _capture(
        self, batch: torch.Tensor, beside: int, noise: torch.Tensor | None
    ) -> tuple[torch.cuda.CUDAGraph, list[torch.Tensor | None]]:
        places = [batch.clone(), None if noise is None else noise.clone()]
        before = self._state()
        kept = [tensor.clone() for tensor in before]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # what is allocated only once must not be part of the graph
                self._compute(places[0], beside, places[1])
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute(places[0], beside, places[1])
        # The steps that were only taken to warm up are undone; what did not exist before them was zero.
        with torch.no_grad():
            for tensor in self._state()[len(before) :]:
                tensor.zero_()
            for tensor, old in zip(before, kept, strict=True):
                tensor.copy_(old)
        return graph, places

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


def _class_weights(images: Images, retain: np.ndarray) -> torch.Tensor:
    """Return the inverse of each class's share of the retain set, with a mean of one [classes]."""
    counts = torch.bincount(images.labels.cpu()[torch.from_numpy(retain)], minlength=images.classes)
    weights = 1 / counts.clamp(min=1).float()
    return (weights / weights.mean()).to(images.labels.device)


def gradients(
    network: nn.Module, images: Images, indices: np.ndarray, *, models: int = 1, squared: bool = False
) -> dict[str, torch.Tensor]:
    """Return the gradient of the mean cross entropy on some images, in evaluation mode, by parameter.

    Args:
        network: a stack of networks.
        images: the data set, on the same device.
        indices: the images.
        models: number of networks in the stack.
        squared: return the mean square of the batches' gradients instead, which estimates the diagonal of the
            Fisher information as the code of SSD (arXiv 2308.07707) does.
    """
    network.eval().requires_grad_(True)
    weights = dict(network.named_parameters())
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    batches = torch.from_numpy(indices).to(images.pixels.device).split(64)
    for batch in batches:
        chosen = batch.expand(models, -1)
        loss = cross_entropy(network(images.inputs(chosen)), images.labels[chosen]).sum()
        found = torch.autograd.grad(loss, list(weights.values()))
        for total, gradient in zip(sums.values(), found, strict=True):
            share = len(batch) / len(indices)
            total += gradient.square() / len(batches) if squared else gradient * share
    return sums


def _salient(
    network: nn.Module, images: Images, forget: np.ndarray, share: float, models: int
) -> dict[str, torch.Tensor]:
    """Return where the gradient of the forget loss is among the largest, by parameter (SalUn)."""
    found = gradients(network, images, forget, models=models)
    sizes = torch.cat([gradient.abs().flatten(1) for gradient in found.values()], dim=1)
    smallest = max(1, round((1 - share) * sizes.shape[1]))
    threshold = sizes.kthvalue(smallest, dim=1).values if share < 1 else sizes.new_full((models,), -1)
    return {
        name: gradient.abs() > threshold.view(-1, *[1] * (gradient.dim() - 1))
        for name, gradient in found.items()
    }


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, indices: np.ndarray, *, models: int = 1) -> np.ndarray:
    """Return the logits of some of the images in evaluation mode, float32 [models, len(indices), classes]."""
    network.eval()
    batches = torch.from_numpy(indices).to(images.pixels.device).split(EVALUATION_BATCH)
    logits = [network(images.inputs(batch.expand(models, -1))) for batch in batches]
    return torch.cat(logits, dim=1).cpu().numpy()


def summarise(
    network: nn.Module, images: Images, parts: Mapping[str, np.ndarray], *, models: int
) -> dict[str, np.ndarray]:
    """Return what is kept of trained networks: logits and accuracies, but no weights.

    Returns:
        logits_<part>: float32 [models, images of the part, classes]; of retain, the first `RETAIN_SAMPLE`
            images.
        accuracy_<part>: float64 [models], share of the part's images (all of them) classified correctly.
    """
    kept: dict[str, np.ndarray] = {}
    for part, indices in parts.items():
        logits = evaluate(network, images, indices, models=models)
        labels = images.labels.cpu().numpy()[indices]
        kept[f"accuracy_{part}"] = (logits.argmax(axis=2) == labels).mean(axis=1)
        kept[f"logits_{part}"] = logits[:, :RETAIN_SAMPLE] if part == "retain" else logits
    return kept
