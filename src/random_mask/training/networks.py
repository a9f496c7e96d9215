"""The networks that can be studied: how each is built, and what its parts are called.

The paper's is torchvision's ResNet-18 with its 7x7 stem, as in the competition. Another one is an entry of
`NETWORKS`; nothing else knows its names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "Network"]


@dataclass(frozen=True)
class Network:
    """A network of torchvision.

    Attributes:
        builder: the name of its function in `torchvision.models`.
        stem: its first convolution.
        last_layer: the linear layer whose outputs are the logits.
        block: pattern of the name of a block; what is in none is one by itself, by its first name.
        shortcut: a part of the names of the layers that shortcuts consist of; empty if there are none.
        stackable: whether many of them can be trained as one, and without the kernel positions that small
            images leave unused: plain convolutions without a bias, batch norms and linear layers, and
            nothing that draws random numbers while it trains. Others are trained one at a time.
    """

    builder: str
    stem: str
    last_layer: str
    block: str
    shortcut: str
    stackable: bool

    def build(self, classes: int, *, seed: int) -> nn.Module:
        """Return a randomly initialised network.

        Args:
            classes: number of classes, the length of a row of logits.
            seed: seed of the initial weights. The global random state of torch is left as it was.

        Returns:
            A module that maps images [batch, 3, height, width] to logits [batch, classes], with torchvision's
            names and shapes in its `state_dict`.
        """
        import torch
        import torchvision

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return getattr(torchvision.models, self.builder)(weights=None, num_classes=classes)

    def empty(self, classes: int) -> nn.Module:
        """Return the network without memory for its weights."""
        import torch
        import torchvision

        with torch.device("meta"):
            return getattr(torchvision.models, self.builder)(weights=None, num_classes=classes)

    def classes(self, weights: Mapping[str, Any]) -> int:
        """Return the number of classes that a network with these weights tells apart."""
        return len(weights[f"{self.last_layer}.bias"])

    def in_shortcut(self, tensor: str) -> bool:
        """Whether a tensor belongs to a shortcut."""
        return bool(self.shortcut) and self.shortcut in tensor

    def last_blocks(self, tensors: Iterable[str], count: int) -> list[str]:
        """Return the names of the tensors in the last `count` blocks, the last layer being one.

        Args:
            tensors: the names of all tensors, in the order of the network.
            count: number of blocks.
        """
        blocks: dict[str, list[str]] = {}
        for name in tensors:
            found = re.match(self.block, name)
            blocks.setdefault(found[0] if found else name.partition(".")[0], []).append(name)
        return [name for block in list(blocks)[-count:] for name in blocks[block]]


NETWORKS = {
    "resnet18": Network("resnet18", "conv1", "fc", r"layer\d+\.\d+", "downsample", stackable=True),
    # Its convolutions have biases, and it has dropout.
    "vgg11_bn": Network(
        "vgg11_bn", "features.0", "classifier.6", r"(features|classifier)\.\d+", "", stackable=False
    ),
}
"""By the name that a configuration gives as `network`."""
