"""Fits the models of a fleet, step by step: perturb the weights, then fine-tune them, once or several times.

Retraining is the same with random weights to start from and no perturbation. What perturbs and what is
minimised are given from outside, as plain callables: see `random_mask.methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch

from random_mask.seeds import generator, seed_of
from random_mask.training.batch import Batch
from random_mask.training.cost import Work
from random_mask.training.evaluation import evaluate, gradients, summarise
from random_mask.training.images import Images
from random_mask.training.loop import AuxiliaryTargets, Fit
from random_mask.training.networks import Network
from random_mask.training.recipe import Recipe
from random_mask.training.stacking import Stack, Weights

__all__ = ["Fleet", "ModelState", "Step", "fit_fleet"]


class Perturbation(Protocol):
    """What is done to the weights of a model; see `random_mask.methods.perturbation`."""

    def __call__(self, model: ModelState, /) -> Weights:
        """Return the tensors that change."""

    def trainable(self, model: ModelState, /) -> Weights:
        """Return, for some tensors, which weights the repair may move, bool."""


class Objective(Protocol):
    """What a repair minimises; see `random_mask.methods.loss`."""

    teachers: ClassVar[Any]
    """Which of `original` and `incompetent` are asked of a batch."""

    def __call__(self, batch: Batch, paired: Batch | None, /) -> torch.Tensor:
        """Return the loss of each model."""

    def labels(self, model: ModelState, /) -> np.ndarray | None:
        """Return labels in place of the true ones, int64 [images], or None."""


@dataclass(frozen=True)
class Step:
    """One step of unlearning.

    Attributes:
        finetune: how the weights are repaired: recipes and what they minimise, one after the other.
        perturb: what is done to the weights first, or nothing.
        models: which models take the step, by their index.
        rounds: how often the recipes are taken in turn; their optimisers and schedules go on.
    """

    finetune: Sequence[tuple[Recipe, Objective]]
    perturb: Perturbation | None = None
    models: Literal["all", "even", "odd"] = "all"
    rounds: int = 1

    def taken_by(self, model: int) -> bool:
        """Whether a model takes the step."""
        return self.models in ("all", ("even", "odd")[model % 2])


@dataclass(frozen=True)
class Fleet:
    """What the models of a fleet have in common.

    Attributes:
        role: name of the fleet, which with `seed` and a model's index gives all randomness of that model.
        seed: root seed of the experiment.
        network: the network.
        start: gives the weights that a model starts from, by its index.
        steps: what is done to them.
        masks: gives the masks that were drawn for a model and a step, by their indices.
        original: weights of the original model, which some losses look to; None for retraining.
    """

    role: str
    seed: int
    network: Network
    start: Callable[[int], Weights]
    steps: Sequence[Step]
    masks: Callable[[int, int], Weights] = lambda model, step: {}
    original: Weights | None = None

    def rng(self, model: int, purpose: str) -> np.random.Generator:
        """Return the generator of a model for a purpose."""
        return generator(self.seed, self.role, model, purpose)


def fit_fleet(
    fleet: Fleet,
    models: Sequence[int],
    images: Images,
    splits: Mapping[str, np.ndarray],
    *,
    at_once: int = 1,
    precision: str = "fp32",
    progress: Callable[[str], None] = lambda _: None,
    save: Callable[[int, Weights], None] = lambda model, weights: None,
) -> tuple[dict[str, np.ndarray], list[Work]]:
    """Train the models of one shard and return what is saved of them.

    Args:
        fleet: the fleet that they belong to.
        models: their indices, ascending.
        images: the data set, on the device to train on.
        splits: image indices of `retain`, `forget`, `validation` and `test`.
        at_once: how many models are trained side by side, one if the network is not stackable. It changes a
            model by rounding only.
        precision: of matrix products while training, `fp32` or `bf16`.
        progress: is told how far the shard is.
        save: is given the final weights of every model.

    Returns:
        The arrays of the shard (see `training.evaluation.summarise`, and `model`, the indices), and the work
        of training each model. Curves of models that take fewer epochs than others end with NaN.
    """
    bench = _Bench(fleet, images, splits)
    longest = sum(step.rounds * recipe.epochs for step in fleet.steps for recipe, _ in step.finetune)
    states: list[ModelState] = []
    outputs: list[dict[str, np.ndarray]] = []
    for group in _groups(fleet, models, at_once):
        own = [ModelState(bench, index) for index in group]
        for number, step in enumerate(fleet.steps):
            if step.taken_by(group[0]):
                _take(number, step, own, precision, _teller(progress, models, group, number, fleet))
        stack = bench.stack(len(own))
        for place, state in enumerate(own):
            stack.load(place, state.weights)
        arrays = {"model": np.array(group, dtype=np.int64)} | summarise(stack, images, splits)
        for name in ("loss", "accuracy"):
            arrays[f"history_{name}"] = np.full((len(own), longest), np.nan)
            for row, state in zip(arrays[f"history_{name}"], own, strict=True):
                curve = np.concatenate(state.curves[name]) if state.curves[name] else np.empty(0)
                row[: len(curve)] = curve
        for state in own:
            save(state.index, state.weights)
        states += own
        outputs.append(arrays)
    order = np.argsort([state.index for state in states])
    one = bench.stack(1)
    flops, weights = one.flops_each(images.size), one.weights_each()
    works = [Work(state.images_passed, state.steps, flops, weights) for state in states]
    return (
        {name: np.concatenate([part[name] for part in outputs])[order] for name in outputs[0]},
        [works[place] for place in order],
    )


def _groups(fleet: Fleet, models: Sequence[int], at_once: int) -> list[list[int]]:
    """Return the models that are trained side by side: those of a group take the same steps."""
    kinds: dict[tuple[bool, ...], list[int]] = {}
    for model in models:
        kinds.setdefault(tuple(step.taken_by(model) for step in fleet.steps), []).append(model)
    return [
        alike[first : first + at_once] for alike in kinds.values() for first in range(0, len(alike), at_once)
    ]


def _teller(
    progress: Callable[[str], None], models: Sequence[int], group: list[int], number: int, fleet: Fleet
) -> Callable[[Recipe, int, float, float], None]:
    """Return what tells how far the shard is."""
    steps = len(fleet.steps)
    name = f"model {group[0]}" if len(group) == 1 else f"models {group[0]} to {group[-1]}"
    done = list(models).index(group[-1]) + 1
    where = f"{name} ({done} of {len(models)} in this job)" + (
        f", step {number + 1}/{steps}" if steps > 1 else ""
    )

    def tell(recipe: Recipe, epoch: int, loss: float, spent: float) -> None:
        left = spent / epoch * (recipe.epochs - epoch)
        if steps == 1:
            left += spent / epoch * recipe.epochs * (len(models) - done) / len(group)
        progress(f"{where}, epoch {epoch}/{recipe.epochs}, loss {loss:.4f}, {left:.0f} s left")

    return tell


class _Bench:
    """What the models of a shard share: the data, and stacks and teachers that are made when asked for."""

    def __init__(self, fleet: Fleet, images: Images, splits: Mapping[str, np.ndarray]):
        self.fleet, self.images, self.splits = fleet, images, splits
        self._stacks: dict[int, Stack] = {}

    def stack(self, models: int) -> Stack:
        """Return a stack of this many networks, whose weights are to be loaded."""
        if models not in self._stacks:
            made = Stack(self.fleet.network, self.images.classes, models, image_size=self.images.size)
            self._stacks[models] = made.to(self.images.pixels.device)
        return self._stacks[models]

    @cached_property
    def original(self) -> np.ndarray:
        """The original model's logits of all images [images, classes]."""
        return self._logits(self.fleet.original or {})

    @cached_property
    def incompetent(self) -> np.ndarray:
        """Those of a network that was never trained, the incompetent teacher."""
        seed = seed_of(self.fleet.seed, self.fleet.role, 0, "incompetent teacher")
        return self._logits(initial(self.fleet.network, self.images.classes, seed))

    def _logits(self, weights: Weights) -> np.ndarray:
        stack = Stack(self.fleet.network, self.images.classes, image_size=self.images.size)
        stack.load(0, weights)
        everything = np.arange(len(self.images.labels))
        return evaluate(stack.to(self.images.pixels.device), self.images, everything)[0]

    def targets(self, objective: Objective, states: Sequence[ModelState]) -> AuxiliaryTargets:
        """Return what a loss knows of every image beside its label."""
        device = self.images.pixels.device
        labels = [of_model for state in states if (of_model := objective.labels(state)) is not None]
        teachers = {name: getattr(self, name) for name in objective.teachers}
        return AuxiliaryTargets(
            torch.from_numpy(np.stack(labels)).to(device) if labels else None,
            {name: torch.from_numpy(logits).to(device) for name, logits in teachers.items()},
        )


