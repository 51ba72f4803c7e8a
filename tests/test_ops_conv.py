"""conv2d, the two operations its gradients are made of, and conv_transpose2d."""

import fakecupy
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
    largest_error,
    leaves,
    relative_error,
    scattered,
    separated,
    torch_conv2d,
    torch_conv_transpose2d,
    torch_value_and_gradients,
    value_and_gradients,
)

import minidl
from minidl import Tensor, backend, naive
from minidl import functional as F


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


CONVOLUTIONS = hard_shapes.CONVOLUTIONS | hard_shapes.ONE_SIDED
FILTERS = ["image", "filter", None]  # the layouts of x, weight and bias


def arrays_of(name, rng):
    x_shape, weight_shape, options = CONVOLUTIONS[name]
    return [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])], options


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_values(name, device, rng):
    arrays, options = arrays_of(name, rng)
    x, weight, bias = leaves(arrays, device)
    assert_close(F.conv2d(x, weight, bias, **options), oracle.conv2d(*arrays, **options))
    assert_close(F.conv2d(x, weight, **options), oracle.conv2d(*arrays[:2], **options))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_and_manners(name, device, rng):
    arrays, options = arrays_of(name, rng)
    check_operator(lambda *inputs: F.conv2d(*inputs, **options), arrays, device)


@pytest.mark.parametrize(
    "options", [{"stride": (2, 1), "padding": ((0, 1), (2, 0))}, {"groups": 2, "dilation": (1, 2)}], ids=str
)
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
@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "no images"])
def test_against_torch(name, with_bias, device, rng):
    arrays, options = arrays_of(name, rng)
    arrays = arrays if with_bias else arrays[:2]
    check_against_torch(F.conv2d, torch_conv2d, arrays, options, device)


def check_against_torch(ours, theirs, arrays, options, device):
    g = np.random.default_rng(6).standard_normal(ours(*arrays, **options).shape)
    value, gradients = value_and_gradients(lambda *inputs: ours(*inputs, **options), arrays, g, device)
    expected, expected_gradients = torch_value_and_gradients(
        lambda *inputs: theirs(*inputs, **options), arrays, FILTERS[: len(arrays)], g, "image"
    )
    assert_close(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert_close(gradient, expected_gradient)


small, sides = st.integers(1, 3), st.tuples(st.integers(0, 3), st.integers(0, 3))


@st.composite
def convolutions(draw):
    groups = draw(small)
    KH, KW = draw(small), draw(small)
    options = {
        "stride": draw(st.tuples(small, small)),
        "padding": draw(st.tuples(sides, sides)),
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
        assume(size + sum(P) >= D * (K - 1) + 1)
    return x_shape, weight_shape, options


@given(case=convolutions())
def test_any_convolution_equals_its_loops(case, device):
    x_shape, weight_shape, options = case
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])]
    (top, bottom), (left, right) = options["padding"]
    x_padded = np.pad(arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0)))
    bare = options | {"padding": 0}
    expected = naive.conv2d(x_padded, *arrays[1:], **bare)
    g = rng.standard_normal(expected.shape)
    value, gradients = value_and_gradients(lambda *inputs: F.conv2d(*inputs, **options), arrays, g, device)
    assert_close(value, expected)
    to_x, *others = naive.conv2d_backward(g, x_padded, arrays[1], **bare)
    to_x = to_x[:, top : top + x_shape[1], left : left + x_shape[2]]
    for gradient, loops in zip(gradients, [to_x, *others], strict=True):
        assert_close(gradient, loops)


# ---- algorithms


@pytest.mark.parametrize("algorithm", ["im2col", "naive"])
@pytest.mark.parametrize("name", ["padded", "dilated", "grouped", "all sides differ", "no images"])
def test_every_algorithm_is_the_same_operator(name, algorithm, device, rng):
    arrays, options = arrays_of(name, rng)
    g = rng.standard_normal(oracle.conv2d(*arrays, **options).shape)
    results = [
        value_and_gradients(lambda *inputs, a=a: F.conv2d(*inputs, **options, algorithm=a), arrays, g, device)
        for a in (algorithm, "auto")
    ]
    for actual, expected in zip(*([value, *gradients] for value, gradients in results), strict=True):
        assert largest_error(actual, expected) <= 1e-12


