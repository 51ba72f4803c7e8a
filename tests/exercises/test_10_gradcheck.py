"""Judges of exercise 10: a checker of gradients, tried on right gradients and on wrong ones."""

import traceback

import numpy as np
import pytest

from minidl import Tensor, gradcheck
from minidl.autograd import Function
from minidl.exercises.judging import Wrong, judge, require
from minidl.gradcheck import GradcheckError, GradcheckReport

pytestmark = pytest.mark.exercise("gradcheck")


def function_of(formula, gradients):
    """A Function of two vectors a and b, with y = formula(a, b) and the gradients that gradients(g, a, b) gives."""

    class Planted(Function):
        def forward(self, a, b):
            return formula(a, b)

        def backward(self, g, a, b):
            return gradients(g, a, b)

    return lambda a, b: Planted()(a, b)


def leaf(values, requires_grad=True):
    return Tensor(np.array(values), requires_grad=requires_grad)


A, B = [1.0, -2.0, 3.0], [0.5, 4.0, -1.5]


def accepted(call, function, inputs, **options):
    """The report on a gradient that is right."""
    try:
        report = gradcheck(function, inputs, **options)
    except GradcheckError as error:
        raise Wrong(f"{call}\n\nthis gradient is right, and was rejected:\n{error}", "right, and rejected") from None
    require(
        isinstance(report, GradcheckReport),
        f"wanted  a GradcheckReport\ngot     {report!r}: is a `return` missing?",
        call=call,
    )
    return report


def rejected(call, what, function, inputs, number, **options):
    """A gradient that is wrong must be rejected, with the number of its input."""
    try:
        report = gradcheck(function, inputs, **options)
    except GradcheckError as error:
        if not any(frame.name == "_compare_jacobians" for frame in traceback.extract_tb(error.__traceback__)):
            said = "this gradient is wrong, and was accepted; only a later check of gradcheck's stumbled over it"
            raise Wrong(f"{call}\n    {what}\n\n{said}", what) from None
        require(
            error.inputs == (number,),
            f"it was rejected, but what is wrong is the gradient to input {number}, and the inputs that the\n"
            f"GradcheckError names, in the list that is its second argument, are {list(error.inputs)}:\n{error}",
            call=f"{call}\n    {what}",
        )
    else:
        raise Wrong(f"{call}\n    {what}\n\nthis gradient is wrong, and was accepted: {report}", what)


SQUARE = "gradcheck(f, [a]), where y = a²"


def square(gradient):
    class Square(Function):
        def forward(self, a):
            return a * a

        def backward(self, g, a):
            return gradient(g, a)

    return lambda a: Square()(a)


def test_a_right_gradient():
    """y = a² of one number, 3: its derivative is 6, and backward says g · 2a"""
    report = accepted(SQUARE, square(lambda g, a: g * 2 * a), [leaf([3.0])])
    judge(f"{SQUARE}: derivatives compared", report.compared, 1, given={"a": 3.0})


def test_a_factor():
    """y = a² again, with a backward that forgets the 2"""
    rejected(SQUARE, "backward: g * a, where g * 2 * a is right", square(lambda g, a: g * a), [leaf([3.0])], 0)


def test_nothing_but_g():
    """y = a²/2 at 1, −2 and 3, where backward passes on g: right for the first element, wrong for the others"""

    class Half(Function):
        def forward(self, a):
            return a * a / 2

        def backward(self, g):
            return g

    rejected("gradcheck(f, [a]), where y = a² / 2", "backward: g", lambda a: Half()(a), [leaf(A)], 0)


def test_one_output_of_several_elements():
    """y = Σ a² b, one output, and inputs of six elements: each of them is moved while the others rest"""
    right = function_of(lambda a, b: np.sum(a * a * b), lambda g, a, b: (g * 2 * a * b, g * a * a))
    call = "gradcheck(f, [a, b]), where y = Σ a² b, and a and b have 3 elements each"
    report = accepted(call, right, [leaf(A), leaf(B)])
    judge(f"{call}: derivatives compared", report.compared, 6, given={"a": np.array(A), "b": np.array(B)})


def test_several_outputs_and_inputs():
    """y = a bᵀ, six outputs of five inputs: 6 · 2 + 6 · 3 derivatives, most of them 0"""
    right = function_of(lambda a, b: np.outer(a, b), lambda g, a, b: (g @ b, a @ g))
    call = "gradcheck(f, [a, b]), where y = a bᵀ, and a has 2 elements, b 3"
    report = accepted(call, right, [leaf([1.0, -2.0]), leaf(B)])
    judge(f"{call}: derivatives compared", report.compared, 30)


