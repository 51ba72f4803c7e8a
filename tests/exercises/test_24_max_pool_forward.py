"""Judges of exercise 24: the largest element of each window, and where it stood."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import judge, require, untouched
from minidl.kernels.pooling import max_windows_and_winners
from minidl.kernels.window import Window

pytestmark = pytest.mark.exercise("max-pool-forward")

rng = np.random.default_rng(24)


def winners(x, y, kernel, stride, padding=(0, 0), dilation=(1, 1)):
    """The position kh·KW + kw of the first element of each window, in reading order, that is its maximum y."""
    _, H, W, _ = x.shape
    found = np.zeros(y.shape, int)
    for n, oh, ow, c in np.ndindex(y.shape):
        for kh, kw in reversed(list(np.ndindex(kernel))):
            h = oh * stride[0] + kh * dilation[0] - padding[0]
            w = ow * stride[1] + kw * dilation[1] - padding[1]
            if 0 <= h < H and 0 <= w < W and x[n, h, w, c] == y[n, oh, ow, c]:
                found[n, oh, ow, c] = kh * kernel[1] + kw
    return found


def judge_pooling(x, kernel, stride, padding=(0, 0), dilation=(1, 1), ceil_mode=False, mistakes=None):
    """Judge the maxima of images, and the winners, in whatever type of integers they are."""
    (top, left), shown = padding, {"x": x} if x.size < 20 else {"x.shape": x.shape}
    window = Window(kernel, stride, ((top, top), (left, left)), dilation, ceil_mode)
    call = f"max_windows_and_winners(x, {window})"
    with untouched(call, x=x):
        got = integers(max_windows_and_winners(x, window))
    y = oracle.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode).astype(x.dtype)
    judge(call, got, (y, winners(x, y, kernel, stride, padding, dilation)), given=shown, mistakes=mistakes)


def integers(result):
    """The maxima and the winners, those as int64: any type of integers will do."""
    require(isinstance(result, tuple) and len(result) == 2, f"wanted  two arrays\ngot     {result!r:.200}")
    y, winner = result
    require(winner.dtype.kind in "iu", f"the winners are positions, so they must be integers; they are {winner.dtype}")
    return y, winner.astype(int)


def test_two_windows():
    """windows of 2×2 over two rows of three: 5 is at position 1 of the first window, and at position 0 of the second"""
    x = np.array([[1.0, 5.0, 2.0], [4.0, 3.0, 0.0]]).reshape(1, 2, 3, 1)
    judge(
        "max_windows_and_winners(x, Window(kernel=(2, 2)))",
        integers(max_windows_and_winners(x, Window((2, 2)))),
        (np.array([5.0, 5.0]).reshape(1, 1, 2, 1), np.array([1, 0]).reshape(1, 1, 2, 1)),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
        mistakes={"a winner is numbered h·W + w in the image": (np.zeros(0), np.array([1, 1]).reshape(1, 1, 2, 1))},
    )


def test_the_number_of_a_winner():
    """in a window of 2×3 the element below the first has number 3: kh·KW + kw"""
    x = np.array([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]).reshape(1, 2, 3, 1)
    judge(
        "max_windows_and_winners(x, Window(kernel=(2, 3)))",
        integers(max_windows_and_winners(x, Window((2, 3)))),
        (np.array([6.0]).reshape(1, 1, 1, 1), np.array([3]).reshape(1, 1, 1, 1)),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
    )


def test_the_first_of_equals_wins():
    """where several elements are largest, the first in reading order wins: the upper row, then from the left"""
    x = np.array([[0.0, 7.0, 7.0], [7.0, 7.0, 0.0]]).reshape(1, 2, 3, 1)
    judge(
        "max_windows_and_winners(x, Window(kernel=(2, 2)))",
        integers(max_windows_and_winners(x, Window((2, 2)))),
        (np.array([7.0, 7.0]).reshape(1, 1, 2, 1), np.array([1, 0]).reshape(1, 1, 2, 1)),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
        mistakes={"the last of equals wins": (np.zeros(0), np.array([3, 2]).reshape(1, 1, 2, 1))},
    )


def test_the_padding_never_wins():
    """very negative images with padding on all sides: a padding of zeros would be the largest"""
    x = -1e6 * (1 + rng.random(size=(2, 4, 5, 3)))
    wanted = oracle.max_pool2d(x, (3, 2), (2, 1), (1, 1))
    zeros = np.where(np.pad(np.ones((4, 5)), 1)[None, :, :, None] > 0, np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), 0.0)
    with_zeros = oracle.max_pool2d(zeros, (3, 2), (2, 1))
    judge_pooling(x, (3, 2), (2, 1), (1, 1), mistakes={"the padding is 0": (with_zeros, np.full(wanted.shape, -1))})


def test_many_windows():
    """strides with a remainder, overlap and gaps, and images with many equal elements"""
    x = rng.integers(-3, 4, size=(2, 8, 7, 3)).astype(float)
    for kernel, stride, padding, dilation in (
        ((3, 2), (1, 1), (0, 0), (1, 1)),
        ((2, 3), (3, 2), (0, 0), (1, 1)),
        ((3, 2), (2, 3), (1, 1), (2, 3)),
        ((1, 1), (2, 2), (0, 0), (1, 1)),
    ):
        judge_pooling(x, kernel, stride, padding, dilation)


def test_a_last_window_that_ends_outside():
    """with ceil_mode the last windows hang over the image; what lies outside never wins. float32 stays float32"""
    x = rng.normal(size=(2, 6, 7, 2)).astype(np.float32) - 5
    judge_pooling(x, (3, 2), (2, 2), ceil_mode=True)
    judge_pooling(x, (3, 3), (2, 2), (1, 1), ceil_mode=True)


def test_nan_wins():
    """a NaN wins over every number, so that it cannot go unnoticed; of several, the last wins"""
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, np.nan]]).reshape(1, 2, 3, 1)
    judge(
        "max_windows_and_winners(x, Window(kernel=(2, 2)))",
        integers(max_windows_and_winners(x, Window((2, 2)))),
        (np.array([np.nan, np.nan]).reshape(1, 1, 2, 1), np.array([1, 3]).reshape(1, 1, 2, 1)),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
        mistakes={
            "a NaN never wins, for it is neither larger nor smaller than a number": (
                np.array([4.0, 5.0]).reshape(1, 1, 2, 1),
                np.zeros(0),
            ),
            "the first NaN wins": (np.zeros(0), np.array([1, 0]).reshape(1, 1, 2, 1)),
        },
    )
    x = np.array([[1.0, np.nan], [np.nan, 2.0]]).reshape(1, 2, 2, 1)
    judge(
        "max_windows_and_winners(x, Window(kernel=(2, 2)))",
        integers(max_windows_and_winners(x, Window((2, 2)))),
        (np.array([np.nan]).reshape(1, 1, 1, 1), np.array([2]).reshape(1, 1, 1, 1)),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
        mistakes={"the last NaN is looked for column by column": (np.zeros(0), np.array([1]).reshape(1, 1, 1, 1))},
    )


def test_a_padding_that_differs():
    """one row of padding above and none below, none on the left and two columns on the right"""
    x = rng.normal(size=(2, 4, 5, 2)) - 5
    padded = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=-np.inf)
    window, y = Window((3, 3), padding=((1, 0), (0, 2))), oracle.max_pool2d(padded, 3, 1)
    judge(
        f"max_windows_and_winners(x, {window})",
        integers(max_windows_and_winners(x, window)),
        (y, winners(padded, y, (3, 3), (1, 1))),
        given={"x.shape": x.shape},
    )


def test_the_padding_does_not_even_win_where_all_is_minus_infinity():
    """where all that a window sees of the image is −inf, its first element in the image wins, not one in the padding"""
    x = np.full((1, 2, 3, 1), -np.inf)
    judge(
        "max_windows_and_winners(x, Window(kernel=(2, 2), stride=(1, 1), padding=((1, 1), (1, 1))))",
        integers(max_windows_and_winners(x, Window((2, 2), padding=((1, 1), (1, 1))))),
        (
            np.full((1, 3, 4, 1), -np.inf),
            np.array([[3, 2, 2, 2], [1, 0, 0, 0], [1, 0, 0, 0]]).reshape(1, 3, 4, 1),
        ),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
        mistakes={"a winner is 0 until something is larger than −inf": (np.zeros(0), np.zeros((1, 3, 4, 1), int))},
    )


def test_a_window_of_300():
    """a position may be more than 255: too much for 8 bits"""
    x = np.arange(301.0).reshape(1, 1, 301, 1)
    judge(
        "max_windows_and_winners(x, Window(kernel=(1, 300))), where x is 0, 1, ..., 300",
        integers(max_windows_and_winners(x, Window((1, 300)))),
        (np.array([299.0, 300.0]).reshape(1, 1, 2, 1), np.array([299, 299]).reshape(1, 1, 2, 1)),
    )