@dataclass
class ModelState:
    """One model on its way through the steps of its fleet: what a perturbation may ask for.

    Attributes:
        index: its place in the fleet.
        weights: its tensors by name, as the last step left them.
        step: the index of the step that it takes.
        rng: the source of randomness of that step's perturbation.
        curves: loss and accuracy of its epochs so far.
        images_passed: images passed forward and backward so far.
        steps: steps of an optimiser so far.
    """

    bench: _Bench
    index: int
    weights: Weights = field(init=False)
    step: int = field(init=False)
    rng: np.random.Generator = field(init=False)
    curves: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"loss": [], "accuracy": []})
    images_passed: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self.weights = self.bench.fleet.start(self.index)
        self.begin(0)

    def begin(self, step: int) -> None:
        """Turn to a step."""
        self.step, self.rng = step, self.generator(f"perturb{suffix(step)}")

    @property
    def network(self) -> Network:
        """What the parts of the network are called."""
        return self.bench.fleet.network

    @property
    def splits(self) -> Mapping[str, np.ndarray]:
        """The indices of the images of each split."""
        return self.bench.splits

    @property
    def true_labels(self) -> np.ndarray:
        """The labels of all images, int64 [images]."""
        return self.bench.images.labels.cpu().numpy()

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.bench.images.classes

    def generator(self, purpose: str) -> np.random.Generator:
        """Return a generator of this model for a purpose of its own."""
        return self.bench.fleet.rng(self.index, purpose)

    @property
    def masks(self) -> Weights:
        """The masks that were drawn for this model and step, true where a weight stays."""
        return self.bench.fleet.masks(self.index, self.step)

    def initial(self) -> Weights:
        """Return weights drawn as before training, another draw in every step."""
        fleet = self.bench.fleet
        seed = seed_of(fleet.seed, fleet.role, self.index, f"initial{suffix(self.step)}")
        return initial(fleet.network, fleet.network.classes(self.weights), seed)

    def original_logits(self) -> np.ndarray:
        """Return the original model's logits of all images [images, classes]."""
        return self.bench.original

    def gradient(self, indices: np.ndarray, *, squared: bool = False) -> Weights:
        """Return the gradient of the mean cross entropy on some images, by tensor.

        Args:
            indices: the images.
            squared: return an estimate of the diagonal of the Fisher information instead.
        """
        stack = self.bench.stack(1)
        stack.load(0, self.weights)
        found = gradients(stack, self.bench.images, indices, squared=squared)
        self.images_passed += len(indices)
        return stack.whole(found, 0, self.weights)


