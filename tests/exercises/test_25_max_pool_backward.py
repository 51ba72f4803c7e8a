"""Judges of exercise 25: the gradient of a maximum goes to where it stood."""

import numpy as np
import oracle
import pytest

from minidl import functional as F
from minidl.exercises.judging import judge, untouched
from minidl.kernels.pooling import scatter_to_winners
from minidl.kernels.window import Window
from minidl.tensor import Tensor

pytestmark = pytest.mark.exercise("max-pool-backward")

rng = np.random.default_rng(25)


def scattered(g, winner, kernel, stride, H, W, padding=(0, 0), dilation=(1, 1)):
    """Zeros (N, H, W, C), and each g added at the place of its winner, one after the other."""
    N, OH, OW, C = g.shape
    image = np.zeros((N, H, W, C), g.dtype)
    for n, oh, ow, c in np.ndindex(N, OH, OW, C):
        kh, kw = divmod(int(winner[n, oh, ow, c]), kernel[1])
        h = oh * stride[0] + kh * dilation[0] - padding[0]
        w = ow * stride[1] + kw * dilation[1] - padding[1]
        image[n, h, w, c] += g[n, oh, ow, c]
    return image


def inside(H, W, shape, kernel, stride, padding=(0, 0), dilation=(1, 1)):
    """Random winners (N, OH, OW, C), none of which is in the padding; in 8 bits, as minidl keeps them."""
    winner = np.zeros(shape, np.uint8)
    for n, oh, ow, c in np.ndindex(shape):
        candidates = [
            kh * kernel[1] + kw
            for kh, kw in np.ndindex(kernel)
            if 0 <= oh * stride[0] + kh * dilation[0] - padding[0] < H
            and 0 <= ow * stride[1] + kw * dilation[1] - padding[1] < W
        ]
        winner[n, oh, ow, c] = rng.choice(candidates)
    return winner


def test_two_windows_without_overlap():
    """each g is put where its window had its largest element, and all else is 0"""
    g, winner = np.array([5.0, 7.0]).reshape(1, 1, 2, 1), np.array([1, 2], np.uint8).reshape(1, 1, 2, 1)
    judge(
        "scatter_to_winners(g, winner, Window(kernel=(2, 2), stride=(2, 2)), H=2, W=4)",
        scatter_to_winners(g, winner, Window((2, 2), (2, 2)), 2, 4),
        np.array([[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]]).reshape(1, 2, 4, 1),
        given={"g[0, 0, :, 0]": g[0, 0, :, 0], "winner[0, 0, :, 0]": winner[0, 0, :, 0]},
        mistakes={"every element of a window gets its g": np.array([[5.0, 5, 7, 7]] * 2).reshape(1, 2, 4, 1)},
    )


def test_a_place_that_wins_twice():
    """two windows of 2 over three pixels, both won by the one in the middle: it gets both"""
    g, winner = np.array([1.0, 10.0]).reshape(1, 1, 2, 1), np.array([1, 0], np.uint8).reshape(1, 1, 2, 1)
    judge(
        "scatter_to_winners(g, winner, Window(kernel=(1, 2)), H=1, W=3)",
        scatter_to_winners(g, winner, Window((1, 2)), 1, 3),
        np.array([0.0, 11.0, 0.0]).reshape(1, 1, 3, 1),
        given={"g[0, 0, :, 0]": g[0, 0, :, 0], "winner[0, 0, :, 0]": winner[0, 0, :, 0]},
        mistakes={
            "of two windows with one winner, only the last counts": np.array([0.0, 10.0, 0.0]).reshape(1, 1, 3, 1),
            "of two windows with one winner, only the first counts": np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3, 1),
        },
    )


def test_the_number_of_a_winner():
    """in a window of 2×3, number 4 is the middle of its second row: kh·KW + kw"""
    g, winner = np.array([5.0]).reshape(1, 1, 1, 1), np.array([4], np.uint8).reshape(1, 1, 1, 1)
    judge(
        "scatter_to_winners(g, winner, Window(kernel=(2, 3)), H=2, W=3)",
        scatter_to_winners(g, winner, Window((2, 3)), 2, 3),
        np.array([[0.0, 0.0, 0.0], [0.0, 5.0, 0.0]]).reshape(1, 2, 3, 1),
        given={"g": 5.0, "winner": 4},
    )


