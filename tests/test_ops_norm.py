"""batch_norm, in training and in inference."""

import itertools

import fakecupy
import numpy as np
import oracle
import pytest
from judge import (
    assert_close,
    check_operator,
    host,
    largest_error,
    leaves,
    relative_error,
    scattered,
    separated,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor, backend
from minidl import functional as F
from minidl.kernels import channels
from minidl.ops.norm import BatchNorm, batch_norm_textbook

SHAPES = [(2, 3, 4, 5), (6, 3), (2, 1, 1, 3), (1, 3, 2, 1), (3, 4, 2), (2, 3, 1, 2, 4)]


def case(shape, rng):
    """x, weight, bias, and running statistics that are not those of x."""
    C = shape[-1]
    x = 3 * rng.standard_normal(shape) + rng.standard_normal(C)
    return [x, rng.standard_normal(C), rng.standard_normal(C)], [rng.standard_normal(C), rng.uniform(0.5, 2, C)]


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


def training(x, weight=None, bias=None, eps=1e-5):
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training(shape, device, rng):
    arrays, _ = case(shape, rng)
    mean, variance, _ = oracle.batch_statistics(arrays[0])
    x, weight, bias = leaves(arrays, device)
    assert_close(
        training(x, weight, bias, eps=1e-3), oracle.batch_norm(arrays[0], mean, variance, *arrays[1:], eps=1e-3)
    )
    assert_close(training(x), oracle.batch_norm(arrays[0], mean, variance))
    assert_close(training(x, weight=weight), oracle.batch_norm(arrays[0], mean, variance, arrays[1]))
    assert_close(training(x, bias=bias), oracle.batch_norm(arrays[0], mean, variance, None, arrays[2]))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != (2, 1, 1, 3)], ids=str)
def test_training_gradients_and_manners(shape, device, rng):
    # Of two values a channel the outputs are ±1 whatever x is, and differences say nothing: hence not (2, 1, 1, 3).
    arrays, _ = case(shape, rng)
    check_operator(training, arrays, device)
    check_operator(training, arrays[:1], device)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_inference(shape, device, rng):
    arrays, running = case(shape, rng)
    statistics = [Tensor(array, device=device) for array in running]

    def inference(x, weight=None, bias=None):
        return F.batch_norm(x, *statistics, weight, bias, eps=1e-3)

    assert_close(inference(*leaves(arrays, device)), oracle.batch_norm(arrays[0], *running, *arrays[1:], eps=1e-3))
    assert_close(inference(*leaves(arrays[:1], device)), oracle.batch_norm(arrays[0], *running, eps=1e-3))
    check_operator(inference, arrays, device)
    for statistic, before in zip(statistics, running, strict=True):
        np.testing.assert_array_equal(host(statistic), before)


def test_full_second_derivatives(device, rng):
    arrays, running = case((2, 2, 3, 2), rng)
    minidl.gradgradcheck(training, leaves(arrays, device))
    statistics = [Tensor(array, device=device) for array in running]
    minidl.gradgradcheck(lambda x, *affine: F.batch_norm(x, *statistics, *affine), leaves(arrays, device))


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["training", "training without running statistics", "inference"])
@pytest.mark.parametrize("affine", ["", "weight", "bias", "weight bias"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_torch(shape, affine, mode, device, rng):
    (x, weight, bias), running = case(shape, rng)
    given = {"weight": weight, "bias": bias}
    names = affine.split()
    arrays = [x, *(given[name] for name in names)]
    ours = [Tensor(array, device=device) for array in running]
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = [torch.from_numpy(array.copy()) for array in running]
    if "without" in mode:
        ours = theirs = [None, None]
    options = {"training": "training" in mode, "momentum": 0.3, "eps": 1e-3}
    g = rng.standard_normal(shape)

    def function(x, *parameters):
        return F.batch_norm(x, *ours, **dict(zip(names, parameters, strict=True)), **options)

    def torch_function(torch_f, x, *parameters):
        parameters = dict(zip(names, parameters, strict=True))
        return torch_f.batch_norm(x.movedim(-1, 1), *theirs, **parameters, **options).movedim(1, -1)

    value, gradients = value_and_gradients(function, arrays, g, device)
    expected, expected_gradients = torch_value_and_gradients(torch_function, arrays, [None] * len(arrays), g)
    assert_close(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient)
    if "without" not in mode:
        for statistic, expected_statistic in zip(ours, theirs, strict=True):
            assert_close(statistic, expected_statistic.numpy())


@pytest.mark.torch
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, -1.2, 1])
def test_running_statistics_after_several_batches_against_torch(momentum, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    _, running = case((6, 3), rng)
    ours = [Tensor(array, device=device) for array in running]
    theirs = [torch.from_numpy(array.copy()) for array in running]
    for M in (2, 7, 3):
        x = rng.standard_normal((M, 3)) + 5
        F.batch_norm(Tensor(x, device=device), *ours, training=True, momentum=momentum)
        torch.nn.functional.batch_norm(torch.from_numpy(x), *theirs, training=True, momentum=momentum)
    for statistic, expected in zip(ours, theirs, strict=True):
        assert_close(statistic, expected.numpy())


def test_fused_equals_the_textbook(device, rng):
    arrays, _ = case((3, 4, 2, 5), rng)
    g = rng.standard_normal((3, 4, 2, 5))
    value, gradients = value_and_gradients(training, arrays, g, device)
    expected, expected_gradients = value_and_gradients(batch_norm_textbook, arrays, g, device)
    assert_close(value, expected, 1e-12)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient, 1e-12)


