"""How much work a case is: multiply-adds, and bytes that have to be moved.

Multiply-adds are those of the direct algorithm, whatever algorithm an engine has: N·OH·OW·KH·KW·C·F for a convolution.
They count the work that is asked for; an engine that saves some of it gets more done per second. A backward pass has
two products for each one of the forward pass, and counts twice as much. (The gradient to the images, which the first
layer of a network need not compute, is counted.)
"""

from __future__ import annotations

from benchmarks import modules
from benchmarks.case import BACKWARD, EPOCH, STEP, Case
from minidl.inspection.summary import summary
from minidl.inspection.tracing import following
from minidl.nn import init


def macs(case: Case) -> int:
    """Multiply-adds of one run."""
    return _passes(case) * _forward(case)[0]


def moved_bytes(case: Case) -> int:
    """What one run moves at least, in float32, if each layer reads its input and its weights and writes its output."""
    return _passes(case) * _forward(case)[1]


def _passes(case: Case) -> int:
    return 3 if case.mode in (BACKWARD, STEP, EPOCH) else 1


def _forward(case: Case) -> tuple[int, int]:
    """Multiply-adds and bytes of the forward pass."""
    if case.what in ("block", "network"):
        return _module(case)
    if case.what == "conv2d":
        (N, H, W, C), F, (KH, KW), (OH, OW) = (
            case.shape,
            case.options["filters"],
            case.options["kernel"],
            case.output_size,
        )
        return N * OH * OW * KH * KW * C * F, 4 * (N * H * W * C + KH * KW * C * F + N * OH * OW * F)
    if case.what == "max_pool2d":
        (N, H, W, C), (OH, OW) = case.shape, case.output_size
        return 0, 4 * (N * H * W * C + N * OH * OW * C)
    if case.what == "batch_norm":
        N, H, W, C = case.shape
        return 0, 2 * 4 * N * H * W * C
    if case.what in ("add", "relu", "matmul"):
        rows, columns = case.shape
        arrays = 2 if case.what == "relu" else 3
        return rows * columns**2 if case.what == "matmul" else 0, arrays * 4 * rows * columns
    return 0, 0  # an import


def _module(case: Case) -> tuple[int, int]:
    """What `summary` counts for one image, times the images. What a layer has written, the next one reads."""
    with init.placeholders(), following(lambda step: None):  # no weight is drawn, none is computed
        module = modules.as_run(case, modules.create(case.options))
    counted = summary(module, case.shape[1:], training=case.trains)
    images = case.options.get("images", case.batch)  # of an epoch
    return images * counted.macs, 4 * counted.parameters + 2 * images * counted.activation_bytes
