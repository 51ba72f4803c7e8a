"""Judges of exercise 22: a convolution as one matrix product."""

import numpy as np
import oracle
import pytest

from minidl import functional as F
from minidl.exercises.judging import judge, untouched
from minidl.kernels.columns import convolve
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.window import Window
from minidl.tensor import Tensor

pytestmark = pytest.mark.exercise("conv2d-forward")

rng = np.random.default_rng(22)


def test_a_square():
    """nine numbers and a window of 2×2: each result sums four products"""
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).reshape(1, 3, 3, 1)
    weight = np.array([[1000.0, 100.0], [10.0, 1.0]]).reshape(2, 2, 1, 1)
    judge(
        "convolve(x, weight, Window(kernel=(2, 2)), groups=1, epilogue=Epilogue())",
        convolve(x, weight, Window((2, 2)), 1, Epilogue()),
        np.array([[1245.0, 2356.0], [4578.0, 5689.0]]).reshape(1, 2, 2, 1),
        given={"x[0, :, :, 0]": x[0, :, :, 0], "weight[:, :, 0, 0]": weight[:, :, 0, 0]},
    )


def test_filters():
    """a window of one pixel with two channels, and two filters: filter f is weight[..., f], a column of the matrix"""
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    weight = np.array([[1.0, 0.0], [1.0, 10.0]]).reshape(1, 1, 2, 2)
    judge(
        "convolve(x, weight, Window(kernel=(1, 1)), groups=1, epilogue=Epilogue())",
        convolve(x, weight, Window((1, 1)), 1, Epilogue()),
        np.array([[3.0, 20.0], [7.0, 40.0]]).reshape(1, 1, 2, 2),
        given={"x[0, 0]": x[0, 0], "weight[0, 0]": weight[0, 0]},
        mistakes={"a filter is taken to be a row of the weight": np.array([[1.0, 21.0], [3.0, 43.0]])[None, None]},
    )


def test_several_images_channels_and_filters():
    """two images of 5×4, three channels, five filters of 3×2"""
    x, weight = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 2, 3, 5))
    call = "convolve(x, weight, Window(kernel=(3, 2)), groups=1, epilogue=Epilogue())"
    with untouched(call, x=x, weight=weight):
        y = convolve(x, weight, Window((3, 2)), 1, Epilogue())
    turned = oracle.conv2d(x, weight[::-1, ::-1])
    wanted = oracle.conv2d(x, weight)
    judge(
        call,
        y,
        wanted,
        given={"x.shape": x.shape, "weight.shape": weight.shape},
        mistakes={
            "the filters are turned around, as in mathematics": turned,
            "the product has the filters first, and is reshaped as if they came last": wanted.reshape(-1, 5).T.reshape(
                wanted.shape
            ),
        },
    )


def test_padding_on_all_sides():
    """one row of zeros above and none below, two columns on the left and one on the right"""
    x, weight = rng.normal(size=(2, 4, 5, 2)), rng.normal(size=(3, 3, 2, 4))
    padding = (1, 0), (2, 1)
    judge(
        f"convolve(x, weight, Window(kernel=(3, 3), padding={padding}), groups=1, epilogue=Epilogue())",
        convolve(x, weight, Window((3, 3), padding=padding), 1, Epilogue()),
        oracle.conv2d(x, weight, padding=padding),
        given={"x.shape": x.shape, "weight.shape": weight.shape},
    )


def test_stride_and_dilation():
    """windows that leave a remainder, and have gaps between their elements"""
    x, weight = rng.normal(size=(2, 8, 7, 2)), rng.normal(size=(3, 2, 2, 3))
    for options in {"stride": (2, 3)}, {"dilation": (2, 3)}, {"stride": (3, 2), "padding": (1, 2), "dilation": (2, 1)}:
        judge(
            f"F.conv2d(x, weight, {', '.join(f'{k}={v}' for k, v in options.items())}, algorithm='im2col')",
            F.conv2d(Tensor(x), Tensor(weight), algorithm="im2col", **options),
            oracle.conv2d(x, weight, **options),
            given={"x.shape": x.shape, "weight.shape": weight.shape},
        )


