"""Layers that move elements: each is its function with options of its own."""

import inspect

import numpy as np
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, nn
from minidl import functional as F


def images(device, shape=(2, 4, 6, 8)):
    return Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32), device=device)


LAYERS = {  # of images (2, 4, 6, 8), and what they compute
    "ZeroPad2d": (nn.ZeroPad2d(((1, 2), (0, 3))), lambda x: F.pad(x, ((1, 2), (0, 3)))),
    "ZeroPad2d, cutting": (nn.ZeroPad2d(-1), lambda x: x[:, 1:-1, 1:-1]),
    "ConstantPad2d": (nn.ConstantPad2d(((1, 2), (0, 3)), -2.5), lambda x: F.pad(x, ((1, 2), (0, 3)), value=-2.5)),
    "ReflectionPad2d": (nn.ReflectionPad2d(((1, 2), (0, 3))), lambda x: F.pad(x, ((1, 2), (0, 3)), "reflect")),
    "ReplicationPad2d": (nn.ReplicationPad2d(((1, 2), (0, 3))), lambda x: F.pad(x, ((1, 2), (0, 3)), "replicate")),
    "CircularPad2d": (nn.CircularPad2d(2), lambda x: F.pad(x, ((2, 2), (2, 2)), "circular")),
    "Upsample": (nn.Upsample(scale_factor=2), lambda x: F.interpolate(x, (8, 12))),
    "Upsample, to a size": (
        nn.Upsample((3, 7), mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, (3, 7), mode="bilinear", align_corners=True),
    ),
    "Upsample, by the sizes": (
        nn.Upsample(scale_factor=1.3, mode="bicubic", recompute_scale_factor=True),
        lambda x: F.interpolate(x, (5, 7), mode="bicubic"),
    ),
    "PixelShuffle": (nn.PixelShuffle(2), lambda x: F.pixel_shuffle(x, 2)),
    "PixelUnshuffle": (nn.PixelUnshuffle(2), lambda x: F.pixel_unshuffle(x, 2)),
    "Unflatten": (nn.Unflatten(-1, (2, -1)), lambda x: x.reshape(2, 4, 6, 2, 4)),
    "Unflatten, a middle axis": (nn.Unflatten(2, [3, 2]), lambda x: x.reshape(2, 4, 3, 2, 8)),
    "Flatten": (nn.Flatten(1, 2), lambda x: x.reshape(2, 24, 8)),
    "Identity": (nn.Identity(), lambda x: x),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_its_function(name, device):
    layer, function = LAYERS[name]
    x = images(device)
    assert_close(layer(x), function(x), 0)
    assert list(layer.parameters()) == []


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_raw_arrays_and_nothing_else(name, device):
    layer, function = LAYERS[name]
    x = images(device).data
    y = layer(x)
    assert not isinstance(y, Tensor)
    assert_close(Tensor(y), function(Tensor(x)), 0)
    if name != "Identity":
        with pytest.raises(TypeError, match="expected a Tensor or an array, got list"):
            layer([1.0, 2.0])


def test_options_are_attributes():
    layer = nn.Fold((4, 5), (3, 2), 1, ((1, 0), 2), stride=2)
    assert (layer.output_size, layer.kernel_size, layer.dilation) == ((4, 5), (3, 2), 1)
    assert (layer.padding, layer.stride) == (((1, 0), 2), 2)
    assert (nn.Unfold(3).kernel_size, nn.Upsample(scale_factor=2).scale_factor) == (3, 2)


def test_unflatten_undoes_flatten(device):
    x = images(device)
    assert_close(nn.Sequential(nn.Flatten(1, 2), nn.Unflatten(1, (4, 6)))(x), x, 0)
    assert_close(nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(2))(x), x, 0)


def test_a_network_with_padding_and_upsampling(device):
    """A small decoder: where each layer stands, another would not fit."""
    network = nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(8, 12, 3), nn.PixelShuffle(2), nn.Upsample(scale_factor=1.5, mode="bilinear")
    ).to(device)
    y = network(images(device))
    assert y.shape == (2, 12, 18, 3)
    y.sum().backward()
    assert all(np.isfinite(host(parameter.grad)).all() for parameter in network.parameters())


