"""Layers: each is its function with parameters and options of its own, and starts from weights of the right size."""

import copy
import inspect

import numpy as np
import oracle
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, nn
from minidl import functional as F


def images(device, shape=(3, 6, 5, 4)):
    return Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32), device=device)


def test_linear(device):
    layer, x = nn.Linear(4, 3).to(device), images(device)
    assert_close(layer(x), oracle.linear(host(x), host(layer.weight), host(layer.bias)), 1e-5)
    assert nn.Linear(4, 3, bias=False).to(device)(x).shape == (3, 6, 5, 3)


def test_conv2d(device):
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2).to(device)
    x = images(device)
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    assert layer.weight.shape == (3, 2, 2, 6)
    assert_close(layer(x), oracle.conv2d(host(x), host(layer.weight), host(layer.bias), **options), 1e-5)
    assert nn.Conv2d(4, 2, 3, bias=False).bias is None


@pytest.mark.parametrize("padding", ["same", "valid", ((2, 0), (0, 1))], ids=str)
def test_conv2d_with_other_paddings(padding, device):
    layer, x = nn.Conv2d(4, 6, (3, 2), padding=padding).to(device), images(device)
    sides = {"same": ((1, 1), (0, 1)), "valid": 0}.get(padding, padding)
    assert_close(layer(x), oracle.conv2d(host(x), host(layer.weight), host(layer.bias), padding=sides), 1e-5)


@pytest.mark.parametrize(
    ("padding_mode", "numpys"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")]
)
@pytest.mark.parametrize("padding", [1, (2, 1), "same", ((2, 0), (0, 1))], ids=str)
def test_conv2d_with_padding_that_is_not_zeros(padding, padding_mode, numpys, device):
    layer = nn.Conv2d(4, 6, (3, 4), (1, 1), padding, padding_mode=padding_mode).to(device, np.float64)
    x = images(device).astype(np.float64)
    sides = ((1, 1), (1, 2)) if padding == "same" else oracle._sides(padding)
    padded = np.pad(host(x), ((0, 0), *sides, (0, 0)), mode=numpys)
    assert_close(layer(x), oracle.conv2d(padded, host(layer.weight), host(layer.bias)))
    minidl.gradcheck(layer, [Tensor(host(x), requires_grad=True, device=device)], fast=True)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, (2, 1), "same", "valid"], ids=str)
