"""layer_norm, group_norm, instance_norm, rms_norm, local_response_norm and normalize."""

import fakecupy
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import (
    assert_close,
    check_operator,
    host,
    leaves,
    relative_error,
    scattered,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor, backend
from minidl import functional as F
from minidl.ops.samplenorm import Centre, ChannelWindowSum, RmsNorm, standardize_textbook


def spread(rng, shape):
    """Values whose mean and spread are not 0 and 1, and differ from channel to channel."""
    return 3 * rng.standard_normal(shape) + 2 * rng.standard_normal(shape[-1:])


# What is normalised, by name: the shape of x, that of weight and bias, minidl's function, its oracle and PyTorch's
# function; each function of x, weight and bias.
CASES = {
    "layer_norm of rows": (
        (5, 4), (4,),
        lambda x, *wb: F.layer_norm(x, (4,), *wb, eps=1e-3),
        lambda x, *wb: oracle.layer_norm(x, (4,), *wb, eps=1e-3),
        lambda torch_f, x, *wb: torch_f.layer_norm(x, (4,), *wb, eps=1e-3),
    ),
    "layer_norm of a vector": (
        (7,), (7,),
        lambda x, *wb: F.layer_norm(x, 7, *wb),
        lambda x, *wb: oracle.layer_norm(x, (7,), *wb),
        lambda torch_f, x, *wb: torch_f.layer_norm(x, (7,), *wb),
    ),
    "layer_norm of pixels": (
        (2, 3, 4, 5), (5,),
        lambda x, *wb: F.layer_norm(x, [5], *wb),
        lambda x, *wb: oracle.layer_norm(x, (5,), *wb),
        lambda torch_f, x, *wb: torch_f.layer_norm(x, (5,), *wb),
    ),
    "layer_norm of images": (
        (2, 3, 4, 5), (3, 4, 5),
        lambda x, *wb: F.layer_norm(x, (3, 4, 5), *wb),
        lambda x, *wb: oracle.layer_norm(x, (3, 4, 5), *wb),
        lambda torch_f, x, *wb: torch_f.layer_norm(x, (3, 4, 5), *wb),
    ),
    "layer_norm of everything": (
        (2, 3), (2, 3),
        lambda x, *wb: F.layer_norm(x, (2, 3), *wb),
        lambda x, *wb: oracle.layer_norm(x, (2, 3), *wb),
        lambda torch_f, x, *wb: torch_f.layer_norm(x, (2, 3), *wb),
    ),
    "group_norm": (
        (2, 3, 4, 6), (6,),
        lambda x, *wb: F.group_norm(x, 2, *wb, eps=1e-3),
        lambda x, *wb: oracle.group_norm(x, 2, *wb, eps=1e-3),
        lambda torch_f, x, *wb: torch_f.group_norm(x.movedim(-1, 1), 2, *wb, eps=1e-3).movedim(1, -1),
    ),
    "group_norm of rows": (
        (3, 10), (10,),
        lambda x, *wb: F.group_norm(x, 2, *wb),
        lambda x, *wb: oracle.group_norm(x, 2, *wb),
        lambda torch_f, x, *wb: torch_f.group_norm(x, 2, *wb),
    ),
    "group_norm of a volume in one group": (
        (2, 2, 3, 1, 5), (5,),
        lambda x, *wb: F.group_norm(x, 1, *wb),
        lambda x, *wb: oracle.group_norm(x, 1, *wb),
        lambda torch_f, x, *wb: torch_f.group_norm(x.movedim(-1, 1), 1, *wb).movedim(1, -1),
    ),
    "instance_norm": (
        (2, 3, 4, 5), (5,),
        lambda x, *wb: F.instance_norm(x, None, None, *wb, eps=1e-3),
        lambda x, *wb: oracle.group_norm(x, 5, *wb, eps=1e-3),
        lambda torch_f, x, *wb: torch_f.instance_norm(x.movedim(-1, 1), None, None, *wb, eps=1e-3).movedim(1, -1),
    ),
    "instance_norm of one sequence": (
        (1, 5, 3), (3,),
        lambda x, *wb: F.instance_norm(x, None, None, *wb),
        lambda x, *wb: oracle.group_norm(x, 3, *wb),
        lambda torch_f, x, *wb: torch_f.instance_norm(x.movedim(-1, 1), None, None, *wb).movedim(1, -1),
    ),
    "rms_norm of pixels": (
        (2, 3, 2, 5), (5,),
        lambda x, w=None, b=0: F.rms_norm(x, 5, w) + b,
        lambda x, w=None, b=0: oracle.rms_norm(x, (5,), w) + b,
        lambda torch_f, x, w=None, b=0: torch_f.rms_norm(x, (5,), w) + b,
    ),
    "rms_norm of matrices": (
        (3, 4, 2), (4, 2),
        lambda x, w=None, b=0: F.rms_norm(x, (4, 2), w, eps=0.1) + b,
        lambda x, w=None, b=0: oracle.rms_norm(x, (4, 2), w, eps=0.1) + b,
        lambda torch_f, x, w=None, b=0: torch_f.rms_norm(x, (4, 2), w, eps=0.1) + b,
    ),
}  # fmt: skip


def arrays_of(name, rng):
    shape, parameters = CASES[name][:2]
    return [spread(rng, shape), rng.standard_normal(parameters), rng.standard_normal(parameters)]


@pytest.mark.parametrize("name", CASES)
def test_values_derivatives_and_manners(name, device, rng):
    ours, expected = CASES[name][2:4]
    arrays = arrays_of(name, rng)
    for n in (1, 2, 3):  # x; with a weight; with a bias too
        assert_close(ours(*leaves(arrays[:n], device)), expected(*arrays[:n]))
    check_operator(ours, arrays[:1], device)
    check_operator(ours, arrays, device)


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
def test_against_torch(name, device, rng):
    *_, ours, _, theirs = CASES[name]
    for n in (1, 3):
        arrays = arrays_of(name, rng)[:n]
        g = rng.standard_normal(arrays[0].shape)
        value, gradients = value_and_gradients(ours, arrays, g, device)
        expected, expected_gradients = torch_value_and_gradients(theirs, arrays, [None] * n, g)
        assert_close(value, expected)
        for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
            assert_close(gradient, expected_gradient)


# ------------------------------------------------------------------------------------------------------- the two steps


@pytest.mark.parametrize(("shape", "axes"), [((3, 4), (1,)), ((2, 3, 4, 5), (1, 2)), ((2, 3, 2, 4), (1, 3))], ids=str)
def test_fused_equals_the_textbook(shape, axes, device, rng):
    arrays, g = [spread(rng, shape)], rng.standard_normal(shape)

    def fused(x):
        return RmsNorm(axes, 1e-5)(Centre(axes)(x))

    value, (gradient,) = value_and_gradients(fused, arrays, g, device)
    expected, (expected_gradient,) = value_and_gradients(lambda x: standardize_textbook(x, axes), arrays, g, device)
    assert_close(value, expected, 1e-12)
    assert_close(gradient, expected_gradient, 1e-12)
    minidl.gradgradcheck(fused, leaves(arrays, device))


def test_groups_are_consecutive_channels(device):
    """0 and 1 are one group, 2 and 3 another: with groups 0, 2 and 1, 3 the first channel would become −1."""
    x = Tensor(np.array([[1.0, 3.0, 100.0, 500.0]]), device=device)
    assert_close(F.group_norm(x, 2, eps=0.0), np.array([[-1.0, 1.0, -1.0, 1.0]]))
    assert_close(F.group_norm(x, 1, eps=0.0)[0, :2], (np.array([1.0, 3.0]) - 151) / host(x).std())


def test_what_else_is_in_the_batch_makes_no_difference(device, rng):
    x = spread(rng, (3, 4, 2, 6))
    for function in (
        F.instance_norm,
        lambda x: F.group_norm(x, 3),
        lambda x: F.layer_norm(x, (4, 2, 6)),
        lambda x: F.rms_norm(x, (4, 2, 6)),
        lambda x: F.local_response_norm(x, 3),
    ):
        together = function(Tensor(x, device=device))
        assert_close(together[1:2], function(Tensor(x[1:2], device=device)), 1e-12)


def test_a_mean_far_from_zero_in_float32(device, rng):
    """Mean 10,000, standard deviation 1: as E[x²] − E[x]², the variance would be lost altogether."""
    x = (rng.standard_normal((2, 30, 30, 4)) + 1e4).astype(np.float32)
    g = rng.standard_normal(x.shape).astype(np.float32)
    cases = {
        "layer_norm": (lambda x: F.layer_norm(x, (30, 30, 4)), oracle.layer_norm(x, (30, 30, 4))),
        "group_norm": (lambda x: F.group_norm(x, 2), oracle.group_norm(x, 2)),
        "instance_norm": (F.instance_norm, oracle.group_norm(x, 4)),
    }
    for function, expected in cases.values():
        value, (gradient,) = value_and_gradients(function, [x], g, device)
        assert value.dtype == gradient.dtype == np.float32
        assert relative_error(value, expected) < 0.01  # an input's own rounding is 0.0005
        _, (exact,) = value_and_gradients(function, [x.astype(np.float64)], g.astype(np.float64), "cpu")
        assert relative_error(gradient, exact) < 0.01


def test_what_is_constant_becomes_the_bias(device):
    x = Tensor(np.full((2, 3, 4), 7.0), requires_grad=True, device=device)
    bias = Tensor([0.5, -0.5, 0.25, 2.0], dtype=np.float64, device=device)
    for y in (F.layer_norm(x, 4, bias=bias), F.group_norm(x, 2, bias=bias), F.instance_norm(x, bias=bias)):
        assert_close(y, np.broadcast_to(host(bias), (2, 3, 4)))
        (gradient,) = minidl.grad(y, [x], Tensor(np.random.default_rng(0).standard_normal(y.shape), device=device))
        assert np.isfinite(host(gradient)).all()


# ------------------------------------------------------------------------------------------ instance_norm's statistics


def statistics_of_samples(x):
    """The samples' average mean and unbiased variance of each channel."""
    each = [oracle.batch_statistics(sample) for sample in x]
    return [np.mean([sample[i] for sample in each], axis=0) for i in (0, 2)]


def test_running_statistics_move_by_the_samples_average(device, rng):
    x, before = spread(rng, (3, 4, 2, 5)), [rng.standard_normal(5), rng.uniform(0.5, 2, 5)]
    running = [Tensor(array, device=device) for array in before]
    y = F.instance_norm(Tensor(x, device=device), *running, momentum=0.25)
    assert_close(y, oracle.group_norm(x, 5))
    for statistic, old, new in zip(running, before, statistics_of_samples(x), strict=True):
        assert_close(statistic, 0.75 * old + 0.25 * new)
        assert not statistic.requires_grad


def test_normalising_by_running_statistics(device, rng):
    arrays = [spread(rng, (3, 4, 2, 5)), *rng.standard_normal((2, 5))]
    before = [rng.standard_normal(5), rng.uniform(0.5, 2, 5)]
    running = [Tensor(array, device=device) for array in before]

    def function(x, *affine):
        return F.instance_norm(x, *running, *affine, use_input_stats=False, eps=1e-3)

    assert_close(function(*leaves(arrays, device)), oracle.batch_norm(arrays[0], *before, *arrays[1:], eps=1e-3))
    check_operator(function, arrays, device)
    for statistic, old in zip(running, before, strict=True):
        np.testing.assert_array_equal(host(statistic), old)
    assert F.instance_norm(Tensor(np.ones((2, 5)), device=device), *running, use_input_stats=False).shape == (2, 5)


@pytest.mark.torch
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, -1.2])
def test_running_statistics_after_several_batches_against_torch(momentum, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    before = [rng.standard_normal(3), rng.uniform(0.5, 2, 3)]
    ours = [Tensor(array, device=device) for array in before]
    theirs = [torch.from_numpy(array.copy()) for array in before]
    for shape in ((2, 3, 2, 3), (1, 2, 1, 3), (4, 5, 3)):
        x = spread(rng, shape)
        y = F.instance_norm(Tensor(x, device=device), *ours, momentum=momentum)
        expected = torch.nn.functional.instance_norm(torch.from_numpy(x).movedim(-1, 1), *theirs, momentum=momentum)
        assert_close(y, expected.movedim(1, -1).numpy())
    for statistic, expected in zip(ours, theirs, strict=True):
        assert_close(statistic, expected.numpy())


def test_running_statistics_keep_their_dtype_and_place(device, rng):
    running = [Tensor(np.ones(3), dtype=np.float32, device=device) for _ in range(2)]
    y = F.instance_norm(Tensor(spread(rng, (2, 4, 3)), device=device), *running)
    assert y.dtype == np.float64
    assert [(s.dtype, s.shape, str(s.device)) for s in running] == [(np.float32, (3,), str(y.device))] * 2


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 4, 0)], ids=str)
def test_a_batch_of_nothing_moves_nothing(shape, device):
    """For (0, 4, 3) PyTorch's running statistics become NaN: the mean over no samples."""
    running = [Tensor(np.full(shape[-1], 5.0), device=device) for _ in range(2)]
    assert F.instance_norm(Tensor(np.ones(shape), device=device), *running).shape == shape
    assert [host(statistic).tolist() for statistic in running] == [[5] * shape[-1]] * 2


