"""Fits networks to images: the training loop of every fleet."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from random_mask.errors import InputError
from random_mask.training.batch import Batch, Loss
from random_mask.training.devices import captures
from random_mask.training.evaluation import gradients
from random_mask.training.images import Images
from random_mask.training.recipe import Recipe
from random_mask.training.stacking import Stack

__all__ = ["AuxiliaryTargets", "Fit", "History", "fit", "learning_rates"]


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
class AuxiliaryTargets:
    """What a loss knows of every image beside its label, looked up by its index.

    Attributes:
        labels: int64 [models, images], labels in place of the true ones, or None.
        teachers: by name, logits of other networks, float32 [images, classes].
    """

    labels: torch.Tensor | None = None
    teachers: Mapping[str, torch.Tensor] = field(default_factory=dict)


def learning_rates(recipe: Recipe, steps: int) -> list[float]:
    """Return the learning rate of each of `steps` steps, from the first to the final one by the schedule."""
    low, span = recipe.final_learning_rate, recipe.learning_rate - recipe.final_learning_rate
    if isinstance(recipe.schedule, list):
        factors = np.repeat(recipe.schedule, -(-steps // len(recipe.schedule)))[:steps]
        return [recipe.learning_rate * float(factor) for factor in factors]
    rising = steps * recipe.warm_up // recipe.epochs
    rates = [recipe.learning_rate * (step + 1) / rising for step in range(rising)]
    for step in range(steps - rising):
        done = step / (steps - rising)
        left = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
        rates.append(low + span * left[recipe.schedule])
    return rates


def fit(
    stack: Stack,
    images: Images,
    splits: Mapping[str, np.ndarray],
    recipe: Recipe,
    loss: Loss,
    *,
    rngs: Sequence[np.random.Generator],
    progress: Callable[[int, float, float], None] = lambda *_: None,
    **options: Any,
) -> History:
    """Train a stack of networks in place, each on the same images in an order of its own.

    Args:
        stack: the networks; batch norm is in training mode while they are fitted.
        images: the data set, on the same device.
        splits: indices of the images of each split; the recipe says which are passed over.
        recipe: optimiser, schedule, batch size and epochs.
        loss: what is minimised, of each network.
        rngs: for each network, what draws a new order of the images for every epoch.
        progress: is told after every epoch the number of epochs done, the mean loss, and the seconds spent.
        options: those of `Fit`.

    Returns:
        The training curves, on the images that are passed over.
    """
    return Fit(stack, images, splits, recipe, loss, rngs=rngs, **options).run(progress)


class Fit:
    """The fitting of a stack of networks, which can be taken up again: optimiser and schedule go on.

    On a GPU a step is captured once for each batch size and replayed from then on, unless the environment
    says otherwise (`devices.captures`).
    """

    def __init__(
        self,
        stack: Stack,
        images: Images,
        splits: Mapping[str, np.ndarray],
        recipe: Recipe,
        loss: Loss,
        *,
        rngs: Sequence[np.random.Generator],
        rounds: int = 1,
        targets: AuxiliaryTargets | None = None,
        trainable: Mapping[str, torch.Tensor] | None = None,
        gradient_scales: Mapping[str, torch.Tensor] | None = None,
        precision: str = "fp32",
    ):
        """Prepare to fit.

        Args:
            stack: as for `fit`, like the next ones.
            images: the data set.
            splits: indices of the images of each split.
            recipe: optimiser, schedule, batch size and epochs.
            loss: what is minimised.
            rngs: for each network, what draws its orders.
            rounds: how often `run` will be called: the schedule spans the epochs of all.
            targets: what the loss knows of every image, if it needs more than labels.
            trainable: for some parameters, which weights may change, bool in the shape of the parameter. The
                others are the same after every step, whatever momentum and weight decay do.
            gradient_scales: for some parameters, what their gradient is multiplied by.
            precision: `fp32`, or `bf16` for matrix products in bfloat16 with float32 weights.

        Raises:
            InputError: if a last batch would have one image.
        """
        if recipe.salient is not None:
            trainable = _salient(stack, images, splits["forget"], recipe.salient)
        if not stack.architecture.stackable:  # dropout draws from the global state
            torch.manual_seed(int(rngs[0].integers(2**62)))
        self.stack, self.images, self.splits = stack, images, splits
        self.recipe, self.loss, self.rngs = recipe, loss, rngs
        self.passed = splits[recipe.images]
        if len(self.passed) % recipe.batch == 1:
            raise InputError(
                f"batch: {len(self.passed)} images in batches of {recipe.batch} leave a last batch of one "
                "image, on which batch norm is undefined; change it by one in the configuration"
            )
        sizes = {name: len(indices) for name, indices in splits.items()}
        self.paired = recipe.paired_images(sizes)
        self.steps = recipe.steps(sizes)
        self.rates = iter(learning_rates(recipe, self.steps * rounds))
        self.noises = (
            [torch.Generator().manual_seed(int(rng.integers(2**62))) for rng in rngs] if recipe.noise else []
        )
        self.targets, self.precision = targets or AuxiliaryTargets(), precision
        self.device = images.pixels.device
        weights = stack.parameters_by_name()
        self.trained = stack.architecture.last_blocks(weights, recipe.last) if recipe.last else [*weights]
        # What must not change is put back after every step: an optimiser moves more than gradients say.
        self.frozen = [
            (weights[name], may, weights[name].detach().clone()) for name, may in (trainable or {}).items()
        ]
        self.gradient_scales = [(weights[name], scale) for name, scale in (gradient_scales or {}).items()]
        labels = images.labels.cpu()[torch.from_numpy(splits["retain"])]
        self.class_counts = torch.bincount(labels, minlength=images.classes).float().to(self.device)
        self.captured: dict[int, tuple[torch.cuda.CUDAGraph, tuple[torch.Tensor, torch.Tensor | None]]] = {}
        # What a step needs for itself no later one reads, so that all graphs share their memory.
        self.pool = torch.cuda.graph_pool_handle() if captures(self.device) else None
        # A captured step reads the learning rate from where it lies.
        self.rate = torch.tensor(recipe.learning_rate, device=self.device) if self.pool is not None else None
        self.optimizer = self._optimizer()
        # Sums are kept on the device, so that no step waits for a number.
        self.sums = torch.zeros(stack.models, dtype=torch.float64, device=self.device)
        self.hits = torch.zeros(stack.models, dtype=torch.float64, device=self.device)
        self.l1 = torch.zeros((), device=self.device)

    def run(self, progress: Callable[[int, float, float], None] = lambda *_: None) -> History:
        """Fit for the epochs of the recipe.

        Args:
            progress: is told after every epoch the epochs done, the mean loss, and the seconds spent.

        Returns:
            The training curves.
        """
        begun, left = time.perf_counter(), self.steps
        self.stack.train()
        for name, weight in self.stack.parameters_by_name().items():
            weight.requires_grad_(name in self.trained)
        losses, accuracies = [], []
        for epoch in range(self.recipe.epochs):
            self.l1.fill_(self.recipe.l1 * (1 - epoch / self.recipe.epochs))
            seen = 0
            for batch in self._batches(left):
                noise = None
                if self.noises:
                    shape = (batch.shape[1], *self.images.pixels.shape[1:])
                    drawn = [torch.randn(shape, generator=generator) for generator in self.noises]
                    noise = torch.cat(drawn, dim=1).to(self.device)
                self._step(batch, next(self.rates), noise)
                seen += batch.shape[1] - self.paired
                left -= 1
            sums, hits = self._take_sums()
            losses.append(sums / seen)
            accuracies.append(hits / seen)
            progress(epoch + 1, float(losses[-1].mean()), time.perf_counter() - begun)
        return History(loss=np.stack(losses, axis=1), accuracy=np.stack(accuracies, axis=1))

    def _batches(self, most: int) -> list[torch.Tensor]:
        """Return the images of each step of an epoch [models, images], those that are paired at the end.

        They come to the device as one tensor, since a GPU waits for each that it is sent.

        Args:
            most: of so many steps at most.
        """
        starts = range(0, len(self.passed), self.recipe.batch)
        orders = np.stack([rng.permutation(self.passed) for rng in self.rngs])
        batches = torch.from_numpy(orders).to(self.device).split(self.recipe.batch, dim=1)
        if self.paired:
            # These images come round as often as they must.
            others = self.splits[self.recipe.paired_with or ""]
            drawn = np.stack(
                [np.resize(rng.permutation(others), len(starts) * self.paired) for rng in self.rngs]
            )
            each = torch.from_numpy(drawn).to(self.device).split(self.paired, dim=1)
            batches = tuple(torch.cat(pair, dim=1) for pair in zip(batches, each, strict=True))
        return list(batches[:most])

    def _step(self, batch: torch.Tensor, rate: float, noise: torch.Tensor | None) -> None:
        """Take one step.

        Args:
            batch: indices of images [models, images], those that are paired at the end.
            rate: the learning rate.
            noise: standard normal noise for the images, or None.
        """
        if self.rate is None:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self._compute(batch, noise)
            return
        self.rate.fill_(rate)
        size = batch.shape[1]
        if size not in self.captured:
            self.captured[size] = self._capture(batch, noise)
        graph, inputs = self.captured[size]
        for given, place in zip((batch, noise), inputs, strict=True):
            if place is not None and given is not None:
                place.copy_(given)
        graph.replay()

    def _take_sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of losses and of right answers since the last call, float64 [models]."""
        sums = self.sums.cpu().numpy().copy(), self.hits.cpu().numpy().copy()
        self.sums.zero_()
        self.hits.zero_()
        return sums

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe, rate = self.recipe, self.recipe.learning_rate if self.rate is None else self.rate
        parameters = self.stack.parameters()
        if recipe.optimizer == "adam":
            return torch.optim.Adam(
                parameters,
                lr=rate,
                weight_decay=recipe.weight_decay,
                fused=True,
                capturable=self.rate is not None,
            )
        return torch.optim.SGD(
            parameters, lr=rate, momentum=recipe.momentum or 0, weight_decay=recipe.weight_decay, fused=True
        )

    def _compute(self, batch: torch.Tensor, noise: torch.Tensor | None) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        size = batch.shape[1] - self.paired
        main = self._pass(batch[:, :size], None if noise is None else noise[:size])
        other = self._pass(batch[:, size:], None if noise is None else noise[size:]) if self.paired else None
        losses = self.loss(main, other)
        total = losses.sum()
        if self.recipe.l1:
            total = total + self.l1 * sum(weight.abs().sum() for weight in self.stack.parameters())
        total.backward()
        if self.stack.unused is not None and self.stack.unused.grad is None:
            self.stack.unused.grad = torch.zeros_like(self.stack.unused)
        for weight, scale in self.gradient_scales:
            if weight.grad is not None:
                weight.grad.mul_(scale)
        self.optimizer.step()
        with torch.no_grad():
            for weight, may, start in self.frozen:
                weight.copy_(torch.where(may, weight, start))
        self.sums += losses.detach() * size
        self.hits += (main.logits.detach().argmax(dim=2) == self.images.labels[batch[:, :size]]).sum(dim=1)

    def _pass(self, indices: torch.Tensor, noise: torch.Tensor | None) -> Batch:
        inputs = self.images.inputs(indices)
        if noise is not None:
            inputs = inputs + self.recipe.noise * noise
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.stack(inputs)
        if self.precision == "bf16":
            logits = logits.float()
        known = self.targets
        return Batch(
            logits,
            self.images.labels[indices] if known.labels is None else known.labels.gather(1, indices),
            self.class_counts,
            {name: logits[indices] for name, logits in known.teachers.items()},
        )

    def _capture(
        self, batch: torch.Tensor, noise: torch.Tensor | None
    ) -> tuple[torch.cuda.CUDAGraph, tuple[torch.Tensor, torch.Tensor | None]]:
        inputs = batch.clone(), None if noise is None else noise.clone()
        before = self._state()
        saved = [tensor.clone() for tensor in before]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # what is allocated only once must not be part of the graph
                self._compute(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            self._compute(*inputs)
        # The steps that were only taken to warm up are undone; what did not exist before them was zero.
        with torch.no_grad():
            for tensor in self._state()[len(before) :]:
                tensor.zero_()
            for tensor, old in zip(before, saved, strict=True):
                tensor.copy_(old)
        return graph, inputs

    def _state(self) -> list[torch.Tensor]:
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        model = [*self.stack.parameters(), *self.stack.buffers(), self.sums, self.hits]
        return [*model, *(value for value in moments if isinstance(value, torch.Tensor))]


def _salient(stack: Stack, images: Images, forget: np.ndarray, share: float) -> dict[str, torch.Tensor]:
    """Return where the gradient of the forget loss is among the largest, by parameter (SalUn)."""
    found = gradients(stack, images, forget)
    sizes = torch.cat([stack.by_model(gradient).abs().flatten(1) for gradient in found.values()], dim=1)
    smallest = max(1, round((1 - share) * sizes.shape[1]))
    threshold = sizes.kthvalue(smallest, dim=1).values if share < 1 else sizes.new_full((stack.models,), -1)
    chosen = {}
    for name, gradient in found.items():
        size = stack.by_model(gradient).abs()
        chosen[name] = (size > threshold.view(-1, *[1] * (size.dim() - 1))).reshape_as(gradient)
    return chosen
