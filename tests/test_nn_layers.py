"""Layers: each is its function with parameters and options of its own, and starts from weights of the right size."""

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


def test_layers_know_their_sizes():
    linear, conv = nn.Linear(4, 3), nn.Conv2d(4, 6, 3, groups=2)
    assert (linear.in_features, linear.out_features) == (4, 3)
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (4, 6, (3, 3))
    assert nn.Conv2d(4, 6, (3, 2)).kernel_size == (3, 2)


def test_pooling_layers(device):
    x = images(device)
    pairs = [
        (nn.MaxPool2d(3, 2, 1, 1, True), F.max_pool2d(x, 3, 2, 1, 1, True)),
        (nn.MaxPool2d((2, 3)), F.max_pool2d(x, (2, 3))),
        (nn.AvgPool2d(3, 2, 1, True, False), F.avg_pool2d(x, 3, 2, 1, True, False)),
        (nn.AvgPool2d(2, divisor_override=3), F.avg_pool2d(x, 2, divisor_override=3)),
        (nn.AdaptiveAvgPool2d((2, None)), F.adaptive_avg_pool2d(x, (2, None))),
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


def test_batch_norm_layer(device):
    layer, x = nn.BatchNorm2d(4, eps=1e-3, momentum=0.2).to(device), images(device)
    mean, variance, unbiased = oracle.batch_statistics(host(x))
    assert_close(layer(x), oracle.batch_norm(host(x), mean, variance, eps=1e-3), 1e-5)
    assert_close(layer.running_mean, 0.2 * mean, 1e-6)
    assert_close(layer.running_var, 0.8 + 0.2 * unbiased, 1e-6)
    assert layer.num_batches_tracked.item() == 1
    running = host(layer.running_mean), host(layer.running_var)
    assert_close(layer.eval()(x), oracle.batch_norm(host(x), *running, eps=1e-3), 1e-5)
    assert layer.num_batches_tracked.item() == 1


def test_batch_norm_without_momentum_averages_all_batches_equally(device, rng):
    layer = nn.BatchNorm2d(3, momentum=None).to(device, np.float64)
    batches = [rng.standard_normal((2, 4, 5, 3)) + k for k in range(4)]
    for batch in batches:
        layer(Tensor(batch, device=device))
    statistics = [oracle.batch_statistics(batch) for batch in batches]
    assert_close(layer.running_mean, np.mean([mean for mean, _, _ in statistics], axis=0), 1e-12)
    assert_close(layer.running_var, np.mean([unbiased for _, _, unbiased in statistics], axis=0), 1e-12)
    assert host(layer.num_batches_tracked) == 4


def test_batch_norm_without_statistics_or_affine(device):
    x = images(device)
    layer = nn.BatchNorm2d(4, affine=False, track_running_stats=False).to(device)
    assert layer.state_dict() == {}
    assert_close(layer.eval()(x), F.batch_norm(x, None, None, training=True), 0)


def test_a_refused_batch_changes_no_state(device):
    layer = nn.BatchNorm2d(4, affine=False).to(device)
    before = layer.state_dict()
    with pytest.raises(ValueError, match="more than one value a channel"):
        layer(images(device, (1, 1, 1, 4)))
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_batch_norm_keeps_the_kind_of_its_state(device):
    layer = nn.BatchNorm2d(4, affine=False).to(device)
    before = layer.state_dict()
    layer(Tensor(np.random.default_rng(0).standard_normal((3, 4)), device=device))  # float64 rows
    after = layer.state_dict()
    assert {n: (a.dtype, a.shape) for n, a in after.items()} == {n: (a.dtype, a.shape) for n, a in before.items()}
    assert type(layer.num_batches_tracked.data) is type(layer.running_mean.data)


@pytest.mark.torch
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_batch_norm_layer_against_torch(momentum, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = nn.BatchNorm2d(3, momentum=momentum).to(device, np.float64)
    theirs = torch.nn.BatchNorm2d(3, momentum=momentum).double()
    for _ in range(3):
        x = rng.standard_normal((2, 4, 5, 3)) + 2
        y = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2)))
        assert_close(ours(Tensor(x, device=device)), y.detach().numpy().transpose(0, 2, 3, 1))
    for name, array in ours.state_dict().items():
        assert_close(array, theirs.state_dict()[name].numpy(), 1e-9)


@pytest.mark.torch
@pytest.mark.parametrize(
    "name", ["AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm2d", "Conv2d", "Dropout", "Flatten", "Linear", "MaxPool2d"]
)
def test_options_and_defaults_are_those_of_torch(name):
    """Without what PyTorch has and minidl does not: in-place layers, other paddings, a first device and dtype."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = inspect.signature(getattr(nn, name)).parameters
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    left_out = {"device", "dtype", "padding_mode", "inplace", "return_indices"} - set(ours)
    left_out |= {"bias"} if name == "BatchNorm2d" else set()  # PyTorch's newest
    expected = [(p, theirs[p].default) for p in theirs if p not in left_out]
    assert [(p, ours[p].default) for p in ours] == expected


# ---- repr

REPRS = {
    "Linear(4, 3)": lambda: nn.Linear(4, 3),
    "Linear(4, 3, bias=False)": lambda: nn.Linear(4, 3, bias=False),
    "Conv2d(4, 6, kernel_size=(3, 3))": lambda: nn.Conv2d(4, 6, 3),
    "Conv2d(4, 6, kernel_size=(3, 2), stride=2, padding=(1, 0), groups=2, bias=False)": lambda: nn.Conv2d(
        4, 6, (3, 2), 2, (1, 0), groups=2, bias=False
    ),
    "BatchNorm2d(4, eps=1e-05, momentum=0.1)": lambda: nn.BatchNorm2d(4),
    "MaxPool2d(kernel_size=2)": lambda: nn.MaxPool2d(2),
    "MaxPool2d(kernel_size=(3, 2), stride=2, padding=1, dilation=2, ceil_mode=True)": lambda: nn.MaxPool2d(
        (3, 2), 2, 1, 2, True
    ),
    "AvgPool2d(kernel_size=2)": lambda: nn.AvgPool2d(2),
    "AvgPool2d(kernel_size=2, stride=1, count_include_pad=False)": lambda: nn.AvgPool2d(2, 1, count_include_pad=False),
    "AdaptiveAvgPool2d((1, None))": lambda: nn.AdaptiveAvgPool2d((1, None)),
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
    for layer, fan_in in ((nn.Linear(100, 70), 100), (nn.Conv2d(12, 60, (3, 2), groups=3), 3 * 2 * 4)):
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
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features must be an integer of at least 1, got 0"),
        (lambda: nn.Dropout(1.5), "Dropout: expected a probability from 0 to 1, got p=1.5"),
    ],
)  # fmt: skip
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()
