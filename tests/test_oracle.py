"""The judge is judged.

The oracle is held against PyTorch on hard shapes, and its numeric gradient against known derivatives.
"""

import hard_shapes
import numpy as np
import oracle
import pytest
from judge import torch_conv2d, torch_conv_transpose2d, torch_fold, torch_unfold

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def assert_close(actual, expected):
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def images(array):
    """(N, H, W, C) -> torch (N, C, H, W)"""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def from_images(tensor):
    """torch (N, C, H, W) -> (N, H, W, C)"""
    return tensor.numpy().transpose(0, 2, 3, 1)


# ---- numeric gradient


def test_numeric_gradient_of_a_product(rng):
    a, b, g = rng.standard_normal((3, 2, 5))[:, :, :4]  # not contiguous
    before = a.copy(), b.copy()
    to_a, to_b = oracle.numeric_gradient(np.multiply, [a, b], g)
    np.testing.assert_allclose(to_a, g * b, atol=1e-8)
    np.testing.assert_allclose(to_b, g * a, atol=1e-8)
    np.testing.assert_array_equal((a, b), before)


def test_numeric_gradient_of_a_matmul(rng):
    a, b, g = rng.standard_normal((2, 3)), rng.standard_normal((3, 4)), rng.standard_normal((2, 4))
    to_a, to_b = oracle.numeric_gradient(np.matmul, [a, b], g)
    np.testing.assert_allclose(to_a, g @ b.T, atol=1e-8)
    np.testing.assert_allclose(to_b, a.T @ g, atol=1e-8)


def test_numeric_gradient_of_scalars_and_broadcasts(rng):
    x, scale = rng.standard_normal((3, 1)), np.array(0.7)
    g = rng.standard_normal((3, 2))
    to_x, to_scale = oracle.numeric_gradient(lambda x, scale: np.sin(x) * scale * np.ones(2), [x, scale], g)
    np.testing.assert_allclose(to_x, np.cos(x) * 0.7 * g.sum(axis=1, keepdims=True), atol=1e-8)
    np.testing.assert_allclose(to_scale, np.sum(g * np.sin(x)), atol=1e-8)
    (to_x,) = oracle.numeric_gradient(lambda x: np.sum(x**3), [x], np.array(2.0))
    np.testing.assert_allclose(to_x, 6 * x**2, atol=1e-7)


def test_numeric_gradient_uses_central_differences_and_eps():
    x, g = np.array([0.3]), np.array([1.0])
    (gradient,) = oracle.numeric_gradient(lambda x: x**3, [x], g, eps=0.1)
    np.testing.assert_allclose(gradient, 3 * x**2 + 0.1**2, rtol=1e-12)  # one-sided would add 3 * 0.3 * 0.1


def test_numeric_gradient_refuses_what_would_be_noise_or_broadcast(rng):
    x = rng.standard_normal(3)
    with pytest.raises(TypeError, match="float64, got float32"):
        oracle.numeric_gradient(np.exp, [x.astype(np.float32)], np.ones(3))
    with pytest.raises(ValueError, match=r"upstream \(\) does not match the output \(3,\)"):
        oracle.numeric_gradient(np.exp, [x], 1.0)


# ---- convolution and linear

