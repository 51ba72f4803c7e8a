"""Inception-v3: modules against PyTorch and finite differences; names, sizes and first weights; the factorisations."""

import sys

import numpy as np
import pytest
from architectures import built
from inception_twin import (
    assert_computes_as_listed,
    assert_counts,
    concatenate,
    images,
    layout,
    multiply_adds,
    notes_when_too_small,
    unit,
)
from judge import assert_close
from torch_twin import assert_twins, published, torch_nn, twin

import minidl
from minidl import nn
from minidl.checks import check_module
from models.inception_v3 import (
    AuxiliaryHead,
    InceptionA,
    InceptionB,
    InceptionC,
    ReductionA,
    ReductionB,
    inception_v3,
)

ROW, COLUMN = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}


def averaged(x):
    return torch_nn().functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=True)


def halved(x):
    return torch_nn().functional.max_pool2d(x, 3, stride=2)


def torch_a(C, pool):
    def forward(m, x):
        double = m.branch3x3dbl_3(m.branch3x3dbl_2(m.branch3x3dbl_1(x)))
        return concatenate(m.branch1x1(x), m.branch5x5_2(m.branch5x5_1(x)), double, m.branch_pool(averaged(x)))

    return twin(
        forward,
        branch1x1=unit(C, 64, 1),
        branch5x5_1=unit(C, 48, 1),
        branch5x5_2=unit(48, 64, 5, padding=2),
        branch3x3dbl_1=unit(C, 64, 1),
        branch3x3dbl_2=unit(64, 96, 3, padding=1),
        branch3x3dbl_3=unit(96, 96, 3, padding=1),
        branch_pool=unit(C, pool, 1),
    )


def torch_reduction_a(C):
    def forward(m, x):
        return concatenate(m.branch3x3(x), m.branch3x3dbl_3(m.branch3x3dbl_2(m.branch3x3dbl_1(x))), halved(x))

    return twin(
        forward,
        branch3x3=unit(C, 384, 3, stride=2),
        branch3x3dbl_1=unit(C, 64, 1),
        branch3x3dbl_2=unit(64, 96, 3, padding=1),
        branch3x3dbl_3=unit(96, 96, 3, stride=2),
    )


def torch_b(C, c7):
    def forward(m, x):
        seven = m.branch7x7_3(m.branch7x7_2(m.branch7x7_1(x)))
        double = m.branch7x7dbl_3(m.branch7x7dbl_2(m.branch7x7dbl_1(x)))
        double = m.branch7x7dbl_5(m.branch7x7dbl_4(double))
        return concatenate(m.branch1x1(x), seven, double, m.branch_pool(averaged(x)))

    return twin(
        forward,
        branch1x1=unit(C, 192, 1),
        branch7x7_1=unit(C, c7, 1),
        branch7x7_2=unit(c7, c7, **ROW),
        branch7x7_3=unit(c7, 192, **COLUMN),
        branch7x7dbl_1=unit(C, c7, 1),
        branch7x7dbl_2=unit(c7, c7, **COLUMN),
        branch7x7dbl_3=unit(c7, c7, **ROW),
        branch7x7dbl_4=unit(c7, c7, **COLUMN),
        branch7x7dbl_5=unit(c7, 192, **ROW),
        branch_pool=unit(C, 192, 1),
    )


def torch_reduction_b(C):
    def forward(m, x):
        seven = m.branch7x7x3_4(m.branch7x7x3_3(m.branch7x7x3_2(m.branch7x7x3_1(x))))
        return concatenate(m.branch3x3_2(m.branch3x3_1(x)), seven, halved(x))

    return twin(
        forward,
        branch3x3_1=unit(C, 192, 1),
        branch3x3_2=unit(192, 320, 3, stride=2),
        branch7x7x3_1=unit(C, 192, 1),
        branch7x7x3_2=unit(192, 192, **ROW),
        branch7x7x3_3=unit(192, 192, **COLUMN),
        branch7x7x3_4=unit(192, 192, 3, stride=2),
    )


def torch_c(C):
    def forward(m, x):
        three = m.branch3x3_1(x)
        three = concatenate(m.branch3x3_2a(three), m.branch3x3_2b(three))
        double = m.branch3x3dbl_2(m.branch3x3dbl_1(x))
        double = concatenate(m.branch3x3dbl_3a(double), m.branch3x3dbl_3b(double))
        return concatenate(m.branch1x1(x), three, double, m.branch_pool(averaged(x)))

    return twin(
        forward,
        branch1x1=unit(C, 320, 1),
        branch3x3_1=unit(C, 384, 1),
        branch3x3_2a=unit(384, 384, (1, 3), padding=(0, 1)),
        branch3x3_2b=unit(384, 384, (3, 1), padding=(1, 0)),
        branch3x3dbl_1=unit(C, 448, 1),
        branch3x3dbl_2=unit(448, 384, 3, padding=1),
        branch3x3dbl_3a=unit(384, 384, (1, 3), padding=(0, 1)),
        branch3x3dbl_3b=unit(384, 384, (3, 1), padding=(1, 0)),
        branch_pool=unit(C, 192, 1),
    )


