"""A stand-in for ``cupy`` on a machine without a GPU: NumPy underneath, CuPy's rules on top.

(tests/cuda_on_cpu lets CuPy itself run on such a machine, and tests/test_cupy.py compares the two.)

Inject it with ``minidl.backend.set_gpu_module(fakecupy)``. An array here *holds* a NumPy array (a subclass would leak
into host code). It differs from NumPy where CuPy does, and it raises where CuPy would be silently slow or silently
wrong:

Mixing      ``device + host`` raises TypeError in CuPy. Host arrays as indices, assigned values or function arguments,
            and ``np.exp(device)``, are uploaded or run without a word there; here all of them raise. Python and NumPy
            scalars may mix; a NumPy scalar is strong (NEP 50): ``float32_array * np.float64(2)`` is float64. A foreign
            class such as a tensor gets its turn at an operator only if it sets ``__array_ufunc__ = None`` or a high
            ``__array_priority__``.
Waiting     ``float() int() bool()``, ``.item() .get() .tolist()``, ``asnumpy``, printing, iterating, boolean masks as
            indices and ``nonzero`` make the host wait for the device: see ``count_synchronisations``. There is no
            ``__index__``. Reductions and integer indexing give 0-d *arrays*, so nothing waits by itself.
Memory      ``empty`` holds garbage, poisoned here with NaN or a sentinel. CuPy has no read-only flag and writes into a
            broadcast or an overlapping window view corrupt data; here they raise. Assigning different values through
            duplicate integer indices is undefined there and raises here. An index out of range wraps around there and
            raises here.
Devices     There are two. New arrays go to the current device (``with cuda.Device(1):``), so do the results of
            ``zeros_like`` and ``copy``; a computation on an array of any other device raises, as it does between GPUs
            without peer access.
Values      A bound of NaN in ``clip`` holds nowhere, and bounds in the wrong order make a number of a NaN. Of several
            NaN ``argmax`` may choose any.
Layout      Results of computations are C-contiguous whatever the layout of the operands.
Names       Only what CuPy 13 and 14 both have, with CuPy's parameters: reductions know no ``where=`` or ``initial=``,
            ufuncs no ``where=``, ``as_strided`` no ``writeable=``; there is no ``errstate`` and no floating-point
            warning. ``add.at`` lacks int64. Functions take arrays, never lists or bare scalars in an array's place.
"""

import contextlib
import sys
import threading
import weakref
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

__version__ = "13.0-fake"
DEVICE_COUNT = 2

# What exists. Parameters are CuPy's; those after * are keyword-only (here or in one of the two libraries).

UFUNCS = """
    add subtract multiply divide true_divide floor_divide remainder mod power float_power negative positive absolute abs
    fabs sign exp exp2 expm1 log log2 log10 log1p logaddexp logaddexp2 sqrt cbrt square reciprocal sin cos tan arcsin
    arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh hypot maximum minimum fmax fmin floor ceil trunc rint
    copysign signbit isfinite isinf isnan equal not_equal less less_equal greater greater_equal logical_and logical_or
    logical_xor logical_not bitwise_and bitwise_or bitwise_xor invert left_shift right_shift
"""

CREATIONS = """
    empty(shape, dtype, order) zeros(shape, dtype, order) ones(shape, dtype, order)
    full(shape, fill_value, dtype, order)
    arange(start, stop, step, dtype) linspace(start, stop, num, endpoint, retstep, dtype, axis)
    eye(N, M, k, dtype, order) identity(n, dtype) tri(N, M, k, dtype)
"""

TRANSFERS = """
    empty_like(prototype, dtype, order, *, shape) zeros_like(a, dtype, order, *, shape)
    ones_like(a, dtype, order, *, shape) full_like(a, fill_value, dtype, order, *, shape) copy(a, order)
"""

VIEWS = """
    reshape(a, newshape, order) transpose(a, axes) swapaxes(a, axis1, axis2) moveaxis(a, source, destination)
    ravel(a, order) squeeze(a, axis) expand_dims(a, axis) atleast_1d(*arys) broadcast_to(array, shape) flip(a, axis)
    split(ary, indices_or_sections, axis) array_split(ary, indices_or_sections, axis) ascontiguousarray(a, dtype)
"""

