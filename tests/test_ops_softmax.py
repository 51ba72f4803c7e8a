"""softmax, log_softmax, logsumexp: values, derivatives, masks and infinities, axes, dtypes, wrong calls."""

import numpy as np
import oracle
import pytest
from judge import assert_close, check_operator, host, leaves, torch_value_and_gradients, value_and_gradients

import minidl
from minidl import Tensor
from minidl import functional as F

inf, nan = np.inf, np.nan
ALONG_AN_AXIS = {"softmax": oracle.softmax, "log_softmax": oracle.log_softmax}
SHAPES_AND_AXES = [
    ((3, 4, 5), 1, (3, 5)),
    ((3, 4, 5), -1, (3, 4)),
    ((3, 4, 5), (0, 2), (4,)),
    ((3, 4, 5), [-1, 0, 1], ()),
    ((5,), 0, ()),
    ((1, 3), 0, (3,)),
    ((0, 3), 1, (0,)),
]


def logsumexp(x, dim):
    """ln Σ eˣ, where eˣ can be had."""
    return np.log(np.exp(x).sum(axis=tuple(dim) if isinstance(dim, list) else dim))


@pytest.mark.parametrize("dim", [-1, 0, 1, -2])
@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_along_an_axis(name, dim, device, rng):
    x = 2 * rng.standard_normal((3, 4, 5))
    assert_close(getattr(F, name)(Tensor(x, device=device), dim), ALONG_AN_AXIS[name](x, dim), 1e-14)
    check_operator(lambda x: getattr(F, name)(x, dim), [x], device)


@pytest.mark.parametrize(("shape", "dim", "removed"), SHAPES_AND_AXES)
def test_logsumexp(shape, dim, removed, device, rng):
    x = 2 * rng.standard_normal(shape)
    y, kept = (F.logsumexp(Tensor(x, device=device), dim, keepdim) for keepdim in (False, True))
    assert y.shape == removed
    assert_close(y, logsumexp(x, dim), 1e-14)
    assert kept.ndim == x.ndim
    assert_close(kept.reshape(removed), y, 0)
    check_operator(lambda x: F.logsumexp(x, dim), [x], device)
    check_operator(lambda x: F.logsumexp(x, dim, keepdim=True), [x], device)


