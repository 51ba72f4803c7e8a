"""Where arrays live, what type they have, and where random numbers come from.

minidl computes with two array libraries that share one interface: NumPy on the host (the "cpu") and CuPy on an
NVIDIA GPU. An op does not care which one it was given. It writes

    xp = array_module(x)

once at its top and then `xp.exp`, `xp.where`, ... Only this file imports CuPy; the few places that treat the two
differently (how much scratch memory to use, whether looking at a value is free) say why.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import numbers
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # a numpy.ndarray or a cupy.ndarray; the two share no base class
INSTALL_CUPY = 'pip install "minidl[gpu-cuda12]" (CUDA 12) or pip install "minidl[gpu-cuda13]" (CUDA 13)'


class DeviceError(RuntimeError):
    """A device that does not exist here, or operands that live on different devices."""


# ---------------------------------------------------------------------------------------------------------- devices


@dataclass(frozen=True)
class Device:
    """A place where arrays live: `Device("cpu")`, or a GPU and its number, `Device("gpu", 1)`."""

    kind: str
    index: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "gpu"):
            raise ValueError(
                f'Device: expected kind "cpu" or "gpu", got {self.kind!r}; device("gpu:1") reads such names'
            )

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"gpu:{self.index}"

    __repr__ = __str__


CPU = Device("cpu")
_injected_gpu_module: ModuleType | None = None


def set_gpu_module(module: ModuleType | None) -> None:
    """Use `module` wherever CuPy would be used; None restores CuPy. The tests run the engine on a stand-in this way."""
    global _injected_gpu_module
    _injected_gpu_module = module


def gpu_module() -> ModuleType:
    """CuPy, imported on first use so that `import minidl` stays fast.

    Raises: DeviceError, with the command that installs CuPy, when it is missing or broken.
    """
    return _injected_gpu_module or _import_cupy()


@functools.cache
def _import_cupy() -> ModuleType:
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        raise DeviceError(f"device 'gpu' needs CuPy, which is not installed: {INSTALL_CUPY}") from error
    except ImportError as error:
        raise DeviceError(f"device 'gpu' needs CuPy, which is installed but cannot be imported: {error}") from error


def device(spec: str | Device) -> Device:
    """The device named by `spec`: "cpu", "gpu" (the same as "gpu:0") or "gpu:<number>".

    Raises: ValueError for any other name; DeviceError, saying what is missing, when that GPU cannot be used.

    >>> minidl.device("cpu")
    cpu
    """
    kind, colon, number = str(spec).partition(":")
    if kind == "cpu" and not colon:
        return CPU
    if kind != "gpu" or (colon and not number.isdecimal()):
        hint = '; write "gpu"' if str(spec).startswith("cuda") else ""
        raise ValueError(f'device: expected "cpu", "gpu" or "gpu:<number>", got {spec!r}{hint}')
    gpu = gpu_module()
    if not _finds_gpu(gpu):
        raise DeviceError(
            f"device {spec!r}: CuPy {gpu.__version__} is installed but finds no GPU with a working driver; "
            "`nvidia-smi` should list one"
        )
    index, count = int(number or 0), gpu.cuda.runtime.getDeviceCount()
    if index >= count:
        raise DeviceError(f"device {spec!r}: this machine has {count} GPU(s), numbered from 0")
    _require_cuda_libraries(gpu, index)
    return Device("gpu", index)


def _finds_gpu(gpu: ModuleType) -> bool:
    try:
        return bool(gpu.is_available())
    except gpu.cuda.runtime.CUDARuntimeError:  # what CuPy 13 does without a driver; CuPy 14 answers False
        return False


@functools.cache
def _require_cuda_libraries(gpu: ModuleType, index: int) -> None:
    """CuPy comes without CUDA's compiler and matrix products, and misses them only when it computes."""
    try:
        with gpu.cuda.Device(index):
            gpu.dot(gpu.ones((2, 2)), gpu.ones((2, 2)))
    except Exception as error:  # of many types: from CuPy's loader of libraries, its compiler and its runtime
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DeviceError(
            f"device 'gpu:{index}': CuPy {gpu.__version__} finds a GPU but cannot compute on it ({reason}); "
            f"CUDA's libraries, if they are what is missing, come with {INSTALL_CUPY}"
        ) from error


def device_of(array: Array) -> Device:
    """Where `array` lives. NumPy arrays and plain numbers live on the CPU."""
    return CPU if array_module(array) is np else Device("gpu", array.device.id)


_ON_THE_HOST = (np.ndarray, np.generic, numbers.Number)


def array_module(array: Array) -> Any:
    """The library `array` belongs to, `numpy` or `cupy`: write `xp = array_module(x)` once at the top of an op."""
    if isinstance(array, _ON_THE_HOST):
        return np
    if is_array(array):
        return gpu_module()
    raise TypeError(f"expected an array or a number, got {type(array).__name__}")


def is_array(value: object) -> bool:
    """Whether `value` is an array of one of the two libraries (not a number, not a list)."""
    gpu = _injected_gpu_module or sys.modules.get("cupy")  # whoever holds a CuPy array has imported CuPy
    return isinstance(value, np.ndarray) or (gpu is not None and isinstance(value, gpu.ndarray))