# --------------------------------------------------------------------------------------------------------- corner cases


@pytest.mark.parametrize(
    ("function", "shape", "parameters"),
    [
        (lambda x, w: F.layer_norm(x, (4,), w), (0, 4), (4,)),
        (lambda x, w: F.layer_norm(x, (0,), w), (2, 0), (0,)),
        (lambda x, w: F.layer_norm(x, (3, 0), w), (2, 3, 0), (3, 0)),
        (lambda x, w: F.rms_norm(x, (4,), w), (0, 4), (4,)),
        (lambda x, w: F.rms_norm(x, (0,), w), (2, 0), (0,)),
        (lambda x, w: F.group_norm(x, 2, w), (0, 3, 4), (4,)),
        (lambda x, w: F.group_norm(x, 2, w), (3, 0, 4), (4,)),  # PyTorch's gradient to w is NaN here
        (lambda x, w: F.group_norm(x, 2, w), (3, 2, 0), (0,)),
        (lambda x, w: F.instance_norm(x, weight=w), (0, 3, 4), (4,)),
        (lambda x, w: F.instance_norm(x, weight=w), (2, 0, 4), (4,)),
        (lambda x, w: F.local_response_norm(x, 3) + 0 * w, (0, 4), (4,)),
        (lambda x, w: F.local_response_norm(x, 3) + 0 * w, (2, 0), (0,)),
        (lambda x, w: F.normalize(x) * w, (0, 4), (4,)),
        (lambda x, w: F.normalize(x) * w, (2, 0), (0,)),
    ],
)
def test_nothing_to_normalise(function, shape, parameters, device):
    x, w = leaves([np.ones(shape), np.ones(parameters)], device)
    y = function(x, w)
    assert y.shape == shape
    to_x, to_w = minidl.grad(y, [x, w], y)
    assert to_x.shape == shape
    assert not host(to_w).any()


