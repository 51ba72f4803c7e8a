"""The three products of a convolution by every algorithm: the loops' results, and training that comes out the same."""

import threading

import fakecupy
import hard_shapes
import loops
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from judge import host, largest_error

import minidl
import models
from minidl import Tensor, backend, nn
from minidl import functional as F
from minidl.backend import device as as_device
from minidl.backend import to_device
from minidl.data import ArrayDataset, DataLoader
from minidl.data.digits import load_digits
from minidl.kernels import bands, channels, columns, convolution, elementwise, pooling, tiles, winograd
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.window import Window, pair, sides
from minidl.optim import SGD
from minidl.train import Trainer

THREE_BY_THREE = {
    "3×3": ((2, 5, 6, 3), (3, 3, 3, 4), {"padding": 1}),
    "3×3, no padding": ((2, 7, 5, 2), (3, 3, 2, 3), {}),
    "3×3, uneven padding": ((2, 6, 9, 2), (3, 3, 2, 3), {"padding": ((0, 1), (2, 0))}),
    "3×3, wide padding": ((2, 3, 4, 2), (3, 3, 2, 3), {"padding": ((4, 0), (3, 3))}),
    "3×3, one pixel": ((2, 1, 1, 2), (3, 3, 2, 3), {"padding": 1}),
    "3×3, one channel, one filter": ((2, 4, 6, 1), (3, 3, 1, 1), {"padding": 1}),
    "3×3, no images": ((0, 4, 6, 2), (3, 3, 2, 3), {"padding": 1}),
    "3×3, no channels": ((2, 4, 6, 0), (3, 3, 0, 3), {"padding": 1}),
    "one by one, no channels": ((2, 4, 6, 0), (1, 1, 0, 3), {}),
}
EVERY = hard_shapes.CONVOLUTIONS | hard_shapes.ONE_SIDED | THREE_BY_THREE
ALGORITHMS = ["auto", "im2col", "winograd", "naive"]
CASES = [
    (algorithm, name)
    for algorithm in ALGORITHMS
    for name in (THREE_BY_THREE if algorithm == "winograd" else EVERY)
    if algorithm != "winograd" or name.startswith("3×3")
]


def case(x_shape, weight_shape, options, dtype=np.float64):
    """x, weight, bias, g; the window and the groups."""
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
    window = Window(
        weight_shape[:2],
        pair("", "stride", options["stride"], 1),
        sides("", options["padding"]),
        pair("", "dilation", options["dilation"], 1),
    )
    rng = np.random.default_rng(0)
    g_shape = (x_shape[0], *window.output_size(*x_shape[1:3]), weight_shape[3])
    shapes = x_shape, weight_shape, weight_shape[3:], g_shape
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes], window, options["groups"]


def all_three(algorithm, arrays, window, groups):
    """The convolution, and its gradients to x and to weight."""
    x, weight, bias, g = arrays
    return [
        convolution.convolve(x, weight, window, groups, algorithm, Epilogue(bias)),
        convolution.convolve_input_gradient(g, weight, window, groups, algorithm, *x.shape[1:3]),
        convolution.convolve_weight_gradient(x, g, window, groups, algorithm),
    ]


def by_loops(arrays, window, groups):
    options = {"stride": window.stride, "dilation": window.dilation, "groups": groups}
    return loops.convolution(*arrays, padding=window.padding, **options)[:3]


def on(device, arrays):
    return [to_device(array, as_device(device)) for array in arrays]


def scattered(array):
    """The array again, in the other order of memory."""
    return array.T.copy().T


# ---------------------------------------------------------------------------------------------------------- the results


@pytest.mark.parametrize(("algorithm", "name"), CASES)
def test_every_algorithm_equals_the_loops(algorithm, name, device):
    arrays, *options = case(*EVERY[name])
    expected = by_loops(arrays, *options)
    for given_arrays in (on(device, arrays), [scattered(array) for array in on(device, arrays)]):
        for actual, loop in zip(all_three(algorithm, given_arrays, *options), expected, strict=True):
            assert host(actual).dtype == np.float64
            assert backend.device_of(actual) == as_device(device)
            assert largest_error(actual, loop) <= 1e-12


