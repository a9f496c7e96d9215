"""A data set in memory, as networks read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch

__all__ = ["Images"]


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