@pytest.mark.torch
def test_nothing_to_normalise_is_nan_in_torch():
    """The mean over no samples in running statistics, and the gradient to a weight that nothing has met."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs, ours = torch.ones(3), Tensor(np.ones(3))
    torch.nn.functional.instance_norm(torch.ones(0, 3, 4), theirs, torch.ones(3))
    F.instance_norm(Tensor(np.ones((0, 4, 3))), ours, Tensor(np.ones(3)))
    assert theirs.isnan().all()
    assert host(ours).tolist() == [1, 1, 1]
    theirs, ours = torch.ones(4, requires_grad=True), Tensor(np.ones(4), requires_grad=True)
    torch.nn.functional.group_norm(torch.ones(3, 4, 0), 2, theirs).sum().backward()
    F.group_norm(Tensor(np.ones((3, 0, 4))), 2, ours).sum().backward()
    assert theirs.grad.isnan().all()
    assert host(ours.grad).tolist() == [0, 0, 0, 0]


def test_one_value_is_its_own_mean(device):
    """As in PyTorch: refused for a single sample (see test_wrong_calls); of several samples, all become 0."""
    x = Tensor(np.array([[1.0, -2.0], [3.0, 4.0]]), device=device)
    assert_close(F.group_norm(x, 2), np.zeros((2, 2)))
    assert_close(F.layer_norm(x.reshape(2, 2, 1), 1), np.zeros((2, 2, 1)))
    assert_close(F.rms_norm(x.reshape(2, 2, 1), 1).reshape(2, 2), np.array([[1.0, -1.0], [1.0, 1.0]]))


def test_the_epsilon_of_rms_norm_is_that_of_the_dtype(device):
    for dtype, of in ((np.float64, np.float64), (np.float32, np.float32), (np.float16, np.float32)):
        x = np.array([[3e-4, 4e-4]], dtype)
        expected = oracle.rms_norm(x, (2,), eps=np.finfo(of).eps)
        assert_close(F.rms_norm(Tensor(x, device=device), 2).astype(np.float64), expected, 4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: F.layer_norm(x, (6,), w, w),
        lambda x, w: F.rms_norm(x, (6,), w),
        lambda x, w: F.group_norm(x, 2, w, w),
        lambda x, w: F.instance_norm(x, weight=w, bias=w),
    ],
)
def test_float16_is_normalised_in_float32(function, device, rng):
    """The square of 256 is too large for float16."""
    arrays = [(300 * rng.standard_normal((3, 5, 6))).astype(np.float16), rng.standard_normal(6).astype(np.float16)]
    g = (100 * rng.standard_normal((3, 5, 6))).astype(np.float16)
    value, gradients = value_and_gradients(function, arrays, g, device)
    expected = value_and_gradients(function, [a.astype(np.float64) for a in arrays], g.astype(np.float64), "cpu")
    for actual, exact in zip((value, *gradients), (expected[0], *expected[1]), strict=True):
        assert actual.dtype == np.float16
        assert relative_error(actual, exact) < 0.001


def test_large_values_and_a_negative_epsilon_are_as_in_torch(device):
    """No warning of NumPy's either: what overflows becomes 0, the root of a negative number NaN."""
    large = Tensor([[1e30, -2e30]], device=device)
    assert host(F.rms_norm(large, 2)).tolist() == [[0, 0]]
    x = Tensor([[1.0, 3.0], [1.0, 1.1]], device=device)
    y = host(F.layer_norm(x, 2, eps=-0.5))
    assert_close(y[0], np.array([-1, 1], np.float32) / np.sqrt(np.float32(0.5)), 1e-6)
    assert np.isnan(y[1]).all()