small, two_sides = st.integers(1, 3), st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(
    N=st.integers(0, 3),
    H=st.integers(1, 8),
    W=st.integers(1, 8),
    C=small,
    F=small,
    kernel=st.tuples(small, small),
    padding=st.tuples(two_sides, two_sides),
    stride=st.tuples(small, small),
    dilation=st.tuples(small, small),
    groups=small,
)
def test_anything(N, H, W, C, F, kernel, padding, stride, dilation, groups, device):
    assume(
        all(n + sum(p) > d * (k - 1) for n, p, d, k in zip((H, W), padding, dilation, kernel, strict=True))
    )  # the window fits
    shapes = (N, H, W, C * groups), (*kernel, C, F * groups)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    arrays, *options = case(*shapes, options)
    expected = by_loops(arrays, *options)
    for algorithm in ("auto", "im2col"):
        for actual, loop in zip(all_three(algorithm, on(device, arrays), *options), expected, strict=True):
            assert largest_error(actual, loop) <= 1e-12


def test_naive_is_the_loops_themselves(device):
    """Their sums in their order: to the last bit, where another order gives other bits."""
    arrays, *options = case((2, 6, 7, 8), (3, 3, 8, 4), {"padding": ((1, 0), (2, 1))}, np.float32)
    expected = by_loops(arrays, *options)
    for actual, loop in zip(all_three("naive", on(device, arrays), *options), expected, strict=True):
        np.testing.assert_array_equal(host(actual), loop)
    for other in ("im2col", "winograd"):
        differs = [not np.array_equal(a, e) for a, e in zip(all_three(other, arrays, *options), expected, strict=True)]
        assert all(differs)


def test_float16_stays_float16(device):
    """By columns: the rounding of Winograd's transforms would be 1% of the largest value."""
    arrays, *options = case((2, 9, 10, 64), (3, 3, 64, 48), {"padding": 1}, np.float16)
    exact = all_three("im2col", [array.astype(np.float64) for array in arrays], *options)
    columns_alone = all_three("im2col", on(device, arrays), *options)
    for actual, expected, column in zip(
        all_three("auto", on(device, arrays), *options), exact, columns_alone, strict=True
    ):
        assert host(actual).dtype == np.float16
        assert largest_error(actual, expected) <= 2e-3
        np.testing.assert_array_equal(host(actual), host(column))


# --------------------------------------------------------------------------------------------------------- the choice


@pytest.fixture
def taken(monkeypatch):
    """Which algorithm computes, in place of the result."""
    for module, name in ((winograd, "winograd"), (columns, "im2col")):
        for function in ("convolve", "convolve_input_gradient", "convolve_weight_gradient"):
            monkeypatch.setattr(module, function, lambda *_, name=name: name, raising=False)


LARGE = (8, 56, 56, 128), (3, 3, 128, 128), {"padding": 1}


@pytest.mark.parametrize(
    ("shapes", "dtype", "expected"),
    [
        (LARGE, np.float32, "winograd"),
        (LARGE, np.float64, "winograd"),
        (LARGE, np.float16, "im2col"),
        (((8, 56, 56, 3), (3, 3, 3, 128), {"padding": 1}), np.float32, "im2col"),  # few channels
        (((2, 1, 1, 512), (3, 3, 512, 512), {"padding": 1}), np.float32, "im2col"),  # tiles that are nearly empty
        ((*LARGE[:2], {"padding": 1, "stride": 2}), np.float32, "im2col"),
        ((*LARGE[:2], {"padding": 1, "stride": (1, 2)}), np.float32, "im2col"),
        ((*LARGE[:2], {"padding": 2, "dilation": 2}), np.float32, "im2col"),
        ((LARGE[0], (3, 3, 64, 128), {"groups": 2}), np.float32, "im2col"),
        ((LARGE[0], (1, 1, 128, 128), {}), np.float32, "im2col"),
        ((LARGE[0], (5, 5, 128, 128), {"padding": 2}), np.float32, "im2col"),
    ],
    ids=str,
)
def test_what_auto_takes(shapes, dtype, expected, taken):
    (x_shape, weight_shape, options) = shapes
    _, window, groups = case((1, *x_shape[1:3], weight_shape[2] * options.get("groups", 1)), weight_shape, options)
    g_shape = (x_shape[0], *window.output_size(*x_shape[1:3]), weight_shape[3])
    arrays = [np.broadcast_to(dtype(0), shape) for shape in (x_shape, weight_shape, weight_shape[3:], g_shape)]
    assert all_three("auto", arrays, window, groups) == [expected] * 3
    assert all_three("im2col", arrays, window, groups) == ["im2col"] * 3


