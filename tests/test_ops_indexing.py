"""Indexing: every kind of index as NumPy reads it, gradients that add up where a place was read twice, wrong calls."""

import fakecupy
import numpy as np
import oracle
import pytest
from cases import Case, check_derivatives, check_torch, check_value
from hypothesis import given
from hypothesis import strategies as st
from judge import assert_close, host, leaves, scattered

import minidl
from minidl import Tensor, backend

MASK = np.array([[True, False, True], [False, False, True]])

INDICES = {
    "an integer": ((3, 4), 1),
    "a negative integer": ((3, 4), -1),
    "a numpy integer": ((3, 4), np.int32(2)),
    "all integers": ((3, 4), (2, -1)),
    "a slice": ((5, 2), slice(1, 4)),
    "a slice with a step": ((5, 2), slice(None, None, 2)),
    "a slice backwards": ((5, 2), slice(None, None, -2)),
    "a slice backwards from inside": ((5, 2), slice(3, 0, -1)),
    "a slice of nothing": ((5, 2), slice(3, 3)),
    "a slice beyond the end": ((5, 2), slice(-9, 9)),
    "slices and integers": ((3, 4, 2), (slice(1, None), 2, slice(None, None, -1))),
    "an ellipsis": ((2, 3, 2), (..., 1)),
    "an ellipsis of no axes": ((2, 3), (1, ..., 2)),
    "only an ellipsis": ((2, 3), ...),
    "nothing, of a scalar": ((), ()),
    "an ellipsis, of a scalar": ((), (None, ...)),
    "a new axis": ((2, 3), (None, slice(None), None, 1)),
    "a list": ((4, 2), [2, 0]),
    "a list with duplicates": ((4, 2), [1, 1, -3, 1]),
    "an empty list": ((4, 2), []),
    "an empty list in a list": ((4, 2), [[]]),
    "an empty list of the last axis": ((4, 2), (slice(None), [])),
    "a range": ((4, 2), range(3)),
    "a list of booleans": ((3, 2), [True, False, True]),
    "nested lists": ((4, 2), [[0, 1], [1, 1]]),
    "an array": ((4, 2), np.array([3, 3, 0])),
    "an array of two axes": ((4, 2, 3), np.array([[3, 3, 0], [1, 3, 1]])),
    "an array in a tuple": ((3, 4), (slice(None), np.array([1, 1, 2]))),
    "an array and a slice with a step": ((3, 5, 2), (np.array([1, 1, 2]), slice(None, None, -2))),
    "an array and an ellipsis": ((3, 5, 2), (np.array([1, 1]), ...)),
    "an ellipsis and an array": ((3, 5, 2), (..., np.array([1, 1]))),
    "an array between new axes": ((3, 4), (None, np.array([1, 1, 2]), None)),
    "an array of no dimensions": ((3, 2), np.array(1)),
    "an array of no dimensions and another": ((3, 2), (np.array(1), np.array([0, 0]))),
    "arrays that broadcast": ((3, 4), (np.array([[0], [2]]), np.array([1, 1]))),
    "arrays side by side, in the middle": ((2, 3, 4, 2), (slice(None), np.array([0, 1, 1]), np.array([3, 0, 0]))),
    "arrays apart": ((2, 3, 4), (np.array([0, 1, 1]), slice(None), np.array([3, 0, 0]))),
    "an array and an integer": ((2, 3, 4), (1, np.array([0, 0]))),
    "an array and an integer apart": ((2, 3, 4), (1, slice(None), np.array([0, 0, 1]))),
    "an array of unsigned integers": ((4, 2), np.array([1, 1], np.uint8)),
    "tuples in a tuple": ((3, 4), ((0, 0, 1), (2, 2, 3))),
    "lists in a tuple": ((3, 4), ([0, 0], slice(1, 3))),
    "a mask": ((2, 3), MASK),
    "a mask of the first axis": ((3, 2), np.array([True, False, True])),
    "a mask of the first two axes": ((2, 3, 2), MASK),
    "a mask of the last axis": ((2, 3), (slice(None), MASK[0])),
    "a mask of the last two axes": ((2, 2, 3), (..., MASK)),
    "a mask that is nowhere true": ((2, 3), MASK & ~MASK),
    "a mask and an integer": ((2, 3, 2), (MASK, 1)),
    "a mask and a slice": ((2, 3, 3), (MASK, slice(None, None, -2))),
    "a mask and duplicates": ((2, 3, 2), (MASK, np.array([1, 1, 1]))),
    "a mask, apart from duplicates": ((3, 2, 4), (MASK[0], slice(None), np.array([2, 2]))),
    "two masks": ((3, 2, 3), (MASK[0], slice(None), MASK[0])),
    "a true mask without axes": ((2, 3), np.array(True)),
    "a false mask without axes": ((2, 3), np.array(False)),
    "True": ((2, 3), True),
    "False, and duplicates": ((2, 3), (False, np.array([], int))),
    "True, and duplicates": ((2, 3), (True, np.array([1, 1]))),
    "of nothing": ((0, 2), slice(None)),
    "of nothing, by an empty list": ((0, 2), []),
    "rows of nothing": ((3, 0), [1, 1]),
}