def test_memory_order_does_not_matter(device, rng):
    x = Tensor(spread(rng, (2, 3, 4, 6)), requires_grad=True, device=device)
    g = Tensor(rng.standard_normal(x.shape), device=device)
    for function in (
        F.instance_norm,
        F.normalize,
        lambda x: F.group_norm(x, 3),
        lambda x: F.layer_norm(x, (4, 6)),
        lambda x: F.rms_norm(x, (4, 6)),
        lambda x: F.local_response_norm(x, 3, 0.5),
    ):
        y, mixed = function(x), function(scattered(x))
        assert_close(mixed, y, 1e-12)
        (a,), (b,) = minidl.grad(mixed, [x], scattered(g)), minidl.grad(y, [x], g)
        assert_close(a, b, 1e-12)


FUNCTIONS = {
    "layer_norm": lambda x: F.layer_norm(x, x.shape[-1]),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[-1]),
    "group_norm": lambda x: F.group_norm(x, 2),
    "instance_norm": F.instance_norm,
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "normalize": F.normalize,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_integers_and_raw_arrays(name, device):
    x = Tensor(np.arange(24).reshape(2, 3, 4), device=device)
    y = FUNCTIONS[name](x)
    assert y.dtype == np.float32
    assert_close(y, FUNCTIONS[name](x.astype(np.float32)), 0)
    raw = FUNCTIONS[name](x.data)
    assert not isinstance(raw, Tensor)
    assert_close(raw, y, 0)


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