CONVOLUTIONS = {  # x (N, H, W, C), weight (KH, KW, C/G, F), options
    "plain": ((2, 5, 7, 3), (3, 2, 3, 4), {}),
    "one by one": ((2, 4, 5, 3), (1, 1, 3, 5), {}),
    "overlapping, remainder, padded": ((2, 8, 9, 3), (3, 4, 3, 2), {"stride": (2, 3), "padding": (1, 2)}),
    "gapped": ((2, 9, 7, 2), (2, 1, 2, 3), {"stride": (3, 2)}),
    "padded in one direction": ((2, 5, 4, 2), (3, 1, 2, 3), {"padding": (2, 0)}),
    "dilated": ((2, 9, 11, 2), (3, 2, 2, 3), {"dilation": (2, 3), "padding": (0, 1)}),
    "grouped": ((2, 5, 6, 4), (2, 3, 2, 6), {"groups": 2, "stride": (1, 2)}),
    "depthwise, dilated": ((2, 7, 6, 3), (3, 2, 1, 6), {"groups": 3, "dilation": 2, "padding": 1, "stride": 2}),
    "size one": ((2, 1, 1, 3), (3, 3, 3, 2), {"padding": 1}),
    "kernel as large as the image": ((2, 5, 3, 2), (5, 3, 2, 3), {}),
}


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d(name, with_bias, rng):
    x_shape, weight_shape, options = CONVOLUTIONS[name]
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    bias = rng.standard_normal(weight_shape[-1]) if with_bias else None
    torch_bias = torch.from_numpy(bias) if with_bias else None
    torch_weight = torch.from_numpy(np.ascontiguousarray(weight.transpose(3, 2, 0, 1)))  # (F, C/G, KH, KW)
    expected = from_images(F.conv2d(images(x), torch_weight, torch_bias, **options))
    assert_close(oracle.conv2d(x, weight, bias, **options), expected)


@pytest.mark.parametrize("name", hard_shapes.ONE_SIDED)
def test_conv2d_with_one_sided_padding(name, rng):
    x_shape, weight_shape, options = hard_shapes.ONE_SIDED[name]
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    expected = torch_conv2d(F, images(x), filters(weight), **options)
    assert_close(oracle.conv2d(x, weight, **options), from_images(expected))


@pytest.mark.parametrize("name", [name for name in hard_shapes.TRANSPOSED if name != "no images"])
def test_conv_transpose2d(name, rng):
    x_shape, weight_shape, options = hard_shapes.TRANSPOSED[name]
    x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    bias = rng.standard_normal(weight_shape[2] * options.get("groups", 1))
    expected = torch_conv_transpose2d(F, images(x), filters(weight), torch.from_numpy(bias), **options)
    assert_close(oracle.conv_transpose2d(x, weight, bias, **options), from_images(expected))


def filters(weight):
    """(KH, KW, C/G, F) -> torch (F, C/G, KH, KW)"""
    return torch.from_numpy(weight.transpose(3, 2, 0, 1).copy())


@pytest.mark.parametrize("name", hard_shapes.UNFOLDINGS)
def test_unfold_and_fold(name, rng):
    shape, options = hard_shapes.UNFOLDINGS[name]
    x = rng.standard_normal(shape)
    expected = torch_unfold(F, images(x), **options)
    assert_close(oracle.unfold(x, **options), expected)
    rows = rng.standard_normal(expected.shape)
    expected = from_images(torch_fold(F, torch.from_numpy(rows), shape[1:3], **options))
    assert_close(oracle.fold(rows, shape[1:3], **options), expected)


def test_linear(rng):
    x, weight, bias = rng.standard_normal((2, 3, 5)), rng.standard_normal((5, 4)), rng.standard_normal(4)
    x_torch, weight_torch, bias_torch = (torch.from_numpy(array) for array in (x, weight.T.copy(), bias))
    assert_close(oracle.linear(x, weight, bias), F.linear(x_torch, weight_torch, bias_torch))
    assert_close(oracle.linear(x, weight), F.linear(x_torch, weight_torch))


# ---- pooling

