"""Judges of exercise 40: labels that are not quite sure."""

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl import functional as F
from minidl.exercises.judging import judge, require, untouched
from minidl.ops.cross_entropy import smoothed

pytestmark = pytest.mark.exercise("label-smoothing")


def test_four_classes():
    """two labels among four classes, ε = 0.2: each class gets 0.05, and the right one what is left of 1 as well"""
    q = np.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    judge(
        "smoothed(q, 0.2)",
        smoothed(q, 0.2),
        np.array([[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]]),
        given={"q": q},
        mistakes={
            "ε is shared among the wrong classes only, K − 1 of them": np.where(q == 1, 0.8, 0.2 / 3),
            "ε / K is added, but nothing is taken from q: more than 1 in sum": q + 0.05,
            "ε is added to every class, and not ε / K": 0.8 * q + 0.2,
            "ε is divided by the number of rows, and not of classes": 0.8 * q + 0.1,
            "ε is divided by the number of all elements": 0.8 * q + 0.2 / 8,
            "ε and 1 − ε are exchanged": 0.2 * q + 0.8 / 4,
            "q is scaled, but nothing is added": 0.8 * q,
        },
    )


def test_soft_labels():
    """labels that are mixtures already, for each pixel (2, 3, 4, 5): they are mixed with 1/5 each"""
    q = oracle.softmax(np.random.default_rng(40).standard_normal((2, 3, 4, 5)))
    with untouched("smoothed(q, 0.1)", q=q):
        result = smoothed(q, 0.1)
    wanted = np.zeros(q.shape)
    for place in np.ndindex(q.shape):
        wanted[place] = 0.9 * q[place] + 0.1 * (1 / 5)
    judge("smoothed(q, 0.1), q of shape (2, 3, 4, 5)", result, wanted)


def test_labels_that_are_learned():
    """a Tensor q that requires a gradient, with rows of any sum: each element gets ε / K, and (1 − ε) g comes back"""
    q, g = Tensor(np.array([[0.5, 3.5], [0.0, 0.25]]), requires_grad=True), np.array([[1.0, -2.0], [3.0, 4.0]])
    result = smoothed(q, 0.5)
    wanted = np.array([[0.5, 2.0], [0.25, 0.375]])
    judge("smoothed(q, 0.5)", result, wanted, given={"q": q})
    judge("smoothed(q.data, 0.5)", smoothed(q.data, 0.5), wanted, given={"q.data": q})
    require(
        isinstance(result, Tensor) and result.requires_grad,
        "the result is no part of the graph: compute with the Tensor itself, not with its .data",
        call="smoothed(q, 0.5), where q is a Tensor that requires a gradient",
    )
    result.backward(g)
    judge("smoothed(q, 0.5).backward(g), q.grad", q.grad, 0.5 * g, given={"g": g})


def test_ends():
    """ε = 0 changes nothing, ε = 1 leaves nothing of q"""
    q = np.array([[0.25, 0.75, 0.0, 0.0]])
    judge("smoothed(q, 0.0)", smoothed(q, 0.0), q, given={"q": q})
    judge("smoothed(q, 1.0)", smoothed(q, 1.0), np.full((1, 4), 0.25), given={"q": q})


def test_in_the_loss():
    """the cross-entropy with label_smoothing=0.1, and its gradient: softmax(x) less the smoothed label, over N"""
    random = np.random.default_rng(41)
    array, labels = random.standard_normal((3, 4)), np.array([3, 0, 0])
    x = Tensor(array, requires_grad=True)
    loss = F.cross_entropy(x, labels, label_smoothing=0.1)
    call = "F.cross_entropy(x, labels, label_smoothing=0.1), x of shape (3, 4)"
    judge(call, loss, float(oracle.cross_entropy(array, labels, label_smoothing=0.1)))
    loss.backward()
    judge(f"{call}, x.grad", x.grad, (oracle.softmax(array) - (0.9 * np.eye(4)[labels] + 0.1 / 4)) / 3)


def test_float32_stays_float32():
    """float32 in, float32 out; a Tensor gives a Tensor"""
    q = np.array([[0.0, 1.0]], np.float32)
    wanted = np.array([[0.125, 0.875]], np.float32)
    judge("smoothed(q, 0.25), q of dtype float32", smoothed(q, 0.25), wanted, given={"q": q})
    tensor = Tensor(q)
    with untouched("smoothed(Tensor(q), 0.25)", q=tensor):
        result = smoothed(tensor, 0.25)
    judge("smoothed(Tensor(q), 0.25).data", result.data, wanted, given={"q": q})
