"""Datasets: numbered pairs of an image and its label, kept on the host as NumPy arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# A transform maps a batch of images to a batch of images. Its randomness comes from the generator that it is handed.
Transform = Callable[[np.ndarray, np.random.Generator | None], np.ndarray]


class Dataset:
    """What a `DataLoader` reads from. A dataset of your own defines `__len__` and `__getitem__`:

        class Squares(Dataset):
            def __len__(self): return 100
            def __getitem__(self, i): return np.full((4, 4, 1), i * i, np.float32), i

    and may override `batch` where many items are read faster together than one by one.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__: the number of its items")

    def __getitem__(self, i: int) -> tuple[np.ndarray, Any]:
        """Item `i`: its image (H, W, C) and its label."""
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__: item i as (image, label)")

    def batch(
        self, indices: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The items at `indices`, stacked: images (N, H, W, C) and labels (N,).

        `generator` is the source of every random choice: the loader hands over one that depends only on its seed, the
        epoch and the batch. This default reads item by item and has no choices to make.
        """
        images, labels = zip(*(self[int(i)] for i in indices), strict=True)
        return np.stack(images), np.asarray(labels)


class ArrayDataset(Dataset):
    """Arrays as a dataset: item i is `(images[i], labels[i])`.

    `transform(images, generator)` is applied to each batch as it is read, never to the stored arrays. Reading a single
    item draws from the global generator (`minidl.manual_seed`); a loader's batches draw from the loader's own.

    Raises: ValueError when the two arrays differ in length; TypeError for anything that is not an array of numbers.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Transform | None = None) -> None:
        self.images, self.labels = np.asarray(images), np.asarray(labels)
        for name, array, given in (("images", self.images, images), ("labels", self.labels, labels)):
            if array.ndim == 0 or array.dtype == object:
                raise TypeError(f"ArrayDataset: {name} must be a NumPy array, N first; got a {type(given).__name__}")
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"ArrayDataset: {len(self.images)} images but {len(self.labels)} labels; each image needs one label "
                f"(images {self.images.shape}, labels {self.labels.shape})"
            )
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[np.ndarray, Any]:
        images, labels = self.batch([operator.index(i)])
        return images[0], labels[0]

    def batch(
        self, indices: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        indices = np.asarray(indices, dtype=np.intp)
        images, labels = self.images[indices], self.labels[indices]  # copies: (N, H, W, C), (N,)
        return (images if self.transform is None else self.transform(images, generator)), labels


class Subset(Dataset):
    """The items of `dataset` at `indices`, in that order.

    Raises: IndexError when an index lies outside the dataset.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset = dataset
        self.indices = np.array([operator.index(i) for i in indices], dtype=np.intp)
        outside = self.indices[(self.indices < 0) | (self.indices >= len(dataset))]
        if outside.size:
            raise IndexError(f"Subset: index {outside[0]} is outside the dataset's {len(dataset)} items")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> tuple[np.ndarray, Any]:
        return self.dataset[int(self.indices[operator.index(i)])]

    def batch(
        self, indices: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset.batch(self.indices[np.asarray(indices, dtype=np.intp)], generator)
