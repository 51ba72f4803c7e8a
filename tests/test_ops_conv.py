"""conv2d, and the two operations its gradients are made of."""

import hard_shapes
import numpy as np
import oracle
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from judge import (
    assert_close,
    check_operator,
    leaves,
    relative_error,
    scattered,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor, naive
from minidl import functional as F


def arrays_of(name, rng):
    x_shape, weight_shape, options = hard_shapes.CONVOLUTIONS[name]
    return [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])], options


@pytest.mark.parametrize("name", hard_shapes.CONVOLUTIONS)
def test_values(name, device, rng):
    arrays, options = arrays_of(name, rng)
    x, weight, bias = leaves(arrays, device)
    assert_close(F.conv2d(x, weight, bias, **options), oracle.conv2d(*arrays, **options))
    assert_close(F.conv2d(x, weight, **options), oracle.conv2d(*arrays[:2], **options))


@pytest.mark.parametrize("name", hard_shapes.CONVOLUTIONS)
def test_gradients_and_manners(name, device, rng):
    arrays, options = arrays_of(name, rng)
    check_operator(lambda *inputs: F.conv2d(*inputs, **options), arrays, device)


@pytest.mark.parametrize("options", [{"stride": (2, 1), "padding": (0, 1)}, {"groups": 2, "dilation": (1, 2)}], ids=str)
def test_full_second_derivatives(options, device, rng):
    shapes = (2, 3, 4, 2), (2, 2, 2 // options.get("groups", 1), 2), (2,)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    minidl.gradgradcheck(lambda *inputs: F.conv2d(*inputs, **options), leaves(arrays, device))


def test_third_derivatives(device, rng):
    """Bilinear in x and weight: ∂³/∂x∂weight∂(anything else) vanishes, but that of y³ does not."""
    x, weight = leaves([rng.standard_normal((1, 3, 4, 2)), rng.standard_normal((2, 3, 2, 1))], device)

    def hessian_part(x, weight):
        y = F.conv2d(x, weight, padding=(1, 0))
        (to_x,) = minidl.grad((y * y * y).sum(), [x], create_graph=True)
        (to_weight,) = minidl.grad((to_x * to_x).sum(), [weight], create_graph=True)
        return to_weight

    minidl.gradcheck(hessian_part, [x, weight], atol=1e-4, rtol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", [name for name in hard_shapes.CONVOLUTIONS if name != "no images"])
def test_against_torch(name, with_bias, device, rng):
    arrays, options = arrays_of(name, rng)
    arrays = arrays if with_bias else arrays[:2]
    g = rng.standard_normal(oracle.conv2d(*arrays, **options).shape)
    value, gradients = value_and_gradients(lambda *inputs: F.conv2d(*inputs, **options), arrays, g, device)
    expected, expected_gradients = torch_value_and_gradients(
        lambda torch_f, *inputs: torch_f.conv2d(*inputs, **options),
        arrays,
        ["image", "filter", None][: len(arrays)],
        g,
        "image",
    )
    assert_close(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient)


@st.composite
def convolutions(draw):
    small = st.integers(1, 3)
    groups = draw(small)
    KH, KW = draw(small), draw(small)
    options = {
        "stride": draw(st.tuples(small, small)),
        "padding": draw(st.tuples(st.integers(0, 3), st.integers(0, 3))),
        "dilation": draw(st.tuples(small, small)),
        "groups": groups,
    }
    x_shape = (
        draw(st.integers(0, 2)),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
        groups * draw(st.integers(1, 2)),
    )
    weight_shape = (KH, KW, x_shape[3] // groups, groups * draw(st.integers(1, 2)))
    for size, K, P, D in zip(x_shape[1:3], (KH, KW), options["padding"], options["dilation"], strict=True):
        assume(size + 2 * P >= D * (K - 1) + 1)
    return x_shape, weight_shape, options


@given(case=convolutions())
def test_any_convolution_equals_its_loops(case, device):
    x_shape, weight_shape, options = case
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])]
    expected = naive.conv2d(*arrays, **options)
    g = rng.standard_normal(expected.shape)
    value, gradients = value_and_gradients(lambda *inputs: F.conv2d(*inputs, **options), arrays, g, device)
    assert_close(value, expected)
    for gradient, loops in zip(gradients, naive.conv2d_backward(g, *arrays[:2], **options), strict=True):
        assert_close(gradient, loops)


