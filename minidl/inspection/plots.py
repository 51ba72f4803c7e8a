"""Pictures of a training run, written as PNG files: learning curves, confusion matrices, gradient norms per layer.

matplotlib comes with the extra `show`: pip install "minidl[show]".
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def learning_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], path: str | Path) -> None:
    """Accuracy and loss, on the training and the test images, epoch by epoch: one column a network.

    histories   for each network train_loss, train_accuracy, test_loss and test_accuracy: a number an epoch
    """
    figure = _figure(columns=len(histories), rows=2)
    axes = figure.subplots(2, len(histories), sharex="col", sharey="row", squeeze=False)
    for column, (name, history) in enumerate(histories.items()):
        epochs = np.arange(1, len(history["train_loss"]) + 1)
        for split, style in (("train", "--"), ("test", "-")):
            axes[0, column].plot(epochs, 100 * np.array(history[f"{split}_accuracy"]), style, label=split)
            axes[1, column].plot(epochs, history[f"{split}_loss"], style, label=split)
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("epoch")
        axes[1, column].set_yscale("log")
        for row in (0, 1):
            axes[row, column].grid(alpha=0.3)
    axes[0, 0].set_ylabel("accuracy, %")
    axes[0, 0].set_ylim(80, 100.5)
    axes[1, 0].set_ylabel("cross-entropy")
    axes[0, 0].legend()
    figure.savefig(path)


def confusion_matrices(matrices: Mapping[str, np.ndarray], path: str | Path) -> None:
    """For each network, how many images of each class (row) were given each label (column); K×K counts each.

    Errors are what one looks for, so the colour shows them and leaves the diagonal, the right answers, grey.
    """
    columns = min(2, len(matrices))
    rows = math.ceil(len(matrices) / columns)
    figure = _figure(columns, rows, width=5.0, height=4.8)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, matrix) in zip(axes, matrices.items(), strict=False):
        K = len(matrix)
        errors = np.where(np.eye(K, dtype=bool), 0, matrix)
        axis.imshow(errors, cmap="Reds", vmin=0, vmax=max(6, 1.8 * errors.max()))  # light enough to read on
        for row, column in np.argwhere(matrix > 0):
            right = row == column
            axis.text(column, row, matrix[row, column], ha="center", va="center", color="0.55" if right else "black")
        axis.set_xticks(range(K))
        axis.set_yticks(range(K))
        axis.set_title(f"{name}: {errors.sum()} of {matrix.sum()} wrong")
        axis.set_xlabel("answer")
        axis.set_ylabel("truth")
    for axis in axes[len(matrices) :]:
        axis.set_visible(False)
    figure.savefig(path)


def gradient_norms(norms: Mapping[str, Mapping[str, Mapping[str, float]]], path: str | Path) -> None:
    """The norm of the gradient to each layer's weight, from the input (left) to the output (right), on a log scale.

    norms   for each network, for each moment ("before training", ...), what `gradients.gradient_norms` measured
    """
    figure = _figure(columns=len(norms), rows=1, height=3.4)
    axes = figure.subplots(1, len(norms), sharey=True, squeeze=False)[0]
    for axis, (name, moments) in zip(axes, norms.items(), strict=True):
        for moment, by_layer in moments.items():
            axis.plot(range(1, len(by_layer) + 1), by_layer.values(), "o-", markersize=3, label=moment)
        axis.set_yscale("log")
        axis.set_title(name)
        axis.set_xlabel("layer, input → output")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("‖gradient‖")
    axes[0].legend()
    figure.savefig(path)


def require_matplotlib() -> None:
    """Raises: ModuleNotFoundError with the command that installs matplotlib, when it is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "minidl[show]"', name="matplotlib")


def _figure(columns: int, rows: int, width: float = 3.2, height: float = 2.6) -> Any:
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width * columns + 0.6, height * rows + 0.4), dpi=120, layout="constrained")
