"""The images of a split as a person's own function reads them: a data set of PyTorch, and a loader of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from random_mask.training.images import Images

__all__ = ["BATCH", "Batches", "Sample", "Samples", "loaders"]

BATCH = 64
"""Images in a batch, as in the competition."""
Batches = Literal["both", "dict", "pair"]


class Sample(dict[str, Any]):
    """An image and its label, or a batch of them, by key as in the competition, or as a pair.

    `sample["image"]` and `image, label = sample` both work, `sample[0]` as well. So a loop over it gives
    image and label rather than the keys, for which there is `sample.keys()`.
    """

    def __iter__(self) -> Iterator[Any]:
        """Yield the image and the label."""
        yield self["image"]
        yield self["label"]

    def __getitem__(self, key: str | int) -> Any:
        """Return what stands under a key, or at a place of the pair."""
        return super().__getitem__(("image", "label")[key] if isinstance(key, int) else key)


def _collate(samples: Sequence[Sample], *, collate_fn_map: Any = None) -> Sample:
    names = samples[0].keys()
    return Sample({name: default_collate([sample[name] for sample in samples]) for name in names})


# Any loader of such samples gives such batches, also one that a function makes of `loader.dataset`.
default_collate_fn_map[Sample] = _collate


class Samples(Dataset[Any]):
    """The images of a split, one after the other.

    An image is float32 [3, height, width], normalised if the data set is, else in 0..255; as a dict it comes
    with `label` and the same under the competition's name `age_group`, `image_id`, its number in the table of
    the split, and what else is known of it.
    """

    def __init__(
        self, images: Images, indices: np.ndarray, batches: Batches, more: Mapping[str, np.ndarray]
    ) -> None:
        """Take the images of a data set, not copied.

        Args:
            images: the data set.
            indices: which of its images.
            batches: whether a sample is a `dict`, a `pair` or a `Sample`, which serves as both.
            more: what else is known, by key, of all images of the data set.
        """
        self._images, self._indices = images, indices
        self._batches, self._more = batches, more

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._indices)

    def __getitem__(self, place: int) -> Any:
        """Return an image and its label."""
        number, data = int(self._indices[place]), self._images
        pixels = data.pixels[number].to(torch.float32)
        image = ((pixels - data.mean[:, None, None]) / data.std[:, None, None]).contiguous()
        label = int(data.labels[number])
        if self._batches == "pair":
            return image, label
        found = {"image": image, "image_id": number, "age_group": label, "label": label}
        found |= {key: values[number].item() for key, values in self._more.items()}
        return found if self._batches == "dict" else Sample(found)


def loaders(
    images: Images,
    splits: Mapping[str, np.ndarray],
    batches: Batches = "both",
    more: Mapping[str, np.ndarray] | None = None,
) -> dict[str, DataLoader[Any]]:
    """Return loaders of retain, forget and validation: shuffled, in batches of 64, without workers.

    Args:
        images: the data set, on the processor.
        splits: indices of the images of each split.
        batches: see `Samples`.
        more: see `Samples`.
    """
    return {
        name: DataLoader(Samples(images, splits[name], batches, more or {}), batch_size=BATCH, shuffle=True)
        for name in ("retain", "forget", "validation")
    }
