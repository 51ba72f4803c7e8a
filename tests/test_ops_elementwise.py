"""Operations on single elements: values, derivatives of both orders, kinks and corners, dtypes, wrong calls."""

import itertools
import warnings

import numpy as np
import pytest
from cases import Case, broadcasts, check_derivatives, check_torch, check_value, named
from dtype_rule import (
    FLOATS,
    check_integers_take_the_dtype_of_floats,
    check_numbers_are_weak,
    check_two_precisions_meet_in_the_wider,
)
from judge import assert_close, host, scattered

import minidl
from minidl import Tensor

S = ((2, 3),)
CASES = named(
    {
        "add": broadcasts(lambda a, b: a + b),
        "subtract": broadcasts(lambda a, b: a - b),
        "multiply": broadcasts(lambda a, b: a * b),
        "divide": broadcasts(lambda a, b: a / b),
        "power": broadcasts(lambda a, b: a**b, positive=True),
        "number + x": Case(lambda x: 2 + x, S),
        "x + number": Case(lambda x: x + 2.5, S),
        "number - x": Case(lambda x: 2 - x, S),
        "x - number": Case(lambda x: x - 2, S),
        "number * x": Case(lambda x: -0.5 * x, S),
        "number / x": Case(lambda x: 2 / x, S),
        "x / number": Case(lambda x: x / 3, S),
        "x ** 2": Case(lambda x: x**2, S),
        "x ** 3.0": Case(lambda x: x**3.0, S),
        "x ** -1": Case(lambda x: x**-1.0, S),
        "x ** 0": Case(lambda x: x**0, S),
        "x ** 1": Case(lambda x: x**1, S),
        "x ** 1.5": Case(lambda x: x**1.5, S, positive=True),
        "number ** x": Case(lambda x: 2**x, S),
        "negative": Case(lambda x: -x, S),
        "abs": Case(abs, S),
        "absolute": Case(minidl.absolute, S, np.absolute, lambda x: x.abs()),
        "exp": Case(lambda x: x.exp(), S, np.exp),
        "exp, scalar": Case(minidl.exp, ((),), np.exp, lambda x: x.exp()),
        "log": Case(lambda x: x.log(), S, np.log, positive=True),
        "log, nothing": Case(minidl.log, ((0, 2),), np.log, lambda x: x.log(), positive=True),
        "sqrt": Case(lambda x: x.sqrt(), S, np.sqrt, positive=True),
        "sqrt, scalar": Case(minidl.sqrt, ((),), np.sqrt, lambda x: x.sqrt(), positive=True),
        "x + x": Case(lambda x: x + x, S),
        "x - x": Case(lambda x: x - x, S),
        "x * x": Case(lambda x: x * x, S),
        "x / x": Case(lambda x: x / x, S),
        "x ** x": Case(lambda x: x**x, S, positive=True),
        "x * x.T": Case(lambda x: x * x.T, ((3, 3),)),
        "row * column of one x": Case(lambda x: x[0] * x[:, 1:2], ((2, 3),)),
    }
)