def test_groups():
    """six channels and four filters in two groups: filters 0 and 1 see channels 0 to 2, filters 2 and 3 the others"""
    x, weight = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 2, 3, 4))
    judge(
        "convolve(x, weight, Window(kernel=(2, 2)), groups=2, epilogue=Epilogue())",
        convolve(x, weight, Window((2, 2)), 2, Epilogue()),
        oracle.conv2d(x, weight, groups=2),
        given={"x.shape": x.shape, "weight.shape": weight.shape},
        mistakes={
            "every filter sees the first channels": oracle.conv2d(x[..., :3], weight),
            "group k has the filters k, k + G, ...": oracle.conv2d(x, weight[..., [0, 2, 1, 3]], groups=2)[
                ..., [0, 2, 1, 3]
            ],
        },
    )


def test_the_epilogue():
    """the bias, what is to be added, and then ReLU: all that the epilogue stands for"""
    x, weight, bias = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(2, 2, 2, 3)), rng.normal(size=3)
    add = rng.normal(size=(2, 4, 3, 3))
    plain = oracle.conv2d(x, weight)
    judge(
        "convolve(x, weight, Window(kernel=(2, 2)), groups=1, epilogue=Epilogue(bias, add, relu=True))",
        convolve(x, weight, Window((2, 2)), 1, Epilogue(bias, add, relu=True)),
        np.maximum(plain + bias + add, 0),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias, "add.shape": add.shape},
        mistakes={"the epilogue is left out": plain},
    )


def test_more_filters_than_places():
    """a single place, as at the end of a network, and a weight that is far larger than the image; in float32"""
    x, weight = rng.normal(size=(1, 2, 2, 8)).astype(np.float32), rng.normal(size=(2, 2, 4, 16)).astype(np.float32)
    bias = rng.normal(size=16).astype(np.float32)
    judge(
        "convolve(x, weight, Window(kernel=(2, 2)), groups=2, epilogue=Epilogue(bias)), all in float32",
        convolve(x, weight, Window((2, 2)), 2, Epilogue(bias)),
        oracle.conv2d(x, weight, bias, groups=2).astype(np.float32),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias},
        tolerance=1e-5,
    )


def test_three_groups_with_all_options():
    """three groups with stride, dilation and padding; in the second case each has one channel and two filters"""
    window = Window((3, 2), (2, 1), ((1, 0), (0, 2)), (1, 2))
    for C, filters in (6, 3), (3, 6):
        x, weight = rng.normal(size=(2, 6, 5, C)), rng.normal(size=(3, 2, C // 3, filters))
        judge(
            f"convolve(x, weight, {window}, groups=3, epilogue=Epilogue())",
            convolve(x, weight, window, 3, Epilogue()),
            oracle.conv2d(x, weight, None, window.stride, window.padding, window.dilation, 3),
            given={"x.shape": x.shape, "weight.shape": weight.shape},
        )


def test_parts_of_the_epilogue():
    """each part of the epilogue by itself, in float32; ReLU hides no NaN"""
    x, weight = rng.normal(size=(1, 3, 4, 2)).astype(np.float32), rng.normal(size=(2, 2, 2, 3)).astype(np.float32)
    x[0, 0, 0, 0] = np.nan
    bias, add = rng.normal(size=3).astype(np.float32), rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    plain = oracle.conv2d(x, weight)
    for call, epilogue, wanted in (
        ("Epilogue()", Epilogue(), plain),
        ("Epilogue(bias)", Epilogue(bias), plain + bias),
        ("Epilogue(add=add)", Epilogue(add=add), plain + add),
        ("Epilogue(relu=True)", Epilogue(relu=True), np.maximum(plain, 0)),
        ("Epilogue(bias, relu=True)", Epilogue(bias, relu=True), np.maximum(plain + bias, 0)),
        ("Epilogue(add=add, relu=True)", Epilogue(add=add, relu=True), np.maximum(plain + add, 0)),
    ):
        judge(
            f"convolve(x, weight, Window(kernel=(2, 2)), groups=1, epilogue={call}), in float32; x[0, 0, 0, 0] is NaN",
            convolve(x, weight, Window((2, 2)), 1, epilogue),
            wanted.astype(np.float32),
            given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias, "add.shape": add.shape},
            tolerance=1e-5,
        )