def torch_head(C, num_classes):
    tnn = torch_nn()

    def forward(m, x):
        x = m.conv1(m.conv0(tnn.functional.avg_pool2d(x, kernel_size=5, stride=3)))
        return m.fc(x.mean(dim=(2, 3)))

    return twin(forward, conv0=unit(C, 128, 1), conv1=unit(128, 768, 5), fc=tnn.Linear(768, num_classes))


MODULES = {  # of ours and PyTorch's parts, arguments, images, what comes out
    "A": (InceptionA, torch_a, (4, 5), (2, 6, 5, 4), (2, 6, 5, 229)),
    "reduction A": (ReductionA, torch_reduction_a, (4,), (2, 7, 6, 4), (2, 3, 2, 484)),
    "B": (InceptionB, torch_b, (4, 6), (2, 5, 4, 4), (2, 5, 4, 768)),
    "reduction B": (ReductionB, torch_reduction_b, (4,), (2, 7, 6, 4), (2, 3, 2, 516)),
    "C": (InceptionC, torch_c, (4,), (2, 3, 4, 4), (2, 3, 4, 2048)),
    "head": (AuxiliaryHead, torch_head, (4, 7), (3, 17, 17, 4), (3, 7)),
    "head on a larger image": (AuxiliaryHead, torch_head, (4, 7), (2, 20, 23, 4), (2, 7)),
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


# ------------------------------------------------------------------------------------------------ names and sizes


@pytest.mark.parametrize("aux_logits", [True, False])
def test_names_and_shapes_are_torchvisions(aux_logits):
    net = built(inception_v3, aux_logits=aux_logits)
    theirs = published("inception_v3")
    assert layout(net) == [item for item in theirs.items() if aux_logits or not item[0].startswith("AuxLogits.")]


@pytest.mark.parametrize(("aux_logits", "architecture"), [(True, "inception_v3_aux"), (False, "inception_v3")])
def test_parameters(aux_logits, architecture):
    net = built(inception_v3, aux_logits=aux_logits)
    assert_counts(net, architecture)
    assert f"{sum(parameter.size for parameter in net.parameters()):,}" in inception_v3.__doc__


@pytest.mark.parametrize(("num_classes", "in_channels"), [(1000, 3), (7, 1)])
def test_first_and_last_layer(num_classes, in_channels):
    net = built(inception_v3, num_classes, in_channels)
    assert net.Conv2d_1a_3x3.conv.weight.shape == (3, 3, in_channels, 32)
    assert net.fc.weight.shape == (2048, num_classes)
    assert net.AuxLogits.fc.weight.shape == (768, num_classes)


def test_options():
    assert built(inception_v3).dropout.p == 0.5
    net = built(inception_v3, aux_logits=False, dropout=0.2)
    assert (net.dropout.p, net.AuxLogits, net.aux_weight) == (0.2, None, 0.4)
    gray = minidl.Tensor(np.zeros((1, 75, 75, 1), np.float32))
    with pytest.raises(ValueError, match=r"expected RGB images \(N, H, W, 3\), got shape \(1, 75, 75, 1\)"):
        built(inception_v3, in_channels=1, transform_input=True)(gray)


def test_repr_names_the_parts():
    lines = repr(built(inception_v3)).splitlines()
    for part in ("(Mixed_5b): InceptionA(", "(Mixed_6c-Mixed_6d): 2 × InceptionB(", "(AuxLogits): AuxiliaryHead("):
        assert f"  {part}" in lines
    assert max(map(len, lines)) <= 120


# --------------------------------------------------------------------------------------------------- the network


def test_smallest_images(rng):
    """75 rows in both modes, without the head."""
    net = inception_v3(7, aux_logits=False)
    x = images(rng, 2, 75, 107, 3)
    with minidl.no_grad():
        scores = net(x)
    assert (scores.shape, scores.dtype) == ((2, 7), np.float32)
    scores = assert_computes_as_listed(net, x).numpy()
    assert np.isfinite(scores).all()
    assert not np.array_equal(*scores), "two images, one answer"
    assert notes_when_too_small(net, 74) == [
        "in layer Mixed_7a.branch3x3_2.conv of InceptionV3: Conv2d(192, 320, kernel_size=(3, 3), stride=2, bias=False)"
    ]


def test_auxiliary_scores_come_in_training_only():
    net = built(inception_v3, 7)
    x = minidl.Tensor(np.zeros((2, 299, 299, 3), np.float32))
    with minidl.no_grad():
        scores = net(x)
        assert isinstance(scores, tuple)
        assert [y.shape for y in scores] == [(2, 7), (2, 7)]
        assert net.eval()(x[:, :75, :75]).shape == (2, 7)  # the head could not take so few pixels
    [note] = notes_when_too_small(net.train(), 298)
    assert note.startswith("in layer AuxLogits.conv1.conv of InceptionV3: Conv2d(128, 768, kernel_size=(5, 5)")


def test_auxiliary_scores_are_those_of_the_last_17x17_layer(rng):
    net = inception_v3(7)
    seen = {}
    net.Mixed_6e.register_forward_hook(lambda module, inputs, output: seen.update(output=output))
    net.fc.register_forward_hook(lambda module, inputs, output: seen.update(scores=output))
    with minidl.no_grad():
        scores, auxiliary = net(images(rng, 2, 299, 299, 3))
        assert seen["output"].shape == (2, 17, 17, 768)
        np.testing.assert_array_equal(auxiliary.numpy(), net.AuxLogits(seen["output"]).numpy())
    np.testing.assert_array_equal(scores.numpy(), seen["scores"].numpy())


def test_transform_input(rng):
    """It is the network on the images from -1 to 1 that were standardised."""
    pixels = rng.uniform(0, 1, (2, 75, 75, 3))
    standardised = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    net = inception_v3(7, aux_logits=False, transform_input=True).eval()
    seen = []
    net.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    with minidl.no_grad():
        net(minidl.Tensor(standardised, dtype=np.float32))
    assert seen[0].dtype == np.float32
    assert_close(seen[0].numpy().astype(np.float64), 2 * pixels - 1, 1e-6)


# ------------------------------------------------------------------------------------------------------- first weights


def test_first_weights():
    """Within 5 standard errors: mean 0, deviation 0.1 (of the head's last layer 0.001), cut at ±2 and not at ±2·0.1."""
    net = inception_v3()
    head = net.AuxLogits.fc.weight
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            std = 0.001 if part.weight is head else 0.1
            z = part.weight.numpy().ravel().astype(np.float64) / std
            assert abs(z.mean()) < 5 / np.sqrt(z.size)
            assert abs((z**2).mean() - 1) < 5 * np.sqrt(2 / z.size)
            assert 2 < abs(z).max() < 20
        if isinstance(part, nn.Linear):
            bias = part.bias.numpy()
            assert 0.9 < abs(bias).max() * np.sqrt(part.in_features) <= 1


# ------------------------------------------------------------------------------------------------ the factorisations


def conv(in_channels, channels, KH, KW):
    return nn.Conv2d(in_channels, channels, (KH, KW), padding=(KH // 2, KW // 2), bias=False)


@pytest.mark.parametrize(
    ("module", "positions", "whole", "factorised", "ratio", "stated"),
    [
        (
            InceptionA,
            35 * 35,
            conv(96, 96, 5, 5),
            (conv(96, 96, 3, 3), conv(96, 96, 3, 3)),
            1.39,
            "25 / 18 = 1.39 times fewer",
        ),
        (
            InceptionB,
            17 * 17,
            conv(192, 192, 7, 7),
            (conv(192, 192, 1, 7), conv(192, 192, 7, 1)),
            3.5,
            "n² / 2n, for n = 7: 3.5",
        ),
        (InceptionC, 8 * 8, conv(384, 768, 3, 3), (conv(384, 384, 1, 3), conv(384, 384, 3, 1)), 3, "9 / 3 = 3"),
    ],
    ids=["5×5", "7×7", "3×3"],
)
def test_factorisation_saves_what_is_stated(module, positions, whole, factorised, ratio, stated):
    before, after = multiply_adds([whole], positions), multiply_adds(factorised, positions)
    assert round(before / after, 2) == ratio
    assert f"{before:,}" in module.__doc__
    assert f"{after:,}" in module.__doc__
    assert stated in sys.modules[module.__module__].__doc__


@pytest.mark.parametrize(
    ("see", "names", "kernel"),
    [
        (InceptionA(2, 2), ("branch3x3dbl_2", "branch3x3dbl_3"), (5, 5)),
        (InceptionB(2, 2), ("branch7x7_2", "branch7x7_3"), (7, 7)),
        (InceptionB(2, 2), ("branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"), (13, 13)),
    ],
    ids=["two 3×3", "1×7, 7×1", "and again"],
)
def test_small_filters_see_the_window_of_a_large_one(see, names, kernel):
    """A filter of KH rows after another adds KH - 1 rows to the window."""
    kernels = [getattr(see, name).conv.kernel_size for name in names]
    assert tuple(1 + sum(size - 1 for size in sizes) for sizes in zip(*kernels, strict=True)) == kernel