def test_running_statistics_move_by_the_momentum_and_keep_the_unbiased_variance(device, rng):
    (x, _, _), running = case((2, 3, 2, 4), rng)
    mean, _, unbiased = oracle.batch_statistics(x)
    statistics = [Tensor(array, device=device) for array in running]
    F.batch_norm(Tensor(x, device=device), *statistics, training=True, momentum=0.25)
    assert_close(statistics[0], 0.75 * running[0] + 0.25 * mean)
    assert_close(statistics[1], 0.75 * running[1] + 0.25 * unbiased)


def test_the_momentum_may_be_on_the_device(device, rng):
    """As it is for the average of all batches: the count of batches is there, and nobody waits for it."""
    (x, _, _), running = case((5, 4), rng)
    momentum = Tensor(np.array(0.25), device=device).data
    statistics = [Tensor(array, device=device) for array in running]
    F.batch_norm(Tensor(x, device=device), *statistics, training=True, momentum=momentum)
    assert_close(statistics[0], 0.75 * running[0] + 0.25 * x.mean(axis=0))
    with pytest.raises(TypeError, match="^batch_norm: momentum must be a number, got array"):
        F.batch_norm(Tensor(x), None, None, training=True, momentum=np.array([0.1, 0.2]))


def test_running_statistics_keep_their_dtype_and_stay_outside_the_graph(device, rng):
    (x, weight, bias), running = case((2, 3, 2, 4), rng)
    statistics = [Tensor(array, dtype=np.float32, device=device) for array in running]
    y = F.batch_norm(*leaves([x], device), *statistics, *leaves([weight, bias], device), training=True)
    assert y.dtype == np.float64
    assert [(s.dtype, s.requires_grad, str(s.device)) for s in statistics] == [(np.float32, False, str(y.device))] * 2


def test_a_mean_far_from_zero_in_float32(device, rng):
    """Mean 10,000, standard deviation 1: as E[x²] − E[x]², the variance would be lost altogether."""
    x = (rng.standard_normal((8, 30, 30, 3)) + 1e4).astype(np.float32)
    g = rng.standard_normal(x.shape).astype(np.float32)
    mean, variance, _ = oracle.batch_statistics(x)
    value, (gradient,) = value_and_gradients(training, [x], g, device)
    assert value.dtype == gradient.dtype == np.float32
    assert relative_error(value, oracle.batch_norm(x, mean, variance)) < 0.01  # an input's own rounding is 0.0005
    _, (exact,) = value_and_gradients(training, [x.astype(np.float64)], g.astype(np.float64), "cpu")
    assert relative_error(gradient, exact) < 0.01


def test_inference_with_a_mean_far_from_zero_in_float32(device, rng):
    """The gradient to the weight is Σ g · (x − μ) / σ: as Σ g · x − μ · Σ g, it would cancel."""
    x = (rng.standard_normal((8, 10, 10, 3)) + 1e4).astype(np.float32)
    g, weight = rng.standard_normal(x.shape).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    mean, variance, _ = oracle.batch_statistics(x)

    def inference(x, weight):
        place = {"dtype": x.dtype, "device": x.device}
        return F.batch_norm(x, Tensor(mean, **place), Tensor(variance, **place), weight)

    value, gradients = value_and_gradients(inference, [x, weight], g, device)
    assert relative_error(value, oracle.batch_norm(x, mean, variance, weight)) < 0.01
    exact = value_and_gradients(inference, [x.astype(np.float64), weight.astype(np.float64)], g.astype(float), "cpu")[1]
    for gradient, expected in zip(gradients, exact, strict=True):
        assert gradient.dtype == np.float32
        assert relative_error(gradient, expected) < 0.002


