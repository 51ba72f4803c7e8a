"""pad: what each mode puts into the margin, what negative widths cut off, and where the gradient of it all goes."""

import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch
from hypothesis import assume, given
from hypothesis import strategies as st
from judge import (
    assert_close,
    check_operator,
    host,
    leaves,
    scattered,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor
from minidl import functional as F

MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}  # NumPy's names for ours

PADDINGS = {  # a shape, and a pair for every axis
    "one axis": ((3,), ((2, 1),)),
    "before only": ((2, 3), ((0, 0), (2, 0))),
    "after only": ((4, 3), ((3, 0), (0, 0))),
    "two axes, whose corners are copies of copies": ((3, 4), ((2, 1), (1, 3))),
    "every axis": ((2, 3, 2, 3), ((1, 0), (2, 1), (0, 1), (1, 2))),
    "as wide as it goes": ((2, 4, 3, 2), ((0, 0), (3, 3), (2, 2), (0, 0))),
    "nothing inside": ((0, 3, 2), ((0, 0), (1, 2), (0, 1))),
    "no width": ((2, 3), ((0, 0), (0, 0))),
    "no axes": ((), ()),
}


def numpy_pad(x, pairs, mode):
    return np.pad(x, pairs, mode=MODES[mode]) if pairs else x


# ---- what is in the margin


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PADDINGS)
def test_the_margin_is_numpys(name, mode, device, rng):
    shape, pairs = PADDINGS[name]
    x = rng.standard_normal(shape)
    y = F.pad(Tensor(x, device=device), pairs, mode)
    assert str(y.device).startswith(device)
    assert_close(y, numpy_pad(x, pairs, mode), 0)
    check_operator(lambda x: F.pad(x, pairs, mode) * 1, [x], device)


@st.composite
def paddings(draw):
    mode = draw(st.sampled_from(sorted(MODES)))
    shape = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    pairs = []
    for size in shape:
        widest = {"constant": 4, "reflect": max(size - 1, 0), "replicate": 4 if size else 0, "circular": size}[mode]
        pairs.append(draw(st.tuples(st.integers(0, widest), st.integers(0, widest))))
    return tuple(shape), tuple(pairs), mode


@given(case=paddings())
def test_any_margin_is_numpys_and_each_gradient_the_sum_over_its_copies(case, device):
    shape, pairs, mode = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    expected = numpy_pad(x, pairs, mode)
    g = rng.standard_normal(expected.shape)
    value, (gradient,) = value_and_gradients(lambda x: F.pad(x, pairs, mode) * 1, [x], g, device)
    assert_close(value, expected, 0)
    assume(x.size)
    if mode == "constant":
        copies = np.pad(np.arange(x.size).reshape(shape), pairs, constant_values=-1)
    else:
        copies = numpy_pad(np.arange(x.size).reshape(shape), pairs, mode)
    assert_close(gradient, np.array([g[copies == i].sum() for i in range(x.size)]).reshape(shape), 1e-13)


def test_the_value_of_a_constant_margin(device):
    x = Tensor([[1.0, 2.0]], device=device)
    assert F.pad(x, ((0, 1), (1, 0)), value=-1.5).numpy().tolist() == [[-1.5, 1, 2], [-1.5, -1.5, -1.5]]
    assert F.pad(x, ((0, 0), (0, 1)), "constant", -np.inf).numpy().tolist() == [[1, 2, -np.inf]]
    assert F.pad(x, ((0, 0), (0, 1)), value=np.float64(0.1)).dtype == np.float32
    assert np.isnan(F.pad(x, ((0, 0), (0, 1)), value=float("nan")).numpy()[0, 2])


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_copies_of_infinities_are_infinite_and_spoil_nothing_else(mode, device):
    x = np.array([[np.inf, 1.0, 2.0], [3.0, np.nan, -np.inf]])
    pairs = ((1, 0), (2, 1))
    np.testing.assert_array_equal(host(F.pad(Tensor(x, device=device), pairs, mode)), numpy_pad(x, pairs, mode))


# ---- the ways to write it


