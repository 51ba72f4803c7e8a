"""Order: extremes over every choice of axes, sorting, ties, NaN, integers, and gradients to whatever was chosen."""

import math

import fakecupy
import numpy as np
import oracle
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from hypothesis import given
from hypothesis import strategies as st
from judge import assert_close, host, scattered

import minidl
from minidl import Tensor, backend
from minidl.ops import order

NAN, INF = np.nan, np.inf

# ---- values and derivatives

AXES = {
    "everything": ((2, 3), None),
    "the first axis": ((2, 3), 0),
    "the last axis": ((2, 3), -1),
    "the middle": ((2, 3, 2), 1),
    "two axes": ((2, 3, 2), (0, 2)),
    "two axes the other way round": ((2, 3, 2), (-1, 1)),
    "all axes by name": ((3, 2), (0, 1)),
    "an axis of one": ((3, 1), 1),
    "a scalar": ((), None),
    "a prime number": ((7,), 0),
    "nothing left over": ((0, 3), 1),
    "no axis": ((2, 2), ()),
}


def extremes(name):
    def case(shape, axis, keep):
        dims = tuple(range(len(shape))) if axis is None else axis  # in PyTorch no axes are all axes, and so left out
        return Case(
            lambda x: getattr(x, name)(axis, keep),
            (shape,),
            lambda x: getattr(x, name)(axis=axis, keepdims=keep),
            lambda x: getattr(x, f"a{name}")(dims, keep),
        )

    return {
        f"{choice}{', kept' if keep else ''}": case(shape, axis, keep)
        for choice, (shape, axis) in AXES.items()
        for keep in (False, True)
    }


def sorted_along(shape, axis, descending=False):
    def expected(x):
        y = np.sort(x, axis)
        return np.flip(y, axis) if descending else y

    return Case(
        lambda x: x.sort(axis, descending)[0], (shape,), expected, lambda x: x.sort(dim=axis, descending=descending)[0]
    )


def first_of(shape, k, axis, largest=True):
    def expected(x):
        y = np.flip(np.sort(x, axis), axis) if largest else np.sort(x, axis)
        return np.take(y, range(k), axis)

    return Case(
        lambda x: x.topk(k, axis, largest)[0], (shape,), expected, lambda x: x.topk(k, dim=axis, largest=largest)[0]
    )


CASES = named(
    {
        "max": extremes("max"),
        "min": extremes("min"),
        "sort": sorted_along((2, 3), -1),
        "sort the first axis": sorted_along((4, 2), 0),
        "sort the middle, descending": sorted_along((2, 5, 3), 1, True),
        "sort a vector": sorted_along((7,), 0, True),
        "sort an axis of one": sorted_along((3, 1), 1, True),
        "sort nothing": sorted_along((2, 0), 1, True),
        "sort lines of nothing": sorted_along((0, 3), 1),
        "topk": first_of((2, 5), 2, -1),
        "topk of the smallest, first axis": first_of((5, 2), 3, 0, False),
        "topk of the middle": first_of((2, 5, 3), 1, 1),
        "topk of all": first_of((2, 3), 3, 1),
        "topk of none": first_of((2, 3), 0, 1),
    }
)


@pytest.mark.parametrize("name", CASES)
def test_values(name, device):
    check_value(CASES[name], device)


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name, device):
    check_derivatives(CASES[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in CASES if "no axis" not in name])
def test_against_torch(name):
    check_torch(CASES[name])


@pytest.mark.parametrize(
    "ours", [lambda x: x.max(1), lambda x: x.min(0), lambda x: x.sort(0)[0], lambda x: x.topk(2)[0]]
)
def test_memory_that_is_not_contiguous(ours, device):
    check_derivatives(Case(lambda x: ours(scattered(x)) ** 2, ((2, 3),)), device)


# ---- indices

INDEX_AXES = [((2, 3), None), ((2, 3), 0), ((3, 2, 4), 1), ((3, 2, 4), -1), ((1,), 0), ((), None), ((), 0), ((), -1)]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(("shape", "axis"), INDEX_AXES)
@pytest.mark.parametrize("op", ["argmax", "argmin"])
def test_where_the_extremes_stand(op, shape, axis, keep, device):
    array = np.random.default_rng(1).standard_normal(shape)
    y = getattr(Tensor(array, requires_grad=True, device=device), op)(axis, keep)
    expected = np.asarray(getattr(np, op)(array, axis=axis if shape else None, keepdims=keep))
    assert isinstance(y, Tensor) and not y.requires_grad
    assert (y.dtype, y.shape) == (np.int64, expected.shape)
    np.testing.assert_array_equal(host(y), expected)