WINOGRADS = {  # images and filters of 3×3, padding: tiles that fit, that stick out, and those of the input gradient
    "tiles of 4 that fit": ((1, 4, 8, 2), (3, 3, 2, 3), 1),
    "tiles that stick out": ((2, 3, 5, 2), (3, 3, 2, 1), 1),
    "not padded": ((2, 5, 4, 1), (3, 3, 1, 2), 0),
    "padded more than the kernel": ((1, 2, 3, 2), (3, 3, 2, 2), ((3, 0), (1, 2))),
    "one pixel": ((2, 1, 1, 3), (3, 3, 3, 2), "same"),
    "no images": ((0, 4, 5, 2), (3, 3, 2, 3), 1),
}


@pytest.mark.parametrize("name", WINOGRADS)
def test_winograd_values_gradients_and_manners(name, device, rng):
    x_shape, weight_shape, padding = WINOGRADS[name]
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])]
    expected = oracle.conv2d(*arrays, padding=1 if padding == "same" else padding)
    convolve = lambda *inputs: F.conv2d(*inputs, padding=padding, algorithm="winograd")  # noqa: E731
    assert largest_error(convolve(*leaves(arrays, device)), expected) <= 1e-12
    check_operator(convolve, arrays, device)
    check_operator(convolve, arrays[:2], device)


def test_winograd_full_second_derivatives(device, rng):
    arrays = [rng.standard_normal(shape) for shape in ((1, 3, 4, 2), (3, 3, 2, 2), (2,), (1, 3, 4, 2))]
    convolve = lambda x, w, b, a: F.conv2d(x, w, b, padding=1, algorithm="winograd", add=a)  # noqa: E731
    minidl.gradgradcheck(convolve, leaves(arrays, device), fast=device != "cpu")


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in WINOGRADS if name != "no images"])
def test_winograd_against_torch(name, device, rng):
    x_shape, weight_shape, padding = WINOGRADS[name]
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])]
    padding = 1 if padding == "same" else padding

    def ours(*inputs, **options):
        return F.conv2d(*inputs, algorithm="winograd", **options)

    check_against_torch(ours, torch_conv2d, arrays, {"padding": padding}, device)


# ---- what follows: add and relu


def followed(algorithm):
    """conv2d with what follows, and the same one by one. The sum keeps away from 0, where ReLU has its kink."""

    def within(x, weight, bias, add):
        return F.conv2d(x, weight, bias, padding=1, algorithm=algorithm, add=add, relu=True)

    def one_by_one(x, weight, bias, add):
        return F.relu(F.conv2d(x, weight, bias, padding=1, algorithm=algorithm) + add)

    return within, one_by_one


def arrays_to_follow(rng, device="cpu"):
    """x, weight, bias, and an `add` that makes all sums distinct numbers of both signs, at least 0.01 from 0."""
    x, weight, bias = (rng.standard_normal(shape) for shape in ((2, 4, 5, 2), (3, 3, 2, 3), (3,)))
    y = oracle.conv2d(x, weight, bias, padding=1)
    return [x, weight, bias, separated(rng, y.shape) - y]


@pytest.mark.parametrize("algorithm", ["auto", "im2col", "winograd", "naive"])
def test_what_follows_is_the_same_as_one_by_one(algorithm, device, rng):
    arrays = arrays_to_follow(rng)
    g = rng.standard_normal(arrays[3].shape)
    for left_out in ((), (2,), (3,), (2, 3)):
        given_arrays = [array for i, array in enumerate(arrays) if i not in left_out]

        def call(*inputs, relu, fused, left_out=left_out):
            inputs = iter(inputs)
            x, weight, bias, add = (None if i in left_out else next(inputs) for i in range(4))
            if fused:
                return F.conv2d(x, weight, bias, padding=1, algorithm=algorithm, add=add, relu=relu)
            y = F.conv2d(x, weight, bias, padding=1, algorithm=algorithm)
            y = y if add is None else y + add
            return F.relu(y) if relu else y

        for relu in (False, True):
            results = [
                value_and_gradients(lambda *xs, f=f, r=relu: call(*xs, relu=r, fused=f), given_arrays, g, device)
                for f in (True, False)
            ]
            for actual, expected in zip(*([value, *gradients] for value, gradients in results), strict=True):
                assert largest_error(actual, expected) <= 1e-12


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_what_follows_gradients_and_manners(algorithm, device, rng):
    within, _ = followed(algorithm)
    arrays = arrays_to_follow(rng)
    y = host(within(*leaves(arrays, "cpu")))
    assert (y == 0).any()
    assert (y > 0).any()
    check_operator(within, arrays, device)


