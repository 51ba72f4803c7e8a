"""Judges of exercise 37: a batch norm folded into the convolution before it."""

import numpy as np
import oracle
import pytest
from blocks import normed, trained

from minidl import Tensor, nn
from minidl.exercises.judging import judge, untouched
from models.reparam import fold_into_kernel

pytestmark = pytest.mark.exercise("fold-batch-norm")


@pytest.mark.parametrize(("bias", "wanted"), [(None, -5.0), (2.0, -2.0)])
def test_one_channel_by_hand(bias, wanted):
    """one weight and one channel: the scale is 3 / √(3 + 1) = 1.5"""
    bn = nn.BatchNorm2d(1, eps=1.0).to(dtype=np.float64)
    bn.weight.data, bn.bias.data = np.array([3.0]), np.array([1.0])
    bn.running_mean.data, bn.running_var.data = np.array([4.0]), np.array([3.0])
    given_bias = None if bias is None else Tensor(np.array([bias]))
    kernel, new_bias = fold_into_kernel(Tensor(np.full((1, 1, 1, 1), 2.0)), bn, given_bias)
    b = 0.0 if bias is None else bias
    judge(
        f"fold_into_kernel(kernel, bn, {None if bias is None else 'bias'}), flattened",
        (kernel.data.reshape(-1), new_bias.data.reshape(-1)),
        (np.array([3.0]), np.array([wanted])),
        given={"kernel": 2.0, "weight": 3.0, "bias of bn": 1.0, "mean": 4.0, "variance": 3.0, "eps": 1.0, "bias": bias},
        mistakes={
            "ε is left out": (np.array([2 * 3**0.5]), np.array([1 + (b - 4) * 3**0.5])),
            "the root is left out": (np.array([1.5]), np.array([1 + (b - 4) * 0.75])),
            "the batch norm's bias is scaled, too": (np.array([3.0]), np.array([(b - 4 + 1) * 1.5])),
            "the mean is subtracted unscaled": (np.array([3.0]), np.array([1 + 1.5 * b - 4])),
            "the convolution's bias is not scaled": (np.array([3.0]), np.array([1 + b - 4 * 1.5])),
            "the mean is left out": (np.array([3.0]), np.array([1 + b * 1.5])),
        },
    )


@pytest.mark.parametrize("with_bias", [False, True])
def test_each_filter_has_its_own_scale(with_bias):
    """three channels in, four out: the folded convolution gives what convolution and batch norm give"""
    rng = np.random.default_rng(37)
    bn = trained(nn.BatchNorm2d(4, eps=0.1), rng)
    x, kernel, bias = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((3, 2, 3, 4)), rng.standard_normal(4)
    bias = bias if with_bias else None
    state = {f"bn.{name}": array for name, array in bn.state_dict().items()}
    folded, new_bias = fold_into_kernel(Tensor(kernel), bn, None if bias is None else Tensor(bias))
    options = dict(stride=(2, 1), padding=1)
    judge(
        f"x ∗ W + b, where W, b = fold_into_kernel(kernel, bn{', bias' if with_bias else ''}), kernel (3, 2, 3, 4)",
        oracle.conv2d(x, folded.data, new_bias.data, **options),
        normed(oracle.conv2d(x, kernel, bias, **options), state, "bn", eps=0.1),
    )


def test_groups():
    """a kernel (3, 3, C/G, F) of a convolution with 2 groups: its last axis still has all filters"""
    rng = np.random.default_rng(38)
    bn = trained(nn.BatchNorm2d(6), rng)
    x, kernel = rng.standard_normal((2, 4, 5, 4)), rng.standard_normal((3, 3, 2, 6))
    state = {f"bn.{name}": array for name, array in bn.state_dict().items()}
    folded, bias = fold_into_kernel(Tensor(kernel), bn)
    judge(
        "x ∗ W + b with groups=2, where W, b = fold_into_kernel(kernel, bn) and kernel is (3, 3, 2, 6)",
        oracle.conv2d(x, folded.data, bias.data, padding=1, groups=2),
        normed(oracle.conv2d(x, kernel, padding=1, groups=2), state, "bn"),
    )


def test_a_batch_norm_without_weight_and_bias():
    """nn.BatchNorm2d(4, affine=False) only normalises: its weight and its bias are None"""
    rng = np.random.default_rng(39)
    bn = trained(nn.BatchNorm2d(4, eps=0.1, affine=False), rng)
    x, kernel, bias = rng.standard_normal((2, 3, 4, 3)), rng.standard_normal((2, 2, 3, 4)), rng.standard_normal(4)
    for b in bias, None:
        folded, new_bias = fold_into_kernel(Tensor(kernel), bn, None if b is None else Tensor(b))
        wanted = oracle.batch_norm(oracle.conv2d(x, kernel, b), bn.running_mean.data, bn.running_var.data, eps=0.1)
        judge(
            f"x ∗ W + b, where bn has no weight and no bias, and the convolution {'no' if b is None else 'a'} bias",
            oracle.conv2d(x, folded.data, new_bias.data),
            wanted,
        )


def test_nothing_is_written_to():
    """the kernel, the bias and the batch norm belong to the caller; float32 stays float32"""
    rng = np.random.default_rng(40)
    bn = trained(nn.BatchNorm2d(4), rng).to(dtype=np.float32)
    kernel, bias = (Tensor(rng.standard_normal(shape).astype(np.float32)) for shape in ((3, 3, 2, 4), (4,)))
    statistics = {"bn.weight": bn.weight, "bn.bias": bn.bias, "mean": bn.running_mean, "variance": bn.running_var}
    with untouched("fold_into_kernel(kernel, bn, bias)", kernel=kernel, bias=bias, **statistics):
        folded, new_bias = fold_into_kernel(kernel, bn, bias)
    t = bn.weight.data / np.sqrt(bn.running_var.data + 1e-5)
    wanted = kernel.data * t, (bias.data - bn.running_mean.data) * t + bn.bias.data
    call = "fold_into_kernel(kernel, bn, bias), all in float32"
    judge(call, (folded, new_bias), tuple(part.astype(np.float32) for part in wanted), tolerance=1e-5)