def test_the_place_in_everything_is_that_in_reading_order(device):
    x = Tensor([[5.0, 1.0, 2.0], [3.0, 9.0, 0.0]], device=device)
    assert [y.item() for y in (x.argmax(), x.T.argmax(), x.argmin(), x.T.argmin())] == [4, 3, 5, 5]


@st.composite
def lines(draw):
    """Few different values, so that there are ties; and NaN, infinities and both zeros."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    values = st.sampled_from([NAN, NAN, -INF, INF, 0.0, -0.0, 1.0, 2.0, -3.0])
    array = np.array(draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))).reshape(shape)
    return array, draw(st.integers(0, len(shape) - 1))


@given(case=lines(), descending=st.booleans())
def test_sorting_is_stable_and_nan_is_the_largest(case, descending, device):
    array, axis = case
    expected = oracle.argsort(array, axis, descending)
    x = Tensor(array, requires_grad=True, device=device)
    values, indices = x.sort(axis, descending)
    assert indices.dtype == np.int64 and not indices.requires_grad
    np.testing.assert_array_equal(host(indices), expected)
    np.testing.assert_array_equal(host(x.argsort(axis, descending)), expected)
    np.testing.assert_array_equal(host(values), np.take_along_axis(array, expected, axis))
    k = (array.shape[axis] + 1) // 2
    values, indices = x.topk(k, axis, largest=descending)
    expected = np.take(expected, range(k), axis)
    np.testing.assert_array_equal(host(indices), expected)
    g = np.random.default_rng(0).standard_normal(expected.shape)
    gradient = np.zeros(array.shape)
    np.put_along_axis(gradient, expected, g, axis)
    assert_close(minidl.grad(values, [x], Tensor(g, device=device))[0], gradient, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("descending", [False, True])
def test_many_equal_elements_keep_their_order(descending, dtype, device, rng):
    """More than fit into what a fast sort does by insertion, which would be stable by itself."""
    array = rng.integers(0, 3, (2, 300)).astype(dtype)
    values, indices = (host(y) for y in Tensor(array, device=device).sort(1, descending))
    steps, same = np.diff(values.astype(int), axis=1), np.diff(values.astype(int), axis=1) == 0
    assert ((steps <= 0) if descending else (steps >= 0)).all()
    assert (np.diff(indices, axis=1)[same] > 0).all()
    np.testing.assert_array_equal(np.sort(indices, axis=1), np.tile(np.arange(300), (2, 1)))


@given(case=lines())
def test_extremes_with_ties_and_nan(case, device):
    """Of several NaN, a GPU may choose any."""
    array, axis = case
    if array.shape[axis]:
        x = Tensor(array, requires_grad=True, device=device)
        for name in ("max", "min"):
            y, first = getattr(x, name)(axis), np.expand_dims(getattr(array, f"arg{name}")(axis), axis)
            np.testing.assert_array_equal(host(y), getattr(array, name)(axis))
            chosen = host(getattr(x, f"arg{name}")(axis, keepdims=True))
            free = np.isnan(np.take_along_axis(array, first, axis)) & (device != "cpu")
            np.testing.assert_array_equal(np.where(free, first, chosen), first)
            assert np.isnan(np.take_along_axis(array, chosen, axis)[free]).all()
            g = np.random.default_rng(0).standard_normal(y.shape)
            gradient = np.zeros(array.shape)
            np.put_along_axis(gradient, chosen, np.expand_dims(g, axis), axis)
            assert_close(minidl.grad(y, [x], Tensor(g, device=device))[0], gradient, 0)


@pytest.mark.torch
@pytest.mark.parametrize("descending", [False, True])
def test_order_of_ties_and_nan_is_pytorchs(descending):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(2)
    array = rng.choice([NAN, -INF, INF, 0.0, -0.0, 1.0, 2.0, -3.0], (5, 11))
    x, theirs = Tensor(array), torch.from_numpy(array)
    for axis in (0, 1):
        expected = theirs.sort(dim=axis, descending=descending, stable=True)
        for actual, wanted in zip(x.sort(axis, descending, stable=True), expected, strict=True):
            np.testing.assert_array_equal(host(actual), wanted.numpy())
        best = theirs.topk(3, dim=axis, largest=descending)
        np.testing.assert_array_equal(host(x.topk(3, axis, descending)[0]), best.values.numpy())
        for name in ("max", "min"):
            values, indices = getattr(theirs, name)(axis)
            np.testing.assert_array_equal(host(getattr(x, name)(axis)), values.numpy())
            np.testing.assert_array_equal(host(getattr(x, f"arg{name}")(axis)), indices.numpy())


# ---- ties


def gradient(y, x):
    return minidl.grad(y.sum(), x)[0].numpy().tolist()


@pytest.mark.parametrize("op", ["max", "min"])
def test_of_equal_elements_the_first_gets_the_gradient(op, device):
    sign = 1 if op == "max" else -1
    x = Tensor(sign * np.array([[1.0, 3.0, 3.0], [3.0, 0.0, 0.0]]), requires_grad=True, device=device)
    assert gradient(getattr(x, op)(), x) == [[0, 1, 0], [0, 0, 0]]
    assert gradient(getattr(x, op)(axis=1), x) == [[0, 1, 0], [1, 0, 0]]
    assert gradient(getattr(x, op)(axis=0), x) == [[0, 1, 1], [1, 0, 0]]
    assert gradient(getattr(x, op)(axis=(1, 0)), x) == [[0, 1, 0], [0, 0, 0]]
    transposed = x.T  # first in the order of indices, not of memory
    assert gradient(getattr(transposed, op)(), x) == [[0, 0, 0], [1, 0, 0]]


@pytest.mark.torch
@pytest.mark.parametrize("op", ["max", "min"])
def test_ties_along_an_axis_are_pytorchs(op):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    values = [[1.0, 3.0, 1.0, 3.0], [2.0, 2.0, 2.0, 2.0]]
    theirs = torch.tensor(values, requires_grad=True)
    getattr(theirs, op)(1).values.sum().backward()
    x = Tensor(values, requires_grad=True)
    assert gradient(getattr(x, op)(axis=1), x) == theirs.grad.tolist()


@pytest.mark.torch
@pytest.mark.parametrize("op", ["max", "min"])
def test_amax_divides_the_gradient_among_ties_and_ours_does_not(op):
    """The one difference to PyTorch's amax and amin, and to its max and min of everything."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for call in (lambda x: getattr(x, f"a{op}")((0,)), lambda x: getattr(x, op)()):
        theirs = torch.tensor([2.0, 2.0], requires_grad=True)
        call(theirs).backward()
        assert theirs.grad.tolist() == [0.5, 0.5]
    x = Tensor([2.0, 2.0], requires_grad=True)
    assert gradient(getattr(x, op)(), x) == [1, 0]


