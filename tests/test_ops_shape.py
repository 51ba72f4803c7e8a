"""Operations that move elements: values, derivatives, every kind of index, wrong calls."""

import fakecupy
import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from judge import assert_close, host, scattered

import minidl
from minidl import Tensor, backend
from minidl.ops.shape import split as split_op

MASK = np.array([[True, False, True], [False, False, True]])


def one(shape, ours, numpy=None, torch=None):
    return Case(ours, (shape,), numpy, torch)


def weighed(pieces):
    """A number that depends on every piece in its own way, and on a third one not at all."""
    weights = [2.0, -3.0, 0.0]
    return sum(
        ((piece * piece).sum() * weight for piece, weight in zip(pieces, weights, strict=False)), 0 * pieces[0].sum()
    )


CASES = named(
    {
        "reshape": one((2, 6), lambda x: x.reshape(3, 4)),
        "reshape to one axis": one((2, 3), lambda x: x.reshape(-1)),
        "reshape with a rest": one((2, 6), lambda x: x.reshape((4, -1))),
        "reshape to a scalar": one((1, 1), lambda x: x.reshape(()), lambda x: x.reshape(())),
        "reshape of a scalar": one((), lambda x: x.reshape(1, 1)),
        "reshape of nothing": one((0, 3), lambda x: x.reshape(3, 0)),
        "reshape of a transpose": one((2, 3), lambda x: x.T.reshape(2, 3)),
        "flatten": one((2, 3, 2), lambda x: x.flatten()),
        "flatten from 1": one((2, 3, 2), lambda x: x.flatten(1), lambda x: x.reshape(2, 6)),
        "flatten from 0 to 1": one((2, 3, 2), lambda x: x.flatten(0, 1), lambda x: x.reshape(6, 2)),
        "flatten one axis": one((2, 3), lambda x: x.flatten(-1), lambda x: x),
        "flatten a scalar": one((), lambda x: x.flatten()),
        "flatten nothing": one((0, 2, 3), lambda x: x.flatten(1), lambda x: x.reshape(0, 6)),
        "transpose": one((2, 3, 4), lambda x: x.transpose(2, 0, 1), torch=lambda x: x.permute(2, 0, 1)),
        "transpose, reversed": one((2, 3, 4), lambda x: x.transpose(), torch=lambda x: x.permute(2, 1, 0)),
        "permute": one((2, 3, 4), lambda x: x.permute((1, -1, 0)), lambda x: x.transpose(1, 2, 0)),
        "T": one((2, 3), lambda x: x.T),
        "T of a vector": one((3,), lambda x: x.T, torch=lambda x: x),
        "T of a scalar": one((), lambda x: x.T, torch=lambda x: x),
        "T of nothing": one((0, 2), lambda x: x.T),
        "swapaxes": one((2, 3, 4), lambda x: x.swapaxes(0, -1)),
        "squeeze": one((1, 3, 1), lambda x: x.squeeze()),
        "squeeze an axis": one((1, 3, 1), lambda x: x.squeeze(-1)),
        "squeeze two axes": one((1, 3, 1), lambda x: x.squeeze((0, 2))),
        "squeeze to a scalar": one((1, 1), lambda x: x.squeeze()),
        "unsqueeze": one((2, 3), lambda x: x.unsqueeze(1), lambda x: x[:, None]),
        "unsqueeze last": one((2, 3), lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
        "unsqueeze a scalar": one((), lambda x: x.unsqueeze(0), lambda x: x.reshape(1)),
        "pad": one(
            (2, 3),
            lambda x: x.pad(((1, 0), (2, 3))),
            lambda x: np.pad(x, ((1, 0), (2, 3))),
            lambda x: x.new_zeros(3, 8).slice_scatter(x.new_zeros(2, 8).slice_scatter(x, 1, 2, 5), 0, 1, 3),
        ),
        "pad with a value": one(
            (2, 2),
            lambda x: x.pad([(0, 1), (1, 0)], value=-1.5),
            lambda x: np.pad(x, [(0, 1), (1, 0)], constant_values=-1.5),
            lambda x: x.new_full((3, 3), -1.5).slice_scatter(
                x.new_full((2, 3), -1.5).slice_scatter(x, 1, 1, 3), 0, 0, 2
            ),
        ),
        "pad by nothing": one((2, 2), lambda x: x.pad(((0, 0), (0, 0))) * 1, lambda x: x, lambda x: x * 1),
        "pad nothing": one(
            (0, 2), lambda x: x.pad(((1, 1), (0, 0))), lambda x: np.zeros((2, 2)), lambda x: x.new_zeros(2, 2) + x.sum()
        ),
        "concatenate": Case(
            lambda a, b, c: minidl.concatenate([a, b, c]),
            ((1, 3), (2, 3), (0, 3)),
            lambda *x: np.concatenate(x),
            lambda *x: torch_cat(x, 0),
        ),
        "concatenate the last axis": Case(
            lambda a, b: minidl.concatenate((a, b), axis=-1),
            ((2, 3), (2, 1)),
            lambda *x: np.concatenate(x, -1),
            lambda *x: torch_cat(x, -1),
        ),
        "concatenate one twice": Case(
            lambda a, b: minidl.concatenate((a, b, a), axis=1),
            ((2, 3), (2, 1)),
            lambda a, b: np.concatenate((a, b, a), 1),
            lambda a, b: torch_cat((a, b, a), 1),
        ),
        "concatenate a single one": one((2, 3), lambda x: minidl.concatenate([x]), lambda x: x, lambda x: x),
        "stack": Case(
            lambda a, b: minidl.stack([a, b]), ((2, 3), (2, 3)), lambda *x: np.stack(x), lambda *x: torch_stack(x, 0)
        ),
        "stack last": Case(
            lambda a, b: minidl.stack([a, b], -1),
            ((2, 3), (2, 3)),
            lambda *x: np.stack(x, -1),
            lambda *x: torch_stack(x, -1),
        ),
        "stack scalars": Case(
            lambda a, b: minidl.stack([a, b]), ((), ()), lambda *x: np.stack(x), lambda *x: torch_stack(x, 0)
        ),
        "split, first piece used": one((5, 2), lambda x: x.split(2)[0] * 2, lambda x: x[:2] * 2),
        "split, last piece used": one((5, 2), lambda x: x.split([1, 4])[-1], lambda x: x[1:]),
        "split, all pieces used": one(
            (2, 7),
            lambda x: weighed(x.split([2, 0, 5], axis=1)),
            lambda x: weighed(np.split(x, [2, 2], 1)),
            lambda x: weighed(x.split([2, 0, 5], 1)),
        ),
        "split, some used twice": one(
            (2, 5),
            lambda x: weighed(x.split(2, -1)),
            lambda x: weighed(np.split(x, [2, 4], 1)),
            lambda x: weighed(x.split(2, -1)),
        ),
        "split into one": one((2, 3), lambda x: x.split(4)[0], lambda x: x),
    }
)


def torch_cat(tensors, axis):
    return pytest.importorskip("torch", reason="PyTorch is not installed").cat(tensors, axis)


def torch_stack(tensors, axis):
    return pytest.importorskip("torch", reason="PyTorch is not installed").stack(tensors, axis)


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


@pytest.mark.parametrize(
    "ours",
    [
        lambda x: x.reshape(6) ** 2,
        lambda x: x.T.flatten() ** 2,
        lambda x: x[1:, ::-2] ** 2,
        lambda x: x[[1, 1, 0]] ** 2,
        lambda x: x.pad(((1, 0), (0, 2))) ** 2,
        lambda x: minidl.concatenate([x, x.T.reshape(2, 3)]) ** 2,
        lambda x: x.split(2, axis=1)[0] ** 2,
    ],
)
def test_memory_that_is_not_contiguous(ours, device):
    check_derivatives(Case(lambda x: ours(scattered(x)), ((2, 3),)), device)


# ---- indexing

INDICES = {
    "an integer": ((3, 4), 1),
    "a negative integer": ((3, 4), -1),
    "a numpy integer": ((3, 4), np.int32(2)),
    "all integers": ((3, 4), (2, -1)),
    "a slice": ((5, 2), slice(1, 4)),
    "a slice with a step": ((5, 2), slice(None, None, 2)),
    "a slice backwards": ((5, 2), slice(None, None, -2)),
    "a slice of nothing": ((5, 2), slice(3, 3)),
    "slices and integers": ((3, 4, 2), (slice(1, None), 2, slice(None, None, -1))),
    "an ellipsis": ((2, 3, 2), (..., 1)),
    "only an ellipsis": ((2, 3), ...),
    "nothing, of a scalar": ((), ()),
    "a new axis": ((2, 3), (None, slice(None), None, 1)),
    "a list": ((4, 2), [2, 0]),
    "a list with duplicates": ((4, 2), [1, 1, -3, 1]),
    "an empty list": ((4, 2), []),
    "a range": ((4, 2), range(3)),
    "a list of booleans": ((3, 2), [True, False, True]),
    "nested lists": ((4, 2), [[0, 1], [1, 1]]),
    "an array": ((4, 2), np.array([3, 3, 0])),
    "an array in a tuple": ((3, 4), (slice(None), np.array([1, 1, 2]))),
    "an array of no dimensions": ((3, 2), np.array(1)),
    "arrays that broadcast": ((3, 4), (np.array([[0], [2]]), np.array([1, 1]))),
    "arrays apart": ((2, 3, 4), (np.array([0, 1, 1]), slice(None), np.array([3, 0, 0]))),
    "an array and an integer": ((2, 3, 4), (1, np.array([0, 0]))),
    "an array of unsigned integers": ((4, 2), np.array([1, 1], np.uint8)),
    "tuples in a tuple": ((3, 4), ((0, 0, 1), (2, 2, 3))),
    "lists in a tuple": ((3, 4), ([0, 0], slice(1, 3))),
    "a mask": ((2, 3), MASK),
    "a mask of the first axis": ((3, 2), np.array([True, False, True])),
    "a mask of the last axis": ((2, 3), (slice(None), MASK[0])),
    "a mask that is nowhere true": ((2, 3), MASK & ~MASK),
    "a mask and an integer": ((2, 3, 2), (MASK, 1)),
    "a mask and duplicates": ((2, 3, 2), (MASK, np.array([1, 1, 1]))),
    "of nothing": ((0, 2), slice(None)),
}


UNKNOWN_TO_TORCH = {"a slice backwards", "slices and integers", "nested lists", "an array of unsigned integers"}


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


def test_indices_may_be_tensors(device):
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, device=device)
    rows, mask = Tensor([2, 2], device=device), Tensor(x > 3)
    assert x[rows].numpy().tolist() == [[4, 5], [4, 5]]
    assert x[rows, 1].numpy().tolist() == [5, 5]
    assert x[mask].numpy().tolist() == [4, 5]
    x[rows].sum().backward()
    assert x.grad.numpy().tolist() == [[0, 0], [0, 0], [2, 2]]


