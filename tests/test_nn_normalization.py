"""Layers that normalise: PyTorch's options, state and values; running statistics in training and in inference."""

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


# ------------------------------------------------------------------------------------------------- batch normalisation


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
    mean, _, unbiased = (np.mean(each, axis=0) for each in zip(*statistics, strict=True))
    assert_close(layer.running_mean, mean, 1e-12)
    assert_close(layer.running_var, unbiased, 1e-12)
    assert host(layer.num_batches_tracked) == 4
    x = Tensor(batches[0], device=device)
    assert_close(layer.eval()(x), oracle.batch_norm(batches[0], mean, unbiased), 1e-9)
    assert nn.BatchNorm2d(3, momentum=None, track_running_stats=False).to(device, np.float64)(x).shape == x.shape


def test_batch_norm_without_statistics_or_affine(device):
    x = images(device)
    layer = nn.BatchNorm2d(4, affine=False, track_running_stats=False).to(device)
    assert layer.state_dict() == {}
    assert_close(layer.eval()(x), F.batch_norm(x, None, None, training=True), 0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"affine": False, "track_running_stats": False}], ids=str)
@pytest.mark.parametrize(("layer", "shape"), [(nn.BatchNorm2d, (3, 6, 5, 4)), (nn.BatchNorm1d, (7, 4))], ids=str)
def test_batch_norm_and_what_follows(layer, shape, options, training, device):
    """The result as one by one, and the same running statistics."""
    x, add = images(device, shape), images(device, shape)[::-1]
    results = []
    for follows in ({}, {"add": add}, {"relu": True}, {"add": add, "relu": True}):
        bn = layer(4, **options).to(device).train(training)
        results.append((bn(x, **follows), list(bn.state_dict().values())))
    y, state = results[0]
    for (actual, other_state), expected in zip(results, (y, y + add, F.relu(y), F.relu(y + add)), strict=True):
        assert_close(actual, expected, 1e-5)
        for one, other in zip(state, other_state, strict=True):
            np.testing.assert_array_equal(one, other)
    assert_close(bn(x, add, True), results[-1][0], 0 if options or training else 1e-5)


def test_a_refused_batch_changes_no_state(device):
    layer = nn.BatchNorm2d(4, affine=False).to(device)
    before = layer.state_dict()
    with pytest.raises(ValueError, match="more than one value a channel"):
        layer(images(device, (1, 1, 1, 4)))
    with pytest.raises(ValueError, match=r"^batch_norm: expected something of shape \(3, 6, 5, 4\) to add"):
        layer(images(device), add=images(device, (3, 6, 5, 1)))
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_batch_norm_keeps_the_kind_of_its_state(device):
    layer = nn.BatchNorm2d(4, affine=False).to(device)
    before = layer.state_dict()
    layer(Tensor(np.random.default_rng(0).standard_normal((3, 4)), device=device))  # float64 rows
    after = layer.state_dict()
    assert {n: (a.dtype, a.shape) for n, a in after.items()} == {n: (a.dtype, a.shape) for n, a in before.items()}
    assert type(layer.num_batches_tracked.data) is type(layer.running_mean.data)


@pytest.mark.parametrize(
    ("layer", "shapes"), [(nn.BatchNorm1d, [(3, 4), (3, 5, 4)]), (nn.BatchNorm2d, [(3, 2, 5, 4), (3, 4)])]
)
def test_layouts_of_batch_norm(layer, shapes, device):
    for shape in shapes:
        x = images(device, shape)
        mean, variance, _ = oracle.batch_statistics(host(x))
        assert_close(layer(4).to(device)(x), oracle.batch_norm(host(x), mean, variance), 1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"momentum": 0.7}, {"momentum": None}, {"momentum": 0.0}, {"affine": False}])
