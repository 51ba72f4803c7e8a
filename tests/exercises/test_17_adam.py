"""Judges of exercise 17: a step size for every weight."""

import math

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.optim import Adam

pytestmark = pytest.mark.exercise("adam")


def steps(theta, gradients, lr=0.001, betas=(0.9, 0.999), eps=1e-8, correct=(True, True), inside=False, power=2):
    """The rule, one number after the other: θ, m and v after these gradients. The last three arguments break it.

    correct   whether m and v are made larger by what they are too small
    inside    whether ε stands under the root
    power     of g in v
    """
    theta = theta.copy()
    m, v = np.zeros(theta.shape), np.zeros(theta.shape)
    for place in np.ndindex(theta.shape):
        for t, g in enumerate((gradient[place] for gradient in gradients), start=1):
            m[place] = betas[0] * m[place] + (1 - betas[0]) * g
            v[place] = betas[1] * v[place] + (1 - betas[1]) * abs(g) ** power
            m_hat = m[place] / (1 - betas[0] ** t) if correct[0] else m[place]
            v_hat = v[place] / (1 - betas[1] ** t) if correct[1] else v[place]
            root = math.sqrt(v_hat + eps) if inside else math.sqrt(v_hat) + eps
            theta[place] -= lr * m_hat / root
    return theta, m, v


WRONG = {
    "neither m nor v is corrected for its start at 0": {"correct": (False, False)},
    "v is not corrected for its start at 0": {"correct": (True, False)},
    "m is not corrected for its start at 0": {"correct": (False, True)},
    "ε stands under the root, and not beside it": {"inside": True},
    "v is the mean of |g|, and not of g²": {"power": 1},
}


def stepped(theta, gradients, lr=0.001, **options):
    """θ by Adam's step(), and what it keeps."""
    p = Tensor(theta, requires_grad=True)
    optimizer = Adam([p], lr=lr, **options)
    for gradient in gradients:
        p.grad = Tensor(gradient)
        with untouched("Adam([p], ...).step()", g=p.grad):
            optimizer.step()
    return p, optimizer.state[p]


def test_first_step():
    """the first step: m̂ is g and v̂ is g², so every element moves by nearly lr, whatever its gradient is"""
    p, g = np.array([1.0, 2.0, 3.0]), np.array([5.0, -0.01, 0.0])
    optimizer = Adam([Tensor(p, requires_grad=True)], lr=0.1)
    given = {"p": p.copy(), "g": g}
    with untouched("Adam._adapt(p, g, state, options)", g=g):
        optimizer._adapt(p, g, {}, optimizer.param_groups[0])
    wrong = {text: steps(given["p"], [g], lr=0.1, **how)[0] for text, how in WRONG.items()}
    wrong["p stays as it was: `p = p - ...` makes a new array, `p -= ...` changes the given one"] = given["p"]
    judge(
        "Adam(..., lr=0.1)._adapt(p, g, {}, options), p afterwards",
        p,
        np.array([0.9, 2.1, 3.0]),
        given=given,
        mistakes=wrong,
        tolerance=1e-5,
    )


def test_two_steps_by_hand():
    """both β = 1/2, ε = 1, g = 2 and then −2: m̂ is 2, then −2/3; v̂ is 4 both times"""
    gradients, options = [np.array([2.0]), np.array([-2.0])], {"lr": 3.0, "betas": (0.5, 0.5), "eps": 1.0}
    p, state = stepped(np.array([10.0]), gradients, **options)
    judge(
        "Adam([p], lr=3, betas=(0.5, 0.5), eps=1), p after two steps with g = 2 and g = −2",
        p,
        np.array([10.0 - 3 * 2 / (2 + 1) + 3 * (2 / 3) / (2 + 1)]),
        given={"p before": np.array([10.0])},
        mistakes={
            **{text: steps(np.array([10.0]), gradients, **options, **how)[0] for text, how in WRONG.items()},
            "m and v are forgotten from step to step": np.array([10.0 - 3 * 2 / (2 + 1) + 3 * 2 / (2 + 1)]),
            "the step number stays at 1": np.array([10.0 - 2.0 + 3 * 1.0 / (math.sqrt(6.0) + 1)]),
        },
    )
    judge('the same, state["m"]', state["m"], np.array([-0.5]))
    judge('the same, state["v"]', state["v"], np.array([3.0]))
    judge('the same, state["step"]', state["step"], 2)


def test_five_steps():
    """a parameter (2, 3), with β of its own for m and for v, and an ε that counts"""
    random = np.random.default_rng(17)
    theta, gradients = random.standard_normal((2, 3)), list(random.standard_normal((5, 2, 3)))
    options = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 0.1}
    p, state = stepped(theta, gradients, **options)
    wanted, m, v = steps(theta, gradients, **options)
    wrong = {text: steps(theta, gradients, **options, **how)[0] for text, how in WRONG.items()}
    wrong["β₁ and β₂ are exchanged"] = steps(theta, gradients, 0.1, (0.95, 0.8), 0.1)[0]
    judge("Adam([p], lr=0.1, betas=(0.8, 0.95), eps=0.1), p after five steps", p, wanted, mistakes=wrong)
    judge('the same, state["m"]', state["m"], m)
    judge('the same, state["v"]', state["v"], v)


def test_two_parameters():
    """each parameter has m, v and a step number of its own"""
    one, other = Tensor(np.array([1.0]), requires_grad=True), Tensor(np.array([[2.0, 3.0]]), requires_grad=True)
    optimizer = Adam([one, other], lr=0.1)
    gradients = [np.array([0.5]), np.array([-1.5])]
    for gradient in gradients:
        one.grad = Tensor(gradient)
        optimizer.step()  # the other has no gradient yet
    other.grad = Tensor(np.array([[4.0, -4.0]]))
    one.zero_grad()
    optimizer.step()
    judge("the first parameter, after two steps", one, steps(np.array([1.0]), gradients, lr=0.1)[0])
    judge("the second parameter, after its first step", other, np.array([[1.9, 3.1]]), tolerance=1e-7)


def test_float32_stays_float32():
    """float32 parameters, float32 m and v"""
    theta, gradients = np.array([1.0, 2.0], np.float32), [np.array([0.5, -0.25], np.float32)] * 3
    p, state = stepped(theta, gradients, lr=0.1)
    wanted, m, v = steps(theta.astype(np.float64), gradients, lr=0.1)
    judge("p.data after three steps, float32", p.data, wanted.astype(np.float32), tolerance=1e-5)
    judge('state["m"], float32', state["m"], m.astype(np.float32), tolerance=1e-5)
    judge('state["v"], float32', state["v"], v.astype(np.float32), tolerance=1e-5)


def test_two_groups():
    """twenty steps, and each parameter with the rate of its own group"""
    random = np.random.default_rng(18)
    one, other = Tensor(np.array([1.0]), requires_grad=True), Tensor(np.array([1.0]), requires_grad=True)
    optimizer = Adam([{"params": [one]}, {"params": [other], "lr": 0.01}], lr=0.1)
    gradients = list(random.standard_normal((20, 1)))
    for gradient in gradients:
        one.grad, other.grad = Tensor(gradient), Tensor(gradient)
        optimizer.step()
    call = "Adam([{one}, {other, lr=0.01}], lr=0.1), twenty steps"
    judge(f"{call}: one", one, steps(np.array([1.0]), gradients, lr=0.1)[0])
    judge(f"{call}: other", other, steps(np.array([1.0]), gradients, lr=0.01)[0])
