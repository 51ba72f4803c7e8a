"""flip, roll, tile, repeat: values, derivatives, nothing, wrong calls."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value, named
from judge import host, scattered

from minidl import Tensor
from minidl.backend import is_array
from minidl.ops import rearrange


def one(shape, ours, numpy=None, torch=None):
    return Case(ours, (shape,), numpy, torch)


def interleaved(x, counts, axis):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return x.repeat_interleave(torch.tensor(counts), axis)


def flips(shape, axis):
    return one(shape, lambda x: x.flip(axis), lambda x: np.flip(x, axis), lambda x: x.flip(torch_dims(x, axis)))


def torch_dims(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)


def rolls(shape, shift, axis=None, torch=None):
    return one(
        shape,
        lambda x: x.roll(shift, axis),
        lambda x: np.roll(x, shift, axis),
        torch or (lambda x: x.roll(shift, axis)),
    )


def tiles(shape, *reps):
    return one(shape, lambda x: x.tile(*reps), lambda x: np.tile(x, reps), lambda x: x.tile(reps))


def repeats(shape, times, axis):
    def torch(x):
        return x.repeat_interleave(times, axis) if isinstance(times, int) else interleaved(x, times, axis)

    return one(shape, lambda x: x.repeat(times, axis=axis), lambda x: np.repeat(x, times, axis=axis), torch)


CASES = named(
    {
        "flip": {
            "all axes": flips((2, 3), None),
            "one axis": flips((2, 3, 4), 1),
            "the last": flips((2, 3), -1),
            "two axes": flips((2, 3, 4), (0, -1)),
            "no axis": flips((2, 3), ()),
            "a scalar": flips((), None),
            "nothing": flips((2, 0), 0),
        },
        "roll": {
            "forward": rolls((5,), 2),
            "backward": rolls((3, 4), -1, 1),
            "further than round": rolls((3, 2), 7, 0),
            "two axes": rolls((3, 4), (1, -2), (0, -1)),
            "one shift for two axes": rolls((3, 4), 1, (0, 1), lambda x: x.roll((1, 1), (0, 1))),
            "one axis twice": rolls((5, 2), (1, 2), (0, 0)),
            "all as one row": rolls((3, 4), 5),
            "no axis": rolls((3, 2), (), (), lambda x: x * 1),
            "a scalar": rolls((), 3),
            "nothing": rolls((0, 2), 1, 0),
            "all of nothing": rolls((0, 2), 1),
        },
        "tile": {
            "a row": tiles((3,), 2),
            "two axes": tiles((2, 3), 3, 2),
            "fewer counts than axes": tiles((2, 3, 2), 2),
            "more counts than axes": tiles((2, 3), 2, 1, 2),
            "once": tiles((2, 3), 1, 1),
            "never": tiles((2, 3), 0, 2),
            "no counts": tiles((2, 3)),
            "a scalar": tiles((), 2, 3),
            "nothing": tiles((0, 3), 2, 2),
        },
        "repeat": {
            "a row": repeats((3,), 2, 0),
            "the middle": repeats((2, 3, 4), 3, 1),
            "the last": repeats((2, 3), 2, -1),
            "once": repeats((2, 3), 1, 0),
            "never": repeats((2, 3), 0, 0),
            "nothing": repeats((0, 2), 3, 0),
            "by counts": repeats((3, 2), (2, 0, 3), 0),
            "by counts, the last": repeats((2, 3), [1, 3, 2], -1),
            "by counts of zero": repeats((2, 3), [0, 0], 0),
            "nothing by counts": repeats((2, 0), np.zeros(0, int), 1),
        },
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


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_tile_is_pytorchs_repeat(shape):
    for reps in [(2, 1), (1, 3, 2)]:
        check_torch(one(shape, lambda x, reps=reps: x.tile(reps), torch=lambda x, reps=reps: x.repeat(reps)))


@pytest.mark.parametrize(
    "ours",
    [
        lambda x: x.flip(1) ** 2,
        lambda x: x.roll(1) ** 2,
        lambda x: x.tile(2, 2) ** 2,
        lambda x: x.repeat(2, axis=1) ** 2,
        lambda x: x.repeat([2, 1], axis=0) ** 2,
    ],
)
def test_memory_that_is_not_contiguous(ours, device):
    check_derivatives(Case(lambda x: ours(scattered(x)), ((2, 3),)), device)


def test_counts_of_many_kinds(device):
    """Counts are given on the host: they decide the shape of the result."""
    x = Tensor([[1, 2, 3]], device=device)
    for counts in ([2, 0, 1], (2, 0, 1), np.array([2, 0, 1]), Tensor([2, 0, 1]), [np.int32(2), 0, True]):
        assert x.repeat(counts, axis=1).numpy().tolist() == [[1, 1, 3]]
    assert x.repeat(np.int64(2), axis=1).numpy().tolist() == [[1, 1, 2, 2, 3, 3]]
    assert x.tile([2]).numpy().tolist() == x.tile((1, 2)).numpy().tolist() == [[1, 2, 3, 1, 2, 3]]
    assert x.roll([1], [1]).numpy().tolist() == x.roll(np.int32(1), 1).numpy().tolist() == [[3, 1, 2]]


def test_integers_and_booleans_move_too(device):
    x = Tensor([[True, False]], device=device)
    for y, expected in [
        (x.flip(1), [[False, True]]),
        (x.roll(1), [[False, True]]),
        (x.tile(2), [[True, False, True, False]]),
        (x.repeat(2, axis=1), [[True, True, False, False]]),
        (x.repeat([0, 2], axis=1), [[False, False]]),
    ]:
        assert y.dtype == bool
        assert y.numpy().tolist() == expected


def test_raw_arrays(device):
    x = Tensor([1, 2, 3], device=device).data
    for y, expected in [
        (rearrange.flip(x), [3, 2, 1]),
        (rearrange.roll(x, 1), [3, 1, 2]),
        (rearrange.tile(x, 2), [1, 2, 3, 1, 2, 3]),
        (rearrange.repeat(x, 2, axis=0), [1, 1, 2, 2, 3, 3]),
        (rearrange.repeat(x, [0, 1, 2], axis=0), [2, 3, 3]),
    ]:
        assert is_array(y)
        assert host(y).tolist() == expected


WRONG = [
    (lambda x: x.flip(2), ValueError, r"flip: axis 2 does not exist in a tensor of 2 dimension\(s\)"),
    (lambda x: x.flip((0, -2)), ValueError, r"flip: axis \(0, -2\) names one dimension twice"),
    (lambda x: x.flip("0"), ValueError, "flip: axis '0' does not exist"),
    (lambda x: x.roll(1, 2), ValueError, "roll: axis 2 does not exist"),
    (lambda x: x.roll(0.5), TypeError, "roll: expected whole numbers as shift, got 0.5"),
    (lambda x: x.roll((1, None), (0, 1)), TypeError, r"roll: expected whole numbers as shift, got \(1, None\)"),
    (
        lambda x: x.roll((1, 2), (0,)),
        ValueError,
        r"roll: expected one shift for each axis, got shift \(1, 2\) and axis \(0,\)",
    ),
    (lambda x: x.roll((1, 2)), ValueError, "roll: expected one shift for each axis, .* and axis None"),
    (lambda x: x.tile(2, -1), ValueError, r"tile: expected numbers of at least 0, got \(2, -1\)"),
    (lambda x: x.tile(1.5), TypeError, r"tile: expected whole numbers, got \(1.5,\)"),
    (lambda x: x.tile("ab"), TypeError, "tile: expected whole numbers"),
    (lambda x: x.repeat(2), TypeError, r"repeat: name the axis .* x.repeat\(2, axis=0\); .* PyTorch's .* x.tile\(2\)"),
    (lambda x: x.repeat(2, 3), TypeError, "repeat: name the axis"),
    (lambda x: x.repeat((2, 3)), TypeError, "repeat: name the axis"),
    (lambda x: x.repeat(2, 3, axis=0), TypeError, "repeat: name the axis"),
    (lambda x: x.repeat(2, axis=2), ValueError, "repeat: axis 2 does not exist"),
    (lambda x: x.repeat(-1, axis=0), ValueError, "repeat: expected a number of at least 0, got -1"),
    (lambda x: x.repeat(1.5, axis=0), TypeError, "repeat: expected a whole number or a sequence of them, got 1.5"),
    (lambda x: x.repeat([1.5, 1], axis=0), TypeError, r"repeat: expected a whole number or a .* got \[1.5, 1\]"),
    (lambda x: x.repeat(None, axis=0), TypeError, "repeat: expected a whole number .* got None"),
    (
        lambda x: x.repeat([1, 2, 3], axis=0),
        ValueError,
        r"repeat: expected 2 counts of at least 0, one a slice of axis 0, got \[1, 2, 3\]",
    ),
    (lambda x: x.repeat([2], axis=0), ValueError, "repeat: expected 2 counts"),
    (lambda x: x.repeat([1, -2], axis=0), ValueError, "repeat: expected 2 counts of at least 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call(Tensor(np.ones((2, 3)), requires_grad=True))
