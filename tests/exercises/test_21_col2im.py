"""Judges of exercise 21: col2im, the adjoint of im2col."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import judge, untouched
from minidl.kernels.columns import col2im
from minidl.kernels.window import Window

pytestmark = pytest.mark.exercise("col2im")

rng = np.random.default_rng(21)


def added_back(columns, shape, kernel, stride=(1, 1), dilation=(1, 1)):
    """Zeros (N, H, W, C), and each row of columns (N·OH·OW, KH·KW·C) added to its window of them."""
    N, H, W, _ = shape
    rows = columns.reshape(N, -1, columns.shape[1])  # (N, OH·OW, KH·KW·C)
    return oracle.fold(rows, (H, W), kernel, dilation, 0, stride)


def test_two_windows_that_overlap():
    """windows of two over three pixels: the one in the middle is in both, and gets the sum"""
    columns = np.array([[1.0, 2.0], [10.0, 20.0]])
    x = np.zeros((1, 1, 3, 1))
    col2im(columns, x, Window((1, 2)))
    judge(
        "x = np.zeros((1, 1, 3, 1))\ncol2im(columns, x, Window(kernel=(1, 2)))",
        x,
        np.array([1.0, 12.0, 20.0]).reshape(1, 1, 3, 1),
        given={"columns": columns},
        mistakes={
            "`=` stands where `+=` belongs, and of two windows the later one stays": np.array(
                [1.0, 10.0, 20.0]
            ).reshape(1, 1, 3, 1),
            "`=` stands where `+=` belongs, and of two positions (kh, kw) the later one stays": np.array(
                [1.0, 2.0, 20.0]
            ).reshape(1, 1, 3, 1),
            "x is left as it was: `x = x + ...` makes a new array, `x[...] += ...` adds to this one": np.zeros(
                (1, 1, 3, 1)
            ),
        },
    )


def test_what_x_holds_stays():
    """the rows are added to what is in x, which other windows may have left there"""
    columns = np.array([[1.0, 2.0], [10.0, 20.0]])
    x = np.array([100.0, 200.0, 300.0]).reshape(1, 1, 3, 1)
    col2im(columns, x, Window((1, 2)))
    judge(
        "col2im(columns, x, Window(kernel=(1, 2)))",
        x,
        np.array([101.0, 212.0, 320.0]).reshape(1, 1, 3, 1),
        given={"columns": columns, "x[0, 0, :, 0]": np.array([100.0, 200.0, 300.0])},
        mistakes={"x is set to zero first": np.array([1.0, 12.0, 20.0]).reshape(1, 1, 3, 1)},
    )


def test_the_order_in_a_row():
    """a row holds (kh, kw, c): a window of 2×3 on two channels, without any overlap"""
    columns = np.arange(1.0, 13.0).reshape(1, 12)
    x = np.zeros((1, 2, 3, 2))
    col2im(columns, x, Window((2, 3)))
    judge(
        "x = np.zeros((1, 2, 3, 2))\ncol2im(columns, x, Window(kernel=(2, 3)))",
        x,
        np.arange(1.0, 13.0).reshape(1, 2, 3, 2),
        given={"columns": columns},
        mistakes={"the order in a row is taken as (c, kh, kw)": columns.reshape(2, 2, 3).transpose(1, 2, 0)[None]},
    )


def test_the_padding_is_there_already():
    """the window has a padding, of which x is told nothing more: it is as large as the padded image"""
    columns = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    x = np.zeros((1, 1, 4, 1))
    col2im(columns, x, Window((1, 2), padding=((0, 0), (1, 1))))
    judge(
        "x = np.zeros((1, 1, 4, 1))\ncol2im(columns, x, Window(kernel=(1, 2), padding=((0, 0), (1, 1))))",
        x,
        np.array([1.0, 12.0, 120.0, 200.0]).reshape(1, 1, 4, 1),
        given={"columns": columns},
    )


def test_stride_and_dilation():
    """overlap in one direction and gaps in the other, a remainder that no window reaches, several images"""
    shape, kernel = (2, 8, 7, 3), (3, 2)
    for stride, dilation, places in (
        ((1, 1), (1, 1), 36),
        ((2, 3), (1, 1), 6),
        ((1, 1), (2, 3), 16),
        ((3, 2), (2, 1), 6),
    ):
        columns = rng.normal(size=(2 * places, 18))
        x = np.zeros(shape)
        call = (
            f"x = np.zeros({shape})\ncol2im(columns, x, Window(kernel={kernel}, stride={stride}, dilation={dilation}))"
        )
        with untouched(call, columns=columns):
            col2im(columns, x, Window(kernel, stride, dilation=dilation))
        judge(call, x, added_back(columns, shape, kernel, stride, dilation), given={"columns": columns})


def test_it_is_the_adjoint_of_im2col():
    """⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩ for random x and y: that is what makes it the gradient"""
    x, y = rng.normal(size=(2, 6, 5, 2)), rng.normal(size=(2 * 4 * 2, 3 * 2 * 2))
    rows = oracle.unfold(x, (3, 2), 1, 0, (1, 3)).reshape(y.shape)
    back = np.zeros(x.shape)
    col2im(y, back, Window((3, 2), (1, 3)))
    judge(
        "⟨x, col2im(y)⟩, which should be ⟨im2col(x), y⟩, for a window of 3×2 and stride (1, 3)",
        float(np.sum(x * back)),
        float(np.sum(rows * y)),
        given={"x": x, "y": y},
    )


def test_some_channels_of_an_image():
    """x may be a part of a larger array, in float32: the channels of one group; the others must stay as they are"""
    columns = rng.normal(size=(2 * 4 * 3, 4 * 2)).astype(np.float32)
    image = np.zeros((2, 5, 4, 6), dtype=np.float32)
    col2im(columns, image[..., 2:4], Window((2, 2)))
    wanted = np.zeros(image.shape, dtype=np.float32)
    wanted[..., 2:4] = added_back(columns, (2, 5, 4, 2), (2, 2))
    judge(
        "image = np.zeros((2, 5, 4, 6), dtype=np.float32)\ncol2im(columns, image[..., 2:4], Window(kernel=(2, 2)))",
        image,
        wanted,
        given={"columns": columns},
        tolerance=1e-5,
    )


def test_a_window_of_one_pixel():
    """windows of 1×1 with stride 2 meet every other pixel; also here, what x holds stays"""
    columns, before = rng.normal(size=(2 * 2 * 3, 2)), rng.normal(size=(2, 4, 5, 2))
    x = before.copy()
    col2im(columns, x, Window((1, 1), (2, 2)))
    judge(
        "col2im(columns, x, Window(kernel=(1, 1), stride=(2, 2)))",
        x,
        before + added_back(columns, x.shape, (1, 1), (2, 2)),
        given={"columns": columns, "x.shape": x.shape},
    )
