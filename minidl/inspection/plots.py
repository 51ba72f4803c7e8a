"""Pictures, written as files: learning curves, confusion matrices, gradient norms per layer; a profile's roofline.

matplotlib comes with the extra `show`: pip install "minidl[show]".
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.inspection.profile import Profile
from minidl.inspection.timings import Timing, Work


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


def roofline(profile: Profile, path: str | Path, depth: int | None = None) -> None:
    """A profile's layers down to `depth`: their speed under the machine's roofline, and their times one below another.

    Above, a layer stands at its arithmetic intensity (see `ceilings`), the larger the more of the time it takes; layers
    without multiply-adds have no place there. Below, a line across each bar is the time at the roofline. Where layers
    inside a layer are shown, it is shown with what is computed in none of them.
    """
    own = {layer.name: layer for layer in profile.layers}
    rows = profile.rows(depth)
    names = [row.name for row in rows]
    layers = [own[row.name] if any(name.startswith(f"{row.name}.") for name in names) else row for row in rows]
    layers = [layer for layer in (*layers, *profile.rest) if layer.seconds > 0]
    bars = round(0.19 * len(layers) + 0.5, 1)  # inches, which are whole pixels
    figure = _figure(columns=1, rows=1, width=8.0, height=4.2 + bars)
    above, below = figure.subplots(2, height_ratios=[4.2, bars])
    passes = {"forward": [layer.forward for layer in layers]}
    if profile.training:
        passes["backward"] = [layer.backward for layer in layers]
    _roof(above, profile, passes)
    _bars(below, layers, passes)
    figure.savefig(path)


STYLES = {"forward": ("o", "tab:blue"), "backward": ("v", "tab:orange")}


def _roof(axis: Any, profile: Profile, passes: Mapping[str, Sequence[Work]]) -> None:
    flops, bandwidth = profile.ceilings
    ridge = flops / bandwidth  # the intensity at which both ceilings take the same time
    computing = {name: [work for work in works if work.macs] for name, works in passes.items()}
    intensities = [work.intensity for works in computing.values() for work in works]
    left, right = min([ridge / 8, *intensities]) / 1.5, max([8 * ridge, *intensities]) * 1.5
    heights = [min(x * bandwidth, flops) / 1e9 for x in (left, ridge, right)]
    axis.plot([left, ridge, right], heights, "k-", label=f"{bandwidth / 1e9:.3g} GB/s, then {flops / 1e9:.3g} GFLOP/s")
    for name, works in computing.items():
        marker, colour = STYLES[name]
        x, y = [work.intensity for work in works], [work.flops / 1e9 for work in works]
        areas = [20 + 400 * work.seconds / profile.seconds for work in works]
        axis.scatter(x, y, areas, colour, marker=marker, alpha=0.5, label=name)
    for scale in (axis.set_xscale, axis.set_yscale):
        scale("log")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter("{x:g}")
    axis.set_xlabel("floating-point operations for each byte moved")
    axis.set_ylabel("GFLOP/s")
    axis.set_title(f"{profile.kind}, {'training' if profile.training else 'inference'}, {_batch(profile)}")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", markerscale=0.5)


def _bars(axis: Any, layers: Sequence[Timing], passes: Mapping[str, Sequence[Work]]) -> None:
    places = np.arange(len(layers))
    start = np.zeros(len(layers))
    for name, works in passes.items():
        milliseconds = 1e3 * np.array([work.seconds for work in works])
        axis.barh(places, milliseconds, left=start, color=STYLES[name][1], label=name)
        limits = start + 1e3 * np.array([work.limit for work in works])
        known = [i for i, work in enumerate(works) if work.limit]
        axis.vlines(limits[known], places[known] - 0.4, places[known] + 0.4, "black")
        start = start + milliseconds
    axis.set_yticks(places, [layer.name for layer in layers], fontsize="small")
    axis.set_ylim(len(layers) - 0.4, -0.6)
    axis.set_xlabel("milliseconds; a line: at the roofline")


def _batch(profile: Profile) -> str:
    N, *size = profile.input_shape
    return f"{N} × {'×'.join(map(str, size))}, {profile.device}"


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