def to_device(array: Array, target: Device) -> Array:
    """`array` on `target`: itself when it is there already, else a copy."""
    if device_of(array) == target:
        return array
    if target == CPU:
        return gpu_module().asnumpy(array)
    with active(target):
        return gpu_module().asarray(array)


def to_host(array: Array) -> np.ndarray:
    """`array` as a NumPy array. For a GPU array this copies, and waits until the GPU has computed it."""
    return np.asarray(to_device(array, CPU))


def active(target: Device) -> contextlib.AbstractContextManager[Any]:
    """A context in which new GPU arrays are allocated on `target`; on the CPU it does nothing."""
    return contextlib.nullcontext() if target == CPU else gpu_module().cuda.Device(target.index)


# ----------------------------------------------------------------------------------------------------------- dtypes


def is_floating(dtype: Any) -> bool:
    """Whether `dtype` is float16, float32 or float64: only such data has gradients.

    float16 is meant for storage: sums in it are not widened, and overflow beyond 65,504.
    """
    return np.dtype(dtype).kind == "f"


def as_array(data: Any, dtype: Any = None, target: Device | None = None) -> Array:
    """`data` (an array, a number, or nested lists of numbers) as a new array, on `target` or where it is now.

    Arrays keep their dtype. Python floats become float32, integers int64, booleans bool, unless `dtype` says otherwise.
    Raises: TypeError for anything that is not numeric; ValueError for lists of uneven lengths.
    """
    if is_array(data):
        with active(device_of(data)):
            array = plain(data).copy()
    else:
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError("Tensor: expected nested lists of even lengths, got uneven ones") from error
        except TypeError as error:  # of CuPy, for its arrays in a list
            raise TypeError(f"Tensor: {str(error).rstrip('.')}; minidl.stack puts arrays together") from error
        if array.dtype == np.float64 and not isinstance(data, np.generic):
            array = array.astype(np.float32 if dtype is None else dtype)
    wanted = array.dtype if dtype is None else np.dtype(dtype).newbyteorder("=")
    for one in (array.dtype, wanted):
        if one.kind in "fiub" and one.itemsize > 8:
            raise TypeError(f"Tensor: expected numbers of at most 64 bits, got {one}; convert them first")
        if one.kind not in "fiub":
            raise TypeError(f"Tensor: expected real numbers or booleans, got {type(data).__name__} of dtype {one}")
    with active(device_of(array)):
        array = array.astype(wanted, copy=False)
    return array if target is None else to_device(array, target)


def plain(array: Array) -> Array:
    """`array` without the ways of a subclass (`*` of an np.matrix is another operation), in the machine's byte order.

    A file may hold big-endian numbers; their dtype, >f4, is equal to no float32.
    Raises: TypeError for a masked array, whose meaning would be lost.
    """
    if not isinstance(array, np.ndarray) or (type(array) is np.ndarray and array.dtype.isnative):
        return array
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array is not an array of numbers; fill it first, with .filled(value)")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def weak_scalar(number: Any, like: Array) -> Array:
    """A number as a 0-d array that leaves the dtype of `like` alone, as far as the number can be held in it.

    float32 · 0.5 stays float32; int64 · 2 stays int64; int64 · 0.5 has to become floating and is float32.
    """
    xp = array_module(like)
    dtype, kind = like.dtype, _kind(number)
    if not is_floating(dtype) and kind != "b":
        if kind == "f":
            dtype = np.dtype(np.float32)
        elif dtype == np.bool_:
            dtype = np.dtype(np.int64)
        elif device_of(number) == CPU and not np.iinfo(dtype).min <= int(number) <= np.iinfo(dtype).max:
            raise OverflowError(f"{number} does not fit into {dtype}; convert the tensor first, with .astype")
    if device_of(number) != CPU:  # it stays where it is: should `like` be elsewhere, the op will say so
        with active(device_of(number)):
            return number.astype(dtype, copy=False)
    with active(device_of(like)):
        return xp.asarray(number, dtype=dtype)


def _kind(number: Any) -> str:
    """What kind of number it is, in NumPy's letters: "b" for a boolean, "i" for a whole number, "f" for another."""
    if is_array(number):
        return number.dtype.kind.replace("u", "i")
    if isinstance(number, bool | np.bool_):
        return "b"
    return "i" if isinstance(number, numbers.Integral) else "f"


# --------------------------------------------------------------------------------------------------- random numbers

_generator = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Restart minidl's random numbers from `seed`: weights, shuffles and dropout masks are the same again.

    >>> minidl.manual_seed(1)
    >>> first = nn.init.normal((2,), std=1.0)
    >>> minidl.manual_seed(1)
    >>> bool((first == nn.init.normal((2,), std=1.0)).all())
    True
    """
    global _generator
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise ValueError(f"manual_seed: expected an integer of at least 0, got {seed!r}")
    _generator = np.random.default_rng(int(seed))


def generator() -> np.random.Generator:
    """The one source of random numbers. It draws on the host, so that CPU and GPU runs start from equal numbers."""
    return _generator


def generator_state() -> dict[str, Any]:
    """The generator's state, as plain numbers and strings: what a checkpoint stores to continue bit for bit."""
    return dict(_generator.bit_generator.state)


def set_generator_state(state: dict[str, Any]) -> None:
    """Continue the random numbers from where `generator_state()` was taken."""
    global _generator
    fresh = np.random.default_rng()
    fresh.bit_generator.state = state
    _generator = fresh
