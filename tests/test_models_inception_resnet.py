"""Inception-ResNet: blocks against PyTorch and finite differences, scaled residuals; names and sizes of all forms."""

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
from models.inception_resnet import (
    InceptionResNet,
    InceptionResNetA,
    InceptionResNetB,
    InceptionResNetC,
    Mixed5b,
    ReductionB,
    inception_resnet_v1,
    inception_resnet_v2,
    stem_v1,
)


def torch_block(scale, activation=True, **branches):
    """x + scale · conv2d(branches in depth), and ReLU."""

    def forward(m, x):
        y = m.conv2d(concatenate(*(getattr(m, name)(x) for name in branches)))
        y = x + scale * y
        return y.relu() if activation else y

    return lambda channels, depth: twin(forward, **branches, conv2d=torch_nn().Conv2d(depth, channels, 1))


def torch_a(channels, widths, scale=0.17):
    c1, c2 = widths
    return torch_block(
        scale,
        branch0=unit(channels, 32, 1),
        branch1=sequence(unit(channels, 32, 1), unit(32, 32, 3, padding=1)),
        branch2=sequence(unit(channels, 32, 1), unit(32, c1, 3, padding=1), unit(c1, c2, 3, padding=1)),
    )(channels, 64 + c2)


def torch_b(channels, widths, n=7, scale=0.1, activation=True):
    c0, c1, c2, c3 = widths
    row, column = {"kernel": (1, n), "padding": (0, n // 2)}, {"kernel": (n, 1), "padding": (n // 2, 0)}
    return torch_block(
        scale,
        activation,
        branch0=unit(channels, c0, 1),
        branch1=sequence(unit(channels, c1, 1), unit(c1, c2, **row), unit(c2, c3, **column)),
    )(channels, c0 + c3)


def torch_c(channels, widths, scale=0.2, activation=True):
    return torch_b(channels, widths, 3, scale, activation)


def torch_reduction_b(C, widths):
    c0, c1, c2 = widths
    return twin(
        in_parallel,
        branch0=sequence(unit(C, 256, 1), unit(256, c0, 3, stride=2)),
        branch1=sequence(unit(C, 256, 1), unit(256, c1, 3, stride=2)),
        branch2=sequence(unit(C, 256, 1), unit(256, c1, 3, padding=1), unit(c1, c2, 3, stride=2)),
        branch3=torch_nn().MaxPool2d(3, stride=2),
    )


def torch_5b():
    return twin(
        in_parallel,
        branch0=unit(192, 96, 1),
        branch1=sequence(unit(192, 48, 1), unit(48, 64, 5, padding=2)),
        branch2=sequence(unit(192, 64, 1), unit(64, 96, 3, padding=1), unit(96, 96, 3, padding=1)),
        branch3=pooled(192, 64),
    )


def torch_stem_v1(C):
    return sequence(
        unit(C, 32, 3, stride=2),
        unit(32, 32, 3),
        unit(32, 64, 3, padding=1),
        torch_nn().MaxPool2d(3, stride=2),
        unit(64, 80, 1),
        unit(80, 192, 3),
        unit(192, 256, 3, stride=2),
    )


MODULES = {  # of ours and PyTorch's parts, arguments, images, what comes out
    "stem": (lambda C: nn.Sequential(*stem_v1(C)), torch_stem_v1, (2,), (2, 43, 44, 2), (2, 3, 3, 256)),
    "5b": (Mixed5b, torch_5b, (), (2, 4, 3, 192), (2, 4, 3, 320)),
    "A": (InceptionResNetA, torch_a, (6, (5, 7)), (2, 5, 4, 6), (2, 5, 4, 6)),
    "A, scaled otherwise": (InceptionResNetA, torch_a, (6, (5, 7), 0.7), (2, 5, 4, 6), (2, 5, 4, 6)),
    "B": (InceptionResNetB, torch_b, (6, (2, 3, 4, 5)), (2, 5, 4, 6), (2, 5, 4, 6)),
    "C": (InceptionResNetC, torch_c, (6, (2, 3, 4, 5)), (2, 5, 4, 6), (2, 5, 4, 6)),
    "last C": (InceptionResNetC, torch_c, (6, (2, 3, 4, 5), 1.0, False), (2, 5, 4, 6), (2, 5, 4, 6)),
    "reduction B": (ReductionB, torch_reduction_b, (4, (5, 6, 7)), (2, 7, 6, 4), (2, 3, 2, 5 + 6 + 7 + 4)),
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


@pytest.mark.parametrize(
    ("block", "scale"),
    [
        (InceptionResNetA(3, (2, 2)), 0.17),
        (InceptionResNetB(3, (2, 2, 2, 2)), 0.10),
        (InceptionResNetC(3, (2, 2, 2, 2)), 0.20),
    ],
    ids=lambda value: type(value).__name__,
)
def test_residual_is_scaled(block, scale, rng):
    """With a convolution that gives ones whatever it reads, a block gives relu(x + scale)."""
    x = images(rng, 2, 4, 3, 3)
    block.conv2d.weight.data = np.zeros_like(block.conv2d.weight.numpy())
    block.conv2d.bias.data = np.ones(3, np.float32)
    np.testing.assert_allclose(block(x).numpy(), np.maximum(x.numpy() + scale, 0), rtol=1e-6, atol=1e-6)


# ------------------------------------------------------------------------------------------------ names and sizes

FORMS = {
    "inception_resnet_v1": (inception_resnet_v1, {}),
    "inception_resnet_v1_facenet": (inception_resnet_v1, {"variant": "facenet"}),
    "inception_resnet_v2": (inception_resnet_v2, {}),
    "inception_resnet_v2_paper_figures": (inception_resnet_v2, {"variant": "paper"}),
}
every_form = pytest.mark.parametrize(
    ("architecture", "build", "options"), [(k, *v) for k, v in FORMS.items()], ids=FORMS
)


def test_names_and_shapes_of_the_released_one_are_timms():
    net = built(inception_resnet_v2)
    assert layout(net) == list(published("inception_resnet_v2").items())


@every_form
def test_parameters(architecture, build, options):
    net = built(build, **options)
    assert_counts(net, architecture)
    assert f"{sum(parameter.size for parameter in net.parameters()):,}" in build.__doc__


@every_form
def test_options(architecture, build, options):
    small, usual = built(build, 7, 1, dropout=0.5, **options), built(build, **options)
    first = next(part for part in small.modules() if isinstance(part, nn.Conv2d))
    [last] = [part for part in small.modules() if isinstance(part, nn.Linear)]
    assert (first.in_channels, last.out_features) == (1, 7)
    for net, p in (small, 0.5), (usual, 1 - 0.8):  # the paper says what is kept
        [dropout] = [part for part in net.modules() if isinstance(part, nn.Dropout)]
        assert dropout.p == pytest.approx(p)


@pytest.mark.parametrize(
    ("build", "wrong", "message"),
    [
        (
            inception_resnet_v1,
            "released",
            "^inception_resnet_v1: variant must be one of 'paper', 'facenet'.*'released'",
        ),
        (inception_resnet_v2, "facenet", "^inception_resnet_v2: variant must be one of 'released', 'paper'.*'facenet'"),
        (InceptionResNet, "v3", "^InceptionResNet: version must be one of 'v1', 'v2'.*'v3'"),
    ],
)
def test_unknown_form(build, wrong, message):
    with pytest.raises(ValueError, match=message):
        build(wrong) if build is InceptionResNet else build(variant=wrong)


def test_repr_shows_the_schema():
    lines = [*repr(built(inception_resnet_v1)).splitlines(), *repr(built(inception_resnet_v2)).splitlines()]
    for name, blocks in {
        "inception_resnet_a": "(0-4): 5 × InceptionResNetA(",
        "inception_resnet_b": "(0-9): 10 × InceptionResNetB(",
        "inception_resnet_c": "(0-4): 5 × InceptionResNetC(",
        "repeat": "(0-9): 10 × InceptionResNetA(",
        "repeat_1": "(0-19): 20 × InceptionResNetB(",
        "repeat_2": "(0-8): 9 × InceptionResNetC(",
    }.items():
        assert lines[lines.index(f"  ({name}): Sequential(") + 1] == f"    {blocks}"
    assert max(map(len, lines)) <= 120


# --------------------------------------------------------------------------------------------------- the networks


def blocks_of(net):
    """[(block, kind, scale, activation)] in their order."""
    return [
        (type(part), part.scale, getattr(part, "activation", True))
        for part in net.modules()
        if isinstance(part, InceptionResNetA | InceptionResNetB)
    ]


@every_form
def test_scales(architecture, build, options):
    """0.17, 0.10 and 0.20; where there is a block of its own at the end, 1 and no activation."""
    a, b, c, last = {
        "inception_resnet_v1": (5, 10, 5, 0),
        "inception_resnet_v1_facenet": (5, 10, 5, 1),
        "inception_resnet_v2": (10, 20, 9, 1),
        "inception_resnet_v2_paper_figures": (5, 10, 5, 0),
    }[architecture]
    net = built(build, **options)
    assert blocks_of(net) == (
        a * [(InceptionResNetA, 0.17, True)]
        + b * [(InceptionResNetB, 0.10, True)]
        + c * [(InceptionResNetC, 0.20, True)]
        + last * [(InceptionResNetC, 1.0, False)]
    )


@every_form
def test_smallest_images(architecture, build, options, rng):
    """75 rows in both modes."""
    net = build(7, **options)
    x = images(rng, 2, 75, 107, 3)
    with minidl.no_grad():
        scores = net(x)
    assert (scores.shape, scores.dtype) == ((2, 7), np.float32)
    scores = assert_computes_as_listed(net, x).numpy()
    assert np.isfinite(scores).all()
    assert not np.array_equal(*scores), "two images, one answer"
    [note] = notes_when_too_small(net, 74)
    part = "mixed_7a" if architecture == "inception_resnet_v2" else "reduction_b"
    assert note.startswith(f"in layer {part}.branch0.1.conv of {type(net).__name__}: Conv2d(256, 384, ")