POOLS = {  # x (N, H, W, C), options
    "side by side": ((2, 6, 8, 3), {"kernel_size": (3, 2)}),
    "remainder": ((2, 7, 5, 3), {"kernel_size": 2}),
    "overlapping": ((2, 7, 9, 2), {"kernel_size": (3, 4), "stride": (2, 1)}),
    "gapped": ((2, 9, 8, 2), {"kernel_size": (2, 1), "stride": (3, 2)}),
    "padded": ((2, 6, 5, 3), {"kernel_size": (3, 2), "stride": 2, "padding": (1, 1)}),
    "padded in one direction": ((2, 6, 5, 3), {"kernel_size": (4, 3), "stride": (2, 3), "padding": (0, 1)}),
    "size one": ((2, 1, 1, 3), {"kernel_size": 3, "padding": 1}),
    "prime": ((2, 11, 13, 2), {"kernel_size": (5, 3), "stride": (3, 5), "padding": (2, 1)}),
    "last window would start in the padding": ((2, 4, 5, 2), {"kernel_size": 2, "stride": 3, "padding": 1}),
    "ceil and pad": ((2, 6, 7, 2), {"kernel_size": (4, 5), "stride": (3, 4), "padding": (1, 2)}),
}


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", POOLS)
def test_max_pool2d(name, ceil_mode, rng):
    shape, options = POOLS[name]
    x = rng.standard_normal(shape) - 5  # negative, so that zero padding would win
    expected = from_images(F.max_pool2d(images(x), **options, ceil_mode=ceil_mode))
    assert_close(oracle.max_pool2d(x, **options, ceil_mode=ceil_mode), expected)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool2d_dilated(ceil_mode, rng):
    x = rng.standard_normal((2, 10, 13, 3)) - 5
    options = {"kernel_size": (3, 4), "stride": (2, 3), "padding": (1, 2), "dilation": (2, 3), "ceil_mode": ceil_mode}
    assert_close(oracle.max_pool2d(x, **options), from_images(F.max_pool2d(images(x), **options)))


@pytest.mark.parametrize("divisor_override", [None, 5])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("name", POOLS)
def test_avg_pool2d(name, ceil_mode, count_include_pad, divisor_override, rng):
    shape, options = POOLS[name]
    x = rng.standard_normal(shape)
    options = options | {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    options["divisor_override"] = divisor_override
    assert_close(oracle.avg_pool2d(x, **options), from_images(F.avg_pool2d(images(x), **options)))


def test_the_pooling_cases_tell_the_modes_apart(rng):
    """ceil_mode changes some output shapes, keeps another, and hangs over the padding.

    It keeps the one whose last window would start in the padding.
    """
    lengths = {}
    for name, (shape, options) in POOLS.items():
        x = rng.standard_normal(shape)
        lengths[name] = [oracle.avg_pool2d(x, **options, ceil_mode=mode).shape[1:3] for mode in (False, True)]
    assert lengths["remainder"][0] != lengths["remainder"][1]
    assert lengths["last window would start in the padding"] == [(2, 2), (2, 2)]
    x = np.ones((1, 6, 7, 1))
    hanging = oracle.avg_pool2d(x, **POOLS["ceil and pad"][1], ceil_mode=True)
    assert len(np.unique(hanging)) > 2, "windows inside, over the padding, and beyond it have divisors of their own"


@pytest.mark.parametrize("output_size", [1, 3, (2, 5), (5, 7), (4, 3), (7, 2)])
def test_adaptive_avg_pool2d(output_size, rng):
    x = rng.standard_normal((2, 5, 7, 3))  # smaller, equal and larger outputs
    assert_close(oracle.adaptive_avg_pool2d(x, output_size), from_images(F.adaptive_avg_pool2d(images(x), output_size)))


# ---- resizing


@pytest.mark.parametrize("scale_factor", [None, 0.7, 1.5, 2, 2.3])
@pytest.mark.parametrize(
    ("mode", "align_corners"),
    [
        ("nearest", None),
        ("nearest-exact", None),
        ("bilinear", False),
        ("bilinear", True),
        ("bicubic", False),
        ("bicubic", True),
    ],
)
def test_interpolate(mode, align_corners, scale_factor, rng):
    x = rng.standard_normal((2, 5, 7, 3))
    sizes = (8, 3) if scale_factor is None else (int(5 * scale_factor), int(7 * scale_factor))
    factors = None if scale_factor is None else (scale_factor, scale_factor)
    given = {"size": sizes} if scale_factor is None else {"scale_factor": scale_factor}
    expected = F.interpolate(images(x), **given, mode=mode, align_corners=align_corners)
    assert_close(oracle.interpolate(x, sizes, mode, align_corners, factors), from_images(expected))


def test_pixel_shuffle(rng):
    x = rng.standard_normal((2, 3, 2, 18))
    assert_close(oracle.pixel_shuffle(x, 3), from_images(F.pixel_shuffle(images(x), 3)))


# ---- normalisation


@pytest.mark.parametrize("affine", [False, True])
def test_batch_norm(affine, rng):
    x = 3 * rng.standard_normal((2, 5, 3, 4)) + 2
    weight, bias = rng.standard_normal((2, 4)) if affine else (None, None)
    mean, biased, unbiased = oracle.batch_statistics(x)
    running_mean, running_var = torch.zeros(4).double(), torch.zeros(4).double()
    torch_affine = [None if array is None else torch.from_numpy(array) for array in (weight, bias)]
    expected = F.batch_norm(images(x), running_mean, running_var, *torch_affine, training=True, momentum=1.0, eps=1e-3)
    assert_close(mean, running_mean)
    assert_close(unbiased, running_var)
    assert_close(oracle.batch_norm(x, mean, biased, weight, bias, eps=1e-3), from_images(expected))
    given_mean, given_var = rng.standard_normal(4), rng.uniform(0.1, 2, 4)
    given = [torch.from_numpy(given_mean), torch.from_numpy(given_var)]
    expected = F.batch_norm(images(x), *given, *torch_affine)  # evaluation, default eps
    assert_close(oracle.batch_norm(x, given_mean, given_var, weight, bias), from_images(expected))


def test_batch_statistics_of_one_row():
    mean, biased, unbiased = oracle.batch_statistics(np.array([[1.0, 2.0]]))
    assert mean.tolist() == [1, 2] and biased.tolist() == [0, 0] and np.isnan(unbiased).all()


def test_norms_within_a_sample(rng):
    x, weight, bias = 3 * rng.standard_normal((2, 5, 3, 6)) + 2, *rng.standard_normal((2, 3, 6))
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)
    expected = F.layer_norm(torch.from_numpy(x), (3, 6), w, b, eps=1e-3)
    assert_close(oracle.layer_norm(x, (3, 6), weight, bias, eps=1e-3), expected)
    assert_close(oracle.layer_norm(x, (6,)), F.layer_norm(torch.from_numpy(x), (6,)))
    assert_close(oracle.rms_norm(x, (3, 6), weight, eps=1e-3), F.rms_norm(torch.from_numpy(x), (3, 6), w, eps=1e-3))
    assert_close(oracle.rms_norm(x, (6,)), F.rms_norm(torch.from_numpy(x), (6,)))
    expected = from_images(F.group_norm(images(x), 2, w[0], b[0], eps=1e-3))
    assert_close(oracle.group_norm(x, 2, weight[0], bias[0], eps=1e-3), expected)
    assert_close(oracle.group_norm(x, 6), from_images(F.instance_norm(images(x))))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 20])