def test_running_statistics_on_a_second_device(fake_gpu, rng):
    x = spread(rng, (2, 3, 4))
    running = [Tensor(np.ones(4), device="gpu:1") for _ in range(2)]
    with fakecupy.count_synchronisations() as log:
        y = F.instance_norm(Tensor(x, device="gpu:1"), *running)
        z = F.instance_norm(Tensor(x, device="gpu:1"), *running, use_input_stats=False)
    assert log.places == []
    assert {str(one.device) for one in (y, z, *running)} == {"gpu:1"}
    with pytest.raises(minidl.DeviceError, match=r"instance_norm: operands on different devices: .*\.to\("):
        F.instance_norm(Tensor(x, device="gpu:1"), Tensor(np.ones(4)), Tensor(np.ones(4)))


# -------------------------------------------------------------------------------------------------- local_response_norm


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 9)),
        st.tuples(st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 9)),
    ),
    size=st.integers(1, 12),
    alpha=st.floats(0, 2),
    beta=st.floats(-1, 2),
    k=st.floats(0.5, 3),
    seed=st.integers(0, 9),
)
def test_local_response_norm(shape, size, alpha, beta, k, seed, device):
    x = np.random.default_rng(seed).standard_normal(shape)
    y = F.local_response_norm(Tensor(x, device=device), size, alpha, beta, k)
    assert_close(y, oracle.local_response_norm(x, size, alpha, beta, k))
    if x.size:
        minidl.gradcheck(
            lambda x: F.local_response_norm(x, size, alpha, beta, k), leaves([x], device), fast=True, seed=seed
        )


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 14])
def test_local_response_norm_derivatives_and_manners(size, device, rng):
    arrays = [rng.standard_normal((2, 3, 1, 6))]
    check_operator(lambda x: F.local_response_norm(x, size, 0.5, 0.6, 2.0), arrays, device)
    minidl.gradgradcheck(lambda x: F.local_response_norm(x, size, 0.5, 0.6, 2.0), leaves(arrays, device), fast=True)
    assert_close(F.local_response_norm(*leaves(arrays, device), size), oracle.local_response_norm(arrays[0], size))