def test_many_windows():
    """two images, three channels; overlap, a stride that leaves a remainder, gaps"""
    for kernel, stride, dilation, size in (
        ((3, 2), (1, 1), (1, 1), (6, 6)),
        ((2, 3), (3, 2), (1, 1), (3, 3)),
        ((3, 2), (2, 3), (2, 3), (2, 2)),
    ):
        g = rng.normal(size=(2, *size, 3))
        winner = inside(8, 7, g.shape, kernel, stride, (0, 0), dilation)
        call = f"scatter_to_winners(g, winner, Window({kernel}, {stride}, dilation={dilation}), H=8, W=7)"
        with untouched(call, g=g, winner=winner):
            y = scatter_to_winners(g, winner, Window(kernel, stride, dilation=dilation), 8, 7)
        wanted = scattered(g, winner, kernel, stride, 8, 7, (0, 0), dilation)
        judge(call, y, wanted, given={"g.shape": g.shape})


def test_padding_is_cut_off():
    """windows begin in the padding, of one row above and below and one column on each side; in float32"""
    kernel, stride, padding = (3, 2), (2, 1), (1, 1)
    g = rng.normal(size=(2, 2, 6, 3)).astype(np.float32)
    winner = inside(4, 5, g.shape, kernel, stride, padding)
    padded = scattered(g, winner, kernel, stride, 6, 7)
    judge(
        "scatter_to_winners(g, winner, Window((3, 2), (2, 1), padding=((1, 1), (1, 1))), H=4, W=5)",
        scatter_to_winners(g, winner, Window(kernel, stride, ((1, 1), (1, 1))), 4, 5),
        scattered(g, winner, kernel, stride, 4, 5, padding),
        given={"g.shape": g.shape},
        mistakes={"the upper left part of the padded image is taken": padded[:, :4, :5]},
        tolerance=1e-5,
    )


def test_the_gradient_of_a_maximum():
    """together with your forward: what central differences say, with windows of ceil_mode that end outside the image"""
    x = rng.permutation(2.0 * 6 * 5 * 2 * np.linspace(0, 1, 2 * 6 * 5 * 2)).reshape(2, 6, 5, 2) - 60
    g = rng.normal(size=(2, 4, 3, 2))
    options = {"kernel_size": (3, 2), "stride": 2, "padding": 1, "ceil_mode": True}
    tensor = Tensor(x, requires_grad=True)
    F.max_pool2d(tensor, **options).backward(Tensor(g))
    (wanted,) = oracle.numeric_gradient(lambda x: oracle.max_pool2d(x, **options), [x], g)
    judge(
        "F.max_pool2d(x, kernel_size=(3, 2), stride=2, padding=1, ceil_mode=True).backward(g)",
        tensor.grad,
        wanted,
        given={"x.shape": x.shape, "g.shape": g.shape},
        tolerance=1e-6,
    )
    equal = Tensor(np.zeros((1, 2, 3, 1)), requires_grad=True)
    F.max_pool2d(equal, 2, stride=1).backward(Tensor(np.array([3.0, 4.0]).reshape(1, 1, 2, 1)))
    judge(
        "F.max_pool2d(x, 2, stride=1).backward(g), where x is zero everywhere: the first in reading order gets it all",
        equal.grad,
        np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]).reshape(1, 2, 3, 1),
        given={"g": np.array([3.0, 4.0])},
    )


def test_a_wide_image():
    """200 columns, so that no place in the image fits into the 8 bits of a winner; padding above and on the right"""
    for kernel, stride, sides, size, dtype in (
        ((3, 2), (1, 1), ((0, 0), (0, 0)), (1, 199), np.float32),
        ((2, 80), (1, 30), ((1, 0), (0, 2)), (3, 5), np.float64),
    ):
        (top, _), (left, _) = sides
        g = rng.normal(size=(1, *size, 2)).astype(dtype)
        winner = inside(3, 200, g.shape, kernel, stride, (top, left))
        judge(
            f"scatter_to_winners(g, winner, Window({kernel}, {stride}, padding={sides}), H=3, W=200), in {g.dtype}",
            scatter_to_winners(g, winner, Window(kernel, stride, sides), 3, 200),
            scattered(g, winner, kernel, stride, 3, 200, (top, left)),
            given={"g.shape": g.shape, "winner.dtype": "uint8"},
            tolerance=1e-5 if dtype == np.float32 else 1e-9,
        )