def test_conv2d_layer_against_torch(padding, padding_mode, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    options = {"padding": padding, "dilation": (1, 2), "groups": 2, "padding_mode": padding_mode}
    ours, theirs = nn.Conv2d(4, 6, (4, 3), **options).to(device, np.float64), torch.nn.Conv2d(4, 6, (4, 3), **options)
    check_layer_against_torch(ours, theirs.double(), rng.standard_normal((2, 6, 7, 4)), device)


def check_layer_against_torch(ours, theirs, array, device, *arguments):
    """The same value and gradients with the same weights: (KH, KW, C/G, F) here is (F, C/G, KH, KW) there."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(host(ours.weight).transpose(3, 2, 0, 1).copy()))
        theirs.bias.copy_(torch.from_numpy(host(ours.bias).copy()))
    x = Tensor(array, requires_grad=True, device=device)
    x_torch = torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).requires_grad_()
    y, expected = ours(x, *arguments), theirs(x_torch, *arguments)
    assert_close(y, expected.detach().numpy().transpose(0, 2, 3, 1))
    g = np.random.default_rng(7).standard_normal(y.shape)
    y.backward(Tensor(g, device=device))
    expected.backward(torch.from_numpy(g.transpose(0, 3, 1, 2).copy()))
    assert_close(x.grad, x_torch.grad.numpy().transpose(0, 2, 3, 1))
    assert_close(ours.weight.grad, theirs.weight.grad.numpy().transpose(2, 3, 1, 0))
    assert_close(ours.bias.grad, theirs.bias.grad.numpy())


# ---- how a convolution is computed, and what follows it


@pytest.mark.parametrize("algorithm", ["auto", "im2col", "winograd", "naive"])
def test_conv2d_by_every_algorithm(algorithm, device, monkeypatch):
    """Said at first or later, it is what the function is told; and the result is the same."""
    said = []

    def conv2d(*arguments, **options):
        said.append(options["algorithm"])
        return function(*arguments, **options)

    function = F.conv2d
    monkeypatch.setattr(F, "conv2d", conv2d)
    layer = nn.Conv2d(4, 6, 3, padding=1, algorithm=algorithm).to(device)
    later = nn.Conv2d(4, 6, 3, padding=1).to(device)
    later.load_state_dict(layer.state_dict())
    later.algorithm = algorithm
    x = images(device)
    expected = oracle.conv2d(host(x), host(layer.weight), host(layer.bias), padding=1)
    assert_close(layer(x), expected, 1e-4)
    assert_close(later(x), layer(x), 0)
    assert said == [algorithm] * 3
    assert copy.deepcopy(layer).algorithm == algorithm
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("options", [{}, {"bias": False, "stride": 2, "padding_mode": "reflect"}], ids=str)
def test_conv2d_and_what_follows(options, always, device):
    layer, x = nn.Conv2d(4, 6, 3, padding=1, relu=always, **options).to(device), images(device)
    plain = nn.Conv2d(4, 6, 3, padding=1, **options).to(device)
    plain.load_state_dict(layer.state_dict())
    y = plain(x)
    add = Tensor(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32), device=device)
    assert (host(y + add) < -0.1).any()
    for expected, arguments in (
        (y, {}),
        (F.relu(y), {"relu": True}),
        (y + add, {"add": add}),
        (F.relu(y + add), {"add": add, "relu": True}),
    ):
        assert_close(layer(x, **arguments), F.relu(expected) if always else expected, 1e-5)
    assert_close(layer(x, add, True), F.relu(y + add), 1e-5)


# ---- other layers


def test_conv_transpose2d(device):
    options = {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "groups": 2, "dilation": (1, 2)}
    layer, x = nn.ConvTranspose2d(4, 6, (3, 2), **options).to(device), images(device)
    assert layer.weight.shape == (3, 2, 3, 4)
    assert_close(layer(x), oracle.conv_transpose2d(host(x), host(layer.weight), host(layer.bias), **options), 1e-5)
    assert nn.ConvTranspose2d(4, 2, 3, bias=False).bias is None


@pytest.mark.parametrize("size", [(11, 13), (11, 14), (11, 15), (12, 13), (12, 15)], ids=str)
def test_conv_transpose2d_goes_back_to_any_size_that_its_convolution_makes_the_same(size, device):
    there = nn.Conv2d(3, 4, (4, 3), (2, 3), ((1, 2), (0, 1)), (1, 2)).to(device)
    back = nn.ConvTranspose2d(4, 3, (4, 3), (2, 3), ((1, 2), (0, 1)), dilation=(1, 2)).to(device)
    x = images(device, (2, *size, 3))
    y = there(x)
    assert y.shape == (2, 6, 4, 4)
    assert back(y).shape == (2, 11, 13, 3)
    for output_size in (size, list(size), x.shape):
        assert back(y, output_size).shape == x.shape
        more = size[0] - 11, size[1] - 13
        expected = oracle.conv_transpose2d(
            host(y), host(back.weight), host(back.bias), (2, 3), ((1, 2), (0, 1)), more, 1, (1, 2)
        )
        assert_close(back(y, output_size), expected, 1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("output_size", [None, (9, 14), (10, 16)], ids=str)
def test_conv_transpose2d_layer_against_torch(output_size, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    options = {"stride": (2, 3), "padding": (1, 2), "output_padding": (0, 1), "groups": 2, "dilation": (1, 2)}
    ours = nn.ConvTranspose2d(4, 6, (3, 2), **options).to(device, np.float64)
    theirs = torch.nn.ConvTranspose2d(4, 6, (3, 2), **options).double()
    check_layer_against_torch(ours, theirs, rng.standard_normal((2, 5, 6, 4)), device, output_size)


@pytest.mark.parametrize(
    ("shape", "output_size", "message"),
    [
        ((2, 5, 6, 4), (8, 13), r"images \(2, 5, 6, 4\) can become \(9, 13\) to \(10, 15\), got output_size=\(8, 13\)"),
        ((2, 5, 6, 4), (11, 13), r"can become \(9, 13\) to \(10, 15\), got output_size=\(11, 13\)"),
        ((2, 5, 6, 4), (2, 9, 16, 6), r"can become .* got output_size=\(2, 9, 16, 6\)"),
        ((2, 5, 6, 4), (9, 13, 6), r"output_size must be an integer or a pair of integers, .* got \(9, 13, 6\)"),
        ((5, 6, 4), (9, 13), r"expected images \(N, H, W, C\), got shape \(5, 6, 4\)"),
    ],
)  # fmt: skip
def test_conv_transpose2d_refuses_an_output_size(shape, output_size, message):
    layer = nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 2))
    with pytest.raises(ValueError, match=f"^ConvTranspose2d: .*{message}"):
        layer(images("cpu", shape), output_size)
    with pytest.raises(TypeError, match=r"^ConvTranspose2d: expected a Tensor or an array, got list"):
        layer([1.0], output_size)


def test_unfold_and_fold(device):
    x = images(device)
    rows = nn.Unfold((3, 2), (1, 2), (1, 0), 2)(x)
    assert_close(rows, oracle.unfold(host(x), (3, 2), (1, 2), (1, 0), 2), 0)
    expected = oracle.fold(host(rows), (6, 5), (3, 2), (1, 2), (1, 0), 2)
    assert_close(nn.Fold((6, 5), (3, 2), (1, 2), (1, 0), 2)(rows), expected, 1e-6)


def test_layers_know_their_sizes():
    linear, conv = nn.Linear(4, 3), nn.Conv2d(4, 6, 3, groups=2)
    assert (linear.in_features, linear.out_features) == (4, 3)
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (4, 6, (3, 3))
    assert nn.Conv2d(4, 6, (3, 2)).kernel_size == (3, 2)


def test_layers_without_parameters(device):
    x = images(device)
    pairs = [
        (nn.ReLU(), F.relu(x)),
        (nn.Sigmoid(), F.sigmoid(x)),
        (nn.Tanh(), F.tanh(x)),
        (nn.Flatten(), x.reshape(3, 120)),
        (nn.Flatten(1, 2), x.reshape(3, 30, 4)),
        (nn.Identity(), x),
    ]
    for layer, expected in pairs:
        assert_close(layer(x), expected, 0)
        assert list(layer.parameters()) == []


def test_dropout_layer(device):
    layer, x = nn.Dropout(0.4), images(device)
    minidl.manual_seed(2)
    y = layer(x)
    minidl.manual_seed(2)
    assert_close(y, F.dropout(x, 0.4), 0)
    assert (host(y) == 0).any()
    assert layer.eval()(x) is x


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    [
        "Conv2d",
        "ConvTranspose2d",
        "Dropout",
        "Flatten",
        "Fold",
        "Linear",
        "Unfold",
    ],
)
def test_options_and_defaults_are_those_of_torch(name):
    """Without what PyTorch has and minidl does not: in-place layers, a mode of one kind, a first device and dtype."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = inspect.signature(getattr(nn, name)).parameters
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    left_out = {"device", "dtype", "padding_mode", "inplace"} - set(ours)
    expected = [(p, theirs[p].default) for p in theirs if p not in left_out]
    own = {"algorithm", "relu"}  # of Conv2d
    assert [(p, ours[p].default) for p in ours if p not in own] == expected
    assert all(ours[p].kind is inspect.Parameter.KEYWORD_ONLY for p in own & set(ours))


# ---- repr

REPRS = {
    "Linear(4, 3)": lambda: nn.Linear(4, 3),
    "Linear(4, 3, bias=False)": lambda: nn.Linear(4, 3, bias=False),
    "Conv2d(4, 6, kernel_size=(3, 3))": lambda: nn.Conv2d(4, 6, 3),
    "Conv2d(4, 6, kernel_size=(3, 2), stride=2, padding=(1, 0), groups=2, bias=False)": lambda: nn.Conv2d(
        4, 6, (3, 2), 2, (1, 0), groups=2, bias=False
    ),
    "Conv2d(4, 6, kernel_size=(3, 3), padding=same, bias=False, padding_mode=reflect)": lambda: nn.Conv2d(
        4, 6, 3, padding="same", bias=False, padding_mode="reflect"
    ),
    "Conv2d(4, 6, kernel_size=(3, 3), algorithm=winograd, relu=True)": lambda: nn.Conv2d(
        4, 6, 3, algorithm="winograd", relu=True
    ),
    "ConvTranspose2d(4, 6, kernel_size=(3, 3))": lambda: nn.ConvTranspose2d(4, 6, 3),
    "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=2, padding=((1, 0), 0), output_padding=1, groups=2, bias=False, "
    "dilation=(1, 2))": lambda: nn.ConvTranspose2d(4, 6, (3, 2), 2, ((1, 0), 0), 1, 2, False, (1, 2)),
    "Unfold(kernel_size=2)": lambda: nn.Unfold(2),
    "Unfold(kernel_size=(2, 3), dilation=2, padding=1, stride=3)": lambda: nn.Unfold((2, 3), 2, 1, 3),
    "Fold(output_size=(4, 5), kernel_size=2, padding=(1, 0))": lambda: nn.Fold((4, 5), 2, padding=(1, 0)),
    "Dropout(p=0.5)": lambda: nn.Dropout(),
    "ReLU()": lambda: nn.ReLU(),
    "Flatten()": lambda: nn.Flatten(),
    "Sequential()": lambda: nn.Sequential(),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr(text):
    assert repr(REPRS[text]()) == text


# ---- initial weights and wrong calls


def test_initial_weights_of_layers():
    for layer, fan_in in (
        (nn.Linear(100, 70), 100),
        (nn.Conv2d(12, 60, (3, 2), groups=3), 3 * 2 * 4),
        (nn.ConvTranspose2d(12, 60, (3, 2), groups=3), 3 * 2 * 20),  # a sum of 3·2·4 terms, but this is PyTorch's count
    ):
        bound = 1 / fan_in**0.5
        for parameter in layer.parameters():
            assert parameter.dtype == np.float32
            assert 0.9 * bound < abs(host(parameter)).max() <= bound * (1 + 1e-6)
        assert abs(host(layer.weight).std() * 3**0.5 / bound - 1) < 0.04


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Linear(0, 3), "Linear: in_features must be an integer of at least 1, got 0"),
        (lambda: nn.Linear(3, -1), "Linear: out_features must be an integer of at least 1, got -1"),
        (lambda: nn.Linear(3.0, 1), "Linear: in_features must be an integer of at least 1, got 3.0"),
        (lambda: nn.Conv2d(0, 4, 3), "Conv2d: in_channels must be an integer of at least 1, got 0"),
        (lambda: nn.Conv2d(4, 4, 3, groups=0), "Conv2d: groups must be an integer of at least 1, got 0"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "Conv2d: groups=4 must divide in_channels=4 and out_channels=6"),
        (lambda: nn.Conv2d(4, 6, (3, 0)), r"Conv2d: kernel_size must be .* at least 1; got \(3, 0\)"),
        (lambda: nn.Conv2d(4, 6, 3, stride=0), "Conv2d: stride must be .* at least 1; got 0"),
        (lambda: nn.Conv2d(4, 6, 3, dilation=0.5), "Conv2d: dilation must be .* at least 1; got 0.5"),
        (lambda: nn.Conv2d(4, 6, 3, padding=-1), "Conv2d: padding must be .* at least 0; got -1"),
        (lambda: nn.Conv2d(4, 6, 3, padding="sam"), "Conv2d: padding must be numbers, .* got 'sam'"),
        (lambda: nn.Conv2d(4, 6, 3, 2, "same"), r'Conv2d: padding="same" .* stride 1 only; got \(2, 2\)'),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="edge"), "Conv2d: padding_mode must be .* got 'edge'"),
        (lambda: nn.Conv2d(4, 6, 3, algorithm="fft"), "^Conv2d: algorithm must be one of 'auto', .*; got 'fft'"),
        (lambda: nn.Conv2d(4, 6, 5, algorithm="winograd"), "^Conv2d: .* 3×3 filters .*, got filters of 5×5 with"),
        (lambda: nn.Conv2d(4, 6, 3, 2, algorithm="winograd"), r"^Conv2d: .* with stride \(2, 2\), dilation \(1, 1\)"),
        (lambda: nn.Conv2d(4, 6, 3, dilation=2, algorithm="winograd"), r"^Conv2d: .* dilation \(2, 2\) and groups=1"),
        (lambda: nn.Conv2d(4, 6, 3, groups=2, algorithm="winograd"), "^Conv2d: .* and groups=2"),
        (lambda: nn.ConvTranspose2d(4, 0, 3), "ConvTranspose2d: out_channels must be .* at least 1, got 0"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, groups=4), "ConvTranspose2d: groups=4 must divide in_channels=4 and out_"),
        (lambda: nn.ConvTranspose2d(4, 6, 0), "ConvTranspose2d: kernel_size must be .* at least 1; got 0"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, (0, 1)), r"ConvTranspose2d: stride must be .* got \(0, 1\)"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, padding="same"), "ConvTranspose2d: padding must be .* got 'same'"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 0, -1), "ConvTranspose2d: output_padding must be .* got -1"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, dilation=0), "ConvTranspose2d: dilation must be .* got 0"),
        (lambda: nn.Dropout(1.5), "Dropout: expected a probability from 0 to 1, got p=1.5"),
    ],
)  # fmt: skip
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_algorithm_that_is_said_later_and_wrong(device):
    layer, x = nn.Conv2d(4, 6, 3, stride=2).to(device), images(device)
    for wrong in ("fft", "winograd"):
        layer.algorithm = wrong
        with pytest.raises(ValueError, match="^conv2d: algorithm"):
            layer(x)
