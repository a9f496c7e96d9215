"""Fits the models of a fleet, step by step: perturb the weights, then fine-tune them, once or several times.

Retraining is the same with random weights to start from and no perturbation. What perturbs is given from
outside (`random_mask.methods.unlearning`), so that retraining does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from random_mask.seeds import generator, seed_of
from random_mask.settings import RandomMask, Recipe, Step
from random_mask.training.cost import Work, work_of
from random_mask.training.loop import Images, Tables, evaluate, fit, gradients, summarise
from random_mask.training.networks import (
    build_resnet18,
    forward_flops,
    parameter_count,
    resnet18_with,
    without_dead_taps,
)
from random_mask.training.stacking import stack, unstacked, whole

__all__ = ["Fleet", "Run", "Weights", "fit_fleet", "flattened", "network_of", "suffix"]

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Fleet:
    """What the models of a fleet have in common.

    Attributes:
        role: name of the fleet, which with `seed` and a model's index gives all randomness of that model.
        seed: root seed of the experiment.
        start: gives the weights that a model starts from, by its index.
        steps: what is done to them.
        perturb: gives the weights of a model after the perturbation of a step, which has a place.
        masks: gives the masks that were drawn for a model (index) and step (its place after `flattened`).
        original: weights of the original model, which some objectives look to; None for retraining.
    """

    role: str
    seed: int
    start: Callable[[int], Weights]
    steps: Sequence[Step]
    perturb: Callable[[Run, Step, int], Weights] = lambda run, step, place: run.weights
    masks: Callable[[int, int], Weights] = lambda model, step: {}
    original: Weights | None = None

    def rng(self, model: int, purpose: str) -> np.random.Generator:
        """Return the generator of a model for a purpose."""
        return generator(self.seed, self.role, model, purpose)


def flattened(steps: Sequence[Step]) -> list[Step]:
    """Return the steps in the order in which they are taken, each cycle for itself."""
    return [step for step in steps for _ in range(step.cycles)]


def fit_fleet(
    fleet: Fleet,
    models: Sequence[int],
    images: Images,
    parts: Mapping[str, np.ndarray],
    *,
    at_once: int = 1,
    precision: str = "fp32",
    progress: Callable[[str], None] = lambda _: None,
    keep: Callable[[int, Weights], None] = lambda model, weights: None,
) -> tuple[dict[str, np.ndarray], list[Work]]:
    """Train the models of one shard and return what is kept of them.

    Args:
        fleet: the fleet that they belong to.
        models: their indices.
        images: the data set, on the device to train on.
        parts: image indices of `retain`, `forget`, `validation` and `test`.
        at_once: how many models are trained side by side. It changes a model by rounding only.
        precision: of matrix products while training, `fp32` or `bf16`.
        progress: is told how far the shard is.
        keep: is given the final weights of every model.

    Returns:
        The arrays of the shard (see `training.loop.summarise`, and `model`, the indices), and the work
        of training each model. Curves of models that take fewer epochs than others end with NaN.
    """
    groups = [list(models[first : first + at_once]) for first in range(0, len(models), at_once)]
    kept, works = [], []
    tables = _Lookup(fleet, images, parts)
    for group in groups:
        runs = [Run(fleet, index, images, parts) for index in group]
        for place, step in enumerate(flattened(fleet.steps)):
            taking = [run for run in runs if step.models in ("all", ("even", "odd")[run.index % 2])]
            if taking:
                _take(place, step, taking, tables, precision, _teller(progress, models, group, place, fleet))
        network = stack([run.network() for run in runs]).to(images.pixels.device)
        arrays = summarise(network, images, parts, models=len(runs))
        for name in ("loss", "accuracy"):
            longest = sum(recipe.epochs for step in flattened(fleet.steps) for recipe in step.finetune)
            arrays[f"history_{name}"] = np.full((len(runs), longest), np.nan)
            for row, run in zip(arrays[f"history_{name}"], runs, strict=True):
                curve = np.concatenate(run.curves[name]) if run.curves[name] else []
                row[: len(curve)] = curve
        for run in runs:
            keep(run.index, run.weights)
        kept.append({"model": np.array(group, dtype=np.int64)} | arrays)
        live = runs[0].network()
        flops, weights = forward_flops(live, images.size), parameter_count(live)
        works += [Work(run.passed, run.steps, flops, weights) for run in runs]
    return {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}, works


def _teller(
    progress: Callable[[str], None], models: Sequence[int], group: list[int], place: int, fleet: Fleet
) -> Callable[[Recipe, int, float, float], None]:
    """Return what tells how far the shard is."""
    steps = len(flattened(fleet.steps))
    name = f"model {group[0]}" if len(group) == 1 else f"models {group[0]} to {group[-1]}"
    done = list(models).index(group[-1]) + 1
    where = f"{name} ({done} of {len(models)} in this job)" + (
        f", step {place + 1}/{steps}" if steps > 1 else ""
    )

    def tell(recipe: Recipe, epoch: int, loss: float, spent: float) -> None:
        left = spent / epoch * (recipe.epochs - epoch)
        if steps == 1:
            left += spent / epoch * recipe.epochs * (len(models) - done) / len(group)
        progress(f"{where}, epoch {epoch}/{recipe.epochs}, loss {loss:.4f}, {left:.0f} s left")

    return tell


@dataclass
class Run:
    """One model on its way."""

    fleet: Fleet
    index: int
    images: Images
    parts: Mapping[str, np.ndarray]
    weights: Weights = field(init=False)
    curves: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"loss": [], "accuracy": []})
    passed: int = 0
    steps: int = 0
    place: int = 0

    def __post_init__(self) -> None:
        self.weights = self.fleet.start(self.index)

    def network(self, weights: Weights | None = None) -> nn.Module:
        """Return the network with these weights, by default its own, without dead taps."""
        return without_dead_taps(network_of(self.weights if weights is None else weights), self.images.size)

    def initial(self) -> Weights:
        """Return weights drawn as before training, another draw in every step."""
        seed = seed_of(self.fleet.seed, self.fleet.role, self.index, f"initial{suffix(self.place)}")
        network = build_resnet18(len(self.weights["fc.bias"]), seed=seed)
        return {name: tensor.numpy() for name, tensor in network.state_dict().items()}

    def gradient(self) -> Weights:
        """Return the gradient of the cross entropy on retain less that on forget."""
        retain, forget = (self._gradients(part) for part in ("retain", "forget"))
        return {name: retain[name] - forget[name] for name in retain}

    def information(self, part: str) -> Weights:
        """Return the diagonal of the Fisher information on a part, or on `train`: retain and forget."""
        return self._gradients(part, squared=True)

    def _gradients(self, part: str, **options: bool) -> Weights:
        indices = {**self.parts, "train": np.union1d(self.parts["retain"], self.parts["forget"])}[part]
        network = stack([network_of(self.weights)]).to(self.images.pixels.device)
        found = gradients(network, self.images, indices, **options)
        self.passed += len(indices)
        return {name: gradient[0].cpu().numpy() for name, gradient in found.items()}


def network_of(weights: Weights) -> nn.Module:
    """Return a network with these weights, which it copies."""
    return resnet18_with({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})


def suffix(*places: int) -> str:
    """Return what tells the randomness of a later step from that of the first one."""
    return "".join(f"/{place}" for place in places) if any(places) else ""


def _take(
    place: int,
    step: Step,
    runs: Sequence[Run],
    lookup: _Lookup,
    precision: str,
    tell: Callable[[Recipe, int, float, float], None],
) -> None:
    """Take one step with several models side by side: perturb, then fine-tune."""
    images, parts = lookup.images, lookup.parts
    before = [run.weights for run in runs]
    for run in runs:
        run.place = place
        run.weights = run.fleet.perturb(run, step, place)
    networks = [run.network() for run in runs]
    network = stack(networks).to(images.pixels.device)
    trainable = None
    if isinstance(step.perturb, RandomMask) and step.perturb.held:
        trainable = _stacked([_as_weights(run, run.fleet.masks(run.index, place)) for run in runs], runs)
        trainable = {name: mask > 0.5 for name, mask in trainable.items()}
    sizes = {name: len(indices) for name, indices in parts.items()}
    for turn, recipe in enumerate(step.finetune):
        factors = None
        if recipe.kept_gradient != 1:
            factors = _stacked(
                [
                    _factors(run.weights, old, recipe.kept_gradient)
                    for run, old in zip(runs, before, strict=True)
                ],
                runs,
            )
        purpose = f"order{suffix(place, turn)}"
        history = fit(
            network,
            images,
            parts,
            recipe,
            rngs=[run.fleet.rng(run.index if recipe.order == "model" else 0, purpose) for run in runs],
            tables=lookup.tables(recipe, [run.index for run in runs]),
            trainable=trainable,
            factors=factors,
            precision=precision,
            progress=lambda *done, recipe=recipe: tell(recipe, *done),
        )
        passed, steps = work_of(sizes, recipe)
        for number, run in enumerate(runs):
            run.curves["loss"].append(history.loss[number])
            run.curves["accuracy"].append(history.accuracy[number])
            run.passed += passed
            run.steps += steps
    for number, run in enumerate(runs):
        tensors = {name: tensor.cpu().numpy() for name, tensor in unstacked(network, number).items()}
        run.weights = whole(network, tensors, run.weights)


def _as_weights(run: Run, masks: Weights) -> Weights:
    """Return masks as if they were weights: one where a weight may change."""
    ones = {name: np.ones_like(array) for name, array in run.weights.items()}
    return ones | {name: mask.astype(np.float32) for name, mask in masks.items()}


def _factors(after: Weights, before: Weights, kept: float) -> Weights:
    """Return the factor on the gradient of each weight: `kept` on kernel weights that did not change."""
    factors = {name: np.ones_like(array) for name, array in after.items()}
    for name, array in after.items():
        if array.ndim == 4:
            factors[name] = np.where(array == before[name], kept, 1).astype(np.float32)
    return factors


def _stacked(arrays: Sequence[Weights], runs: Sequence[Run]) -> dict[str, torch.Tensor]:
    """Return arrays in the shape of whole weights as those of a stack without dead taps, by parameter."""
    joined = stack([run.network(weights) for run, weights in zip(runs, arrays, strict=True)])
    device = runs[0].images.pixels.device
    return {name: parameter.detach().to(device) for name, parameter in joined.named_parameters()}


class _Lookup:
    """What objectives look up by image, made when it is first asked for."""

    def __init__(self, fleet: Fleet, images: Images, parts: Mapping[str, np.ndarray]):
        self.fleet, self.images, self.parts = fleet, images, parts
        self.known: dict[str, torch.Tensor] = {}

    def tables(self, recipe: Recipe, models: Sequence[int]) -> Tables | None:
        """Return the tables for a recipe and some models, or None if labels are all it needs."""
        if recipe.objective in ("cross_entropy", "ascent", "uniform", "contrast") and recipe.labels == "true":
            return None
        labels = self.images.labels.cpu().numpy()
        relabelled = np.tile(labels, (len(models), 1))
        forget = self.parts["forget"]
        for row, model in zip(relabelled, models, strict=True):
            if recipe.labels == "random":
                shift = self.fleet.rng(model, "labels").integers(1, self.images.classes, len(forget))
                row[forget] = (labels[forget] + shift) % self.images.classes
            elif recipe.labels == "second":
                likely = self._logits("teacher").cpu().numpy()[forget].copy()
                likely[np.arange(len(forget)), labels[forget]] = -np.inf
                row[forget] = likely.argmax(axis=1)
        device = self.images.labels.device
        return Tables(
            teacher=self._logits("teacher"),
            stranger=self._logits("stranger"),
            relabelled=torch.from_numpy(relabelled).to(device),
        )

    def _logits(self, who: str) -> torch.Tensor:
        if who not in self.known:
            if who == "teacher":
                network = network_of(self.fleet.original)
            else:
                seed = seed_of(self.fleet.seed, self.fleet.role, 0, "stranger")
                network = build_resnet18(self.images.classes, seed=seed)
            network = stack([without_dead_taps(network, self.images.size)]).to(self.images.pixels.device)
            everything = np.arange(len(self.images.labels))
            found = evaluate(network, self.images, everything)[0]
            self.known[who] = torch.from_numpy(found).to(self.images.pixels.device)
        return self.known[who]
