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
        if not class_weight_exponent:
            return cross_entropy(self.logits, self.labels)
        weights = self.class_counts.clamp(min=1) ** -class_weight_exponent
        return cross_entropy(self.logits, self.labels, weights / weights.mean())

    def divergence(self, teacher: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the mean Kullback-Leibler divergence from a teacher's outputs, in nats [models].

        It is multiplied by the squared temperature, so that its gradient does not shrink (Hinton et al.,
        2015).

        Args:
            teacher: its logits [models, batch, classes].
            temperature: by which all logits are divided.
        """
        wanted = (teacher / temperature).log_softmax(dim=2)
        found = (self.logits / temperature).log_softmax(dim=2)
        return temperature**2 * (wanted.exp() * (wanted - found)).sum(dim=2).mean(dim=1)


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
