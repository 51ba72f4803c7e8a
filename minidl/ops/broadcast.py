"""Broadcasting: shapes and dtypes that differ are brought together before an op, and gradients are brought back.

Adding a bias of shape (C,) to images of shape (N, H, W, C) uses each bias N·H·W times. The gradient to something used
many times is the sum over its uses. So the two adjoint operations of this file are

    broadcast_to: (C,) → (N, H, W, C)   repeat           sum_to: (N, H, W, C) → (C,)   add up
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd import Function, common_device
from minidl.backend import Array, active, array_module, device_of, is_array, is_floating, plain, to_device, weak_scalar
from minidl.tensor import Tensor, raw, tensor_method


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """Un-broadcast: sum g over every axis along which `shape` was repeated to give g's shape.

    g      raw array or Tensor, of a shape that `shape` broadcasts to
    shape  the shape of the result
    """
    if g.shape == shape:
        return g
    new = g.ndim - len(shape)  # broadcasting adds axes in front
    stretched = [new + i for i, n in enumerate(shape) if n == 1 and g.shape[new + i] != 1]
    return g.sum(axis=(*range(new), *stretched), keepdims=True).reshape(shape)


class BroadcastTo(Function):
    """y = x repeated to a larger shape.  ∂L/∂x = g summed over the repetitions."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x):
        self.input_shape = x.shape
        return array_module(x).broadcast_to(x, self.shape)

    def backward(self, g):
        return sum_to(g, self.input_shape)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """x repeated to `shape` by NumPy's rules.

    Raises: ValueError when the shapes do not fit.

    >>> from minidl.ops.broadcast import broadcast_to
    >>> broadcast_to(Tensor([1, 2]), (3, 2)).shape
    (3, 2)
    """
    return _repeated("broadcast_to", x, tuple(shape))


def _repeated(op: str, x: Any, shape: tuple[int, ...]) -> Any:
    """x repeated to `shape`, on behalf of `op`."""
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{op}: shape {x.shape} cannot be repeated to {shape}; aligned on the right, sizes must agree or be 1"
        )
    return BroadcastTo(shape)(x)


@tensor_method("expand")
def expand(x: Tensor, *shape: int | tuple[int, ...]) -> Tensor:
    """x repeated along its axes of size 1 to `shape`, in which -1 keeps a size.

    >>> Tensor([[1], [2]]).expand(-1, 3)
    Tensor([[1, 1, 1],
            [2, 2, 2]], dtype=int64, device=cpu)
    """
    sizes: Any = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    if not all(isinstance(n, numbers.Integral) for n in sizes):
        raise TypeError(f"expand: expected whole numbers, got {tuple(sizes)}")
    new = len(sizes) - x.ndim
    kept = [x.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(sizes)]
    return _repeated("expand", x, tuple(kept))


# ----------------------------------------------------------------------------------------------------------- dtypes


