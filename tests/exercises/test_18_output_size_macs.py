"""Judges of exercise 18: at how many places a window stands, and what a layer costs in multiply-adds."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import judge, require
from minidl.inspection.tracing import macs
from minidl.kernels.window import Window
from minidl.ops.activation import Relu
from minidl.ops.conv import Conv2d, Conv2dInputGradient, Conv2dReLU
from minidl.ops.matmul import MatMul

pytestmark = pytest.mark.exercise("output-size-macs")


def array(*shape):
    """An array of this shape that takes no memory: only its shape matters here."""
    return np.broadcast_to(np.float32(0), shape)


def cost_of_convolution(image, weight, output, groups=1):
    """What macs says of a convolution of an image (N, H, W, C) with a weight (KH, KW, C/G, F)."""
    return macs(Conv2d(Window(weight[:2]), groups), (array(*image), array(*weight), None, None), output)


# ---- output_size


def test_three_in_five():
    """a window of 3 in a row of 5 stands at 0, 1 and 2; with stride 2, at 0 and 2"""
    judge("Window(kernel=(3, 3)).output_size(5, 4)", Window((3, 3)).output_size(5, 4), (3, 2))
    judge("Window(kernel=(3, 3), stride=(2, 2)).output_size(5, 7)", Window((3, 3), (2, 2)).output_size(5, 7), (2, 3))


def test_a_remainder_is_left_over():
    """stride 2 in a row of 6: a third window of 3 would end outside, so there are two"""
    judge("Window(kernel=(3, 3), stride=(2, 2)).output_size(6, 8)", Window((3, 3), (2, 2)).output_size(6, 8), (2, 3))


def test_padding_may_differ_on_all_sides():
    """one row above and none below, two columns on the left and three on the right: all of them make room"""
    window = Window((3, 2), padding=((1, 0), (2, 3)))
    judge("Window(kernel=(3, 2), padding=((1, 0), (2, 3))).output_size(4, 4)", window.output_size(4, 4), (3, 8))


def test_a_dilated_window_is_larger():
    """three elements, 2 apart, reach over five rows; two elements, 3 apart, over four columns"""
    window = Window((3, 2), dilation=(2, 3))
    judge("Window(kernel=(3, 2), dilation=(2, 3)).output_size(7, 7)", window.output_size(7, 7), (3, 4))


def test_ceil_mode_keeps_a_last_window_that_begins_inside():
    """with ceil_mode a window may end outside the padded image, but not begin in the padding at the end"""
    over = Window((3, 3), (2, 2), ceil_mode=True)
    judge(
        "Window(kernel=(3, 3), stride=(2, 2), ceil_mode=True).output_size(6, 7): 7 leaves nothing over",
        over.output_size(6, 7),
        (3, 3),
    )
    behind = Window((2, 2), (2, 2), ((1, 1), (0, 0)), ceil_mode=True)
    judge(
        "Window(kernel=(2, 2), stride=(2, 2), padding=((1, 1), (0, 0)), ceil_mode=True).output_size(3, 3)\n\n"
        "a third window down would begin at row 2 · 2 − 1 = 3, and the image ends with row 2",
        behind.output_size(3, 3),
        (2, 2),
    )
    apart = Window((3, 3), (2, 2), ((2, 0), (0, 2)), ceil_mode=True)
    judge(
        "Window(kernel=(3, 3), stride=(2, 2), padding=((2, 0), (0, 2)), ceil_mode=True).output_size(4, 4)\n\n"
        "a third window down begins at row 2 · 2 of six, in the image; one to the right would begin behind it",
        apart.output_size(4, 4),
        (3, 2),
    )


def test_too_small_an_image_has_no_place():
    """a window of 4 does not fit into a row of 3: that must not come out as one place, whatever the stride"""
    for stride in 1, 2, 3:
        call = f"Window(kernel=(4, 4), stride=({stride}, {stride})).output_size(3, 3)"
        got = Window((4, 4), (stride, stride)).output_size(3, 3)
        require(max(got) < 1, f"wanted  less than 1 in both directions\ngot     {got}", call=call)


def test_every_combination():
    """sizes 7 to 10, kernels, strides, paddings and dilations, rounded down and up: as many as one can count"""
    rng = np.random.default_rng(18)
    for _ in range(40):
        (H, W), kernel, stride = rng.integers(7, 11, 2), rng.integers(1, 4, 2), rng.integers(1, 4, 2)
        padding, dilation, ceil_mode = rng.integers(0, kernel // 2 + 1), rng.integers(1, 3, 2), bool(rng.integers(2))
        options = [tuple(int(n) for n in pair) for pair in (kernel, stride, padding, dilation)]
        counted = oracle.max_pool2d(np.zeros((1, H, W, 1)), *options, ceil_mode).shape[1:3]
        (top, left), H, W = options[2], int(H), int(W)
        window = Window(options[0], options[1], ((top, top), (left, left)), options[3], ceil_mode)
        judge(f"{window}.output_size({H}, {W})", window.output_size(H, W), counted)


# ---- macs


def test_a_small_convolution():
    """2 · 3 · 3 · 4 results, and 3 · 2 · 5 products for each: it is the weight that says how many"""
    cost = cost_of_convolution((2, 5, 4, 5), (3, 2, 5, 4), (2, 3, 3, 4))
    judge("macs of a convolution: weight (3, 2, 5, 4), result (2, 3, 3, 4)", cost, 2 * 3 * 3 * 4 * (3 * 2 * 5))


def test_groups_cost_less():
    """each filter sees the channels of its group only: with 3 groups of 6 channels, 2"""
    cost = cost_of_convolution((1, 5, 5, 6), (3, 3, 2, 9), (1, 3, 3, 9), groups=3)
    judge("macs of a convolution of 6 channels with groups=3: weight (3, 3, 2, 9)", cost, 9 * 9 * (3 * 3 * 2))


def test_the_naive_inception_module():
    """the lecture's naive Inception module on 28×28×256: 854 million multiply-adds; its pooling has none"""
    image = (1, 28, 28, 256)
    branches = [(1, 1, 256, 128), (3, 3, 256, 192), (5, 5, 256, 96)]
    total = sum(cost_of_convolution(image, weight, (1, 28, 28, weight[3])) for weight in branches)
    judge(f"macs of the convolutions {branches} of a 28×28×256 image, added up", total, 854_196_224)


