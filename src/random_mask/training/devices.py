"""Where training computes: the processor or a GPU, and in what precision."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import torch

__all__ = ["choose", "models_at_once", "precision_of"]

WEIGHTS = 11_200_000
"""Weights of a ResNet-18, an upper bound where some are left out."""

_claims: list[int] = []


def choose() -> torch.device:
    """Return a GPU that no other job of this machine has claimed, or the processor where there is none.

    With more jobs than GPUs, the first GPU is shared; `profiles/gpu` keeps that from happening.
    """
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        claim = os.open(
            Path(tempfile.gettempdir()) / f"random-mask-gpu-{number}.lock", os.O_CREAT | os.O_RDWR
        )
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(claim)
            continue
        _claims.append(claim)  # held until the process ends, however it does
        return torch.device("cuda", number)
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def precision_of(wanted: str, device: torch.device) -> str:
    """Return `fp32` or `bf16`; `auto` takes bf16 where it is computed by the hardware."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "fp32"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def models_at_once(device: torch.device, wanted: int, *, batch: int, image_size: int) -> int:
    """Return how many models to train side by side: one on a processor, as many as fit on a GPU.

    Args:
        device: where they are trained.
        wanted: number of models of the shard.
        batch: images a step.
        image_size: height and width of the images, in pixels.
    """
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    # Weights, gradients, two moments and what undoes the warm-up; 2,000 bytes of activations a pixel, where
    # evaluation goes in batches of 500.
    each = 4 * 5 * WEIGHTS + max(batch, 500) * 2000 * image_size**2
    return max(1, min(wanted, int(0.8 * free / each)))