def test_on_a_gpu_auto_takes_one_product(taken):
    backend.set_gpu_module(fakecupy)
    try:
        arrays, *options = case((1, 56, 56, 128), *LARGE[1:])
        assert all_three("auto", on("gpu", arrays), *options) == ["im2col"] * 3
        assert all_three("winograd", on("gpu", arrays), *options) == ["winograd"] * 3
    finally:
        backend.set_gpu_module(None)


@pytest.mark.parametrize(
    ("window", "groups", "what"),
    [
        (Window((3, 2)), 1, r"3×2 with stride \(1, 1\), dilation \(1, 1\) and groups=1"),
        (Window((3, 3), stride=(1, 2)), 1, r"3×3 with stride \(1, 2\), dilation \(1, 1\) and groups=1"),
        (Window((3, 3), dilation=(2, 1)), 1, r"3×3 with stride \(1, 1\), dilation \(2, 1\) and groups=1"),
        (Window((3, 3)), 4, r"3×3 with stride \(1, 1\), dilation \(1, 1\) and groups=4"),
    ],
)
def test_what_winograd_does_not_compute(window, groups, what):
    for algorithm in ("auto", "im2col", "naive"):
        convolution.check_algorithm("op", algorithm, window, groups)
    convolution.check_algorithm("op", "winograd", Window((3, 3), padding=((0, 1), (2, 3))), 1)
    message = f'^op: algorithm="winograd" computes 3×3 filters with stride 1, .*, got filters of {what}; "auto" uses it'
    with pytest.raises(ValueError, match=message):
        convolution.check_algorithm("op", "winograd", window, groups)


@pytest.mark.parametrize("wrong", ["fft", "Winograd", "", None, 2, ("im2col",)], ids=repr)
def test_an_algorithm_that_does_not_exist(wrong):
    message = "^op: algorithm must be one of 'auto', 'im2col', 'winograd', 'naive'; got "
    with pytest.raises(ValueError, match=message):
        convolution.check_algorithm("op", wrong, Window((3, 3)), 1)


# --------------------------------------------------------------------------------------------------- pieces and threads

MANY_ROWS = (3, 13, 9, 4), (3, 2, 2, 6), {"stride": (2, 1), "padding": ((1, 2), (0, 1)), "groups": 2}


