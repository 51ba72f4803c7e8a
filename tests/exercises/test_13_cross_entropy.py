"""Judges of exercise 13: cross-entropy in one step."""

import math

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.ops.cross_entropy import SoftmaxCrossEntropy

pytestmark = pytest.mark.exercise("cross-entropy")


def losses_of(x, q):
    """−Σₖ qₖ ln softmax(x)ₖ, one row after the other."""
    losses = np.zeros(x.shape[:-1])
    for row in np.ndindex(losses.shape):
        log_p = oracle.log_softmax(x[row])
        losses[row] = -sum(share * log for share, log in zip(q[row], log_p, strict=True))
    return losses


def test_two_rows():
    """two images, two classes; the probabilities of the right ones are 3/4 and 1/2"""
    x = np.array([[0.0, math.log(3.0)], [5.0, 5.0]])
    q = np.array([[0.0, 1.0], [1.0, 0.0]])
    wanted = np.array([-math.log(3 / 4), -math.log(1 / 2)])
    judge(
        "SoftmaxCrossEntropy().forward(x, q), where x[0] is [ln 1, ln 3]",
        SoftmaxCrossEntropy().forward(x, q),
        wanted,
        given={"x": x, "q": q},
        mistakes={
            "the minus sign is missing": -wanted,
            "the losses of all rows are averaged; this op gives one for each row": wanted.mean(),
            "the losses of all rows are added up; this op gives one for each row": wanted.sum(),
            "the classes are not added up": -q * oracle.log_softmax(x),
            "the softmax has no logarithm": -np.array([3 / 4, 1 / 2]),
        },
    )


def test_gradient_of_two_rows():
    """the same two images, backwards: the probabilities, less 1 for the right class"""
    x = Tensor([[0.0, math.log(3.0)], [5.0, 5.0]], dtype=np.float64, requires_grad=True)
    q = np.array([[0.0, 1.0], [1.0, 0.0]])
    g = np.array([8.0, -2.0])
    SoftmaxCrossEntropy()(x, q).backward(g)
    p = np.array([[1 / 4, 3 / 4], [1 / 2, 1 / 2]])
    judge(
        "SoftmaxCrossEntropy()(x, q).backward(g), x.grad, where softmax(x) is [[1/4, 3/4], [1/2, 1/2]]",
        x.grad,
        np.array([[8 * 1 / 4, 8 * (3 / 4 - 1)], [-2 * (1 / 2 - 1), -2 * 1 / 2]]),
        given={"q": q, "g": g},
        mistakes={
            "g is not used: each row has its own": p - q,
            "g is paired with the classes, not with the rows: it needs an axis of size 1 at the end": g * (p - q),
            "the result is divided by the number of rows: that is the mean's task": g[:, None] * (p - q) / 2,
            "q is not subtracted from the probabilities": g[:, None] * p,
            "the derivative with respect to the probabilities is taken, −q/p, and that of softmax is missing": g[
                :, None
            ]
            * (-q / p),
        },
    )


def test_soft_targets():
    """targets that are spread over the classes, for images of pixels: x (2, 3, 4, 5)"""
    random = np.random.default_rng(13)
    scores = 3 * random.standard_normal((2, 3, 4, 5))
    q = oracle.softmax(random.standard_normal((2, 3, 4, 5)))
    g = random.standard_normal((2, 3, 4))
    x = Tensor(scores, requires_grad=True)
    with untouched("SoftmaxCrossEntropy()(x, q), and backward from there", x=x, q=q, g=g):
        losses = SoftmaxCrossEntropy()(x, q)
        judge("losses = SoftmaxCrossEntropy()(x, q), x and q of shape (2, 3, 4, 5)", losses, losses_of(scores, q))
        losses.backward(g)
    gradient = oracle.numeric_gradient(lambda x: losses_of(x, q), [scores], g)[0]
    judge("losses.backward(g), x.grad", x.grad, gradient, tolerance=1e-6)