def test_an_even_window_reaches_further_down(device):
    """Of size 4, two channels before and one after."""
    x = Tensor(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), device=device)
    y = F.local_response_norm(x, 4, alpha=4.0, beta=1.0, k=0.0)
    assert_close(1 / y * x, np.array([[1 + 4, 1 + 4 + 9, 1 + 4 + 9 + 16, 4 + 9 + 16 + 25, 9 + 16 + 25.0]]), 1e-12)


def test_the_adjoint_of_the_window_sum_looks_the_other_way(device, rng):
    for before, after in ((2, 1), (0, 3), (9, 0)):
        x, g = (Tensor(rng.standard_normal((2, 5)), device=device) for _ in range(2))
        forward = (ChannelWindowSum(before, after)(x) * g).sum()
        assert_close(forward, (ChannelWindowSum(after, before)(g) * x).sum(), 1e-12)


def test_nan_stays_within_its_window(device):
    x = Tensor([1.0, 1.0, 1.0, np.nan, 1.0, 1.0, 1.0], device=device)
    y = host(F.local_response_norm(x, 3))
    assert np.isnan(y).tolist() == [False, False, True, True, True, False, False]


@pytest.mark.torch
@pytest.mark.parametrize("size", [1, 2, 3, 6, 13])
@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3, 4, 5), (2, 2, 3, 1, 5)], ids=str)
def test_local_response_norm_against_torch(shape, size, device, rng):
    arrays, g = [rng.standard_normal(shape)], rng.standard_normal(shape)
    for options in ({}, {"alpha": 0.7, "beta": 0.5, "k": 2.0}):
        value, (gradient,) = value_and_gradients(
            lambda x, o=options: F.local_response_norm(x, size, **o), arrays, g, device
        )
        expected, (expected_gradient,) = torch_value_and_gradients(
            lambda f, x, o=options: f.local_response_norm(x.movedim(-1, 1), size, **o).movedim(1, -1), arrays, [None], g
        )
        assert_close(value, expected)
        assert_close(gradient, expected_gradient)


# ------------------------------------------------------------------------------------------------------------ normalize

NORMS = [2.0, 1, 0.5, 3, -1.0, np.inf, -np.inf]


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_normalize(dim, p, device, rng):
    x = rng.uniform(0.5, 2, (2, 3, 4)) * rng.choice([-1, 1], (2, 3, 4))
    assert_close(F.normalize(Tensor(x, device=device), p, dim), oracle.normalize(x, p, dim))
    check_operator(lambda x: F.normalize(x, p, dim), [x], device)