@pytest.mark.parametrize(
    ("name", "shape"), [("BatchNorm1d", (6, 3)), ("BatchNorm1d", (2, 4, 3)), ("BatchNorm2d", (2, 4, 5, 3))]
)
def test_batch_norm_layer_against_torch(name, shape, options, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = getattr(nn, name)(3, **options).to(device, np.float64)
    theirs = getattr(torch.nn, name)(3, **options).double()
    for mode in (True, True, True, False):
        x = rng.standard_normal(shape) + 2
        y = theirs.train(mode)(torch.from_numpy(x).movedim(-1, 1)).movedim(1, -1)
        assert_close(ours.train(mode)(Tensor(x, device=device)), y.detach().numpy())
    for name, array in ours.state_dict().items():
        assert_close(array, theirs.state_dict()[name].numpy(), 1e-9)


# ---------------------------------------------------------------------------------------- normalisation within a sample


def test_layers_are_their_functions(device, rng):
    x = images(device)
    layers = [
        (nn.LayerNorm(4), lambda w, b: F.layer_norm(x, (4,), w, b)),
        (nn.LayerNorm([5, 4], eps=0.1), lambda w, b: F.layer_norm(x, (5, 4), w, b, 0.1)),
        (nn.LayerNorm((6, 5, 4), bias=False), lambda w, b: F.layer_norm(x, (6, 5, 4), w)),
        (nn.LayerNorm(4, elementwise_affine=False), lambda w, b: F.layer_norm(x, (4,))),
        (nn.GroupNorm(2, 4, eps=0.1), lambda w, b: F.group_norm(x, 2, w, b, 0.1)),
        (nn.GroupNorm(4, 4, bias=False), lambda w, b: F.group_norm(x, 4, w)),
        (nn.GroupNorm(1, 4, affine=False), lambda w, b: F.group_norm(x, 1)),
        (nn.RMSNorm(4), lambda w, b: F.rms_norm(x, (4,), w)),
        (nn.RMSNorm([5, 4], eps=0.1, elementwise_affine=False), lambda w, b: F.rms_norm(x, (5, 4), None, 0.1)),
        (nn.InstanceNorm2d(4, eps=0.1), lambda w, b: F.instance_norm(x, eps=0.1)),
        (nn.InstanceNorm2d(4, affine=True), lambda w, b: F.instance_norm(x, weight=w, bias=b)),
        (nn.LocalResponseNorm(3, 0.5, 0.6, 2.0), lambda w, b: F.local_response_norm(x, 3, 0.5, 0.6, 2.0)),
    ]
    for layer, function in layers:
        layer.to(device)
        for parameter in layer.parameters():
            parameter.data = Tensor(rng.standard_normal(parameter.shape), dtype=np.float32, device=device).data
        expected = function(getattr(layer, "weight", None), getattr(layer, "bias", None))
        assert_close(layer(x), expected, 0)
        assert_close(layer.eval()(x), expected, 0)


def test_parameters_start_at_one_and_zero():
    for layer in (
        nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.InstanceNorm2d(3, affine=True), nn.LayerNorm((2, 3)),
        nn.GroupNorm(1, 3), nn.RMSNorm(3),
    ):  # fmt: skip
        for name, parameter in layer.named_parameters():
            assert parameter.dtype == np.float32
            np.testing.assert_array_equal(host(parameter), np.full(parameter.shape, {"weight": 1, "bias": 0}[name]))


def test_instance_norm_with_running_statistics(device, rng):
    layer = nn.InstanceNorm2d(4, momentum=0.2, track_running_stats=True).to(device, np.float64)
    x = rng.standard_normal((3, 6, 5, 4)) + 2
    assert_close(layer(Tensor(x, device=device)), oracle.group_norm(x, 4))
    each = [oracle.batch_statistics(sample) for sample in x]
    assert_close(layer.running_mean, 0.2 * np.mean([mean for mean, _, _ in each], axis=0))
    assert_close(layer.running_var, 0.8 + 0.2 * np.mean([unbiased for _, _, unbiased in each], axis=0))
    before = layer.state_dict()
    running = before["running_mean"], before["running_var"]
    assert_close(layer.eval()(Tensor(x, device=device)), oracle.batch_norm(x, *running))
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


def test_instance_norm_of_one_image(device, rng):
    """Not of (N, L, C), for which it could be taken: F.instance_norm is that."""
    x = rng.standard_normal((6, 5, 4))
    layer = nn.InstanceNorm2d(4, track_running_stats=True).to(device, np.float64)
    assert_close(layer(Tensor(x, device=device)), oracle.group_norm(x[None], 4)[0])
    assert_close(layer.running_mean, 0.1 * x.mean(axis=(0, 1)))
    assert nn.InstanceNorm2d(4)(images("cpu", (2, 0, 3, 4))).shape == (2, 0, 3, 4)


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"affine": True}, {"track_running_stats": True, "momentum": 0.3}])
def test_instance_norm_layer_against_torch(options, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = nn.InstanceNorm2d(3, **options).to(device, np.float64)
    theirs = torch.nn.InstanceNorm2d(3, **options).double()
    for mode in (True, True, False):
        x = rng.standard_normal((2, 4, 5, 3)) + 2
        y = theirs.train(mode)(torch.from_numpy(x).movedim(-1, 1)).movedim(1, -1)
        assert_close(ours.train(mode)(Tensor(x, device=device)), y.detach().numpy())
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, array in ours.state_dict().items():
        assert_close(array, theirs.state_dict()[name].numpy(), 1e-9)


def test_layers_are_trained(device):
    """A step of gradient descent moves every parameter of a network in which each kind of layer is one."""
    network = nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6), nn.InstanceNorm2d(6, affine=True), nn.LocalResponseNorm(3),
        nn.BatchNorm2d(6), nn.LayerNorm((3, 6)), nn.RMSNorm(6), nn.Flatten(), nn.Linear(72, 5), nn.BatchNorm1d(5),
    ).to(device)  # fmt: skip
    F.cross_entropy(network(images(device)), Tensor([0, 4, 2], device=device)).backward()
    for name, parameter in network.named_parameters():
        assert host(parameter.grad).any(), name
        assert np.isfinite(host(parameter.grad)).all(), name


