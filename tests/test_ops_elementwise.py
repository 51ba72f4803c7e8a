"""Operations on single elements: values, derivatives of both orders, kinks and ties, dtypes, moves, wrong calls."""

import itertools
import warnings

import fakecupy
import numpy as np
import pytest
from cases import Case, broadcasts, check_derivatives, check_torch, check_value, named
from judge import assert_close, check_manners, host, scattered

import minidl
from minidl import Tensor, backend
from minidl.backend import is_array

MASK = np.array([[True, False, True], [False, False, True]])


def chosen(like):
    """A condition in the library of `like`, and on its device."""
    return MASK if isinstance(like, np.ndarray) else like.new_tensor(MASK.tolist()).bool()


def mask(x):
    return backend.to_device(MASK, x.device)


S = ((2, 3),)
CASES = named(
    {
        "add": broadcasts(lambda a, b: a + b),
        "subtract": broadcasts(lambda a, b: a - b),
        "multiply": broadcasts(lambda a, b: a * b),
        "divide": broadcasts(lambda a, b: a / b),
        "power": broadcasts(lambda a, b: a**b, positive=True),
        "maximum": broadcasts(minidl.maximum, np.maximum, lambda a, b: a.maximum(b)),
        "minimum": broadcasts(minidl.minimum, np.minimum, lambda a, b: a.minimum(b)),
        "where": {
            "equal shapes": Case(
                lambda a, b: minidl.where(mask(a), a, b),
                ((2, 3), (2, 3)),
                lambda a, b: np.where(MASK, a, b),
                lambda a, b: a.where(chosen(a), b),
            ),
            "all three repeated": Case(
                lambda a, b: minidl.where(mask(a), a, b),
                ((4, 1, 1), (3,)),
                lambda a, b: np.where(MASK, a, b),
                lambda a, b: a.where(chosen(a), b),
            ),
        },
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
        "clip": Case(lambda x: x.clip(-0.7, 0.8), S, lambda x: np.clip(x, -0.7, 0.8)),
        "clip below": Case(lambda x: x.clip(low=0.2), S, lambda x: np.maximum(x, 0.2), lambda x: x.clip(min=0.2)),
        "clip above": Case(lambda x: x.clip(high=0.2), S, lambda x: np.minimum(x, 0.2), lambda x: x.clip(max=0.2)),
        "clip, scalar": Case(lambda x: x.clip(-3, 3), ((),), lambda x: np.clip(x, -3, 3)),
        "copy": Case(lambda x: x.copy(), S, torch=lambda x: x.clone()),
        "maximum with a number": Case(
            lambda x: minidl.maximum(x, 0.1), S, lambda x: np.maximum(x, 0.1), lambda x: x.clip(min=0.1)
        ),
        "minimum with a number": Case(
            lambda x: minidl.minimum(0.1, x), S, lambda x: np.minimum(x, 0.1), lambda x: x.clip(max=0.1)
        ),
        "where with a number": Case(
            lambda x: minidl.where(mask(x), x, 0.5),
            S,
            lambda x: np.where(MASK, x, 0.5),
            lambda x: x.where(chosen(x), x.new_tensor(0.5)),
        ),
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


SMOOTH = {"abs": abs, "exp": minidl.exp, "clip": lambda x: x.clip(-0.7, 0.8), "** 2": lambda x: x**2}


@pytest.mark.parametrize("name", SMOOTH)
def test_memory_that_is_not_contiguous(name, device):
    check_derivatives(Case(lambda x: SMOOTH[name](scattered(x)), ((2, 3),)), device)


def test_two_inputs_whose_memory_is_not_contiguous(device):
    check_derivatives(Case(lambda a, b: scattered(a) / b.T - scattered(b, axis=1).T, ((2, 3), (3, 2))), device)


# ---- kinks, ties and corners


def gradient(function, *values, device="cpu"):
    """The gradients of the sum of function(*values) to each of the values."""
    inputs = [Tensor(np.array(value, np.float64), requires_grad=True, device=device) for value in values]
    return [g.numpy().tolist() for g in minidl.grad(function(*inputs).sum(), inputs)]


def test_the_derivative_of_abs_at_zero_is_zero(device):
    assert gradient(abs, [-2.0, 0.0, 3.0], device=device) == [[-1, 0, 1]]


@pytest.mark.parametrize("op", [minidl.maximum, minidl.minimum])
def test_at_a_tie_maximum_and_minimum_give_half_to_each(op, device):
    low, high = ([1, 0.5, 0], [0, 0.5, 1]) if op is minidl.maximum else ([0, 0.5, 1], [1, 0.5, 0])
    assert gradient(op, [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], device=device) == [low, high]


def test_clip_passes_the_gradient_at_its_bounds_and_not_beyond(device):
    assert gradient(lambda x: x.clip(-1.0, 2.0), [-1.5, -1.0, 0.0, 2.0, 2.5], device=device) == [[0, 1, 1, 1, 0]]


@pytest.mark.torch
def test_kinks_and_ties_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    a, b = [-1.0, 0.0, 1.0, 2.0], [-1.0, 1.0, 1.0, 0.0]
    for ours, theirs in [
        (lambda a, b: abs(a) * b, lambda a, b: abs(a) * b),
        (minidl.maximum, torch.maximum),
        (minidl.minimum, torch.minimum),
        (lambda a, b: a.clip(-1.0, 1.0) * b, lambda a, b: a.clip(-1.0, 1.0) * b),
    ]:
        inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b)]
        theirs(*inputs).sum().backward()
        assert gradient(ours, a, b) == [x.grad.tolist() for x in inputs]


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
    with pytest.raises(ValueError, match="negative integer powers"):
        n**-1


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
    c = Tensor(np.float64(0.1), requires_grad=True, device=device)
    (minidl.where(b > 1, a, c) * a).backward()
    np.testing.assert_allclose(c.grad.item(), 1 / 3, rtol=1e-15)