UNKNOWN_TO_TORCH = {
    "a slice backwards",
    "a slice backwards from inside",
    "slices and integers",
    "an array and a slice with a step",
    "a mask and a slice",
    "nested lists",
    "an empty list in a list",
    "an array of unsigned integers",  # a mask there
    "a mask of the last two axes",
    "an array and an integer apart",  # there the integer is applied before the array, and the axes stay where they were
}


def on(device, index):
    """The index with its arrays on the device."""
    if isinstance(index, tuple):
        return tuple(on(device, part) for part in index)
    return Tensor(index, device=device).data if isinstance(index, np.ndarray) else index


@pytest.mark.parametrize("name", INDICES)
def test_index(name, device):
    shape, index = INDICES[name]
    case = Case(lambda x: x[on(device, index)], (shape,), lambda x: np.asarray(x[index]))
    check_value(case, device)
    check_derivatives(case, device)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in INDICES if name not in UNKNOWN_TO_TORCH])
def test_index_against_torch(name):
    shape, index = INDICES[name]
    check_torch(Case(lambda x: x[index], (shape,)))


@pytest.mark.torch
def test_where_torch_indexes_otherwise_the_rule_is_numpys():
    """The axis of indices that stand apart comes first; and bytes are numbers, not a mask."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    array, last = np.arange(24.0).reshape(2, 3, 4), np.array([0, 3])
    ours, theirs = Tensor(array)[1, :, last], torch.from_numpy(array)[1, :, torch.from_numpy(last)]
    assert (ours.shape, tuple(theirs.shape)) == ((2, 3), (3, 2))
    np.testing.assert_array_equal(host(ours), theirs.T.numpy())
    array, bytes = np.array([5.0, 6.0, 7.0]), np.array([0, 1, 1], np.uint8)
    with pytest.warns(UserWarning, match="uint8 is now deprecated"):
        theirs = torch.from_numpy(array)[torch.from_numpy(bytes)]
    assert (host(Tensor(array)[bytes]).tolist(), theirs.tolist()) == ([5, 6, 6], [6, 7])


@st.composite
def shapes_and_indices(draw):
    """A shape, and an index of any parts that fit it: index arrays broadcast, masks have true elements to match."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    K, parts = draw(st.integers(1, 3)), []
    named = draw(st.integers(0, len(shape)))
    for n in shape[:named]:
        kind = draw(st.sampled_from(["slice", "slice", "integer", "vector", "column", "mask"]))
        if kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "integer":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "mask":
            mask = np.zeros(n, bool)
            mask[draw(st.integers(0, n - 1))] = True
            parts.append(mask)
        else:
            array = np.array(draw(st.lists(st.integers(-n, n - 1), min_size=K, max_size=K)))
            parts.append(array if kind == "vector" else array[:, None])
        if draw(st.integers(0, 5)) == 0:
            parts.append(None)
    if draw(st.booleans()) and named == len(shape):
        parts.insert(draw(st.integers(0, len(parts))), ...)
    return shape, tuple(parts)