def cubic(wrong=None):
    """y = a² b; with the right gradients, or with (number, change): change(g, the derivatives) for that input."""

    def gradients(g, a, b):
        results = [g * 2 * a * b, g * a * a]
        if wrong is not None:
            number, change = wrong
            results[number] = change(g, [2 * a * b, a * a][number])
        return tuple(results)

    return function_of(lambda a, b: a * a * b, gradients)


def test_the_second_input():
    """y = a² b, where the gradient to a is right and that to b has the wrong sign"""
    inputs = [leaf(A), leaf(B)]
    accepted("gradcheck(f, [a, b]), where y = a² b", cubic(), inputs)
    what = "backward: g * 2 * a * b, -g * a * a, where the second sign is wrong"
    rejected("gradcheck(f, [a, b]), where y = a² b", what, cubic((1, lambda g, d: -g * d)), inputs, 1)


def test_a_constant_input():
    """a requires no gradient; the wrong one is that of b, which is still input 1"""
    inputs = [leaf(A, requires_grad=False), leaf(B)]
    report = accepted("gradcheck(f, [a, b]), where y = a² b and a is a constant", cubic(), inputs)
    judge("gradcheck(f, [a, b]), where a is a constant: derivatives compared", report.compared, 9)
    wrong = cubic((1, lambda g, d: 2 * g * d))
    rejected("gradcheck(f, [a, b]), where y = a² b and a is a constant", "b receives twice too much", wrong, inputs, 1)


def test_g_is_ignored():
    """y = Σ a² b, a single output: with g = 1 nobody notices that g is left out, with a random v one does"""

    def total(gradient):
        return function_of(lambda a, b: np.sum(a * a * b), gradient)

    call = "gradcheck(f, [a, b]), where y = Σ a² b is a single number"
    inputs = [leaf(A), leaf(B)]
    accepted(call, total(lambda g, a, b: (g * 2 * a * b, g * a * a)), inputs)
    rejected(call, "backward: 2 * a * b without g", total(lambda g, a, b: (2 * a * b, g * a * a)), inputs, 0)


def but_for(i, change):
    """The right gradient g · d, but for its element i."""

    def gradient(g, d):
        result = g * d
        result[i] = change(result[i], g[i])
        return result

    return gradient


PLANTED = {
    "one element is wrong, by 0.001 · g": but_for(2, lambda right, g: right + 0.001 * g),
    "one element is NaN": but_for(1, lambda right, g: np.nan),
    "the elements are in reverse order": lambda g, d: (g * d)[::-1],
    "it is all zeros": lambda g, d: 0 * g,
    "it is a mean where a sum belongs: divided by 3": lambda g, d: g * d / 3,
    "it is the derivative, not multiplied by g": lambda g, d: d,
    "it is g, not multiplied by the derivative": lambda g, d: g,
    "each element receives something of its neighbours, too": lambda g, d: g * d + (g.sum() - g),
    "it is |g| times the derivative": lambda g, d: abs(g) * d,
    "it is a tenth too large, unless g is a single 1": lambda g, d: g * d * (1.1 if np.count_nonzero(g) > 1 else 1),
    "it has 1 too much here and 1 too little there, unless g is a single 1": lambda g, d: (
        g * d + (np.count_nonzero(g) > 1) * np.array([1.0, -1.0, 0.0])
    ),
}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("what", PLANTED)
def test_planted_mistakes(what, number):
    """y = a² b, with one mistake in the gradient to one of the inputs"""
    call = f"gradcheck(f, [a, b]), where y = a² b, and the gradient to input {number} is wrong"
    rejected(call, what, cubic((number, PLANTED[what])), [leaf(A), leaf(B)], number)


def test_large_and_small():
    """y = (10⁶ a₀, 0.001 a₁): 0.1 too much is little beside 10⁶, but the second derivative is 0.001"""
    sizes = np.array([1e6, 1e-3])

    class Scaled(Function):
        def __init__(self, wrong):
            self.wrong = wrong

        def forward(self, a):
            return sizes * a

        def backward(self, g):
            return g * (sizes + self.wrong)

    call = "gradcheck(f, [a]), where y = (10⁶ a₀, 0.001 a₁)"
    accepted(call, lambda a: Scaled(np.zeros(2))(a), [leaf([1.0, 2.0])])
    what = "the second derivative is taken as 0.101: each pair has a tolerance of its own"
    rejected(call, what, lambda a: Scaled(np.array([0.0, 0.1]))(a), [leaf([1.0, 2.0])], 0)
    what = "the second derivative is taken as 0.0018: half of 0.001 is accepted, not half of 0.0018"
    rejected(call, what, lambda a: Scaled(np.array([0.0, 8e-4]))(a), [leaf([1.0, 2.0])], 0, rtol=0.5, atol=0.0)