def operands(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands ready to be combined.

    A number is weak: it takes the dtype of the array or Tensor beside it. Between arrays NumPy's promotion holds,
    except that an integer or boolean array meeting a floating one takes that one's dtype, so that nothing silently
    becomes float64.
    Raises: TypeError for operands that are neither numbers, arrays nor Tensors, and for two plain numbers.
    """
    a, b = plain(a), plain(b)
    strength_a, strength_b = _strength(op, a), _strength(op, b)
    if strength_a == strength_b == 0:
        raise TypeError(f"{op}: expected a Tensor or an array, got two numbers")
    try:
        if strength_a < strength_b:
            a = weak_scalar(a, raw(b))
        elif strength_b < strength_a:
            b = weak_scalar(b, raw(a))
    except OverflowError as error:
        raise OverflowError(f"{op}: {error}") from None
    if is_floating(a.dtype) != is_floating(b.dtype):
        a, b = promoted([a, b])
    return a, b


def _strength(op: str, x: Any) -> int:
    """Whose dtype counts: 2 for a Tensor or an array, 1 for a raw array without dimensions, 0 for a plain number.

    Those without dimensions stand in between: they are numbers to a user, but also what reductions end in.
    """
    if isinstance(x, Tensor):
        return 2
    if is_array(x):
        require_real(op, x)
        return 2 if x.ndim > 0 else 1
    if not isinstance(x, numbers.Real | np.bool_):
        raise TypeError(f"{op}: expected a Tensor, an array or a real number, got {type(x).__name__}")
    return 1 if isinstance(x, np.generic) else 0


def broadcastable(op: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands in one dtype, of shapes that fit."""
    a, b = operands(op, a, b)
    if a.shape != b.shape:
        common_shape(op, a.shape, b.shape)
    return a, b


def promoted(values: Sequence[Any]) -> list[Any]:
    """The values, integers and booleans in the dtype of the floating ones: NumPy would make float64 of them all."""
    floats = [x.dtype for x in values if is_floating(x.dtype)]
    if not floats or len(floats) == len(values):
        return list(values)
    dtype = np.result_type(*floats)
    return [x if is_floating(x.dtype) else _cast(x, dtype) for x in values]


def floating(op: str, x: Any) -> Any:
    """x itself when it is floating, else x as float32: exp, mean or a quotient of integers is not an integer."""
    require_array(op, x)
    x = plain(x)
    return x if is_floating(x.dtype) else _cast(x, np.float32)


def require_array(op: str, x: Any) -> None:
    """Raises: TypeError for what is neither a Tensor nor an array of real numbers or booleans."""
    if isinstance(x, Tensor):
        return
    if not isinstance(x, np.generic) and not is_array(x):
        raise TypeError(f"{op}: expected a Tensor or an array, got {type(x).__name__}")
    require_real(op, x)


def require_real(op: str, x: Any) -> None:
    """Raises: TypeError for an array of complex numbers, strings or objects. (A Tensor is none.)"""
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{op}: expected real numbers or booleans, got an array of dtype {x.dtype}")


def require_one_dtype(op: str, x: Any, **parameters: Any) -> None:
    """Raises: TypeError for parameters of another dtype than x, which would make all that follows the larger one."""
    for name, parameter in parameters.items():
        if parameter is not None and parameter.dtype != x.dtype:
            raise TypeError(
                f"{op}: the input is {x.dtype} and the {name} {parameter.dtype}; convert one, with x.astype(...) or "
                "model.to(dtype=...)"
            )


def with_parameters(op: str, x: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any]:
    """x, weight and bias (which may be None) as floating data, of one dtype and on one device."""
    x, weight, bias = floating(op, x), floating(op, weight), None if bias is None else floating(op, bias)
    require_one_dtype(op, x, weight=weight, bias=bias)
    common_device(op, (x, weight, bias))
    return x, weight, bias


def checked_addend(op: str, add: Any, x: Any, shape: tuple[int, ...]) -> Any:
    """`add`, which is added to the result of this op on x, as an array of the result's shape; or None.

    Raises: ValueError for another shape; TypeError for another dtype than x; DeviceError for another device.
    """
    if add is None:
        return None
    add = floating(op, add)
    if add.shape != shape:
        raise ValueError(
            f"{op}: expected something of shape {shape} to add to the result, got add of shape {add.shape}"
        )
    require_one_dtype(op, x, add=add)
    common_device(op, (x, add))
    return add


def _cast(x: Any, dtype: Any) -> Any:
    with active(device_of(raw(x))):
        return x.astype(dtype)


def common_shape(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all shapes broadcast to. Raises: ValueError when there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listing = ", ".join(str(shape) for shape in shapes)
        raise ValueError(
            f"{op}: shapes do not broadcast: {listing}; aligned on the right, sizes must agree or be 1"
        ) from None


def beside(x: Any, constants: np.ndarray) -> Array:
    """Constants in the dtype and on the device of x."""
    return to_device(constants.astype(x.dtype), device_of(raw(x)))
