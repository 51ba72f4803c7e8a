"""How operators are judged: by finite differences, by PyTorch, and by what holds for every operator."""

import numpy as np
import pytest

import minidl
from minidl import Tensor
from minidl.backend import array_module, to_host

# Our layout -> PyTorch's, and back. A target distribution over classes has its last axis second there.
TO_TORCH = {"image": (0, 3, 1, 2), "filter": (3, 2, 0, 1), "matrix": (1, 0)}
FROM_TORCH = {"image": (0, 2, 3, 1), "filter": (2, 3, 1, 0), "matrix": (1, 0)}


def host(value):
    return value.numpy() if isinstance(value, Tensor) else to_host(value)


def assert_close(actual, expected, tolerance=1e-10):
    """Equal shapes, and |actual - expected| <= tolerance * (1 + |expected|) everywhere. NaN equals NaN."""
    actual, expected = host(actual), host(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def relative_error(actual, expected):
    """‖actual − expected‖ / ‖expected‖, in float64."""
    actual, expected = host(actual).astype(np.float64), host(expected).astype(np.float64)
    return np.linalg.norm(actual - expected) / max(np.linalg.norm(expected), 1e-30)


def largest_error(actual, expected):
    """max |actual − expected| / max |expected|, in float64; 0 where there is nothing to compare."""
    actual, expected = host(actual).astype(np.float64), host(expected).astype(np.float64)
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-30)


def leaves(arrays, device, dtype=None):
    return [Tensor(array, requires_grad=True, dtype=dtype, device=device) for array in arrays]


def value_and_gradients(function, arrays, g, device):
    """function(*arrays), and the gradients of ⟨g, function(*arrays)⟩ to each of them, on the host."""
    inputs = leaves(arrays, device)
    y = function(*inputs)
    gradients = minidl.grad(y, inputs, Tensor(g, device=device))
    return host(y), [host(gradient) for gradient in gradients]