def test_not_chosen_infinities_leave_no_trace(device):
    x = Tensor(np.array([0.0, 4.0]), requires_grad=True, device=device)
    safe = minidl.where(x > 0, x, 1.0)
    minidl.where(x > 0, safe.log(), 0.0).sum().backward()
    assert x.grad.numpy().tolist() == [0, 0.25]


# ---- dtypes


DTYPES = ["float16", "float32", "float64"]
ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "maximum": minidl.maximum,
    "minimum": minidl.minimum,
    "where": lambda a, b: minidl.where((a if isinstance(a, Tensor) else b) > 1, a, b),
}


NUMBERS = [2, 0.5, True, np.float64(0.5), np.float32(0.5), np.int64(2)]
EXPECTED = {"maximum": max, "minimum": min, "where": lambda a, b: a}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_numbers_are_weak(op, dtype, device):
    for number, shape in itertools.product(NUMBERS, [(), (2,)]):
        x = Tensor(np.full(shape, 1.5), dtype=dtype, requires_grad=True, device=device)
        for a, b in [(x, number), (number, x)]:
            y = ARITHMETIC[op](a, b)
            assert (y.dtype, y.shape, y.device) == (dtype, shape, x.device)
            expected = EXPECTED.get(op, ARITHMETIC[op])(*[1.5 if value is x else float(value) for value in (a, b)])
            np.testing.assert_allclose(host(y), np.full(shape, expected), rtol=1e-3)
            y.sum().backward()
            assert (x.grad.dtype, x.grad.shape) == (dtype, shape)