@given(case=shapes_and_indices())
def test_any_index(case, device):
    shape, index = case
    rng = np.random.default_rng(0)
    array = rng.standard_normal(shape)
    expected = array[index]
    x = Tensor(array, requires_grad=True, device=device)
    y = x[on(device, index)]
    assert_close(y, np.asarray(expected), 0)
    g = rng.standard_normal(expected.shape)
    gradient = np.zeros(shape)
    np.add.at(gradient, index, g)
    assert_close(minidl.grad(y, [x], Tensor(g, device=device))[0], gradient, 1e-14)


@pytest.mark.parametrize("ours", [lambda x: x[1:, ::-2] ** 2, lambda x: x[[1, 1, 0]] ** 2, lambda x: x[:, [1, 1]] ** 2])
def test_memory_that_is_not_contiguous(ours, device):
    check_derivatives(Case(lambda x: ours(scattered(x)), ((2, 3),)), device)


def test_an_upstream_gradient_that_is_not_contiguous(device):
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, device=device)
    g = np.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    x[[2, 0, 2]].T.backward(Tensor(g, device=device))
    assert host(x.grad).tolist() == [[2, 16], [0, 0], [5, 40]]


def test_indices_may_be_tensors(device):
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, device=device)
    rows, mask = Tensor([2, 2], device=device), Tensor(x > 3)
    assert x[rows].numpy().tolist() == [[4, 5], [4, 5]]
    assert x[rows, 1].numpy().tolist() == [5, 5]
    assert x[Tensor(1, device=device)].numpy().tolist() == [2, 3]
    assert x[mask].numpy().tolist() == [4, 5]
    x[rows].sum().backward()
    assert x.grad.numpy().tolist() == [[0, 0], [0, 0], [2, 2]]


def test_an_index_is_copied(device):
    """It may be filled again before backward."""
    for call in (
        lambda x, index: x[index],
        lambda x, index: x[Tensor._wrap(index)],
        lambda x, index: x[index, 0],
        lambda x, index: x.gather(0, index[:, None]),
        lambda x, index: x.take_along_axis(index[:, None], 0),
        lambda x, index: x.index_select(0, index),
    ):
        x = Tensor(np.ones((3, 1)), requires_grad=True, device=device)
        index = Tensor([0, 0, 1], device=device).data
        y = call(x, index).sum()
        index[:] = 2
        y.backward()
        assert x.grad.numpy().tolist() == [[2], [1], [0]]


def test_iteration_gives_rows(device):
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, device=device)
    rows = list(x)
    assert len(x) == len(rows) == 3
    (rows[0] * 2 + rows[2]).sum().backward()
    assert x.grad.numpy().tolist() == [[2, 2], [0, 0], [1, 1]]


def test_infinite_gradients_stay_where_they_belong(device):
    x = Tensor(np.ones(3), requires_grad=True, device=device)
    x[[1, 1]].backward(Tensor([np.inf, 1.0], dtype="float64", device=device))
    assert x.grad.numpy().tolist() == [0, np.inf, 0]


# ---- along one axis: gather, take_along_axis, index_select, index_add


def one(ours, shape, numpy, torch=None):
    return Case(ours, (shape,), numpy, torch or numpy)


def indexed(array):
    """The index for each kind of input: an array beside NumPy's, beside ours on its device, beside PyTorch's."""

    def beside(x):
        if isinstance(x, np.ndarray):
            return array
        if isinstance(x, Tensor):
            return Tensor(array, device=x.device)
        return pytest.importorskip("torch", reason="PyTorch is not installed").from_numpy(array)

    return beside


def gathers(shape, axis, index):
    index, at = indexed(np.array(index)), axis % max(len(shape), 1)
    return one(
        lambda x: x.gather(axis, index(x)),
        shape,
        lambda x: oracle.gather(x, at, index(x)),
        lambda x: x.gather(axis, index(x)),
    )


def takes(shape, axis, indices):
    indices = indexed(np.array(indices))
    return one(
        lambda x: x.take_along_axis(indices(x), axis),
        shape,
        lambda x: np.take_along_axis(x, indices(x), axis),
        lambda x: x.take_along_dim(indices(x), axis),
    )


def selects(shape, axis, index):
    index = indexed(np.array(index, int))
    return one(
        lambda x: x.index_select(axis, index(x)),
        shape,
        lambda x: np.take(x, np.atleast_1d(index(x)), axis),
        lambda x: x.index_select(axis, index(x)),
    )