def test_local_response_norm(size, rng):
    x = rng.standard_normal((2, 3, 4, 7))
    expected = from_images(F.local_response_norm(images(x), size, alpha=0.5, beta=0.6, k=2.0))
    assert_close(oracle.local_response_norm(x, size, alpha=0.5, beta=0.6, k=2.0), expected)
    assert_close(oracle.local_response_norm(x, size), from_images(F.local_response_norm(images(x), size)))


@pytest.mark.parametrize("p", [2.0, 1.0, 0.5, 3.0, -1.0, np.inf, -np.inf])
def test_normalize(p, rng):
    x = rng.standard_normal((2, 3, 4))
    x[0, 1] *= 1e-3
    for axis in (0, 1, -1):
        assert_close(oracle.normalize(x, p, axis, eps=0.01), F.normalize(torch.from_numpy(x), p, axis, eps=0.01))


# ---- activations and losses


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_and_log_softmax(axis, rng):
    x = 4 * rng.standard_normal((2, 5, 3))
    x[0, 0, 0] = 800.0  # exp would overflow
    assert_close(oracle.softmax(x, axis), F.softmax(torch.from_numpy(x), dim=axis))
    assert_close(oracle.log_softmax(x, axis), F.log_softmax(torch.from_numpy(x), dim=axis))


def test_sigmoid(rng):
    x = np.append(10 * rng.standard_normal(50), [0.0, 800.0, -800.0])
    with np.errstate(over="raise"):
        assert_close(oracle.sigmoid(x), torch.sigmoid(torch.from_numpy(x)))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", ["numbers", "ignored numbers", "probabilities"])
