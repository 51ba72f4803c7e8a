"""Gradients proven right: backward passes against finite differences.

A derivative is the slope between two nearby points. For a random direction v over the outputs, L(x) = Σ ⟨v, f(x)⟩ is
one number; moving one element of one input by ±ε gives its central difference

    ∂L/∂xᵢ ≈ (L(x + ε eᵢ) − L(x − ε eᵢ)) / 2ε        with an error of order ε² from the formula, 10⁻¹⁶/ε from rounding

which must equal what backward computes for the upstream gradient v. The upstream gradient has to be random: with ones,
softmax and batch normalisation pass with a backward that returns zero, since their sums are constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.backend import to_device
from minidl.backpropagation import grad
from minidl.tensor import Tensor


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
    worst_relative: float  # the same over the largest derivative

    def __str__(self) -> str:
        return f"{self.compared:,} derivatives, worst relative error {self.worst_relative:.1e}"


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    fast: bool = False,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the gradients of `function(*inputs)` with central differences, for a random upstream gradient.

    function  takes the inputs as Tensors and returns a Tensor or a tuple of them. Parameters of a module are checked by
              passing them as inputs too: gradcheck(lambda x, *_: module(x), [x, *module.parameters()])
    inputs    those that require gradients are checked; they must be float64
    eps       the step.    A derivative is accepted when |analytic − numeric| ≤ atol + rtol · |numeric|.
    fast      compare one derivative along a random direction through all inputs, instead of one for each element: two
              evaluations, besides those that look for randomness, for large blocks and whole models
    seed      of the random directions; minidl's own generator is not touched

    Raises: GradcheckError naming the input, the index and both values; also when `function` is not deterministic (a
    function with dropout must call manual_seed itself). TypeError for inputs that are not float64.
    """
    checked = _inputs_to_check(inputs)
    random = _random_numbers(seed, 1)
    outputs = _as_tuple(function(*inputs))
    upstream = [_random_like(random, y) for y in outputs]

    def total() -> float:
        results = _as_tuple(function(*inputs))
        return sum((y.detach() * v).sum().item() for y, v in zip(results, upstream, strict=True))

    first, second = total(), total()
    if not np.isfinite(first):
        raise GradcheckError(f"gradcheck: the function gives {first}; differences need finite values")
    if first != second:
        raise GradcheckError(
            "gradcheck: the function gave two results for one input; if it draws random numbers, it must restart them "
            "itself, with manual_seed"
        )
    targets = [inputs[i] for i in checked]
    gradients = _gradients(outputs, targets, upstream)
    if all(g is None for g in gradients):
        raise GradcheckError("gradcheck: the outputs do not depend on any of the inputs; nothing would be compared")
    analytic = [np.zeros(x.shape) if g is None else g.numpy() for x, g in zip(targets, gradients, strict=True)]
    if fast:
        return _compare_along_direction(total, targets, checked, analytic, random, eps, atol, rtol)
    return _compare_elements(total, targets, checked, analytic, eps, atol, rtol)


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

    The gradients of a recorded backward pass (create_graph=True) must also be those of an ordinary one.
    """
    checked = _inputs_to_check(inputs)
    outputs = _as_tuple(function(*inputs))
    random = _random_numbers(seed, 2)
    upstream = [Tensor(_random_like(random, y), requires_grad=True) for y in outputs]

    def gradients(*arguments: Tensor) -> tuple[Tensor, ...]:
        originals, directions = arguments[: len(inputs)], arguments[len(inputs) :]
        outputs = _as_tuple(function(*originals))
        results = _gradients(outputs, [originals[i] for i in checked], directions, create_graph=True)
        return tuple(g for g in results if g is not None)

    report = gradcheck(gradients, [*inputs, *upstream], eps, atol, rtol, fast, seed)
    # A recorded gradient may be wrong and yet agree with its own derivatives: it must be the ordinary one.
    targets = [inputs[i] for i in checked]
    ordinary = _gradients(_as_tuple(function(*inputs)), targets, [v.detach() for v in upstream])
    for g, recorded in zip((g for g in ordinary if g is not None), gradients(*inputs, *upstream), strict=True):
        if not np.allclose(g.numpy(), recorded.numpy(), rtol, atol):
            raise GradcheckError("gradgradcheck: with create_graph=True the gradient is another than without")
    return report


def _gradients(
    outputs: Sequence[Tensor], targets: Sequence[Tensor], upstream: Sequence[Any], create_graph: bool = False
) -> tuple[Tensor | None, ...]:
    """`grad` of those outputs that require gradients: None for a target that none of them depends on."""
    pairs = [(y, v) for y, v in zip(outputs, upstream, strict=True) if y.requires_grad]
    return grad([y for y, _ in pairs], targets, [v for _, v in pairs], create_graph, allow_unused=True)


def _inputs_to_check(inputs: Sequence[Any]) -> list[int]:
    """The numbers of the inputs that require gradients; these must be float64."""
    if isinstance(inputs, Tensor):
        raise TypeError("gradcheck: inputs must be a list of Tensors, even when there is one: [x]")
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


def _compare_elements(
    total: Callable[[], float],
    targets: list[Tensor],
    numbers: list[int],
    analytic: list[np.ndarray],
    eps: float,
    atol: float,
    rtol: float,
) -> GradcheckReport:
    """Move each element of each input by ±eps, and compare the slope with its analytic gradient."""
    worst = largest = 0.0
    for number, x, a in zip(numbers, targets, analytic, strict=True):
        numeric = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            direction = np.zeros(x.shape)
            direction[index] = 1.0
            numeric[index] = _slope(total, [x], [direction], eps)
            if not abs(a[index] - numeric[index]) <= atol + rtol * abs(numeric[index]):
                raise GradcheckError(
                    f"gradcheck: input {number}, of shape {x.shape}, at index {index}: backward gives "
                    f"{float(a[index]):.10g}, the difference quotient {float(numeric[index]):.10g}",
                    [number],
                )
        if x.size:
            worst = max(worst, float(abs(a - numeric).max()))
            largest = max(largest, float(abs(numeric).max()))
    return GradcheckReport(sum(x.size for x in targets), worst, worst / largest if largest else 0.0)


def _compare_along_direction(
    total: Callable[[], float],
    targets: list[Tensor],
    numbers: list[int],
    analytic: list[np.ndarray],
    random: np.random.Generator,
    eps: float,
    atol: float,
    rtol: float,
) -> GradcheckReport:
    """Move all inputs at once along a random direction of length 1; its slope is the sum of gradient · direction."""
    directions = [random.standard_normal(x.shape) for x in targets]
    length = np.sqrt(sum((u * u).sum() for u in directions))
    directions = [u / length for u in directions]
    expected = sum(float((a * u).sum()) for a, u in zip(analytic, directions, strict=True))
    numeric = _slope(total, targets, directions, eps)
    error = abs(expected - numeric)
    if not error <= atol + rtol * abs(numeric):
        wrong = []
        for number, x, a, u in zip(numbers, targets, analytic, directions, strict=True):  # now one input at a time
            u = u * length / max(float(np.linalg.norm(u * length)), eps)
            slope = _slope(total, [x], [u], eps)
            if not abs((a * u).sum() - slope) <= atol + rtol * abs(slope):
                wrong.append(number)
        raise GradcheckError(
            f"gradcheck: along a random direction through all inputs backward gives {expected:.10g}, the difference "
            f"quotient {numeric:.10g}; taken by itself, the gradient is wrong to input(s) {wrong or 'none'}",
            wrong,
        )
    return GradcheckReport(1, error, error / abs(numeric) if numeric else 0.0)


def _slope(total: Callable[[], float], tensors: list[Tensor], directions: list[np.ndarray], eps: float) -> float:
    """(L(x + eps·u) − L(x − eps·u)) / 2eps. The data is replaced, not changed, and put back whatever happens."""
    originals = [x.data for x in tensors]
    steps = [to_device(eps * u, x.device) for x, u in zip(tensors, directions, strict=True)]
    try:
        for x, original, step in zip(tensors, originals, steps, strict=True):
            x.data = (Tensor._wrap(original) + step).data
        above = total()
        for x, original, step in zip(tensors, originals, steps, strict=True):
            x.data = (Tensor._wrap(original) - step).data
        below = total()
    finally:
        for x, original in zip(tensors, originals, strict=True):
            x.data = original
    return (above - below) / (2 * eps)


def _random_numbers(seed: int, stream: int) -> np.random.Generator:
    """A generator apart from `default_rng(seed)`, with which a caller may well have drawn the inputs.

    An upstream gradient equal to the input is no better than one of ones: batch normalisation's gradient to x, which is
    orthogonal to x, vanishes for it.
    """
    return np.random.default_rng([seed, stream])


def _random_like(random: np.random.Generator, y: Tensor) -> Any:
    """Standard normal numbers in the shape and on the device of y."""
    return to_device(random.standard_normal(y.shape), y.device)


def _as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    several = tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)
    for y in several:
        if not isinstance(y, Tensor):
            raise TypeError(f"gradcheck: the function must return a Tensor or a tuple of them, got {type(y).__name__}")
    return several