def adds(shape, axis, index, alpha=1):
    source = list(shape)
    source[axis], at, index = len(index), axis % len(shape), indexed(np.array(index, int))
    return Case(
        lambda x, s: x.index_add(axis, index(x), s, alpha=alpha),
        (shape, tuple(source)),
        lambda x, s: oracle.index_add(x, at, index(x), s, alpha),
        lambda x, s: x.index_add(axis, index(x), s, alpha=alpha),
    )


ALONG_AN_AXIS = {
    "gather": gathers((2, 3), 1, [[2, 2, 0], [1, 0, 1]]),
    "gather the first axis": gathers((3, 2), 0, [[2, 0], [2, 1], [0, 0], [2, 2]]),
    "gather the middle": gathers((2, 3, 4), 1, np.arange(16).reshape(2, 2, 4) % 3),
    "gather, counted from the end": gathers((2, 3, 4), -2, np.arange(16).reshape(2, 2, 4) % 3),
    "gather less of every axis": gathers((3, 4, 2), 1, [[[3], [3]]]),
    "gather nothing": gathers((2, 3), 1, np.zeros((2, 0), int)),
    "gather from nothing": gathers((0, 3), 1, np.zeros((0, 2), int)),
    "take along an axis": takes((2, 3), 1, [[2, 2, 0], [1, 0, 1]]),
    "take along the first axis": takes((3, 2), 0, [[2, 0], [2, 1], [0, 0], [2, 2]]),
    "take, indices repeated": takes((2, 3, 2), 1, [[[2], [1]]]),
    "take, x repeated": takes((1, 3), 1, [[2, 1], [0, 2], [2, 2]]),
    "take, both repeated": takes((1, 3, 2), 1, [[[2], [2]], [[0], [1]], [[1], [1]]]),
    "take from everything": takes((2, 3), None, [5, 0, 5]),
    "take nothing": takes((2, 3), 0, np.zeros((0, 3), int)),
    "select": selects((2, 3, 2), 1, [2, 0, 2]),
    "select the first axis": selects((3, 2), 0, [2, 2]),
    "select, counted from the end": selects((3, 2), -1, [1, 1, 0]),
    "select one": selects((3, 2), 0, 1),
    "select nothing": selects((3, 2), 1, []),
    "add": adds((2, 3, 2), 1, [2, 0, 2]),
    "add to the first axis": adds((3, 2), 0, [1, 1, 1, 2], alpha=-0.5),
    "add, counted from the end": adds((3, 2), -1, [1], alpha=2),
    "add nothing": adds((3, 2), 0, []),
}