@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_what_follows_full_second_derivatives(algorithm, device, rng):
    within, one_by_one = followed(algorithm)
    arrays = [array[:1] if array.ndim == 4 and len(array) == 2 else array for array in arrays_to_follow(rng)]
    minidl.gradgradcheck(within, leaves(arrays, device), fast=device != "cpu")
    inputs = leaves(arrays, device)
    g = Tensor(rng.standard_normal(arrays[3].shape), requires_grad=True, device=device)
    second = []
    for function in (within, one_by_one):
        first = minidl.grad(function(*inputs), inputs, g, create_graph=True)
        total = sum(((gradient * gradient).sum() for gradient in first[1:]), (first[0] * first[0]).sum())
        second.append(minidl.grad(total, [inputs[0], inputs[1], g]))
    for actual, expected in zip(*second, strict=True):
        assert largest_error(actual, expected) <= 1e-12


def test_at_the_kink_nothing_goes_through(device):
    """As relu: where the sum is 0 the gradient is 0, to all inputs."""
    arrays = [np.array(values).reshape(1, 1, -1, 1) for values in ([[2.0, 3.0, 4.0]], [[1.0]], [[-2.0, -3.5, -3.0]])]
    x, weight, add = leaves(arrays, device)
    y = F.conv2d(x, weight, add=add, relu=True)
    to_x, to_weight, to_add = minidl.grad(y, [x, weight, add], Tensor(np.ones(y.shape), device=device))
    assert host(y).ravel().tolist() == [0, 0, 1]
    assert host(to_x).ravel().tolist() == host(to_add).ravel().tolist() == [0, 0, 1]
    assert host(to_weight).ravel().tolist() == [4]


def test_what_is_not_finite_follows_as_in_relu(device):
    x = Tensor(np.array([np.nan, np.inf, -np.inf, 1.0]).reshape(1, 1, 4, 1), requires_grad=True, device=device)
    weight = Tensor(np.ones((1, 1, 1, 1)), device=device)
    y = F.conv2d(x, weight, relu=True)
    (gradient,) = minidl.grad(y, [x], Tensor(np.full(y.shape, 2.0), device=device))
    np.testing.assert_array_equal(host(y).ravel(), [np.nan, np.inf, 0, 1])
    np.testing.assert_array_equal(host(gradient).ravel(), [2, 2, 0, 2])


def test_what_follows_in_float16_and_raw_arrays(device, rng):
    arrays = [array.astype(np.float16) for array in arrays_to_follow(rng)]
    within, one_by_one = followed("auto")
    y = within(*leaves(arrays, device))
    assert y.dtype == np.float16
    assert_close(y, one_by_one(*leaves(arrays, device)), 0)
    raw = within(*(x.data for x in leaves(arrays, device)))
    assert not isinstance(raw, Tensor)
    assert_close(raw, y, 0)


@pytest.mark.parametrize("shape", [(2, 5, 6, 4), (2, 3, 5, 1), (1, 3, 5, 6), (6,), (), (2, 6, 3, 5)], ids=str)
def test_what_is_added_has_the_shape_of_the_result(shape, device):
    """It does not broadcast: a bias is given as a bias."""
    x, weight = Tensor(np.ones(X), device=device), Tensor(np.ones(WEIGHT), device=device)
    message = r"^conv2d: expected something of shape \(2, 3, 5, 6\) to add to the result, got add of shape "
    with pytest.raises(ValueError, match=message + str(shape).replace("(", r"\(").replace(")", r"\)")):
        F.conv2d(x, weight, add=Tensor(np.ones(shape), device=device))