# ---- PyTorch


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    [
        "CircularPad2d", "ConstantPad2d", "Flatten", "PixelShuffle", "PixelUnshuffle", "ReflectionPad2d",
        "ReplicationPad2d", "Unflatten", "Upsample", "ZeroPad2d",
    ],
)  # fmt: skip
def test_options_and_defaults_are_those_of_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = inspect.signature(getattr(nn, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.nn, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (nn.ZeroPad2d(((1, 2), (0, 3))), lambda nn: nn.ZeroPad2d((0, 3, 1, 2))),
        (nn.ConstantPad2d(((1, -2), (0, 3)), 1.5), lambda nn: nn.ConstantPad2d((0, 3, 1, -2), 1.5)),
        (nn.ReflectionPad2d(((1, 2), (0, 3))), lambda nn: nn.ReflectionPad2d((0, 3, 1, 2))),
        (nn.ReplicationPad2d(((1, 2), (0, 3))), lambda nn: nn.ReplicationPad2d((0, 3, 1, 2))),
        (nn.CircularPad2d(((1, 2), (0, 3))), lambda nn: nn.CircularPad2d((0, 3, 1, 2))),
        (nn.Upsample(scale_factor=(1.5, 2), mode="bicubic"), lambda nn: nn.Upsample(None, (1.5, 2), "bicubic")),
        (nn.PixelShuffle(2), lambda nn: nn.PixelShuffle(2)),
        (nn.PixelUnshuffle(2), lambda nn: nn.PixelUnshuffle(2)),
    ],
    ids=lambda layer: repr(layer) if isinstance(layer, nn.Module) else "",
)
def test_against_torch(ours, theirs, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = rng.standard_normal((2, 4, 6, 8))
    expected = theirs(torch.nn)(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    assert_close(ours(Tensor(x)), expected.numpy(), 1e-13)


@pytest.mark.torch
def test_flattened_images_are_in_another_order_than_torchs(rng):
    """(h, w, c) here and (c, h, w) there; so are the rows of the weight of a linear layer that follows."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = rng.standard_normal((2, 3, 4, 5))
    theirs = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 7).double())
    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    weight, bias = (parameter.detach().numpy() for parameter in theirs.parameters())
    weight = weight.T.reshape(5, 3, 4, 7).transpose(1, 2, 0, 3).reshape(60, 7)  # (C, H, W, O) → (H·W·C, O)
    y = nn.Flatten()(Tensor(x))
    assert_close(F.linear(y, Tensor(weight), Tensor(bias)), theirs(images).detach().numpy(), 1e-13)
    assert not np.array_equal(host(y), theirs[0](images).numpy())


# ---- repr and wrong calls


@pytest.mark.parametrize(
    "text",
    [
        "ZeroPad2d(2)",
        "ReflectionPad2d(((1, 2), (0, 3)))",
        "ConstantPad2d(padding=1, value=2.5)",
        "PixelShuffle(upscale_factor=3)",
        "PixelUnshuffle(downscale_factor=3)",
        "Unflatten(dim=1, unflattened_size=(2, 3))",
        "Flatten()",
        "Flatten(start_dim=0, end_dim=2)",
        "Identity()",
    ],
)
def test_repr(text):
    assert repr(eval(text, vars(nn))) == text


def test_repr_of_upsample():
    assert repr(nn.Upsample(scale_factor=2)) == "Upsample(scale_factor=2)"
    layer = nn.Upsample((2, 3), mode="bilinear", align_corners=False)
    assert repr(layer) == "Upsample(size=(2, 3), mode=bilinear, align_corners=False)"


FLAT = (
    r"ZeroPad2d: expected 4 pairs .*\(\(top, bottom\), \(left, right\)\) or one integer; got \(1, 1, 2, 2\)\. PyTorch's"
)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nn.ZeroPad2d((1, 1, 2, 2)), ValueError, FLAT),
        (lambda x: nn.ReflectionPad2d((1, 1)), ValueError, r"ReflectionPad2d: expected 4 pairs .* got \(1, 1\)"),
        (lambda x: nn.ReplicationPad2d(1.5), ValueError, r"ReplicationPad2d: expected 4 pairs .* got 1\.5"),
        (lambda x: nn.CircularPad2d(None), ValueError, "CircularPad2d: expected 4 pairs .* got None"),
        (lambda x: nn.ConstantPad2d((1, 1, 2, 2), 1), ValueError, "ConstantPad2d: expected 4 pairs"),
        (lambda x: nn.ConstantPad2d(1, "0"), TypeError, "ConstantPad2d: value must be a number, got '0'"),
        (lambda x: nn.ZeroPad2d(1)(x[0]), ValueError, r"ZeroPad2d: expected images \(N, H, W, C\), got"),
        (lambda x: nn.ReflectionPad2d(4)(x), ValueError, "pad: mode 'reflect' can add at most 3 to a side of axis 1"),
        (lambda x: nn.Upsample(), ValueError, "Upsample: expected size or scale_factor, got neither"),
        (lambda x: nn.Upsample(2, 2), ValueError, "Upsample: expected size or scale_factor, got both"),
        (lambda x: nn.Upsample(2, mode="cubic"), ValueError, "Upsample: mode must be one of nearest, .* got 'cubic'"),
        (lambda x: nn.Upsample(2, mode="area", align_corners=True), ValueError, "Upsample: mode 'area' has no corners"),
        (lambda x: nn.Upsample(2, align_corners=True), ValueError, "Upsample: mode 'nearest' has no corners to align"),
        (lambda x: nn.Upsample(2, recompute_scale_factor=True), ValueError, "Upsample: recompute_scale_factor needs"),
        (lambda x: nn.Upsample(2, mode="linear")(x), ValueError, r"interpolate: mode 'linear' resizes \(N, W, C\)"),
        (lambda x: nn.Unfold((3, 0)), ValueError, r"Unfold: kernel_size must be .* at least 1; got \(3, 0\)"),
        (lambda x: nn.Unfold(3, dilation=0), ValueError, "Unfold: dilation must be .* at least 1; got 0"),
        (lambda x: nn.Unfold(3, padding=-1), ValueError, "Unfold: padding must be .* at least 0; got -1"),
        (lambda x: nn.Fold(0, 3), ValueError, "Fold: output_size must be .* at least 1; got 0"),
        (lambda x: nn.Fold(5, 3, stride=1.5), ValueError, "Fold: stride must be .* at least 1; got 1.5"),
        (lambda x: nn.PixelShuffle(0), ValueError, "PixelShuffle: upscale_factor must be an integer .* got 0"),
        (lambda x: nn.PixelUnshuffle(2.0), ValueError, "PixelUnshuffle: downscale_factor must be .* got 2.0"),
        (lambda x: nn.PixelShuffle(3)(x), ValueError, "pixel_shuffle: upscale_factor 3 needs 9·C channels"),
        (lambda x: nn.Unflatten(1, ()), ValueError, r"Unflatten: expected an axis and the sizes it becomes"),
        (lambda x: nn.Unflatten(1, 4), ValueError, "Unflatten: expected an axis .* unflattened_size=4"),
        (lambda x: nn.Unflatten("C", (2, 2)), ValueError, "Unflatten: expected an axis .* got dim='C'"),
        (lambda x: nn.Unflatten(1, (2, 1.5)), ValueError, r"Unflatten: expected an axis .*=\(2, 1.5\)"),
        (lambda x: nn.Unflatten(1, (3, 2))(x), ValueError, "unflatten: sizes .* do not fill the 4 of axis 1"),
    ],
)  # fmt: skip
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call(images("cpu"))


def test_an_identity_takes_the_arguments_of_the_layer_it_stands_for():
    x = Tensor([1.0])
    assert nn.Identity(64, eps=1e-3)(x) is x
    assert repr(nn.Identity(64)) == "Identity()"


def test_an_identity_does_what_follows(device):
    """As the layer it stands for: x + add, and the larger of that and 0."""
    x, add = (Tensor(np.array(values), device=device) for values in ([1.0, -2.0, 3.0], [-2.0, 1.0, 4.0]))
    identity = nn.Identity()
    assert identity(x, None, False) is x
    assert_close(identity(x, add), np.array([-1.0, -1.0, 7.0]), 0)
    assert_close(identity(x, relu=True), np.array([1.0, 0.0, 3.0]), 0)
    assert_close(identity(x, add, True), np.array([0.0, 0.0, 7.0]), 0)
    minidl.gradcheck(
        lambda x, add: identity(x, add, True), [Tensor(host(t), requires_grad=True, device=device) for t in (x, add)]
    )