# ---------------------------------------------------------------------------------------------- options, and wrong ones

NAMES = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "InstanceNorm2d", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_options_and_defaults_are_those_of_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours = inspect.signature(getattr(nn, name)).parameters.values()
    theirs = inspect.signature(getattr(torch.nn, name)).parameters.values()
    expected = [(p.name, p.default, p.kind) for p in theirs if p.name not in ("device", "dtype")]
    assert [(p.name, p.default, p.kind) for p in ours] == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_state_is_that_of_torch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arguments = {"GroupNorm": (2, 4), "LayerNorm": ((3, 4),)}.get(name, (4,))
    ours, theirs = getattr(nn, name)(*arguments).state_dict(), getattr(torch.nn, name)(*arguments).state_dict()
    assert list(ours) == list(theirs)
    for array, tensor in zip(ours.values(), theirs.values(), strict=True):
        assert array.dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(array, tensor.numpy())


REPRS = {
    "BatchNorm1d(4, eps=1e-05, momentum=0.1)": lambda: nn.BatchNorm1d(4),
    "BatchNorm2d(4, eps=1e-05, momentum=0.1)": lambda: nn.BatchNorm2d(4),
    "BatchNorm2d(4, eps=0.001, momentum=None, bias=False)": lambda: nn.BatchNorm2d(4, 1e-3, None, bias=False),
    "BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False)": lambda: nn.BatchNorm2d(
        4, affine=False, track_running_stats=False
    ),
    "InstanceNorm2d(4, eps=1e-05, momentum=0.1)": lambda: nn.InstanceNorm2d(4),
    "InstanceNorm2d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)": lambda: nn.InstanceNorm2d(
        4, affine=True, track_running_stats=True
    ),
    "LayerNorm((4,), eps=1e-05)": lambda: nn.LayerNorm(4),
    "LayerNorm((3, 4), eps=1e-05, bias=False)": lambda: nn.LayerNorm([3, 4], bias=False),
    "LayerNorm((4,), eps=1e-05, elementwise_affine=False)": lambda: nn.LayerNorm(4, elementwise_affine=False),
    "GroupNorm(2, 6, eps=1e-05)": lambda: nn.GroupNorm(2, 6),
    "GroupNorm(2, 6, eps=1e-05, affine=False)": lambda: nn.GroupNorm(2, 6, affine=False),
    "GroupNorm(2, 6, eps=1e-05, bias=False)": lambda: nn.GroupNorm(2, 6, bias=False),
    "RMSNorm((4,), eps=None)": lambda: nn.RMSNorm(4),
    "RMSNorm((3, 4), eps=0.1, elementwise_affine=False)": lambda: nn.RMSNorm((3, 4), 0.1, False),
    "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)": lambda: nn.LocalResponseNorm(5),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr(text):
    assert repr(REPRS[text]()) == text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm1d(0), "BatchNorm1d: num_features must be an integer of at least 1, got 0"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features must be an integer of at least 1, got 0"),
        (lambda: nn.InstanceNorm2d(2.0), "InstanceNorm2d: num_features must be an integer of at least 1, got 2.0"),
        (lambda: nn.LayerNorm(0), "LayerNorm: normalized_shape must be an integer of at least 1, got 0"),
        (lambda: nn.LayerNorm((3, -1)), "LayerNorm: normalized_shape must be an integer of at least 1, got -1"),
        (lambda: nn.LayerNorm(()), r"LayerNorm: normalized_shape must be an integer of at least 1, got \(\)"),
        (lambda: nn.RMSNorm("4"), "RMSNorm: normalized_shape must be an integer of at least 1, got '4'"),
        (lambda: nn.GroupNorm(0, 4), "GroupNorm: num_groups must be an integer of at least 1, got 0"),
        (lambda: nn.GroupNorm(2, 0), "GroupNorm: num_channels must be an integer of at least 1, got 0"),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: num_groups=3 must divide num_channels=4"),
        (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size must be an integer of at least 1, got 0"),
        (
            lambda: nn.BatchNorm1d(4)(images("cpu")),
            r"BatchNorm1d: expected \(N, C\) or \(N, L, C\) with C = 4, got \(3, 6, 5, 4\)",
        ),
        (
            lambda: nn.BatchNorm2d(4)(images("cpu", (6, 5, 4))),
            r"BatchNorm2d: expected \(N, H, W, C\) or \(N, C\) with C = 4, got \(6, 5, 4\)",
        ),
        (
            lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False)(images("cpu")),
            r"BatchNorm2d: expected .* with C = 3, got \(3, 6, 5, 4\)",
        ),
        (
            lambda: nn.InstanceNorm2d(4)(images("cpu", (3, 4))),
            r"InstanceNorm2d: expected \(N, H, W, C\) or \(H, W, C\) with C = 4, got \(3, 4\)",
        ),
        (lambda: nn.InstanceNorm2d(3)(images("cpu")), r"InstanceNorm2d: expected .* with C = 3, got \(3, 6, 5, 4\)"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.torch
def test_channels_are_counted_without_parameters_too():
    """PyTorch's InstanceNorm2d only warns."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.warns(UserWarning, match="does not match num_features"):
        assert torch.nn.InstanceNorm2d(5)(torch.ones(1, 3, 4, 4)).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="InstanceNorm2d: expected .* with C = 5"):
        nn.InstanceNorm2d(5)(Tensor(np.ones((1, 4, 4, 3))))


def test_a_list_is_no_tensor():
    for layer in (nn.BatchNorm2d(2), nn.InstanceNorm2d(2), nn.LayerNorm(2), nn.LocalResponseNorm(2)):
        with pytest.raises(TypeError, match="expected a Tensor or an array, got list"):
            layer([[1.0, 2.0]])


def test_a_layer_of_raw_arrays(device, rng):
    x = Tensor(rng.standard_normal((3, 6, 5, 4)), device=device)
    for layer in (nn.BatchNorm2d(4, affine=False), nn.InstanceNorm2d(4)):
        y = layer.to(device, np.float64)(x.data)
        assert minidl.backend.is_array(y)
        assert_close(y, layer(x), 1e-12)