def test_infinite_gradients_stay_with_the_winner(device):
    x = Tensor([1.0, 3.0, 2.0], requires_grad=True, device=device)
    x.max().backward(Tensor(np.array(INF, np.float32), device=device))
    assert host(x.grad).tolist() == [0, INF, 0]


# ---- dtypes, tensors without axes, raw arrays


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floating_dtypes_stay(dtype, device):
    for shape in [(), (2, 3)]:
        x = Tensor(np.ones(shape), dtype=dtype, requires_grad=True, device=device)
        for call in (lambda x: x.max(), lambda x: x.min(), lambda x: x.sort()[0], lambda x: x.topk(1)[0]):
            y = call(x)
            assert y.dtype == dtype
            (g,) = minidl.grad(y.sum(), [x])
            assert (g.dtype, g.shape) == (dtype, shape)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "bool"])
def test_integers(dtype, device):
    x = Tensor(np.array([1, 0, 1, 1]), dtype=dtype, device=device)
    assert (x.max().item(), x.min().item(), x.argmax().item(), x.argmin().item()) == (1, 0, 0, 1)
    for y in (x.max(), x.min(), x.sort()[0], x.topk(2)[0]):
        assert y.dtype == dtype
    assert host(x.argsort()).tolist() == [1, 0, 2, 3]
    assert host(x.argsort(descending=True)).tolist() == [0, 2, 3, 1]


def test_the_ends_of_integers(device):
    """Nothing is negated, which would overflow."""
    x = Tensor(np.array([3, 0, 255], np.uint8), device=device)
    assert (x.min().item(), x.argmin().item(), host(x.argsort(descending=True)).tolist()) == (0, 1, [2, 0, 1])
    x = Tensor(np.array([0, -128, 127], np.int8), device=device)
    assert (x.max().item(), x.min().item(), host(x.sort(descending=True)[0]).tolist()) == (127, -128, [127, 0, -128])


@pytest.mark.parametrize("axis", [0, -1])
def test_tensors_without_axes_have_one(axis, device):
    """As in PyTorch, where a number can be sorted as a vector of one element."""
    x = Tensor(3.0, requires_grad=True, device=device)
    results = [x.sort(axis), x.sort(axis, descending=True), x.topk(1, axis), x.topk(1, axis, largest=False)]
    results += [(x.max(axis), x.argmax(axis)), (x.min(axis, True), x.argmin(axis, True)), (x, x.argsort(axis))]
    for values, indices in results:
        assert (values.shape, values.item(), indices.shape, indices.item()) == ((), 3, (), 0)
        assert minidl.grad(values * values, [x])[0].item() == 6