def test_what_cannot_be_added(device):
    x, weight = Tensor(np.ones(X, np.float32), device=device), Tensor(np.ones(WEIGHT, np.float32), device=device)
    with pytest.raises(TypeError, match="^conv2d: the input is float32 and the add float64; convert one"):
        F.conv2d(x, weight, add=Tensor(np.ones((2, 3, 5, 6)), device=device))
    for wrong in ([[1.0]], 1.0, "x"):
        with pytest.raises(TypeError, match=f"^conv2d: expected a Tensor or an array, got {type(wrong).__name__}"):
            F.conv2d(x, weight, add=wrong)


def test_what_is_added_is_on_the_same_device(fake_gpu):
    x, weight = Tensor(np.ones(X), device="gpu"), Tensor(np.ones(WEIGHT), device="gpu")
    for place in ("cpu", "gpu:1"):
        with pytest.raises(minidl.DeviceError, match="^conv2d: operands on different devices: .* is on gpu:0, "):
            F.conv2d(x, weight, add=Tensor(np.ones((2, 3, 5, 6)), device=place))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "fft"}, "algorithm must be one of 'auto', 'im2col', 'winograd', 'naive'; got 'fft'"),
        ({"algorithm": None}, "algorithm must be one of .*; got None"),
        ({"algorithm": "winograd"}, r'algorithm="winograd" computes 3×3 filters .* of 3×2 with stride \(1, 1\)'),
        (
            {"algorithm": "winograd", "stride": 2, "groups": 2},
            r"algorithm=.* stride \(2, 2\), dilation \(1, 1\) and groups=2",
        ),
    ],
    ids=str,
)
def test_wrong_algorithms(options, message, device):
    x = Tensor(np.ones(X), device=device)
    weight = Tensor(np.ones((3, 2, 4 // options.get("groups", 1), 6)), device=device)
    with pytest.raises(ValueError, match=f"^conv2d: {message}"):
        F.conv2d(x, weight, **options)


def test_algorithm_add_and_relu_are_keywords(device):
    x, weight = Tensor(np.ones(X), device=device), Tensor(np.ones(WEIGHT), device=device)
    with pytest.raises(TypeError, match="positional arguments"):
        F.conv2d(x, weight, None, 1, 0, 1, 1, "im2col")


# ---- padding by name


@pytest.mark.parametrize("name", hard_shapes.SAME)
def test_same_keeps_the_size(name, device, rng):
    x_shape, weight_shape, options = hard_shapes.SAME[name]
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])]
    assert F.conv2d(*leaves(arrays, device), padding="same", **options).shape == (*x_shape[:3], weight_shape[3])
    check_operator(lambda *inputs: F.conv2d(*inputs, padding="same", **options), arrays, device)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", hard_shapes.SAME)
def test_same_against_torch(name, device, rng):
    x_shape, weight_shape, options = hard_shapes.SAME[name]
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[3:])]
    check_against_torch(
        F.conv2d, lambda torch_f, *inputs, **options: torch_f.conv2d(*inputs, **options), arrays,
        options | {"padding": "same"}, device,
    )  # fmt: skip


def test_of_an_odd_number_same_puts_the_last_zero_at_the_end(device):
    x, weight = (np.array(values).reshape(shape) for values, shape in (([1.0, 2, 3, 4], (1, 1, 4, 1)), ([1.0, 10], 2)))
    for turned, kernel in (((0, 1, 2, 3), (1, 2, 1, 1)), ((0, 2, 1, 3), (2, 1, 1, 1))):
        x_turned, weight_turned = leaves([x.transpose(turned), weight.reshape(kernel)], device)
        assert host(F.conv2d(x_turned, weight_turned, padding="same")).ravel().tolist() == [21, 32, 43, 4]


def test_valid_is_no_padding(device, rng):
    arrays, options = arrays_of("stride with a remainder, overlapping", rng)
    assert_close(F.conv2d(*leaves(arrays, device), padding="valid", **options), oracle.conv2d(*arrays, **options))


# ---- conv2d: sizes, kinds and memory