def test_normalize_takes_the_last_axis_or_several(device, rng):
    x = Tensor(rng.standard_normal((2, 3, 4)), device=device)
    assert_close(F.normalize(x), oracle.normalize(host(x), 2, 2))
    assert_close(F.normalize(x, dim=(0, 2)).norm(axis=(0, 2)), np.ones(3))
    assert_close(F.normalize(x, dim=None).norm(), np.ones(()))
    assert_close(F.normalize(x, p=0)[0, 0], host(x)[0, 0] / 4)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize(
    ("vector", "passes_through"),
    [
        ([0.0, 0.0, 0.0], True),
        ([1e-13, 0.0, 2e-13], True),
        ([3e-20, -4e-20, 0.0], True),
        ([3.0, -4.0, 2.0], False),
    ],
)
@pytest.mark.torch
def test_short_vectors_are_divided_by_eps_and_so_is_their_gradient(vector, passes_through, p, device):
    arrays, g = [np.array(vector)], np.array([1.0, 2.0, -0.5])
    value, (gradient,) = value_and_gradients(lambda x: F.normalize(x, p), arrays, g, device)
    if passes_through:
        assert_close(value, arrays[0] / 1e-12)
        assert_close(gradient, g / 1e-12)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: torch_f.normalize(x, p, dim=0), arrays, [None], g
    )
    assert_close(value, expected)
    assert_close(gradient, expected_gradient)


@pytest.mark.torch
def test_a_vector_as_long_as_eps_is_still_a_vector(device):
    """At the kink the gradient is that of longer vectors: along the vector nothing changes."""
    arrays, g = [np.array([3.0, 4.0, 0.0])], np.array([1.0, 2.0, -0.5])
    value, (gradient,) = value_and_gradients(lambda x: F.normalize(x, eps=5.0), arrays, g, device)
    assert_close(value, np.array([0.6, 0.8, 0.0]))
    assert_close(gradient, (g - value * (g @ value)) / 5)
    _, (expected,) = torch_value_and_gradients(lambda f, x: f.normalize(x, dim=0, eps=5.0), arrays, [None], g)
    assert_close(gradient, expected)


