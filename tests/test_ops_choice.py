"""Comparison and choice: values, derivatives of both orders, ties, bounds, NaN, dtypes, wrong calls."""

import numpy as np
import pytest
from cases import Case, broadcasts, check_derivatives, check_torch, check_value, named
from dtype_rule import (
    FLOATS,
    check_integers_take_the_dtype_of_floats,
    check_numbers_are_weak,
    check_two_precisions_meet_in_the_wider,
)
from judge import assert_close, check_operator, host, leaves, scattered, separated

import minidl
from minidl import Tensor, backend
from minidl.backend import is_array
from minidl.ops.choice import clip

inf, nan = np.inf, np.nan
MASK = np.array([[True, False, True], [False, False, True]])


def chosen(like):
    """A condition in the library of `like`, and on its device."""
    return MASK if isinstance(like, np.ndarray) else like.new_tensor(MASK.tolist()).bool()


def mask(x):
    return backend.to_device(MASK, x.device)


S = ((2, 3),)
CASES = named(
    {
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
        "clip": Case(lambda x: x.clip(-0.7, 0.8), S, lambda x: np.clip(x, -0.7, 0.8)),
        "clip below": Case(lambda x: x.clip(low=0.2), S, lambda x: np.maximum(x, 0.2), lambda x: x.clip(min=0.2)),
        "clip above": Case(lambda x: x.clip(high=0.2), S, lambda x: np.minimum(x, 0.2), lambda x: x.clip(max=0.2)),
        "clip, scalar": Case(lambda x: x.clip(-3, 3), ((),), lambda x: np.clip(x, -3, 3)),
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


def test_memory_that_is_not_contiguous(device):
    check_derivatives(Case(lambda x: scattered(x).clip(-0.7, 0.8), S), device)
    check_derivatives(Case(lambda a, b: minidl.maximum(scattered(a), b.T), ((2, 3), (3, 2))), device)


# ---- ties


def gradient(function, *values, device="cpu"):
    """The gradients of the sum of function(*values) to each of the values."""
    inputs = [Tensor(np.array(value, np.float64), requires_grad=True, device=device) for value in values]
    return [g.numpy().tolist() for g in minidl.grad(function(*inputs).sum(), inputs)]


@pytest.mark.parametrize("op", [minidl.maximum, minidl.minimum])
def test_at_a_tie_maximum_and_minimum_give_half_to_each(op, device):
    low, high = ([1, 0.5, 0], [0, 0.5, 1]) if op is minidl.maximum else ([0, 0.5, 1], [1, 0.5, 0])
    assert gradient(op, [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], device=device) == [low, high]


def test_clip_passes_the_gradient_at_its_bounds_and_not_beyond(device):
    assert gradient(lambda x: x.clip(-1.0, 2.0), [-1.5, -1.0, 0.0, 2.0, 2.5], device=device) == [[0, 1, 1, 1, 0]]


@pytest.mark.torch
def test_ties_are_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    a, b = [-1.0, 0.0, 1.0, 2.0], [-1.0, 1.0, 1.0, 0.0]
    for ours, theirs in [
        (minidl.maximum, torch.maximum),
        (minidl.minimum, torch.minimum),
        (lambda a, b: a.clip(-1.0, 1.0) * b, lambda a, b: a.clip(-1.0, 1.0) * b),
    ]:
        inputs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (a, b)]
        theirs(*inputs).sum().backward()
        assert gradient(ours, a, b) == [x.grad.tolist() for x in inputs]


def test_not_chosen_infinities_leave_no_trace(device):
    x = Tensor(np.array([0.0, 4.0]), requires_grad=True, device=device)
    safe = minidl.where(x > 0, x, 1.0)
    minidl.where(x > 0, safe.log(), 0.0).sum().backward()
    assert x.grad.numpy().tolist() == [0, 0.25]


# ---- clip, with bounds that are arrays

BOUNDS = {  # the shapes of x, low and high; None: no such bound
    "one shape": ((2, 3), (2, 3), (2, 3)),
    "repeated": ((4, 2, 3), (3,), (2, 1)),
    "x is repeated": ((3,), (2, 3), (4, 1, 1)),
    "numbers without axes": ((2, 3), (), ()),
    "only low": ((2, 3), (3,), None),
    "only high": ((3,), None, (2, 1)),
    "nothing": ((0, 3), (3,), (1, 3)),
}


def bounded(low, high):
    """clip as a function of x and those bounds that there are."""
    if high is None:
        return lambda x, low: clip(x, low)
    return (lambda x, high: clip(x, None, high)) if low is None else clip


@pytest.mark.parametrize("shapes", BOUNDS.values(), ids=BOUNDS)
def test_clip_to_arrays(shapes, device, rng):
    """Low is above high in places."""
    x, low, high = (None if shape is None else 5 * separated(rng, shape) + 0.013 * i for i, shape in enumerate(shapes))
    arrays, function = [array for array in (x, low, high) if array is not None], bounded(low, high)
    expected = np.minimum(np.maximum(x, -inf if low is None else low), inf if high is None else high)
    assert_close(function(*[Tensor(array, device=device) for array in arrays]), expected, 0)
    check_operator(function, arrays, device)
    minidl.gradgradcheck(function, leaves(arrays, device), fast=device != "cpu")


def test_clip_to_an_array_and_a_number(device, rng):
    x, low = separated(rng, (4, 3)), separated(rng, (3,)) - 0.031
    check_operator(lambda x, low: clip(x, low, 0.017), [x, low], device)
    check_operator(lambda x, high: clip(x, -0.017, high), [x, low + 0.05], device)
    assert_close(clip(Tensor(x, device=device), Tensor(low, device=device), 0.017), np.clip(x, low, 0.017), 0)


CLAMPS = {  # our function, PyTorch's, and which columns of MEETINGS they take
    "both": lambda torch: (clip, torch.clamp, [0, 1, 2]),
    "low": lambda torch: (clip, torch.clamp_min, [0, 1]),
    "high": lambda torch: (lambda x, high: clip(x, high=high), torch.clamp_max, [0, 2]),
}
MEETINGS = [
    (x, low, high) for x in (-inf, -1, 0, 1, inf, nan) for low in (-inf, -1, 0, 1, nan) for high in (-1, 0, 1, inf, nan)
]


WHOLE = [  # x, the bounds, and what becomes of x
    (np.uint8([0, 5]), (-1, 1), [0, 1]),
    (np.uint8([0, 5]), (0, 300), [0, 5]),
    (np.int8([-128, 5]), (-1000, 1000), [-128, 5]),
    (np.int8([3]), (np.uint8(1), np.uint8(200)), [3]),
    (np.int64([-1, 2**63 - 1]), (0, None), [0, 2**63 - 1]),
    (np.int32([1, 5, 9]), (7, 3), [3, 3, 3]),
    (np.array([True, False]), (0, None), [True, False]),
    (np.array([True, False]), (None, 2), [True, False]),
    (np.array([True, False]), (1, None), [True, True]),
]


@pytest.mark.parametrize(("x", "bounds", "expected"), WHOLE)
def test_clip_of_whole_numbers(x, bounds, expected, device):
    """A bound that the dtype cannot hold is none."""
    y = clip(Tensor(x, device=device), *bounds)
    assert y.dtype == x.dtype
    assert host(y).tolist() == expected


@pytest.mark.parametrize(
    ("x", "bounds"),
    [(np.uint8([3]), (None, -1)), (np.uint8([]), (300, None)), (np.int8([3]), (np.uint8(200), None)),
     (np.array([True]), (2, None))],
)  # fmt: skip
def test_clip_to_what_no_number_of_the_dtype_is_within(x, bounds, device):
    with pytest.raises(OverflowError, match=rf"^clip: -?\d+ does not fit into {x.dtype}; convert the tensor first"):
        clip(Tensor(x, device=device), *bounds)


@pytest.mark.torch
@pytest.mark.parametrize("given", ["both", "low", "high"])
def test_clip_is_pytorchs_clamp_wherever_x_and_its_bounds_meet(given, device, rng):
    """At ties and with low above high too, for infinities and NaN, and whether bounds are arrays or numbers."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    function, clamp, columns = CLAMPS[given](torch)
    arrays, g = list(np.array(MEETINGS, np.float64).T[columns]), rng.standard_normal(len(MEETINGS))
    theirs, inputs = [torch.tensor(array, requires_grad=True) for array in arrays], leaves(arrays, device)
    expected = clamp(*theirs)
    gradients = torch.autograd.grad(expected, theirs, torch.tensor(g))
    assert_close(function(*inputs), expected.detach().numpy(), 0)
    for create_graph in (False, True):
        upstream = Tensor(g, requires_grad=create_graph, device=device)
        ours = minidl.grad(function(*inputs), inputs, upstream, create_graph)
        for one, other in zip(ours, gradients, strict=True):
            assert_close(one, other.numpy(), 0)
    for bounds in set(zip(*arrays[1:], strict=True)):
        check_against_torch_with_numbers(torch, function, clamp, bounds, device)


def check_against_torch_with_numbers(torch, function, clamp, bounds, device):
    x, g = np.array([-inf, -1, 0, 1, inf, nan]), np.arange(2.0, 8.0)
    (ours,), theirs = leaves([x], device), torch.tensor(x, requires_grad=True)
    y, expected = function(ours, *bounds), clamp(theirs, *bounds)
    expected.backward(torch.tensor(g))
    assert_close(y, expected.detach().numpy(), 0)
    assert_close(minidl.grad(y, ours, Tensor(g, device=device))[0], theirs.grad.numpy(), 0)


def test_only_the_gradients_that_are_wanted_are_computed(device):
    x, low = Tensor([1.0, 5.0], device=device), Tensor([2.0, 3.0], requires_grad=True, device=device)
    y = clip(x, low, Tensor([9.0, 9.0], device=device))
    assert host(minidl.grad(y, low, Tensor([4.0, 7.0], device=device))[0]).tolist() == [4, 0]


# ---- dtypes

CHOICES = {
    "maximum": (minidl.maximum, max),
    "minimum": (minidl.minimum, min),
    "where": (lambda a, b: minidl.where((a if isinstance(a, Tensor) else b) > 1, a, b), lambda a, b: a),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", CHOICES)
def test_numbers_are_weak(op, dtype, device):
    check_numbers_are_weak(*CHOICES[op], dtype, device)


@pytest.mark.parametrize("op", CHOICES)
def test_arrays_of_two_precisions_meet_in_the_wider(op, device):
    check_two_precisions_meet_in_the_wider(CHOICES[op][0], device)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", CHOICES)
def test_integers_take_the_dtype_of_floats(op, dtype, device):
    check_integers_take_the_dtype_of_floats(CHOICES[op][0], dtype, device)


@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_that_clip_are_weak(dtype, device):
    for shape in ((), (2,)):
        x = Tensor(np.full(shape, 1.5), dtype=dtype, requires_grad=True, device=device)
        for low, high in ((2, None), (np.float64(0.1), 0.7), (np.array(0.1), np.array(0.7)), (0.2, x.detach() / 3)):
            y = x.clip(low, high)
            y.sum().backward()
            assert y.dtype == x.grad.dtype == dtype


def test_clip_of_integers(device):
    n = Tensor([1, 2, 4], device=device)
    for y, expected, dtype in [
        (n.clip(2, 3), [2, 2, 3], "int64"),
        (n.clip(1.5, 3), [1.5, 2, 3], "float32"),
        (n.clip(Tensor([2, 2, 2], device=device), 3), [2, 2, 3], "int64"),
        (n.clip(2, Tensor([1.5, 2.5, 3.5], device=device)), [1.5, 2, 3.5], "float32"),
        (n.clip(Tensor([2, 2, 2], device=device), 2.5), [2, 2, 2.5], "float32"),
        (minidl.minimum(n, 3), [1, 2, 3], "int64"),
    ]:
        assert y.dtype == dtype
        assert host(y).tolist() == expected


def test_clip_to_a_wider_array_is_wider(device):
    x = Tensor([1.0, 5.0], requires_grad=True, device=device)
    low = Tensor(np.array([2.0, 2.0]), requires_grad=True, device=device)
    y = x.clip(low)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, low.grad.dtype) == (np.float64, np.float32, np.float64)


def test_a_number_that_does_not_fit_into_the_integers_beside_it(device):
    u = Tensor([0, 128, 255], dtype="uint8", device=device)
    for number in (300, -1):
        with pytest.raises(OverflowError, match=rf"{number} does not fit into uint8; .* with \.astype"):
            minidl.maximum(u, number)


def test_a_scalar_that_is_chosen_keeps_its_precision(device):
    """A scalar that backward computes is a NumPy scalar; taken for a weak number, it would pass through float32."""
    a, b, c = (Tensor(np.float64(v), requires_grad=True, device=device) for v in (1 / 3, 1 / 7, 0.1))
    (minidl.where(b > 1, a, c) * a).backward()
    np.testing.assert_allclose(c.grad.item(), 1 / 3, rtol=1e-15)


def test_the_minimum_of_numbers_without_sign(device):
    a, b = (Tensor(values, dtype="uint8", device=device) for values in ([0, 3, 200], [1, 2, 255]))
    assert minidl.minimum(a, b).numpy().tolist() == [0, 2, 200]
    booleans = Tensor([True, False], device=device)
    assert minidl.minimum(booleans, True).numpy().tolist() == [True, False]


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


def test_comparing_with_a_number_in_an_array_is_comparing_with_the_number():
    x = Tensor([0.1, 0.2])
    assert (x == np.array(0.1)).tolist() == (x == 0.1).tolist() == [True, False]


def test_arrays_of_the_device_as_operands_of_a_comparison(device):
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True, device=device)
    assert is_array(Tensor([[3.0], [4.0]], dtype=np.float64, device=device).data > x)


# ---- wrong calls

MASK_2 = np.array([True, False])
WRONG = [
    (lambda x: x > np.ones(2), ValueError, "^greater: shapes do not broadcast"),
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
    (lambda x: x.clip(), ValueError, "^clip: at least one of low and high must be given$"),
    (lambda x: x.clip("0"), TypeError, "^clip: expected a Tensor, an array or a real number, got str$"),
    (lambda x: x.clip(0, [1]), TypeError, "^clip: expected a Tensor, an array or a real number, got list$"),
    (lambda x: clip([1, 2], 0, 1), TypeError, "^clip: expected a Tensor or an array, got list$"),
    (lambda x: clip([1, 2], 0.5), TypeError, "^clip: expected a Tensor or an array, got list$"),
    (lambda x: clip([1, 2], x), TypeError, "^clip: expected a Tensor, an array or a real number, got list$"),
    (lambda x: x.clip(np.ones(2)), ValueError, r"^clip: shapes do not broadcast: \(2, 3\), \(2,\); "),
    (
        lambda x: x.clip(np.ones(3), np.ones((4, 1))),
        ValueError,
        r"^clip: shapes do not broadcast: \(2, 3\), \(3,\), \(4, 1\); ",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), requires_grad=True))
