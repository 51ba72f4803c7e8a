"""Broadcasting and its adjoint; how operands of different kinds are brought together."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value
from judge import assert_close

from minidl import Tensor
from minidl.backend import is_array
from minidl.ops.broadcast import broadcast_to, common_shape, floating, operands, promoted, sum_to

EXPANSIONS = {
    "a new axis": ((3,), (2, 3), (2, 3)),
    "an axis of one": ((2, 1), (2, 4), (2, 4)),
    "both": ((1, 3), (4, 2, 3), (4, 2, 3)),
    "in the middle": ((2, 1, 3), (2, 5, 3), (-1, 5, -1)),
    "a new axis beside one that is kept": ((3, 1), (2, 3, 4), (2, -1, 4)),
    "a scalar": ((), (2, 3), (2, 3)),
    "to itself": ((2, 3), (2, 3), (-1, -1)),
    "to nothing": ((1, 3), (0, 3), (0, 3)),
    "of nothing": ((0, 1), (0, 2), (0, 2)),
    "one to one": ((1,), (1, 1, 1), (1, 1, 1)),
}
CASES = {
    name: Case(
        lambda x, sizes=sizes: x.expand(*sizes),
        (shape,),
        lambda x, result=result: np.broadcast_to(x, result),
    )
    for name, (shape, result, sizes) in EXPANSIONS.items()
}


@pytest.mark.parametrize("name", CASES)
def test_expand(name, device):
    check_value(CASES[name], device)
    check_derivatives(CASES[name], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
def test_expand_against_torch(name):
    check_torch(CASES[name])


@pytest.mark.parametrize("name", EXPANSIONS)
def test_sum_to_is_the_adjoint_of_broadcast_to(name, rng, device):
    """⟨u, broadcast(x)⟩ = ⟨sum_to(u), x⟩ for all u and x; on raw arrays and on Tensors alike."""
    shape, result, _ = EXPANSIONS[name]
    x, u = (Tensor(rng.standard_normal(s), device=device) for s in (shape, result))
    assert_close((u * broadcast_to(x, result)).sum(), (sum_to(u, shape) * x).sum(), 1e-12)
    assert sum_to(u, shape).shape == sum_to(u.data, shape).shape == shape
    assert_close(sum_to(u, shape), Tensor(sum_to(u.data, shape)), 0)


def test_sum_to_gives_back_what_needs_no_sum(device):
    u = Tensor(np.ones((2, 3)), device=device)
    assert sum_to(u, (2, 3)) is u


def test_expand_takes_one_tuple_or_several_sizes(device):
    x = Tensor([[1.0], [2.0]], device=device)
    expected = [[1, 1, 1], [2, 2, 2]]
    assert x.expand(2, 3).numpy().tolist() == x.expand((2, 3)).numpy().tolist() == expected
    assert x.expand([-1, 3]).numpy().tolist() == expected


@pytest.mark.parametrize("sizes", [(3,), (2, 4), (2, 3, 1), (-1, 2, 3), (0, 3), (2, -2)])
def test_wrong_expansions(sizes):
    with pytest.raises(ValueError, match=r"^expand: shape \(2, 3\) cannot be repeated to \("):
        Tensor(np.ones((2, 3))).expand(*sizes)


def test_expansion_to_what_is_no_shape():
    for sizes in [(2.0, 3), ("a",), ([2, None],)]:
        with pytest.raises(TypeError, match="expand: expected whole numbers, got "):
            Tensor(np.ones((2, 3))).expand(*sizes)


# ---- operands


@pytest.mark.parametrize(
    ("a", "b", "dtypes"),
    [
        (np.ones(2, np.float32), 2, ("float32", "float32")),
        (np.ones(2, np.float32), np.float64(2), ("float32", "float32")),
        (np.ones((), np.float32), 0.5, ("float32", "float32")),
        (np.ones(2, np.int64), 2, ("int64", "int64")),
        (np.ones(2, np.int32), 0.5, ("int32", "float32")),
        (np.ones(2, bool), 2, ("bool", "int64")),
        (np.ones(2, bool), True, ("bool", "bool")),
        (np.ones(2, np.float16), np.ones(2, np.int64), ("float16", "float16")),
        (np.ones(2, np.int64), np.ones(2, np.float32), ("float32", "float32")),
        (np.ones(2, np.float32), np.ones(2, np.float64), ("float32", "float64")),
        (np.ones(2, np.float32), np.array(0.5), ("float32", "float32")),
        (np.ones(2, np.int64), np.array(2), ("int64", "int64")),
        (np.ones(2, np.int32), np.array(0.5), ("int32", "float32")),
        (np.ones(2, np.uint8), np.array(True), ("uint8", "uint8")),
        (np.ones(2, bool), np.array(2), ("bool", "int64")),
        (np.ones((), np.float32), np.array(0.5), ("float32", "float64")),
    ],
)
def test_operands_in_their_dtypes(a, b, dtypes, device):
    a, b = (Tensor(x, device=device).data if isinstance(x, np.ndarray) else x for x in (a, b))
    for pair, expected in [((a, b), dtypes), ((b, a), dtypes[::-1])]:
        found = operands("op", *pair)
        assert all(is_array(x) for x in found)
        # An integer beside a fraction has become floating by the time they are combined.
        promoted = ["float32" if d == "int32" else d for d in expected]
        assert [x.dtype.name for x in found] == promoted


def test_a_tensor_without_dimensions_counts_as_one_with(device):
    """Where it came from decides, not its shape: a raw 0-d array is a number, a Tensor is not."""
    x, half = Tensor(np.ones(2, np.float32), device=device), Tensor(np.array(0.5), device=device)
    assert [value.dtype.name for value in operands("op", x, half)] == ["float32", "float64"]
    assert [value.dtype.name for value in operands("op", x, half.data)] == ["float32", "float32"]


def test_two_numbers_are_no_operands():
    for a, b in [(2, 0.5), (True, 1), (0.5, 0.5)]:
        with pytest.raises(TypeError, match="op: expected a Tensor or an array, got two numbers"):
            operands("op", a, b)


def test_numpy_scalars_as_operands():
    a, b = operands("op", 0, np.float64(1 / 3))
    assert (a.dtype, b.dtype) == (np.float64, np.float64)
    assert b == 1 / 3
    a, b = operands("op", np.float64(1 / 3), np.float32(1))
    assert (a.dtype, b.dtype) == (np.float64, np.float32)


@pytest.mark.parametrize("wrong", [[1], (1,), "1", None, 1j, np.complex64(1), np.str_("1"), object()])
def test_what_is_no_operand(wrong):
    with pytest.raises(
        TypeError, match=f"op: expected a Tensor, an array or a real number, got {type(wrong).__name__}"
    ):
        operands("op", Tensor([1.0]), wrong)


def test_integers_among_floats(device):
    values = [Tensor(np.ones(1), dtype=d, device=device) for d in ("int64", "float16", "bool", "float32")]
    assert [x.dtype.name for x in promoted(values)] == ["float32", "float16", "float32", "float32"]
    assert [x.dtype.name for x in promoted(values[::2])] == ["int64", "bool"]


def test_floating(device):
    x = Tensor([1, 2], device=device)
    assert floating("op", x).dtype == np.float32
    assert floating("op", floating("op", x)).dtype == np.float32
    half = Tensor([1.0], dtype="float16", device=device)
    assert floating("op", half) is half
    for wrong in ([1.0], 1.0, None):
        with pytest.raises(TypeError, match=f"^op: expected a Tensor or an array, got {type(wrong).__name__}$"):
            floating("op", wrong)


def test_common_shape():
    assert common_shape("op", (2, 1), (3,), ()) == (2, 3)
    with pytest.raises(ValueError, match=r"op: shapes do not broadcast: \(2,\), \(3,\); aligned on the right"):
        common_shape("op", (2,), (3,))
