"""How the small networks are trained: one recipe, for `minidl demo` and for `minidl train`.

SGD with Nesterov momentum and a cosine learning rate, weight decay on weight matrices only, slight label smoothing, and
images shifted by up to a pixel: nothing a reader has to look up twice, and the same for all four families.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl import functional as F
from minidl.data import ArrayDataset, DataLoader
from minidl.data.digits import digits
from minidl.data.transforms import RandomShift
from minidl.nn import Module
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
    seed: int = 0
    device: str = "cpu"


def load_data(name: str) -> tuple[ArrayDataset, ArrayDataset]:
    """The training and test images of "digits", or of a `.npz` file.

    The file holds arrays train_images (N, H, W, C) or (N, H, W), train_labels (N,), test_images and test_labels. Bytes
    are scaled to [0, 1].
    """
    shift = RandomShift(1)
    if name == "digits":
        return digits("train", shift), digits("test")
    if not name.endswith(".npz"):
        raise ValueError(f'data: expected "digits" or a file ending in .npz, got {name!r}')
    expected = ("train_images", "train_labels", "test_images", "test_labels")
    with np.load(name, allow_pickle=False) as archive:
        missing = [key for key in expected if key not in archive]
        if missing:
            raise ValueError(f"data: {name} has no {', '.join(missing)}; it must hold {', '.join(expected)}")
        arrays = {key: archive[key] for key in expected}
    for key in ("train_images", "test_images"):
        images = arrays[key]
        images = images[..., None] if images.ndim == 3 else images
        scale = 255 if images.dtype == np.uint8 else 1
        arrays[key] = images.astype(np.float32) / np.float32(scale)
    return (
        ArrayDataset(arrays["train_images"], arrays["train_labels"].astype(np.int64), shift),
        ArrayDataset(arrays["test_images"], arrays["test_labels"].astype(np.int64)),
    )


def make_trainer(model: Module, data: tuple[ArrayDataset, ArrayDataset], recipe: Recipe, directory: Path) -> Trainer:
    """A Trainer that trains `model` on `data` by the recipe and keeps its checkpoints in `directory`."""
    train_set, test_set = data
    model.to(recipe.device)
    optimizer = SGD(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in model.parameters() if p.ndim == 1]},
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
        schedule=CosineAnnealingLR(optimizer, T_max=recipe.epochs, warmup=1),
        loss=lambda scores, labels: F.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing),
        device=recipe.device,
        directory=directory,
    )