FUNCTIONS = {
    "softmax": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, 0),
    "logsumexp": lambda x: F.logsumexp(x, (0, 1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_full_second_derivatives(name, device, rng):
    minidl.gradgradcheck(FUNCTIONS[name], leaves([rng.standard_normal((3, 4))], device))


# ---- masks, infinities, numbers far apart

ROWS = {
    "ordinary": [0.5, -1, 2],
    "far apart": [800, -800, 0],
    "masked": [-inf, 1, 2],
    "all but one masked": [-inf, -inf, 3],
    "all masked": [-inf, -inf, -inf],
    "one infinite": [inf, 1, 2],
    "two infinite": [inf, inf, 2],
    "infinite and masked": [inf, -inf, 2],
    "infinite, and too large for exp": [inf, 800, 2],
    "not a number": [nan, 1, 2],
    "not a number, and infinite": [nan, inf, -inf],
    "the largest numbers": [1e308, -1e308, 1e308],
    "one": [5],
    "one masked": [-inf],
    "nothing": [],
}


@pytest.mark.torch
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_rows_against_torch(name, row, device, rng):
    """Values and gradients, recorded and not, and no warning on the way."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    function = lambda library, x: getattr(library, name)(x, 1)  # noqa: E731
    x = np.array([row, row], np.float64)
    theirs = torch.tensor(x, requires_grad=True)
    expected = function(torch, theirs)
    g = rng.standard_normal(tuple(expected.shape))
    expected.backward(torch.tensor(g))
    value, (gradient,) = value_and_gradients(lambda x: function(F, x), [x], g, device)
    assert_close(value, expected.detach().numpy(), 1e-14)
    assert_close(gradient, theirs.grad.numpy(), 1e-14)
    (leaf,) = leaves([x], device)
    upstream = Tensor(g, requires_grad=True, device=device)
    (recorded,) = minidl.grad(function(F, leaf), leaf, upstream, create_graph=True)
    assert_close(recorded, gradient, 1e-14)


def test_masked_scores_have_probability_zero_and_no_gradient(device):
    x = Tensor([[1.0, -inf, 2.0]], requires_grad=True, device=device)
    y = F.softmax(x)
    y.backward(Tensor([[1.0, 5.0, 2.0]], device=device))
    assert host(y)[0, 1] == 0
    assert host(x.grad)[0, 1] == 0
    assert np.isfinite(host(x.grad)).all()


def test_a_row_without_a_softmax_leaves_the_others_alone(device):
    x = Tensor([[-inf, -inf], [0.0, 0.0], [inf, 0.0]], requires_grad=True, device=device)
    y = F.softmax(x)
    y.backward(Tensor(np.ones((3, 2), np.float32), device=device))
    np.testing.assert_array_equal(host(y), [[nan, nan], [0.5, 0.5], [nan, nan]])
    np.testing.assert_array_equal(host(x.grad), [[nan, nan], [0, 0], [nan, nan]])
    np.testing.assert_allclose(host(F.logsumexp(x, 1)), [-inf, np.log(2), inf], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_values_neither_overflow_nor_warn(dtype, device):
    huge = float(np.finfo(dtype).max) / 4
    x = Tensor(np.array([-huge, -800.0, 0.0, 800.0, huge], dtype), device=device)
    np.testing.assert_array_equal(host(F.softmax(x)), [0, 0, 0, 0, 1])
    np.testing.assert_allclose(host(F.log_softmax(x)), [-2 * huge, -huge, -huge, -huge, 0], rtol=1e-6)
    np.testing.assert_allclose(host(F.logsumexp(x, 0)), huge, rtol=1e-6)


def test_log_softmax_where_softmax_underflows(device):
    x = Tensor([[0.0, 200.0, -200.0]], device=device)
    assert host(F.softmax(x))[0, 2] == 0
    np.testing.assert_allclose(host(F.log_softmax(x)), [[-200, 0, -400]])


def test_logsumexp_of_nearly_one_number_keeps_its_digits(device):
    assert F.logsumexp(Tensor(np.array([0.0, -30.0]), device=device), 0).item() == pytest.approx(
        np.exp(-30.0), rel=1e-2
    )


def test_softmax_sums_to_one_and_ignores_a_shift(device, rng):
    x = rng.standard_normal((4, 7))
    y = host(F.softmax(Tensor(x, device=device), 0))
    np.testing.assert_allclose(y.sum(axis=0), np.ones(7))
    np.testing.assert_allclose(host(F.softmax(Tensor(x + 1e3, device=device), 0)), y, rtol=1e-12)


# ---- no axes, no elements


def test_a_number_is_a_row_of_one(device):
    (x,) = leaves([np.array(3.0)], device)
    for dim in (0, -1):
        for name, expected in (("softmax", 1.0), ("log_softmax", 0.0), ("logsumexp", 3.0)):
            y = getattr(F, name)(x, dim)
            assert (y.shape, y.item()) == ((), expected)
            check_operator(lambda x, name=name, dim=dim: getattr(F, name)(x, dim), [np.array(3.0)], device)
    assert F.logsumexp(x, 0, keepdim=True).shape == F.logsumexp(x, (0,)).shape == ()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,), (2, 0, 3)], ids=str)
def test_nothing_to_choose_from(shape, device):
    """The softmax of nothing is nothing; the sum of nothing is 0, and its logarithm −∞."""
    for dim in range(len(shape)):
        for name in ALONG_AN_AXIS:
            check_operator(lambda x, name=name, dim=dim: getattr(F, name)(x, dim), [np.ones(shape)], device)
            assert getattr(F, name)(Tensor(np.ones(shape), device=device), dim).shape == shape
        (x,) = leaves([np.ones(shape)], device)
        y = F.logsumexp(x, dim)
        expected = np.full(shape[:dim] + shape[dim + 1 :], -inf)
        assert_close(y, expected, 0)
        assert minidl.grad(y, x, Tensor(np.ones(y.shape), device=device))[0].shape == shape
    assert F.logsumexp(Tensor(np.ones(shape), device=device), tuple(range(len(shape)))).item() == -inf


# ---- against PyTorch


@pytest.mark.torch
@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_against_torch(name, device, rng):
    x, g = 3 * rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5))
    value, (gradient,) = value_and_gradients(lambda x: getattr(F, name)(x, dim=1), [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: getattr(torch_f, name)(x, dim=1), [x], [None], g
    )
    assert_close(value, expected, 1e-14)
    assert_close(gradient, expected_gradient, 1e-14)


@pytest.mark.torch
@pytest.mark.parametrize(("shape", "dim", "removed"), SHAPES_AND_AXES)
def test_logsumexp_against_torch(shape, dim, removed, device, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, g = 3 * rng.standard_normal(shape), rng.standard_normal(removed)
    theirs = torch.tensor(x, requires_grad=True)
    expected = torch.logsumexp(theirs, dim)
    expected.backward(torch.tensor(g))
    value, (gradient,) = value_and_gradients(lambda x: F.logsumexp(x, dim), [x], g, device)
    assert_close(value, expected.detach().numpy(), 1e-14)
    assert_close(gradient, theirs.grad.numpy(), 1e-14)


@pytest.mark.torch
@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_the_default_axis_is_the_last_where_torch_guesses_one(name, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = rng.standard_normal((3, 4, 5))
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        guessed = getattr(torch.nn.functional, name)(torch.from_numpy(x))
    assert_close(getattr(F, name)(Tensor(x), 0), guessed.numpy(), 1e-14)
    assert_close(getattr(F, name)(Tensor(x)), getattr(torch, name)(torch.from_numpy(x), -1).numpy(), 1e-14)


# ---- dtypes


def test_integers_become_float32(device):
    x = Tensor([[1, 0, -2]], device=device)
    for y in (F.softmax(x), F.log_softmax(x), F.logsumexp(x, 1)):
        assert y.dtype == np.float32


@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_dtype_converts_before_anything_else(name, device):
    """In float16, 70,000 is ∞; in float64, float32 scores are computed to float64's digits."""
    function = getattr(F, name)
    x = Tensor([1.0, 2.0, 70_000.0], requires_grad=True, device=device)
    with np.errstate(over="ignore"):  # NumPy's word on the conversion
        assert np.isnan(host(function(x, 0, np.float16))).all()
    y = function(x[:2] / 3, dtype="float64")
    assert y.dtype == np.float64
    assert_close(y, ALONG_AN_AXIS[name](host(x[:2] / 3).astype(np.float64)), 1e-15)
    (gradient,) = minidl.grad(y, x, Tensor(np.array([1.0, 0.0]), device=device))
    assert gradient.dtype == np.float32
    assert function(Tensor([1, 2], device=device), 0, np.float64).dtype == np.float64
    assert function(x.data, 0, np.float64).dtype == np.float64


def test_raw_arrays_give_raw_arrays(device, rng):
    x = Tensor(rng.standard_normal((2, 3)), device=device)
    for name in FUNCTIONS:
        raw = FUNCTIONS[name](x.data)
        assert not isinstance(raw, Tensor)
        assert_close(raw, host(FUNCTIONS[name](x)), 0)


# ---- wrong calls

WRONG = [
    (lambda x: F.softmax(x, 2), ValueError, "^softmax: axis 2 does not exist in a tensor of 2 dimension"),
    (lambda x: F.log_softmax(x, -3), ValueError, "^log_softmax: axis -3 does not exist"),
    (lambda x: F.softmax(x, (0, 1)), ValueError, r"^softmax: axis \(0, 1\) does not exist"),
    (lambda x: F.softmax(x, None), ValueError, "^softmax: axis None does not exist"),
    (lambda x: F.softmax(x[0, 0], 1), ValueError, "^softmax: axis 1 does not exist"),
    (lambda x: F.softmax(x, dtype=int), TypeError, "^softmax: dtype must be a floating dtype, got int64$"),
    (lambda x: F.log_softmax(x, dtype="bool"), TypeError, "^log_softmax: dtype must be a floating dtype, got bool$"),
    (lambda x: F.softmax([1.0]), TypeError, "^softmax: expected a Tensor or an array, got list$"),
    (lambda x: F.softmax([1.0], dtype="float64"), TypeError, "^softmax: expected a Tensor or an array, got list$"),
    (lambda x: F.log_softmax(1.0), TypeError, "^log_softmax: expected a Tensor or an array, got float$"),
    (lambda x: F.logsumexp([1.0], 0), TypeError, "^logsumexp: expected a Tensor or an array, got list$"),
    (lambda x: F.logsumexp(x, 2), ValueError, "^logsumexp: axis 2 does not exist"),
    (lambda x: F.logsumexp(x, (0, -2)), ValueError, r"^logsumexp: axis \(0, -2\) names one dimension twice"),
    (lambda x: F.logsumexp(x, ()), ValueError, r"^logsumexp: expected at least one axis, got dim=\(\)$"),
    (lambda x: F.logsumexp(x, None), ValueError, "^logsumexp: expected at least one axis, got dim=None$"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message, device):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), device=device))