def test_memory_order_does_not_matter(device, rng):
    (x, weight, bias), options = arrays_of("dilated", rng)
    expected = oracle.conv2d(x, weight, bias, **options)
    x, weight, bias = leaves([x, weight, bias], device)
    for mixed in (scattered(x), scattered(x, axis=1), x[:, ::-1, ::-1][:, ::-1, ::-1]):
        assert_close(F.conv2d(mixed, scattered(weight), bias, **options), expected)
    y = F.conv2d(scattered(x), scattered(weight), bias, **options)
    g = Tensor(rng.standard_normal(y.shape), device=device)
    plain = minidl.grad(F.conv2d(x, weight, bias, **options), [x, weight, bias], g)
    for gradient, expected in zip(minidl.grad(y, [x, weight, bias], scattered(g)), plain, strict=True):
        assert_close(gradient, expected)


def test_an_input_used_twice_and_a_broadcast_one(device, rng):
    x, weight = leaves([rng.standard_normal((1, 4, 5, 2)), rng.standard_normal((2, 3, 2, 2))], device)
    minidl.gradcheck(lambda x, w: F.conv2d(F.conv2d(x.expand(2, -1, -1, -1), w, padding=1), w), [x, weight])


def test_only_wanted_gradients_are_computed(device, rng, monkeypatch):
    from minidl.ops import conv

    x, weight, bias = leaves([rng.standard_normal(s) for s in ((2, 4, 5, 2), (2, 3, 2, 3), (3,))], device)
    monkeypatch.setattr(conv.Conv2dInputGradient, "__call__", lambda *_: pytest.fail("a gradient nobody wants"))
    y = F.conv2d(x.detach(), weight, bias)
    y.backward(Tensor(rng.standard_normal(y.shape), device=device))
    assert weight.grad is not None
    assert bias.grad is not None


def test_float32_of_a_realistic_size(device, rng):
    """64 channels and 9·64 terms a sum: float32 stays within 1e-5 of float64, forward and backward."""
    shapes = (4, 12, 10, 64), (3, 3, 64, 32), (32,)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    g = rng.standard_normal((4, 12, 10, 32)).astype(np.float32)
    convolve = lambda *inputs: F.conv2d(*inputs, padding=1)  # noqa: E731
    value, gradients = value_and_gradients(convolve, arrays, g, device)
    wide = [array.astype(np.float64) for array in arrays]
    expected, expected_gradients = value_and_gradients(convolve, wide, g.astype(np.float64), "cpu")
    assert value.dtype == np.float32
    for actual, exact in zip([value, *gradients], [expected, *expected_gradients], strict=True):
        assert actual.dtype == np.float32
        assert relative_error(actual, exact) < 1e-5


def test_integers_become_float32(device):
    x, weight = Tensor(np.ones((1, 3, 4, 2), int), device=device), Tensor(np.ones((2, 3, 2, 1), int), device=device)
    assert F.conv2d(x, weight).dtype == np.float32
    assert F.conv2d(x.astype(np.float32), weight).dtype == np.float32
    assert_close(F.conv2d(x, weight), np.full((1, 2, 2, 1), 12.0))


def test_raw_arrays_give_a_raw_array(device, rng):
    arrays, options = arrays_of("grouped", rng)
    raw = F.conv2d(*(x.data for x in leaves(arrays, device)), **options)
    assert not isinstance(raw, Tensor)
    assert_close(raw, oracle.conv2d(*arrays, **options))


