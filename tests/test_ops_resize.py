"""interpolate, pixel_shuffle, pixel_unshuffle."""

import hard_shapes
import numpy as np
import oracle
import pytest
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
from minidl.ops.resize import Table

IMAGE_MODES = [
    {"mode": "nearest"},
    {"mode": "nearest-exact"},
    {"mode": "bilinear"},
    {"mode": "bilinear", "align_corners": True},
    {"mode": "bicubic", "align_corners": False},
    {"mode": "bicubic", "align_corners": True},
    {"mode": "area"},
]
AXES = {  # modes for one axis, two and three
    1: ["nearest", "nearest-exact", "linear", "area"],
    2: ["nearest", "nearest-exact", "bilinear", "bicubic", "area"],
    3: ["nearest", "nearest-exact", "trilinear", "area"],
}


def by_loops(x, size=None, scale_factor=None, recompute_scale_factor=False, align_corners=None, **options):
    """The oracle, which takes sizes, and the factors by which the axes are read."""
    axes = x.shape[1:-1]
    factors = None
    if size is None:
        factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * len(axes)
        size = tuple(int(n * factor) for n, factor in zip(axes, factors, strict=True))
    sizes = size if isinstance(size, tuple) else (size,) * len(axes)
    return oracle.interpolate(
        x, sizes, align_corners=align_corners, scale_factor=None if recompute_scale_factor else factors, **options
    )


@pytest.mark.parametrize("mode", IMAGE_MODES, ids=str)
@pytest.mark.parametrize("name", hard_shapes.RESIZINGS)
def test_interpolate(name, mode, device, rng):
    shape, options = hard_shapes.RESIZINGS[name]
    x, options = rng.standard_normal(shape), options | mode
    y = F.interpolate(Tensor(x, device=device), **options)
    assert str(y.device).startswith(device)
    assert_close(y, by_loops(x, **options), 1e-13)


@pytest.mark.parametrize(
    "mode",
    [{"mode": "nearest"}, {"mode": "bicubic"}, {"mode": "bilinear", "align_corners": True}, {"mode": "area"}],
    ids=str,
)
@pytest.mark.parametrize("name", ["more rows, fewer columns", "a factor that is rounded"])
def test_derivatives(name, mode, device, rng):
    shape, options = hard_shapes.RESIZINGS[name]
    check_operator(lambda x: F.interpolate(x, **options, **mode), [rng.standard_normal(shape)], device)


@pytest.mark.parametrize("name", hard_shapes.RESIZINGS)
def test_derivatives_of_every_resizing(name, device, rng):
    shape, options = hard_shapes.RESIZINGS[name]
    check_operator(lambda x: F.interpolate(x, **options, mode="bilinear") * 1, [rng.standard_normal(shape)], device)


@st.composite
def resizings(draw):
    axes = draw(st.integers(1, 3))
    mode = draw(st.sampled_from(AXES[axes]))
    most = {1: 9, 2: 6, 3: 4}[axes]
    inside = draw(st.tuples(*[st.integers(1, most)] * axes))
    options = {"mode": mode}
    if draw(st.booleans()):
        options["size"] = draw(st.tuples(*[st.integers(1, most)] * axes))
    else:
        # Not where a rounding error decides: a position so close to an element that it may lie on either side.
        factors = draw(
            st.tuples(*[st.sampled_from([0.5, 2 / 3, 0.9, 1.0, 1.1, 4 / 3, 1.5, 1.7, 2.0, 2.3, 3.0])] * axes)
        )
        options |= {"scale_factor": factors, "recompute_scale_factor": draw(st.sampled_from([None, False, True]))}
    if mode not in ("nearest", "nearest-exact", "area"):
        options["align_corners"] = draw(st.sampled_from([None, False, True]))
    return (draw(st.integers(0, 2)), *inside, draw(st.integers(1, 2))), options