def test_images_without_channels(device, rng):
    """A sum of nothing is 0. (PyTorch 2.13 gives such an output no channels either, whatever the number of filters.)"""
    arrays = [np.zeros((2, 5, 4, 0)), np.zeros((3, 2, 0, 4)), rng.standard_normal(4)]
    convolve = lambda *inputs: F.conv2d(*inputs, stride=2, padding=1, groups=2)  # noqa: E731
    assert_close(convolve(*leaves(arrays, device)), np.broadcast_to(arrays[2], (2, 3, 3, 4)))
    g = rng.standard_normal((2, 3, 3, 4))
    _, (to_x, to_weight, to_bias) = value_and_gradients(convolve, arrays, g, device)
    assert (to_x.shape, to_weight.shape) == ((2, 5, 4, 0), (3, 2, 0, 4))
    assert_close(to_bias, g.sum(axis=(0, 1, 2)))


@pytest.mark.torch
def test_of_images_without_channels_torch_makes_images_without_channels():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    shape = torch.nn.functional.conv2d(torch.ones(2, 0, 5, 4), torch.ones(6, 0, 3, 2), torch.ones(6)).shape
    assert shape == (2, 0, 3, 3)
    y = F.conv2d(Tensor(np.ones((2, 5, 4, 0))), Tensor(np.ones((3, 2, 0, 6))), Tensor(np.arange(6.0)))
    np.testing.assert_array_equal(host(y), np.broadcast_to(np.arange(6), (2, 3, 3, 6)))


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
        ((2, 0, 6, 4), WEIGHT, None, {"padding": 2}, r"only N and the weight's third axis .* got \(2, 0, 6, 4\)"),
        (X, (3, 2, 4, 0), None, {}, r"only N and the weight's third axis may be 0, got .* and \(3, 2, 4, 0\)"),
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
        (X, WEIGHT, None, {"padding": (1, -1)}, "padding must be .* at least 0; got -1"),
        (X, WEIGHT, None, {"padding": (1, 2, 3)}, r"padding must be .* got \(1, 2, 3\)"),
        (X, WEIGHT, None, {"padding": ((1, 2, 3), (0, 0))}, r"padding must be .* got \(1, 2, 3\)"),
        (X, WEIGHT, None, {"padding": ((0, 1), (0, -1))}, r"padding must be .* got \(0, -1\)"),
        (X, WEIGHT, None, {"padding": 0.5}, "padding must be .* got 0.5"),
        (X, WEIGHT, None, {"padding": "full"}, 'padding must be numbers, "same" or "valid"; got .full'),
        (X, WEIGHT, None, {"padding": "same", "stride": (1, 2)}, r'padding="same" keeps the size .* got \(1, 2\)'),
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


@pytest.mark.parametrize("function", [F.conv2d, F.conv_transpose2d])
def test_what_is_no_array(function, device):
    x, weight = Tensor(np.ones((2, 3, 3, 4)), device=device), Tensor(np.ones((1, 1, 4, 4)), device=device)
    for arguments in ((host(x).tolist(), weight), (x, host(weight).tolist()), (x, None), (x, weight, [0.0] * 4)):
        with pytest.raises(
            TypeError, match=f"^{function.__name__}: expected a Tensor or an array, got (list|NoneType)"
        ):
            function(*arguments)


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


# ---- conv_transpose2d


def transposed_arrays(name, rng):
    x_shape, weight_shape, options = hard_shapes.TRANSPOSED[name]
    bias_shape = (weight_shape[2] * options.get("groups", 1),)
    return [rng.standard_normal(shape) for shape in (x_shape, weight_shape, bias_shape)], options


@pytest.mark.parametrize("name", hard_shapes.TRANSPOSED)
def test_transposed_values(name, device, rng):
    arrays, options = transposed_arrays(name, rng)
    x, weight, bias = leaves(arrays, device)
    assert_close(F.conv_transpose2d(x, weight, bias, **options), oracle.conv_transpose2d(*arrays, **options))
    assert_close(F.conv_transpose2d(x, weight, **options), oracle.conv_transpose2d(*arrays[:2], **options))


@pytest.mark.parametrize("name", hard_shapes.TRANSPOSED)
def test_transposed_gradients_and_manners(name, device, rng):
    arrays, options = transposed_arrays(name, rng)
    check_operator(lambda *inputs: F.conv_transpose2d(*inputs, **options), arrays, device)


