"""Tensor: an array that knows where it came from.

    x = Tensor([3.0], requires_grad=True)      x.source is a Leaf: a tensor the user made, where gradients arrive
    y = x * x + 1                              y.source is the operation that computed it, an Add
    y.backward()                               and now x.grad is 2·3

This file is the value and its manners: construction, conversion, printing, refusals. What `*` and `+` do is in
`ops/`, how an operation is recorded in `autograd.py`, and how `backward()` finds its way in `backpropagation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from minidl.backend import CPU, Array, Device, as_array, device_of, is_array, is_floating, plain, to_host
from minidl.backend import device as as_device


class Leaf:
    """The source of a tensor that the user made with requires_grad=True: where gradients arrive and stay."""

    edges: tuple[()] = ()  # it was not computed from anything

    def __init__(self) -> None:
        self.grad: Tensor | None = None


class Tensor:
    """An array that gradients can flow through.

    data           a number, nested lists, a NumPy or CuPy array, or another Tensor; it is copied
    requires_grad  whether gradients to this tensor are wanted (floating data only)
    dtype          Python floats become float32 unless it says otherwise; arrays keep theirs
    device         "cpu", "gpu", "gpu:1", ...; by default where `data` is

    A tensor does not change once made: `x += y` and `x[i] = v` are refused, for a recorded operation may still need
    the old values. Optimizers, which must change parameters, assign a new array to `.data`; a backward pass that needed
    the old values then raises an error. (Writing into the array, as `x.data -= 1` does, changes every view of it as
    well, and that cannot be noticed.)

    Operators and methods are brought by the ops, one floor up: see `tensor_method`.
    """

    __slots__ = ("__weakref__", "_data", "_index", "_leaf", "_source", "_version")
    __array_ufunc__ = None  # so that `array * tensor` asks Tensor.__rmul__ instead of looping over the array

    def __init__(
        self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | Device | None = None
    ) -> None:
        if isinstance(data, Tensor):
            data = data.data
        self._data: Array = as_array(data, dtype, None if device is None else as_device(device))
        self._version = 0  # how often `data` has been assigned to
        self._source: Any = None
        self._index = 0  # which output of its source this tensor is
        self._leaf: Leaf | None = None  # kept while requires_grad is switched off, so that it can be switched on again
        self.requires_grad = requires_grad

    @classmethod
    def _wrap(cls, array: Array, source: Any = None, index: int = 0) -> Tensor:
        """A tensor around `array` itself, not a copy."""
        tensor = Tensor.__new__(Tensor)
        # NumPy returns a scalar object, not an array, where a result has no dimensions.
        tensor._data = np.asarray(array) if isinstance(array, np.generic) else array
        tensor._source, tensor._index, tensor._leaf, tensor._version = source, index, None, 0
        return tensor

    # -- what it is

    @property
    def data(self) -> Array:
        """The array itself, of NumPy or CuPy. Assigning one changes the tensor in place, outside the graph."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        if not is_array(value) and not isinstance(value, np.generic):
            raise TypeError(f"data: expected an array, got {type(value).__name__}; the array of a Tensor is its .data")
        if self.requires_grad and not is_floating(value.dtype):
            raise TypeError(f"data: only floating tensors have gradients, got {value.dtype}")
        self._data = np.asarray(value) if isinstance(value, np.generic) else plain(value)
        self._version += 1

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def device(self) -> Device:
        return device_of(self.data)

    @property
    def source(self) -> Any:
        """The Function that computed this tensor, a Leaf, or None when no gradient flows through it."""
        return self._source

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user, not computed by a recorded operation. Only leaves collect `.grad`."""
        return self._source is None or isinstance(self._source, Leaf)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to (or through) this tensor. It can be set on leaves."""
        return self._source is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not isinstance(wanted, bool):
            raise TypeError(f"requires_grad must be True or False, got {wanted!r}")
        if not self.is_leaf:
            raise RuntimeError(
                "requires_grad can be set on leaves only, and this tensor was computed by "
                f"{type(self._source).__name__}; use .detach() for the same data outside the graph"
            )
        if wanted and not is_floating(self.dtype):
            raise TypeError(f"requires_grad: only floating tensors have gradients, this one is {self.dtype}")
        if wanted != self.requires_grad:
            self._leaf = self._leaf or Leaf()
            self._source = self._leaf if wanted else None

    @property
    def grad(self) -> Tensor | None:
        """The gradient collected by `backward()`: None until then, and always for tensors that are not leaves."""
        return self._source.grad if isinstance(self._source, Leaf) else None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self._source, Leaf):
            raise RuntimeError("grad can be set on leaves that require gradients only")
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
        if value is not None and (value.shape, value.dtype, value.device) != (self.shape, self.dtype, self.device):
            raise ValueError(
                f"grad: expected shape {self.shape}, dtype {self.dtype}, on {self.device}; "
                f"got {value.shape}, {value.dtype}, on {value.device}"
            )
        self._source.grad = value

    # -- leaving the graph

    def detach(self) -> Tensor:
        """The same data outside the graph: no gradient flows back through the result. The memory is shared."""
        return Tensor._wrap(self.data)

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array, outside the graph. On the CPU the memory is shared; from a GPU it is copied."""
        return to_host(self.data)

    def item(self) -> float | int | bool:
        """The only element, as a Python number. Raises: ValueError when there is not exactly one."""
        if self.size != 1:
            raise ValueError(f"item: expected a tensor with one element, got shape {self.shape}")
        return self.data.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != CPU:
            raise TypeError(f"np.asarray: this tensor is on {self.device}; copy it to the host with .numpy()")
        array = self.data if dtype is None else self.data.astype(dtype, copy=False)
        return array.copy() if copy else array

    def zero_grad(self) -> None:
        """Forget the collected gradient: `.grad` is None again."""
        if self._leaf is not None:
            self._leaf.grad = None

    # -- Python's protocols

    def __repr__(self) -> str:
        body = np.array2string(to_host(self.data), separator=", ", prefix="Tensor(", threshold=100)
        origin = ", requires_grad=True" if isinstance(self._source, Leaf) else ""
        if not self.is_leaf:
            origin = f", op={type(self._source).__name__}"
        return f"Tensor({body}, dtype={self.dtype}, device={self.device}{origin})"

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a 0-dimensional tensor has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        """As the bound of a range or slice, and as an index of a list: one whole number, on the CPU."""
        if self.ndim != 0 or self.dtype.kind not in "iu" or self.device != CPU:
            raise TypeError(
                f"only an integer tensor of shape () on the CPU is an index, got {self.dtype} of shape {self.shape} "
                f"on {self.device}; .item() is its value"
            )
        return int(self.item())

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    __hash__ = object.__hash__  # by identity: == compares elements

    def _refuse_in_place(self, *_: Any) -> Any:
        raise RuntimeError(
            "tensors do not change in place, for the graph may still need the old values: write x = x + y instead of "
            "x += y, and where(mask, v, x) instead of x[mask] = v; outside the graph, "
            "x.data = x.data - lr * x.grad.data"
        )

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = _refuse_in_place
    __setitem__ = __delitem__ = _refuse_in_place

    # -- what the ops bring (declared here for readers and type checkers)

    __add__: ClassVar[Op]
    __radd__: ClassVar[Op]
    __sub__: ClassVar[Op]
    __rsub__: ClassVar[Op]
    __mul__: ClassVar[Op]
    __rmul__: ClassVar[Op]
    __truediv__: ClassVar[Op]
    __rtruediv__: ClassVar[Op]
    __pow__: ClassVar[Op]
    __rpow__: ClassVar[Op]
    __matmul__: ClassVar[Op]
    __rmatmul__: ClassVar[Op]
    __neg__: ClassVar[Op]
    __abs__: ClassVar[Op]
    __getitem__: ClassVar[Op]
    gather: ClassVar[Op]
    take_along_axis: ClassVar[Op]
    index_select: ClassVar[Op]
    index_add: ClassVar[Op]
    reshape: ClassVar[Op]
    flatten: ClassVar[Op]
    unflatten: ClassVar[Op]
    transpose: ClassVar[Op]
    permute: ClassVar[Op]
    swapaxes: ClassVar[Op]
    moveaxis: ClassVar[Op]
    squeeze: ClassVar[Op]
    unsqueeze: ClassVar[Op]
    expand: ClassVar[Op]
    flip: ClassVar[Op]
    roll: ClassVar[Op]
    tile: ClassVar[Op]
    repeat: ClassVar[Op]
    pad: ClassVar[Op]
    copy: ClassVar[Op]
    astype: ClassVar[Op]
    to: ClassVar[Op]
    clip: ClassVar[Op]
    abs: ClassVar[Op]
    exp: ClassVar[Op]
    log: ClassVar[Op]
    sqrt: ClassVar[Op]
    relu: ClassVar[Op]
    sigmoid: ClassVar[Op]
    tanh: ClassVar[Op]
    sum: ClassVar[Op]
    mean: ClassVar[Op]
    var: ClassVar[Op]
    std: ClassVar[Op]
    norm: ClassVar[Op]
    max: ClassVar[Op]
    min: ClassVar[Op]
    argmax: ClassVar[Op]
    argmin: ClassVar[Op]
    sort: ClassVar[Callable[..., tuple[Tensor, Tensor]]]
    argsort: ClassVar[Op]
    topk: ClassVar[Callable[..., tuple[Tensor, Tensor]]]
    prod: ClassVar[Op]
    any: ClassVar[Op]
    all: ClassVar[Op]
    cumsum: ClassVar[Op]
    split: ClassVar[Callable[..., tuple[Tensor, ...]]]
    backward: ClassVar[Callable[..., None]]
    T: ClassVar[Any]  # a property


Op = Callable[..., Tensor]


def raw(x: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


def constant_like(x: Any, array: Array) -> Any:
    """`array`, such as indices, as a Tensor where x is one, and as it is beside raw arrays. No gradient flows to it."""
    return Tensor._wrap(array) if isinstance(x, Tensor) else array


def tensor_method(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the decorated op an operator or method of Tensor under each of `names`.

    Autograd knows no op. Each op brings its own spelling: `@tensor_method("__add__", "__radd__")` stands above add.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            setattr(Tensor, name, function)
        return function

    return register