@given(case=resizings())
def test_any_resizing_is_that_of_its_loops_and_the_gradient_its_adjoint(case, device):
    shape, options = case
    assume(all(int(n * f) for n, f in zip(shape[1:-1], options.get("scale_factor", shape[1:-1]), strict=True)))
    rng = np.random.default_rng(0)
    x, u = rng.standard_normal(shape), rng.standard_normal(shape)
    expected = by_loops(x, **options)
    g = rng.standard_normal(expected.shape)
    value, (gradient,) = value_and_gradients(lambda x: F.interpolate(x, **options) * 1, [x], g, device)
    assert_close(value, expected, 1e-12)
    assert_close(np.sum(gradient * u), np.sum(g * by_loops(u, **options)), 1e-11)  # ⟨Aᵀg, u⟩ = ⟨g, A u⟩


def test_a_table_turned_around_has_no_more_rows_than_an_element_has_readers():
    """[a, a, b, b, b] of [a, b, c]: a is read at 0 and 1, b at 2, 3 and 4, and c nowhere."""
    table = Table(3, np.array([[0, 0, 1, 1, 1]]), np.array([[1, 2, 3, 4, 5.0]]))
    back = table.turned_around()
    assert back.size == 5
    assert back.weights.tolist() == [[1, 3, 0], [2, 4, 0], [0, 5, 0]]
    assert back.index[back.weights != 0].tolist() == [0, 2, 1, 3, 4]
    again = back.turned_around()
    assert (again.size, again.index.tolist(), again.weights.tolist()) == (
        3,
        table.index.tolist(),
        table.weights.tolist(),
    )


# ---- PyTorch