def test_raw_arrays_stay_raw(device):
    x = Tensor([2.0, 3.0, 1.0], device=device).data
    results = [order.max(x), order.argmin(x), order.argsort(x), *order.sort(x), *order.topk(x, 2)]
    for y, expected in zip(results, [3, 2, [2, 0, 1], [1, 2, 3], [2, 0, 1], [3, 2], [1, 0]], strict=True):
        assert not isinstance(y, Tensor)
        assert np.array_equal(host(y), expected)


def test_topk_holds_on_to_no_more_than_it_gives(device):
    """A view of all indices would keep them all alive, in the result and in the graph."""
    values, indices = Tensor(np.arange(100.0), requires_grad=True, device=device).topk(2)
    assert indices.data.flags.owndata
    assert host(values).tolist() == [99, 98]


# ---- devices


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.max(0),
        lambda x: x.min(),
        lambda x: x * x.argmax(1, keepdims=True),
        lambda x: x * x.argmin(),
        lambda x: x.sort(0, descending=True)[0],
        lambda x: x * x.argsort(),
        lambda x: x.topk(2)[0],
    ],
)
def test_on_a_second_gpu_without_waiting(call, fake_gpu):
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, device="gpu:1")
    with fakecupy.count_synchronisations() as log:
        y = call(x)
        (g,) = minidl.grad(y, [x], Tensor._wrap(y.data), create_graph=True)
    assert log.places == []
    assert str(y.device) == str(g.device) == "gpu:1"


# ---- wrong calls


WRONG_AXES = [
    (lambda f: f(axis=2), r"{}: axis 2 does not exist in a tensor of 2 dimension\(s\)"),
    (lambda f: f(axis=-3), "{}: axis -3 does not exist"),
    (lambda f: f(axis=0.5), "{}: axis 0.5 does not exist"),
    (lambda f: f(axis="0"), "{}: axis '0' does not exist"),
]
OPS = ["max", "min", "argmax", "argmin", "sort", "argsort", "topk"]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("call", "message"), WRONG_AXES)
def test_wrong_axes(op, call, message):
    method = getattr(Tensor(np.ones((2, 3))), op)
    with pytest.raises(ValueError, match=message.format(op)):
        call(lambda axis: method(1, axis) if op == "topk" else method(axis))
    with pytest.raises(ValueError, match=f"{op}: axis 1 does not exist"):
        getattr(Tensor(1.0), op)(*[1] * (op == "topk"), axis=1)


@pytest.mark.parametrize("op", ["max", "min"])
def test_one_axis_twice(op):
    for axis in [(1, 1), (1, -1)]:
        with pytest.raises(ValueError, match=rf"{op}: axis \(1, -?1\) names one dimension twice"):
            getattr(Tensor(np.ones((2, 3))), op)(axis)


@pytest.mark.parametrize("op", ["argmax", "argmin", "sort", "argsort"])
def test_several_axes(op):
    with pytest.raises(ValueError, match=rf"{op}: axis \(0, 1\) does not exist"):
        getattr(Tensor(np.ones((2, 3))), op)((0, 1))


@pytest.mark.parametrize("op", ["max", "min", "argmax", "argmin"])
def test_the_extreme_of_nothing(op):
    x = Tensor(np.zeros((2, 0)))
    with pytest.raises(ValueError, match=rf"{op}: no elements to choose from along axis 1 of shape \(2, 0\)"):
        getattr(x, op)(axis=1)
    with pytest.raises(ValueError, match=f"{op}: no elements to choose from along axis None"):
        getattr(x, op)()
    assert getattr(x, op)(axis=0).shape == (0,)


@pytest.mark.parametrize("k", [-1, 4, 1.0, "1", None])
def test_wrong_k(k):
    with pytest.raises(ValueError, match=r"topk: expected k to be from 0 to 3, for axis 1 of shape \(2, 3\), got"):
        Tensor(np.ones((2, 3))).topk(k, 1)
    for number in (0, 2):
        with pytest.raises(ValueError, match="topk: expected k to be from 1 to 1"):
            Tensor(1.0).topk(number)


@pytest.mark.parametrize("op", OPS)
def test_a_list_is_no_tensor(op):
    with pytest.raises(TypeError, match=f"{op}: expected a Tensor or an array, got list"):
        getattr(order, op)([1.0], *[1] * (op == "topk"))


@pytest.mark.parametrize("op", [order.argmax, order.argmin, order.max, order.min])
@pytest.mark.parametrize("axis", [1, -2])
def test_a_number_has_one_axis_at_most(op, axis, device):
    with pytest.raises(ValueError, match=rf"axis {axis} does not exist in a tensor of . dimension"):
        op(Tensor(3.0, device=device), axis)
