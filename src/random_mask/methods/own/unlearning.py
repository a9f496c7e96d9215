"""Unlearns by a person's own function: one model after the other, each from the original weights."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim import optimizer

from random_mask.methods.own.function import OFFERED, Function
from random_mask.methods.own.samples import Batches, loaders
from random_mask.seeds import seed_of
from random_mask.training.cost import BACKWARD, Work
from random_mask.training.evaluation import summarise
from random_mask.training.images import Images
from random_mask.training.networks import Network
from random_mask.training.stacking import Stack, Weights

__all__ = ["unlearn"]


def unlearn(
    reference: str,
    model: int,
    images: Images,
    splits: Mapping[str, np.ndarray],
    *,
    role: str,
    seed: int,
    network: Network,
    original: Weights,
    arguments: Mapping[str, Any],
    batches: Batches = "both",
    more: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], Work, bool]:
    """Unlearn one model by the function, and return what is saved of it.

    The file of the function is run anew, and the global random states of torch, NumPy and Python are seeded,
    so that a model does not depend on those before it.

    Args:
        reference: the function, as `file.py:name`.
        model: its index in the fleet.
        images: the data set, on the device to train on.
        splits: image indices of `retain`, `forget`, `validation` and `test`, the last to judge by alone.
        role: name of the fleet.
        seed: root seed of the experiment.
        network: the network.
        original: weights of the original model.
        arguments: values that the configuration gives to the function.
        batches: what a batch is to it; see `random_mask.methods.own.samples.Samples`.
        more: what samples have besides, by key, of all images.

    Returns:
        The arrays of a fleet of one model (see `training.evaluation.summarise`, and `model`, its index; the
        curves have no epochs), its work, counted (see `_Counter`), and whether any weight was changed.

    Raises:
        InputError: if the function fails, or leaves what is no network for these images.
    """
    device = images.pixels.device
    own = seed_of(seed, role, model, "own")
    torch.manual_seed(own)
    np.random.seed(own % 2**32)
    random.seed(own)
    function = Function(reference)
    given = network.build(images.classes, seed=0)
    given.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in original.items()})
    given.to(device)
    labels = images.labels.cpu()[torch.from_numpy(splits["retain"])]
    counts = torch.bincount(labels, minlength=images.classes).to(device)
    names = [name for name, _ in given.named_parameters()]
    weights = (1 / counts.clamp(min=1)).to(torch.float32)
    offered = dict(zip(OFFERED, (device, names, counts, weights), strict=True))
    with _counted() as of_one, torch.no_grad():
        given.eval()(torch.zeros(1, *images.pixels.shape[1:], device=device))
    given.train()
    with torch.enable_grad(), _counted() as counter:
        result = function(
            given, loaders(images.to(torch.device("cpu")), splits, batches, more), offered, arguments
        )
    left = result if isinstance(result, nn.Module) else given
    state = left.state_dict()
    changed = left is not given or any(
        name not in state or not np.array_equal(state[name].double().cpu().numpy(), array)
        for name, array in original.items()
    )
    if not changed and result is not None and left is not result:
        kind = type(result).__name__
        raise function.wrong(f"returns a {kind}, and changed no weight; return the network, or change it")
    arrays = _judged(function, left, images, splits)
    passed = round(counter.products / (of_one.products * (1 + BACKWARD)))
    one = Stack(network, images.classes, image_size=images.size)
    work = Work(passed, counter.steps, one.flops_each(images.size), one.weights_each())
    none = np.empty((1, 0))
    arrays = {"model": np.array([model]), **arrays, "history_loss": none, "history_accuracy": none}
    return arrays, work, changed


class _Counter:
    """What happened in networks, of whatever making, while it counted.

    Attributes:
        products: of convolutions and linear layers, in multiplications; a pass with gradients counts as three
            without, since a backward pass computes two products for one of the forward pass.
        steps: steps of optimisers.
    """

    def __init__(self) -> None:
        self.products, self.steps = 0.0, 0

    def forward(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Count a layer that was passed."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            passes = 1 + BACKWARD * output.requires_grad
            self.products += passes * output.numel() * module.weight.numel() / module.weight.shape[0]

    def step(self, *_: Any) -> None:
        """Count a step."""
        self.steps += 1


@contextmanager
def _counted() -> Iterator[_Counter]:
    counter = _Counter()
    hooks = [
        nn.modules.module.register_module_forward_hook(counter.forward),
        optimizer.register_optimizer_step_post_hook(counter.step),
    ]
    try:
        yield counter
    finally:
        for hook in hooks:
            hook.remove()


class _Alone(nn.Module):
    """One network as `summarise` takes a stack of them."""

    models = 1

    def __init__(self, function: Function, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.function, self.network, self.classes = function, network, classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images [batch, 3, height, width] to logits [1, batch, classes]."""
        try:
            logits = self.network(images)
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise self.function.wrong(f"leaves a network that fails on images ({said})") from None
        shape = tuple(getattr(logits, "shape", ()))
        if shape != (len(images), self.classes):
            of = f"of the shape {shape}" if isinstance(logits, torch.Tensor) else f"a {type(logits).__name__}"
            raise self.function.wrong(
                f"leaves a network whose output is {of}, not logits [{len(images)}, {self.classes}]"
            )
        if not logits.isfinite().all():
            raise self.function.wrong("leaves a network with NaN or infinite logits; check its learning rate")
        return logits[None]


def _judged(
    function: Function, network: nn.Module, images: Images, splits: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return logits and accuracies of the network that the function left, computed in float32."""
    # Whatever the function did to them: a network that was halved is judged as it is now, in full precision.
    alone = _Alone(function, network.to(images.pixels.device).float(), images.classes)
    return summarise(cast(Stack, alone), images, splits)
