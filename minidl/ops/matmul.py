"""Matrix products: the one operation that everything expensive in a network comes down to."""

from __future__ import annotations

import math
from typing import Any

from minidl.autograd import Function, common_device
from minidl.kernels.products import product
from minidl.ops.broadcast import common_shape, operands, require_array, sum_to, with_parameters
from minidl.ops.elementwise import multiply
from minidl.ops.shape import unsqueeze
from minidl.tensor import tensor_method


class MatMul(Function):
    """Y = A B on the last two axes; axes before them are a batch, and broadcast.

    ∂L/∂A = g Bᵀ,  ∂L/∂B = Aᵀ g.
    """

    def forward(self, a, b):
        return product(a, b)

    def backward(self, g, a, b):
        return (
            sum_to(MatMul()(g, b.swapaxes(-1, -2)), a.shape) if self.needs[0] else None,  # g Bᵀ
            sum_to(MatMul()(a.swapaxes(-1, -2), g), b.shape) if self.needs[1] else None,  # Aᵀ g
        )


@tensor_method("__matmul__")
def matmul(a: Any, b: Any) -> Any:
    """a @ b, as in NumPy: the last axis of a against the second-to-last of b; a vector is a row on the left, a column
    on the right; batches broadcast.

    Raises: ValueError when the inner sizes differ or an operand is a scalar.

    >>> Tensor([[1.0, 2.0], [3.0, 4.0]]) @ Tensor([1.0, -1.0])
    Tensor([-1., -1.], dtype=float32, device=cpu)
    """
    a, b = operands("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: expected at least one dimension; use * to multiply by a scalar")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit: the inner sizes differ")
    if b.ndim == 1:
        y = matmul(a, b.reshape(-1, 1))  # (..., M, K) @ (K, 1)
        return y.reshape(y.shape[:-1])  # (..., M)
    if a.ndim == 1:
        y = matmul(a.reshape(1, -1), b)  # (1, K) @ (..., K, N)
        return y.reshape(y.shape[:-2] + y.shape[-1:])  # (..., N)
    if a.ndim > 2 and b.ndim == 2:
        # One large product instead of a batch of small ones, and no batch of gradients to B to add up.
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])  # (batch · M, K)
        return MatMul()(rows, b).reshape(a.shape[:-1] + b.shape[-1:])  # (batch, M, N)
    common_shape("matmul (batch)", a.shape[:-2], b.shape[:-2])
    return MatMul()(a, b)


@tensor_method("__rmatmul__")
def _reflected_matmul(b: Any, a: Any) -> Any:
    return matmul(a, b)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = x @ weight + bias.  x (..., I), weight (I, O), bias (O,) or None → (..., O).

    Raises: ValueError when shapes do not fit. PyTorch's weight is (O, I): transpose it.

    >>> F.linear(Tensor([1.0, 2.0]), Tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    Tensor([1., 2., 3.], dtype=float32, device=cpu)
    """
    op = "linear"
    x, weight, bias = with_parameters(op, x, weight, bias)
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[0]:
        raise ValueError(f"{op}: input {x.shape} does not fit weight {weight.shape}; expected (..., I) and (I, O)")
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ValueError(f"{op}: expected a bias of shape {weight.shape[1:]}, got {bias.shape}")
    y = x @ weight
    return y if bias is None else y + bias


def outer(a: Any, b: Any) -> Any:
    """All products of an element of the vector a (M,) and one of the vector b (N,): aᵢ bⱼ, (M, N).

    >>> minidl.outer(Tensor([1, 2]), Tensor([3, 4, 5]))
    Tensor([[ 3,  4,  5],
            [ 6,  8, 10]], dtype=int64, device=cpu)
    """
    require_array("outer", a)
    require_array("outer", b)
    common_device("outer", (a, b))
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"outer: expected two vectors, got shapes {a.shape} and {b.shape}")
    return multiply(unsqueeze(a, 1), b)  # (M, 1) · (N,)