@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 4, 5)], ids=str)
def test_cross_entropy(shape, targets, weighted, reduction, label_smoothing, rng):
    logits = 3 * rng.standard_normal(shape)
    weight = rng.uniform(0.2, 2.0, 5) if weighted else None
    target = rng.dirichlet(np.ones(5), shape[:-1]) if targets == "probabilities" else rng.integers(0, 5, shape[:-1])
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    if targets == "ignored numbers":
        options["ignore_index"] = int(target.flat[0])
    torch_target = torch.from_numpy(target)
    if targets == "probabilities":
        torch_target = torch_target.movedim(-1, 1)  # PyTorch has the classes on axis 1
    torch_weight = torch.from_numpy(weight) if weighted else None
    expected = F.cross_entropy(torch.from_numpy(logits).movedim(-1, 1), torch_target, torch_weight, **options)
    assert_close(oracle.cross_entropy(logits, target, weight, **options), expected)


def test_cross_entropy_ignores_minus_100_by_default_and_a_mean_of_nothing_is_nan(rng):
    logits = rng.standard_normal((3, 4))
    target = np.array([1, -100, 3])
    expected = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(target))
    assert_close(oracle.cross_entropy(logits, target), expected)
    assert np.isnan(oracle.cross_entropy(logits, np.full(3, -100)))
    assert torch.isnan(F.cross_entropy(torch.from_numpy(logits), torch.full((3,), -100)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_loss(weighted, reduction, rng):
    x, target = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 5, (2, 3, 4))
    weight = rng.uniform(0.2, 2.0, 5) if weighted else None
    options = {"ignore_index": int(target[0, 0, 0]), "reduction": reduction}
    torch_weight = torch.from_numpy(weight) if weighted else None
    expected = F.nll_loss(torch.from_numpy(x).movedim(-1, 1), torch.from_numpy(target), torch_weight, **options)
    assert_close(oracle.nll_loss(x, target, weight, **options), expected)


LOSSES = {  # what its inputs are, and the options that are numbers or arrays of their shape
    "mse_loss": ("numbers", {}),
    "mse_loss, weighted": ("numbers", {"weight"}),
    "l1_loss": ("numbers", {}),
    "l1_loss, weighted": ("numbers", {"weight"}),
    "huber_loss": ("numbers", {"delta": 0.6}),
    "huber_loss, weighted": ("numbers", {"weight"}),
    "smooth_l1_loss": ("numbers", {"beta": 0.6}),
    "binary_cross_entropy": ("probabilities", {}),
    "binary_cross_entropy, weighted": ("probabilities", {"weight"}),
    "binary_cross_entropy_with_logits": ("numbers", {"weight", "pos_weight"}),
    "kl_div": ("probabilities", {}),
    "kl_div, log_target": ("numbers", {"log_target": True}),
}


@pytest.mark.filterwarnings("ignore:reduction:UserWarning")  # of kl_div's mean
@pytest.mark.parametrize(
    ("name", "reduction"),
    [(name, reduction) for name in LOSSES for reduction in ("mean", "sum", "none")] + [("kl_div", "batchmean")],
)
def test_losses(name, reduction, rng):
    kind, options = LOSSES[name]
    name = name.partition(",")[0]
    shape = (2, 3, 4)
    x, target = (rng.random(shape) if kind == "probabilities" else rng.standard_normal(shape) for _ in range(2))
    x[0, 0, 0] = target[0, 0, 0] = 0
    if isinstance(options, set):
        options = {option: rng.uniform(0.2, 2.0, shape) for option in options}
    torch_options = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    expected = getattr(F, name)(torch.from_numpy(x), torch.from_numpy(target), reduction=reduction, **torch_options)
    assert_close(getattr(oracle, name)(x, target, reduction=reduction, **options), expected)


def test_losses_do_not_broadcast():
    for name in ("mse_loss", "huber_loss", "kl_div", "binary_cross_entropy_with_logits"):
        with pytest.raises(AssertionError, match="differ in shape"):
            getattr(oracle, name)(np.zeros((3, 1)), np.zeros(3))