COMPUTATIONS = """
    sum(a, axis, dtype, out, keepdims) mean(a, axis, dtype, out, keepdims) prod(a, axis, dtype, out, keepdims)
    var(a, axis, dtype, out, ddof, keepdims) std(a, axis, dtype, out, ddof, keepdims)
    max(a, axis, out, keepdims) min(a, axis, out, keepdims) amax(a, axis, out, keepdims) amin(a, axis, out, keepdims)
    any(a, axis, out, keepdims) all(a, axis, out, keepdims)
    argmax(a, axis, *, out, keepdims) argmin(a, axis, *, out, keepdims)
    cumsum(a, axis, dtype, out) cumprod(a, axis, dtype, out) count_nonzero(a, axis)
    trace(a, offset, axis1, axis2, dtype, out)
    concatenate(tup, axis, out, *, dtype, casting) stack(tup, axis, out, *, dtype, casting) hstack(tup) vstack(tup)
    pad(array, pad_width, mode, *, constant_values) roll(a, shift, axis) tile(A, reps) repeat(a, repeats, axis)
    clip(a, a_min, a_max, out) take(a, indices, axis, out) take_along_axis(a, indices, axis)
    tril(m, k) triu(m, k) diff(a, n, axis) sort(a, axis) searchsorted(a, v, side)
    isin(element, test_elements)
    matmul(x1, x2, out) dot(a, b, out) outer(a, b, out) inner(a, b) tensordot(a, b, axes)
    einsum(subscripts, *operands, dtype, optimize)
    isclose(a, b, rtol, atol, equal_nan) allclose(a, b, rtol, atol, equal_nan) array_equal(a1, a2, equal_nan)
    around(a, decimals, out) round(a, decimals, out) nan_to_num(x, *, nan, posinf, neginf)
"""

SYNCHRONISING = """
    nonzero(a) flatnonzero(a) argwhere(a) unique(ar, return_index, return_inverse, return_counts, axis)
    bincount(x, weights, minlength)
"""

VIEW_METHODS = """
    reshape(self, *shape, order) transpose(self, *axes) swapaxes(self, axis1, axis2) squeeze(self, axis)
    ravel(self, order) view(self, dtype) astype(self, dtype, order, casting, subok, copy)
"""

METHODS = """
    sum(self, axis, dtype, out, keepdims) mean(self, axis, dtype, out, keepdims) prod(self, axis, dtype, out, keepdims)
    var(self, axis, dtype, out, ddof, keepdims) std(self, axis, dtype, out, ddof, keepdims)
    max(self, axis, out, keepdims) min(self, axis, out, keepdims)
    any(self, axis, out, keepdims) all(self, axis, out, keepdims)
    argmax(self, axis, out, *, keepdims) argmin(self, axis, out, *, keepdims) cumsum(self, axis, dtype, out)
    cumprod(self, axis, dtype, out) clip(self, min, max, out) take(self, indices, axis, out) repeat(self, repeats, axis)
    dot(self, b, out) round(self, decimals, out) trace(self, offset, axis1, axis2, dtype, out) argsort(self, axis)
    flatten(self, order)
"""

BINARY_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
UNARY_OPERATORS = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}

FROM_NUMPY = """
    bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 intp float16 float32 float64 complex64 complex128
    dtype generic number integer signedinteger unsignedinteger inexact floating finfo iinfo newaxis inf nan pi e
    promote_types can_cast issubdtype isscalar broadcast_shapes
"""

# Parameters that shape the result: CuPy needs them on the host, so a device array there is a mistake.
HOST_PARAMETERS = """
    shape newshape order dtype axis axes axis1 axis2 source destination keepdims ddof repeats reps shift pad_width
    indices_or_sections start stop step num N M n k offset decimals
"""
SEQUENCE_PARAMETERS = {"tup", "*arys"}  # several arrays where other functions take one
AT_DTYPES = {  # the types CUDA has atomic operations for
    "add": "int32 uint32 uint64 float16 float32 float64",
    "maximum": "int32 uint32 uint64 float32 float64",
    "minimum": "int32 uint32 uint64 float32 float64",
}
SCALARS = (bool, int, float, complex, np.generic)


