"""Judges of exercise 23: the gradients of a convolution, to its image and to its weight."""

import numpy as np
import oracle
import pytest

from minidl import functional
from minidl.exercises.judging import judge, untouched
from minidl.kernels.columns import convolve_input_gradient, convolve_weight_gradient
from minidl.kernels.window import Window
from minidl.tensor import Tensor

pytestmark = pytest.mark.exercise("conv2d-backward")

rng = np.random.default_rng(23)


def to_input(g, weight, H, W, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """∂L/∂x (N, H, W, C): a transposed convolution, and rows and columns more for what no window has reached."""
    more = []
    for size, places, K, S, sides, D in zip(
        (H, W), g.shape[1:3], weight.shape[:2], stride, padding, dilation, strict=True
    ):
        more.append(size + sum(sides) - ((places - 1) * S + D * (K - 1) + 1))
    return oracle.conv_transpose2d(g, weight, None, stride, padding, more, groups, dilation)


def to_weight(x, g, kernel, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """∂L/∂weight (KH, KW, C/G, F): of each filter, the windows that it has met, each times the g of that place."""
    (N, _, _, C), F = x.shape, g.shape[3]
    gradient = np.zeros((*kernel, C // groups, F))
    for f in range(F):
        first = f // (F // groups) * (C // groups)
        windows = oracle.unfold(x[..., first : first + C // groups], kernel, dilation, padding, stride)
        of_places = g[..., f].reshape(N, -1, 1)  # (N, OH·OW, 1)
        gradient[..., f] = (windows * of_places).sum(axis=(0, 1)).reshape(gradient.shape[:3])  # from (KH·KW·C/G,)
    return gradient


# ---- to the input


def test_to_a_row_of_three():
    """two windows over three pixels: each g goes back through the filter, and the pixel in the middle gets from both"""
    weight = np.array([10.0, 1.0]).reshape(1, 2, 1, 1)
    g = np.array([1.0, 2.0]).reshape(1, 1, 2, 1)
    judge(
        "convolve_input_gradient(g, weight, Window(kernel=(1, 2)), groups=1, H=1, W=3)",
        convolve_input_gradient(g, weight, Window((1, 2)), 1, 1, 3),
        np.array([10.0, 21.0, 2.0]).reshape(1, 1, 3, 1),
        given={"g[0, 0, :, 0]": g[0, 0, :, 0], "weight[0, :, 0, 0]": weight[0, :, 0, 0]},
        mistakes={
            "the upstream gradient is taken to be 1": np.array([10.0, 11.0, 1.0]).reshape(1, 1, 3, 1),
            "the filter is turned around": np.array([1.0, 12.0, 20.0]).reshape(1, 1, 3, 1),
        },
    )


def test_to_channels_from_filters():
    """two images, three channels, four filters: g weightᵀ, summed over the filters"""
    g, weight = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(3, 2, 3, 4))
    call = "convolve_input_gradient(g, weight, Window(kernel=(3, 2)), groups=1, H=5, W=5)"
    with untouched(call, g=g, weight=weight):
        gradient = convolve_input_gradient(g, weight, Window((3, 2)), 1, 5, 5)
    judge(call, gradient, to_input(g, weight, 5, 5), given={"g.shape": g.shape, "weight.shape": weight.shape})


def test_to_an_image_that_was_padded():
    """one row of padding above, two columns on the left and one on the right: they get a gradient, which is cut off"""
    g, weight, padding = rng.normal(size=(2, 3, 6, 2)), rng.normal(size=(3, 3, 3, 2)), ((1, 0), (2, 1))
    judge(
        f"convolve_input_gradient(g, weight, Window(kernel=(3, 3), padding={padding}), groups=1, H=4, W=5)",
        convolve_input_gradient(g, weight, Window((3, 3), padding=padding), 1, 4, 5),
        to_input(g, weight, 4, 5, padding=padding),
        given={"g.shape": g.shape, "weight.shape": weight.shape},
        mistakes={
            "the wrong part is cut off: that without the rows and columns at the end": to_input(g, weight, 5, 8)[
                :, :4, :5
            ],
        },
    )


def test_to_the_groups_of_channels():
    """four filters in two groups: the gradients of filters 2 and 3 go to the channels 3 to 5"""
    g, weight = rng.normal(size=(2, 3, 2, 4)), rng.normal(size=(2, 1, 3, 4))
    judge(
        "convolve_input_gradient(g, weight, Window(kernel=(2, 1)), groups=2, H=4, W=2)",
        convolve_input_gradient(g, weight, Window((2, 1)), 2, 4, 2),
        to_input(g, weight, 4, 2, groups=2),
        given={"g.shape": g.shape, "weight.shape": weight.shape},
    )


# ---- to the weight


def test_to_a_filter_of_two():
    """a filter of two over three pixels: each of its elements has met two of them"""
    x, g = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1), np.array([1.0, 10.0]).reshape(1, 1, 2, 1)
    judge(
        "convolve_weight_gradient(x, g, Window(kernel=(1, 2)), groups=1)",
        convolve_weight_gradient(x, g, Window((1, 2)), 1),
        np.array([21.0, 32.0]).reshape(1, 2, 1, 1),
        given={"x[0, 0, :, 0]": x[0, 0, :, 0], "g[0, 0, :, 0]": g[0, 0, :, 0]},
        mistakes={
            "the upstream gradient is taken to be 1": np.array([3.0, 5.0]).reshape(1, 2, 1, 1),
            "the gradients are averaged, not added up, over the places": np.array([10.5, 16.0]).reshape(1, 2, 1, 1),
            "only the last place counts": np.array([20.0, 30.0]).reshape(1, 2, 1, 1),
        },
    )


def test_to_all_filters_from_all_images():
    """two images, three channels, four filters: what the images say is added up, not averaged"""
    x, g = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(2, 3, 3, 4))
    call = "convolve_weight_gradient(x, g, Window(kernel=(3, 2)), groups=1)"
    with untouched(call, x=x, g=g):
        gradient = convolve_weight_gradient(x, g, Window((3, 2)), 1)
    judge(
        call,
        gradient,
        to_weight(x, g, (3, 2)),
        given={"x.shape": x.shape, "g.shape": g.shape},
        mistakes={
            "only the last image counts": to_weight(x[1:], g[1:], (3, 2)),
            "only the first image counts": to_weight(x[:1], g[:1], (3, 2)),
        },
    )


def test_to_filters_of_padded_images_and_groups():
    """the same with padding on some sides, and with two groups"""
    x, g = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 3, 3, 6))
    padding = (1, 0), (0, 1)
    judge(
        f"convolve_weight_gradient(x, g, Window(kernel=(2, 3), padding={padding}), groups=2)",
        convolve_weight_gradient(x, g, Window((2, 3), padding=padding), 2),
        to_weight(x, g, (2, 3), padding=padding, groups=2),
        given={"x.shape": x.shape, "g.shape": g.shape},
    )


# ---- both


def test_stride_and_dilation():
    """windows that leave a remainder and have gaps: pixels that no window has seen get 0"""
    x, weight = rng.normal(size=(2, 7, 6, 2)), rng.normal(size=(2, 3, 2, 3))
    for stride, padding, dilation, size in (
        ((2, 3), ((0, 0), (0, 0)), (1, 1), (3, 2)),
        ((3, 2), ((0, 1), (2, 1)), (2, 1), (2, 4)),
        ((2, 1), ((0, 0), (0, 0)), (1, 2), (3, 2)),
    ):
        g = rng.normal(size=(2, *size, 3))
        both = Tensor(x, requires_grad=True), Tensor(weight, requires_grad=True)
        y = functional.conv2d(*both, stride=stride, padding=padding, dilation=dilation, algorithm="im2col")
        y.backward(Tensor(g))
        judge(
            f"F.conv2d(x, weight, stride={stride}, padding={padding}, dilation={dilation}).backward(g)\n\n"
            "gradients to x and to weight",
            (both[0].grad, both[1].grad),
            (
                to_input(g, weight, 7, 6, stride, padding, dilation),
                to_weight(x, g, (2, 3), stride, padding, dilation),
            ),
            given={"x.shape": x.shape, "weight.shape": weight.shape, "g.shape": g.shape},
        )


def test_more_filters_than_places():
    """a single place, as at the end of a network; float32 stays float32"""
    x, weight, g = (rng.normal(size=shape).astype(np.float32) for shape in ((1, 2, 2, 4), (2, 2, 2, 8), (1, 1, 1, 8)))
    window = Window((2, 2))
    judge(
        "(convolve_input_gradient(g, weight, window, 2, 2, 2), convolve_weight_gradient(x, g, window, 2)), in float32",
        (convolve_input_gradient(g, weight, window, 2, 2, 2), convolve_weight_gradient(x, g, window, 2)),
        (
            to_input(g, weight, 2, 2, groups=2).astype(np.float32),
            to_weight(x, g, (2, 2), groups=2).astype(np.float32),
        ),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "g.shape": g.shape},
        tolerance=1e-5,
    )