X, WEIGHT = (2, 5, 6, 4), (3, 2, 4, 6)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "options", "message"),
    [
        ((2, 4, 5, 6), WEIGHT, None, {}, r"input \(2, 4, 5, 6\) has 6 channels on its last axis, weight \(3, 2, 4"),
        ((2, 4, 5, 6), WEIGHT, None, {}, r"weight \(3, 2, 4, 6\) expects 4; images are \(N, H, W, C\)"),
        ((5, 6, 4), WEIGHT, None, {}, r"expected images \(N, H, W, C\) and a weight .* got \(5, 6, 4\)"),
        (X, (4, 6), None, {}, r"got \(2, 5, 6, 4\) and \(4, 6\)"),
        (X, (0, 2, 4, 6), None, {}, r"expected images .* got \(2, 5, 6, 4\) and \(0, 2, 4, 6\)"),
        (X, WEIGHT, (4,), {}, r"expected a bias of shape \(6,\), one a filter, got \(4,\)"),
        (X, WEIGHT, (1,), {}, r"expected a bias of shape \(6,\), one a filter, got \(1,\)"),
        (X, WEIGHT, None, {"groups": 3}, "groups=3 must divide the 4 channels and the 6 filters"),
        (X, WEIGHT, None, {"groups": 0}, "groups=0 must divide"),
        (X, WEIGHT, None, {"groups": 1.0}, "groups=1.0 must divide"),
        (X, WEIGHT, None, {"groups": 2}, r"weight \(3, 2, 4, 6\) expects 8"),
        (X, WEIGHT, None, {"stride": 0}, "stride must be an integer or a pair of integers, at least 1; got 0"),
        (X, WEIGHT, None, {"stride": (1, 2, 3)}, r"stride must be .* got \(1, 2, 3\)"),
        (X, WEIGHT, None, {"padding": -1}, "padding must be .* at least 0; got -1"),
        (X, WEIGHT, None, {"padding": "same"}, "padding must be .* got 'same'"),
        (X, WEIGHT, None, {"dilation": 1.5}, "dilation must be .* got 1.5"),
        (X, WEIGHT, None, {"dilation": 3}, "a window of 7×4 does not fit into an image of 5×6 padded to 5×6"),
        ((2, 1, 1, 4), WEIGHT, None, {"padding": (0, 1)}, "a window of 3×2 does not fit .* 1×1 padded to 1×3"),
    ],
)  # fmt: skip
def test_wrong_calls(x, weight, bias, options, message, device):
    x, weight = Tensor(np.ones(x), device=device), Tensor(np.ones(weight), device=device)
    bias = None if bias is None else Tensor(np.ones(bias), device=device)
    with pytest.raises(ValueError, match=f"^conv2d: .*{message}"):
        F.conv2d(x, weight, bias, **options)


def test_images_and_weights_of_two_precisions(device):
    """float32 · float64 would make everything that follows float64, at half the speed."""
    x, weight = Tensor(np.ones(X, np.float32), device=device), Tensor(np.ones(WEIGHT), device=device)
    with pytest.raises(TypeError, match=r"^conv2d: the input is float32 and the weight float64; convert one"):
        F.conv2d(x, weight)
    with pytest.raises(TypeError, match="^conv2d: the input is float64 and the weight float16;"):
        F.conv2d(x.astype("float64"), weight.astype("float16"))
    assert F.conv2d(x.astype("float64"), weight).dtype == np.float64


def test_numpy_integers_are_integers(device, rng):
    arrays, _ = arrays_of("grouped", rng)
    options = {"stride": np.int64(2), "padding": (np.int32(1), 0), "groups": np.int64(2)}
    assert_close(
        F.conv2d(*leaves(arrays, device), **options), oracle.conv2d(*arrays, stride=2, padding=(1, 0), groups=2)
    )
