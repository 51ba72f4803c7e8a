"""Judges of exercise 16: downhill, with momentum."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, require, untouched
from minidl.optim import SGD

pytestmark = pytest.mark.exercise("sgd-momentum")


def steps(theta, gradients, rates, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, **wrong):
    """The rule, written out: where θ and v are after these gradients. v is None without momentum.

    wrong   first: the first gradient is dampened, too; outside: the decay does not go through v
    """
    v = None
    for gradient, lr in zip(gradients, rates, strict=True):
        decay = weight_decay * theta
        g = gradient if wrong.get("outside") else gradient + decay
        if momentum:
            dampened = (1 - dampening) * g
            first = dampened if wrong.get("first") else g
            v = first if v is None else momentum * v + dampened
            g = g + momentum * v if nesterov else v
        theta = theta - lr * (g + decay if wrong.get("outside") else g)
    return theta, v


def stepped(theta, gradients, rates, **options):
    """The same by SGD's step(): θ, and what is kept as its velocity."""
    p = Tensor(theta, requires_grad=True)
    optimizer = SGD([p], lr=rates[0], **options)
    tensors = {id(gradient): Tensor(gradient) for gradient in gradients}
    for gradient, lr in zip(gradients, rates, strict=True):
        p.grad = tensors[id(gradient)]
        optimizer.param_groups[0]["lr"] = lr
        with untouched(f"SGD([p], {said(lr=lr, **options)}).step()", g=p.grad):
            optimizer.step()
    return p, optimizer.state[p].get("velocity")


def said(**options):
    return ", ".join(f"{name}={value}" for name, value in options.items())


def test_one_step_without_momentum():
    """θ ← θ − lr · g, in place: the array p is the parameter"""
    p, g = np.array([1.0, -2.0]), np.array([10.0, 20.0])
    optimizer = SGD([Tensor(p, requires_grad=True)], lr=0.1)
    given = {"p": p.copy(), "g": g}
    with untouched("SGD._update(p, g, state, options)", g=g):
        optimizer._update(p, g, {}, optimizer.param_groups[0])
    judge(
        "SGD(..., lr=0.1)._update(p, g, {}, options), p afterwards",
        p,
        np.array([0.0, -4.0]),
        given=given,
        mistakes={
            "p stays as it was: `p = p - ...` makes a new array, `p -= ...` changes the one that was given": given["p"],
            "the step goes uphill": given["p"] + 0.1 * g,
            "the learning rate is left out": given["p"] - g,
        },
    )


def test_three_steps_with_momentum():
    """g = 1, 2, 4 and momentum 1/2: v is 1, then 2.5, then 5.25"""
    gradients = [np.array([1.0]), np.array([2.0]), np.array([4.0])]
    p, velocity = stepped(np.array([10.0]), gradients, [1.0] * 3, momentum=0.5)
    judge(
        "SGD([p], lr=1, momentum=0.5), p after three steps with g = 1, 2 and 4",
        p,
        np.array([10.0 - 1.0 - 2.5 - 5.25]),
        given={"p before": np.array([10.0])},
        mistakes={
            "v is forgotten from step to step: it must be kept in state": np.array([10.0 - 1.0 - 2.0 - 4.0]),
            "g is multiplied by 1 − momentum; here v is a sum, and no mean": np.array([10.0 - 0.5 - 1.25 - 2.625]),
            "g is multiplied by 1 − momentum from the second step on": np.array([10.0 - 1.0 - 1.5 - 2.75]),
            "v is used before g has been added to it": np.array([10.0 - 0.0 - 1.0 - 2.5]),
            "Nesterov's rule is used without being asked for": np.array([10.0 - 1.5 - 3.25 - 6.625]),
        },
    )
    judge('the same, state["velocity"]', velocity, np.array([5.25]))


