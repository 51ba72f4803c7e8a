"""Pictures of a training run, written as PNG files: learning curves, confusion matrices, gradient norms per layer.

matplotlib comes with the extra `show`: pip install "minidl[show]".
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def learning_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]], path: str | Path, objective: str = "loss"
) -> None:
    """Accuracy and loss, on the training and the test images, epoch by epoch: one column a network.

    histories   for each network train_loss, train_accuracy, test_loss and test_accuracy: a number an epoch
    objective   what the loss is; it is written under the curves
    """
    figure = _figure(columns=len(histories), rows=2)
    axes = figure.subplots(2, len(histories), sharex="col", sharey="row", squeeze=False)
    for column, (name, history) in enumerate(histories.items()):
        epochs = np.arange(1, len(history["train_loss"]) + 1)
        for split, style in (("train", "o--"), ("test", "o-")):  # told apart without colours, too
            axes[0, column].plot(epochs, 100 * np.array(history[f"{split}_accuracy"]), style, label=split, markersize=2)
            axes[1, column].plot(epochs, history[f"{split}_loss"], style, label=split, markersize=2)
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("epoch")
        _count(axes[1, column], len(epochs))
        for row in (0, 1):
            axes[row, column].grid(alpha=0.3)
    _log_scale(axes[1, 0])
    last = min(min(history["train_accuracy"][-1], history["test_accuracy"][-1]) for history in histories.values())
    axes[0, 0].set_ylim(100 * min(0.8, last - 0.05), 101)  # the end of training; its beginning may be below the edge
    axes[0, 0].set_ylabel("accuracy, %")
    axes[1, 0].set_ylabel("training objective")
    axes[0, 0].legend(loc="lower right")
    figure.supxlabel(textwrap.fill(f"training objective: {objective}", 48 * len(histories)), fontsize="small")
    figure.savefig(path)


def confusion_matrices(matrices: Mapping[str, np.ndarray], path: str | Path) -> None:
    """For each network, how many images of each class (row) were taken for which (column); K×K counts each.

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
            axis.text(column, row, matrix[row, column], ha="center", va="center", color="0.4" if right else "black")
        axis.set_xticks(range(K))
        axis.set_yticks(range(K))
        axis.set_title(f"{name}: {errors.sum()} of {matrix.sum()} wrong")
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class")
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
            style = "o--" if moment == next(iter(moments)) else "o-"
            axis.plot(range(1, len(by_layer) + 1), by_layer.values(), style, markersize=3, label=moment)
        _count(axis, max(map(len, moments.values())))
        axis.set_title(name)
        axis.set_xlabel("weight, input → output")
        axis.grid(alpha=0.3)
    _log_scale(axes[0])
    axes[0].set_ylabel("‖∂L/∂W‖")
    axes[0].legend()
    figure.savefig(path)


def _count(axis: Any, n: int) -> None:
    """An x axis of the whole numbers 1 to n."""
    axis.set_xlim(0.5, n + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _log_scale(axis: Any) -> None:
    """A logarithmic y axis (and those it is shared with), with plain numbers at 1, 2 and 5 times each power of ten."""
    axis.set_yscale("log", subs=[])
    axis.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axis.yaxis.set_major_formatter("{x:g}")


def require_matplotlib() -> None:
    """Raises: ModuleNotFoundError with the command that installs matplotlib, when it is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "minidl[show]"', name="matplotlib") from error


def _figure(columns: int, rows: int, width: float = 3.2, height: float = 2.6) -> Any:
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width * columns + 0.6, height * rows + 0.4), dpi=120, layout="constrained")