@pytest.mark.parametrize("mode", MODES)
def test_images_take_the_four_sides_or_one_number(mode, device, rng):
    x = Tensor(rng.standard_normal((2, 3, 4, 2)), device=device)
    assert_close(F.pad(x, ((1, 2), (0, 1)), mode), F.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), mode), 0)
    assert_close(F.pad(x, 2, mode), F.pad(x, [[2, 2], [2, 2]], mode), 0)
    assert_close(F.pad(x, np.int64(-1), mode), host(x)[:, 1:-1, 1:-1], 0)
    assert_close(F.pad(x, np.array([[1, 2], [0, 1]]), mode), F.pad(x, ((1, 2), (0, 1)), mode), 0)


def test_two_pairs_are_the_two_axes_of_a_matrix(device):
    x = Tensor([[1.0, 2.0]], device=device)
    assert F.pad(x, ((1, 0), (0, 2))).numpy().tolist() == [[0, 0, 0, 0], [1, 2, 0, 0]]


def test_the_method_is_the_function(device, rng):
    assert Tensor.pad is F.pad
    x = Tensor(rng.standard_normal((2, 3)), device=device)
    assert_close(x.pad(((1, 0), (0, 2)), "replicate"), np.pad(host(x), ((1, 0), (0, 2)), "edge"), 0)
    assert x.pad(((0, 0), (0, 0))) is x


@pytest.mark.parametrize("mode", MODES)
def test_integers_booleans_and_raw_arrays(mode, device):
    x = Tensor([[1, 2, 3]], device=device)
    y = F.pad(x, ((0, 0), (2, 1)), mode)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(host(y), numpy_pad(host(x), ((0, 0), (2, 1)), mode))
    raw = F.pad(x.data, ((0, 0), (2, 1)), mode)
    assert not isinstance(raw, Tensor)
    assert_close(raw, y, 0)
    assert F.pad(Tensor(x > 1), ((0, 0), (0, 1)), mode).dtype == np.bool_


@pytest.mark.parametrize("mode", MODES)
def test_memory_order_does_not_matter(mode, device, rng):
    (x,) = leaves([rng.standard_normal((2, 4))], device)
    y = F.pad(x, ((1, 0), (-1, 2)), mode)
    g = Tensor(rng.standard_normal(y.shape), device=device)
    (expected,) = minidl.grad(y, [x], g)
    for mixed in (scattered(x), scattered(x, axis=1), x[:, ::-1][:, ::-1], x.T.copy().T):
        y_mixed = F.pad(mixed, ((1, 0), (-1, 2)), mode)
        assert_close(y_mixed, y, 0)
        for upstream in (scattered(g), scattered(g, axis=1)):
            (gradient,) = minidl.grad(y_mixed, [x], upstream, retain_graph=True)
            assert_close(gradient, expected, 1e-15)


# ---- cutting off

CUTS = {  # of [0, 1, 2, 3, 4]
    ("constant", (-2, -2)): [2],
    ("constant", (-2, 3)): [2, 3, 4, 0, 0, 0],
    ("constant", (2, -4)): [0, 0, 0],
    ("constant", (-5, 2)): [0, 0],  # everything cut off, and a margin around nothing
    ("constant", (-3, -2)): [],
    ("reflect", (-2, -2)): [2],
    ("reflect", (-2, 3)): [2, 3, 4, 3, 2, 1],  # the margin shows what was cut off
    ("reflect", (3, -2)): [3, 2, 1, 0, 1, 2],
    ("reflect", (-6, 3)): [2, 1],  # some of the margin is cut off, too
    ("reflect", (0, -5)): [],
    ("replicate", (-2, 3)): [2, 3, 4, 4, 4, 4],
    ("replicate", (3, -2)): [0, 0, 0, 0, 1, 2],
    ("replicate", (-6, 3)): [4, 4],
    ("replicate", (7, -9)): [0, 0, 0],
    ("circular", (-2, -2)): [2],
    ("circular", (-2, 3)): [2, 3, 4, 2, 3, 4],  # what was cut off is gone
    ("circular", (3, -2)): [0, 1, 2, 0, 1, 2],
    ("circular", (0, -5)): [],
}


@pytest.mark.parametrize(("mode", "pair"), CUTS)
def test_negative_widths_cut_off(mode, pair, device):
    x = np.arange(5.0)
    assert F.pad(Tensor(x, device=device), (pair,), mode).numpy().tolist() == CUTS[mode, pair]
    check_derivatives(Case(lambda x: F.pad(x, ((1, 0), pair), mode), ((2, 5),)), device)