@pytest.mark.parametrize(
    "options",
    [
        {"weight_decay": 0.3},
        {"weight_decay": 0.3, "momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.25},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
        {"dampening": 0.5},
        {"momentum": 0.9, "dampening": 0.25, "weight_decay": 0.3},
    ],
    ids="-".join,
)
def test_options(options):
    """four steps of a parameter (2, 3), with weight decay, dampening and Nesterov's rule"""
    random = np.random.default_rng(16)
    theta, gradients = random.standard_normal((2, 3)), list(random.standard_normal((4, 2, 3)))
    for n in (1, 4):
        p, _ = stepped(theta, gradients[:n], [0.1] * n, **options)
        wanted, _ = steps(theta, gradients[:n], [0.1] * n, **options)
        others = {f"{name} is left out": {**options, name: 0.0} for name in reversed(options)}
        others |= {
            "the first g is dampened, too": {**options, "first": True},
            "the decay goes past v": {**options, "outside": True},
        }
        judge(
            f"SGD([p], lr=0.1, {said(**options)}), p after {n} step{'s' * (n > 1)}",
            p,
            wanted,
            mistakes={text: steps(theta, gradients[:n], [0.1] * n, **o)[0] for text, o in others.items()},
        )


def test_two_parameters():
    """each parameter has a velocity and options of its own: two groups, with two rates and two momenta"""
    first, second = np.array([1.0, 2.0]), np.array([[3.0], [4.0]])
    one, other = Tensor(first.copy(), requires_grad=True), Tensor(second.copy(), requires_grad=True)
    optimizer = SGD([{"params": [one]}, {"params": [other], "lr": 0.5, "momentum": 0.8}], lr=0.1, momentum=0.5)
    gradients = [np.array([1.0, -1.0]), np.array([2.0, 0.5])]
    for gradient in gradients:
        one.grad, other.grad = Tensor(gradient), Tensor(10 * gradient[:, None])
        optimizer.step()
    call = "SGD([{one}, {other, lr=0.5, momentum=0.8}], lr=0.1, momentum=0.5), two steps"
    judge(f"{call}: one", one, steps(first, gradients, [0.1] * 2, momentum=0.5)[0])
    columns = [10 * gradient[:, None] for gradient in gradients]
    wanted = steps(second, columns, [0.5] * 2, momentum=0.8)[0]
    judge(
        f"{call}: other",
        other,
        wanted,
        mistakes={"lr is that of the first group": steps(second, columns, [0.1] * 2, momentum=0.8)[0]},
    )


def test_an_array_of_its_own():
    """after the first step state["velocity"] has the numbers of g, but is not g's own array"""
    p, g, state = np.array([1.0, 2.0]), np.array([3.0, -4.0]), {}
    optimizer = SGD([Tensor(p, requires_grad=True)], lr=0.1, momentum=0.9)
    optimizer._update(p, g, state, optimizer.param_groups[0])
    call = "SGD(..., momentum=0.9)._update(p, g, state, options)"
    judge(f'{call}, state["velocity"]', state.get("velocity"), np.array([3.0, -4.0]), given={"g": g})
    require(not np.shares_memory(state["velocity"], g), 'state["velocity"] is g itself: make a copy of it', call=call)


def test_a_rate_that_changes():
    """a schedule changes lr between steps: lr multiplies all of v, also what came from earlier gradients"""
    random = np.random.default_rng(17)
    theta, gradients, rates = random.standard_normal(5), list(random.standard_normal((3, 5))), [0.1, 1.0, 0.01]
    p, velocity = stepped(theta, gradients, rates, momentum=0.9)
    wanted, v = steps(theta, gradients, rates, momentum=0.9)
    judge("SGD([p], lr, momentum=0.9), p after three steps with lr = 0.1, 1 and 0.01", p, wanted)
    judge('the same, state["velocity"]', velocity, v)


def test_the_same_gradient_again():
    """one array g in two steps: v starts as a copy of it, and not as g itself"""
    g = np.array([1.0, -3.0])
    p, velocity = stepped(np.array([0.0, 0.0]), [g, g], [0.1, 0.1], momentum=0.9)
    judge("SGD([p], lr=0.1, momentum=0.9), p after two steps with this g", p, -0.29 * g, given={"g": g})
    judge('the same, state["velocity"]', velocity, 1.9 * g)


def test_float32_stays_float32():
    """float32 parameters, float32 velocity"""
    theta, gradients = np.array([1.0, 2.0], np.float32), [np.array([0.5, -0.5], np.float32)] * 2
    p, velocity = stepped(theta, gradients, [0.1] * 2, momentum=0.5, weight_decay=0.01)
    wanted, v = steps(theta.astype(np.float64), gradients, [0.1] * 2, momentum=0.5, weight_decay=0.01)
    judge("p.data after two steps, float32", p.data, wanted.astype(np.float32), tolerance=1e-5)
    judge('state["velocity"], float32', velocity, v.astype(np.float32), tolerance=1e-5)
