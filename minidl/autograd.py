"""Automatic differentiation, first half: computing leaves a graph. Function, no_grad().

A `Function` is one operation: it computes its outputs in `forward` and, given the gradient g of some scalar L to its
output, the gradients of L to its inputs in `backward` (the chain rule for one step). Computing with tensors leaves a
trail of Functions, each pointing at the sources of its inputs: a directed graph without cycles. Arrows point only from
results back to inputs, never forwards, so the graph is freed by reference counting the moment its last result goes.

The second half, `backpropagation.py`, walks this graph from a result to the leaves.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minidl.backend import CPU, Device, DeviceError, active, device_of, is_array, is_floating, plain
from minidl.tensor import Leaf, Tensor, raw

# ------------------------------------------------------------------------------------------------ recording, or not

_state = threading.local()  # each thread records, or does not, for itself


def is_grad_enabled() -> bool:
    """Whether operations on tensors are being recorded for a later backward pass.

    >>> minidl.is_grad_enabled()
    True
    """
    return getattr(_state, "recording", True)


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """A context in which operations are recorded, or are not."""
    before = is_grad_enabled()
    _state.recording = on
    try:
        yield
    finally:
        _state.recording = before


def no_grad() -> contextlib._GeneratorContextManager[None]:
    """Compute without recording: `with no_grad(): ...`, or `@no_grad()` above a function.

    >>> x = Tensor([1.0], requires_grad=True)
    >>> with minidl.no_grad():
    ...     print((x * 2).requires_grad)
    False
    """
    return recording(False)


@contextlib.contextmanager
def computing(
    forward: Callable[[Function, tuple[Any, ...]], Any] | None = None,
    backward: Callable[[Function, Any, tuple[Any, ...]], Any] | None = None,
) -> Iterator[None]:
    """A context in which operations on tensors are computed by forward(function, arrays), and differentiated by
    backward(function, g, wanted); by themselves where it is None.

    They can return `function.forward(*arrays)` and `function.backward(g, *wanted)`, and time it or look at what goes in
    and comes out. An operation inside, on raw arrays, is a part of it and is not asked about.
    """
    before = _computing()
    _state.computing = forward, backward
    try:
        yield
    finally:
        _state.computing = before


def _computing() -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    return getattr(_state, "computing", (None, None))


def _forward(function: Function, arrays: tuple[Any, ...]) -> Any:
    compute, _ = _computing()
    return function.forward(*arrays) if compute is None else compute(function, arrays)


def _backward(function: Function, g: Any, wanted: tuple[Any, ...]) -> Any:
    _, differentiate = _computing()
    return function.backward(g, *wanted) if differentiate is None else differentiate(function, g, wanted)


# --------------------------------------------------------------------------------------------------------- Function


class Edge(NamedTuple):
    """Where an input of a Function came from: output number `output` of `source`."""

    source: Leaf | Function
    output: int


class Spec(NamedTuple):
    """What an array looks like, without its data."""

    shape: tuple[int, ...]
    dtype: np.dtype
    device: Device


class Function:
    """One operation, and its record in the graph. To write one, derive from it:

        class Multiply(Function):
            def forward(self, a, b):
                return a * b

            def backward(self, g, a, b):
                return sum_to(g * b, a.shape), sum_to(g * a, b.shape)

    (`sum_to` undoes broadcasting: it adds up g over the axes along which an input was repeated; see ops/broadcast.py.)

    An instance is one use of the operation: options (a stride, an axis) go to `__init__`, inputs to the call.

    forward   takes and returns raw arrays (one, or a tuple). It may leave notes on `self` for backward.
    backward  takes the gradient g to the output (a tuple of them where forward returns a tuple) and then, **by name**,
              what it needs: inputs, by the names forward gives them, and `y`, the (first) output. What it does not
              ask for is not kept, and so its memory is freed early. It returns one gradient per input; where
              `self.needs[i]` is false, None will do.

    `backward` is written once, with operations that accept raw arrays or Tensors alike: operators, methods, and other
    Functions. **Given raw arrays a Function only computes; given Tensors it also records.** An ordinary backward pass
    calls `backward` on raw arrays and pays for nothing else; with create_graph=True the same lines run on Tensors,
    and so every operation can be differentiated again.
    """

    edges: tuple[Edge | None, ...] = ()  # where each input came from; None for a constant
    needs: tuple[bool, ...] = ()  # in backward: whether the gradient to input i is wanted
    freed = False

    _wanted_names: ClassVar[tuple[str, ...]] = ()  # what backward asks for after g
    _input_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        parameters = inspect.signature(cls.forward).parameters.values()
        cls._input_names = tuple(p.name for p in parameters if p.kind is not p.VAR_POSITIONAL)[1:]
        if cls.backward is not Function.backward:
            cls._wanted_names = tuple(inspect.signature(cls.backward).parameters)[2:]
        if "y" in cls._input_names:
            raise TypeError(f"{cls.__name__}.forward: no input can be called y, which is the output in backward")
        for name in cls._wanted_names:
            if name != "y" and name not in cls._input_names:
                raise TypeError(
                    f"{cls.__name__}.backward asks for {name!r}; it can have the inputs of forward "
                    f"({', '.join(cls._input_names)}) and y, the output"
                )

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{_name(self)}.forward is not written")

    def backward(self, g: Any, /, *wanted: Any) -> Any:
        raise NotImplementedError(f"{_name(self)}.backward is not written")

    def __call__(self, *inputs: Any) -> Any:
        """Apply the operation: to raw arrays, only computing; to Tensors (and constants), recording as well."""
        inputs = tuple(plain(x) for x in inputs)
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        if self.edges:  # its notes for backward belong to that call
            raise RuntimeError(f"{_name(self)}: one instance records one call; make a new instance for another")
        if not tensors:
            return self.forward(*inputs)
        arrays = tuple(raw(x) for x in inputs)
        with active(common_device(_name(self), inputs)):
            results = _forward(self, arrays)
            several = isinstance(results, tuple)
            outputs = [Tensor._wrap(_checked_result(self, y)) for y in (results if several else (results,))]
            if is_grad_enabled() and any(x.requires_grad for x in tensors):
                self._record(inputs, outputs, several)
        return tuple(outputs) if several else outputs[0]

    def _record(self, inputs: tuple[Any, ...], outputs: list[Tensor], several: bool) -> None:
        """Enter this use of the operation into the graph."""
        self._several = several
        self.edges = tuple(
            Edge(x._source, x._index) if isinstance(x, Tensor) and x._source is not None else None for x in inputs
        )
        self._input_specs: list[Any] = [spec_of(x) for x in inputs]
        self._output_specs: list[Any] = [spec_of(y) for y in outputs]
        self._kept = [self._keep(name, inputs, outputs) for name in self._wanted_names]
        for index, y in enumerate(outputs):
            if is_floating(y.dtype):
                y._source, y._index = self, index

    def _keep(self, name: str, inputs: tuple[Any, ...], outputs: list[Tensor]) -> tuple[Any, int]:
        """What backward will get under `name`, and its version: whether it is still the same will be seen then."""
        if name == "y":  # as a raw array: kept as a Tensor, which points back here, it would close a cycle
            return outputs[0].data, 0
        value = inputs[self._input_names.index(name)]
        if isinstance(value, Tensor):
            return value, value._version
        return (value.copy() if is_array(value) else value), 0  # a copy, for the caller may write into the original

    def _backward(self, gradients: list[Any], create_graph: bool) -> list[Any]:
        """Call `backward` with what it asked for, as Tensors or as raw arrays, and check what it returns."""
        kept = []
        for name, (value, version) in zip(self._wanted_names, self._kept, strict=True):
            if isinstance(value, Tensor) and value._version != version:
                raise RuntimeError(
                    f"{_name(self)}.backward needs its input {name}, of shape {value.shape}, which has been changed "
                    "since, by an optimizer step, load_state_dict or an assignment to .data; run backward before that"
                )
            if name == "y" and create_graph:
                value = Tensor._wrap(value, self, 0)
            kept.append(value if create_graph else raw(value))
        try:
            with active(self._output_specs[0].device):
                results = _backward(self, tuple(gradients) if self._several else gradients[0], tuple(kept))
        except Exception as error:
            error.add_note(f"in {_name(self)}.backward")
            raise
        results = list(results) if isinstance(results, tuple | list) else [results]
        if len(results) != len(self.edges):
            raise RuntimeError(
                f"{_name(self)}.backward returned {len(results)} gradient(s) for {len(self.edges)} input(s)"
            )
        return [
            self._checked(i, g, spec, create_graph) if needed else None
            for i, (g, spec, needed) in enumerate(zip(results, self._input_specs, self.needs, strict=True))
        ]

    def _checked(self, i: int, g: Any, spec: Spec, create_graph: bool) -> Any:
        """The gradient to input i, which must not have lost digits on the way: of a wider dtype, it is converted."""
        where = f"{_name(self)}.backward, gradient to input {i}"
        if getattr(g, "dtype", spec.dtype) != spec.dtype and np.promote_types(g.dtype, spec.dtype) != g.dtype:
            raise RuntimeError(f"{where}: expected {spec.dtype}, got {g.dtype}: digits were lost on the way")
        return checked_gradient(g, spec, where, create_graph)

    def _free(self) -> None:
        """Drop all that was kept for backward, and the way to earlier Functions."""
        self.__dict__.clear()
        self.freed = True


# ---------------------------------------------------------------------------------------------------- small helpers


def _checked_result(function: Function, result: Any) -> Any:
    if not is_array(result) and not isinstance(result, np.generic):
        raise TypeError(
            f"{_name(function)}.forward must return an array or a tuple of arrays, got {type(result).__name__}"
        )
    return result


def checked_gradient(g: Any, spec: Spec, where: str, create_graph: bool) -> Any:
    """g, which must have the shape in `spec`, in the dtype in `spec`; as a Tensor when the pass is recorded."""
    if not isinstance(g, Tensor | np.generic) and not is_array(g):
        raise TypeError(f"{where}: expected an array, got {type(g).__name__}")
    if g.shape != spec.shape:
        hint = "; sum_to adds up what broadcasting repeated" if _is_broadcast(spec.shape, g.shape) else ""
        raise RuntimeError(f"{where}: expected shape {spec.shape}, got {g.shape}{hint}")
    if create_graph:
        g = as_tensor(g)
    if g.dtype == spec.dtype:
        return g
    with active(spec.device):
        return g.astype(spec.dtype)


def _is_broadcast(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    """Whether `shape` can be repeated to `larger`."""
    try:
        return np.broadcast_shapes(shape, larger) == larger
    except ValueError:
        return False


def as_tensor(value: Any) -> Tensor:
    """A Tensor as it is, or an array as a constant Tensor around the same memory."""
    return value if isinstance(value, Tensor) else Tensor._wrap(value)


def _name(source: Leaf | Function | None) -> str:
    return type(source).__name__


def spec_of(x: Any) -> Any:
    """The Spec of a Tensor or an array; None for a plain number."""
    return Spec(x.shape, x.dtype, device_of(raw(x))) if hasattr(x, "dtype") else None


def common_device(op: str, inputs: Sequence[Any]) -> Device:
    """The device that all tensors and arrays among `inputs` are on. Raises: DeviceError when there are several."""
    places = {i: device_of(raw(x)) for i, x in enumerate(inputs) if isinstance(x, Tensor) or is_array(x)}
    if len(set(places.values())) > 1:
        listing = ", ".join(f"operand {i} of shape {inputs[i].shape} is on {place}" for i, place in places.items())
        raise DeviceError(f"{op}: operands on different devices: {listing}; bring them together with .to(...)")
    return next(iter(places.values()), CPU)
