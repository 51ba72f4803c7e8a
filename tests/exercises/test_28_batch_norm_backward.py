"""Judges of exercise 28: batch normalisation, backward."""

import numpy as np
import oracle
import pytest

from minidl.exercises.judging import judge, require, untouched
from minidl.kernels.channels import normalize_gradients

pytestmark = pytest.mark.exercise("batch-norm-backward")

EPS = 0.01


def forward(x, weight, bias):
    """Batch norm of rows (M, C), by their own statistics."""
    mean, variance, _ = oracle.batch_statistics(x)
    return oracle.batch_norm(x, mean, variance, weight, bias, EPS)


def case(M, C, seed, dtype=np.float64):
    """g, x, mean, inv_std and weight, as backward gets them, and a bias."""
    random = np.random.default_rng(seed)
    x = (2 * random.standard_normal((M, C)) + random.uniform(-3, 3, C)).astype(dtype)
    g, weight, bias = (random.standard_normal(shape).astype(dtype) for shape in ((M, C), C, C))
    mean, variance, _ = oracle.batch_statistics(x)
    return (g, x, mean.astype(dtype), (1 / np.sqrt(variance + EPS)).astype(dtype), weight), bias


def halves(g, x, mean, inv_std, weight):
    """∂L/∂x with something left out: {what: result}."""
    M = len(x)
    x_hat = (x - mean) * inv_std
    constant, along = g.sum(axis=0) / M, x_hat * (g * x_hat).sum(axis=0) / M
    factor = weight * inv_std
    return {
        "mean and inv_std are taken as constants, as in inference": factor * g,
        "the way through the variance is missing: the part of g along x̂": factor * (g - constant),
        "the way through the mean is missing: the mean of g": factor * (g - along),
        "weight is left out": inv_std * (g - constant - along),
        "inv_std is left out": weight * (g - constant - along),
        "the sums are not divided by M": factor * (g - M * constant - M * along),
        "both parts are added, and not subtracted": factor * (g + constant + along),
    }


def test_one_channel_by_hand():
    """four values, x̂ is −1, −1, 1, 1: one gradient of 8, less its mean 2 and its part along x̂"""
    g, x = np.array([[8.0], [0.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [5.0], [5.0]])
    mean, inv_std, weight = np.array([3.0]), np.array([0.5]), np.array([6.0])
    of_x, of_weight, of_bias, used = normalize_gradients(g, x, mean, inv_std, weight)
    given = {"g.T": g.T, "x.T": x.T, "mean": mean, "inv_std": inv_std, "weight": weight}
    call = "normalize_gradients(g, x, mean, inv_std, weight)"
    judge(f"{call}, to the bias: Σ g", of_bias, np.array([8.0]), given=given)
    judge(
        f"{call}, to the weight: Σ g·x̂",
        of_weight,
        np.array([-8.0]),
        given=given,
        mistakes={"x stands where x̂ belongs": np.array([8.0]), "x̂ is not divided by the deviation": np.array([-16.0])},
    )
    # weight · inv_std = 3;  g − 2 − x̂ · (−2)
    judge(
        f"{call}, to x: 3 · (g − 2 + 2 x̂)",
        of_x,
        3 * np.array([[8.0 - 2.0 - 2.0], [-2.0 - 2.0], [-2.0 + 2.0], [-2.0 + 2.0]]),
        given=given,
        mistakes=halves(g, x, mean, inv_std, weight),
    )
    judge(f"{call}, the last result: the g that was used", used, g, given=given)


def test_numeric_gradients():
    """x (13, 3): as finite differences have it, when x also moves its own mean and variance"""
    arguments, bias = case(13, 3, 28)
    g, x, mean, inv_std, weight = arguments
    call = "normalize_gradients(g, x, mean, inv_std, weight), x of shape (13, 3)"
    with untouched(call, g=g, x=x, mean=mean, inv_std=inv_std, weight=weight):
        of_x, of_weight, of_bias, used = normalize_gradients(*arguments)
    wanted = oracle.numeric_gradient(forward, [x, weight, bias], g)
    judge(f"{call}, to the bias", of_bias, wanted[2], tolerance=1e-6)
    judge(f"{call}, to the weight", of_weight, wanted[1], tolerance=1e-6)
    judge(f"{call}, to x", of_x, wanted[0], mistakes=halves(*arguments), tolerance=1e-6)
    judge(f"{call}, the g that was used", used, g)


@pytest.mark.parametrize("shape", [(2, 1), (7, 5), (30, 2), (64, 3)], ids=str)
def test_shapes(shape):
    """few rows and many, one channel and several: by the formula, one element after the other"""
    arguments, _ = case(*shape, seed=29)
    g, x, mean, inv_std, weight = arguments
    (M, C), wanted = shape, np.zeros(shape)
    for c in range(C):
        x_hat = [(x[m, c] - mean[c]) * inv_std[c] for m in range(M)]
        constant = sum(g[m, c] for m in range(M)) / M
        along = sum(g[m, c] * x_hat[m] for m in range(M)) / M
        for m in range(M):
            wanted[m, c] = weight[c] * inv_std[c] * (g[m, c] - constant - x_hat[m] * along)
    judge(f"normalize_gradients(...), x of shape {shape}, to x", normalize_gradients(*arguments)[0], wanted)


def test_what_normalisation_takes_away():
    """x shifted, or stretched, gives the same output: its gradient has no mean, and (with ε = 0) no part along x̂"""
    random = np.random.default_rng(30)
    x, g, weight = random.standard_normal((11, 2)), random.standard_normal((11, 2)), np.array([2.0, -3.0])
    mean, variance, _ = oracle.batch_statistics(x)
    of_x = normalize_gradients(g, x, mean, 1 / np.sqrt(variance), weight)[0]
    judge("normalize_gradients(...), the gradient to x summed over the rows", of_x.sum(axis=0), np.zeros(2))
    judge("normalize_gradients(...), Σ x · the gradient to x", (x * of_x).sum(axis=0), np.zeros(2))


def test_relu_behind():
    """y given: where it is 0, a ReLU has stopped the gradient, and 0 takes the place of g, in the sums as well"""
    (g, x, mean, inv_std, weight), bias = case(9, 4, 31)
    y = np.maximum(forward(x, weight, bias), 0)
    call = "normalize_gradients(g, x, mean, inv_std, weight, y), x of shape (9, 4)"
    with untouched(call, g=g, x=x, y=y):
        of_x, of_weight, of_bias, used = normalize_gradients(g, x, mean, inv_std, weight, y)
    stopped = np.array([[g[m, c] if y[m, c] > 0 else 0.0 for c in range(4)] for m in range(9)])
    judge(
        f"{call}, the g that was used",
        used,
        stopped,
        mistakes={"y is not looked at": g, "g is multiplied by y": g * y},
    )
    x_hat = (x - mean) * inv_std
    judge(f"{call}, to the bias", of_bias, stopped.sum(axis=0), mistakes={"g is summed as it came": g.sum(axis=0)})
    late = {"g is summed as it came": (g * x_hat).sum(axis=0)}
    judge(f"{call}, to the weight", of_weight, (stopped * x_hat).sum(axis=0), mistakes=late)
    wanted = oracle.numeric_gradient(lambda x: np.maximum(forward(x, weight, bias), 0), [x], g)[0]
    whole = normalized_gradient(g, x, mean, inv_std, weight)
    late = {
        "y is not looked at": whole,
        "the gradient to x is set to 0 where y is 0: the g that goes in must be": np.where(y > 0, whole, 0),
    }
    judge(f"{call}, to x", of_x, wanted, mistakes=late, tolerance=1e-6)


def normalized_gradient(g, x, mean, inv_std, weight):
    x_hat = (x - mean) * inv_std
    return weight * inv_std * (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0))