def test_a_gradient_that_nobody_wants_is_not_computed(device, rng, monkeypatch):
    """That to the first layer's input is as large as a batch of images."""
    arrays, _ = case((2, 3, 4, 5), rng)
    computed = []

    def noted(function):
        def call(*arguments, **options):
            gradients = function(*arguments, **options)
            computed.append(gradients[0] is not None)
            return gradients

        return call

    monkeypatch.setattr(channels, "normalize_gradients", noted(channels.normalize_gradients))
    monkeypatch.setattr(BatchNorm, "_differentiable_gradients", noted(BatchNorm._differentiable_gradients))
    x, weight, bias = leaves(arrays, device)
    g = Tensor(rng.standard_normal(x.shape), device=device)
    every = minidl.grad(training(x, weight, bias), [x, weight, bias], g)
    for create_graph in (False, True):
        y = training(x.detach(), weight, bias)
        for gradient, expected in zip(
            minidl.grad(y, [weight, bias], g, create_graph=create_graph), every[1:], strict=True
        ):
            assert_close(gradient, expected, 1e-12)
    assert computed == [True, False, False]


def test_a_constant_channel_becomes_the_bias(device):
    x = Tensor(np.full((2, 3, 3, 2), 7.0), requires_grad=True, device=device)
    y = F.batch_norm(x, None, None, bias=Tensor([0.5, -0.5], dtype=np.float64, device=device), training=True)
    assert_close(y, np.broadcast_to([0.5, -0.5], (2, 3, 3, 2)))
    y.backward(Tensor(np.random.default_rng(0).standard_normal(y.shape), device=device))
    assert np.isfinite(host(x.grad)).all()


def test_memory_order_does_not_matter(device, rng):
    arrays, _ = case((2, 3, 4, 5), rng)
    x, weight, bias = leaves(arrays, device)
    g = Tensor(rng.standard_normal(x.shape), device=device)
    y, mixed = training(x, weight, bias), training(scattered(x), weight, bias)
    assert_close(mixed, y)
    for a, b in zip(minidl.grad(mixed, [x, weight], scattered(g)), minidl.grad(y, [x, weight], g), strict=True):
        assert_close(a, b)


def test_float16_is_normalised_in_float32(device, rng):
    """The square of 256 is too large for float16."""
    x = (300 * rng.standard_normal((4, 5, 6, 3))).astype(np.float16)
    weight, bias = rng.standard_normal((2, 3)).astype(np.float16)
    mean, variance, _ = oracle.batch_statistics(x)
    running = [Tensor(array, dtype=np.float32, device=device) for array in (mean, variance)]
    g = rng.standard_normal(x.shape).astype(np.float16)
    for options in ({"training": True}, {}):
        value, gradients = value_and_gradients(
            lambda x, *affine, o=options: F.batch_norm(x, *running, *affine, **o), [x, weight, bias], g, device
        )
        assert [array.dtype for array in (value, *gradients)] == [np.float16] * 4
        assert relative_error(value, oracle.batch_norm(x, mean, variance, weight, bias)) < 0.001
        assert relative_error(gradients[2], g.astype(float).sum(axis=(0, 1, 2))) < 0.001


def test_integers_and_raw_arrays(device):
    x = Tensor(np.arange(24).reshape(4, 6), device=device)
    assert training(x).dtype == np.float32
    raw = training(x.data)
    assert not isinstance(raw, Tensor)
    assert_close(raw, training(x), 0)


@pytest.mark.parametrize("place", ["cpu", "gpu:1"])
@pytest.mark.parametrize("mode", [True, False])
def test_raw_arrays_give_a_raw_array_where_they_are(mode, place, fake_gpu, rng):
    with backend.active(minidl.device(place)):
        x = Tensor(rng.standard_normal((4, 3)), device=place)
        y = F.batch_norm(x.data, *(Tensor(np.ones(3), device=place) for _ in range(2)), training=mode)
        expected = F.batch_norm(x, *(Tensor(np.ones(3), device=place) for _ in range(2)), training=mode)
        assert backend.is_array(y)
        assert str(backend.device_of(y)).startswith(place)
        assert_close(y, expected, 0)


# ---- what follows: add and relu

MODES = ["training", "inference"]