def test_targets_that_do_not_add_up_to_1():
    """classes that count differently: a row of q adds up to what it likes, and Σ q multiplies the softmax"""
    random = np.random.default_rng(14)
    scores, q, g = random.standard_normal((4, 3)), random.uniform(0, 3, (4, 3)), random.standard_normal(4)
    q[2] = 0.0  # a row that is ignored
    x = Tensor(scores, requires_grad=True)
    losses = SoftmaxCrossEntropy()(x, q)
    losses.backward(g)
    judge("losses = SoftmaxCrossEntropy()(x, q), x and q of shape (4, 3)", losses, losses_of(scores, q))
    judge(
        "losses.backward(g), x.grad",
        x.grad,
        oracle.numeric_gradient(lambda x: losses_of(x, q), [scores], g)[0],
        given={"Σ q": q.sum(axis=-1)},
        mistakes={"Σ q is taken as 1": g[:, None] * (oracle.softmax(scores) - q)},
        tolerance=1e-6,
    )


def test_gradient_to_the_targets():
    """q can be learned as well, from a teacher for instance: its gradient is −ln softmax(x), times g"""
    random = np.random.default_rng(15)
    scores, array, g = random.standard_normal((4, 3)), random.uniform(0, 1, (4, 3)), random.standard_normal(4)
    q = Tensor(array, requires_grad=True)
    SoftmaxCrossEntropy()(Tensor(scores), q).backward(g)
    log_p = oracle.log_softmax(scores)
    judge(
        "SoftmaxCrossEntropy()(x, q).backward(g), q.grad, x and q of shape (4, 3)",
        q.grad,
        -g[:, None] * log_p,
        mistakes={"g is not used": -log_p, "the logarithm is missing": -g[:, None] * np.exp(log_p)},
    )


def test_large_scores():
    """scores far apart: the right class has a probability too small for a float, and the loss is still a number"""
    x, q = np.array([[1000.0, -1000.0]]), np.array([[0.0, 1.0]])
    judge(
        "SoftmaxCrossEntropy().forward(x, q)",
        SoftmaxCrossEntropy().forward(x, q),
        np.array([2000.0]),
        given={"x": x, "q": q},
        mistakes={
            "the logarithm is taken of a probability that has underflowed to 0": np.array([np.inf]),
            "e¹⁰⁰⁰ overflows": np.array([np.nan]),
        },
    )


def test_impossible_classes():
    """a class of probability 0 that is not wanted costs nothing: 0 · ln 0 = 0"""
    x = np.array([[0.0, -np.inf, 0.0]])
    q = np.array([[1.0, 0.0, 0.0]])
    judge(
        "SoftmaxCrossEntropy().forward(x, q)",
        SoftmaxCrossEntropy().forward(x, q),
        np.array([math.log(2.0)]),
        given={"x": x, "q": q},
        mistakes={"0 is multiplied by ln 0 = −∞, which is NaN in floating point": np.array([np.nan])},
    )


def test_what_is_wrong_is_seen():
    """a wanted class with the score −∞ costs ∞, and a NaN among the scores makes the row's loss NaN"""
    x = np.array([[0.0, -np.inf], [np.nan, 0.0], [0.0, 0.0]])
    q = np.array([[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]])
    wanted = np.array([np.inf, np.nan, math.log(2.0)])
    judge("SoftmaxCrossEntropy().forward(x, q)", SoftmaxCrossEntropy().forward(x, q), wanted, given={"x": x, "q": q})


def test_float32_stays_float32():
    """float32 in, float32 out, of losses and of gradients"""
    x, q = np.array([[0.0, 1.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    wanted = np.array([math.log(1 + math.exp(-1.0))], np.float32)
    op = SoftmaxCrossEntropy()
    judge("SoftmaxCrossEntropy().forward(x, q), float32", op.forward(x, q), wanted, tolerance=1e-5)
    op.needs, g, log_p = (True, True), np.array([2.0], np.float32), oracle.log_softmax(x)
    gradients = tuple(array.astype(np.float32) for array in (2 * (np.exp(log_p) - q), -2 * log_p))
    judge("SoftmaxCrossEntropy().backward(g, x, q), float32", tuple(op.backward(g, x, q)), gradients, tolerance=1e-5)