# ---- synchronisations


class SynchronisationLog:
    """How often the host waited for the device, and where: ``places`` lists 'what at file:line in function'."""

    def __init__(self) -> None:
        self.places: list[str] = []

    @property
    def count(self) -> int:
        return len(self.places)


synchronisations = SynchronisationLog()
_logs = [synchronisations]


@contextlib.contextmanager
def count_synchronisations():
    """Record the synchronisations of a block.

    ``with count_synchronisations() as log: ...``; then log.count, log.places.
    """
    log = SynchronisationLog()
    _logs.append(log)
    try:
        yield log
    finally:
        _logs.remove(log)


def _synchronise(what: str) -> None:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    for log in _logs:
        log.places.append(f"{what} at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")


# ---- devices and memory


class CUDARuntimeError(RuntimeError):
    pass


_thread = threading.local()


def _current_id() -> int:
    return getattr(_thread, "device", 0)


class Device:
    """A fake GPU; as in CuPy a number out of range is noticed when the device is used, not when it is named."""

    def __init__(self, device=None) -> None:
        self.id = _current_id() if device is None else int(device)
        self._previous: list[int] = []

    def use(self) -> None:
        if not 0 <= self.id < DEVICE_COUNT:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        _thread.device = self.id

    def __enter__(self):
        previous = _current_id()
        self.use()
        self._previous.append(previous)
        return self

    def __exit__(self, *error) -> None:
        _thread.device = self._previous.pop()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def synchronize(self) -> None:
        _synchronise("Device.synchronize()")


class Stream:
    def synchronize(self) -> None:
        _synchronise("Stream.synchronize()")


class MemoryPool:
    """Bytes held by live arrays of the current device: exact, where CuPy rounds each array up to 512 bytes."""

    def __init__(self) -> None:
        self._live: dict[int, tuple[int, int]] = {}  # id of the host array that owns the memory -> (device, bytes)

    def register(self, host: np.ndarray, device_id: int) -> None:
        while getattr(host, "base", None) is not None:  # views, and the wrapper that as_strided puts between
            host = host.base
        if id(host) not in self._live:
            self._live[id(host)] = (device_id, host.nbytes)
            weakref.finalize(host, self._live.pop, id(host), None).atexit = False

    def used_bytes(self) -> int:
        return sum(size for device, size in self._live.values() if device == _current_id())

    total_bytes = used_bytes

    def free_all_blocks(self) -> None:
        """Nothing to do: memory returns to the host the moment its last array goes."""


_pool = MemoryPool()


# ---- arrays


class Flags(NamedTuple):
    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


def _refuse_host_array(what: str) -> TypeError:
    return TypeError(f"{what}: a NumPy array meets a CuPy array; move it first, with cupy.asarray or cupy.asnumpy")


