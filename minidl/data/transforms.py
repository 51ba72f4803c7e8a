"""Transforms: functions from a batch of images (N, H, W, C) to a batch of images.

Each is called as `transform(images, generator)` and returns a new array. The random ones draw one choice per image from
the `generator` they are handed, and from minidl's global one when they are handed none; they keep no state, so the same
generator gives the same images. One image alone is a batch of one: `transform(image[None])[0]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl import backend
from minidl import functional as F
from minidl.data.dataset import Transform


def _check_batch(transform: object, images: np.ndarray) -> None:
    if images.ndim != 4:
        raise ValueError(
            f"{type(transform).__name__}: expected a batch of images (N, H, W, C), got shape {images.shape}; "
            "a single image is image[None]"
        )


def _check_pixels(transform: object, pixels: int) -> None:
    if not isinstance(pixels, int) or isinstance(pixels, bool) or pixels < 0:
        raise ValueError(f"{type(transform).__name__}: pixels must be an integer of at least 0, got {pixels!r}")


def _pad(images: np.ndarray, pixels: int) -> np.ndarray:
    sides = (pixels, pixels)
    return np.pad(images, ((0, 0), sides, sides, (0, 0)))  # (N, H + 2 pixels, W + 2 pixels, C)


@dataclass(frozen=True)
class Compose:
    """The given transforms, one after the other."""

    transforms: Sequence[Transform]

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        for transform in self.transforms:
            images = transform(images, generator)
        return images


@dataclass(frozen=True)
class ToFloat:
    """Integer pixels 0..maximum to float32 in [0, 1]: images / maximum.

    Raises: TypeError when the images are floating already; dividing those again would be a mistake.
    """

    maximum: int = 255

    def __post_init__(self) -> None:
        if not self.maximum > 0:
            raise ValueError(f"ToFloat: maximum must be positive, got {self.maximum!r}")

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch(self, images)
        if not np.issubdtype(images.dtype, np.integer):
            raise TypeError(f"ToFloat: expected integer pixels, got {images.dtype}; leave ToFloat out")
        return images.astype(np.float32) / np.float32(self.maximum)


@dataclass(frozen=True)
class Normalize:
    """(images - mean) / std, with one mean and std for all channels or one for each. The images keep their dtype.

    Raises: ValueError when a std is not positive or the number of channels differs; TypeError for integer images.
    """

    mean: float | Sequence[float]
    std: float | Sequence[float]

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"Normalize: every std must be positive, got {self.std}")

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch(self, images)
        if not np.issubdtype(images.dtype, np.floating):
            raise TypeError(f"Normalize: expected floating images, got {images.dtype}; put ToFloat() before it")
        mean, std = np.asarray(self.mean, images.dtype), np.asarray(self.std, images.dtype)  # () or (C,)
        for name, values in (("mean", mean), ("std", std)):
            if values.shape not in ((), (images.shape[-1],)):
                raise ValueError(
                    f"Normalize: images {images.shape} have {images.shape[-1]} channels on their last axis, "
                    f"{name} has shape {values.shape}; give one number, or one for each channel"
                )
        normalized: np.ndarray = (images - mean) / std
        return normalized


@dataclass(frozen=True)
class Pad:
    """`pixels` zeros on each of the four sides: (N, H, W, C) to (N, H + 2 pixels, W + 2 pixels, C)."""

    pixels: int

    def __post_init__(self) -> None:
        _check_pixels(self, self.pixels)

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch(self, images)
        return _pad(images, self.pixels)


@dataclass(frozen=True)
class Resize:
    """Images of another size, (N, size, size, C) or (N, *size, C), by bilinear interpolation: `functional.interpolate`.

    Raises: TypeError for integer images.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        sizes = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if len(sizes) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
            raise ValueError(f"Resize: size must be a positive integer or two of them, got {self.size!r}")

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch(self, images)
        if not np.issubdtype(images.dtype, np.floating):
            raise TypeError(f"Resize: expected floating images, got {images.dtype}; put ToFloat() before it")
        resized: np.ndarray = F.interpolate(images, self.size, mode="bilinear")  # (N, size, size, C)
        return resized


@dataclass(frozen=True)
class RandomShift:
    """Each image moved by up to `pixels` up or down and left or right, every shift equally likely; zeros move in."""

    pixels: int

    def __post_init__(self) -> None:
        _check_pixels(self, self.pixels)

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch(self, images)
        generator = backend.generator() if generator is None else generator
        n, height, width, _ = images.shape
        top, left = generator.integers(0, 2 * self.pixels + 1, size=(2, n))  # a window's corner in the padded image
        rows = top[:, None, None] + np.arange(height)[:, None]  # (N, H, 1)
        columns = left[:, None, None] + np.arange(width)  # (N, 1, W)
        moved: np.ndarray = _pad(images, self.pixels)[np.arange(n)[:, None, None], rows, columns]  # (N, H, W, C)
        return moved


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Each image mirrored left to right with probability `probability`."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"RandomHorizontalFlip: probability must lie in [0, 1], got {self.probability!r}")

    def __call__(self, images: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch(self, images)
        generator = backend.generator() if generator is None else generator
        flipped = generator.random(len(images)) < self.probability  # (N,)
        return np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
