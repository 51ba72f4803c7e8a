"""Judges of exercise 15: first weights."""

import math

import numpy as np
import pytest

import minidl
from minidl.exercises.judging import judge, require
from minidl.nn import init

pytestmark = pytest.mark.exercise("kaiming")


def test_fans_of_a_convolution():
    """a convolution's weight (KH, KW, C, F): each output sums over a window of KH·KW pixels with C channels each"""
    judge(
        "fans((3, 5, 7, 2)), KH = 3, KW = 5, C = 7, F = 2",
        init.fans((3, 5, 7, 2)),
        (105.0, 30.0),  # 3·5·7 and 3·5·2
        mistakes={
            "the area of the window is left out": (7.0, 2.0),
            "the two are exchanged": (30.0, 105.0),
            "the shape is read as (F, C, KH, KW), PyTorch's layout": (70.0, 42.0),
        },
    )
    judge("fans((1, 1, 64, 32))", init.fans((1, 1, 64, 32)), (64.0, 32.0))


def test_fans_of_a_linear_weight():
    """a linear weight (I, O): each output sums over I terms, each gradient to the input over O"""
    exchanged = {"the two are exchanged": (10.0, 3.0)}
    judge("fans((3, 10))", init.fans((3, 10)), (3.0, 10.0), mistakes=exchanged)


def spread(draw, fan):
    """The standard deviation of a draw, as a multiple of 1 / √fan."""
    return float(np.sqrt(np.mean(np.square(draw, dtype=np.float64)))) * math.sqrt(fan)


def test_standard_deviation_before_relu():
    """a large draw of (200, 800): its standard deviation is √2 / √200"""
    minidl.manual_seed(15)
    draw = init.kaiming_normal((200, 800))
    judge("kaiming_normal((200, 800)).shape", draw.shape, (200, 800))
    judge(
        "kaiming_normal((200, 800)), its standard deviation times √fan_in",
        spread(draw, 200),
        math.sqrt(2.0),
        tolerance=0.01,
    )
    judge(
        'kaiming_normal((200, 800), "fan_out"), its standard deviation times √fan_out',
        spread(init.kaiming_normal((200, 800), "fan_out"), 800),
        math.sqrt(2.0),
        tolerance=0.01,
    )
    judge(
        "kaiming_normal((200, 800)), its mean times √fan_in", float(draw.mean()) * math.sqrt(200), 0.0, tolerance=0.02
    )


def test_modes_and_nonlinearities():
    """a convolution's weight (3, 5, 16, 400), by both modes, before a ReLU, a tanh, a sigmoid, and nothing"""
    for mode, fan in (("fan_in", 3 * 5 * 16), ("fan_out", 3 * 5 * 400)):
        for nonlinearity, gain in (("relu", math.sqrt(2.0)), ("tanh", 5 / 3), ("sigmoid", 1.0), ("linear", 1.0)):
            minidl.manual_seed(16)
            draw = init.kaiming_normal((3, 5, 16, 400), mode, nonlinearity)
            judge(
                f'kaiming_normal((3, 5, 16, 400), "{mode}", "{nonlinearity}"), its standard deviation times √{fan}',
                spread(draw, fan),
                gain,
                tolerance=0.01,
            )


def test_normal():
    """a bell curve: one value in 370 is further away than 3 standard deviations, where a uniform draw has none"""
    minidl.manual_seed(17)
    draw = init.kaiming_normal((500, 400))
    far = float(np.mean(abs(draw) > 3 * math.sqrt(2 / 500)))
    judge("kaiming_normal((500, 400)), how many of 10,000 are beyond 3 σ", 1e4 * far, 27.0, tolerance=0.15)
    inner = float(np.mean(abs(draw) < math.sqrt(2 / 500)))
    judge("kaiming_normal((500, 400)), how many of 100 are within 1 σ", 100 * inner, 68.27, tolerance=0.01)


def test_dtype():
    """float32 unless asked otherwise"""
    judge("kaiming_normal((2, 3)).dtype", init.kaiming_normal((2, 3)).dtype, np.dtype(np.float32))
    wide = init.kaiming_normal((2, 3), dtype=np.float64)
    judge("kaiming_normal((2, 3), dtype=np.float64).dtype", wide.dtype, np.dtype(np.float64))


def test_repeatable():
    """the same seed gives the same weights, and the next draw others"""
    call = "minidl.manual_seed(1), then kaiming_normal((3, 4))"
    minidl.manual_seed(1)
    first, second = init.kaiming_normal((3, 4)), init.kaiming_normal((3, 4))
    minidl.manual_seed(1)
    again = init.kaiming_normal((3, 4))
    same = np.array_equal(first, again)
    require(same, "twice the same seed gave different weights: they must come from minidl's generator()", call=call)
    require(not np.array_equal(first, second), "two layers got the very same weights", call=f"{call}, twice")
