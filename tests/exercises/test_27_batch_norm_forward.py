"""Judges of exercise 27: batch normalisation, forward."""

import math

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, require, untouched
from minidl.ops.norm import BatchNorm, BatchNormReLU, move_running_statistics

pytestmark = pytest.mark.exercise("batch-norm-forward")


def normalized(x, weight, bias, eps, statistics=None):
    """The oracle's batch norm, by the statistics of x itself unless others are given."""
    mean, variance, _ = oracle.batch_statistics(x)
    mean, variance = statistics or (mean, variance)
    return oracle.batch_norm(x, mean, variance, weight, bias, eps)


def test_two_channels_by_hand():
    """four rows, two channels: the first has mean 3 and variance 4, the second mean 0 and variance 0.25"""
    x = np.array([[1.0, 0.5], [5.0, 0.5], [1.0, -0.5], [5.0, -0.5]])
    weight, bias = np.array([10.0, 1.0]), np.array([0.0, 7.0])
    judge(
        "BatchNorm(0.0).forward(x, weight, bias, None)",
        BatchNorm(0.0).forward(x, weight, bias, None),
        np.array([[-10.0, 8.0], [10.0, 8.0], [-10.0, 6.0], [10.0, 6.0]]),
        given={"x": x, "weight": weight, "bias": bias},
        mistakes={
            "the variance is divided by, and not its root": (x - [3, 0]) / [4, 0.25] * weight + bias,
            "the variance is the unbiased one, over M − 1": (x - [3, 0]) / [4 / 3**0.5, 1 / 3**0.5] * weight + bias,
            "the mean is not subtracted": x / [2, 0.5] * weight + bias,
            "weight and bias are left out": (x - [3, 0]) / [2, 0.5],
            "mean and variance are those of all of x together": (x - x.mean()) / x.std() * weight + bias,
            "each row is normalised by itself, over its channels": (x - x.mean(1, keepdims=True))
            / x.std(1, keepdims=True)
            * weight
            + bias,
        },
    )


def test_images():
    """images (2, 3, 5, 4): one mean and one variance for each of the 4 channels, over all pixels of all images"""
    random = np.random.default_rng(27)
    x = 3 * random.standard_normal((2, 3, 5, 4)) + [1.0, -20.0, 5.0, 0.0]
    weight, bias = random.standard_normal(4), random.standard_normal(4)
    with untouched("BatchNorm(0.1).forward(x, weight, bias, None)", x=x, weight=weight, bias=bias):
        y = BatchNorm(0.1).forward(x, weight, bias, None)
    mean, variance, unbiased = oracle.batch_statistics(x)
    judge(
        "BatchNorm(0.1).forward(x, weight, bias, None), x of shape (2, 3, 5, 4)",
        y,
        normalized(x, weight, bias, 0.1),
        mistakes={
            "ε is left out": normalized(x, weight, bias, 0.0),
            "ε stands beside the root, and not under it": normalized(
                x, weight, bias, 0.0, (mean, (np.sqrt(variance) + 0.1) ** 2)
            ),
            "ε is added twice": normalized(x, weight, bias, 0.2),
            "the variance is the unbiased one, over M − 1": normalized(x, weight, bias, 0.1, (mean, unbiased)),
            "each place of the image has a mean of its own, over the images only": (x - x.mean(axis=0))
            / np.sqrt(x.var(axis=0) + 0.1)
            * weight
            + bias,
            "each image is normalised by itself": np.stack([normalized(image, weight, bias, 0.1) for image in x]),
        },
    )


def test_what_is_left_behind():
    """mean, variance (the biased one) and inv_std, for the running statistics and for backward"""
    x = np.array([[1.0, 0.0], [5.0, 0.0], [1.0, 6.0], [5.0, 6.0]])
    op = BatchNorm(7.0)
    op.forward(x, np.array([2.0, 3.0]), np.zeros(2), None)
    given = {"x": x}
    for name in ("mean", "variance", "inv_std"):
        message = f"it has left no self.{name} behind"
        require(hasattr(op, name), message, call="op = BatchNorm(7.0); op.forward(x, weight, bias, None)", given=given)
    judge("op = BatchNorm(7.0); op.forward(...); op.mean", op.mean, np.array([3.0, 3.0]), given=given)
    unbiased = {"the unbiased one is kept, which is made only later": np.array([16 / 3, 12.0])}
    judge("op.variance", op.variance, np.array([4.0, 9.0]), given=given, mistakes=unbiased)
    judge(
        "op.inv_std, 1 / √(σ² + 7)",
        op.inv_std,
        np.array([1 / math.sqrt(11.0), 1 / 4.0]),
        given=given,
        mistakes={
            "ε is left out": np.array([1 / 2, 1 / 3]),
            "the root itself is kept, not 1 over it": np.array([math.sqrt(11.0), 4.0]),
            "the weight is in it": np.array([2 / math.sqrt(11.0), 3 / 4.0]),
        },
    )