def normalise(mode, device, running):
    """batch_norm of x with weight, bias and what follows, in this mode, with running statistics of its own."""
    statistics = [Tensor(array, device=device) for array in running]

    def call(x, weight=None, bias=None, add=None, relu=False):
        return F.batch_norm(x, *statistics, weight, bias, training=mode == "training", eps=1e-3, add=add, relu=relu)

    return call


def case_to_follow(mode, shape, rng):
    """x, weight, bias and an `add` that makes all sums distinct numbers, at least 0.01 from 0; running statistics."""
    (x, weight, bias), running = case(shape, rng)
    y = host(normalise(mode, "cpu", running)(Tensor(x), Tensor(weight), Tensor(bias)))
    return [x, weight, bias, separated(rng, shape) - y], running


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_follows_is_the_same_as_one_by_one(shape, mode, device, rng):
    arrays, running = case_to_follow(mode, shape, rng)
    g = rng.standard_normal(shape)
    for with_affine, with_add, relu in itertools.product([True, False], repeat=3):
        chosen = [arrays[0], *(arrays[1:3] if with_affine else []), *(arrays[3:] if with_add else [])]

        def call(x, *rest, fused, affine=with_affine, add=with_add, relu=relu):
            parameters = rest[:2] if affine else (None, None)
            addend = rest[-1] if add else None
            batch_norm = normalise(mode, device, running)
            if fused:
                return batch_norm(x, *parameters, addend, relu)
            y = batch_norm(x, *parameters)
            y = y if addend is None else y + addend
            return F.relu(y) if relu else y

        results = [
            value_and_gradients(lambda *xs, f=f, c=call: c(*xs, fused=f), chosen, g, device) for f in (True, False)
        ]
        for actual, expected in zip(*([value, *gradients] for value, gradients in results), strict=True):
            assert largest_error(actual, expected) <= 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_what_follows_gradients_and_manners(mode, device, rng):
    arrays, running = case_to_follow(mode, (2, 3, 4, 5), rng)
    batch_norm = normalise(mode, device, running)
    y = host(batch_norm(*leaves(arrays, device), relu=True))
    assert (y == 0).any()
    assert (y > 0).any()
    check_operator(lambda *inputs: batch_norm(*inputs, relu=True), arrays, device)
    check_operator(batch_norm, arrays, device)
    check_operator(lambda x, add: batch_norm(x, add=add), [arrays[0], arrays[3]], device)


@pytest.mark.parametrize("mode", MODES)
def test_what_follows_full_second_derivatives(mode, device, rng):
    arrays, running = case_to_follow(mode, (2, 2, 3, 2), rng)
    batch_norm = normalise(mode, device, running)
    minidl.gradgradcheck(lambda *inputs: batch_norm(*inputs, relu=True), leaves(arrays, device), fast=device != "cpu")