class ndarray:
    """A device array. Operators and most methods are attached below, from the tables."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float) -> None:
        self._host = _poison(np.empty(shape, dtype))
        self.device = Device()
        _pool.register(self._host, self.device.id)

    shape = property(lambda self: self._host.shape)
    strides = property(lambda self: self._host.strides)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    T = property(lambda self: self.transpose())
    data = property(lambda self: SimpleNamespace(ptr=self._host.ctypes.data, device_id=self.device.id))

    @property
    def flags(self) -> Flags:
        host = self._host.flags
        return Flags(host.c_contiguous, host.f_contiguous, host.owndata)

    def __len__(self) -> int:
        return len(self._host)

    # The host does not get in by accident.

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a CuPy array to a NumPy array; use .get() or cupy.asnumpy")

    def __array_function__(self, function, types, args, kwargs):
        raise TypeError(
            f"numpy.{function.__name__} called on a CuPy array; call the function of the array's own module"
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        # `numpy_scalar * device` arrives here, and CuPy computes it; anything else is NumPy called on a device array.
        if method == "__call__" and not kwargs and len(inputs) == 2 and isinstance(inputs[0], np.generic):
            return __getattr__(ufunc.__name__)(*inputs)
        if any(isinstance(value, np.ndarray) for value in inputs):
            raise _refuse_host_array(ufunc.__name__)
        raise TypeError(f"numpy.{ufunc.__name__} called on a CuPy array; call the function of the array's own module")

    # The host waits.

    def get(self) -> np.ndarray:
        _synchronise(".get()")
        return self._host.copy()

    def item(self):
        _synchronise(".item()")
        return self._host.item()

    def tolist(self):
        _synchronise(".tolist()")
        return self._host.tolist()

    def __float__(self) -> float:
        _synchronise("float()")
        return float(self._host)

    def __int__(self) -> int:
        _synchronise("int()")
        return int(self._host)

    def __bool__(self) -> bool:
        _synchronise("bool()")
        return bool(self._host)

    def __repr__(self) -> str:
        _synchronise("repr()")
        return repr(self._host)

    def __str__(self) -> str:
        _synchronise("str()")
        return str(self._host)

    def __format__(self, specification: str) -> str:
        _synchronise("format()")
        return format(self._host[()], specification)

    def __iter__(self):
        elements = [self[i] for i in range(len(self))]
        _synchronise("iteration")
        return iter(elements)

    def nonzero(self):
        return __getattr__("nonzero")(self)

    # Indexing.

    def __getitem__(self, index):
        items, arrays = _host_index(index)
        if not arrays:
            return _wrap(self._host[(*items, ...)] if ... not in items else self._host[items], self.device)
        _require_current_device("indexing with an array", [self, *arrays])
        if any(array.dtype == bool for array in arrays):
            _synchronise("boolean-mask indexing")
        return _wrap(np.asarray(self._host[items]), self.device)

    def __setitem__(self, index, value) -> None:
        items, arrays = _host_index(index)
        _require_operands("assignment", [value])
        values = [value] if isinstance(value, ndarray) else []
        _require_current_device("assignment", [self, *arrays, *values])
        _require_writeable("assignment", self)
        if any(array.dtype == bool for array in arrays):
            _synchronise("boolean-mask assignment")
        elif arrays and values and value.size > 1:
            positions = np.arange(self.size).reshape(self.shape)[items]
            if np.unique(positions).size < positions.size:
                raise ValueError("assignment: the indices hold duplicates, and which value stays is undefined in CuPy")
        self._host[items] = value._host if values else value

    # In place, and copies.

    def fill(self, value) -> None:
        self[...] = value

    def sort(self, axis=-1) -> None:
        _require_current_device("sort", [self])
        _require_writeable("sort", self)
        self._host.sort(axis)

    def set(self, host: np.ndarray) -> None:
        """Upload into this array: the one method that takes a host array."""
        if not isinstance(host, np.ndarray) or host.dtype != self.dtype or host.shape != self.shape:
            raise TypeError(f"set: expected a NumPy array of shape {self.shape} and dtype {self.dtype}")
        _require_writeable("set", self)
        self._host[...] = host

    def copy(self, order="C"):
        return __getattr__("copy")(self, order)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        with self.device:
            return self.copy()

    def __reduce__(self):
        return asarray, (self.get(),)


def _wrap(host: np.ndarray, device: Device) -> ndarray:
    if host.dtype.kind not in "biufc" or host.dtype.char in "gG":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    array = ndarray.__new__(ndarray)
    array._host = host
    array.device = Device(device.id)
    _pool.register(host, device.id)
    return array


def _host_index(index) -> tuple[tuple, list[ndarray]]:
    """The index for the host array, and the device arrays in it.

    A Python list counts as an array, as it does in CuPy, and 1.9 counts as 1.
    """
    items, arrays = [], []
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, np.ndarray):
            raise _refuse_host_array("index")
        if isinstance(item, list):
            item = asarray(item if item else np.empty(0, int))
        if isinstance(item, (float, np.floating)):
            item = int(item)
        if isinstance(item, ndarray):
            arrays.append(item)
            item = item._host
        items.append(item)
    return tuple(items), arrays


def _poison(host: np.ndarray) -> np.ndarray:
    """What uninitialised memory holds: NaN, or the largest integer, or True."""
    kind = host.dtype.kind
    host.fill(np.iinfo(host.dtype).max if kind in "iu" else True if kind == "b" else np.nan)
    return host


# ---- the rules


def _require_operands(name: str, values) -> None:
    for value in values:
        if isinstance(value, np.ndarray):
            raise _refuse_host_array(name)
        if not isinstance(value, (ndarray, *SCALARS)):
            raise TypeError(f"{name}: unsupported type {type(value).__name__}; expected a CuPy array or a number")


def _require_one_device(name: str, operands: list[ndarray]) -> None:
    devices = sorted({operand.device.id for operand in operands})
    if len(devices) > 1:
        raise ValueError(f"{name}: arrays are on devices {devices}; move them to one device first")


def _require_current_device(name: str, operands: list[ndarray]) -> None:
    _require_one_device(name, operands)
    if operands and operands[0].device.id != _current_id():
        raise ValueError(
            f"{name}: Array device must be same as the current device: "
            f"array device = {operands[0].device.id} while current = {_current_id()}"
        )


def _require_writeable(name: str, array: ndarray) -> None:
    if not array._host.flags.writeable:
        raise ValueError(
            f"{name}: writing into a broadcast or overlapping view, which corrupts data in CuPy; copy it first"
        )


def _unwrap(name: str, value, operands: list[ndarray]):
    """Host arrays for device arrays, also inside lists; every device array met goes into operands."""
    if isinstance(value, ndarray):
        operands.append(value)
        return value._host
    if isinstance(value, np.ndarray):
        raise _refuse_host_array(name)
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrap(name, element, operands) for element in value)
    return value


def _run(name: str, host_function, kind: str, args, kwargs):
    """Run a NumPy function on what the device arrays hold, under CuPy's rules for this kind of function."""
    operands: list[ndarray] = []
    host_args = [_unwrap(name, value, operands) for value in args]
    host_kwargs = {key: _unwrap(name, value, operands) for key, value in kwargs.items()}
    if kind in ("computation", "synchronising"):
        _require_current_device(name, operands)
    with np.errstate(all="ignore"):  # a GPU gives no floating-point warnings
        result = host_function(*host_args, **host_kwargs)
    return _wrap_result(name, result, kind, operands)


