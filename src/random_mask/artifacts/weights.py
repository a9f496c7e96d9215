"""Weights and masks as safetensors: no pickle, and the same tensors give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from random_mask.artifacts.files import atomic_write
from random_mask.errors import InputError

__all__ = ["read_masks", "read_weights", "write_masks", "write_weights"]


def write_weights(path: Path | str, weights: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write the named tensors of one model."""
    content = save({name: np.asarray(w, order="C") for name, w in weights.items()}, dict(metadata))
    # The library writes the metadata in an order that differs from call to call; sorted, they are as long.
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content[:8] + header.encode().ljust(end - 8) + content[end:])


def read_weights(path: Path | str) -> dict[str, np.ndarray]:
    """Read the named tensors of one model.

    Raises:
        InputError: if the file is missing or damaged.
    """
    return _read(path)[0]


def write_masks(
    path: Path | str, masks: Mapping[tuple[int, int], Mapping[str, np.ndarray]], metadata: Mapping[str, str]
) -> None:
    """Write the masks of several models, one bit a weight.

    Args:
        path: the file to write.
        masks: {(model, step): {tensor name: bool array, true where the weight is kept}}.
        metadata: how the masks were drawn.
    """
    shapes = {
        f"shape/{name}": " ".join(map(str, mask.shape)) for m in masks.values() for name, mask in m.items()
    }
    bits = {
        f"{model}/{step}/{name}": np.packbits(mask)
        for (model, step), m in masks.items()
        for name, mask in m.items()
    }
    drawn = " ".join(f"{model}/{step}" for model, step in masks)
    write_weights(path, bits, {**metadata, **shapes, "masks": drawn})


def read_masks(path: Path | str, model: int, step: int = 0) -> dict[str, np.ndarray]:
    """Read the masks of one model and step: {tensor name: bool array, true where the weight is kept}.

    Raises:
        InputError: if the file is missing or damaged, or is that of other models.
    """
    prefix = f"{model}/{step}/"
    tensors, metadata = _read(path, prefix)
    if prefix[:-1] not in metadata.get("masks", "").split():
        raise InputError(
            f"{path}: has no masks of model {model}, step {step}; delete it and run snakemake again"
        )
    masks = {}
    for key, bits in tensors.items():
        name = key.removeprefix(prefix)
        shape = tuple(int(length) for length in metadata[f"shape/{name}"].split())
        masks[name] = np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)
    return masks


def _read(path: Path | str, prefix: str = "") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            stored = file.keys()
            names = [name for name in stored if name.startswith(prefix)]
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise InputError(
            f"{path}: damaged ({error}); delete it and run snakemake again to re-make it"
        ) from None