# ---------------------------------------------------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, v: F.layer_norm(x, (3,)), r"layer_norm: input \(2, 3, 4\) does not end in normalized_shape \(3,\)"),
        (lambda x, v: F.layer_norm(x, 5), r"layer_norm: .* does not end in normalized_shape \(5,\)"),
        (lambda x, v: F.layer_norm(x, (1, 2, 3, 4)), r"layer_norm: .* does not end in normalized_shape \(1, 2, 3, 4\)"),
        (lambda x, v: F.layer_norm(x, ()), r"layer_norm: normalized_shape must be an integer .* got \(\)"),
        (lambda x, v: F.layer_norm(x, 4.0), r"layer_norm: normalized_shape must be an integer .* got 4\.0"),
        (lambda x, v: F.layer_norm(x[0, 0, 0], 4), r"layer_norm: input \(\) does not end in normalized_shape \(4,\)"),
        (lambda x, v: F.layer_norm(x, (3, 4), v), r"layer_norm: expected a weight of .* \(3, 4\), got \(4,\)"),
        (lambda x, v: F.layer_norm(x, 4, v, x), r"layer_norm: expected a bias of .* \(4,\), got \(2, 3, 4\)"),
        (lambda x, v: F.rms_norm(x, (3,)), r"rms_norm: input \(2, 3, 4\) does not end in normalized_shape \(3,\)"),
        (lambda x, v: F.rms_norm(x, (3, 4), v), r"rms_norm: expected a weight of normalized_.* \(3, 4\), got \(4,\)"),
        (lambda x, v: F.group_norm(x, 3), r"group_norm: num_groups=3 must divide the 4 channels on the .* \(2, 3, 4\)"),
        (lambda x, v: F.group_norm(x, 0), "group_norm: num_groups=0 must divide the 4 channels"),
        (lambda x, v: F.group_norm(x, 2.0), "group_norm: num_groups=2.0 must divide the 4 channels"),
        (lambda x, v: F.group_norm(v, 2), r"group_norm: expected \(N, ..., C\), channels on the last axis, .*\(4,\)"),
        (lambda x, v: F.group_norm(x[:1, 0], 4), r"group_norm: needs more than one value a group, .* \(1, 4\) has 4"),
        (lambda x, v: F.group_norm(x, 2, v[:2]), r"group_norm: input \(2, 3, 4\) has 4 channels .* weight is \(2,\)"),
        (lambda x, v: F.group_norm(x, 2, v, x), r"group_norm: .* 4 channels on its last axis, bias is \(2, 3, 4\)"),
        (lambda x, v: F.instance_norm(x[:, 0]), r"instance_norm: needs more than one .* input \(2, 4\) has one"),
        (lambda x, v: F.instance_norm(x[:, :1]), r"instance_norm: needs more than one .* input \(2, 1, 4\) has one"),
        (lambda x, v: F.instance_norm(v), r"instance_norm: expected \(N, ..., C\), .* got shape \(4,\)"),
        (lambda x, v: F.instance_norm(x, v), "instance_norm: running_mean and running_var must both be given"),
        (lambda x, v: F.instance_norm(x, v, v[:3]), r"instance_norm: .* 4 channels .* running_var is \(3,\)"),
        (lambda x, v: F.instance_norm(x, weight=v[:3]), r"instance_norm: .* 4 channels .* weight is \(3,\)"),
        (lambda x, v: F.instance_norm(x, use_input_stats=False), "instance_norm: running_mean and .* are needed"),
        (lambda x, v: F.local_response_norm(x, 0), "local_response_norm: size must be an integer of at least 1, got 0"),
        (lambda x, v: F.local_response_norm(x, 2.0), "local_response_norm: size must be .* got 2.0"),
        (lambda x, v: F.local_response_norm(x[0, 0, 0], 2), r"local_response_norm: expected \(..., C\), .* shape \(\)"),
        (lambda x, v: F.normalize(x, dim=3), "normalize: axis 3 does not exist in a tensor of 3 dimension"),
    ],
)  # fmt: skip
def test_wrong_calls(call, message, device):
    x, v = Tensor(np.ones((2, 3, 4)), device=device), Tensor(np.ones(4), device=device)
    with pytest.raises(ValueError, match=f"^{message}"):
        call(x, v)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: F.layer_norm([[1.0]], 1), "layer_norm: expected a Tensor or an array, got list"),
        (lambda x, w: F.layer_norm(x, 4, [1.0]), "layer_norm: expected a Tensor or an array, got list"),
        (lambda x, w: F.layer_norm(x, 4, w), "layer_norm: the input is float64 and the weight float32"),
        (lambda x, w: F.layer_norm(x, 4, None, w), "layer_norm: the input is float64 and the bias float32"),
        (lambda x, w: F.layer_norm(x, 4, eps="1"), "layer_norm: eps must be a number, got '1'"),
        (lambda x, w: F.rms_norm(3.0, 1), "rms_norm: expected a Tensor or an array, got float"),
        (lambda x, w: F.rms_norm(x, 4, w), "rms_norm: the input is float64 and the weight float32"),
        (lambda x, w: F.rms_norm(x, 4, eps=[1]), r"rms_norm: eps must be a number, got \[1\]"),
        (lambda x, w: F.group_norm([[1.0]], 1), "group_norm: expected a Tensor or an array, got list"),
        (lambda x, w: F.group_norm(x, 2, w), "group_norm: the input is float64 and the weight float32"),
        (lambda x, w: F.group_norm(x, 2, eps=None), "group_norm: eps must be a number, got None"),
        (lambda x, w: F.instance_norm(None), "instance_norm: expected a Tensor or an array, got NoneType"),
        (lambda x, w: F.instance_norm(x, x.data, x.data), "instance_norm: running_mean must be a Tensor"),
        (lambda x, w: F.instance_norm(x, bias=w), "instance_norm: the input is float64 and the bias float32"),
        (lambda x, w: F.instance_norm(x, momentum=None), "instance_norm: momentum must be a number, got None"),
        (lambda x, w: F.local_response_norm([1.0], 1), "local_response_norm: expected a Tensor or an array, got list"),
        (lambda x, w: F.local_response_norm(x, 3, beta="1"), "local_response_norm: beta must be a number, got '1'"),
        (lambda x, w: F.normalize([1.0]), "normalize: expected a Tensor or an array, got list"),
        (lambda x, w: F.normalize(x, p=None), "normalize: p must be a number, got None"),
        (lambda x, w: F.normalize(x, eps=None), "normalize: eps must be a number, got None"),
    ],
)
def test_wrong_types(call, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        call(Tensor(np.ones((2, 3, 4))), Tensor(np.ones(4), dtype=np.float32))


def test_a_refused_batch_leaves_the_running_statistics_alone(device):
    running = [Tensor(np.ones(4), device=device) for _ in range(2)]
    with pytest.raises(ValueError, match="more than one value a channel"):
        F.instance_norm(Tensor(np.full((2, 1, 4), 5.0), device=device), *running)
    assert [host(statistic).tolist() for statistic in running] == [[1] * 4] * 2
