"""Operations that move elements: values, derivatives, wrong calls."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from judge import host, scattered

import minidl
from minidl import Tensor
from minidl.ops.shape import split as split_op


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
        "reshape of nothing with a rest": one((0, 6), lambda x: x.reshape(2, -1, 3)),
        "reshape of nothing to one axis": one((2, 0), lambda x: x.reshape(-1)),
        "reshape of a transpose": one((2, 3), lambda x: x.T.reshape(2, 3)),
        "flatten": one((2, 3, 2), lambda x: x.flatten()),
        "flatten from 1": one((2, 3, 2), lambda x: x.flatten(1), lambda x: x.reshape(2, 6)),
        "flatten from 0 to 1": one((2, 3, 2), lambda x: x.flatten(0, 1), lambda x: x.reshape(6, 2)),
        "flatten one axis": one((2, 3), lambda x: x.flatten(-1), lambda x: x),
        "flatten a scalar": one((), lambda x: x.flatten()),
        "flatten a scalar's last axis": one((), lambda x: x.flatten(-1, 0), lambda x: x.reshape(1)),
        "unflatten": one((2, 6), lambda x: x.unflatten(1, (3, 2)), lambda x: x.reshape(2, 3, 2)),
        "unflatten with a rest": one((6, 2), lambda x: x.unflatten(-2, [2, -1]), lambda x: x.reshape(2, 3, 2)),
        "unflatten into one": one((2, 3), lambda x: x.unflatten(0, (2,)), lambda x: x),
        "unflatten of nothing": one((0, 6), lambda x: x.unflatten(1, (-1, 2)), lambda x: x.reshape(0, 3, 2)),
        "unflatten of nothing into nothing": one(
            (2, 0), lambda x: x.unflatten(1, (4, -1)), lambda x: x.reshape(2, 4, 0)
        ),
        "flatten nothing": one((0, 2, 3), lambda x: x.flatten(1), lambda x: x.reshape(0, 6)),
        "transpose": one((2, 3, 4), lambda x: x.transpose(2, 0, 1), torch=lambda x: x.permute(2, 0, 1)),
        "transpose, reversed": one((2, 3, 4), lambda x: x.transpose(), torch=lambda x: x.permute(2, 1, 0)),
        "permute": one((2, 3, 4), lambda x: x.permute((1, -1, 0)), lambda x: x.transpose(1, 2, 0)),
        "T": one((2, 3), lambda x: x.T),
        "T of a vector": one((3,), lambda x: x.T, torch=lambda x: x),
        "T of a scalar": one((), lambda x: x.T, torch=lambda x: x),
        "T of nothing": one((0, 2), lambda x: x.T),
        "swapaxes": one((2, 3, 4), lambda x: x.swapaxes(0, -1)),
        "moveaxis": one((2, 3, 4), lambda x: x.moveaxis(0, -1), lambda x: np.moveaxis(x, 0, -1)),
        "moveaxis forward": one((2, 3, 4), lambda x: x.moveaxis(2, 0), lambda x: np.moveaxis(x, 2, 0)),
        "moveaxis, two": one(
            (2, 3, 4, 1), lambda x: x.moveaxis((0, -1), (2, 0)), lambda x: np.moveaxis(x, (0, -1), (2, 0))
        ),
        "moveaxis, none": one((2, 3), lambda x: x.moveaxis((), ()), lambda x: x),
        "squeeze": one((1, 3, 1), lambda x: x.squeeze()),
        "squeeze an axis": one((1, 3, 1), lambda x: x.squeeze(-1)),
        "squeeze two axes": one((1, 3, 1), lambda x: x.squeeze((0, 2))),
        "squeeze to a scalar": one((1, 1), lambda x: x.squeeze()),
        "unsqueeze": one((2, 3), lambda x: x.unsqueeze(1), lambda x: x[:, None]),
        "unsqueeze last": one((2, 3), lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
        "unsqueeze a scalar": one((), lambda x: x.unsqueeze(0), lambda x: x.reshape(1)),
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


@pytest.mark.torch
def test_transpose_takes_all_axes_where_torch_exchanges_two(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    array = rng.standard_normal((2, 3, 4))
    ours, theirs = Tensor(array), torch.from_numpy(array)
    np.testing.assert_array_equal(host(ours.swapaxes(0, 2)), theirs.transpose(0, 2).numpy())
    np.testing.assert_array_equal(host(ours.transpose(1, 2, 0)), theirs.permute(1, 2, 0).numpy())
    with pytest.raises(ValueError, match="transpose: .* to exchange two axes use swapaxes"):
        ours.transpose(0, 2)


@pytest.mark.torch
def test_what_torch_lets_pass_is_refused():
    """An axis to squeeze that is longer than 1, and an empty vector among the tensors to be joined."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert torch.ones(2, 3).squeeze(0).shape == (2, 3)
    assert torch.cat([torch.ones(0), torch.ones(2, 3)]).shape == (2, 3)
    x, nothing = Tensor(np.ones((2, 3))), Tensor(np.ones(0))
    with pytest.raises(ValueError, match=r"squeeze: axis 0 of shape \(2, 3\) does not have size 1"):
        x.squeeze(0)
    with pytest.raises(ValueError, match=r"concatenate: shapes must agree .* got \(0,\), \(2, 3\)"):
        minidl.concatenate([nothing, x])


