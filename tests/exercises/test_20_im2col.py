"""Judges of exercise 20: im2col, the windows of images as rows of a matrix."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import judge, untouched
from minidl.kernels.columns import im2col
from minidl.kernels.window import Window

pytestmark = pytest.mark.exercise("im2col")

rng = np.random.default_rng(20)


def rows_of_windows(x, kernel, stride=(1, 1), dilation=(1, 1)):
    """The windows of x (N, H, W, C), one after the other: (N·OH·OW, KH·KW·C)."""
    rows = oracle.unfold(x, kernel, dilation, 0, stride)  # (N, OH·OW, KH·KW·C)
    return rows.reshape(-1, rows.shape[2]).astype(x.dtype)


def test_four_windows():
    """a window of 2×2 stands at four places of nine numbers: four rows, each in reading order"""
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).reshape(1, 3, 3, 1)
    wanted = [[1.0, 2.0, 4.0, 5.0], [2.0, 3.0, 5.0, 6.0], [4.0, 5.0, 7.0, 8.0], [5.0, 6.0, 8.0, 9.0]]
    judge(
        "im2col(x, Window(kernel=(2, 2)))",
        im2col(x, Window((2, 2))),
        np.array(wanted),
        given={"x[0, :, :, 0]": x[0, :, :, 0]},
    )


def test_channels_stay_together():
    """two pixels of two channels: a row has all channels of one pixel, then those of the next"""
    x = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]).reshape(1, 1, 3, 2)
    judge(
        "im2col(x, Window(kernel=(1, 2)))",
        im2col(x, Window((1, 2))),
        np.array([[1.0, 10.0, 2.0, 20.0], [2.0, 20.0, 3.0, 30.0]]),
        given={"x[0, 0]": x[0, 0]},
        mistakes={
            "the order in a row is (c, kh, kw)": np.array([[1.0, 2.0, 10.0, 20.0], [2.0, 3.0, 20.0, 30.0]]),
        },
    )


def test_several_images():
    """the rows of the first image come first; of an image, those of its first row of windows"""
    x = rng.normal(size=(3, 5, 4, 2))
    call = "im2col(x, Window(kernel=(3, 2)))"
    with untouched(call, x=x):
        columns = im2col(x, Window((3, 2)))
    judge(call, columns, rows_of_windows(x, (3, 2)), given={"x": x})


def test_stride_and_dilation():
    """windows that leave a remainder, windows with gaps between their elements, and both"""
    x = rng.normal(size=(2, 8, 7, 3))
    for stride, dilation in ((2, 3), (1, 1)), ((1, 1), (2, 3)), ((3, 2), (2, 1)):
        judge(
            f"im2col(x, Window(kernel=(3, 2), stride={stride}, dilation={dilation}))",
            im2col(x, Window((3, 2), stride, dilation=dilation)),
            rows_of_windows(x, (3, 2), stride, dilation),
            given={"x": x},
            mistakes={"the dilation is ignored": rows_of_windows(x, (3, 2), stride)},
        )


def test_the_padding_is_there_already():
    """the window knows of a padding, but x has it already: it must not be counted, nor added, once more"""
    x = rng.normal(size=(2, 5, 6, 2))  # an image of 3×5 with its padding
    judge(
        "im2col(x, Window(kernel=(2, 3), padding=((1, 1), (0, 1)))), where x is 5×6 with its padding",
        im2col(x, Window((2, 3), padding=((1, 1), (0, 1)))),
        rows_of_windows(x, (2, 3)),
        given={"x": x},
    )


def test_a_window_of_one_pixel():
    """for a window of 1×1 the matrix is the image itself, a row for each pixel; with stride 2, for every other one"""
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    for stride in (1, 1), (2, 2):
        judge(
            f"im2col(x, Window(kernel=(1, 1), stride={stride})), x in float32",
            im2col(x, Window((1, 1), stride)),
            rows_of_windows(x, (1, 1), stride),
            given={"x": x},
        )


def test_some_channels_of_an_image():
    """x may be a part of a larger array, in float32: the channels of one group"""
    image = rng.normal(size=(2, 4, 5, 6)).astype(np.float32)
    x = image[..., 2:4]
    judge(
        "im2col(image[..., 2:4], Window(kernel=(2, 2), stride=(1, 2))), where image is (2, 4, 5, 6), in float32",
        im2col(x, Window((2, 2), (1, 2))),
        rows_of_windows(x, (2, 2), (1, 2)),
        given={"image.shape": image.shape},
    )
