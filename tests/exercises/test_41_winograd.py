"""Judges of exercise 41: convolution by Winograd's algorithm."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import Wrong, judge, require, untouched
from minidl.kernels import columns
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.window import Window
from minidl.kernels.winograd import convolve

pytestmark = pytest.mark.exercise("winograd")

rng = np.random.default_rng(41)
SAME = ((1, 1), (1, 1))


def test_one_tile():
    """an image of 4×4 with a single 1 in it: the four results are elements of the filter"""
    x, weight = np.zeros((1, 4, 4, 1)), np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    x[0, 1, 2, 0] = 1.0
    judge(
        "convolve(x, weight, Window(kernel=(3, 3)), Epilogue())",
        convolve(x, weight, Window((3, 3)), Epilogue()),
        np.array([[6.0, 5.0], [3.0, 2.0]]).reshape(1, 2, 2, 1),
        given={"x[0, :, :, 0]": x[0, :, :, 0], "weight[:, :, 0, 0]": weight[:, :, 0, 0]},
        mistakes={
            "the filter is turned around": np.array([[4.0, 5.0], [7.0, 8.0]]).reshape(1, 2, 2, 1),
            "rows and columns of the filter are exchanged": np.array([[8.0, 5.0], [7.0, 4.0]]).reshape(1, 2, 2, 1),
        },
    )


def test_channels_and_filters():
    """one tile in each of two images, three channels that are added up, four filters"""
    x, weight = rng.normal(size=(2, 4, 4, 3)), rng.normal(size=(3, 3, 3, 4))
    call = "convolve(x, weight, Window(kernel=(3, 3)), Epilogue())"
    with untouched(call, x=x, weight=weight):
        y = convolve(x, weight, Window((3, 3)), Epilogue())
    judge(call, y, oracle.conv2d(x, weight), given={"x.shape": x.shape, "weight.shape": weight.shape})


def test_many_tiles():
    """results of 4×6 and 8×8, which tiles of 2×2 or 4×4 fill"""
    weight = rng.normal(size=(3, 3, 2, 3))
    for H, W in (6, 8), (10, 10):
        x = rng.normal(size=(2, H, W, 2))
        judge(
            "convolve(x, weight, Window(kernel=(3, 3)), Epilogue())",
            convolve(x, weight, Window((3, 3)), Epilogue()),
            oracle.conv2d(x, weight),
            given={"x.shape": x.shape, "weight.shape": weight.shape},
        )


def test_tiles_that_stick_out():
    """results of 5×7 and 1×3, no multiple of a tile: what of the last tiles lies outside is dropped"""
    weight = rng.normal(size=(3, 3, 2, 3))
    for H, W in (7, 9), (3, 5):
        x = rng.normal(size=(2, H, W, 2))
        judge(
            "convolve(x, weight, Window(kernel=(3, 3)), Epilogue())",
            convolve(x, weight, Window((3, 3)), Epilogue()),
            oracle.conv2d(x, weight),
            given={"x.shape": x.shape, "weight.shape": weight.shape},
        )


def test_padding():
    """the same padding on all sides, and one that differs: tiles begin in the padding"""
    x, weight = rng.normal(size=(2, 5, 6, 2)), rng.normal(size=(3, 3, 2, 4))
    for padding in SAME, ((2, 0), (1, 3)):
        judge(
            f"convolve(x, weight, Window(kernel=(3, 3), padding={padding}), Epilogue())",
            convolve(x, weight, Window((3, 3), padding=padding), Epilogue()),
            oracle.conv2d(x, weight, padding=padding),
            given={"x.shape": x.shape, "weight.shape": weight.shape},
        )


def test_the_epilogue():
    """the bias, what is to be added, and then ReLU"""
    x, weight, bias = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(3, 3, 2, 3)), rng.normal(size=3)
    add = rng.normal(size=(2, 5, 4, 3))
    plain = oracle.conv2d(x, weight, padding=1)
    judge(
        f"convolve(x, weight, Window(kernel=(3, 3), padding={SAME}), Epilogue(bias, add, relu=True))",
        convolve(x, weight, Window((3, 3), padding=SAME), Epilogue(bias, add, relu=True)),
        np.maximum(plain + bias + add, 0),
        given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias},
        mistakes={"the epilogue is left out": plain},
    )


def test_float32_and_more_filters_than_tiles():
    """in float32, with a weight that is larger than the image; rounding may be as large as Winograd's is"""
    x = rng.normal(size=(1, 3, 4, 12)).astype(np.float32)
    weight = rng.normal(size=(3, 3, 12, 16)).astype(np.float32)
    judge(
        f"convolve(x, weight, Window(kernel=(3, 3), padding={SAME}), Epilogue()), in float32",
        convolve(x, weight, Window((3, 3), padding=SAME), Epilogue()),
        oracle.conv2d(x, weight, padding=1).astype(np.float32),
        given={"x.shape": x.shape, "weight.shape": weight.shape},
        tolerance=2e-4,
    )