@pytest.mark.parametrize("op", ARITHMETIC)
def test_arrays_of_two_precisions_meet_in_the_wider(op, device):
    narrow = Tensor(np.full(3, 1.5, np.float32), requires_grad=True, device=device)
    wide = Tensor(np.full((2, 1), 2.5, np.float64), requires_grad=True, device=device)
    y = ARITHMETIC[op](narrow, wide)
    assert y.dtype == np.float64
    y.sum().backward()
    assert (narrow.grad.dtype, wide.grad.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_integers_take_the_dtype_of_floats(op, dtype, device):
    for integer in ("bool", "int8", "int32", "int64", "uint8"):
        x = Tensor(np.full((), 1.5), dtype=dtype, requires_grad=True, device=device)
        n = Tensor(np.ones(2), dtype=integer, device=device)
        for a, b in [(x, n), (n, x), (x, n.data), (n.data, x)]:
            y = ARITHMETIC[op](a, b)
            assert (y.dtype, y.shape) == (dtype, (2,))
            y.sum().backward()
            assert x.grad.dtype == dtype


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
        "clip": (n.clip(2, 3), [2, 2, 3], "int64"),
        "clip at a float": (n.clip(1.5, 3), [1.5, 2, 3], "float32"),
        "minimum": (minidl.minimum(n, 3), [1, 2, 3], "int64"),
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
        for call in (lambda n: u * n, lambda n: n - u, lambda n: minidl.maximum(u, n)):
            with pytest.raises(OverflowError, match=rf"{number} does not fit into uint8; .* with \.astype"):
                call(number)
    assert (u.astype("int64") * 300).numpy().tolist() == [0, 38400, 76500]


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


def test_the_minimum_of_numbers_without_sign(device):
    a, b = (Tensor(values, dtype="uint8", device=device) for values in ([0, 3, 200], [1, 2, 255]))
    assert minidl.minimum(a, b).numpy().tolist() == [0, 2, 200]
    booleans = Tensor([True, False], device=device)
    assert minidl.minimum(booleans, True).numpy().tolist() == [True, False]


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
    assert is_array(array > x)


# ---- comparisons


def test_comparisons_are_plain_boolean_arrays(device):
    a = Tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    b = Tensor([3.0, 2.0, 1.0], device=device)
    table = [
        (a == b, [False, True, False]),
        (a != b, [True, False, True]),
        (a < b, [True, False, False]),
        (a <= b, [True, True, False]),
        (a > b, [False, False, True]),
        (a >= b, [False, True, True]),
        (a > 2, [False, False, True]),
        (a < 2, [True, False, False]),
        (a == b.data, [False, True, False]),
        (a.data < b, [True, False, False]),
        (a[:, None] == b[:2], [[False, False], [False, True], [True, False]]),
        (np.float32(2) <= a, [False, True, True]),
    ]
    for result, expected in table:
        assert is_array(result)
        assert result.dtype == bool
        assert host(result).tolist() == expected


def test_comparisons_of_integers_with_any_number(device):
    """Comparing asks a question, and has an answer where the number is no value of the dtype."""
    u = Tensor([0, 128, 255], dtype="uint8", device=device)
    for number in (-1, 300, -0.5, 255.5):
        assert host(u == number).tolist() == [False] * 3
        assert host(u != number).tolist() == [True] * 3
        assert host(u < number).tolist() == host(number > u).tolist() == [number > 255] * 3
        assert host(u >= number).tolist() == host(number <= u).tolist() == [number < 0] * 3
    assert host(u == 128.0).tolist() == [False, True, False]
    assert host(u > 127.5).tolist() == [False, True, True]


def test_large_integers_are_not_rounded_to_be_compared(device):
    """2²⁴ + 1 is not a float32."""
    for n in (Tensor(16777217, device=device), Tensor([16777217], device=device)):
        assert not host(n == 16777216.0).any()
        assert host(n == 16777217.0).all()
        assert host(n > 16777216.0).all()


def test_comparing_with_what_is_not_a_number():
    x = Tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != "x") is True
    with pytest.raises(TypeError, match="not supported between instances of 'Tensor' and 'str'"):
        x < "x"  # noqa: B015


def test_float32_compares_with_a_number_in_float32(device):
    """0.1 in float32 is not 0.1 in float64, but a tensor of 0.1 equals 0.1."""
    for number in (0.1, np.float64(0.1)):
        assert host(Tensor([0.1], device=device) == number).all()
        assert host(Tensor(0.1, device=device) <= number)


# ---- copies and moves


def test_astype(device):
    x = Tensor([1.5, -2.5], requires_grad=True, device=device)
    assert x.astype("float32") is x
    wide = x.astype(np.float64)
    assert wide.dtype == np.float64
    (wide * 2).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.numpy().tolist() == [2, 2]
    whole = x.astype(int)
    assert whole.numpy().tolist() == [1, -2]
    assert not whole.requires_grad
    minidl.gradgradcheck(lambda x: x.astype(np.float32).astype(np.float64) ** 2, [Tensor(np.ones(2), True)], eps=0.5)


def test_copy_has_memory_of_its_own(device):
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    y = x.copy()
    assert not backend.array_module(x.data).may_share_memory(x.data, y.data)
    check_manners(lambda x: x.copy(), [np.ones((2, 3))], device)