@pytest.mark.parametrize("mode", MODES)
def test_running_statistics_do_not_care_what_follows(mode, device, rng):
    arrays, running = case_to_follow(mode, (2, 3, 4, 5), rng)
    results = []
    for follows in ({}, {"add": arrays[3]}, {"relu": True}, {"add": arrays[3], "relu": True}):
        statistics = [Tensor(array, device=device) for array in running]
        follows = {k: Tensor(v, device=device) if k == "add" else v for k, v in follows.items()}
        F.batch_norm(Tensor(arrays[0], device=device), *statistics, training=mode == "training", **follows)
        results.append([host(statistic) for statistic in statistics])
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_finite_follows_as_in_relu(mode, device):
    """y is 0 here; the gradient of max(y + a, 0) goes where that is above 0, or NaN."""
    zero = Tensor(np.zeros((4, 1)), device=device)
    add = Tensor(np.array([[np.nan], [np.inf], [-np.inf], [0.0]]), requires_grad=True, device=device)
    statistics = [Tensor(np.array([value]), device=device) for value in (0.0, 1.0)]
    y = F.batch_norm(zero, *statistics, training=mode == "training", add=add, relu=True)
    np.testing.assert_array_equal(host(y).ravel(), [np.nan, np.inf, 0, 0])
    (gradient,) = minidl.grad(y, [add], Tensor(np.full((4, 1), 2.0), device=device))
    np.testing.assert_array_equal(host(gradient).ravel(), [2, 2, 0, 0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_follows_keeps_the_dtype(dtype, mode, device, rng):
    arrays, running = case_to_follow(mode, (2, 3, 4, 5), rng)
    arrays, g = [array.astype(dtype) for array in arrays], rng.standard_normal((2, 3, 4, 5)).astype(dtype)
    batch_norm = normalise(mode, device, [array.astype(np.float32) for array in running])
    follow = lambda *inputs: batch_norm(*inputs, relu=True)  # noqa: E731
    value, gradients = value_and_gradients(follow, arrays, g, device)
    exact = value_and_gradients(follow, [array.astype(float) for array in arrays], g.astype(float), device)
    for actual, expected in zip([value, *gradients], [exact[0], *exact[1]], strict=True):
        assert actual.dtype == dtype
        assert largest_error(actual, expected) < (5e-3 if dtype == np.float16 else 1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (3, 0)], ids=str)
def test_nothing_to_add(shape, mode, device):
    add = Tensor(np.ones(shape), requires_grad=True, device=device)
    statistics = [Tensor(np.full(shape[-1], 5.0), device=device) for _ in range(2)]
    y = F.batch_norm(
        Tensor(np.ones(shape), device=device), *statistics, training=mode == "training", add=add, relu=True
    )
    assert y.shape == minidl.grad(y, [add], y)[0].shape == shape


@pytest.mark.parametrize("mode", MODES)
def test_what_cannot_be_added(mode, device):
    x, statistics = Tensor(np.ones((2, 3, 4)), device=device), [Tensor(np.ones(4), device=device) for _ in range(2)]
    call = lambda add: F.batch_norm(x, *statistics, training=mode == "training", add=add)  # noqa: E731
    for shape in ((2, 3, 1), (4,), (), (1, 2, 3, 4)):
        message = r"^batch_norm: expected something of shape \(2, 3, 4\) to add to the result, got add of shape \("
        with pytest.raises(ValueError, match=message):
            call(Tensor(np.ones(shape), device=device))
    with pytest.raises(TypeError, match="^batch_norm: the input is float64 and the add float32; convert one"):
        call(Tensor(np.ones((2, 3, 4), np.float32), device=device))
    for wrong in ([[1.0]], 1.0):
        with pytest.raises(TypeError, match=f"^batch_norm: expected a Tensor or an array, got {type(wrong).__name__}"):
            call(wrong)
    for statistic in statistics:
        assert host(statistic).tolist() == [1] * 4, "a refused batch moves nothing"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_added_is_on_the_same_device(mode, fake_gpu):
    x, statistics = Tensor(np.ones((3, 2)), device="gpu"), [Tensor(np.ones(2), device="gpu") for _ in range(2)]
    for place in ("cpu", "gpu:1"):
        add = Tensor(np.ones((3, 2)), device=place)
        with pytest.raises(minidl.DeviceError, match="^batch_norm: operands on different devices: .* is on gpu:0, "):
            F.batch_norm(x, *statistics, training=mode == "training", add=add)


# ---- pieces and threads


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_pieces_and_threads_change_nothing(mode, threads, device, use_threads, monkeypatch, rng):
    """And, with the same number of threads, not one bit."""
    arrays, running = case_to_follow(mode, (7, 5, 3, 4), rng)
    g = rng.standard_normal((7, 5, 3, 4))
    follow = lambda *inputs: normalise(mode, device, running)(*inputs, relu=True)  # noqa: E731
    expected = value_and_gradients(follow, arrays, g, device)
    use_threads(threads)
    monkeypatch.setattr(channels, "PIECE", 44)  # eleven rows
    results = [value_and_gradients(follow, arrays, g, device) for _ in range(10)]
    for value, gradients in results:
        for actual, whole in zip([value, *gradients], [expected[0], *expected[1]], strict=True):
            assert largest_error(actual, whole) <= 1e-12
        for actual, first in zip([value, *gradients], [results[0][0], *results[0][1]], strict=True):
            np.testing.assert_array_equal(actual, first)


# ---- wrong calls


@pytest.mark.parametrize(
    ("shape", "sizes", "options", "message"),
    [
        ((2, 3, 3, 4), {"weight": 3}, {}, r"input \(2, 3, 3, 4\) has 4 channels on its last axis, weight is \(3,\)"),
        ((2, 3, 3, 4), {"bias": 1}, {}, r"4 channels on its last axis, bias is \(1,\)"),
        ((2, 3, 3, 4), {"running_mean": 3, "running_var": 4}, {}, r"last axis, running_mean is \(3,\)"),
        ((2, 3, 3, 4), {"running_mean": 4, "running_var": (1, 4)}, {}, r"last axis, running_var is \(1, 4\)"),
        ((2, 3, 3, 4), {"running_mean": 4}, {}, "running_mean and running_var must both be given, or both be None"),
        ((2, 3, 3, 4), {"running_var": 4}, {"training": False}, "must both be given, or both be None"),
        ((2, 3, 3, 4), {}, {"training": False}, "running_mean and running_var are needed to normalise by"),
        ((4,), {}, {}, r"expected \(N, ..., C\), channels on the last axis, got shape \(4,\)"),
        ((), {}, {}, r"expected \(N, ..., C\), channels on the last axis, got shape \(\)"),
        ((1, 1, 1, 4), {}, {}, r"training needs more than one value a channel, input \(1, 1, 1, 4\) has 1"),
        ((1, 4), {}, {}, r"training needs more than one value a channel, input \(1, 4\) has 1"),
        ((2, 4), {}, {"eps": 0}, "eps must be positive in training and at least 0 otherwise, got 0"),
        ((2, 4), {"running_mean": 4, "running_var": 4}, {"training": False, "eps": -1e-5}, "at least 0 .* got -1e-05"),
    ],
)  # fmt: skip
def test_wrong_calls(shape, sizes, options, message, device):
    given = {name: Tensor(np.ones(size), device=device) for name, size in sizes.items()}
    given = {"running_mean": None, "running_var": None, "training": True} | given | options
    with pytest.raises(ValueError, match=f"^batch_norm: .*{message}"):
        F.batch_norm(Tensor(np.ones(shape), device=device), **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight": [1.0, 1.0]}, "expected a Tensor or an array, got list"),
        ({"bias": 1.0}, "expected a Tensor or an array, got float"),
        ({"weight": Tensor([1.0, 1.0])}, "the input is float64 and the weight float32"),
        ({"momentum": None}, "momentum must be a number, got None"),
        ({"eps": "small"}, "eps must be a number, got 'small'"),
        ({"running_mean": np.ones(2), "running_var": np.ones(2)}, "running_mean must be a Tensor, for it is updated"),
    ],
)
def test_wrong_types(given, message):
    with pytest.raises(TypeError, match=f"^batch_norm: {message}"):
        F.batch_norm(Tensor(np.ones((3, 2))), **{"running_mean": None, "running_var": None, "training": True} | given)
    with pytest.raises(TypeError, match="^batch_norm: expected a Tensor or an array, got list"):
        F.batch_norm([[1.0], [2.0]], None, None, training=True)