def test_an_index_is_copied(device):
    """It may be filled again before backward."""
    for given in (lambda index: index, lambda index: Tensor._wrap(index), lambda index: (index, 0)):
        x = Tensor(np.ones((3, 1)), requires_grad=True, device=device)
        index = Tensor([0, 0, 1], device=device).data
        y = x[given(index)].sum()
        index[:] = 2
        y.backward()
        assert x.grad.numpy().tolist() == [[2], [1], [0]]


def test_iteration_gives_rows(device):
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, device=device)
    rows = list(x)
    assert len(x) == len(rows) == 3
    (rows[0] * 2 + rows[2]).sum().backward()
    assert x.grad.numpy().tolist() == [[2, 2], [0, 0], [1, 1]]


# ---- dtypes


def test_concatenate_and_stack_promote_like_arithmetic(device):
    single, double = (Tensor(np.ones(2), dtype=d, requires_grad=True, device=device) for d in ("float32", "float64"))
    whole = Tensor([1, 2], device=device)
    for join in (minidl.concatenate, minidl.stack):
        assert join([single, whole]).dtype == np.float32
        assert join([whole, whole]).dtype == np.int64
        y = join([single, double])
        assert y.dtype == np.float64
        y.sum().backward()
        assert (single.grad.dtype, double.grad.dtype) == (np.float32, np.float64)