def torch_value_and_gradients(function, arrays, layouts, g, output_layout=None):
    """The same by PyTorch, in our layouts: function(torch.nn.functional, *tensors)."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    inputs = [
        torch.from_numpy(np.ascontiguousarray(_permuted(array, TO_TORCH.get(layout)))).requires_grad_()
        for array, layout in zip(arrays, layouts, strict=True)
    ]
    y = function(torch.nn.functional, *inputs)
    y.backward(torch.from_numpy(np.array(_permuted(np.asarray(g), TO_TORCH.get(output_layout)))))
    gradients = [_permuted(x.grad.numpy(), FROM_TORCH.get(layout)) for x, layout in zip(inputs, layouts, strict=True)]
    return _permuted(y.detach().numpy(), FROM_TORCH.get(output_layout)), gradients


# PyTorch's windowed functions, on its tensors; but padding may be ((top, bottom), (left, right)), and rows are ours:
# (N, L, KH·KW·C).


def torch_conv2d(torch_f, x, weight, bias=None, padding=0, **options):
    return torch_f.conv2d(_torch_padded(torch_f, x, padding), weight, bias, **options)


def torch_conv_transpose2d(torch_f, x, weight, bias=None, padding=0, output_padding=0, **options):
    if not _is_one_sided(padding):
        return torch_f.conv_transpose2d(x, weight, bias, padding=padding, output_padding=output_padding, **options)
    (top, bottom), (left, right) = padding
    rows, cols = output_padding if isinstance(output_padding, tuple) else (output_padding, output_padding)
    y = torch_f.pad(torch_f.conv_transpose2d(x, weight, **options), (-left, cols - right, -top, rows - bottom))
    return y if bias is None else y + bias[:, None, None]


def torch_unfold(torch_f, x, kernel_size, padding=0, **options):
    y = torch_f.unfold(_torch_padded(torch_f, x, padding), kernel_size, **options)  # (N, C·KH·KW, L)
    (N, features, L), C = y.shape, x.shape[1]
    return y.reshape(N, C, features // C, L).permute(0, 3, 2, 1).reshape(N, L, features)


def torch_fold(torch_f, x, output_size, kernel_size, padding=0, **options):
    N, L, features = x.shape
    area = np.prod(kernel_size) if isinstance(kernel_size, tuple) else kernel_size**2
    x = x.reshape(N, L, area, features // area).permute(0, 3, 2, 1).reshape(N, features, L)
    if not _is_one_sided(padding):
        return torch_f.fold(x, output_size, kernel_size, padding=padding, **options)
    (H, W), ((top, bottom), (left, right)) = output_size, padding
    y = torch_f.fold(x, (top + H + bottom, left + W + right), kernel_size, **options)
    return y[:, :, top : top + H, left : left + W]


def _torch_padded(torch_f, x, padding):
    sides = padding if isinstance(padding, tuple) else (padding, padding)
    (top, bottom), (left, right) = (side if isinstance(side, tuple) else (side, side) for side in sides)
    return torch_f.pad(x, (left, right, top, bottom))


def _is_one_sided(padding):
    return isinstance(padding, tuple) and isinstance(padding[0], tuple)


def _permuted(array, axes):
    return array if axes is None else array.transpose(axes)


def check_operator(function, arrays, device):
    """What holds for every operator: first and second derivatives are right, and its manners are good.

    function takes as many tensors as there are float64 arrays, and is smooth around them.
    """
    inputs = leaves(arrays, device)
    # Element by element on the host; on a device, where each difference waits for it, along one random direction.
    minidl.gradcheck(function, inputs, fast=device != "cpu")
    minidl.gradgradcheck(function, inputs, fast=True)
    check_manners(function, arrays, device)
    check_float32(function, arrays, device)


def check_manners(function, arrays, device):
    """Nothing given is written to, nothing returned is shared, gradients look like their inputs, twice is the same."""
    inputs = leaves(arrays, device)
    before = [host(x).copy() for x in inputs]
    y = function(*inputs)
    g = Tensor(np.random.default_rng(1).standard_normal(y.shape), device=device)
    given, before = [*inputs, g], [*before, host(g).copy()]
    rounds = []
    for _ in range(2):
        for x in inputs:
            x.zero_grad()
        y.backward(g, retain_graph=True)
        rounds.append([x.grad for x in inputs])
    for x, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(host(x), copy, err_msg="an input or the upstream gradient was written to")
    for x, first, second in zip(inputs, *rounds, strict=True):
        assert (first.shape, first.dtype, first.device) == (x.shape, x.dtype, x.device)
        np.testing.assert_array_equal(host(first), host(second), err_msg="a second backward gave something else")
    held = [*given, *rounds[0], *rounds[1]]
    for i, one in enumerate(held):
        for other in held[:i]:
            assert not array_module(one.data).may_share_memory(one.data, other.data), "two tensors share memory"


def check_float32(function, arrays, device):
    """float32 in, float32 out, value and gradients within 1e-5 of float64's."""
    rounded = [array.astype(np.float32) for array in arrays]
    exact, single = (leaves(rounded, device, dtype) for dtype in (np.float64, np.float32))
    g = np.random.default_rng(2).standard_normal(function(*exact).shape).astype(np.float32)
    results = {}
    for inputs in (exact, single):
        y = function(*inputs)
        gradients = minidl.grad(y, inputs, Tensor(g, dtype=y.dtype, device=device))
        results[inputs[0].dtype.name] = (y, *gradients)
    for wide, narrow in zip(results["float64"], results["float32"], strict=True):
        assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
        assert relative_error(narrow, wide) < 1e-5


def scattered(x, axis=0):
    """The tensor x again, as a view whose memory is not contiguous; with axis=-1 no two elements are neighbours."""
    order = list(range(x.ndim))[::-1]
    backwards = x.transpose(order).copy()  # or NumPy would keep the order of the memory in what follows
    doubled = minidl.stack([backwards, backwards], axis=axis)  # a second copy between the first
    return doubled[(slice(None),) * (axis % doubled.ndim) + (0,)].transpose(order)


def separated(rng, shape):
    """Distinct values around 0, at least 0.01 apart in random order: no ties or kinks within reach of a difference."""
    return (rng.permutation(np.prod(shape, dtype=int)).reshape(shape) - 0.49 * np.prod(shape, dtype=int)) * 0.01 + 0.003
