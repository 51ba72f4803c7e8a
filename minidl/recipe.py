"""How the small networks are trained: one recipe, for `minidl demo` and for `minidl train`.

SGD with Nesterov momentum and a cosine learning rate, weight decay on weight matrices only, slight label smoothing, and
images shifted by up to a pixel: nothing a reader has to look up twice, and the same for all four families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl import functional as F
from minidl.data import ArrayDataset, DataLoader
from minidl.data.digits import digits
from minidl.data.transforms import Compose, RandomShift, Resize
from minidl.nn import Module, Parameter
from minidl.optim import SGD, CosineAnnealingLR
from minidl.train import Trainer


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training run; each is an option of `minidl train`."""

    epochs: int = 20
    batch_size: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    image_size: int | None = None
    seed: int = 0
    device: str = "cpu"


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def load_data(name: str, image_size: int | None = None) -> tuple[ArrayDataset, ArrayDataset]:
    """The training and test images of "digits", or of a `.npz` file; training images are shifted by up to a pixel.

    With an image_size, batches are resized to that many rows and columns as they are read, after the shift.

    The file holds train_images (N, H, W, C) or (N, H, W), bytes or floating, train_labels (N,), the classes numbered
    0, 1, 2, ... without gaps, and test_images and test_labels like them. Bytes are scaled to [0, 1].

    Raises: ValueError that names the file and what is wrong in it; OSError when it cannot be opened.
    """
    for_test = None if image_size is None else Resize(image_size)
    for_training = RandomShift(1) if for_test is None else Compose([RandomShift(1), for_test])
    if name == "digits":
        return digits("train", for_training), digits("test", for_test)
    arrays = _read_arrays(name)
    train_images, test_images = (_images(name, key, arrays[key]) for key in ("train_images", "test_images"))
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{name}: train_images and test_images must be of one size, with the same channels; they are "
            f"{train_images.shape} and {test_images.shape}"
        )
    train_labels = _labels(name, "train_labels", arrays["train_labels"], len(train_images))
    test_labels = _labels(name, "test_labels", arrays["test_labels"], len(test_images))
    classes = np.unique(train_labels)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(
            f"{name}: train_labels must be the classes 0, 1, 2, ... without gaps, two at least; they go from "
            f"{classes[0]} to {classes[-1]} with {len(classes)} different values: number them anew"
        )
    if not np.isin(test_labels, classes).all():
        raise ValueError(
            f"{name}: test_labels must be classes of train_labels, 0 to {classes[-1]}; they go from "
            f"{test_labels.min()} to {test_labels.max()}"
        )
    return ArrayDataset(train_images, train_labels, for_training), ArrayDataset(test_images, test_labels, for_test)


def _read_arrays(name: str) -> dict[str, np.ndarray]:
    if not name.endswith(".npz"):
        raise ValueError(f'data must be "digits" or a file ending in .npz, got {name!r}')
    try:
        with open(name, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in ARRAYS if key in archive}
    except OSError:  # no such file, or no permission: it says so itself
        raise
    except Exception as error:  # NumPy raises almost anything for damaged bytes
        raise ValueError(
            f"{name} cannot be read: it must be an .npz file of arrays of numbers, as numpy.savez writes it; this one "
            "is damaged or another kind of file"
        ) from error
    missing = [key for key in ARRAYS if key not in arrays]
    if missing:
        raise ValueError(f"{name} has no {', '.join(missing)}; it must hold {', '.join(ARRAYS)}")
    return arrays


def _images(name: str, key: str, images: np.ndarray) -> np.ndarray:
    """As float32 (N, H, W, C)."""
    is_bytes = images.dtype == np.uint8
    if images.ndim not in (3, 4) or images.size == 0 or not (is_bytes or images.dtype.kind == "f"):
        raise ValueError(
            f"{name}: {key} must be (N, H, W, C) or (N, H, W), none of them 0, and uint8 (0 to 255) or floating; it is "
            f"{images.dtype} {images.shape}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        images = images.astype(np.float32) / np.float32(255 if is_bytes else 1)
    if not np.isfinite(images).all():
        raise ValueError(f"{name}: {key} has pixels that are NaN or infinite")
    return images[..., None] if images.ndim == 3 else images


def _labels(name: str, key: str, labels: np.ndarray, count: int) -> np.ndarray:
    """As int64 (N,)."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: {key} must be integers of shape ({count},), a class for each image; it is "
            f"{labels.dtype} {labels.shape}"
        )
    return labels.astype(np.int64)


def make_trainer(
    model: Module,
    data: tuple[ArrayDataset, ArrayDataset],
    recipe: Recipe,
    directory: Path,
    penalty: Callable[[Module], Any] | None = None,
    penalized: Sequence[Parameter] = (),
) -> Trainer:
    """A Trainer that trains `model` on `data` by the recipe and keeps its checkpoints in `directory`.

    penalty    a regularisation of the model's own, a scalar: half the weight decay times it is added to the loss
    penalized  the parameters that it regularises, which then have no other weight decay

    Raises: ValueError for a number of the recipe that cannot be.
    """
    train_set, test_set = data
    other = {id(p) for p in penalized}
    if recipe.batch_size > len(train_set):
        raise ValueError(f"a batch of {recipe.batch_size} images is more than the {len(train_set)} training images")
    weights = [p for p in model.parameters() if p.ndim > 1]
    optimizer = SGD(
        [
            {"params": [p for p in weights if id(p) not in other], "weight_decay": recipe.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim <= 1 or id(p) in other]},
        ],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
    )
    return Trainer(
        model,
        optimizer,
        DataLoader(train_set, recipe.batch_size, shuffle=True, drop_last=True, seed=recipe.seed, prefetch=2),
        DataLoader(test_set, 256),
        schedule=CosineAnnealingLR(optimizer, T_max=recipe.epochs, warmup=min(1, recipe.epochs - 1)),
        loss=lambda scores, labels: F.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing),
        device=recipe.device,
        directory=directory,
        penalty=None if penalty is None else lambda net: 0.5 * recipe.weight_decay * penalty(net),
    )
