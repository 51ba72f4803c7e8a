"""Judges of exercise 26: sums and means of windows, and their gradient."""

import numpy as np
import oracle
import pytest

from minidl import functional as F
from minidl.exercises.judging import judge, require, untouched
from minidl.kernels.pooling import spread_windows, sum_windows
from minidl.kernels.window import Window
from minidl.tensor import Tensor

pytestmark = pytest.mark.exercise("average-pool")

rng = np.random.default_rng(26)


def added_back(g, H, W, kernel, stride, padding=0, dilation=1):
    """Zeros (N, H, W, C), and each g added to every element of its window."""
    N, OH, OW, C = g.shape
    rows = np.repeat(g.reshape(N, OH * OW, 1, C), kernel[0] * kernel[1], axis=2)  # (N, OH·OW, KH·KW, C)
    return oracle.fold(rows.reshape(N, OH * OW, -1), (H, W), kernel, dilation, padding, stride)


# ---- sum_windows


def test_sums_and_means_of_two_windows():
    """windows of 2×2 over two rows of three: their sums, and with divisor=4 their means"""
    x = np.array([[1.0, 5.0, 2.0], [4.0, 2.0, 7.0]]).reshape(1, 2, 3, 1)
    for divisor, wanted in (1, [12.0, 16.0]), (4, [3.0, 4.0]):
        judge(
            f"sum_windows(x, Window(kernel=(2, 2)), divisor={divisor})",
            sum_windows(x, Window((2, 2)), divisor),
            np.array(wanted).reshape(1, 1, 2, 1),
            given={"x[0, :, :, 0]": x[0, :, :, 0]},
            mistakes={"each sum is divided by the number of elements": np.array([3.0, 4.0]).reshape(1, 1, 2, 1)},
        )


def test_windows_of_all_kinds():
    """overlap, gaps, a remainder, padding on some sides, where all counts as 0; KH is not KW"""
    x = rng.normal(size=(2, 8, 7, 3))
    call = "sum_windows(x, Window(kernel=(3, 2)))"
    with untouched(call, x=x):
        y = sum_windows(x, Window((3, 2)))
    judge(call, y, oracle.avg_pool2d(x, (3, 2), 1, divisor_override=1), given={"x.shape": x.shape})
    y = sum_windows(x, Window((2, 3), (3, 2), ((1, 1), (1, 1))))
    call = "sum_windows(x, Window(kernel=(2, 3), stride=(3, 2), padding=((1, 1), (1, 1))))"
    judge(call, y, oracle.avg_pool2d(x, (2, 3), (3, 2), (1, 1), divisor_override=1), given={"x.shape": x.shape})
    window = Window((2, 3), padding=((1, 0), (0, 2)), dilation=(3, 2))
    wanted = oracle.conv2d(x, np.ones((2, 3, 1, 3)), padding=((1, 0), (0, 2)), dilation=(3, 2), groups=3)
    judge(f"sum_windows(x, {window})", sum_windows(x, window), wanted, given={"x.shape": x.shape})


def test_a_divisor_for_each_place():
    """windows at the border have fewer elements, so the divisor is an array (OH, OW, 1); in float32"""
    x = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    counts = np.array([[4.0, 6.0, 6.0, 4.0], [6.0, 9.0, 9.0, 6.0], [4.0, 6.0, 6.0, 4.0]], np.float32)
    judge(
        "sum_windows(x, Window(kernel=(3, 3), padding=((1, 1), (1, 1))), divisor), in float32",
        sum_windows(x, Window((3, 3), padding=((1, 1), (1, 1))), counts[..., None]),
        oracle.avg_pool2d(x, 3, 1, 1, count_include_pad=False).astype(np.float32),
        given={"x.shape": x.shape, "divisor[:, :, 0]": counts},
        tolerance=1e-5,
        mistakes={"the array of divisors is ignored": oracle.avg_pool2d(x, 3, 1, 1, divisor_override=1)},
    )


def test_a_window_as_large_as_the_image():
    """global average pooling: one window of H×W, and the mean of each channel comes out"""
    x = rng.normal(size=(2, 4, 5, 3))
    judge(
        "sum_windows(x, Window(kernel=(4, 5)), divisor=20)",
        sum_windows(x, Window((4, 5)), 20),
        np.sum(x, axis=(1, 2)).reshape(2, 1, 1, 3) / 20,
        given={"x.shape": x.shape},
    )


def test_a_last_window_that_ends_outside():
    """with ceil_mode the last windows hang over the image: what lies outside counts as 0"""
    x = rng.normal(size=(2, 6, 7, 2))
    judge(
        "sum_windows(x, Window(kernel=(3, 2), stride=(2, 2), ceil_mode=True))",
        sum_windows(x, Window((3, 2), (2, 2), ceil_mode=True)),
        oracle.avg_pool2d(x, (3, 2), 2, ceil_mode=True, divisor_override=1),
        given={"x.shape": x.shape},
    )


# ---- spread_windows


