"""Activations as layers: each is its function; options, defaults and what is printed are PyTorch's."""

import inspect

import numpy as np
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, nn
from minidl import functional as F

LAYERS = {  # the layer, what its function is, and how it is printed
    "ReLU()": (nn.ReLU(), F.relu),
    "ReLU6()": (nn.ReLU6(), F.relu6),
    "Hardtanh(min_val=-1.0, max_val=1.0)": (nn.Hardtanh(), F.hardtanh),
    "Hardtanh(min_val=-2, max_val=0.5)": (nn.Hardtanh(-2, 0.5), lambda x: F.hardtanh(x, -2, 0.5)),
    "LeakyReLU(negative_slope=0.01)": (nn.LeakyReLU(), F.leaky_relu),
    "LeakyReLU(negative_slope=0.3)": (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3)),
    "ELU(alpha=1.0)": (nn.ELU(), F.elu),
    "ELU(alpha=0.5)": (nn.ELU(0.5), lambda x: F.elu(x, 0.5)),
    "SELU()": (nn.SELU(), F.selu),
    "Sigmoid()": (nn.Sigmoid(), F.sigmoid),
    "LogSigmoid()": (nn.LogSigmoid(), F.logsigmoid),
    "Hardsigmoid()": (nn.Hardsigmoid(), F.hardsigmoid),
    "Tanh()": (nn.Tanh(), F.tanh),
    "Softplus(beta=1.0, threshold=20.0)": (nn.Softplus(), F.softplus),
    "Softplus(beta=2, threshold=1)": (nn.Softplus(2, 1), lambda x: F.softplus(x, 2, 1)),
    "SiLU()": (nn.SiLU(), F.silu),
    "GELU(approximate='none')": (nn.GELU(), F.gelu),
    "GELU(approximate='tanh')": (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh")),
    "Mish()": (nn.Mish(), F.mish),
    "Hardswish()": (nn.Hardswish(), F.hardswish),
    "Softmax(dim=-1)": (nn.Softmax(), lambda x: F.softmax(x, 2)),
    "Softmax(dim=1)": (nn.Softmax(1), lambda x: F.softmax(x, 1)),
    "LogSoftmax(dim=-1)": (nn.LogSoftmax(), lambda x: F.log_softmax(x, 2)),
    "LogSoftmax(dim=0)": (nn.LogSoftmax(0), lambda x: F.log_softmax(x, 0)),
}


def scores(device):
    return Tensor(4 * np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32), device=device)


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_is_its_function_without_parameters(text, device):
    layer, function = LAYERS[text]
    assert_close(layer(scores(device)), function(scores(device)), 0)
    assert layer.state_dict() == {}


def test_every_layer_is_among_them():
    defined = {name for name, kind in vars(nn).items() if getattr(kind, "__module__", "") == nn.ReLU.__module__}
    assert defined == {text.split("(")[0] for text in LAYERS} | {"PReLU"}


@pytest.mark.parametrize("text", LAYERS)
def test_repr(text):
    assert repr(LAYERS[text][0]) == text


@pytest.mark.torch
@pytest.mark.parametrize("text", [*LAYERS, "PReLU(num_parameters=1)", "PReLU(num_parameters=3)"])
def test_repr_is_that_of_torch(text):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert repr(eval(f"torch.nn.{text}", {"torch": torch})) == text


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted({text.split("(")[0] for text in LAYERS} - {"Sigmoid", "Tanh", "LogSigmoid"}))
def test_options_and_defaults_are_those_of_torch(name):
    """But for the axis of Softmax and LogSoftmax: PyTorch guesses one, with a warning; ours is the last."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = inspect.signature(getattr(nn, name)).parameters
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    left_out = {"inplace", "min_value", "max_value", "device", "dtype"}
    expected = {p: -1 if p == "dim" else theirs[p].default for p in theirs if p not in left_out}
    assert {p: ours[p].default for p in ours} == expected
    assert list(ours) == list(expected)


# ---- PReLU


def test_prelu(device):
    layer, x = nn.PReLU(5, init=0.4).to(device), scores(device)
    assert_close(layer(x), F.leaky_relu(x, 0.4), 1e-6)
    layer(x).sum().backward()
    assert_close(layer.weight.grad, np.minimum(host(x), 0).sum(axis=(0, 1)), 1e-5)


def test_the_parameters_of_prelu():
    for layer, text, init in ((nn.PReLU(), "PReLU(num_parameters=1)", 0.25), (nn.PReLU(3, 0), "num_parameters=3", 0)):
        assert text in repr(layer)
        ((name, weight),) = layer.state_dict().items()
        assert (name, weight.dtype, weight.tolist()) == ("weight", np.float32, [init] * layer.num_parameters)


def test_a_prelu_is_learnt(device):
    """To be x where x < 0 too, the slope must be 1."""
    minidl.manual_seed(0)
    layer, x = nn.PReLU().to(device), scores(device)
    optimizer = minidl.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        F.mse_loss(layer(x), x).backward()
        optimizer.step()
    assert layer.weight.item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.PReLU(0), ValueError, "^PReLU: num_parameters must be an integer of at least 1, got 0$"),
        (lambda: nn.PReLU(2.0), ValueError, "^PReLU: num_parameters must be an integer of at least 1, got 2.0$"),
        (lambda: nn.Hardtanh(1, 1), ValueError, "^Hardtanh: min_val must be below max_val, got 1 and 1$"),
        (lambda: nn.Hardtanh(1.0, -1.0), ValueError, "^Hardtanh: min_val must be below max_val, got 1.0 and -1.0$"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()
