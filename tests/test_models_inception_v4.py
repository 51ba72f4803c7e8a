"""Inception-v4: modules against PyTorch and finite differences; names, sizes and first weights."""

import numpy as np
import pytest
from architectures import built
from inception_twin import (
    assert_computes_as_listed,
    assert_counts,
    concatenate,
    images,
    in_parallel,
    layout,
    notes_when_too_small,
    pooled,
    unit,
)
from torch_twin import assert_twins, published, sequence, torch_nn, twin

import minidl
from minidl import nn
from minidl.checks import check_module
from models.inception_v4 import (
    InceptionA,
    InceptionB,
    InceptionC,
    Mixed3a,
    Mixed4a,
    Mixed5a,
    ReductionA,
    ReductionB,
    inception_v4,
    pooled_conv,
    stem,
)

ROW7, COLUMN7 = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
ROW3, COLUMN3 = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}


def maximum():
    return torch_nn().MaxPool2d(3, stride=2)


def torch_3a():
    return twin(in_parallel, maxpool=maximum(), conv=unit(64, 96, 3, stride=2))


def torch_4a():
    return twin(
        in_parallel,
        branch0=sequence(unit(160, 64, 1), unit(64, 96, 3)),
        branch1=sequence(unit(160, 64, 1), unit(64, 64, **ROW7), unit(64, 64, **COLUMN7), unit(64, 96, 3)),
    )


def torch_5a():
    return twin(in_parallel, conv=unit(192, 192, 3, stride=2), maxpool=maximum())


def torch_stem(C):
    first = unit(C, 32, 3, stride=2), unit(32, 32, 3), unit(32, 64, 3, padding=1)
    return sequence(*first, torch_3a(), torch_4a(), torch_5a())


def torch_a(C):
    return twin(
        in_parallel,
        branch0=unit(C, 96, 1),
        branch1=sequence(unit(C, 64, 1), unit(64, 96, 3, padding=1)),
        branch2=sequence(unit(C, 64, 1), unit(64, 96, 3, padding=1), unit(96, 96, 3, padding=1)),
        branch3=pooled(C, 96),
    )


def torch_reduction_a(C, k, l, m, n):  # noqa: E741 - the paper's letters
    return twin(
        in_parallel,
        branch0=unit(C, n, 3, stride=2),
        branch1=sequence(unit(C, k, 1), unit(k, l, 3, padding=1), unit(l, m, 3, stride=2)),
        branch2=maximum(),
    )


def torch_b(C):
    return twin(
        in_parallel,
        branch0=unit(C, 384, 1),
        branch1=sequence(unit(C, 192, 1), unit(192, 224, **ROW7), unit(224, 256, **COLUMN7)),
        branch2=sequence(
            unit(C, 192, 1),
            unit(192, 192, **COLUMN7),
            unit(192, 224, **ROW7),
            unit(224, 224, **COLUMN7),
            unit(224, 256, **ROW7),
        ),
        branch3=pooled(C, 128),
    )


def torch_reduction_b(C):
    return twin(
        in_parallel,
        branch0=sequence(unit(C, 192, 1), unit(192, 192, 3, stride=2)),
        branch1=sequence(
            unit(C, 256, 1), unit(256, 256, **ROW7), unit(256, 320, **COLUMN7), unit(320, 320, 3, stride=2)
        ),
        branch2=maximum(),
    )


def torch_c(C):
    def forward(m, x):
        y, z = m.branch1_0(x), m.branch2_2(m.branch2_1(m.branch2_0(x)))
        y, z = concatenate(m.branch1_1a(y), m.branch1_1b(y)), concatenate(m.branch2_3a(z), m.branch2_3b(z))
        return concatenate(m.branch0(x), y, z, m.branch3(x))

    return twin(
        forward,
        branch0=unit(C, 256, 1),
        branch1_0=unit(C, 384, 1),
        branch1_1a=unit(384, 256, **ROW3),
        branch1_1b=unit(384, 256, **COLUMN3),
        branch2_0=unit(C, 384, 1),
        branch2_1=unit(384, 448, **COLUMN3),
        branch2_2=unit(448, 512, **ROW3),
        branch2_3a=unit(512, 256, **ROW3),
        branch2_3b=unit(512, 256, **COLUMN3),
        branch3=pooled(C, 256),
    )