def test_three_groups_with_all_options():
    """three groups with stride, dilation and padding; in the second case each has one channel and two filters"""
    window = Window((3, 2), (2, 1), ((1, 0), (0, 2)), (1, 2))
    options = window.stride, window.padding, window.dilation, 3
    for C, F in (6, 3), (3, 6):
        x, weight, g = (rng.normal(size=shape) for shape in ((2, 6, 7, C), (3, 2, C // 3, F), (2, 3, 7, F)))
        judge(
            f"(convolve_input_gradient(g, weight, window, 3, 6, 7), convolve_weight_gradient(x, g, window, 3))\n\n"
            f"window = {window}",
            (convolve_input_gradient(g, weight, window, 3, 6, 7), convolve_weight_gradient(x, g, window, 3)),
            (to_input(g, weight, 6, 7, *options), to_weight(x, g, (3, 2), *options)),
            given={"x.shape": x.shape, "weight.shape": weight.shape, "g.shape": g.shape},
        )


def test_a_remainder_on_the_right():
    """windows of 2 columns, 3 apart, in a row of 7: the last two columns are seen by none, and get 0; in float32"""
    x, weight, g = (rng.normal(size=s).astype(np.float32) for s in ((2, 5, 7, 2), (2, 2, 2, 3), (2, 2, 2, 3)))
    window = Window((2, 2), (2, 3))
    judge(
        f"(convolve_input_gradient(g, weight, window, 1, 5, 7), convolve_weight_gradient(x, g, window, 1))\n\n"
        f"window = {window}, in float32",
        (convolve_input_gradient(g, weight, window, 1, 5, 7), convolve_weight_gradient(x, g, window, 1)),
        (
            to_input(g, weight, 5, 7, window.stride).astype(np.float32),
            to_weight(x, g, (2, 2), window.stride).astype(np.float32),
        ),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "g.shape": g.shape},
        tolerance=1e-5,
    )