@pytest.mark.parametrize(
    "options",
    [{"stride": (2, 1), "padding": ((0, 1), (1, 0)), "output_padding": (1, 0)}, {"groups": 2, "dilation": (1, 2)}],
    ids=str,
)
def test_transposed_full_second_derivatives(options, device, rng):
    arrays = [rng.standard_normal(shape) for shape in ((2, 2, 3, 2), (2, 2, 2, 2), (2 * options.get("groups", 1),))]
    minidl.gradgradcheck(lambda *inputs: F.conv_transpose2d(*inputs, **options), leaves(arrays, device))


@pytest.mark.torch
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", [name for name in hard_shapes.TRANSPOSED if name != "no images"])
def test_transposed_against_torch(name, with_bias, device, rng):
    arrays, options = transposed_arrays(name, rng)
    arrays = arrays if with_bias else arrays[:2]
    check_against_torch(F.conv_transpose2d, torch_conv_transpose2d, arrays, options, device)


@st.composite
def transposed_convolutions(draw):
    groups = draw(small)
    options = {name: draw(st.tuples(small, small)) for name in ("stride", "dilation")}
    steps = zip(options["stride"], options["dilation"], strict=True)
    options["output_padding"] = tuple(draw(st.integers(0, max(both) - 1)) for both in steps)
    options |= {"padding": draw(st.tuples(sides, sides)), "groups": groups}
    C = groups * draw(st.integers(1, 2))
    x_shape = (draw(st.integers(0, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)), C)
    weight_shape = (draw(small), draw(small), draw(st.integers(1, 2)), C)
    for i, (before, after) in enumerate(options["padding"]):
        whole = (x_shape[1 + i] - 1) * options["stride"][i] + options["dilation"][i] * (weight_shape[i] - 1) + 1
        assume(whole - before - after + options["output_padding"][i] >= 1)
    return x_shape, weight_shape, options


@given(case=transposed_convolutions())
def test_any_transposed_convolution_equals_its_loops(case, device):
    x_shape, weight_shape, options = case
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in (x_shape, weight_shape, weight_shape[2] * options["groups"])]
    expected = oracle.conv_transpose2d(*arrays, **options)
    g = rng.standard_normal(expected.shape)
    value, gradients = value_and_gradients(lambda *inputs: F.conv_transpose2d(*inputs, **options), arrays, g, device)
    assert_close(value, expected)
    uncut = np.pad(g, ((0, 0), *options["padding"], (0, 0)))  # what is cut off has no influence
    bare = options | {"padding": 0}
    for gradient, loops in zip(gradients, naive.conv_transpose2d_backward(uncut, *arrays[:2], **bare), strict=True):
        assert_close(gradient, loops)


@given(case=convolutions())
def test_it_is_the_transpose_of_the_convolution_with_its_weight(case, device):
    """⟨conv2d(x, w), y⟩ = ⟨x, conv_transpose2d(y, w)⟩, with integers to the last bit: no option is read differently."""
    x_shape, weight_shape, options = case
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-4, 5, shape).astype(float) for shape in (x_shape, weight_shape))
    convolved = oracle.conv2d(x, weight, **options)
    y = rng.integers(-4, 5, convolved.shape).astype(float)
    more = tuple(
        (n + sum(P) - D * (K - 1) - 1) % S
        for n, P, D, K, S in zip(
            x_shape[1:3], options["padding"], options["dilation"], weight_shape[:2], options["stride"], strict=True
        )
    )
    back = F.conv_transpose2d(*leaves([y, weight], device), output_padding=more, **options)
    assert back.shape == x_shape
    assert (host(back) * x).sum() == (convolved * y).sum()


def test_transposed_memory_order_does_not_matter(device, rng):
    arrays, options = transposed_arrays("less cut", rng)
    expected = oracle.conv_transpose2d(*arrays, **options)
    x, weight, bias = leaves(arrays, device)
    for mixed in (scattered(x), scattered(x, axis=1), x[:, ::-1, ::-1][:, ::-1, ::-1]):
        assert_close(F.conv_transpose2d(mixed, scattered(weight), bias, **options), expected)


