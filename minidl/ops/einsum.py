"""Einstein summation: products of tensors, said by naming their axes.

    einsum("ij,jk->ik", a, b)     yᵢₖ = Σⱼ aᵢⱼ bⱼₖ

Indices that the output lacks are summed over. Whatever the equation says, it comes down to matrix products: what
concerns one operand alone (a diagonal, a sum) is done first, and then two operands at a time become one.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from minidl.autograd import Function, common_device
from minidl.kernels.products import product
from minidl.ops.broadcast import promoted, require_array
from minidl.ops.reduce import sum
from minidl.ops.shape import moveaxis, reshape, transpose

Index = str | int  # a letter of the equation; for an axis that `...` stands for, its number from the right: -1, -2, ...
Indices = tuple[Index, ...]


class Contraction(Function):
    """y = Σ a · b over the indices that y lacks.  Each gradient is g, contracted with the other operand.

    Every index stands in at least two of a, b and y. Those in all three are a batch of matrix products

        (batch, rows, inner) @ (batch, inner, columns) = (batch, rows, columns).
    """

    def __init__(self, of_a: Indices, of_b: Indices, of_y: Indices) -> None:
        self.of_a, self.of_b, self.of_y = of_a, of_b, of_y

    def forward(self, a, b):
        batch = [i for i in self.of_a if i in self.of_b and i in self.of_y]
        rows = [i for i in self.of_a if i not in self.of_b]
        inner = [i for i in self.of_a if i not in self.of_y]
        columns = [i for i in self.of_b if i not in self.of_a]
        left = _matrices(a, self.of_a, batch, rows, inner)
        right = _matrices(b, self.of_b, batch, inner, columns)
        y = product(left, right) if inner else left * right  # (batch, rows, columns)
        size = dict(zip(self.of_a + self.of_b, a.shape + b.shape, strict=True))
        found = batch + rows + columns
        return y.reshape([size[i] for i in found]).transpose(*[found.index(i) for i in self.of_y])  # the axes of y

    def backward(self, g, a, b):
        return (
            Contraction(self.of_y, self.of_b, self.of_a)(g, b) if self.needs[0] else None,
            Contraction(self.of_a, self.of_y, self.of_b)(a, g) if self.needs[1] else None,
        )


def _matrices(x: Any, indices: Indices, *groups: list[Index]) -> Any:
    """x with its axes in three groups, each made one: (batch, rows, columns)."""
    order = [indices.index(i) for group in groups for i in group]
    return x.transpose(*order).reshape([math.prod(x.shape[indices.index(i)] for i in group) for group in groups])


# ------------------------------------------------------------------------------------------------- public functions


def einsum(equation: str, *operands: Any) -> Any:
    """The sum of products of the operands that `equation` describes, as in NumPy and PyTorch.

        "ij,jk->ik"      matrix product
        "ij->ji"         transpose
        "ii->i", "ii"    diagonal, trace
        "bij,bjk"        without ->, the output has what stands once, in alphabetical order: "bij,bjk->bik"
        "...ij->...ji"   ... stands for any number of axes, which broadcast

    An axis of size 1 is repeated where its letter has another size in another operand. Of several operands, those two
    are multiplied first whose product is smallest.

    Raises: ValueError for an equation that is malformed, or does not fit the operands.

    >>> minidl.einsum("bi,bi->b", Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([[1.0, 1.0], [0.0, 2.0]]))
    Tensor([3., 8.], dtype=float32, device=cpu)
    """
    for x in operands:
        require_array("einsum", x)
    common_device("einsum", operands)
    terms, output = _parse(equation, [x.ndim for x in operands])
    sizes = _sizes_of_indices(terms, [x.shape for x in operands])
    pairs = zip(promoted(operands), terms, strict=True)
    factors = [_without_repetition(x, term, sizes) for x, term in pairs]
    factors = [_summed_alone(k, factors, output) for k in range(len(factors))]
    while len(factors) > 1:
        factors = _with_two_contracted(factors, output, sizes)
    y, indices = factors[0]
    return y if len(operands) > 1 else transpose(y, [indices.index(i) for i in output])


Factor = tuple[Any, Indices]  # a tensor and the names of its axes


def _without_repetition(x: Any, indices: Indices, sizes: dict[Index, int]) -> Factor:
    """x with each index once: diagonals taken, and axes of size 1 dropped that would have to be repeated."""
    while len(set(indices)) < len(indices):
        twice = next(i for i in indices if indices.count(i) > 1)
        first = indices.index(twice)
        second = indices.index(twice, first + 1)
        x = _diagonal(x, first, second)
        indices = (twice, *(i for axis, i in enumerate(indices) if axis not in (first, second)))
    kept = [axis for axis, i in enumerate(indices) if x.shape[axis] == sizes[i]]
    if len(kept) == len(indices):
        return x, indices
    return reshape(x, [x.shape[axis] for axis in kept]), tuple(indices[axis] for axis in kept)


def _diagonal(x: Any, axis1: int, axis2: int) -> Any:
    """Where two axes of size n have equal indices: (n, ...). With both in one row of n², that is every (n + 1)-th."""
    x = moveaxis(x, (axis1, axis2), (0, 1))  # (n, n, ...)
    n = x.shape[0]
    return reshape(x, (n * n, *x.shape[2:]))[:: n + 1]


def _summed_alone(k: int, factors: Sequence[Factor], output: Indices) -> Factor:
    """Factor k, summed over the indices that are in no other factor, nor in the output."""
    x, indices = factors[k]
    needed = _left_over([k], factors, output)
    alone = tuple(axis for axis, i in enumerate(indices) if i not in needed)
    return sum(x, axis=alone) if alone else x, needed


def _with_two_contracted(factors: Sequence[Factor], output: Indices, sizes: dict[Index, int]) -> list[Factor]:
    """The factors, with those two made one whose product is smallest; the last product has the axes of the output."""

    def size(pair: tuple[int, int]) -> int:
        return math.prod(sizes[i] for i in _left_over(pair, factors, output))

    first, second = min(combinations(range(len(factors)), 2), key=size)
    (a, of_a), (b, of_b) = factors[first], factors[second]
    of_y = _left_over((first, second), factors, output) if len(factors) > 2 else output
    rest = [factor for k, factor in enumerate(factors) if k not in (first, second)]
    return [(Contraction(of_a, of_b, of_y)(a, b), of_y), *rest]


def _left_over(chosen: Sequence[int], factors: Sequence[Factor], output: Indices) -> Indices:
    """The indices of the product of the chosen factors: those that the output or another factor needs."""
    needed = {*output, *(i for k, (_, indices) in enumerate(factors) if k not in chosen for i in indices)}
    inside = dict.fromkeys(i for k in chosen for i in factors[k][1])  # a set that keeps its order
    return tuple(i for i in inside if i in needed)


# ----------------------------------------------------------------------------------------------------- the equation


def _parse(equation: str, ndims: Sequence[int]) -> tuple[list[Indices], Indices]:
    """The indices of each operand, and those of the output."""
    if not isinstance(equation, str):
        raise TypeError(f"einsum: expected an equation such as 'ij,jk->ik', got {type(equation).__name__}")
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: {equation!r} describes {len(terms)} operand(s), got {len(ndims)}")
    inputs = [_indices(equation, term, ndim) for term, ndim in zip(terms, ndims, strict=True)]
    broadcast = sorted({i for indices in inputs for i in indices if isinstance(i, int)})  # -2, -1
    if not arrow:
        times = Counter(i for indices in inputs for i in indices if isinstance(i, str))
        return inputs, (*broadcast, *sorted(i for i, count in times.items() if count == 1))
    letters = right.replace("...", "", 1)
    output = _indices(equation, right, len(letters) + len(broadcast) * ("..." in right))
    for i in letters:
        if letters.count(i) > 1 or not any(i in indices for indices in inputs):
            raise ValueError(f"einsum: {i!r} must stand once in the output of {equation!r}, and in an operand")
    return inputs, output


def _indices(equation: str, term: str, ndim: int) -> Indices:
    """The indices of one operand, or of the output."""
    before, dots, after = term.partition("...")
    if not set(before + after) <= set(string.ascii_letters):
        raise ValueError(f"einsum: expected letters, '...', commas and one '->' in the equation, got {equation!r}")
    broadcast = ndim - len(before + after)
    if broadcast < 0 or (broadcast > 0 and not dots):
        raise ValueError(f"einsum: {term!r} in {equation!r} does not name the {ndim} axes of its operand")
    return (*before, *range(-broadcast, 0), *after)


def _sizes_of_indices(terms: Sequence[Indices], shapes: Sequence[tuple[int, ...]]) -> dict[Index, int]:
    """How long the axes of each index are; an axis of size 1 fits another operand's of any size."""
    sizes: dict[Index, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for i, n in zip(term, shape, strict=True):
            other = sizes.get(i, 1)
            if n != shape[term.index(i)] or (n != other and 1 not in (n, other)):
                which = f"index {i!r}" if isinstance(i, str) else f"axis {i} of '...'"
                listing = ", ".join(str(shape) for shape in shapes)
                raise ValueError(f"einsum: the sizes of {which} differ in shapes {listing}")
            sizes[i] = other if n == 1 else n
    return sizes