@pytest.mark.parametrize(
    "ours",
    [
        lambda x: x.reshape(6) ** 2,
        lambda x: x.T.flatten() ** 2,
        lambda x: minidl.concatenate([x, x.T.reshape(2, 3)]) ** 2,
        lambda x: x.split(2, axis=1)[0] ** 2,
    ],
)
def test_memory_that_is_not_contiguous(ours, device):
    check_derivatives(Case(lambda x: ours(scattered(x)), ((2, 3),)), device)


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
    (lambda x: x.reshape(-2, -3, -1), ValueError, "reshape: .* do not fill"),
    (lambda x: x[:0].reshape(-1, 0), ValueError, r"reshape: 0 elements of shape \(0, 3\) do not fill shape \(-1, 0\)"),
    (lambda x: x[:0].reshape(0, -1, 5, -1), ValueError, "reshape: 0 elements .* do not fill"),
    (lambda x: x.reshape(2.0, 3), TypeError, "reshape: expected whole numbers"),
    (lambda x: x.sum().flatten(1), ValueError, r"flatten: axis 1 does not exist in a tensor of 1 dimension\(s\)"),
    (lambda x: x.unflatten(1, (2, 2)), ValueError, r"unflatten: sizes \(2, 2\) do not fill the 3 of axis 1"),
    (lambda x: x.unflatten(1, (2, -1)), ValueError, "unflatten: sizes .* do not fill"),
    (lambda x: x.unflatten(1, (-1, -1)), ValueError, "unflatten: sizes .* do not fill"),
    (lambda x: x[:0].unflatten(0, (0, -1)), ValueError, "unflatten: sizes .* do not fill the 0 of axis 0"),
    (lambda x: x.unflatten(2, (1, 1)), ValueError, "unflatten: axis 2 does not exist"),
    (lambda x: x.unflatten(1, ()), ValueError, r"unflatten: expected a tuple of at least one size, got \(\)"),
    (lambda x: x.unflatten(1, 3), ValueError, "unflatten: expected a tuple of at least one size, got 3"),
    (lambda x: x.unflatten(1, (3.0, 1)), TypeError, r"unflatten: expected whole numbers, got \(3.0, 1\)"),
    (lambda x: x.moveaxis(0, 2), ValueError, "moveaxis: axis 2 does not exist"),
    (
        lambda x: x.moveaxis((0, 1), 0),
        ValueError,
        r"moveaxis: expected as many distinct axes as positions, got \(0, 1\) and 0",
    ),
    (lambda x: x.moveaxis((0, 0), (0, 1)), ValueError, "moveaxis: expected as many distinct axes"),
    (lambda x: x.moveaxis((0, 1), (1, -1)), ValueError, "moveaxis: expected as many distinct axes"),
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
    (lambda x: x.split(1.5), TypeError, "split: expected a size or a sequence of sizes, got 1.5"),
    (lambda x: x.split([1, 1.0]), TypeError, r"split: expected a size or a sequence of sizes, got \[1, 1.0\]"),
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
    (lambda x: minidl.stack([x, x], 3), ValueError, "stack: axis 3 does not exist in a tensor of 3"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(X, requires_grad=True))