def against_torch(x, g, **options):
    """PyTorch's value and gradient, in our layout. It reads images whose channels come last in memory, as ours do."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = torch.from_numpy(x).movedim(-1, 1).requires_grad_()  # a view: the memory stays as it is
    y = torch.nn.functional.interpolate(x, **options)
    (gradient,) = torch.autograd.grad(y, x, torch.from_numpy(g).movedim(-1, 1))
    return y.detach().movedim(1, -1).numpy(), gradient.movedim(1, -1).numpy()


@pytest.mark.torch
@pytest.mark.parametrize("mode", IMAGE_MODES, ids=str)
@pytest.mark.parametrize("name", hard_shapes.RESIZINGS)
def test_interpolate_against_torch(name, mode, rng):
    shape, options = hard_shapes.RESIZINGS[name]
    x, options = rng.standard_normal(shape), options | mode
    g = rng.standard_normal(by_loops(x, **options).shape)
    value, (gradient,) = value_and_gradients(lambda x: F.interpolate(x, **options) * 1, [x], g, "cpu")
    expected, expected_gradient = against_torch(x, g, **options)
    assert_close(value, expected, 1e-13)
    assert_close(gradient, expected_gradient, 1e-13)


@pytest.mark.torch
@pytest.mark.parametrize("scale_factor", [0.6, 1.5, 2, 2.3])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("mode", "shape"), [("linear", (2, 7, 3)), ("trilinear", (2, 3, 4, 5, 2))])
def test_other_numbers_of_axes_against_torch(mode, shape, align_corners, scale_factor, rng):
    options = {"mode": mode, "scale_factor": scale_factor, "align_corners": align_corners}
    x = rng.standard_normal(shape)
    g = rng.standard_normal(by_loops(x, **options).shape)
    value, (gradient,) = value_and_gradients(lambda x: F.interpolate(x, **options), [x], g, "cpu")
    expected, expected_gradient = against_torch(x, g, **options)
    assert_close(value, expected, 1e-13)
    assert_close(gradient, expected_gradient, 1e-13)


@pytest.mark.torch
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_what_is_nearest_is_so_for_torch_to_the_last_bit(mode, dtype):
    """Where a position falls between two elements, float32 decides: small sizes, and some where rounding shows."""
    factors = (0.3, 0.7, 1.05, 1.1, 1.3, 1.7, 2.05, 2.3, 2.5, 3.0)
    cases = [(n, {"size": (1, m)}) for n in range(1, 10) for m in range(1, 28)]
    cases += [(n, {"size": (1, m)}) for n, m in [(6, 74), (2, 41), (3, 82), (31, 71)]]
    cases += [(n, {"scale_factor": (1, factor)}) for n in range(1, 33, 2) for factor in factors if int(n * factor)]
    for n, sizes in cases:
        options = sizes | {"mode": mode}
        x = np.arange(n, dtype=dtype).reshape(1, 1, n, 1)
        y = F.interpolate(t := Tensor(x, requires_grad=True), **options) * 1
        y.backward(np.arange(y.size, dtype=dtype).reshape(y.shape))
        expected, expected_gradient = against_torch(x, np.arange(y.size, dtype=dtype).reshape(y.shape), **options)
        np.testing.assert_array_equal(host(y), expected, err_msg=f"{n}, {options}")
        np.testing.assert_array_equal(host(t.grad), expected_gradient, err_msg=f"{n}, {options}")


@pytest.mark.torch
def test_where_torch_contradicts_itself_value_and_gradient_belong_together_here():
    """Five elements times 1.1 are five again.

    The nearest: the five themselves, says PyTorch's gradient, while its value is read by the factor. (Where images have
    their channels last in memory both say the former.) Bicubic: its value is read by the factor, and its gradient not.
    """
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = torch.arange(5.0).reshape(1, 1, 5).requires_grad_()
    y = torch.nn.functional.interpolate(x, scale_factor=1.1)
    (gradient,) = torch.autograd.grad(y, x, torch.arange(5.0).reshape(1, 1, 5))
    assert y.flatten().tolist() == [0, 0, 1, 2, 3]
    assert gradient.flatten().tolist() == [0, 1, 2, 3, 4]
    ours = Tensor(np.arange(5.0).reshape(1, 1, 5, 1), requires_grad=True)
    assert F.interpolate(ours, scale_factor=(1, 1.1)) is ours

    options = {"scale_factor": (1, 1.1), "mode": "bicubic"}
    g = np.arange(1.0, 6).reshape(1, 1, 5, 1)
    value, gradient = against_torch(host(ours), g, **options)
    y = F.interpolate(ours, **options)
    y.backward(g)
    assert_close(y, value, 1e-14)
    np.testing.assert_array_equal(gradient, g)  # as if nothing had been resized
    assert_close(ours.grad, oracle.numeric_gradient(lambda x: by_loops(x, **options), [host(ours)], g)[0], 1e-8)


# ---- conventions


def row(values, **options):
    return Tensor(np.array(values, float).reshape(1, -1, 1), **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scale_factor": 2}, [1, 1, 2, 2, 4, 4, 8, 8]),
        ({"size": 3}, [1, 2, 4]),  # under the corners 0, 4/3 and 8/3
        ({"size": 3, "mode": "nearest-exact"}, [1, 4, 8]),  # under the centres 2/3, 2 and 10/3
        ({"size": 2, "mode": "nearest-exact"}, [2, 8]),  # a tie goes to the right
        ({"size": 2}, [1, 4]),
        ({"size": 2, "mode": "linear"}, [1.5, 6]),
        ({"size": 7, "mode": "linear", "align_corners": True}, [1, 1.5, 2, 3, 4, 6, 8]),
        ({"size": 1, "mode": "linear", "align_corners": True}, [1]),
        ({"size": 8, "mode": "linear"}, [1, 1.25, 1.75, 2.5, 3.5, 5, 7, 8]),
        ({"scale_factor": 0.7, "mode": "linear"}, [1 + 3 / 14, 3 + 2 / 7]),  # at 3/14 and 23/14
        ({"scale_factor": 0.7, "mode": "linear", "recompute_scale_factor": True}, [1.5, 6]),
    ],
)  # fmt: skip
def test_where_each_mode_looks(options, expected, device):
    assert_close(F.interpolate(row([1, 2, 4, 8], device=device), **options), np.reshape(expected, (1, -1, 1)), 1e-14)


def test_the_gradient_of_nearest_adds_up_where_an_element_was_read_often_and_is_0_where_never(device):
    for options, expected in [({"scale_factor": 2}, [3, 7]), ({"size": 5}, [6, 9]), ({"size": 1}, [1, 0])]:
        x = row([5, 6], device=device, requires_grad=True)
        y = F.interpolate(x, **options)
        y.backward(np_row_like(y))
        assert x.grad.numpy().ravel().tolist() == expected


def np_row_like(y):
    """1, 2, 3, ... in the shape of y, beside it."""
    return Tensor(np.arange(1.0, y.size + 1).reshape(y.shape), device=y.device)


def test_an_infinity_is_seen_only_where_it_counts(device):
    """By index, not as a product with 0: PyTorch's bilinear makes NaN of 0 · ∞, even where nothing is resized."""
    x = row([1, np.inf, 3, 4, 5, 6], device=device)
    inf = np.inf
    for options, expected in [
        ({"scale_factor": 2}, [1, 1, inf, inf, 3, 3, 4, 4, 5, 5, 6, 6]),
        ({"size": 3}, [1, 3, 5]),
        ({"size": 6, "mode": "linear"}, [1, inf, 3, 4, 5, 6]),
        ({"size": 2, "mode": "linear"}, [inf, 5]),
        ({"size": 11, "mode": "linear", "align_corners": True}, [1, inf, inf, inf, 3, 3.5, 4, 4.5, 5, 5.5, 6]),
    ]:
        assert F.interpolate(x, **options).numpy().ravel().tolist() == expected