@pytest.mark.parametrize("mode", [True, False])
def test_running_statistics_are_constants(mode, device):
    x, (mean, variance) = Tensor(np.ones((3, 2)), device=device), leaves([np.zeros(2), np.ones(2)], device)
    with pytest.raises(ValueError, match=r"no gradient flows to running_mean; give it as running_mean.detach\(\)"):
        F.batch_norm(x, mean, variance, training=mode)
    with pytest.raises(ValueError, match=r"no gradient flows to running_var; give it as running_var.detach\(\)"):
        F.batch_norm(x, mean.detach(), variance, training=mode)


def test_no_epsilon_in_inference(device):
    x, mean, variance = (Tensor(np.array(v), device=device) for v in ([[3.0, 5.0]], [1.0, 1.0], [4.0, 0.25]))
    assert_close(F.batch_norm(x, mean, variance, eps=0), np.array([[1.0, 8.0]]), 0)


def test_a_refused_batch_leaves_the_running_statistics_alone(device):
    statistics = [Tensor(np.ones(4), device=device) for _ in range(2)]
    with pytest.raises(ValueError, match="more than one value a channel"):
        F.batch_norm(Tensor(np.full((1, 4), 5.0), device=device), *statistics, training=True)
    for statistic in statistics:
        assert host(statistic).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (0, 4), (2, 0, 4), (3, 0)], ids=str)
def test_nothing_to_normalise(shape, mode, device):
    """As in PyTorch: nothing comes back, and running statistics and parameters have nothing to learn from it."""
    C = shape[-1]
    statistics = [Tensor(np.full(C, 5.0), device=device) for _ in range(2)]
    x, weight, bias = leaves([np.ones(shape), np.ones(C), np.ones(C)], device)
    y = F.batch_norm(x, *statistics, weight, bias, training=mode)
    assert y.shape == shape
    gradients = minidl.grad(y, [x, weight, bias], y)
    assert [host(g).tolist() for g in gradients[1:]] == [[0] * C] * 2
    assert [host(statistic).tolist() for statistic in statistics] == [[5] * C] * 2
