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
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minidl.backend import CPU, Device, DeviceError, active, device_of, is_array, is_floating
from minidl.tensor import Leaf, Tensor

# ------------------------------------------------------------------------------------------------ recording, or not

_state = threading.local()  # each thread records, or does not, for itself


def is_grad_enabled() -> bool:
    """Whether operations on tensors are being recorded for a later backward pass."""
    return getattr(_state, "recording", True)


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    before = is_grad_enabled()
    _state.recording = on
    try:
        yield
    finally:
        _state.recording = before


def no_grad() -> contextlib._GeneratorContextManager[None]:
    """Compute without recording: `with no_grad(): ...`, or `@no_grad()` above a function."""
    return recording(False)


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

    An instance is one use of the operation: options (a stride, an axis) go to `__init__`, inputs to the call.

    forward   takes and returns raw arrays (one, or a tuple). It may leave notes on `self` for backward.
    backward  takes the gradient g to the output (a tuple where there are several outputs) and then, **by name**, what
              it needs: inputs, by the names forward gives them, and `y`, the output. Nothing else is kept, and so
              memory is freed early. It returns one gradient per input; where `self.needs[i]` is false, None will do.

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
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        if self.edges:  # its notes for backward belong to that call
            raise RuntimeError(f"{_name(self)}: one instance records one call; make a new instance for another")
        if not tensors:
            return self.forward(*inputs)
        place = common_device(_name(self), inputs)
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        with active(place):
            results = self.forward(*arrays)
        several = isinstance(results, tuple)
        outputs = [Tensor._wrap(array) for array in (results if several else (results,))]
        if is_grad_enabled() and any(x.requires_grad for x in tensors):
            self._record(inputs, outputs)
        return tuple(outputs) if several else outputs[0]

    def _record(self, inputs: tuple[Any, ...], outputs: list[Tensor]) -> None:
        """Enter this use of the operation into the graph."""
        self.edges = tuple(
            Edge(x._source, x._index) if isinstance(x, Tensor) and x._source is not None else None for x in inputs
        )
        self._input_specs: list[Any] = [spec_of(x) for x in inputs]
        self._output_specs: list[Any] = [spec_of(y) for y in outputs]
        # The output is kept as a raw array: kept as a Tensor, which points back here, it would close a cycle.
        self._kept = [
            outputs[0].data if name == "y" else inputs[self._input_names.index(name)] for name in self._wanted_names
        ]
        for index, y in enumerate(outputs):
            if is_floating(y.dtype):
                y._source, y._index = self, index

    def _backward(self, gradients: list[Any], create_graph: bool) -> list[Any]:
        """Call `backward` with what it asked for, as Tensors or as raw arrays, and check what it returns."""
        kept = []
        for name, value in zip(self._wanted_names, self._kept, strict=True):
            if create_graph and name == "y":
                value = Tensor._wrap(value, self, 0)
            elif not create_graph and isinstance(value, Tensor):
                value = value.data
            kept.append(value)
        try:
            with active(self._output_specs[0].device):
                results = self.backward(gradients[0] if len(gradients) == 1 else tuple(gradients), *kept)
        except Exception as error:
            error.add_note(f"in {_name(self)}.backward")
            raise
        results = list(results) if isinstance(results, tuple | list) else [results]
        if len(results) != len(self.edges):
            raise RuntimeError(
                f"{_name(self)}.backward returned {len(results)} gradient(s) for {len(self.edges)} input(s)"
            )
        return [
            checked_gradient(g, spec, f"{_name(self)}.backward, gradient to input {i}", create_graph)
            if needed
            else None
            for i, (g, spec, needed) in enumerate(zip(results, self._input_specs, self.needs, strict=True))
        ]

    def _free(self) -> None:
        """Drop all that was kept for backward, and the way to earlier Functions."""
        self.__dict__.clear()
        self.freed = True


# ---------------------------------------------------------------------------------------------------- small helpers


def checked_gradient(g: Any, spec: Spec, where: str, create_graph: bool) -> Any:
    """g, which must have the shape in `spec`, in the dtype in `spec`; as a Tensor when the pass is recorded."""
    if not isinstance(g, Tensor | np.generic) and not is_array(g):
        raise TypeError(f"{where}: expected an array, got {type(g).__name__}")
    if g.shape != spec.shape:
        raise RuntimeError(f"{where}: expected shape {spec.shape}, got {g.shape}")
    if create_graph:
        g = as_tensor(g)
    return g if g.dtype == spec.dtype else g.astype(spec.dtype)


def as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor._wrap(value)


def _name(source: Leaf | Function | None) -> str:
    return type(source).__name__


def spec_of(x: Any) -> Any:
    """The Spec of a Tensor or an array; None for a plain number."""
    return Spec(x.shape, x.dtype, device_of(_raw(x))) if hasattr(x, "dtype") else None


def _raw(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def common_device(op: str, inputs: Sequence[Any]) -> Device:
    """The device that all tensors and arrays among `inputs` are on. Raises: DeviceError when there are several."""
    places = {i: device_of(_raw(x)) for i, x in enumerate(inputs) if isinstance(x, Tensor) or is_array(x)}
    if len(set(places.values())) > 1:
        listing = ", ".join(f"operand {i} of shape {inputs[i].shape} is on {place}" for i, place in places.items())
        raise DeviceError(f"{op}: operands on different devices: {listing}; bring them together with .to(...)")
    return next(iter(places.values()), CPU)
