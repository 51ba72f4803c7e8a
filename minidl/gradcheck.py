"""Gradients proven right: backward passes against finite differences.

A derivative is the slope between two nearby points. Move one element xₖ of an input by ±ε, and for every element yⱼ of
the output the central difference

    ∂yⱼ/∂xₖ ≈ (yⱼ(x + ε eₖ) − yⱼ(x − ε eₖ)) / 2ε      with an error of order ε² from the formula, 10⁻¹⁶/ε from rounding

must equal what backward gives at xₖ for an upstream gradient that is 1 at yⱼ and 0 elsewhere. For any other upstream
gradient v, backward must give Σⱼ vⱼ · ∂yⱼ/∂xₖ. That is tried with a random v. With ones it would prove little: softmax
and batch normalisation pass with a backward that returns zero, since their sums are constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.backend import is_floating, to_device, to_host
from minidl.backpropagation import grad
from minidl.differences import Line, Tolerance, rounding, unit
from minidl.mistakes import likely_mistake
from minidl.tensor import Tensor

Place = tuple[int, tuple[int, ...]]  # the number of an input, and an index into it


class GradcheckError(AssertionError):
    """A gradient that differs from its finite difference, or a function that cannot be checked.

    inputs   the numbers of the inputs whose gradients are wrong, where that is what happened
    """

    def __init__(self, message: str, inputs: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.inputs = tuple(inputs)


@dataclass(frozen=True)
class GradcheckReport:
    """What was compared, and the largest disagreement found (within tolerance, or there would be an error)."""

    compared: int  # derivatives compared
    worst_absolute: float  # max |analytic − numeric|
    worst_relative: float  # the same over the largest difference quotient in size; 0 where all are 0
    kinks: tuple[Place, ...] = ()  # elements of inputs with a kink within the step: what is there was not compared

    def __str__(self) -> str:
        left_out = f"; {len(self.kinks)} element(s) of the inputs lie at a kink" if self.kinks else ""
        return f"{self.compared:,} derivatives, worst relative error {self.worst_relative:.1e}{left_out}"


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    fast: bool = False,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the gradients of `function(*inputs)` with central differences.

    function  takes the inputs as Tensors and returns a Tensor or a tuple of them. Parameters of a module are checked by
              passing them as inputs too: gradcheck(lambda x, *_: module(x), [x, *module.parameters()])
    inputs    those that require gradients are checked; they must be float64
    eps       the step.    A derivative is accepted when |analytic − numeric| ≤ atol + rtol · |numeric|.
    fast      compare one derivative, of a random combination of the outputs along a random direction through all
              inputs, instead of each output's to each element (the Jacobian): for large blocks and whole models. A kink
              at an input itself is taken for a mistake
    seed      of the random numbers; minidl's own generator is not touched

    Where the function has a kink within the step (relu at 0, a tie of maxima) there is no derivative to compare; such
    elements are reported, unless backward gives something that lies on neither side of the kink.

    Raises: GradcheckError naming the input, the index, both values and, where the numbers give it away, the likely
    mistake; also when the function or backward gives two results for one input (a function with dropout must call
    manual_seed itself), changes what it was given, or returns memory that a later call overwrites. RuntimeError, from
    the engine, for a gradient of the wrong shape or of a dtype with fewer digits. TypeError for inputs and results that
    are not float64: in float32, rounding alone is as large as the tolerance.

    >>> x = Tensor(np.array([0.5, -1.5]), requires_grad=True)
    >>> minidl.gradcheck(lambda x: x * x, [x]).compared  # two outputs, two inputs
    4
    """
    checked = _inputs_to_check(inputs)
    targets = [inputs[i] for i in checked]
    random = _random_numbers(seed, 1)
    tolerance = Tolerance(eps, atol, rtol)
    given = _snapshot(inputs)
    outputs = _as_tuple(function(*inputs))
    _require_float64(outputs)
    values = _flat(outputs)
    _require_finite(values, "")

    def evaluate() -> np.ndarray:
        y = _flat(_as_tuple(function(*inputs)))
        _require_finite(y, f" within a step of {eps:g} from the inputs")
        return y

    if not np.array_equal(values, evaluate()):
        raise GradcheckError(
            "gradcheck: the function gave two results for one input: it remembers something from call to call, or "
            "draws random numbers, which it must restart itself, with manual_seed"
        )
    _require_unchanged("the function", inputs, given)
    v = random.standard_normal(len(values))
    analytic = _backward(outputs, targets, v)
    _require_unchanged("backward", inputs, given)
    if not all(np.array_equal(a, b, True) for a, b in zip(analytic, _backward(outputs, targets, v), strict=True)):
        raise GradcheckError("gradcheck: backward gave two results for one upstream gradient")
    if fast:
        report = _compare_along_direction(evaluate, targets, checked, analytic, v, random, tolerance)
    else:
        report = _compare_jacobians(evaluate, outputs, targets, checked, analytic, v, tolerance)
    if not np.array_equal(values, _flat(outputs)):
        raise GradcheckError("gradcheck: a later call of the function overwrote the result of an earlier one")
    _require_memory_of_its_own(function, inputs, targets, v)
    return report


def gradgradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    fast: bool = False,
    seed: int = 0,
) -> GradcheckReport:
    """Check second derivatives: gradcheck of the gradients, as functions of the inputs and of the upstream gradient.

    The gradients of a recorded backward pass (create_graph=True) must also be those of an ordinary one. Arguments,
    tolerances and errors are those of gradcheck (function, inputs, eps, atol, rtol, fast, seed).

    >>> x = Tensor(np.array([0.5, -1.5]), requires_grad=True)
    >>> minidl.gradgradcheck(lambda x: x * x, [x]).compared  # of 2 gradients, to 2 inputs and 2 upstream gradients
    8
    """
    checked = _inputs_to_check(inputs)
    outputs = [y for y in _as_tuple(function(*inputs)) if y.requires_grad]
    _require_float64(outputs)
    random = _random_numbers(seed, 2)
    upstream = [
        Tensor(to_device(random.standard_normal(y.shape), y.device), dtype=y.dtype, requires_grad=True) for y in outputs
    ]

    def gradients(*arguments: Tensor) -> tuple[Tensor, ...]:
        originals, directions = arguments[: len(inputs)], arguments[len(inputs) :]
        outputs = [y for y in _as_tuple(function(*originals)) if y.requires_grad]
        results = grad(outputs, [originals[i] for i in checked], directions, create_graph=True, allow_unused=True)
        return tuple(g for g in results if g is not None)

    try:
        report = gradcheck(gradients, [*inputs, *upstream], eps, atol, rtol, fast, seed)
    except GradcheckError as error:
        if not error.inputs:
            raise
        raise GradcheckError(
            f"{error}. This is gradgradcheck: the outputs are the gradients, and inputs from {len(inputs)} on are the "
            "upstream gradients",
            error.inputs,
        ) from error
    # A recorded gradient may be wrong and yet agree with its own derivatives: it must be the ordinary one.
    targets = [inputs[i] for i in checked]
    outputs = [y for y in _as_tuple(function(*inputs)) if y.requires_grad]
    ordinary = grad(outputs, targets, [v.detach() for v in upstream], allow_unused=True)
    for g, recorded in zip((g for g in ordinary if g is not None), gradients(*inputs, *upstream), strict=True):
        if not np.allclose(g.numpy(), recorded.numpy(), rtol, atol):
            raise GradcheckError("gradgradcheck: with create_graph=True the gradient is another than without")
    return report


# --------------------------------------------------------------------------------------- the function, seen as y = f(x)


def _flat(outputs: Iterable[Tensor]) -> np.ndarray:
    """The floating outputs as one vector (M,) on the host."""
    return np.concatenate([np.zeros(0), *(y.numpy().ravel() for y in outputs if is_floating(y.dtype))])


def _backward(outputs: Sequence[Tensor], targets: Sequence[Tensor], v: np.ndarray) -> list[np.ndarray]:
    """The gradients to the targets for the upstream gradient v (M,), on the host."""
    upstream, start = [], 0
    for y in outputs:
        if is_floating(y.dtype):
            if y.requires_grad:
                part = v[start : start + y.size].reshape(y.shape)
                upstream.append((y, Tensor(to_device(part, y.device), dtype=y.dtype)))
            start += y.size
    before = [to_host(g.data).copy() for _, g in upstream]
    results = grad([y for y, _ in upstream], targets, [g for _, g in upstream], allow_unused=True, retain_graph=True)
    if not all(np.array_equal(to_host(g.data), copy) for (_, g), copy in zip(upstream, before, strict=True)):
        raise GradcheckError("gradcheck: backward wrote into the upstream gradient g: write g * 2, not g *= 2")
    if all(g is None for g in results):
        raise GradcheckError("gradcheck: the outputs do not depend on any of the inputs; nothing would be compared")
    return [np.zeros(x.shape) if g is None else g.numpy() for x, g in zip(targets, results, strict=True)]