MATRIX = np.array([[1.0, 2.0, -1.0], [0.5, 3.0, 4.0], [-2.0, 1.5, 2.5]])


def test_a_transposed_matrix():
    """y = M a for a square matrix M: Mᵀ g is right, M g has the right shape"""

    def product(transposed):
        return function_of(lambda a, b: MATRIX @ a + b, lambda g, a, b: ((MATRIX.T if transposed else MATRIX) @ g, g))

    call = "gradcheck(f, [a, b]), where y = M a + b"
    accepted(call, product(True), [leaf(A), leaf(B)])
    rejected(call, "backward: M g, where Mᵀ g is right", product(False), [leaf(A), leaf(B)], 0)


def test_sums_that_are_constant():
    """y = a minus its mean: its elements always add up to 0, and so an upstream gradient of ones would see nothing"""

    class Centred(Function):
        def __init__(self, factor):
            self.factor = factor

        def forward(self, a):
            return a - a.sum() / 3

        def backward(self, g):
            return self.factor * (g - g.sum() / 3)

    call = "gradcheck(f, [a]), where y = a − mean(a)"
    accepted(call, lambda a: Centred(1.0)(a), [leaf(A)])
    rejected(call, "backward: zeros", lambda a: Centred(0.0)(a), [leaf(A)], 0)


def test_axes():
    """inputs and outputs with two axes, and several outputs of one Function"""

    class Both(Function):
        def __init__(self, factor):
            self.factor = factor

        def forward(self, a, b):
            return a @ b, a * a

        def backward(self, gs, a, b):
            return gs[0] @ b.T + 2 * a * gs[1], self.factor * (a.T @ gs[0])

    random = np.random.default_rng(0)
    inputs = [leaf(random.standard_normal((2, 3))), leaf(random.standard_normal((3, 4)))]
    call = "gradcheck(f, [a, b]), where y = (A B, A ∘ A), A has shape (2, 3) and B (3, 4)"
    report = accepted(call, lambda a, b: Both(1.0)(a, b), inputs)
    judge(f"{call}: derivatives compared, 14 outputs by 6 + 12 inputs", report.compared, 14 * 18)
    rejected(call, "the gradient to B is halved", lambda a, b: Both(0.5)(a, b), inputs, 1)


def test_the_report():
    """y = a³ at 1 and 2 with a step of 0.01: the differences are 0.01² too large, which atol = 0.001 lets pass"""

    class Cube(Function):
        def forward(self, a):
            return a * a * a

        def backward(self, g, a):
            return g * 3 * a * a

    call = "gradcheck(f, [a], eps=0.01, atol=0.001), where y = a³"
    report = accepted(call, lambda a: Cube()(a), [leaf([1.0, 2.0])], eps=0.01, atol=0.001)
    given = {"a": np.array([1.0, 2.0]), "derivatives": np.array([3.0, 12.0]), "quotients": np.array([3.0001, 12.0001])}
    judge(f"{call}: derivatives compared", report.compared, 4, given=given)
    judge(f"{call}: worst_absolute", float(report.worst_absolute), 1e-4, given=given)
    judge(f"{call}: worst_relative", float(report.worst_relative), 1e-4 / 12.0001, given=given)


def test_the_report_on_two_inputs():
    """y = −a³ − b: all slopes are negative, and the differences at a, the first input, are larger than those at b"""
    right = function_of(lambda a, b: -(a**3) - b, lambda g, a, b: (-g * 3 * a * a, -g))
    call = "gradcheck(f, [a, b], eps=0.01, atol=0.001), where y = −a³ − b"
    report = accepted(call, right, [leaf([1.0, 2.0]), leaf([0.5, 4.0])], eps=0.01, atol=0.001)
    given = {"derivatives by a": np.array([-3.0, -12.0]), "quotients": np.array([-3.0001, -12.0001])}
    judge(f"{call}: derivatives compared", report.compared, 8, given=given)
    judge(f"{call}: worst_absolute", float(report.worst_absolute), 1e-4, given=given)
    judge(f"{call}: worst_relative", float(report.worst_relative), 1e-4 / 12.0001, given=given)


def test_nothing_but_zeros():
    """y = 0 · a: every derivative is 0, and every quotient; worst_relative is 0 as well, and not 0 / 0"""
    zero = function_of(lambda a, b: 0 * a * b, lambda g, a, b: (0 * g * b, 0 * g * a))
    report = accepted("gradcheck(f, [a, b]), where y = 0 · a · b", zero, [leaf(A), leaf(B)])
    judge("gradcheck(f, [a, b]), where y = 0 · a · b: worst_relative", float(report.worst_relative), 0.0)