MODULES = {  # of ours and PyTorch's parts, arguments, images, what comes out
    "pooling": (pooled_conv, pooled, (4, 5), (2, 4, 3, 4), (2, 4, 3, 5)),
    "stem": (lambda C: nn.Sequential(*stem(C)), torch_stem, (2,), (2, 43, 44, 2), (2, 3, 3, 384)),
    "3a": (Mixed3a, torch_3a, (), (2, 6, 5, 64), (2, 2, 2, 160)),
    "4a": (Mixed4a, torch_4a, (), (2, 4, 5, 160), (2, 2, 3, 192)),
    "5a": (Mixed5a, torch_5a, (), (2, 6, 5, 192), (2, 2, 2, 384)),
    "A": (InceptionA, torch_a, (4,), (2, 5, 4, 4), (2, 5, 4, 384)),
    "reduction A": (ReductionA, torch_reduction_a, (4, 3, 5, 6, 7), (2, 7, 6, 4), (2, 3, 2, 6 + 7 + 4)),
    "B": (InceptionB, torch_b, (4,), (2, 5, 4, 4), (2, 5, 4, 1024)),
    "reduction B": (ReductionB, torch_reduction_b, (4,), (2, 7, 6, 4), (2, 3, 2, 512 + 4)),
    "C": (InceptionC, torch_c, (4,), (2, 3, 4, 4), (2, 3, 4, 1536)),
}
every_module = pytest.mark.parametrize(("build", "other", "arguments", "shape", "out"), MODULES.values(), ids=MODULES)


@pytest.mark.torch
@every_module
def test_module_is_pytorchs(build, other, arguments, shape, out, monkeypatch):
    assert_twins(build(*arguments), other(*arguments), shape, monkeypatch)


@every_module
def test_gradients_of_a_module(build, other, arguments, shape, out):
    """First and second derivatives along random directions."""
    check_module(lambda: build(*arguments), shape, fast=True)


@every_module
def test_shape_of_a_module(build, other, arguments, shape, out, rng):
    assert build(*arguments)(images(rng, *shape)).shape == out


# --------------------------------------------------------------------------------------------------- the network


def test_names_and_shapes_are_timms():
    net = built(inception_v4)
    assert layout(net) == list(published("inception_v4").items())


def test_parameters():
    net = built(inception_v4)
    assert_counts(net, "inception_v4")
    assert f"{sum(parameter.size for parameter in net.parameters()):,}" in inception_v4.__doc__


def test_options():
    net = built(inception_v4, 7, 1)
    assert net.features[0].conv.weight.shape == (3, 3, 1, 32)
    assert net.last_linear.weight.shape == (1536, 7)
    assert net.head_drop.p == pytest.approx(1 - 0.8)  # the paper says what is kept
    assert built(inception_v4, dropout=0.5).head_drop.p == 0.5


def test_repr_shows_one_module_a_resolution():
    lines = repr(built(inception_v4)).splitlines()
    for row in (
        "(6-9): 4 × InceptionA(",
        "(10): ReductionA(",
        "(11-17): 7 × InceptionB(",
        "(18): ReductionB(",
        "(19-21): 3 × InceptionC(",
    ):
        assert f"    {row}" in lines
    assert max(map(len, lines)) <= 120


def test_smallest_images(rng):
    """75 rows in both modes."""
    net = inception_v4(7)
    x = images(rng, 2, 75, 107, 3)
    with minidl.no_grad():
        scores = net(x)
    assert (scores.shape, scores.dtype) == ((2, 7), np.float32)
    scores = assert_computes_as_listed(net, x).numpy()
    assert np.isfinite(scores).all()
    assert not np.array_equal(*scores), "two images, one answer"
    assert notes_when_too_small(net, 74) == [
        "in layer features.18.branch0.1.conv of InceptionV4: Conv2d(192, 192, kernel_size=(3, 3), stride=2, bias=False)"
    ]


def test_dropout_is_before_the_last_layer():
    """With all dropped, scores are the last layer's bias."""
    net = built(inception_v4, 7, dropout=1.0)
    net.last_linear.weight.data = np.ones((1536, 7), np.float32)
    net.last_linear.bias.data = np.arange(7, dtype=np.float32)
    for bias in net.features[-1].branch0.bn.bias, net.features[-1].branch3[1].bn.bias:
        bias.data = np.ones(256, np.float32)
    x = minidl.Tensor(np.zeros((2, 75, 75, 3), np.float32))
    with minidl.no_grad():
        np.testing.assert_array_equal(net(x).numpy(), [np.arange(7)] * 2)
        np.testing.assert_array_equal(net.eval()(x).numpy(), [512 + np.arange(7)] * 2)