def _require_memory_of_its_own(
    function: Callable[..., Any], inputs: Sequence[Tensor], targets: Sequence[Tensor], v: np.ndarray
) -> None:
    """Used twice in one graph, the function's gradients are those of both uses together."""
    once, again = _as_tuple(function(*inputs)), _as_tuple(function(*inputs))
    alone = _backward(once, targets, v)
    both = _backward([*once, *again], targets, np.concatenate([v, 2 * v]))
    if not all(np.allclose(b, 3 * a, rtol=1e-9, atol=1e-9) for a, b in zip(alone, both, strict=True)):
        raise GradcheckError(
            "gradcheck: used twice in one graph, the function gives other gradients than used once: does it return "
            "memory that it writes to again?"
        )


def _snapshot(inputs: Sequence[Any]) -> list[np.ndarray]:
    return [to_host(x.data).copy() for x in inputs if isinstance(x, Tensor)]


def _require_unchanged(who: str, inputs: Sequence[Any], given: list[np.ndarray]) -> None:
    tensors = [(i, x) for i, x in enumerate(inputs) if isinstance(x, Tensor)]
    for (i, x), before in zip(tensors, given, strict=True):
        if not np.array_equal(to_host(x.data), before, equal_nan=is_floating(x.dtype)):
            raise GradcheckError(f"gradcheck: {who} wrote into input {i}, of shape {x.shape}", [i])


# -------------------------------------------------------------------------------------------------- the two comparisons


def _compare_jacobians(
    evaluate: Callable[[], np.ndarray],
    outputs: Sequence[Tensor],
    targets: list[Tensor],
    numbers: list[int],
    analytic: list[np.ndarray],
    v: np.ndarray,
    tolerance: Tolerance,
) -> GradcheckReport:
    """Every derivative ∂yⱼ/∂xₖ: a row by a backward pass from yⱼ, a column by moving xₖ."""
    M = len(v)
    rows = [_backward(outputs, targets, one) for one in np.eye(M)]
    compared, worst, largest, kinks = 0, 0.0, 0.0, []
    for i, (number, x) in enumerate(zip(numbers, targets, strict=True)):
        jacobian = np.array([row[i] for row in rows]).reshape(M, x.size)  # (M, K)
        numeric = np.zeros((M, x.size))
        smooth = np.ones((M, x.size), dtype=bool)
        for k, index in enumerate(np.ndindex(x.shape)):
            line = Line(evaluate, [x], [unit(x.shape, index)])
            numeric[:, k] = line.slopes(tolerance.eps)
            differs = ~tolerance.accepts(jacobian[:, k], numeric[:, k])
            if differs.any():
                smooth[:, k] = ~(differs & line.is_kinked(jacobian[:, k], tolerance))
                kinks += [] if smooth[:, k].all() else [(number, index)]
        wrong = smooth & ~tolerance.accepts(jacobian, numeric)
        if wrong.any():
            j, k = (int(axis[0]) for axis in np.nonzero(wrong))
            index = tuple(map(int, np.unravel_index(k, x.shape)))
            ignores_upstream = all(np.array_equal(row[i], analytic[i]) for row in rows)
            smoothed = np.where(smooth, numeric, jacobian)  # at a kink backward is not wrong
            mistake = likely_mistake(analytic[i], (v @ smoothed).reshape(x.shape), ignores_upstream)
            raise GradcheckError(
                f"gradcheck: input {number}, of shape {x.shape}, at index {index}: backward gives "
                f"{jacobian[j, k]:.10g}, the difference quotient {numeric[j, k]:.10g}, for output element {j} of {M}"
                + (f". Over a random upstream gradient, {mistake}" if mistake else ""),
                [number],
            )
        if not np.allclose(v @ jacobian, analytic[i].ravel(), rtol=1e-9, atol=1e-9):
            raise GradcheckError(
                f"gradcheck: input {number}, of shape {x.shape}: backward is right for upstream gradients of a single "
                "1, but not for a random one, as if it were not linear in g",
                [number],
            )
        compared += int(smooth.sum())
        worst = max(worst, float(abs(jacobian - numeric)[smooth].max(initial=0.0)))
        largest = max(largest, float(abs(numeric)[smooth].max(initial=0.0)))
    if kinks and not compared:
        raise GradcheckError("gradcheck: every derivative lies at a kink; nothing would be compared")
    return GradcheckReport(compared, worst, worst / largest if largest else 0.0, tuple(kinks))