# ---- PyTorch

AGAINST_TORCH = [  # of images (2, 4, 5, 3): ((top, bottom), (left, right))
    ((1, 1), (1, 1)),
    ((2, 0), (0, 3)),
    ((3, 3), (4, 4)),
    ((0, 1), (-2, 0)),
    ((-1, 2), (2, -1)),
    ((-1, -2), (-3, -1)),
    ((0, 0), (0, 0)),
]


@pytest.mark.torch
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sides", AGAINST_TORCH, ids=str)
def test_against_torch(sides, mode, device, rng):
    (top, bottom), (left, right) = sides
    x = rng.standard_normal((2, 4, 5, 3))
    g = rng.standard_normal((2, 4 + top + bottom, 5 + left + right, 3))
    options = {"value": 2.5} if mode == "constant" else {}
    value, (gradient,) = value_and_gradients(lambda x: F.pad(x, sides, mode, **options) * 1, [x], g, device)
    expected, (expected_gradient,) = torch_value_and_gradients(
        lambda torch_f, x: torch_f.pad(x, (left, right, top, bottom), mode, **options), [x], ["image"], g, "image"
    )
    assert_close(value, expected, 0)
    assert_close(gradient, expected_gradient, 1e-14)


@pytest.mark.torch
@pytest.mark.parametrize(("mode", "pair"), [key for key, result in CUTS.items() if result])
def test_what_is_cut_off_against_torch(mode, pair):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pad = torch.nn.functional.pad
    check_torch(Case(lambda x: F.pad(x, ((0, 0), pair), mode), ((2, 5),), torch=lambda x: pad(x, pair, mode)))


@pytest.mark.torch
@pytest.mark.parametrize(
    ("mode", "pair"),
    [
        ("constant", (-3, -3)), ("constant", (-6, 3)), ("reflect", (5, 0)), ("reflect", (-5, 5)), ("reflect", (-3, -3)),
        ("replicate", (-3, -3)), ("circular", (6, 0)), ("circular", (-3, -3)), ("circular", (-3, 4)),
        ("circular", (-6, 3)),
    ],
)  # fmt: skip
def test_what_torch_refuses_is_refused(mode, pair):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(RuntimeError):
        torch.nn.functional.pad(torch.ones(1, 5), pair, mode)
    with pytest.raises(ValueError, match="^pad: "):
        F.pad(Tensor(np.ones((1, 5))), ((0, 0), pair), mode)


@pytest.mark.torch
def test_where_torch_returns_memory_that_nobody_wrote_it_is_refused():
    """A circular margin around what has been cut off altogether: PyTorch has nothing to fill it with."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert torch.nn.functional.pad(torch.ones(1, 5), (-5, 5), "circular").shape == (1, 5)
    with pytest.raises(ValueError, match="mode 'circular' can add at most 0 to a side of axis 1, which has size 5"):
        F.pad(Tensor(np.ones((1, 5))), ((0, 0), (-5, 5)), "circular")


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_an_empty_result_is_no_error_here(mode):
    """PyTorch refuses it where every padded axis comes out empty, and allows it where one of two does."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = np.ones((1, 2, 3, 1))
    with pytest.raises(RuntimeError, match="too small"):
        torch.nn.functional.pad(torch.ones(1, 1, 2, 3), (-3, 0, 0, -2), mode)
    assert torch.nn.functional.pad(torch.ones(1, 1, 2, 3), (-3, 0, 0, 0), mode).shape == (1, 1, 2, 0)
    assert F.pad(Tensor(x), ((0, -2), (-3, 0)), mode).shape == (1, 0, 0, 1)


# ---- wrong calls