def _wrap_result(name: str, result, kind: str, operands: list[ndarray]):
    if isinstance(result, (list, tuple)):
        return type(result)(_wrap_result(name, element, kind, operands) for element in result)
    for operand in operands:
        if result is operand._host:  # out=, or a function with nothing to do
            return operand
    result = np.asarray(result, order="C" if kind == "computation" else None)
    if kind == "view" and any(np.may_share_memory(result, operand._host) for operand in operands):
        return _wrap(result, operands[0].device)
    if kind == "view":  # a copy after all, and that takes a kernel
        _require_current_device(name, operands)
    return _wrap(result, Device())


def _contains_device_array(value) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_contains_device_array(element) for element in value)
    return isinstance(value, ndarray)


def _bind(name: str, parameters: list[str], args, kwargs) -> dict:
    """Arguments by parameter name; refuses what CuPy's signature does not have."""
    positional = [parameter for parameter in parameters if not parameter.startswith("*")]
    variadic = next((parameter for parameter in parameters if parameter.startswith("*")), None)
    if variadic:
        positional = parameters[: parameters.index(variadic)]
    if len(args) > len(positional) and variadic in (None, "*"):
        raise TypeError(f"{name}() takes at most {len(positional)} positional arguments, got {len(args)}")
    for keyword in kwargs:
        if keyword not in parameters:
            raise TypeError(
                f"{name}() got an unexpected keyword argument {keyword!r}; CuPy has {', '.join(parameters)}"
            )
    bound = dict(zip(positional, args, strict=False)) | kwargs
    if len(args) > len(positional):
        bound[variadic] = args[len(positional) :]
    return bound