def _compare_along_direction(
    evaluate: Callable[[], np.ndarray],
    targets: list[Tensor],
    numbers: list[int],
    analytic: list[np.ndarray],
    v: np.ndarray,
    random: np.random.Generator,
    tolerance: Tolerance,
) -> GradcheckReport:
    """One derivative: that of Σ v·y with all inputs moved at once along a random direction u of length 1, Σ g·u."""

    def total() -> np.ndarray:
        return np.array([v @ evaluate()])

    directions = [random.standard_normal(x.shape) for x in targets]
    length = np.sqrt(sum((u * u).sum() for u in directions))
    directions = [u / length for u in directions]
    expected = np.array([sum((a * u).sum() for a, u in zip(analytic, directions, strict=True))])
    line = Line(total, targets, directions)
    numeric = line.slopes(tolerance.eps)
    if not tolerance.accepts(expected, numeric)[0] and rounding(total(), tolerance.smaller_eps)[0] < 1e-3:
        numeric = line.slopes(tolerance.smaller_eps)  # with many inputs, one of them has a kink within the larger step
    if not tolerance.accepts(expected, numeric)[0]:
        wrong = []
        for number, x, a, u in zip(numbers, targets, analytic, directions, strict=True):  # now one input at a time
            u = u / max(float(np.linalg.norm(u)), tolerance.eps)
            if not tolerance.accepts((a * u).sum(), Line(total, [x], [u]).slopes(tolerance.eps))[0]:
                wrong.append(number)
        raise GradcheckError(
            f"gradcheck: along a random direction through all inputs backward gives {expected[0]:.10g}, the difference "
            f"quotient {numeric[0]:.10g}; taken by itself, the gradient is wrong to input(s) {wrong or 'none'}; "
            "fast=False finds the elements, and kinks",
            wrong,
        )
    error = float(abs(expected - numeric)[0])
    return GradcheckReport(1, error, error / abs(float(numeric[0])) if numeric[0] else 0.0)


# ------------------------------------------------------------------------------------------------------------- checks


def _inputs_to_check(inputs: Sequence[Any]) -> list[int]:
    """The numbers of the inputs that require gradients; these must be float64."""
    if not isinstance(inputs, list | tuple):
        raise TypeError(
            f"gradcheck: inputs must be a list of Tensors, even when there is one: [x]; got {type(inputs).__name__}"
        )
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires gradients")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise TypeError(
                f"gradcheck: input {i} is {inputs[i].dtype}; differences need float64, for in float32 rounding alone "
                "is as large as the tolerance"
            )
    return checked


def _as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    several = tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)
    for y in several:
        if not isinstance(y, Tensor):
            raise TypeError(f"gradcheck: the function must return a Tensor or a tuple of them, got {type(y).__name__}")
    return several


def _require_float64(outputs: Sequence[Tensor]) -> None:
    for j, y in enumerate(outputs):
        if is_floating(y.dtype) and y.dtype != np.float64:
            raise TypeError(
                f"gradcheck: output {j} is {y.dtype}; differences need float64 all the way from inputs to outputs"
            )


def _require_finite(values: np.ndarray, where: str) -> None:
    wrong = values[~np.isfinite(values)]
    if wrong.size:
        raise GradcheckError(f"gradcheck: the function gives {wrong[0]}{where}; differences need finite values")


def _random_numbers(seed: int, stream: int) -> np.random.Generator:
    """A generator apart from `default_rng(seed)`, with which a caller may well have drawn the inputs.

    An upstream gradient equal to the input is no better than one of ones: batch normalisation's gradient to x, which is
    orthogonal to x, vanishes for it.
    """
    return np.random.default_rng([seed, stream])