def test_transposed_dtypes_and_raw_arrays(device, rng):
    x, weight = Tensor(np.ones((1, 2, 3, 2), int), device=device), Tensor(np.ones((2, 2, 1, 2), int), device=device)
    assert F.conv_transpose2d(x, weight).dtype == np.float32
    assert_close(F.conv_transpose2d(x, weight, stride=2), np.full((1, 4, 6, 1), 2.0))
    with pytest.raises(TypeError, match=r"^conv_transpose2d: the input is float32 and the weight float64; convert one"):
        F.conv_transpose2d(x.astype(np.float32), weight.astype(np.float64))
    arrays, options = transposed_arrays("less cut", rng)
    raw = F.conv_transpose2d(*(x.data for x in leaves(arrays, device)), **options)
    assert not isinstance(raw, Tensor)
    assert_close(raw, oracle.conv_transpose2d(*arrays, **options))


def test_transposed_to_no_channels(device, rng):
    arrays = [rng.standard_normal((2, 3, 2, 4)), np.zeros((3, 2, 0, 4))]
    assert F.conv_transpose2d(*leaves(arrays, device), stride=2).shape == (2, 7, 4, 0)


BACK = (3, 2, 6, 4)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "options", "message"),
    [
        ((2, 4, 5, 6), BACK, None, {}, r"input \(2, 4, 5, 6\) has 6 channels on its last axis, weight \(3, 2, 6"),
        ((2, 4, 5, 6), BACK, None, {}, r"expects 4; images are .* and the weight is \(KH, KW, F/groups, C\)"),
        ((5, 6, 4), BACK, None, {}, r"a weight \(KH, KW, F/groups, C\).* got \(5, 6, 4\) and \(3, 2, 6, 4\)"),
        ((2, 0, 6, 4), BACK, None, {}, r"only N and the weight's third axis .* got \(2, 0, 6, 4\)"),
        ((2, 5, 6, 0), (3, 2, 6, 0), None, {}, r"only N and the weight's third axis may be 0, got .* \(3, 2, 6, 0\)"),
        (X, (4, 6), None, {}, r"got \(2, 5, 6, 4\) and \(4, 6\)"),
        (X, (3, 0, 6, 4), None, {}, r"got \(2, 5, 6, 4\) and \(3, 0, 6, 4\)"),
        (X, BACK, (4,), {}, r"expected a bias of shape \(6,\), one a filter, got \(4,\)"),
        (X, BACK, (6,), {"groups": 2}, r"expected a bias of shape \(12,\), one a filter, got \(6,\)"),
        (X, BACK, None, {"groups": 3}, "groups=3 must divide the 4 channels$"),
        (X, BACK, None, {"groups": -1}, "groups=-1 must divide"),
        (X, BACK, None, {"stride": 0}, "stride must be an integer or a pair of integers, at least 1; got 0"),
        (X, BACK, None, {"dilation": (1, 0)}, r"dilation must be .* got \(1, 0\)"),
        (X, BACK, None, {"padding": "same"}, "padding must be .* got 'same'"),
        (X, BACK, None, {"padding": ((0, 1), (0, -1))}, r"padding must be .* got \(0, -1\)"),
        (X, BACK, None, {"output_padding": -1}, "output_padding must be .* at least 0; got -1"),
        (X, BACK, None, {"output_padding": 1}, r"output_padding must be less than the stride \(1, 1\) or .* got 1"),
        (X, BACK, None, {"output_padding": (1, 2), "stride": 2}, r"output_padding must be less .* got \(1, 2\)"),
        (X, BACK, None, {"output_padding": (2, 0), "stride": (1, 3), "dilation": 2}, "output_padding must be less"),
        (X, BACK, None, {"padding": (4, 0)}, r"of a result of 7×7, padding=\(4, 0\) leaves -1×7"),
        (X, BACK, None, {"padding": ((0, 0), (3, 4))}, "of a result of 7×7, .* leaves 7×0"),
    ],
)  # fmt: skip
def test_wrong_transposed_calls(x, weight, bias, options, message, device):
    x, weight = Tensor(np.ones(x), device=device), Tensor(np.ones(weight), device=device)
    bias = None if bias is None else Tensor(np.ones(bias), device=device)
    with pytest.raises(ValueError, match=f"^conv_transpose2d: .*{message}"):
        F.conv_transpose2d(x, weight, bias, **options)
