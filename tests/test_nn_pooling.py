"""Pooling layers: each is its function with the options it was made with."""

import inspect
import math

import numpy as np
import pytest
from judge import assert_close

from minidl import Tensor, nn
from minidl import functional as F

LAYERS = ["MaxPool2d", "AvgPool2d", "LPPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d"]


@pytest.fixture
def x(device):
    return Tensor(np.random.default_rng(0).uniform(0.1, 1, (3, 6, 5, 4)).astype(np.float32), device=device)


SAME = {
    "max, all options": (nn.MaxPool2d(3, 2, 1, 1, False, True), lambda x: F.max_pool2d(x, 3, 2, 1, 1, True)),
    "max, dilated": (nn.MaxPool2d((2, 3), dilation=(3, 1)), lambda x: F.max_pool2d(x, (2, 3), dilation=(3, 1))),
    "avg, all options": (nn.AvgPool2d(3, 2, 1, True, False), lambda x: F.avg_pool2d(x, 3, 2, 1, True, False)),
    "avg, divisor": (nn.AvgPool2d(2, divisor_override=-3), lambda x: F.avg_pool2d(x, 2, divisor_override=-3)),
    "lp, all options": (nn.LPPool2d(3, (2, 4), 3, True), lambda x: F.lp_pool2d(x, 3, (2, 4), 3, True)),
    "lp, infinite": (nn.LPPool2d(math.inf, 2), lambda x: F.max_pool2d(x, 2)),
    "adaptive avg": (nn.AdaptiveAvgPool2d((2, None)), lambda x: F.adaptive_avg_pool2d(x, (2, None))),
    "adaptive max": (nn.AdaptiveMaxPool2d((4, 3)), lambda x: F.adaptive_max_pool2d(x, (4, 3))),
}


@pytest.mark.parametrize("name", SAME)
def test_a_layer_is_its_function(name, x):
    layer, function = SAME[name]
    assert_close(layer(x), function(x), 0)
    assert layer.state_dict() == {}


def test_indices(x):
    pairs = [
        (nn.MaxPool2d(3, 2, return_indices=True), F.max_pool2d(x, 3, 2, return_indices=True)),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), F.adaptive_max_pool2d(x, 2, return_indices=True)),
    ]
    for layer, expected in pairs:
        for actual, one in zip(layer(x), expected, strict=True):
            assert_close(actual, one, 0)


@pytest.mark.torch
@pytest.mark.parametrize("name", LAYERS)
def test_options_and_defaults_are_those_of_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = (inspect.signature(getattr(library, name)).parameters for library in (nn, torch.nn))
    assert [(p, ours[p].default) for p in ours] == [(p, theirs[p].default) for p in theirs]


@pytest.mark.torch
@pytest.mark.parametrize("name", LAYERS)
def test_options_are_attributes_as_in_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    first = {"LPPool2d": (3, 2)}.get(name, (2,))
    ours, theirs = (getattr(library, name)(*first) for library in (nn, torch.nn))
    for option in inspect.signature(type(ours)).parameters:
        assert getattr(ours, option) == getattr(theirs, option), option


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MaxPool2d", {"kernel_size": (3, 2), "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
        ("AvgPool2d", {"kernel_size": 3, "stride": 1, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
        ("LPPool2d", {"norm_type": 2, "kernel_size": (3, 2), "stride": (1, 2), "ceil_mode": True}),
        ("AdaptiveAvgPool2d", {"output_size": (None, 2)}),
        ("AdaptiveMaxPool2d", {"output_size": 3}),
    ],
)
def test_layers_against_torch(name, options, x):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    y = getattr(torch.nn, name)(**options)(torch.from_numpy(x.numpy().transpose(0, 3, 1, 2)))
    assert_close(getattr(nn, name)(**options)(x), y.numpy().transpose(0, 2, 3, 1), 1e-6)


REPRS = {
    "MaxPool2d(kernel_size=2, stride=2)": lambda: nn.MaxPool2d(2),
    "MaxPool2d(kernel_size=(3, 2), stride=2, padding=1, dilation=2, return_indices=True, ceil_mode=True)": (
        lambda: nn.MaxPool2d((3, 2), 2, 1, 2, True, True)
    ),
    "AvgPool2d(kernel_size=(3, 2), stride=(3, 2))": lambda: nn.AvgPool2d((3, 2)),
    "AvgPool2d(kernel_size=2, stride=1, padding=1, ceil_mode=True, count_include_pad=False, divisor_override=3)": (
        lambda: nn.AvgPool2d(2, 1, 1, True, False, 3)
    ),
    "LPPool2d(norm_type=2, kernel_size=3)": lambda: nn.LPPool2d(2, 3),
    "LPPool2d(norm_type=1.5, kernel_size=3, stride=(2, 1), ceil_mode=True)": lambda: nn.LPPool2d(1.5, 3, (2, 1), True),
    "AdaptiveAvgPool2d(output_size=(1, None))": lambda: nn.AdaptiveAvgPool2d((1, None)),
    "AdaptiveMaxPool2d(output_size=2)": lambda: nn.AdaptiveMaxPool2d(2),
    "AdaptiveMaxPool2d(output_size=2, return_indices=True)": lambda: nn.AdaptiveMaxPool2d(2, True),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr(text):
    assert repr(REPRS[text]()) == text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be .* at least 1; got 0"),
        (lambda: nn.MaxPool2d(3, 0), "MaxPool2d: stride must be .* at least 1; got 0"),
        (lambda: nn.MaxPool2d(3, padding=2), "MaxPool2d: padding may be at most half the kernel 3, got 2"),
        (lambda: nn.MaxPool2d(3, dilation=0), "MaxPool2d: dilation must be .* at least 1; got 0"),
        (lambda: nn.AvgPool2d((2, 2.5)), r"AvgPool2d: kernel_size must be .* got \(2, 2.5\)"),
        (lambda: nn.AvgPool2d(2, (1, 0)), r"AvgPool2d: stride must be .* got \(1, 0\)"),
        (lambda: nn.AvgPool2d(2, padding=-1), "AvgPool2d: padding must be .* got -1"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "AvgPool2d: divisor_override must be .* other than 0, got 0"),
        (lambda: nn.LPPool2d(0, 2), "LPPool2d: norm_type must be a number other than 0, got 0"),
        (lambda: nn.LPPool2d(2, -2), "LPPool2d: kernel_size must be .* got -2"),
        (lambda: nn.LPPool2d(2, 2, 0), "LPPool2d: stride must be .* got 0"),
        (lambda: nn.AdaptiveAvgPool2d(-1), "AdaptiveAvgPool2d: output_size must be .* got -1"),
        (lambda: nn.AdaptiveMaxPool2d((1, 2, 3)), r"AdaptiveMaxPool2d: output_size must be .* got \(1, 2, 3\)"),
    ],
)  # fmt: skip
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