def test_no_gradient_to_x():
    """needs_x=False: None in its place, and the other three as ever"""
    arguments, _ = case(5, 2, 32)
    g, x, mean, inv_std, _ = arguments
    of_x, of_weight, of_bias, used = normalize_gradients(*arguments, needs_x=False)
    call = "normalize_gradients(..., needs_x=False)"
    require(of_x is None, f"wanted None, got a {type(of_x).__name__}", call=f"{call}, to x")
    judge(f"{call}, to the weight", of_weight, (g * (x - mean) * inv_std).sum(axis=0))
    judge(f"{call}, to the bias", of_bias, g.sum(axis=0))
    judge(f"{call}, the g that was used", used, g)


def test_float32_stays_float32():
    """float32 in, float32 out, all four"""
    arguments, _ = case(10, 3, 33, np.float32)
    g, x, mean, inv_std, weight = (array.astype(np.float64) for array in arguments)
    results = normalize_gradients(*arguments)
    wanted = normalized_gradient(g, x, mean, inv_std, weight), (g * (x - mean) * inv_std).sum(axis=0), g.sum(axis=0), g
    judge(
        "normalize_gradients(...), float32: to x, weight and bias, and g",
        results,
        tuple(array.astype(np.float32) for array in wanted),
        tolerance=1e-4,
    )


def test_relu_behind_the_first_layer():
    """float32, y given and needs_x=False: the sums, and the g that was used, are of what the ReLU lets through"""
    (g, x, mean, inv_std, weight), _ = case(4, 1, 34, np.float32)
    y = np.array([[0.0], [1e-6], [2.0], [0.0]], np.float32)
    call = "normalize_gradients(g, x, mean, inv_std, weight, y, needs_x=False), float32"
    of_x, *others = normalize_gradients(g, x, mean, inv_std, weight, y, needs_x=False)
    require(of_x is None, f"wanted None, got a {type(of_x).__name__}", call=f"{call}, to x")
    used = np.array([[0.0], g[1], g[2], [0.0]], np.float32)
    x_hat = (x.astype(np.float64) - mean) * inv_std
    wanted = (used * x_hat).sum(axis=0).astype(np.float32), used.sum(axis=0), used
    given = {"g": g, "y": y}
    judge(f"{call}: to weight and bias, and g", tuple(others), wanted, given=given, tolerance=1e-5)