def _check_arguments(name: str, first: str, bound: dict, takes_arrays: bool) -> None:
    for parameter, value in bound.items():
        if parameter.lstrip("*") in HOST_PARAMETERS.split() and _contains_device_array(value):
            raise TypeError(f"{name}: {parameter} must be known on the host, got a CuPy array")
    if not takes_arrays:
        return
    arrays = bound.get(first, ()) if first in SEQUENCE_PARAMETERS else [bound.get(first)]
    for value in arrays:
        _require_array(name, first, value)


def _require_array(name: str, parameter: str, value) -> None:
    if isinstance(value, np.ndarray):
        raise _refuse_host_array(name)
    if not isinstance(value, ndarray):
        raise TypeError(f"{name}: {parameter} must be a CuPy array, got {type(value).__name__}")


def _device_function(name: str, parameters: list[str], host_function, kind: str):
    def call(*args, **kwargs):
        bound = _bind(name, parameters, args, kwargs)
        _check_arguments(name, parameters[0], bound, takes_arrays=kind != "creation" and name != "einsum")
        if bound.get("out") is not None:
            _require_array(name, "out", bound["out"])
            _require_writeable(name, bound["out"])
        if kind == "synchronising":
            _synchronise(f"{name}()")
        result = _run(name, host_function, kind, args, kwargs)
        if name in ("empty", "empty_like"):
            _poison(result._host)
        return result

    call.__name__ = call.__qualname__ = name
    return call


class ufunc:
    def __init__(self, name: str) -> None:
        self._function = getattr(np, name)
        self.__name__ = name
        self.nin, self.nout = self._function.nin, self._function.nout

    def __call__(self, *args, out=None, dtype=None, casting="same_kind"):
        if len(args) == self.nin + 1 and out is None:
            *args, out = args
        if len(args) != self.nin:
            raise TypeError(f"{self.__name__} takes {self.nin} operands, got {len(args)}")
        _require_operands(self.__name__, args)
        if out is not None:
            _require_array(self.__name__, "out", out)
            _require_writeable(self.__name__, out)
        options = {"out": out, "dtype": dtype, "casting": casting}
        return _run(self.__name__, self._function, "computation", args, options)

    def at(self, array: ndarray, index, value) -> None:
        """Scatter: unbuffered, so duplicate indices accumulate.

        On a GPU the order, and the last bits, vary from run to run.
        """
        name = f"{self.__name__}.at"
        if self.__name__ not in AT_DTYPES:
            raise NotImplementedError(f"{name} does not exist in CuPy")
        if array.dtype.name not in AT_DTYPES[self.__name__].split():
            raise TypeError(f"{name} supports {AT_DTYPES[self.__name__]}, got {array.dtype}")
        items, arrays = _host_index(index)
        _require_operands(name, [value])
        values = [value] if isinstance(value, ndarray) else []
        _require_current_device(name, [array, *arrays, *values])
        _require_writeable(name, array)
        if any(index_array.dtype == bool for index_array in arrays):
            _synchronise(f"{name} with a boolean mask")
        self._function.at(array._host, items, value._host if values else value)


# ---- functions that need their own words


def array(obj, dtype=None, copy=True, order="K"):
    """Upload a host array, a list or a scalar, or copy a device array, to the current device."""
    if isinstance(obj, ndarray) and not copy and obj.device.id == _current_id() and dtype in (None, obj.dtype):
        return __getattr__("ascontiguousarray")(obj) if order == "C" and obj.ndim else obj
    hosts = obj if isinstance(obj, np.ndarray) else _unwrap("array", obj, [])
    return _wrap(np.array(hosts, dtype, order=order), Device())


def asarray(a, dtype=None, order=None):
    return array(a, dtype, copy=False, order=order or "K")


def asnumpy(a, stream=None, order="C"):
    if not isinstance(a, ndarray):
        return np.asarray(a, order=order)
    _synchronise("asnumpy()")
    return a._host.copy(order=order)


