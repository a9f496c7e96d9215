"""All randomness, from one root seed.

Model i of a fleet depends on (root seed, role of the fleet, i) and on nothing else: not on the size of the
fleet, its shards, or the models trained before it.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator", "seed_of"]


def seed_of(root: int, role: str, index: int, purpose: str) -> int:
    """Return a seed in [0, 2**63) that differs for every combination of arguments.

    Args:
        root: the seed of the experiment.
        role: the fleet, for example `oracle` or `random_mask/original-0`.
        index: number of the model in its fleet.
        purpose: what the random numbers are for: `init`, `order`, `mask`...
    """
    digest = hashlib.sha256(f"{root}\n{role}\n{index}\n{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(root: int, role: str, index: int, purpose: str) -> np.random.Generator:
    """Return a NumPy generator seeded by `seed_of`."""
    return np.random.Generator(np.random.PCG64(seed_of(root, role, index, purpose)))