IMAGES, MATRIX = np.ones((2, 3, 4, 1)), np.ones((2, 3))
EXPECTED = r"pad: expected 2 pairs \(before, after\), one an axis; got"
WRONG = [
    (MATRIX, {"pad": 1}, ValueError, EXPECTED + " 1"),
    (MATRIX, {"pad": (1, 1)}, ValueError, EXPECTED + r" \(1, 1\)"),
    (MATRIX, {"pad": [(1, 1)]}, ValueError, EXPECTED),
    (MATRIX, {"pad": [(1, 1), (0, 1), (0, 0)]}, ValueError, EXPECTED),
    (MATRIX, {"pad": [(1, 1), (0.5, 0)]}, ValueError, EXPECTED),
    (MATRIX, {"pad": [(1, 1), (1, 1, 1)]}, ValueError, EXPECTED),
    (MATRIX, {"pad": None}, ValueError, EXPECTED),
    (np.ones(()), {"pad": 1}, ValueError, r"pad: expected 0 pairs \(before, after\), one an axis; got 1"),
    (
        IMAGES,
        {"pad": (1, 1, 2, 2)},
        ValueError,
        r"pad: expected 4 pairs \(before, after\), one an axis, or for images \(\(top, bottom\), \(left, right\)\) or "
        r"one integer; got \(1, 1, 2, 2\)\. PyTorch's \(left, right, top, bottom\) is written "
        r"\(\(top, bottom\), \(left, right\)\) here",
    ),
    (IMAGES, {"pad": (1, 1)}, ValueError, r"pad: expected 4 pairs .*; got \(1, 1\)"),
    (IMAGES, {"pad": 1.0}, ValueError, r"pad: expected 4 pairs .*; got 1\.0"),
    (IMAGES, {"pad": ((1, 1), (1, 1), (1, 1))}, ValueError, "pad: expected 4 pairs"),
    (IMAGES, {"pad": "11"}, ValueError, "pad: expected 4 pairs"),
    (
        IMAGES,
        {"pad": 1, "mode": "edge"},
        ValueError,
        "pad: mode must be one of constant, reflect, replicate, circular; got 'edge'",
    ),
    (IMAGES, {"pad": 1, "mode": None}, ValueError, "pad: mode must be one of .* got None"),
    (IMAGES, {"pad": 1, "value": "0"}, TypeError, "pad: value must be a number, got '0'"),
    (IMAGES, {"pad": 1, "value": None}, TypeError, "pad: value must be a number, got None"),
    (IMAGES, {"pad": 1, "mode": "reflect", "value": 2.0}, ValueError, r"pad: mode 'reflect' takes no value, got 2\.0"),
    (
        IMAGES,
        {"pad": ((0, 0), (1, 4)), "mode": "reflect"},
        ValueError,
        r"pad: mode 'reflect' can add at most 3 to a side of axis 2, which has size 4; got widths \(1, 4\)",
    ),
    (
        IMAGES,
        {"pad": ((3, 0), (0, 0)), "mode": "reflect"},
        ValueError,
        "at most 2 to a side of axis 1, which has size 3",
    ),
    (
        IMAGES,
        {"pad": ((0, 4), (0, 0)), "mode": "circular"},
        ValueError,
        "'circular' can add at most 3 to a side of axis 1",
    ),
    (
        IMAGES,
        {"pad": ((-1, 3), (0, 0)), "mode": "circular"},
        ValueError,
        "'circular' can add at most 2 to a side of axis 1",
    ),
    (np.ones((0, 3)), {"pad": ((1, 0), (0, 0)), "mode": "replicate"}, ValueError, "at most 0 to a side of axis 0"),
    (np.ones((0, 3)), {"pad": ((0, 1), (0, 0)), "mode": "circular"}, ValueError, "at most 0 to a side of axis 0"),
    (IMAGES, {"pad": -2}, ValueError, r"pad: widths \(-2, -2\) cut off too much of axis 1, which has size 3"),
    (
        IMAGES,
        {"pad": ((0, 0), (2, -5))},
        ValueError,
        r"pad: widths \(2, -5\) cut off too much of axis 2, which has size 4",
    ),
    (IMAGES, {"pad": -2, "mode": "replicate"}, ValueError, "cut off too much of axis 1"),
    (IMAGES, {"pad": ((1, -5), (0, 0)), "mode": "reflect"}, ValueError, "cut off too much of axis 1"),
]


@pytest.mark.parametrize(("x", "options", "error", "message"), WRONG)
def test_wrong_calls(x, options, error, message, device):
    with pytest.raises(error, match=message):
        F.pad(Tensor(x, device=device), **options)


@pytest.mark.parametrize("mode", MODES)
def test_full_second_derivatives(mode, device, rng):
    minidl.gradgradcheck(
        lambda x: F.pad(x, ((-1, 2), (2, 1)), mode) ** 2, leaves([rng.standard_normal((2, 3, 4, 1))], device)
    )
