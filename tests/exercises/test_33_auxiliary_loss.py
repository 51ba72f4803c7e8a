"""Judges of exercise 33: classifiers halfway."""

import numpy as np
import oracle
import pytest

from minidl import Tensor
from minidl import functional as F
from minidl.evaluation import training_loss
from minidl.exercises.judging import judge, require

pytestmark = pytest.mark.exercise("auxiliary-loss")


def named(number):
    """Scores that are one number, and say so when they are compared."""
    return Tensor(np.array([number]), requires_grad=True)


def distance(scores, labels):
    """A loss that is easy to check: (score − label)²."""
    return (scores - labels) * (scores - labels)


def test_two_auxiliary_heads():
    """a loss of 16, and auxiliary ones of 1 and 100 that count 0.3 each: 16 + 0.3 + 30"""
    scores, first, second = named(4.0), named(1.0), named(10.0)
    result = training_loss((scores, first, second), 0.0, distance, 0.3)
    call = "training_loss((scores, aux1, aux2), 0.0, loss, 0.3), where loss is (score − label)²"
    given = {"scores": scores, "aux1": first, "aux2": second}
    require(isinstance(result, tuple) and len(result) == 2, "wanted two things, the loss and the scores", call=call)
    judge(
        f"{call}: the loss",
        result[0],
        np.array([46.3]),
        given=given,
        mistakes={
            "the auxiliary losses are left out": np.array([16.0]),
            "the auxiliary losses count as much as the main one": np.array([117.0]),
            "only the first auxiliary head counts": np.array([16.3]),
            "only the last auxiliary head counts": np.array([46.0]),
            "the auxiliary losses are averaged": np.array([16 + 0.3 * 50.5]),
            "the main loss counts 1 − aux_weight": np.array([0.7 * 16 + 30.3]),
            "the weighted scores are added up before the loss": np.array([(4 + 0.3 + 3.0) ** 2]),
            "aux_weight multiplies the main loss as well": np.array([0.3 * 117]),
        },
    )
    require(result[1] is scores, "the second result must be the main scores, the first of the output", call=call)


def test_no_auxiliary_heads():
    """most models return their scores alone, without a tuple around them"""
    scores = Tensor(np.array([[3.0], [5.0]]), requires_grad=True)
    result = training_loss(scores, 1.0, distance, 0.3)
    call = "training_loss(scores, 1.0, loss, 0.3), scores of shape (2, 1), where loss is (score − label)²"
    rows = {"the first row is taken for the main scores, the others for auxiliary ones": np.array([4 + 0.3 * 16])}
    judge(f"{call}: the loss", result[0], np.array([[4.0], [16.0]]), given={"scores": scores}, mistakes=rows)
    require(result[1] is scores, "the second result must be the scores", call=call)


def test_cross_entropy_with_gradients():
    """cross-entropy of three heads, scores (4, 3): value, and what comes back to each head"""
    random = np.random.default_rng(33)
    arrays, labels = [random.standard_normal((4, 3)) for _ in range(3)], np.array([2, 0, 1, 1])
    heads = tuple(Tensor(array, requires_grad=True) for array in arrays)
    loss, scores = training_loss(heads, Tensor(labels), F.cross_entropy, 0.25)
    call = "training_loss((scores, aux1, aux2), labels, F.cross_entropy, 0.25)"
    wanted = [oracle.cross_entropy(array, labels) for array in arrays]
    judge(f"{call}: the loss", loss, float(wanted[0] + 0.25 * wanted[1] + 0.25 * wanted[2]))
    require(isinstance(loss, Tensor) and loss.requires_grad, "the loss is no part of the graph", call=call)
    require(scores is heads[0], "the second result must be the main scores", call=call)
    loss.backward()
    for name, head, array, weight in zip(("scores", "aux1", "aux2"), heads, arrays, (1, 0.25, 0.25), strict=True):
        require(head.grad is not None, f"no gradient has come to {name}", call=f"{call}, loss.backward()")
        gradient = weight * (oracle.softmax(array) - np.eye(3)[labels]) / 4
        judge(f"{call}, loss.backward(), {name}.grad", head.grad, gradient)


def test_a_weight_of_zero():
    """aux_weight 0 is a weight like any other: the heads are there, and count nothing"""
    loss, _ = training_loss((named(4.0), named(1.0)), 0.0, distance, 0.0)
    judge("training_loss((scores, aux), 0.0, loss, 0.0): the loss", loss, np.array([16.0]))


def test_three_auxiliary_heads():
    """three heads that count 2 each, more than the main one: 16 + 2 · (1 + 100 + 4)"""
    heads = (named(4.0), named(1.0), named(10.0), named(-2.0))
    loss, _ = training_loss(heads, 0.0, distance, 2.0)
    judge("training_loss((scores, aux1, aux2, aux3), 0.0, loss, 2.0): the loss", loss, np.array([226.0]))
