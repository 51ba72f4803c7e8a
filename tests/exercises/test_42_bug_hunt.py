"""Judges of exercise 42: five bugs, each reported by what a public function does."""

import numpy as np
import oracle
import pytest

import minidl
from minidl import Tensor
from minidl import functional as F
from minidl.exercises.judging import judge, require

pytestmark = pytest.mark.exercise("bug-hunt")


def given(function, *arguments, **options):
    """What the function gives, or the class and the message of the error that it raises."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        return error


# ------------------------------------------------------------------------------------------------------------ report 1


def test_doubling_one_gradient_doubles_another():
    """Report 1: I scale the gradient of one parameter in place, and that of another parameter changes, too"""
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    (a + b).backward(np.array([10.0, 20.0], np.float32))
    a.grad.data *= 2
    judge(
        "(a + b).backward(g);  a.grad.data *= 2;  b.grad",
        b.grad.data,
        np.array([10.0, 20.0], np.float32),
        given={"g": np.array([10.0, 20.0], np.float32)},
    )


def test_scaling_a_gradient_changes_the_one_i_gave():
    """Report 1, too: minidl.grad gives me back the very array that I gave it, and two results that are one"""
    g = np.array([10.0, 20.0])
    for create_graph in (False, True):
        a, b = Tensor(np.array([1.0, 2.0]), requires_grad=True), Tensor(np.array([3.0, 4.0]), requires_grad=True)
        to_a, to_b = minidl.grad(a + b, (a, b), Tensor(g), create_graph=create_graph)
        call = f"minidl.grad(a + b, (a, b), g, create_graph={create_graph})"
        shared = [
            n for n, x, y in (("a and b", to_a.data, to_b.data), ("a and g", to_a.data, g)) if np.may_share_memory(x, y)
        ]
        require(not shared, f"the gradients of {' and of '.join(shared)} lie in the same memory", call=call)

    g, h = Tensor(g, requires_grad=True), np.array([5.0, -7.0])  # and with create_graph=True there is a way back to g
    (to_a,) = minidl.grad(a + b, (a,), g, create_graph=True)
    got = given(minidl.grad, to_a, (g,), Tensor(h))
    call = "(to_a,) = minidl.grad(a + b, (a,), g, create_graph=True)\n(to_g,) = minidl.grad(to_a, (g,), h)"
    require(isinstance(got, tuple | list), f"wanted  to_g = h, for to_a is g\ngot     {got!r}", call=call)
    judge(call, got[0].data, h, given={"h": h})


# ------------------------------------------------------------------------------------------------------------ report 2


def test_the_largest_of_negative_numbers():
    """Report 2: max pooling of negative values gives 0 as soon as I pad"""
    x = np.array([[-3.0, -1.0], [-4.0, -2.0]])
    judge(
        "F.max_pool2d(x, 2, stride=2, padding=1)[0, :, :, 0]",
        F.max_pool2d(Tensor(x.reshape(1, 2, 2, 1)), 2, stride=2, padding=1).data[0, :, :, 0],
        x,
        given={"x[0, :, :, 0]": x},
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_padding_wins_against_no_number(dtype):
    """Report 2, too: random images less 100, in floating numbers and in integers, with gradients and without"""
    x = (np.random.default_rng(42).integers(-9, 9, (2, 5, 4, 3)) - 100).astype(dtype)
    if dtype == np.float32:
        x[0, :2, :2] = -np.inf  # all that the first windows see
    wanted = oracle.max_pool2d(x, 3, stride=2, padding=1).astype(dtype)
    y = F.max_pool2d(Tensor(x), 3, stride=2, padding=1)
    with minidl.no_grad():
        z = F.max_pool2d(Tensor(x), 3, stride=2, padding=1)
    for context, got in (("", y), ("with minidl.no_grad(): ", z)):
        judge(f"{context}F.max_pool2d(x, 3, stride=2, padding=1), x of shape (2, 5, 4, 3), {x.dtype}", got.data, wanted)


def test_the_least_integer_there_is():
    """Report 2, too: integers as low as their type has them"""
    for dtype in (np.int64, np.int8):
        low = np.iinfo(dtype).min
        x = np.array([[low, low], [low, low + 2]], dtype)
        judge(
            f"F.max_pool2d(x, 2, stride=2, padding=1)[0, :, :, 0], x in {x.dtype}",
            F.max_pool2d(Tensor(x.reshape(1, 2, 2, 1)), 2, stride=2, padding=1).data[0, :, :, 0],
            x,
            given={"x[0, :, :, 0]": x},
        )


# ------------------------------------------------------------------------------------------------------------ report 3


def test_the_mean_of_ones():
    """Report 3: the mean of ones is not 1 in every window, if windows are not square"""
    x = np.ones((1, 4, 6, 1))
    judge(
        "F.avg_pool2d(x, (2, 3))[0, :, :, 0], where x is a 4×6 image of ones",
        F.avg_pool2d(Tensor(x), (2, 3)).data[0, :, :, 0],
        np.ones((2, 2)),
    )


@pytest.mark.parametrize(("kernel", "count_include_pad"), [((1, 4), True), ((1, 4), False), ((3, 2), False)], ids=str)
def test_means_of_windows_at_the_border(kernel, count_include_pad):
    """Report 3, too: windows that overlap and hang over the border, with and without padding in the count"""
    x = np.random.default_rng(43).standard_normal((2, 5, 8, 3))
    options = dict(stride=(1, 3), padding=(kernel[0] // 2, kernel[1] // 2), count_include_pad=count_include_pad)
    judge(
        f"F.avg_pool2d(x, {kernel}, {', '.join(f'{k}={v}' for k, v in options.items())}), x of shape (2, 5, 8, 3)",
        F.avg_pool2d(Tensor(x), kernel, **options).data,
        oracle.avg_pool2d(x, kernel, **options),
    )


# ------------------------------------------------------------------------------------------------------------ report 4


def test_scores_in_a_column():
    """Report 4: my regression does not learn; the net gives (N, 1), my targets are (N,), and nothing complains"""
    x, target = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 3.0])
    got = given(F.mse_loss, Tensor(x), Tensor(target))
    require(
        isinstance(got, ValueError),
        f"wanted  ValueError: nothing is compared that has not one shape\ngot     {got!r}",
        call="F.mse_loss(x, target)",
        given={"x": x, "target": target},
    )
    judge(
        "F.mse_loss(x[:, 0], target), with target - 1 for the target",
        F.mse_loss(Tensor(x[:, 0]), Tensor(target - 1)).data,
        np.array(1.0),
    )


def test_weights_in_a_row():
    """Report 4, too: the same with weights, with other losses, and with other pairs of shapes"""
    x, weight = Tensor(np.ones((3, 1))), Tensor(np.ones((1, 3)))
    for loss in (F.mse_loss, F.l1_loss, F.huber_loss):
        got = given(loss, x, x, weight=weight)
        require(
            isinstance(got, ValueError),
            f"wanted  ValueError\ngot     {got!r}",
            call=f"F.{loss.__name__}(x, x, weight=weight), x of shape (3, 1), weight of shape (1, 3)",
        )
    for shape, other in ((3, 3), (3,)), ((3, 2), (3, 1)), ((2, 3), (3, 2)), ((2, 1, 3), (2, 3, 1)):
        got = given(F.mse_loss, Tensor(np.ones(shape)), Tensor(np.ones(other)))
        call = f"F.mse_loss(x, target), x of shape {shape}, target of shape {other}"
        require(isinstance(got, ValueError), f"wanted  ValueError\ngot     {got!r}", call=call)


# ------------------------------------------------------------------------------------------------------------ report 5


def test_a_gradient_through_a_frozen_batch_norm():
    """Report 5: I train the layers below a batch norm that is frozen, and their gradients have the wrong size"""
    x = Tensor(np.array([[1.0], [5.0]]), requires_grad=True)
    mean, variance = Tensor(np.array([1.0])), Tensor(np.array([15.0]))
    g = np.array([[8.0], [-4.0]])
    F.batch_norm(x, mean, variance, Tensor(np.array([2.0])), Tensor(np.array([3.0])), eps=1.0).backward(g)
    judge(
        "F.batch_norm(x, mean, variance, weight, bias, training=False, eps=1).backward(g);  x.grad",
        x.grad.data,
        np.array([[4.0], [-2.0]]),
        given={"variance": np.array([15.0]), "weight": np.array([2.0]), "g": g},
        mistakes={"the batch is normalised by its own statistics": np.zeros((2, 1))},
    )


def test_all_gradients_of_a_frozen_batch_norm():
    """Report 5, too: gradients to images, weight and bias, each against finite differences"""
    rng = np.random.default_rng(44)
    x, weight, bias, g = (rng.standard_normal(shape) for shape in [(2, 3, 2, 4), (4,), (4,), (2, 3, 2, 4)])
    mean, variance = rng.standard_normal(4), rng.uniform(0.5, 2, 4)
    wanted = oracle.numeric_gradient(
        lambda x, weight, bias: oracle.batch_norm(x, mean, variance, weight, bias, 0.1), [x, weight, bias], g
    )
    inputs = [Tensor(array, requires_grad=True) for array in (x, weight, bias)]
    F.batch_norm(inputs[0], Tensor(mean), Tensor(variance), *inputs[1:], eps=0.1).backward(g)
    for name, tensor, gradient in zip(("x", "weight", "bias"), inputs, wanted, strict=True):
        judge(f"F.batch_norm(...).backward(g);  {name}.grad", tensor.grad.data, gradient, tolerance=1e-6)