@pytest.mark.parametrize("name", CASES)
def test_values(name, device):
    check_value(CASES[name], device)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, device):
    check_derivatives(CASES[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
def test_against_torch(name):
    check_torch(CASES[name])


SMOOTH = {"abs": abs, "exp": minidl.exp, "** 2": lambda x: x**2}


@pytest.mark.parametrize("name", SMOOTH)
def test_memory_that_is_not_contiguous(name, device):
    check_derivatives(Case(lambda x: SMOOTH[name](scattered(x)), ((2, 3),)), device)


def test_two_inputs_whose_memory_is_not_contiguous(device):
    check_derivatives(Case(lambda a, b: scattered(a) / b.T - scattered(b, axis=1).T, ((2, 3), (3, 2))), device)


# ---- kinks and corners


def gradient(function, *values, device="cpu"):
    """The gradients of the sum of function(*values) to each of the values."""
    inputs = [Tensor(np.array(value, np.float64), requires_grad=True, device=device) for value in values]
    return [g.numpy().tolist() for g in minidl.grad(function(*inputs).sum(), inputs)]


def test_the_derivative_of_abs_at_zero_is_zero(device):
    assert gradient(abs, [-2.0, 0.0, 3.0], device=device) == [[-1, 0, 1]]


def test_limits_come_without_a_warning(device):
    assert host(minidl.exp(Tensor([1000.0, -np.inf, -1000.0], device=device))).tolist() == [np.inf, 0, 0]
    assert host(minidl.log(Tensor([0.0, np.inf], device=device))).tolist() == [-np.inf, np.inf]


def test_corners_of_the_power(device):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        to_base, _ = gradient(lambda a, b: a**b, [0.0] * 4 + [2.0], [0.0, 1.0, 2.0, 0.5, 0.0], device=device)
        _, to_exponent = gradient(lambda a, b: a**b, [0.0, 0.0, 2.0], [0.0, 2.0, 0.0], device=device)
    assert to_base == [0, 1, 0, np.inf, 0]
    np.testing.assert_allclose(to_exponent, [0, 0, np.log(2)], rtol=1e-15)


def test_the_power_of_a_negative_base(device):
    assert gradient(lambda a: a**3, [-2.0, -1.0], device=device) == [[12, 3]]


def test_second_derivatives_of_the_power_where_base_or_exponent_is_an_integer(device):
    base, exponent = [0.5, 1.5, 0.7, 1.2], [0.0, 1.0, 2.0, -1.0]
    inputs = [Tensor(np.array(x), requires_grad=True, device=device) for x in (base, exponent)]
    minidl.gradgradcheck(lambda a, b: a**b, inputs)


@pytest.mark.parametrize("n", [0, 1, 2, 3, -1, 0.5, 0.0, 2.0, True, np.float64(2)])
def test_a_plain_exponent_equals_an_exponent_that_is_a_tensor(n, device):
    """Value, first and second derivative of xⁿ: n · xⁿ⁻¹ and n · (n − 1) · xⁿ⁻²."""
    start, e = np.array([0.5, 1.0, 3.0]), float(n)
    x = Tensor(start, requires_grad=True, device=device)
    y = x**n
    (first,) = minidl.grad(y.sum(), x, create_graph=True)
    (second,) = minidl.grad(first.sum() + (x * 0).sum(), x)
    assert_close(y, start**e, 1e-15)
    assert_close(y, x ** Tensor(np.full(3, e), device=device), 1e-15)
    assert_close(first, e * start ** (e - 1), 1e-14)
    assert_close(second, e * (e - 1) * start ** (e - 2), 1e-14)


@pytest.mark.parametrize(("n", "value", "slope", "curvature"), [(0, 1, 0, 0), (1, 0, 1, 0), (2, 0, 0, 2), (3, 0, 0, 0)])
def test_a_plain_exponent_at_zero(n, value, slope, curvature, device):
    """No warning, no NaN: 0 · 0⁻¹ never comes up."""
    for exponent in (n, float(n)):
        x = Tensor(np.array([0.0, -0.0]), requires_grad=True, device=device)
        y = x**exponent
        (first,) = minidl.grad(y.sum(), x, create_graph=True)
        (second,) = minidl.grad(first.sum() + (x * 0).sum(), x)
        found = [host(values).tolist() for values in (y, first, second)]
        assert found == [[value] * 2, [slope] * 2, [curvature] * 2]
        assert gradient(lambda x, exponent=exponent: x**exponent, [0.0, -0.0], device=device) == [[slope] * 2]


def test_the_square_root_as_a_power_at_zero(device):
    with np.errstate(divide="ignore"):
        assert gradient(lambda x: x**0.5, [0.0, 4.0], device=device) == [[np.inf, 0.25]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n", [0, 2, 0.5, -1, True])
def test_a_plain_exponent_keeps_the_dtype(n, dtype, device):
    for shape in ((), (2,)):
        x = Tensor(np.full(shape, 4.0), dtype=dtype, requires_grad=True, device=device)
        y = x**n
        assert (y.dtype, y.shape) == (dtype, shape)
        (first,) = minidl.grad(y.sum(), x, create_graph=True)
        assert first.dtype == dtype
        y.sum().backward()
        assert (x.grad.dtype, x.grad.shape) == (dtype, shape)


def test_the_power_of_integers(device):
    n = Tensor([2, 3], device=device)
    for exponent, expected, dtype in [
        (2, [4, 9], "int64"),
        (0, [1, 1], "int64"),
        (True, [2, 3], "int64"),
        (2.0, [4, 9], "float32"),
        (-1.0, [1 / 2, 1 / 3], "float32"),
    ]:
        assert (n**exponent).dtype == dtype
        np.testing.assert_allclose(host(n**exponent), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"^power: integers to the power -1 are no integers; write -1\.0$"):
        n**-1


def test_the_power_of_integers_to_integers_of_both_signs_is_cut_to_an_integer(device):
    pairs = list(itertools.product([-3, -2, -1, 0, 1, 2], [-2, -1, 0, 1, 3]))
    a, b = np.array(pairs).T
    y = Tensor(a, device=device) ** Tensor(b, device=device)
    assert y.dtype == np.int64
    assert host(y).tolist() == [0 if a == 0 > b else int(a ** float(b)) for a, b in pairs]
    for base, expected in [(np.uint8([2, 1, 0]), [0, 1, 0]), (np.array([True, False, True]), [1, 0, 1])]:
        y = Tensor(base, device=device) ** Tensor([-1, -2, -3], device=device)
        assert host(y).tolist() == expected


def test_second_derivatives_of_a_square_at_zero(device):
    x = Tensor(np.array([0.0, 1.0, -2.0]), requires_grad=True, device=device)
    for n, second in [(1, [0, 0, 0]), (2, [2, 2, 2]), (3, [0, 6, -12])]:
        (first,) = minidl.grad((x**n).sum(), x, create_graph=True)
        assert minidl.grad(first.sum(), x)[0].numpy().tolist() == second


def test_the_gradient_of_a_quotient_does_not_overflow_where_the_quotient_does_not(device):
    a = Tensor(np.array([1e30, 1e-25], np.float32), device=device)
    b = Tensor(np.array([1e20, 1e-25], np.float32), requires_grad=True, device=device)
    (a / b).sum().backward()
    np.testing.assert_allclose(b.grad.numpy(), [-1e-10, -1e25], rtol=1e-6)


def test_scalars_keep_their_precision(device):
    """A scalar that backward computes is a NumPy scalar; taken for a weak number, it would pass through float32."""
    a, b = (Tensor(np.float64(v), requires_grad=True, device=device) for v in (1 / 3, 1 / 7))
    (a**b * 1.1).backward()
    np.testing.assert_allclose(b.grad.item(), 1.1 * (1 / 3) ** (1 / 7) * np.log(1 / 3), rtol=1e-15)


# ---- dtypes

ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_numbers_are_weak(op, dtype, device):
    check_numbers_are_weak(ARITHMETIC[op], ARITHMETIC[op], dtype, device)


@pytest.mark.parametrize("op", ARITHMETIC)
def test_arrays_of_two_precisions_meet_in_the_wider(op, device):
    check_two_precisions_meet_in_the_wider(ARITHMETIC[op], device)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_integers_take_the_dtype_of_floats(op, dtype, device):
    check_integers_take_the_dtype_of_floats(ARITHMETIC[op], dtype, device)


def test_integers_among_themselves(device):
    n = Tensor([1, 2, 4], device=device)
    assert n.dtype == np.int64
    table = {
        "n + 1": (n + 1, [2, 3, 5], "int64"),
        "n * n": (n * n, [1, 4, 16], "int64"),
        "2 ** n": (2**n, [2, 4, 16], "int64"),
        "n / 2": (n / 2, [0.5, 1, 2], "float32"),
        "1 / n": (1 / n, [1, 0.5, 0.25], "float32"),
        "n * 0.5": (n * 0.5, [0.5, 1, 2], "float32"),
        "n > 1, times 2": (Tensor(n > 1) * 2, [0, 2, 2], "int64"),
        "exp": (n.exp(), np.exp([1, 2, 4]), "float32"),
        "log": (n.log(), np.log([1, 2, 4]), "float32"),
        "sqrt": (n.sqrt(), np.sqrt([1, 2, 4]), "float32"),
        "abs": (abs(-n), [1, 2, 4], "int64"),
    }
    for name, (y, expected, dtype) in table.items():
        assert y.dtype == dtype, name
        np.testing.assert_allclose(host(y), expected, rtol=1e-6, err_msg=name)


def test_bytes_become_float32_where_the_result_is_no_byte(device):
    u = Tensor([0, 128, 255], dtype="uint8", device=device)
    for y, expected in [
        (u / 256, [0, 0.5, 255 / 256]),
        (u / 1000, [0, 0.128, 0.255]),
        (256 / u[1:], [2, 256 / 255]),
        (u / -1.0, [0, -128, -255]),
        (u * 0.5, [0, 64, 127.5]),
    ]:
        assert y.dtype == np.float32
        np.testing.assert_allclose(host(y), expected, rtol=1e-6)


def test_a_number_that_does_not_fit_into_the_integers_beside_it(device):
    u = Tensor([0, 128, 255], dtype="uint8", device=device)
    for number in (300, -1, np.int64(300), np.array(300), 10**30):
        for call in (lambda n: u * n, lambda n: n - u):
            with pytest.raises(OverflowError, match=rf"{number} does not fit into uint8; .* with \.astype"):
                call(number)
    assert (u.astype("int64") * 300).numpy().tolist() == [0, 38400, 76500]


@pytest.mark.torch
def test_a_number_that_does_not_fit_wraps_around_in_torch():
    """Even where it is only compared with."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = Tensor([1], dtype="uint8"), torch.tensor([1], dtype=torch.uint8)
    assert (theirs + 300).tolist() == [45]
    with pytest.raises(OverflowError, match="300 does not fit into uint8"):
        ours + 300
    assert ((theirs == 257).tolist(), host(ours == 257).tolist()) == ([True], [False])


@pytest.mark.torch
def test_a_tensor_without_axes_is_a_number_to_torch():
    """Here only a number is one: a Tensor counts with its dtype, whatever its shape."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert (torch.ones(2) * torch.tensor(0.5, dtype=torch.float64)).dtype == torch.float32
    x = Tensor([1.0, 1.0])
    assert ((x * Tensor(np.array(0.5))).dtype, (x * np.float64(0.5)).dtype) == (np.float64, np.float32)


def test_a_raw_number_does_not_widen_a_tensor(device):
    """np.mean gives an np.float64, indexing an array one without dimensions; both are numbers to their user."""
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    whole = Tensor([1, 2], device=device)
    for half in (np.array(0.5), np.float64(0.5), Tensor(np.array(0.5), device=device).data):
        for y in (x * half, half * x):
            assert (y.dtype, y.device) == ("float32", x.device)
            assert y.numpy().tolist() == [0.5, 1]
        assert (whole * half).dtype == np.float32
    for two in (np.array(2), np.int32(2), Tensor(2, device=device).data):
        assert (whole * two).dtype == np.int64
        assert (two * whole).numpy().tolist() == [2, 4]


def test_arrays_and_scalars_of_numpy_as_operands():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    array = np.array([[3.0], [4.0]])
    for y, expected in [
        (array * x, array * x.data),
        (x * array, array * x.data),
        (array - x, array - x.data),
        (array / x, array / x.data),
        (array**x, array**x.data),
        (np.float64(3) - x, 3 - x.data),
        (x.data @ x, 5.0),
    ]:
        assert isinstance(y, Tensor)
        assert_close(y, np.asarray(expected), 1e-15)
        assert y.requires_grad
    (array * x).sum().backward()
    assert x.grad.numpy().tolist() == [7, 7]


def test_arrays_of_the_device_as_operands(device):
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True, device=device)
    array = Tensor([[3.0], [4.0]], dtype=np.float64, device=device).data
    for y in (array * x, x * array):
        assert isinstance(y, Tensor)
        assert y.numpy().tolist() == [[3, 6], [4, 8]]


# ---- wrong calls


WRONG = [
    (lambda x: x * 1j, TypeError, "multiply: expected .* real number, got complex"),
    (lambda x: x / "2", TypeError, "divide: expected .* got str"),
    (lambda x: "2" ** x, TypeError, "power: expected .* got str"),
    (lambda x: x + Tensor(np.ones(2)), ValueError, r"add: shapes do not broadcast: \(2, 3\), \(2,\)"),
    (lambda x: np.ones(2) - x, ValueError, r"subtract: shapes do not broadcast: \(2,\), \(2, 3\)"),
    (lambda x: x * np.ones((3, 3)), ValueError, "multiply: shapes do not broadcast"),
    (lambda x: x / np.ones((3, 3)), ValueError, "divide: shapes do not broadcast"),
    (lambda x: x ** np.ones((3, 3)), ValueError, "power: shapes do not broadcast"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), requires_grad=True))


@pytest.mark.parametrize("number", [1000, 1000.0, np.int64(1000), np.float64(1000), np.float32(1000)])
def test_a_small_integer_divided_by_any_number_is_float32(number):
    quotient = Tensor(np.array([2, -4], np.int8)) / number
    assert quotient.dtype == np.float32
    np.testing.assert_allclose(quotient.numpy(), [0.002, -0.004], rtol=1e-6)


@pytest.mark.parametrize(("a", "b"), [(2, 3), ([1.0], 2), (2, 3.0)])
def test_a_power_of_no_tensor_is_refused(a, b):
    with pytest.raises(TypeError, match="power: expected"):
        minidl.ops.elementwise.power(a, b)