def copyto(dst: ndarray, src, casting="same_kind", where=None) -> None:
    _require_array("copyto", "dst", dst)
    _require_operands("copyto", [src, True if where is None else where])
    _require_writeable("copyto", dst)
    operands: list[ndarray] = []
    target, source, mask = (_unwrap("copyto", value, operands) for value in (dst, src, where))
    _require_current_device("copyto", operands)
    np.copyto(target, source, casting, where=True if mask is None else mask)


def _as_strided(x: ndarray, shape=None, strides=None) -> ndarray:
    """CuPy checks nothing. Here a view whose elements overlap is read-only, which is what makes writing to it raise."""
    _require_array("as_strided", "x", x)
    host = np.lib.stride_tricks.as_strided(x._host, shape, strides)
    if _overlaps_itself(host):
        host.flags.writeable = False
    return _wrap(host, x.device)


def _overlaps_itself(host: np.ndarray) -> bool:
    """Whether two elements share an address.

    Sliding windows have more elements than addresses, the rest are counted.
    """
    span = sum(abs(stride) * (length - 1) for stride, length in zip(host.strides, host.shape, strict=True))
    if host.size > span // host.itemsize + 1:
        return True
    offsets = np.zeros(host.shape, np.int64)
    for axis, stride in enumerate(host.strides):
        offsets += stride * np.arange(host.shape[axis]).reshape(-1, *[1] * (host.ndim - axis - 1))
    return np.unique(offsets).size < offsets.size


def _norm(x: ndarray, ord=None, axis=None, keepdims=False):
    _require_array("linalg.norm", "x", x)
    return _run("linalg.norm", np.linalg.norm, "computation", [x], {"ord": ord, "axis": axis, "keepdims": keepdims})


def where(condition, x=None, y=None):
    _require_array("where", "condition", condition)
    if x is None and y is None:
        return condition.nonzero()
    _require_operands("where", [x, y])
    return _run("where", np.where, "computation", [condition, x, y], {})


def argsort(a: ndarray, axis=-1, kind=None) -> ndarray:
    """CuPy sorts in one way: equal elements keep their order, NaN comes last."""
    _require_array("argsort", "a", a)
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    return _run("argsort", np.argsort, "computation", [a], {"axis": axis, "kind": "stable"})


def result_type(*arrays_and_dtypes):
    return np.result_type(*[value.dtype if isinstance(value, ndarray) else value for value in arrays_and_dtypes])


def shares_memory(a: ndarray, b: ndarray) -> bool:
    return np.shares_memory(a._host, b._host)


def may_share_memory(a: ndarray, b: ndarray) -> bool:
    return np.may_share_memory(a._host, b._host)


def get_array_module(*args):
    return sys.modules[__name__] if any(isinstance(argument, ndarray) for argument in args) else np


def is_available() -> bool:
    return True


def get_default_memory_pool() -> MemoryPool:
    return _pool


def _device_count() -> int:
    return DEVICE_COUNT


def _set_device(device_id: int) -> None:
    Device(device_id).use()


def _device_synchronize() -> None:
    _synchronise("deviceSynchronize()")


cuda = SimpleNamespace(
    Device=Device,
    Stream=SimpleNamespace(null=Stream()),
    get_current_stream=Stream,
    get_device_id=_current_id,
    is_available=is_available,
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=_device_count,
        getDevice=_current_id,
        setDevice=_set_device,
        deviceSynchronize=_device_synchronize,
    ),
)
lib = SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided))
linalg = SimpleNamespace(norm=_norm)


# ---- where CuPy's kernels have results of their own, on what the arrays hold


def _clip(a, a_min=None, a_max=None, out=None, *, min=None, max=None):
    """A bound of NaN never holds; where the bounds are in the wrong order, all is the upper one, also NaN."""
    low, high = (min if a_min is None else a_min), (max if a_max is None else a_max)
    if a.dtype.kind in "iu":
        least, most = np.iinfo(a.dtype).min, np.iinfo(a.dtype).max
    elif a.dtype.kind == "f":
        least, most = -np.inf, np.inf
    elif low is None or high is None:
        raise TypeError("Unsupported type <class 'NoneType'>")
    low, high = (least if low is None else low), (most if high is None else high)
    if any(isinstance(bound, int) and a.dtype.kind in "iu" and not least <= bound <= most for bound in (low, high)):
        raise OverflowError(f"Python integer out of bounds for {a.dtype}")
    low, high = (np.asarray(bound, a.dtype if isinstance(bound, int | float) else None) for bound in (low, high))
    y = np.where(low > high, high, np.where(a < low, low, np.where(a > high, high, a))).astype(a.dtype)
    if out is None:
        return y
    out[...] = y
    return out