@pytest.mark.torch
def test_torch_multiplies_an_infinity_by_0():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = [1.0, np.inf, 3.0]
    theirs = torch.nn.functional.interpolate(torch.tensor([[x]]), 3, mode="linear", align_corners=True)
    assert theirs.isnan().any()
    assert F.interpolate(row(x), 3, mode="linear", align_corners=True).numpy().ravel().tolist() == x


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_an_infinite_gradient_reaches_only_what_was_read(mode, device):
    x = row([1, 2, 3, 4, 5, 6, 7, 8, 9], device=device, requires_grad=True)
    F.interpolate(x, 3, mode=mode).backward(row([np.inf, 1, 2], device=device))
    read = [0, 3, 6] if mode == "nearest" else [1, 4, 7]
    expected = np.zeros(9)
    expected[read] = [np.inf, 1, 2]
    np.testing.assert_array_equal(host(x.grad).ravel(), expected)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_nearest_of_integers_are_integers(mode, device):
    x = Tensor(np.arange(24).reshape(1, 2, 4, 3), device=device)
    y = F.interpolate(x, (3, 2), mode=mode)
    assert y.dtype == np.int64
    assert_close(y, by_loops(host(x), size=(3, 2), mode=mode).astype(int), 0)
    assert F.interpolate(Tensor(x > 3), 2, mode=mode).dtype == np.bool_
    assert F.interpolate(x, (3, 2), mode="bilinear").dtype == np.float32


def test_what_keeps_its_size_is_left_alone(device, rng):
    x = Tensor(rng.standard_normal((2, 3, 4, 2)), device=device)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        assert F.interpolate(x, (3, 4), mode=mode) is x
        assert F.interpolate(x, scale_factor=1, mode=mode) is x
    assert F.interpolate(x, (3, 4), mode="bilinear", align_corners=True) is x
    assert F.interpolate(x, scale_factor=1.1) is x
    assert F.interpolate(x, scale_factor=1.1, mode="nearest-exact") is x  # 0, 1, 2 and 0, 1, 2, 3 all the same
    assert F.interpolate(x, scale_factor=1.1, mode="bicubic") is not x


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_memory_order_and_raw_arrays(mode, device, rng):
    (x,) = leaves([rng.standard_normal((2, 4, 5, 3))], device)
    y = F.interpolate(x, (7, 3), mode=mode)
    g = Tensor(rng.standard_normal(y.shape), device=device)
    (expected,) = minidl.grad(y, [x], g)
    for mixed in (scattered(x), scattered(x, axis=1), x[:, ::-1, ::-1][:, ::-1, ::-1]):
        y_mixed = F.interpolate(mixed, (7, 3), mode=mode)
        assert_close(y_mixed, y, 0)
        (gradient,) = minidl.grad(y_mixed, [x], scattered(g))
        assert_close(gradient, expected, 1e-14)
    raw = F.interpolate(x.data, (7, 3), mode=mode)
    assert not isinstance(raw, Tensor)
    assert_close(raw, y, 0)


@pytest.mark.parametrize("mode", IMAGE_MODES, ids=str)
def test_full_second_derivatives(mode, device, rng):
    (x,) = leaves([rng.standard_normal((1, 3, 2, 2))], device)
    minidl.gradgradcheck(lambda x: F.interpolate(x, (2, 5), **mode) ** 2, [x])


