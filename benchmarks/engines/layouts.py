"""Arrays of minidl in the layouts of the engines that have channels first, and back."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def channels_first(name: str, array: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) → (N, C, H, W), filters, called "weight", (KH, KW, C, F) → (F, C, KH, KW); others as is."""
    if array.ndim != 4:
        return array
    return np.ascontiguousarray(array.transpose((3, 2, 0, 1) if name == "weight" else (0, 3, 1, 2)))


def channels_last(name: str, array: np.ndarray, parameters: Collection[str] = ("weight",)) -> np.ndarray:
    """The way back. Of `parameters`, a matrix (O, I) → (I, O), too."""
    if array.ndim == 4:
        return array.transpose((2, 3, 1, 0) if name in parameters else (0, 2, 3, 1))
    return array.T if name in parameters else array