def test_the_reduced_inception_module():
    """with 1×1 convolutions before the large ones and after the pooling: 271 million, not the slide's 358"""
    wide, narrow = (1, 28, 28, 256), (1, 28, 28, 64)
    branches = [
        (wide, (1, 1, 256, 128)),
        (wide, (1, 1, 256, 64)),
        (narrow, (3, 3, 64, 192)),
        (wide, (1, 1, 256, 64)),
        (narrow, (5, 5, 64, 96)),
        (wide, (1, 1, 256, 64)),
    ]
    total = sum(cost_of_convolution(image, weight, (1, 28, 28, weight[3])) for image, weight in branches)
    judge(f"macs of the convolutions {[weight for _, weight in branches]} on 28×28, added up", total, 271_351_808)


def test_other_operations():
    """a fused convolution is one too; a transposed one, matrix products, and an operation that multiplies nothing"""
    x, weight, y = array(2, 5, 4, 5), array(3, 2, 5, 4), (2, 3, 3, 4)
    judge("macs(Conv2dReLU(...), ...)", macs(Conv2dReLU(Window((3, 2)), 1), (x, weight, None, None), y), 2160)
    transposed = Conv2dInputGradient(Window((3, 2), (2, 2)), 1, (7, 6))
    g = array(2, 3, 3, 4)  # what that convolution makes of images of 7×6
    judge(
        "macs(Conv2dInputGradient(...), (g, weight), (2, 7, 6, 5))\n\n"
        "the convolution that it is the adjoint of makes 2 × 3×3×4 results of 30 products each",
        macs(transposed, (g, weight), (2, 7, 6, 5)),
        2160,
        given={"g.shape": g.shape, "weight.shape": weight.shape},
    )
    of_groups = macs(Conv2dInputGradient(Window((3, 2), (2, 2)), 2, (7, 6)), (g, array(3, 2, 3, 4)), (2, 7, 6, 6))
    judge(
        "the same with two groups of 3 channels and 2 filters, weight (3, 2, 3, 4): 18 products each", of_groups, 1296
    )
    for shape in (3, 5), (7, 3, 5):
        product = macs(MatMul(), (array(7, 2, 3), array(*shape)), (7, 2, 5))
        judge(f"macs(MatMul(), (A, B), (7, 2, 5)), with A (7, 2, 3) and B {shape}", product, 210)
    judge("macs(Relu(), (x,), x.shape)", macs(Relu(), (x,), x.shape), 0)