def test_something_to_add():
    """a, of the shape of x, is added after weight and bias: the shortcut of a residual block"""
    random = np.random.default_rng(28)
    x, add = random.standard_normal((3, 2, 5)), random.standard_normal((3, 2, 5))
    weight, bias = random.standard_normal(5), random.standard_normal(5)
    with untouched("BatchNorm(1e-5).forward(x, weight, bias, add)", x=x, add=add):
        y = BatchNorm(1e-5).forward(x, weight, bias, add)
    judge(
        "BatchNorm(1e-5).forward(x, weight, bias, add), x and add of shape (3, 2, 5)",
        y,
        normalized(x, weight, bias, 1e-5) + add,
        mistakes={
            "add is left out": normalized(x, weight, bias, 1e-5),
            "add is added before the normalisation": normalized(x + add, weight, bias, 1e-5),
        },
    )


def test_relu_behind():
    """BatchNormReLU, which has relu = True and no forward of its own: max(..., 0) comes last, behind the addition"""
    random = np.random.default_rng(29)
    x, add = random.standard_normal((7, 3)), random.standard_normal((7, 3))
    weight, bias = random.standard_normal(3), random.standard_normal(3)
    wanted = normalized(x, weight, bias, 1e-5)
    judge(
        "BatchNormReLU(1e-5).forward(x, weight, bias, add), x and add of shape (7, 3)",
        BatchNormReLU(1e-5).forward(x, weight, bias, add),
        np.maximum(wanted + add, 0),
        mistakes={
            "self.relu is not looked at": wanted + add,
            "max(..., 0) comes before the addition": np.maximum(wanted, 0) + add,
        },
    )
    judge(
        "BatchNormReLU(1e-5).forward(x, weight, bias, None), x of shape (7, 3)",
        BatchNormReLU(1e-5).forward(x, weight, bias, None),
        np.maximum(wanted, 0),
        mistakes={"self.relu is looked at only where there is something to add": wanted},
    )
    x, weight, bias, add = (array.astype(np.float32) for array in (x, weight, bias, add))
    y = BatchNormReLU(1e-5).forward(x, weight, bias, add)
    wanted = np.maximum(normalized(x, weight, bias, 1e-5) + add, 0).astype(np.float32)
    judge("BatchNormReLU(1e-5).forward(x, weight, bias, add), all of them float32", y, wanted, tolerance=1e-4)


def test_far_from_zero():
    """float32 values around 10,000 with variance 1: E[x²] − E[x]² would be a difference of two rounded 100,000,000"""
    random = np.random.default_rng(30)
    x = (10_000 + random.standard_normal((2, 5, 6, 3))).astype(np.float32)
    weight, bias = np.ones(3, np.float32), np.zeros(3, np.float32)
    op = BatchNorm(1e-5)
    y = op.forward(x, weight, bias, None)
    _, variance, _ = oracle.batch_statistics(x)
    judge("op.variance, of float32 values around 10,000", np.asarray(op.variance, np.float64), variance, tolerance=0.01)
    judge("op.forward(...), float32", y, normalized(x, weight, bias, 1e-5).astype(np.float32), tolerance=0.02)


def test_running_statistics_by_hand():
    """momentum 1/4, and a batch of 5 values a channel, with the biased variance 4, which is 5 unbiased"""
    running_mean, running_var = Tensor(np.array([2.0, 0.0])), Tensor(np.array([1.0, 1.0]))
    mean, variance = np.array([6.0, 4.0]), np.array([4.0, 8.0])
    given = {"running_mean": np.array([2.0, 0.0]), "running_var": np.array([1.0, 1.0])}
    given |= {"mean": mean, "variance": variance}
    call = "move_running_statistics(running_mean, running_var, mean, variance, n=5, momentum=0.25)"
    with untouched(call, mean=mean, variance=variance):
        move_running_statistics(running_mean, running_var, mean, variance, 5, 0.25)
    judge(
        f"{call}, running_mean afterwards",
        running_mean,
        np.array([3.0, 1.0]),
        given=given,
        mistakes={
            "momentum and 1 − momentum are exchanged": np.array([5.0, 3.0]),
            "the batch's is added, but the running one does not fade": np.array([3.5, 1.0]),
            "nothing has moved: assign to running_mean.data": given["running_mean"],
        },
    )
    judge(
        f"{call}, running_var afterwards",
        running_var,
        np.array([0.75 + 0.25 * 5.0, 0.75 + 0.25 * 10.0]),
        given=given,
        mistakes={
            "the biased variance is used": np.array([0.75 + 0.25 * 4.0, 0.75 + 0.25 * 8.0]),
            "the factor is (n − 1) / n": np.array([0.75 + 0.25 * 3.2, 0.75 + 0.25 * 6.4]),
            "the running variance is made unbiased once more, with the batch's": np.array([1.25 * 1.75, 1.25 * 2.75]),
        },
    )


def test_running_statistics_keep_their_dtype():
    """float32 running statistics stay float32, also where the batch's are float64"""
    running_mean, running_var = Tensor(np.zeros(2, np.float32)), Tensor(np.ones(2, np.float32))
    move_running_statistics(running_mean, running_var, np.array([1.0, 2.0]), np.array([3.0, 6.0]), 4, 0.5)
    call = "move_running_statistics(..., n=4, momentum=0.5)"
    judge(f"{call}, running_mean.data", running_mean.data, np.array([0.5, 1.0], np.float32))
    judge(f"{call}, running_var.data", running_var.data, np.array([2.5, 4.5], np.float32))
    move_running_statistics(None, None, np.array([1.0]), np.array([3.0]), 4, 0.5)