IMAGES = (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (IMAGES, {}, "expected size or scale_factor, got neither"),
        (IMAGES, {"size": 2, "scale_factor": 2}, "expected size or scale_factor, got both"),
        (IMAGES, {"size": 2, "mode": "linear"}, r"mode 'linear' resizes \(N, W, C\), .* got shape \(2, 3, 4, 5\)"),
        (IMAGES, {"size": 2, "mode": "trilinear"}, r"mode 'trilinear' resizes \(N, D, H, W, C\), .* got shape"),
        ((2, 3, 4), {"size": 2, "mode": "bilinear"}, r"mode 'bilinear' resizes \(N, H, W, C\), .* \(2, 3, 4\)"),
        ((2, 3, 4), {"size": 2, "mode": "bicubic"}, r"mode 'bicubic' resizes \(N, H, W, C\), .* \(2, 3, 4\)"),
        ((2, 3), {"size": 2}, r"mode 'nearest' resizes \(N, W, C\) or \(N, H, W, C\) or .* got shape \(2, 3\)"),
        ((2, 0, 4, 1), {"size": 2}, r".* none of these sizes 0; got shape \(2, 0, 4, 1\)"),
        ((2, 3, 0, 1), {"size": 2}, r".* none of these sizes 0; got shape \(2, 3, 0, 1\)"),
        (IMAGES, {"size": 2, "mode": "area", "align_corners": True}, "mode 'area' has no corners to align; leave"),
        (IMAGES, {"size": 2, "mode": "lanczos"}, "mode must be one of nearest, nearest-exact, linear, .* 'lanczos'"),
        (IMAGES, {"size": 2, "mode": None}, "mode must be one of .* got None"),
        (IMAGES, {"size": 2, "mode": "bilinear", "antialias": True}, "antialias is not there; smooth before"),
        (IMAGES, {"size": 2, "align_corners": False}, "mode 'nearest' has no corners to align; leave"),
        (IMAGES, {"size": 2, "mode": "nearest-exact", "align_corners": True}, "mode 'nearest-exact' has no corners"),
        (IMAGES, {"size": 2, "recompute_scale_factor": True}, "recompute_scale_factor needs .* got size=2"),
        (IMAGES, {"size": 0}, "size must be one or 2 positive whole numbers, got 0"),
        (IMAGES, {"size": (2, -1)}, r"size must be one or 2 positive whole numbers, got \(2, -1\)"),
        (IMAGES, {"size": 2.5}, "size must be .* got 2.5"),
        (IMAGES, {"size": True}, "size must be .* got True"),
        (IMAGES, {"size": (2,)}, r"size must be .* got \(2,\)"),
        (IMAGES, {"size": (2, 3, 4)}, r"size must be one or 2 positive whole numbers, got \(2, 3, 4\)"),
        (IMAGES, {"size": "22"}, "size must be .* got '22'"),
        (IMAGES, {"scale_factor": 0}, "scale_factor must be one or 2 positive numbers, got 0"),
        (IMAGES, {"scale_factor": -1.5}, "scale_factor must be one or 2 positive numbers, got -1.5"),
        (IMAGES, {"scale_factor": float("inf")}, "scale_factor must be .* got inf"),
        (IMAGES, {"scale_factor": float("nan")}, "scale_factor must be .* got nan"),
        (IMAGES, {"scale_factor": (2.0, 2.0, 2.0)}, r"scale_factor must be .* got \(2.0, 2.0, 2.0\)"),
        (IMAGES, {"scale_factor": 0.3}, r"scale_factor 0.3 leaves nothing of the sizes \(3, 4\)"),
    ],
)  # fmt: skip
def test_wrong_calls(shape, options, message, device):
    with pytest.raises(ValueError, match=f"^interpolate: {message}"):
        F.interpolate(Tensor(np.ones(shape), device=device), **options)


# ---- pixel shuffle

SHUFFLES = {  # images, and a factor
    "plain": ((2, 3, 2, 12), 2),
    "one channel": ((2, 2, 3, 9), 3),
    "factor one": ((2, 3, 4, 5), 1),
    "one pixel": ((1, 1, 1, 8), 2),
    "no images": ((0, 2, 3, 4), 2),
    "no channels": ((2, 2, 3, 0), 2),
}


