"""The handwritten digits that come with minidl: 1,797 images of 8×8 pixels, enough to learn on in seconds.

They are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998), written by 13
people. `digits.LICENSE.txt` beside this file has the source, the licence (CC BY 4.0) and what was changed.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from minidl.data.dataset import ArrayDataset, Transform


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """All digits in their original order: images (1797, 8, 8, 1), float32 in [0, 1]; labels (1797,), int64, 0 to 9."""
    packed = resources.files("minidl.data").joinpath("digits.npz")
    with packed.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]  # uint8, 0..16: how many of a 4×4 block's pixels are ink
    return images[..., None].astype(np.float32) / np.float32(16), labels.astype(np.int64)


def digits(split: str = "train", transform: Transform | None = None) -> ArrayDataset:
    """The digits as a dataset: "train" (1,437 images), "test" (360) or "all" (1,797), each in the original order.

    The split never changes and no seed enters it: line the images up by class, in their original order within a class,
    and every fifth one, from the first, is a test image. So each class is split 4 : 1. All 13 writers appear in both
    parts: the test accuracy is that for new digits of known hands.

    Raises: ValueError for any other split.
    """
    images, labels = load_digits()
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[np.argsort(labels, kind="stable")[::5]] = True
    chosen = {"train": ~is_test, "test": is_test, "all": np.ones_like(is_test)}
    if split not in chosen:
        raise ValueError(f'digits: split must be "train", "test" or "all", got {split!r}')
    return ArrayDataset(images[chosen[split]], labels[chosen[split]], transform)