def test_it_is_not_im2col(monkeypatch):
    """the result is right, but is it Winograd's? columns.im2col is not to be called"""

    def refuse(*_):
        raise Wrong("im2col was called: each filter is to be applied to transformed tiles, with fewer multiplications")

    monkeypatch.setattr(columns, "im2col", refuse)
    x, weight = rng.normal(size=(1, 6, 5, 2)), rng.normal(size=(3, 3, 2, 3))
    judge(
        "convolve(x, weight, Window(kernel=(3, 3)), Epilogue())",
        convolve(x, weight, Window((3, 3)), Epilogue()),
        oracle.conv2d(x, weight),
        given={"x.shape": x.shape, "weight.shape": weight.shape},
    )


def test_parts_of_the_epilogue():
    """each part of the epilogue by itself, in float32"""
    x, weight = rng.normal(size=(1, 4, 5, 2)).astype(np.float32), rng.normal(size=(3, 3, 2, 3)).astype(np.float32)
    bias, add = rng.normal(size=3).astype(np.float32), rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    plain = oracle.conv2d(x, weight)
    for call, epilogue, wanted in (
        ("Epilogue(bias)", Epilogue(bias), plain + bias),
        ("Epilogue(add=add)", Epilogue(add=add), plain + add),
        ("Epilogue(relu=True)", Epilogue(relu=True), np.maximum(plain, 0)),
        ("Epilogue(add=add, relu=True)", Epilogue(add=add, relu=True), np.maximum(plain + add, 0)),
    ):
        judge(
            f"convolve(x, weight, Window(kernel=(3, 3)), {call}), in float32",
            convolve(x, weight, Window((3, 3)), epilogue),
            wanted.astype(np.float32),
            given={"x.shape": x.shape, "weight.shape": weight.shape, "bias": bias, "add.shape": add.shape},
            tolerance=2e-4,
        )


def test_it_rounds_as_winograd_does():
    """a filter that copies its pixel: the sums over a tile lose digits next to 10¹², which direct products do not"""
    x, weight = np.arange(64.0).reshape(1, 8, 8, 1) / 7, np.zeros((3, 3, 1, 1))
    x[0, 2, 2, 0], weight[1, 1] = 1e12, 1.0
    y, call = convolve(x, weight, Window((3, 3)), Epilogue()), "convolve(x, weight, Window(kernel=(3, 3)), Epilogue())"
    off = np.abs(np.asarray(y) - x[:, 1:-1, 1:-1]).max()
    require(off < 1, f"wanted  x[:, 1:-1, 1:-1], but for rounding\ngot     a difference of {off:.3g}", call=call)
    require(
        off > 0,
        "the result is exact to the last bit: so each pixel was multiplied by the filter itself, and no tile "
        "transformed. With Winograd's maps a large pixel costs its neighbours in the tile some digits",
        call=call,
    )