@pytest.fixture
def fake():
    backend.set_gpu_module(fakecupy)
    yield fakecupy
    backend.set_gpu_module(None)


def test_to_and_back_with_gradients(fake):
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = x.to("gpu:1")
    assert str(y.device) == "gpu:1"
    assert y.to("gpu:1") is y
    assert x.to("cpu") is x
    (y * y * y).to("gpu").sum().backward()
    assert str(x.grad.device) == "cpu"
    assert x.grad.numpy().tolist() == [3, 12]
    minidl.gradgradcheck(lambda x: (x.to("gpu") ** 3).to("cpu"), [x])


def test_what_is_already_there_is_not_moved(device):
    x = Tensor([1.0], device=device)
    assert x.to(device) is x


# ---- wrong calls


MASK_2 = np.array([True, False])
WRONG = [
    (lambda x: x * [1, 2], TypeError, "multiply: expected a Tensor, an array or a real number, got list"),
    (lambda x: x + None, TypeError, "add: expected .* got NoneType"),
    (lambda x: None - x, TypeError, "subtract: expected .* got NoneType"),
    (lambda x: x * 1j, TypeError, "multiply: expected .* real number, got complex"),
    (lambda x: x / "2", TypeError, "divide: expected .* got str"),
    (lambda x: "2" ** x, TypeError, "power: expected .* got str"),
    (lambda x: x + Tensor(np.ones(2)), ValueError, r"add: shapes do not broadcast: \(2, 3\), \(2,\)"),
    (lambda x: np.ones(2) - x, ValueError, r"subtract: shapes do not broadcast: \(2,\), \(2, 3\)"),
    (lambda x: x * np.ones((3, 3)), ValueError, "multiply: shapes do not broadcast"),
    (lambda x: x / np.ones((3, 3)), ValueError, "divide: shapes do not broadcast"),
    (lambda x: x ** np.ones((3, 3)), ValueError, "power: shapes do not broadcast"),
    (lambda x: x > np.ones(2), ValueError, "__gt__: shapes do not broadcast"),
    (lambda x: minidl.maximum(x, np.ones(2)), ValueError, "maximum: shapes do not broadcast"),
    (lambda x: minidl.minimum(x, np.ones(2)), ValueError, "minimum: shapes do not broadcast"),
    (lambda x: minidl.maximum(x, None), TypeError, "maximum: expected .* got NoneType"),
    (lambda x: minidl.minimum(x, None), TypeError, "minimum: expected .* got NoneType"),
    (
        lambda x: minidl.where(x, x, 0),
        TypeError,
        "where: expected a boolean array as condition, got float64; write x != 0",
    ),
    (lambda x: minidl.where(True, x, 0), TypeError, "where: expected a boolean array as condition, got bool"),
    (lambda x: minidl.where([True], x, 0), TypeError, "where: .* got list"),
    (lambda x: minidl.where(MASK_2, x, 0), ValueError, r"where: shapes do not broadcast: \(2,\), \(2, 3\), \(\)"),
    (lambda x: minidl.where(x > 0, x, "0"), TypeError, "where: expected .* got str"),
    (lambda x: x.clip(), ValueError, "clip: at least one of low and high must be given"),
    (lambda x: x.clip(x), TypeError, "clip: low and high must be numbers, got Tensor; see maximum and minimum"),
    (lambda x: x.clip("0"), TypeError, "clip: low and high must be numbers, got str"),
    (lambda x: x.astype(complex), TypeError, "astype: expected a real or boolean dtype, got complex128"),
    (lambda x: x.astype("float99"), TypeError, "float99"),
    (lambda x: x.to("cuda"), ValueError, 'device: expected "cpu", "gpu" or "gpu:<number>", got \'cuda\''),
    (lambda x: minidl.exp(2.0), TypeError, "expected a Tensor or an array, got float"),
    (lambda x: minidl.log([1.0]), TypeError, "expected a Tensor or an array, got list"),
    (lambda x: minidl.sqrt("4"), TypeError, "expected a Tensor or an array, got str"),
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


def test_comparing_with_a_number_in_an_array_is_comparing_with_the_number():
    x = Tensor([0.1, 0.2])
    assert (x == np.array(0.1)).tolist() == (x == 0.1).tolist() == [True, False]
