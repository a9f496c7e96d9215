"""The names of the tensors of a ResNet-18, by which parts of it are chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["last_blocks"]


def last_blocks(tensors: Iterable[str], count: int) -> list[str]:
    """Return the names of the tensors in the last `count` blocks of a ResNet, the linear layer being one.

    Args:
        tensors: the names of all tensors, in the order of the network.
        count: number of blocks; a ResNet-18 has eight residual ones before the linear layer.
    """
    names: dict[str, None] = {}
    tensors = list(tensors)
    for name in tensors:
        block = re.match(r"layer\d+\.\d+", name)
        names[block[0] if block else name.partition(".")[0]] = None
    last = list(names)[-count:]
    return [name for name in tensors if name.startswith(tuple(f"{block}." for block in last))]
