"""Judges of exercise 19: convolution as the loops that define it."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import judge, untouched
from minidl.naive.convolution import conv2d

pytestmark = pytest.mark.exercise("naive-conv2d")

rng = np.random.default_rng(19)


def test_a_row_of_three():
    """a window of two, 10 and 1, over 1 2 3: once at 1 2 and once at 2 3; the filter is not turned around"""
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    weight = np.array([10.0, 1.0]).reshape(1, 2, 1, 1)
    judge(
        "conv2d(x, weight)",
        conv2d(x, weight),
        np.array([12.0, 23.0]).reshape(1, 1, 2, 1),
        given={"x[0, 0, :, 0]": x[0, 0, :, 0], "weight[0, :, 0, 0]": weight[0, :, 0, 0]},
        mistakes={"the filter is turned around, as in mathematics": np.array([21.0, 32.0]).reshape(1, 1, 2, 1)},
    )


def test_a_square():
    """nine numbers and a window of 2×2: each result sums four products"""
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).reshape(1, 3, 3, 1)
    weight = np.array([[1000.0, 100.0], [10.0, 1.0]]).reshape(2, 2, 1, 1)
    judge(
        "conv2d(x, weight)",
        conv2d(x, weight),
        np.array([[1245.0, 2356.0], [4578.0, 5689.0]]).reshape(1, 2, 2, 1),
        given={"x[0, :, :, 0]": x[0, :, :, 0], "weight[:, :, 0, 0]": weight[:, :, 0, 0]},
    )


def test_padding_is_zero():
    """one column of padding on both sides: there x is 0, and not what an index of −1 gives"""
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    weight = np.array([100.0, 10.0, 1.0]).reshape(1, 3, 1, 1)
    wanted = np.array([12.0, 123.0, 230.0]).reshape(1, 1, 3, 1)
    judge(
        "conv2d(x, weight, padding=(0, 1))",
        conv2d(x, weight, padding=(0, 1)),
        wanted,
        given={"x[0, 0, :, 0]": x[0, 0, :, 0], "weight[0, :, 0, 0]": weight[0, :, 0, 0]},
        mistakes={
            "x[..., -1, ...] is read, which is the last column": wanted + np.array([300.0, 0, 0]).reshape(1, 1, 3, 1)
        },
    )


def test_channels_filters_and_bias():
    """two images, three channels, four filters: all channels are added up, and each filter has one bias, added once"""
    x, weight, bias = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(2, 3, 3, 4)), rng.normal(size=4)
    call = "conv2d(x, weight, bias)"
    with untouched(call, x=x, weight=weight, bias=bias):
        y = conv2d(x, weight, bias)
    judge(
        call,
        y,
        oracle.conv2d(x, weight, bias),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias},
        mistakes={
            "the bias is left out": oracle.conv2d(x, weight),
            "the bias is added for each row of the window": oracle.conv2d(x, weight, 2 * bias),
            "the bias is added for each element of the window": oracle.conv2d(x, weight, 6 * bias),
            "the bias is added for each product": oracle.conv2d(x, weight, 18 * bias),
        },
    )


def test_stride_padding_and_dilation():
    """windows that leave a remainder, leave gaps and begin in the padding, in another way down than to the right"""
    x, weight = rng.normal(size=(2, 8, 7, 2)), rng.normal(size=(3, 2, 2, 3))
    for options in (
        {"stride": (2, 3)},
        {"padding": (2, 1)},
        {"dilation": (2, 3)},
        {"stride": (3, 2), "padding": (1, 2), "dilation": (2, 1)},
    ):
        judge(
            f"conv2d(x, weight, {', '.join(f'{name}={value}' for name, value in options.items())})",
            conv2d(x, weight, **options),
            oracle.conv2d(x, weight, **options),
            given={"x.shape": x.shape, "weight.shape": weight.shape},
        )


def test_groups():
    """six channels and four filters in two groups: filters 0 and 1 see channels 0 to 2, filters 2 and 3 the others"""
    x, weight = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 1, 3, 4))
    judge(
        "conv2d(x, weight, groups=2)",
        conv2d(x, weight, groups=2),
        oracle.conv2d(x, weight, groups=2),
        given={"x.shape": x.shape, "weight.shape": weight.shape},
        mistakes={"every filter sees the first channels": oracle.conv2d(x[..., :3], weight)},
    )


def test_float32_stays_float32():
    """images in float32 give a result in float32"""
    x = rng.normal(size=(1, 3, 4, 2)).astype(np.float32)
    weight, bias = rng.normal(size=(1, 1, 2, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    judge(
        "conv2d(x, weight, bias), all in float32",
        conv2d(x, weight, bias),
        oracle.conv2d(x, weight, bias).astype(np.float32),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias},
        tolerance=1e-5,
    )


def test_three_groups_with_all_options():
    """three groups with bias, padding, stride and dilation; in the second case each has one channel and two filters"""
    for C, F in (6, 3), (3, 6):
        x, weight, bias = rng.normal(size=(2, 5, 4, C)), rng.normal(size=(3, 2, C // 3, F)), rng.normal(size=F)
        options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 3}
        judge(
            f"conv2d(x, weight, bias, {', '.join(f'{name}={value}' for name, value in options.items())})",
            conv2d(x, weight, bias, **options),
            oracle.conv2d(x, weight, bias, **options),
            given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias},
        )