@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_along_an_axis(name, device):
    check_value(ALONG_AN_AXIS[name], device)
    check_derivatives(ALONG_AN_AXIS[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", ALONG_AN_AXIS)
def test_along_an_axis_against_torch(name):
    check_torch(ALONG_AN_AXIS[name])


def test_negative_indices_of_take_along_axis(device):
    """NumPy's count from the end; gather and index_select, which are PyTorch's, know none."""
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, device=device)
    y = x.take_along_axis(Tensor([[-1, -3], [0, -1]], device=device), axis=1)
    assert host(y).tolist() == [[2, 0], [3, 5]]
    y.backward(Tensor([[1.0, 2.0], [4.0, 8.0]], dtype="float64", device=device))
    assert host(x.grad).tolist() == [[2, 0, 1], [4, 0, 8]]


@st.composite
def gatherings(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    axis = draw(st.integers(0, len(shape) - 1))
    smaller = tuple(draw(st.integers(0, 4 if i == axis else n)) for i, n in enumerate(shape))
    return shape, axis, smaller, draw(st.integers(0, 99))


@given(case=gatherings())
def test_any_gathering(case, device):
    """Value and gradient of gather, and index_add, whose gradient to the source is index_select."""
    shape, axis, smaller, seed = case
    rng = np.random.default_rng(seed)
    array, index, g = rng.standard_normal(shape), rng.integers(0, shape[axis], smaller), rng.standard_normal(smaller)
    x = Tensor(array, requires_grad=True, device=device)
    y = x.gather(axis, Tensor(index, device=device))
    assert_close(y, oracle.gather(array, axis, index), 0)
    expected = np.zeros(shape)
    for place in np.ndindex(smaller):
        expected[(*place[:axis], index[place], *place[axis + 1 :])] += g[place]
    assert_close(minidl.grad(y, [x], Tensor(g, device=device))[0], expected, 1e-14)

    vector = rng.integers(0, shape[axis], smaller[axis])
    source = rng.standard_normal([len(vector) if i == axis else n for i, n in enumerate(shape)])
    s, v = Tensor(source, requires_grad=True, device=device), Tensor(vector, device=device)
    y = x.index_add(axis, v, s, alpha=3)
    assert_close(y, oracle.index_add(array, axis, vector, source, 3), 1e-14)
    g = rng.standard_normal(shape)
    to_x, to_source = minidl.grad(y, [x, s], Tensor(g, device=device))
    assert_close(to_x, g, 0)
    assert_close(to_source, 3 * np.take(g, vector, axis), 1e-14)


def test_tensors_without_axes_have_one(device):
    """As in PyTorch, where a number can be indexed as a vector of one element."""
    x = Tensor(3.0, requires_grad=True, device=device)
    for index, shape in (0, ()), ([0], (1,)):
        rows = Tensor(index, device=device)
        selected, added = x.index_select(-1, rows), x.index_add(0, rows, Tensor(2.0, device=device), alpha=0.5)
        for y, value, expected in [(x.gather(0, rows), 3, shape), (selected, 3, ()), (added, 4, ())]:
            assert (y.item(), y.shape) == (value, expected)
            assert minidl.grad(y * y, [x], Tensor(np.ones(y.shape, np.float32), device=device))[0].item() == 2 * value
    assert host(x.gather(0, Tensor([0, 0], device=device))).tolist() == [3, 3]
    assert Tensor([3.0, 4.0], device=device).gather(0, Tensor(1, device=device)).shape == ()


@pytest.mark.torch
def test_tensors_without_axes_against_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    x, theirs = Tensor(3.0), torch.tensor(3.0)
    for index in (0, [0]):
        ours, other = Tensor(index), torch.tensor(index)
        for y, expected in [
            (x.gather(0, ours), theirs.gather(0, other)),
            (x.index_select(-1, ours), theirs.index_select(-1, other)),
            (x.index_add(0, ours, Tensor(2.0)), theirs.index_add(0, other, torch.tensor(2.0))),
        ]:
            assert (y.shape, y.item()) == (tuple(expected.shape), expected.item())


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64", "bool", "float16", "float32"])
def test_every_dtype_is_indexed_and_added(dtype, device):
    """A GPU cannot add all integers atomically; the result must be the same all the same."""
    values = np.array([1, 0, 1, 100]).astype(dtype)
    x, source = Tensor(values, device=device), Tensor(values[:3], device=device)
    rows = Tensor([2, 0, 2], device=device)
    assert x[rows].dtype == x.gather(0, rows).dtype == x.index_select(0, rows).dtype == dtype
    y = x.index_add(0, rows, source)
    expected = values.copy()
    np.add.at(expected, [2, 0, 2], values[:3])
    assert y.dtype == dtype
    np.testing.assert_array_equal(host(y), expected)


def test_sums_of_negative_integers(device):
    x, source = Tensor([-5, 3], device=device), Tensor([-7, -7, 2], device=device)
    assert host(x.index_add(0, Tensor([0, 0, 1], device=device), source, alpha=-2)).tolist() == [23, -1]


def test_raw_arrays_stay_raw(device):
    from minidl.ops.indexing import gather, getitem, index_add, index_select, take_along_axis

    x, rows = Tensor([1.0, 2.0, 4.0], device=device).data, Tensor([2, 0], device=device).data
    for y, expected in [
        (getitem(x, rows), [4, 1]),
        (gather(x, 0, rows), [4, 1]),
        (take_along_axis(x, rows), [4, 1]),
        (index_select(x, 0, rows), [4, 1]),
        (index_add(x, 0, rows, x[:2]), [3, 2, 5]),
    ]:
        assert backend.is_array(y)
        assert host(y).tolist() == expected


# ---- devices


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


NEVER_WAITS = {
    "slices": lambda x, rows: x[1:, ::-1],
    "integers": lambda x, rows: x[1, -1] * x,
    "a list": lambda x, rows: x[[1, 1]],
    "an array": lambda x, rows: x[rows],
    "an array and a slice": lambda x, rows: x[:, rows],
    "gather": lambda x, rows: x.gather(1, rows[:, None]),
    "take_along_axis": lambda x, rows: x.take_along_axis(rows[:, None], 1),
    "index_select": lambda x, rows: x.index_select(1, rows),
    "index_add": lambda x, rows: x.index_add(1, rows, x[:, :2]),
}


@pytest.mark.parametrize("name", NEVER_WAITS)
def test_on_a_second_gpu_without_waiting(name, fake_gpu):
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, device="gpu:1")
    rows = Tensor([1, 1], device="gpu:1")
    with fakecupy.count_synchronisations() as log:
        y = NEVER_WAITS[name](x, rows)
        (g,) = minidl.grad(y, [x], Tensor._wrap(y.data), create_graph=True)
    assert log.places == []
    assert str(y.device) == str(g.device) == "gpu:1"


def test_a_mask_waits_for_its_number_of_elements(fake_gpu):
    x = Tensor(np.arange(3.0), device="gpu:1")
    mask = x > 0
    with fakecupy.count_synchronisations() as log:
        assert x[mask].shape == (2,)
    assert len(log.places) == 1


def test_an_index_on_another_device(fake_gpu):
    x, rows = Tensor(np.ones((2, 3)), device="gpu"), np.array([0, 1])
    for name, call in {
        "getitem": lambda: x[rows],
        "gather": lambda: x.gather(0, rows[:, None]),
        "take_along_axis": lambda: x.take_along_axis(rows[:, None], 0),
        "index_select": lambda: x.index_select(0, rows),
        "index_add": lambda: x.index_add(0, rows, x),
    }.items():
        with pytest.raises(minidl.DeviceError, match=rf"{name}: .*operand 0 .*gpu:0, operand 1 .*cpu.*\.to\("):
            call()
    with pytest.raises(minidl.DeviceError, match=r"getitem: .*operand 1 .*gpu:1"):
        x[Tensor(rows, device="gpu:1")]
    assert_close(x[[0, 1]], np.ones((2, 3)), 0)


# ---- wrong calls

ROWS = np.array([0, 1])
WRONG = [
    (lambda x: x[2], IndexError, r"getitem: index 2 is out of bounds for axis 0 with size 2, .* of shape \(2, 3\)"),
    (lambda x: x[[0, 5]], IndexError, r"getitem: index 5 is out of bounds .*, in a tensor of shape \(2, 3\)"),
    (lambda x: x[:, np.array([-4])], IndexError, "getitem: index -4 is out of bounds for axis 1"),
    (lambda x: x[0, 0, 0], IndexError, "getitem: too many indices"),
    (lambda x: x[..., 0, ...], IndexError, "getitem: an index can only have a single ellipsis"),
    (lambda x: x[0.5], IndexError, "getitem: expected integers, slices"),
    (lambda x: x[[0.5]], IndexError, "getitem: arrays used as indices must be of integer"),
    (lambda x: x[Tensor([0.0])], IndexError, "getitem: arrays used as indices must be of integer"),
    (lambda x: x[np.zeros((1, 0))], IndexError, "getitem: arrays used as indices must be of integer"),
    (lambda x: x["a"], IndexError, "getitem: expected integers, slices"),
    (lambda x: x[{}], IndexError, "getitem: expected integers, slices"),
    (lambda x: x[0.5:], TypeError, r"getitem: slice indices must be integers .*\(2, 3\)"),
    (lambda x: x[::0], ValueError, r"getitem: slice step cannot be zero, in a tensor of shape \(2, 3\)"),
    (lambda x: x[[[0, 1], [0]]], ValueError, "getitem: .*inhomogeneous"),
    (lambda x: x[np.array([True, False, True])], IndexError, "getitem: boolean index did not match"),
    (lambda x: x[[0, 1], [0, 1, 2]], IndexError, "getitem: shape mismatch"),
    (
        lambda x: x.gather(2, ROWS[:, None]),
        ValueError,
        r"gather: axis 2 does not exist in a tensor of 2 dimension\(s\)",
    ),
    (
        lambda x: x.gather(1, ROWS),
        ValueError,
        r"gather: expected an index with the axes of the input \(2, 3\), no larger except on axis 1, got shape \(2,\)",
    ),
    (lambda x: x.gather(1, np.zeros((3, 3), int)), ValueError, r"gather: .* got shape \(3, 3\)"),
    (lambda x: x.gather(1, np.array([[3]])), IndexError, r"gather: index 3 does not exist on axis 1 of shape \(2, 3\)"),
    (lambda x: x.gather(1, np.array([[-1]])), IndexError, r"gather: index -1 does not exist on axis 1"),
    (lambda x: x.gather(1, [[0], [1]]), TypeError, "gather: expected a Tensor or an array, got list"),
    (lambda x: x.gather(1, np.array([[0.0]])), TypeError, "gather: expected integers as index, got float64"),
    (lambda x: x.gather(1, x > 0), TypeError, "gather: expected integers as index, got bool"),
    (lambda x: x.take_along_axis(ROWS, 1), ValueError, r"take_along_axis: expected indices with the 2 axes .*\(2,\)"),
    (lambda x: x.take_along_axis(ROWS[:, None], None), ValueError, r"take_along_axis: .* the 1 axes of \(6,\)"),
    (lambda x: x.take_along_axis(np.zeros((3, 1), int), 1), ValueError, "take_along_axis: shapes do not broadcast"),
    (
        lambda x: x.take_along_axis(np.array([[-4]]), 1),
        IndexError,
        "take_along_axis: index -4 does not exist on axis 1",
    ),
    (lambda x: x.take_along_axis(np.array([[3]]), 1), IndexError, "take_along_axis: index 3 does not exist on axis 1"),
    (lambda x: x.take_along_axis(np.array([[0.5]]), 1), TypeError, "take_along_axis: expected integers as index"),
    (lambda x: x.sum().take_along_axis(ROWS, 0), ValueError, "take_along_axis: axis 0 does not exist in a tensor of 0"),
    (lambda x: x.index_select(2, ROWS), ValueError, "index_select: axis 2 does not exist"),
    (lambda x: x.index_select(1, ROWS[:, None]), ValueError, r"index_select: expected a vector of indices.*\(2, 1\)"),
    (lambda x: x.index_select(0, np.array([2])), IndexError, "index_select: index 2 does not exist on axis 0"),
    (lambda x: x.index_select(0, [0]), TypeError, "index_select: expected a Tensor or an array, got list"),
    (
        lambda x: x.sum().index_select(0, ROWS * 0),
        ValueError,
        "index_select: .* without axes expected one index, got 2",
    ),
    (lambda x: x.index_add(2, ROWS, x), ValueError, "index_add: axis 2 does not exist"),
    (
        lambda x: x.index_add(1, ROWS, x),
        ValueError,
        r"index_add: for 2 indices along axis 1 of \(2, 3\) expected a source of shape \(2, 2\), got \(2, 3\)",
    ),
    (lambda x: x.index_add(0, ROWS[:1], x[0]), ValueError, r"index_add: .* shape \(1, 3\), got \(3,\)"),
    (lambda x: x.sum().index_add(0, ROWS[:1], x[0, :1]), ValueError, r"index_add: .* of \(\) expected .* got \(1,\)"),
    (lambda x: x.index_add(0, np.array([0, 2]), x), IndexError, "index_add: index 2 does not exist on axis 0"),
    (lambda x: x.index_add(0, ROWS, x.astype("float32")), TypeError, "index_add: the input is float64 and the source"),
    (lambda x: x.index_add(0, ROWS, [[1.0]]), TypeError, "index_add: expected a Tensor or an array, got list"),
    (lambda x: x.index_add(0, ROWS, x, alpha="2"), TypeError, "index_add: for float64 expected a number as alpha"),
    (
        lambda x: x.astype("int64").index_add(0, ROWS, x.astype("int64"), alpha=0.5),
        TypeError,
        "index_add: for int64 expected a whole number as alpha, got 0.5",
    ),
    (lambda x: x.index_add(0, ROWS, x, 2), TypeError, "positional argument"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), requires_grad=True))


def test_a_number_has_nothing_to_index(device):
    (x,) = leaves([np.array(2.0)], device)
    with pytest.raises(IndexError, match=r"getitem: .*, in a tensor of shape \(\)"):
        x[0]