@pytest.mark.parametrize("name", SHUFFLES)
def test_pixel_shuffle_and_its_inverse(name, device, rng):
    shape, r = SHUFFLES[name]
    x = rng.standard_normal(shape)
    y = F.pixel_shuffle(Tensor(x, device=device), r)
    assert_close(y, oracle.pixel_shuffle(x, r), 0)
    assert_close(F.pixel_unshuffle(y, r), x, 0)
    check_operator(lambda x: F.pixel_shuffle(x, r) * 1, [x], device)
    check_operator(lambda y: F.pixel_unshuffle(y, r) * 1, [host(y)], device)


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in SHUFFLES if not name.startswith("no ")])
def test_pixel_shuffle_against_torch(name, rng):
    shape, r = SHUFFLES[name]
    x = rng.standard_normal(shape)
    y = oracle.pixel_shuffle(x, r)
    for name, array, g in [("pixel_shuffle", x, rng.standard_normal(y.shape)), ("pixel_unshuffle", y, 2 * x)]:
        value, (gradient,) = value_and_gradients(lambda x, name=name: getattr(F, name)(x, r) * 1, [array], g, "cpu")
        expected, (expected_gradient,) = torch_value_and_gradients(
            lambda torch_f, x, name=name: getattr(torch_f, name)(x, r), [array], ["image"], g, "image"
        )
        assert_close(value, expected, 0)
        assert_close(gradient, expected_gradient, 0)


def test_axes_before_the_image_are_left_alone(device, rng):
    x = rng.standard_normal((2, 3, 2, 3, 8))
    several, one = Tensor(x, device=device), Tensor(x.reshape(6, 2, 3, 8), device=device)
    assert_close(F.pixel_shuffle(several, 2), F.pixel_shuffle(one, 2).reshape(2, 3, 4, 6, 2), 0)
    assert_close(F.pixel_shuffle(several[0, 0], 2), F.pixel_shuffle(one, 2)[0], 0)
    y = F.pixel_shuffle(several, 2)
    assert_close(F.pixel_unshuffle(y, 2), x, 0)
    assert_close(F.pixel_unshuffle(y[0, 0], 2), x[0, 0], 0)


@pytest.mark.parametrize("function", [F.pixel_shuffle, F.pixel_unshuffle])
def test_shuffled_integers_and_raw_arrays(function, device):
    x = Tensor(np.arange(2 * 4 * 6 * 4).reshape(2, 4, 6, 4), device=device)
    assert function(x, 2).dtype == np.int64
    raw = function(x.data, 2)
    assert not isinstance(raw, Tensor)
    assert_close(raw, function(x, 2), 0)


@pytest.mark.parametrize(
    ("function", "shape", "factor", "message"),
    [
        (F.pixel_shuffle, (2, 3, 4, 6), 2, r"upscale_factor 2 needs 4·C channels .* 6\)"),
        (F.pixel_shuffle, (3, 4), 2, r"expected images \(N, H, W, C\), got shape \(3, 4\)"),
        (F.pixel_shuffle, (2, 3, 4, 4), 0, "upscale_factor must be an integer of at least 1, got 0"),
        (F.pixel_shuffle, (2, 3, 4, 4), 2.0, "upscale_factor must be an integer of at least 1, got 2.0"),
        (F.pixel_shuffle, (2, 3, 4, 4), True, "upscale_factor must be an integer of at least 1, got True"),
        (F.pixel_unshuffle, (2, 3, 4, 1), 2, r"downscale_factor 2 must divide height and width .* 1\)"),
        (F.pixel_unshuffle, (2, 4, 5, 1), 2, "downscale_factor 2 must divide height and width"),
        (F.pixel_unshuffle, (4, 4), 2, r"expected images \(N, H, W, C\), got shape \(4, 4\)"),
        (F.pixel_unshuffle, (2, 4, 4, 1), -2, "downscale_factor must be an integer of at least 1, got -2"),
        (F.pixel_unshuffle, (2, 4, 4, 1), (2, 2), r"downscale_factor must be .* got \(2, 2\)"),
    ],
)  # fmt: skip
def test_wrong_shuffles(function, shape, factor, message, device):
    with pytest.raises(ValueError, match=f"^{function.__name__}: {message}"):
        function(Tensor(np.ones(shape), device=device), factor)
