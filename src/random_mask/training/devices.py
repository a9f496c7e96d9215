"""Where training computes, the processor or a GPU; in what precision; and how much of it at once."""

from __future__ import annotations

import fcntl
import gc
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from random_mask.errors import InputError

__all__ = [
    "EVALUATION_BATCH",
    "captures",
    "choose",
    "fitting",
    "models_at_once",
    "out_of_memory",
    "precision_of",
]

COPIES = 8
"""Of the weights, in fp32: themselves, gradients, two moments, what undoes the warm-up, and those in bf16."""
TRAINED, EVALUATED = 2000, 400
"""Bytes of activations and patches for each pixel of an image: while training, and without gradients."""
EVALUATION_BATCH = 500
"""Images that are evaluated at once."""
RESERVE = 0.8
"""The share of a GPU's free memory that is planned with."""
SWITCH = "RANDOM_MASK_CUDA_GRAPHS"
"""The environment variable that is 0 where steps on a GPU are not to be captured, but launched one by one."""
ELSEWHERE = (
    "end what else uses it, choose another by CUDA_VISIBLE_DEVICES=1, or a processor by CUDA_VISIBLE_DEVICES="
)

Result = TypeVar("Result")

_claims: list[int] = []


def choose() -> torch.device:
    """Return a GPU that no other job of this machine has claimed, or the processor where there is none.

    With more jobs than GPUs, the first GPU is shared; `profiles/gpu` keeps that from happening.

    Raises:
        InputError: if the GPU cannot be used.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", next(filter(_claimed, range(torch.cuda.device_count())), 0))
    try:
        torch.cuda.set_device(device)  # streams and graphs belong to the current one
        torch.zeros(1, device=device)
    except RuntimeError as error:
        raise InputError(f"{device}: {str(error).splitlines()[0]}; {ELSEWHERE}") from None
    # By default torch rounds what convolutions read in fp32, to TF32, but not what matrix products read.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return device


def _claimed(number: int) -> bool:
    """Claim a GPU for as long as this process lives, however it ends; return whether it was free.

    It is known by its identity, since each job may count other GPUs.
    """
    identity = torch.cuda.get_device_properties(number).uuid
    path = Path(tempfile.gettempdir()) / f"random-mask-gpu-{identity}.lock"
    try:
        claim = os.open(path, os.O_RDONLY)  # which may be another user's
    except FileNotFoundError:
        claim = os.open(path, os.O_CREAT | os.O_RDONLY, 0o644)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(claim)
        return False
    _claims.append(claim)
    return True


def captures(device: torch.device) -> bool:
    """Whether steps are captured as CUDA graphs: on a GPU, unless the environment says otherwise.

    Raises:
        InputError: if it says neither.
    """
    wanted = os.environ.get(SWITCH, "1")
    if wanted not in ("0", "1"):
        raise InputError(f"{SWITCH}={wanted}: set it to 1 to capture steps as CUDA graphs, or to 0")
    return device.type == "cuda" and wanted == "1"


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


def models_at_once(device: torch.device, wanted: int, *, weights: int, batch: int, image_size: int) -> int:
    """Return how many models to train side by side: one on a processor, as many as fit on a GPU.

    If they do not fit all at once, it is in groups of about the same size.

    Args:
        device: where they are trained.
        wanted: number of models of the shard.
        weights: trained weights of one of them.
        batch: images a step.
        image_size: height and width of the images, in pixels.

    Raises:
        InputError: if not even one fits into what is free of the GPU's memory.
    """
    if device.type != "cuda":
        return 1
    free, everything = torch.cuda.mem_get_info(device)
    activations = max(batch * TRAINED, EVALUATION_BATCH * EVALUATED) * image_size**2
    fit = int(RESERVE * free / (4 * COPIES * weights + activations))
    if not fit:
        raise InputError(
            f"{device}: {free / 2**30:.1f} GiB of {everything / 2**30:.0f} are free, too little for one "
            f"model; {ELSEWHERE}"
        )
    return math.ceil(wanted / math.ceil(wanted / fit))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has ended, or hides that: the end of a capture may fail as well."""
    return any(isinstance(each, torch.OutOfMemoryError) for each in (error, error.__context__))


def fitting(
    work: Callable[[int], Result], at_once: int, progress: Callable[[str], None]
) -> tuple[Result, int]:
    """Do work for so many models at once, or for half as many if memory ends, and so on.

    Args:
        work: what is done, of the number of models.
        at_once: the number to begin with.
        progress: is told when it is halved.

    Returns:
        What `work` returned, and the number it was done with.

    Raises:
        InputError: if the memory does not suffice for one.
    """
    while True:
        try:
            return work(at_once), at_once
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        if at_once == 1:
            raise InputError(f"GPU: its memory does not suffice for one model; {ELSEWHERE}")
        # From here on nothing refers to what filled the memory.
        at_once = (at_once + 1) // 2
        progress(f"GPU: out of memory; {at_once} models side by side instead")
        gc.collect()
        torch.cuda.empty_cache()