def _place(name: str):
    """argmax or argmin: NaN wins. Which of several, CuPy leaves open; here it is the last."""

    def place(a, axis=None, out=None, keepdims=False):
        nan = np.isnan(np.flip(a, axis))
        last_nan = (a.size if axis is None else a.shape[axis]) - 1 - np.argmax(nan, axis, keepdims=keepdims)
        chosen = getattr(np, name)(a, axis, keepdims=keepdims)
        return np.where(nan.any(axis, keepdims=keepdims), last_nan, chosen)

    return place


OF_ITS_OWN = {"clip": _clip, "argmax": _place("argmax"), "argmin": _place("argmin")}

# ---- the tables become functions, methods and operators


def signatures(table: str) -> dict[str, list[str]]:
    """'sum(a, axis) max(a)' -> {'sum': ['a', 'axis'], 'max': ['a']}"""
    entries = [entry.split("(") for entry in table.split(")")[:-1]]
    return {name.strip(): parameters.split(", ") for name, parameters in entries}


FUNCTION_TABLES = {
    "creation": CREATIONS,
    "transfer": TRANSFERS,
    "view": VIEWS,
    "computation": COMPUTATIONS,
    "synchronising": SYNCHRONISING,
}
# A dictionary, not module globals: `sum`, `any`, `max` and `round` in this file stay Python's own.
_namespace = {name: getattr(np, name) for name in FROM_NUMPY.split()} | {name: ufunc(name) for name in UFUNCS.split()}
for _kind, _table in FUNCTION_TABLES.items():
    for _name, _parameters in signatures(_table).items():
        _namespace[_name] = _device_function(_name, _parameters, OF_ITS_OWN.get(_name, getattr(np, _name)), _kind)


def __getattr__(name: str):
    try:
        return _namespace[name]
    except KeyError:
        raise AttributeError(
            f"fakecupy has no {name!r}; if CuPy 13 and 14 both have it, add it to the tables"
        ) from None


def __dir__() -> list[str]:
    return sorted([*globals(), *_namespace])


def _defers_to(other) -> bool:
    """Whether CuPy leaves an operator to the other operand: NEP 13, then the older __array_priority__."""
    if hasattr(other, "__array_ufunc__"):
        return other.__array_ufunc__ is None
    return getattr(other, "__array_priority__", 0) > ndarray.__array_priority__


def _attach_binary(operator: str, function) -> None:
    def forward(self, other):
        return NotImplemented if _defers_to(other) else function(self, other)

    def reflected(self, other):
        return NotImplemented if _defers_to(other) else function(other, self)

    def in_place(self, other):
        return NotImplemented if _defers_to(other) else function(self, other, out=self)

    setattr(ndarray, f"__{operator}__", forward)
    if operator not in COMPARISONS:
        setattr(ndarray, f"__r{operator}__", reflected)
    if operator in BINARY_OPERATORS:  # CuPy has no in-place @
        setattr(ndarray, f"__i{operator}__", in_place)


def _attach_unary(operator: str, function) -> None:
    setattr(ndarray, f"__{operator}__", lambda self: function(self))


for _operator, _name in (BINARY_OPERATORS | COMPARISONS | {"matmul": "matmul"}).items():
    _attach_binary(_operator, _namespace[_name])
for _operator, _name in UNARY_OPERATORS.items():
    _attach_unary(_operator, _namespace[_name])
for _kind, _table in {"view": VIEW_METHODS, "computation": METHODS}.items():
    for _name, _parameters in signatures(_table).items():
        _function = OF_ITS_OWN.get(_name, getattr(np.ndarray, _name))
        setattr(ndarray, _name, _device_function(_name, _parameters, _function, _kind))
