"""Readers: each returns a whole data set as arrays."""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

__all__ = ["READERS", "digits"]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 handwritten digits, which travel with the library.

    Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository: the 8x8 images of its test set, with 17 grey levels.

    Returns:
        images: uint8 [1797, 3, 32, 32], resized bilinearly, the three channels alike, 0 to 255.
        labels: int64 [1797], 0 to 9.
    """
    grey, labels = load_digits(return_X_y=True)
    small = np.rint(grey.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    large = [
        np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)) for image in small
    ]
    return np.repeat(np.stack(large)[:, None], 3, axis=1), labels.astype(np.int64)


READERS = {"digits": digits}
"""The data sets that a configuration can name."""
