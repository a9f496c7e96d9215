"""What a step passes through the networks, as losses see it.

Everything has a leading models axis, and a model's values depend on its own logits only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

__all__ = ["Batch", "Loss", "cross_entropy"]


@dataclass(frozen=True)
class Batch:
    """What a stack of networks says of a batch of images, and what is known of them.

    Attributes:
        logits: [models, batch, classes].
        labels: int64 [models, batch].
        class_counts: images of each class in the retain set [classes].
        teachers: by name, logits of other networks [models, batch, classes], for losses that ask for them.
    """

    logits: Tensor
    labels: Tensor
    class_counts: Tensor
    teachers: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def original(self) -> Tensor:
        """Logits of the original model [models, batch, classes]."""
        return self.teachers["original"]

    @property
    def incompetent(self) -> Tensor:
        """Logits of the incompetent teacher, a network that was never trained [models, batch, classes]."""
        return self.teachers["incompetent"]

    def cross_entropy(self, class_weight_exponent: float = 0.0) -> Tensor:
        """Return the mean cross entropy [models], classes weighted by 1 / count^exponent."""
        weights = self.class_weights(class_weight_exponent) if class_weight_exponent else None
        return cross_entropy(self.logits, self.labels, weights)

    def class_weights(self, exponent: float) -> Tensor:
        """Return 1 / count^exponent [classes], so scaled that its mean over the retain set is one."""
        weights = self.class_counts.clamp(min=1) ** -exponent
        return weights * self.class_counts.sum() / (weights * self.class_counts).sum()

    def divergence(self, teacher: Tensor, temperature: float = 1.0, *, rescale: bool = True) -> Tensor:
        """Return the mean Kullback-Leibler divergence from a teacher's outputs, in nats [models].

        Args:
            teacher: its logits [models, batch, classes].
            temperature: by which all logits are divided.
            rescale: multiply by the squared temperature, so that the gradient does not shrink (Hinton et al.,
                2015).
        """
        wanted = (teacher / temperature).log_softmax(dim=2)
        found = (self.logits / temperature).log_softmax(dim=2)
        mean = (wanted.exp() * (wanted - found)).sum(dim=2).mean(dim=1)
        return temperature**2 * mean if rescale else mean


Loss = Callable[[Batch, "Batch | None"], Tensor]
"""(batch, the one it is paired with) to [models]."""


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy of each model, in nats.

    Args:
        logits: [models, batch, classes].
        labels: int64 [models, batch].
        weights: of the classes [classes], or all alike; the mean is then weighted.

    Returns:
        [models].
    """
    losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    losses = losses.view(labels.shape)
    if weights is None:
        return losses.mean(dim=1)
    of_images = weights[labels]
    return (losses * of_images).sum(dim=1) / of_images.sum(dim=1)