def initial(network: Network, classes: int, seed: int) -> dict[str, np.ndarray]:
    """Return the weights of a network before it is trained."""
    return {name: tensor.numpy() for name, tensor in network.build(classes, seed=seed).state_dict().items()}


def suffix(*numbers: int) -> str:
    """Return what tells the randomness of a later step from that of the first one."""
    return "".join(f"/{number}" for number in numbers) if any(numbers) else ""


def _take(
    number: int,
    step: Step,
    states: Sequence[ModelState],
    precision: str,
    tell: Callable[[Recipe, int, float, float], None],
) -> None:
    """Take one step with several models side by side: perturb, then fine-tune."""
    bench = states[0].bench
    before = [state.weights for state in states]
    trainable: list[Weights] = []
    for state in states:
        state.begin(number)
        if step.perturb:
            trainable.append(step.perturb.trainable(state))
            state.weights = _replaced(state.weights, step.perturb(state))
    stack = bench.stack(len(states))
    device = bench.images.pixels.device
    for place, state in enumerate(states):
        stack.load(place, state.weights)
    may = {name: tensor.to(device) for name, tensor in stack.arranged(trainable).items()} if trainable else {}
    sizes = {name: len(indices) for name, indices in bench.splits.items()}
    fits: list[Fit] = []
    for taken in range(step.rounds):
        for turn, (recipe, objective) in enumerate(step.finetune):
            if not taken:
                purpose = f"order{suffix(number, turn)}"
                rngs = [bench.fleet.rng(s.index if recipe.order == "model" else 0, purpose) for s in states]
                fits.append(
                    Fit(
                        stack,
                        bench.images,
                        bench.splits,
                        recipe,
                        objective,
                        rngs=rngs,
                        rounds=step.rounds,
                        targets=bench.targets(objective, states),
                        trainable=may,
                        gradient_scales=_scales(stack, recipe.unperturbed_gradient_scale, states, before),
                        precision=precision,
                    )
                )
            history = fits[turn].run(lambda *done, recipe=recipe: tell(recipe, *done))
            for place, state in enumerate(states):
                state.curves["loss"].append(history.loss[place])
                state.curves["accuracy"].append(history.accuracy[place])
                state.images_passed += recipe.images_passed(sizes)
                state.steps += recipe.steps(sizes)
    for place, state in enumerate(states):
        state.weights = stack.weights(place, state.weights)


def _replaced(weights: Weights, changed: Weights) -> Weights:
    return {**weights, **{name: array.astype(weights[name].dtype) for name, array in changed.items()}}


def _scales(
    stack: Stack, scale: float, states: Sequence[ModelState], before: Sequence[Weights]
) -> dict[str, torch.Tensor]:
    """Return the factor on the gradient of each kernel weight: `scale` on those that did not change."""
    if scale == 1:
        return {}
    each = [
        {
            name: np.where(array == old[name], scale, 1).astype(np.float32)
            for name, array in state.weights.items()
            if array.ndim == 4
        }
        for state, old in zip(states, before, strict=True)
    ]
    device = states[0].bench.images.pixels.device
    return {name: tensor.to(device) for name, tensor in stack.arranged(each).items()}
