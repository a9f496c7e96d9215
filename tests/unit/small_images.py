"""A few noisy images of four classes that differ in brightness, to train on in a second."""

import numpy as np

from random_mask.training.images import Images

SPLITS = {
    "retain": np.arange(24),
    "forget": np.arange(24, 32),
    "validation": np.arange(32, 40),
    "test": np.arange(40, 48),
}
"""Of 48 such images."""


def small_images(count: int) -> Images:
    """Return `count` images of 32x32 pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 4
    pixels = rng.integers(0, 60, size=(count, 3, 32, 32)) + 60 * labels[:, None, None, None] // 2
    arrays = {"pixels": pixels.astype(np.uint8), "labels": labels.astype(np.int64)}
    statistics = {"mean": np.full(3, 100, np.float32), "std": np.full(3, 50, np.float32)}
    return Images.from_arrays(arrays | statistics)
