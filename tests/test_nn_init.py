"""Initial weights: fans read off our layouts, and the statistics they ask for."""

import numpy as np
import pytest

import minidl
from minidl.nn import init


def test_fans():
    assert init.fans((5, 7)) == (5, 7)
    assert init.fans((3, 2, 4, 6)) == (3 * 2 * 4, 3 * 2 * 6)
    assert init.fans((3, 3, 1, 8)) == (9, 72)  # depthwise
    for shape in ((3,), (2, 3, 4), ()):
        with pytest.raises(ValueError, match=r"fans: expected a linear weight \(I, O\) or a convolution's"):
            init.fans(shape)


FAN_IN, FAN_OUT = 3 * 5 * 20, 3 * 5 * 30
STATISTICS = {  # name -> (draw, standard deviation, largest value or None for a normal distribution)
    "kaiming_normal": (lambda s: init.kaiming_normal(s), (2 / FAN_IN) ** 0.5, None),
    "kaiming_normal, fan_out": (lambda s: init.kaiming_normal(s, "fan_out"), (2 / FAN_OUT) ** 0.5, None),
    "kaiming_normal, linear": (lambda s: init.kaiming_normal(s, nonlinearity="linear"), (1 / FAN_IN) ** 0.5, None),
    "kaiming_uniform": (lambda s: init.kaiming_uniform(s), (2 / FAN_IN) ** 0.5, (6 / FAN_IN) ** 0.5),
    "kaiming_uniform, tanh": (
        lambda s: init.kaiming_uniform(s, nonlinearity="tanh"),
        5 / 3 / FAN_IN**0.5,
        5 / 3 * (3 / FAN_IN) ** 0.5,
    ),
    "xavier_normal": (lambda s: init.xavier_normal(s), (2 / (FAN_IN + FAN_OUT)) ** 0.5, None),
    "xavier_normal, gain": (lambda s: init.xavier_normal(s, 2.0), 2 * (2 / (FAN_IN + FAN_OUT)) ** 0.5, None),
    "xavier_uniform": (
        lambda s: init.xavier_uniform(s),
        (2 / (FAN_IN + FAN_OUT)) ** 0.5,
        (6 / (FAN_IN + FAN_OUT)) ** 0.5,
    ),
    "normal": (lambda s: init.normal(s, 0.3), 0.3, None),
    "truncated_normal, far": (lambda s: init.truncated_normal(s, 0.3, 2.0), 0.3, None),
    # cut off at 1.5 σ: the variance is 1 − 2 · 1.5 φ(1.5) / (2 Φ(1.5) − 1) = 0.551 of σ²
    "truncated_normal": (lambda s: init.truncated_normal(s, 0.3, 0.45), 0.3 * 0.551**0.5, 0.45),
    # at σ: 1 − 2 φ(1) / (2 Φ(1) − 1) = 0.291; where next to nothing of the curve is left, it is flat
    "truncated_normal, near": (lambda s: init.truncated_normal(s, 3.0, 3.0), 3 * 0.291**0.5, 3.0),
    "truncated_normal, nearest": (lambda s: init.truncated_normal(s, 0.3, 0.006), 0.006 / 3**0.5, 0.006),
    "uniform": (lambda s: init.uniform(s, 0.3), 0.3 / 3**0.5, 0.3),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_initial_weights(name):
    draw, deviation, bound = STATISTICS[name]
    weight = draw((3, 5, 20, 30))  # 9,000 values: their standard deviation is known to about 1%
    assert (weight.shape, weight.dtype, type(weight)) == ((3, 5, 20, 30), np.float32, np.ndarray)
    assert abs(weight.mean()) < 5 * deviation / 9000**0.5
    assert abs(weight.std() / deviation - 1) < 0.04
    if bound is not None:
        assert 0.99 * bound < abs(weight).max() <= bound * (1 + 1e-6)
    else:
        assert abs(weight).max() > 3 * deviation
    minidl.manual_seed(0)
    np.testing.assert_array_equal(draw((3, 5, 20, 30)), weight)
    assert (draw((3, 5, 20, 30)) != weight).any()


def test_kaiming_keeps_the_size_of_signals_through_relus(rng):
    x = rng.standard_normal((200, 256))
    for _ in range(20):
        x = np.maximum(x @ init.kaiming_normal((256, 256), dtype=np.float64), 0)
    assert 0.3 < (x**2).mean() < 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.kaiming_normal((3, 4), "fan_avg"), 'kaiming: expected mode .* or "fan_out", got \'fan_avg\''),
        (lambda: init.kaiming_uniform((3, 4), nonlinearity="elu"), "gain: expected one of linear, .* got 'elu'"),
        (lambda: init.truncated_normal((3, 4), 1.0, 0.001), r"truncated_normal: .* got std=1.0, bound=0.001"),
        (lambda: init.truncated_normal((3, 4), 0.0, 2.0), r"truncated_normal: expected std > 0 .* got std=0.0"),
    ],
)  # fmt: skip
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()