def test_arrays_and_generators_can_be_joined(device):
    x = Tensor([1.0], requires_grad=True, device=device)
    assert minidl.concatenate([x, x.data]).numpy().tolist() == [1, 1]
    assert minidl.concatenate(x * i for i in range(3)).numpy().tolist() == [0, 1, 2]
    assert minidl.stack(x * i for i in range(2)).shape == (2, 1)


def test_integers_and_booleans_move_too(device):
    x = Tensor([[1, 2], [3, 4]], device=device)
    for y, expected in [
        (x.T, [[1, 3], [2, 4]]),
        (x[1, ::-1], [4, 3]),
        (x.pad(((0, 0), (1, 0))), [[0, 1, 2], [0, 3, 4]]),
        (minidl.concatenate([x, x], 1)[0], [1, 2, 1, 2]),
    ]:
        assert y.dtype == np.int64
        assert y.numpy().tolist() == expected
    assert Tensor(x > 1).reshape(4).numpy().tolist() == [False, True, True, True]


# ---- outputs of split


def test_the_pieces_of_split(device):
    x = Tensor(np.arange(7.0), device=device)
    assert [piece.numpy().tolist() for piece in x.split(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [piece.shape for piece in x.split((2, 0, 5))] == [(2,), (0,), (5,)]
    assert [piece.shape for piece in x.split(np.int64(4))] == [(4,), (3,)]
    assert [piece.shape for piece in x[:0].split(2)] == [(0,)]
    assert x[:0].split([]) == ()


def test_pieces_nobody_used_have_gradient_zero(device):
    x = Tensor(np.arange(6.0), requires_grad=True, device=device)
    _, middle, _ = x.split(2)
    (middle * middle).sum().backward()
    assert x.grad.numpy().tolist() == [0, 0, 4, 6, 0, 0]


def test_one_piece_is_differentiable_too(device):
    x = Tensor(np.arange(3.0), requires_grad=True, device=device)
    for sizes in (3, 5, [3]):
        x.zero_grad()
        pieces = x.split(sizes)
        assert len(pieces) == 1
        (pieces[0] * pieces[0]).sum().backward()
        assert x.grad.numpy().tolist() == [0, 2, 4]
        minidl.gradgradcheck(lambda x, sizes=sizes: x.split(sizes)[0] ** 2, [x])


def test_split_of_a_raw_array():
    pieces = split_op(np.arange(3.0), 2)
    assert [host(piece).tolist() for piece in pieces] == [[0, 1], [2]]


# ---- wrong calls

X = np.ones((2, 3))
WRONG = [
    (lambda x: x.reshape(4), ValueError, r"reshape: 6 elements of shape \(2, 3\) do not fill shape \(4,\)"),
    (lambda x: x.reshape(-1, 4), ValueError, r"reshape: .* do not fill shape \(-1, 4\)"),
    (lambda x: x.reshape(-1, -1), ValueError, "reshape: .* do not fill"),
    (lambda x: x.reshape(-2, -3), ValueError, "reshape: .* do not fill"),
    (lambda x: x.reshape(0, -1), ValueError, "reshape: .* do not fill"),
    (lambda x: x.reshape(2.0, 3), TypeError, "reshape: expected whole numbers"),
    (lambda x: x.reshape("a"), TypeError, "reshape: expected whole numbers"),
    (lambda x: x.flatten(2), ValueError, r"flatten: axis 2 does not exist in a tensor of 2 dimension\(s\)"),
    (lambda x: x.flatten(1, 0), ValueError, "flatten: start_dim 1 lies after end_dim 0"),
    (lambda x: x.transpose(0), ValueError, "transpose: expected each of the 2 axes once, got"),
    (lambda x: x.transpose(0, 0), ValueError, "transpose: expected each of the 2 axes once, .* use swapaxes"),
    (lambda x: x.transpose(0, 3), ValueError, "transpose: axis 3 does not exist"),
    (lambda x: x.transpose(0.0, 1), ValueError, "transpose: axis 0.0 does not exist"),
    (lambda x: x.permute(()), ValueError, "transpose: expected each of the 2 axes once"),
    (lambda x: x.swapaxes(0, 2), ValueError, "swapaxes: axis 2 does not exist"),
    (lambda x: x.squeeze(0), ValueError, r"squeeze: axis 0 of shape \(2, 3\) does not have size 1"),
    (lambda x: x.squeeze(5), ValueError, "squeeze: axis 5 does not exist"),
    (lambda x: x.unsqueeze(4), ValueError, "unsqueeze: axis 4 does not exist in a tensor of 3"),
    (lambda x: x.unsqueeze(None), ValueError, "unsqueeze: axis None does not exist"),
    (lambda x: x.split(0), ValueError, "split: expected a size of at least 1, got 0"),
    (lambda x: x.split([1, 2]), ValueError, r"split: sizes \[1, 2\] do not add up to the 2 of axis 0"),
    (lambda x: x.split([-1, 3]), ValueError, "split: sizes .* do not add up"),
    (lambda x: x.split(1, axis=2), ValueError, "split: axis 2 does not exist"),
    (lambda x: x.pad(1), ValueError, r"pad: expected 2 pairs \(before, after\) of at least 0, one an axis, got 1"),
    (lambda x: x.pad((1, 1, 2, 2)), ValueError, "pad: expected 2 pairs"),
    (lambda x: x.pad([(1, 1)]), ValueError, "pad: expected 2 pairs"),
    (lambda x: x.pad([(1, 1), (0, -1)]), ValueError, "pad: expected 2 pairs"),
    (lambda x: x.pad([(1, 1), (0.5, 0)]), ValueError, "pad: expected 2 pairs"),
    (lambda x: minidl.concatenate([]), ValueError, "concatenate: expected at least one tensor"),
    (
        lambda x: minidl.concatenate([x, x[0]]),
        ValueError,
        r"concatenate: shapes must agree except on axis 0, got \(2, 3\), \(3,\)",
    ),
    (lambda x: minidl.concatenate([x, x.T]), ValueError, "concatenate: shapes must agree except on axis 0"),
    (lambda x: minidl.concatenate([x, x], 2), ValueError, "concatenate: axis 2 does not exist"),
    (lambda x: minidl.concatenate([x, [1.0]]), TypeError, "concatenate: expected Tensors or arrays, got list"),
    (
        lambda x: minidl.concatenate([x.sum(), x.sum()]),
        ValueError,
        "concatenate: axis 0 does not exist in a tensor of 0",
    ),
    (lambda x: minidl.stack([]), ValueError, "stack: expected at least one tensor"),
    (lambda x: minidl.stack([x, 1.0]), TypeError, "stack: expected Tensors or arrays, got float"),
    (lambda x: minidl.stack([x, x.T]), ValueError, r"stack: expected tensors of one shape, got \(2, 3\), \(3, 2\)"),
    (lambda x: minidl.stack([x, x], 3), ValueError, "unsqueeze: axis 3 does not exist"),
    (lambda x: x[2], IndexError, "out of bounds"),
    (lambda x: x[[0, 5]], IndexError, "out of bounds"),
    (lambda x: x[0, 0, 0], IndexError, "too many indices"),
    (lambda x: x[0.5], IndexError, "only integers, slices"),
    (lambda x: x[[0.5]], IndexError, "must be of integer"),
    (lambda x: x["a"], IndexError, "only integers, slices"),
    (lambda x: x[np.array([True, False, True])], IndexError, "boolean index did not match"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(X, requires_grad=True))


def test_an_index_on_another_device():
    backend.set_gpu_module(fakecupy)
    try:
        x = Tensor(X, device="gpu")
        with pytest.raises(backend.DeviceError, match=r"indexing: .*operand 0 .*gpu:0, operand 1 .*cpu.*\.to\("):
            x[np.array([0, 1])]
        assert_close(x[[0, 1]], X, 0)
    finally:
        backend.set_gpu_module(None)