def test_to_three_pixels():
    """two windows of two over three pixels: the one in the middle gets something from both"""
    g = np.array([1.0, 10.0]).reshape(1, 1, 2, 1)
    judge(
        "spread_windows(g, Window(kernel=(1, 2)), H=1, W=3)",
        spread_windows(g, Window((1, 2)), 1, 3),
        np.array([1.0, 11.0, 10.0]).reshape(1, 1, 3, 1),
        given={"g[0, 0, :, 0]": g[0, 0, :, 0]},
        mistakes={
            "one window overwrites the other: `=`, where `+=` belongs": np.array([1.0, 10.0, 10.0]).reshape(1, 1, 3, 1),
            "one position overwrites the other: `=`, where `+=` belongs": np.array([1.0, 1.0, 10.0]).reshape(
                1, 1, 3, 1
            ),
            "each g is divided by the number of elements: that has been done before": np.array([0.5, 5.5, 5.0]).reshape(
                1, 1, 3, 1
            ),
        },
    )


def test_to_the_pixels_of_many_windows():
    """two images, three channels; overlap, gaps, pixels that no window reaches"""
    for kernel, stride, dilation, size in (
        ((3, 2), (1, 1), (1, 1), (6, 6)),
        ((2, 3), (3, 2), (1, 1), (3, 3)),
        ((3, 3), (2, 1), (1, 1), (3, 5)),
        ((3, 2), (2, 3), (2, 3), (2, 2)),
    ):
        g = rng.normal(size=(2, *size, 3))
        call = f"spread_windows(g, Window({kernel}, {stride}, dilation={dilation}), H=8, W=7)"
        with untouched(call, g=g):
            y = spread_windows(g, Window(kernel, stride, dilation=dilation), 8, 7)
        judge(call, y, added_back(g, 8, 7, kernel, stride, 0, dilation), given={"g.shape": g.shape})


def test_the_padding_is_cut_off():
    """one row of padding above, two columns on the left: what they get is dropped; once with stride 1, once with 2"""
    for stride, size in ((1, 1), (4, 6)), ((2, 2), (2, 3)):
        g = rng.normal(size=(2, *size, 2)).astype(np.float32)
        padded = added_back(g, 5, 7, (2, 2), stride).astype(np.float32)  # the image of 4×5 with its padding
        judge(
            f"spread_windows(g, Window((2, 2), {stride}, padding=((1, 0), (2, 0))), H=4, W=5), in float32",
            spread_windows(g, Window((2, 2), stride, ((1, 0), (2, 0))), 4, 5),
            padded[:, 1:, 2:],
            given={"g.shape": g.shape},
            mistakes={"the upper left part of the padded image is taken": padded[:, :4, :5]},
            tolerance=1e-5,
        )


# ---- both


def test_the_gradient_of_a_mean():
    """F.avg_pool2d and its backward, where windows at the border have fewer elements; what central differences say"""
    x, g = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(2, 3, 2, 2))
    options = {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}
    tensor = Tensor(x, requires_grad=True)
    y = F.avg_pool2d(tensor, **options)
    y.backward(Tensor(g))
    (wanted,) = oracle.numeric_gradient(lambda x: oracle.avg_pool2d(x, **options), [x], g)
    call = "F.avg_pool2d(x, kernel_size=3, stride=2, padding=1, count_include_pad=False)"
    judge(call, y, oracle.avg_pool2d(x, **options), given={"x.shape": x.shape})
    judge(f"{call}.backward(g)", tensor.grad, wanted, given={"x.shape": x.shape}, tolerance=1e-6)


def test_windows_of_one_pixel():
    """a window of 1×1 sums a single pixel; what comes out is a new array all the same; float32 stays float32"""
    x = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    for divisor in 1, 2:
        call = f"sum_windows(x, Window(kernel=(1, 1)), divisor={divisor}), in float32"
        with untouched(call, x=x):
            y = sum_windows(x, Window((1, 1)), divisor)
        judge(call, y, x / np.float32(divisor), given={"x.shape": x.shape}, tolerance=1e-6)
        require(not np.shares_memory(x, y), "the result lies in the memory of x", call=call)


def test_all_options_at_once():
    """stride, dilation and padding together; and with ceil_mode, in float32"""
    x, g = rng.normal(size=(2, 8, 7, 3)), rng.normal(size=(2, 3, 4, 3))
    window = Window((3, 2), (2, 2), ((1, 0), (0, 2)), (2, 1))  # windows reach over rows 0 to 8 and columns 0 to 7
    wanted = oracle.conv2d(x, np.ones((3, 2, 1, 3)), None, window.stride, window.padding, window.dilation, 3)
    judge(f"sum_windows(x, {window})", sum_windows(x, window), wanted, given={"x.shape": x.shape})
    padded = added_back(g, 9, 9, (3, 2), (2, 2), 0, (2, 1))
    call = f"spread_windows(g, {window}, H=8, W=7)"
    judge(call, spread_windows(g, window, 8, 7), padded[:, 1:, :7], given={"g.shape": g.shape})
    g = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    beyond = added_back(g, 7, 8, (3, 2), (2, 2)).astype(np.float32)  # one row and one column more than the image
    judge(
        "spread_windows(g, Window(kernel=(3, 2), stride=(2, 2), ceil_mode=True), H=6, W=7), in float32",
        spread_windows(g, Window((3, 2), (2, 2), ceil_mode=True), 6, 7),
        beyond[:, :6, :7],
        given={"g.shape": g.shape},
        tolerance=1e-5,
    )