def tiny_pieces(monkeypatch, scratch):
    for name in ("CPU_SCRATCH", "GPU_SCRATCH"):
        monkeypatch.setattr(bands, name, scratch)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    monkeypatch.setattr(tiles, "CPU_SCRATCH", scratch)
    monkeypatch.setattr(pooling, "SHARED_CACHE", scratch)
    for module in (channels, elementwise):
        monkeypatch.setattr(module, "PIECE", max(1, scratch // 8))
    monkeypatch.setattr(elementwise, "LARGE", 1)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("scratch", [1, 2000, 12_000, 1 << 30])  # a row, rows, images, all of them
def test_bands_and_threads_change_nothing(scratch, threads, device, use_threads, monkeypatch):
    """Forwards, and backwards to x by both ways: with a stride, and as a convolution."""
    for shapes in (MANY_ROWS, THREE_BY_THREE["3×3, uneven padding"]):
        arrays, *options = case(*shapes)
        use_threads(1)
        expected = all_three("im2col", arrays, *options)
        with monkeypatch.context() as patch:
            tiny_pieces(patch, scratch)
            use_threads(threads)
            results = all_three("im2col", on(device, arrays), *options)
        for actual, whole in zip(results, expected, strict=True):
            assert largest_error(actual, whole) <= 1e-13


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_threads_give_the_same_bits(threads, use_threads, monkeypatch):
    """Whichever of them is faster: float32, whose sums depend on their order."""
    tiny_pieces(monkeypatch, 2000)
    use_threads(threads)
    arrays, *options = case(*MANY_ROWS, dtype=np.float32)
    first = all_three("im2col", arrays, *options)
    for _ in range(25):
        for again, once in zip(all_three("im2col", arrays, *options), first, strict=True):
            np.testing.assert_array_equal(again, once)


def test_on_a_gpu_there_are_no_threads(use_threads, monkeypatch):
    """The device that new arrays are made on is a setting of each thread: on gpu:1 another would use gpu:0."""
    backend.set_gpu_module(fakecupy)
    try:
        tiny_pieces(monkeypatch, 2000)
        use_threads(3)
        before = set(threading.enumerate())
        there = as_device("gpu:1")
        with backend.active(there):
            for algorithm, shapes in (("im2col", MANY_ROWS), ("winograd", THREE_BY_THREE["3×3"])):
                arrays, *options = case(*shapes)
                arrays = [to_device(array, there) for array in arrays]
                assert {backend.device_of(y) for y in all_three(algorithm, arrays, *options)} == {there}
            rows = to_device(np.ones((500, 4)), there)
            scale = to_device(np.ones(4), there)
            results = channels.moments(rows), channels.normalize_gradients(rows, rows, scale, scale, scale)
            results = [*results[0], *results[1], channels.affine(rows, scale, scale, rows, relu=True)]
            assert {backend.device_of(y) for y in results} == {there}
        assert set(threading.enumerate()) - before == set()
    finally:
        backend.set_gpu_module(None)


# ----------------------------------------------------------------------------------------------------------- training


def after_two_steps(algorithm):
    """The state of a small network after two training steps in float64."""
    minidl.manual_seed(5)
    model = models.create("resnet_small").to(dtype=np.float64)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and (module.kernel_size, module.stride) == ((3, 3), 1):
            module.algorithm = algorithm
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    images, labels = load_digits()
    for part in (slice(0, 9), slice(9, 20)):
        optimizer.zero_grad()
        F.cross_entropy(model(Tensor(images[part].astype(np.float64))), labels[part]).backward()
        optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ["im2col", "winograd"])
def test_training_in_tiny_pieces(algorithm, threads, use_threads, monkeypatch):
    """All of it: convolutions, batch norms, ReLUs, sums, products, the optimizer. And the same bits each time."""
    use_threads(1)
    expected = after_two_steps(algorithm)
    tiny_pieces(monkeypatch, 20_000)
    use_threads(threads)
    first, second = after_two_steps(algorithm), after_two_steps(algorithm)
    for name, array in expected.items():
        assert largest_error(first[name], array) <= 1e-11, name
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def training_losses(algorithm, dtype):
    """Of two epochs, and how right the network then is on the rest of the digits."""
    minidl.manual_seed(3)
    model = models.create("resnet_small").to(dtype=dtype)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for conv in convolutions:
        if algorithm != "winograd" or (conv.kernel_size, conv.stride) == ((3, 3), 1):
            conv.algorithm = algorithm
    assert sum(conv.algorithm == algorithm for conv in convolutions) > len(convolutions) / 2
    images, labels = load_digits()
    first, rest = (
        DataLoader(ArrayDataset(images[part].astype(dtype), labels[part]), 64, shuffle=True)
        for part in (slice(0, 768), slice(768, 1024))
    )
    history = Trainer(model, SGD(model.parameters(), 0.05, momentum=0.9), first, rest).fit(2)
    return history.train_loss, history.test_accuracy[-1]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 0.02), (np.float64, 1e-12)])
def test_training_by_every_algorithm_comes_out_the_same(dtype, tolerance):
    """In float32 not quite: now and then rounding takes a number to the other side of ReLU's kink."""
    losses, accuracy = training_losses("im2col", dtype)
    assert losses[1] < losses[0] / 2
    assert accuracy > 0.8
    for algorithm in ("auto", "winograd"):
        others, other_accuracy = training_losses(algorithm, dtype)
        np.testing.assert_allclose(others, losses, rtol=tolerance)
        assert abs(other_accuracy - accuracy) <= tolerance


@pytest.mark.parametrize("algorithm", ["winograd", "im2col", "auto"])
def test_an_input_gradient_of_many_filters_is_computed_as_asked(algorithm, monkeypatch, rng):
    """One image of 4×4 pixels, 40 filters: more weights than columns."""
    g, weight = rng.standard_normal((1, 4, 4, 40)), rng.standard_normal((3, 3, 2, 40))
    x = rng.standard_normal((1, 4, 4, 2))
    expected = loops.convolution(x, weight, np.zeros(40), g, padding=((1, 1), (1, 1)))[1]
    used = []
    for module, name in ((winograd, "convolve"), (columns, "convolve_input_gradient"), (columns, "convolve")):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, f=function, n=(module, name): used.append(n) or f(*a))
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    to_x = convolution.convolve_input_gradient(g, weight, window, 1, algorithm, 4, 4)
    assert largest_error(to_x, expected) <= 1e-12
    assert used == [(winograd, "convolve") if algorithm == "winograd" else (columns, "convolve_input_gradient")]
