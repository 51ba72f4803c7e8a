"""The three products of a convolution, each by the algorithm that is asked for or, with "auto", by the faster one.

"im2col"     columns.py: windows as rows of a matrix, one product
"winograd"   winograd.py: a quarter of the multiplications, for 3×3 filters of stride 1
"naive"      minidl/naive/: the loops of the definition, on the host; for a few pixels
"""

from __future__ import annotations

import numpy as np

from minidl import naive
from minidl.backend import Array, array_module, device_of, to_device, to_host
from minidl.kernels import columns, winograd
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.tiles import is_constant
from minidl.kernels.window import Window

SMALL_WEIGHT = 2 << 20  # bytes: it fits a core's own cache
ALGORITHMS = ("auto", "im2col", "winograd", "naive")


def check_algorithm(op: str, algorithm: str, window: Window, groups: int) -> None:
    """Raises: ValueError for an algorithm that does not exist, or does not compute such a convolution."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{op}: algorithm must be one of {', '.join(map(repr, ALGORITHMS))}; got {algorithm!r}")
    if algorithm == "winograd" and not winograd.applies(window, groups):
        raise ValueError(
            f'{op}: algorithm="winograd" computes 3×3 filters with stride 1, dilation 1 and groups=1, got filters of '
            f"{window.kernel[0]}×{window.kernel[1]} with stride {window.stride}, dilation {window.dilation} and "
            f'groups={groups}; "auto" uses it where it can'
        )


def convolve(x: Array, weight: Array, window: Window, groups: int, algorithm: str, epilogue: Epilogue) -> Array:
    """Y = X ∗ W, and the epilogue: x (N, H, W, C), weight (KH, KW, C/G, F) → (N, OH, OW, F)."""
    if weight.size == 0:  # no channels: nothing to add up
        xp, shape = array_module(x), (len(x), *window.output_size(*x.shape[1:3]), weight.shape[3])
        return epilogue.applied(xp.zeros(shape, dtype=x.dtype))
    if algorithm == "naive":
        y = naive.conv2d(to_host(window.pad(x)), to_host(weight), None, window.stride, 0, window.dilation, groups)
        return epilogue.applied(to_device(y, device_of(x)))
    if _by_winograd(algorithm, x, weight.shape[3], window, groups, filters_kept=is_constant(weight)):
        return winograd.convolve(x, weight, window, epilogue)
    return columns.convolve(x, weight, window, groups, epilogue)


def convolve_input_gradient(
    g: Array, weight: Array, window: Window, groups: int, algorithm: str, H: int, W: int
) -> Array:
    """Gx (N, H, W, C) from g (N, OH, OW, F) and the weight.

    With stride 1 it is again a convolution: each pixel collects from the windows that it was in. The filters are turned
    around, their channels and filters exchanged; the padding is what was missing to the full overlap.
    """
    if algorithm == "naive":
        x = np.zeros(window.padded_shape(len(g), H, W, weight.shape[2] * groups), dtype=g.dtype)
        to_x = _naive_gradients(g, x, weight, window, groups)[0]
        return window.crop(to_device(to_x, device_of(g)), H, W)
    backwards = window.backwards()
    if backwards is None or groups > 1:
        return columns.convolve_input_gradient(g, weight, window, groups, H, W)
    N, OH, OW, F = g.shape
    if F > N * OH * OW and not _by_winograd(algorithm, g, weight.shape[2], backwards, groups):
        # More weights than columns: to turn those around takes longer than to add these up.
        return columns.convolve_input_gradient(g, weight, window, groups, H, W)
    turned = weight[::-1, ::-1].swapaxes(2, 3)  # (KH, KW, F, C), a view
    if weight.nbytes < SMALL_WEIGHT:  # a copy takes no time then, and products with it take less
        turned = array_module(weight).ascontiguousarray(turned)
    return convolve(g, turned, backwards, groups, algorithm, Epilogue())


def convolve_weight_gradient(x: Array, g: Array, window: Window, groups: int, algorithm: str) -> Array:
    """Gw (KH, KW, C/G, F) from x (N, H, W, C) and g (N, OH, OW, F)."""
    F = g.shape[3]
    if x.shape[3] == 0:
        return array_module(x).zeros((*window.kernel, 0, F), dtype=x.dtype)
    if algorithm == "naive":
        weight = np.zeros((*window.kernel, x.shape[3] // groups, F), dtype=x.dtype)
        return to_device(_naive_gradients(g, window.pad(x), weight, window, groups)[1], device_of(x))
    if _by_winograd(algorithm, x, F, window, groups):
        return winograd.convolve_weight_gradient(x, g, window)
    return columns.convolve_weight_gradient(x, g, window, groups)


def _naive_gradients(g: Array, x: Array, weight: Array, window: Window, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The gradients to x, which has its padding already, and to the weight."""
    on_host = to_host(g), to_host(x), to_host(weight)
    to_x, to_weight, _ = naive.conv2d_backward(*on_host, window.stride, 0, window.dilation, groups)
    return to_x, to_weight


def _by_winograd(algorithm: str, x: Array, F: int, window: Window, groups: int, filters_kept: bool = False) -> bool:
    """Whether the algorithm is "winograd", or "auto" comes to that: on the host, where it was measured, and not in
    float16, which is too coarse."""
    if algorithm != "auto":
        return algorithm == "winograd"
    if array_module(x) is not np or x.dtype == np.float16 or not winograd.applies(window, groups):
        return False
    N, H, W, C = x.shape
    return winograd.is_faster(N, *window.output_size(H, W), C, F, filters_kept)
