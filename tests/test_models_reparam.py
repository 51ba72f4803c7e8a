"""The four steps of structural re-parameterisation, each alone, against what it says it equals."""

import numpy as np
import pytest
from judge import assert_close
from torch_twin import unsettle

from minidl import Tensor, nn
from minidl import functional as F
from models.reparam import fold_batch_norm, identity_3x3, pad_1x1_to_3x3, sum_of_branches


@pytest.fixture
def x(rng, device):
    return Tensor(rng.standard_normal((2, 5, 4, 6)), device=device)


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (2, 5)])
def test_folding_a_batch_norm(shape, groups, x, device, rng):
    bn = unsettle(nn.BatchNorm2d(12, eps=0.1), rng).to(device=device).eval()
    kernel = Tensor(rng.standard_normal((*shape, 6 // groups, 12)), device=device)
    folded, bias = fold_batch_norm(kernel, bn)
    assert (folded.shape, bias.shape) == (kernel.shape, (12,))
    options = dict(stride=2, padding=2, groups=groups)
    assert_close(F.conv2d(x, folded, bias, **options), bn(F.conv2d(x, kernel, **options)))


def test_folding_does_not_write(rng):
    bn = unsettle(nn.BatchNorm2d(4), rng)
    kernel = Tensor(rng.standard_normal((3, 3, 2, 4)))
    before = kernel.numpy().copy(), bn.state_dict()
    folded, bias = fold_batch_norm(kernel, bn)
    folded.data[...] = bias.data[...] = np.nan
    np.testing.assert_array_equal(kernel.numpy(), before[0])
    for name, array in bn.state_dict().items():
        np.testing.assert_array_equal(array, before[1][name])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_padded_1x1_filter_is_the_1x1_filter(groups, stride, x, device, rng):
    kernel = Tensor(rng.standard_normal((1, 1, 6 // groups, 4)), device=device)
    padded = pad_1x1_to_3x3(kernel)
    assert padded.shape == (3, 3, 6 // groups, 4)
    assert_close(F.conv2d(x, padded, None, stride, 1, 1, groups), F.conv2d(x, kernel, None, stride, 0, 1, groups))


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_the_identity_filter_gives_its_input_back(groups, x):
    kernel = identity_3x3(6, groups, like=x)
    assert (kernel.shape, kernel.dtype, kernel.device) == ((3, 3, 6 // groups, 6), x.dtype, x.device)
    np.testing.assert_array_equal(F.conv2d(x, kernel, padding=1, groups=groups).numpy(), x.numpy())


@pytest.mark.parametrize("groups", [1, 2])
def test_a_sum_of_filters_is_the_sum_of_convolutions(groups, x, device, rng):
    shapes = (3, 3, 6 // groups, 4), (4,)
    branches = [tuple(Tensor(rng.standard_normal(shape), device=device) for shape in shapes) for _ in range(3)]
    first, second, third = (F.conv2d(x, *branch, padding=1, groups=groups) for branch in branches)
    assert_close(F.conv2d(x, *sum_of_branches(branches), padding=1, groups=groups), first + second + third)


def test_float32_stays_float32(rng):
    bn = nn.BatchNorm2d(4)
    kernel = Tensor(rng.standard_normal((1, 1, 4, 4)), dtype=np.float32)
    results = [*fold_batch_norm(kernel, bn), pad_1x1_to_3x3(kernel), identity_3x3(4, 2, like=kernel)]
    results += sum_of_branches([fold_batch_norm(kernel, bn), fold_batch_norm(kernel, bn)])
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


def test_kernels_that_do_not_fit_are_refused():
    """A 1×1 kernel would be broadcast over all nine positions, and be wrong without a word."""
    one, three, bias = Tensor(np.ones((1, 1, 2, 4))), Tensor(np.ones((3, 3, 2, 4))), Tensor(np.ones(4))
    with pytest.raises(ValueError, match=r"sum_of_branches: expected kernels of one shape.*pad_1x1_to_3x3"):
        sum_of_branches([(three, bias), (one, bias)])
    with pytest.raises(ValueError, match=r"pad_1x1_to_3x3: expected .*, got shape \(3, 3, 2, 4\)"):
        pad_1x1_to_3x3(three)
