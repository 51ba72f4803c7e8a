"""minidl: a deep-learning engine to read, written from scratch on NumPy (CPU) and CuPy (GPU)."""

from minidl import functional, nn, optim
from minidl.autograd import Function, is_grad_enabled, no_grad
from minidl.backend import Device, DeviceError, device, manual_seed
from minidl.backpropagation import grad
from minidl.gradcheck import gradcheck, gradgradcheck
from minidl.kernels.threads import get_num_threads, set_num_threads
from minidl.ops.choice import maximum, minimum, where
from minidl.ops.einsum import einsum
from minidl.ops.elementwise import absolute, exp, log, sqrt
from minidl.ops.matmul import outer
from minidl.ops.shape import concatenate, stack
from minidl.tensor import Tensor
from minidl.version import __version__

__all__ = [
    "Device",
    "DeviceError",
    "Function",
    "Tensor",
    "__version__",
    "absolute",
    "concatenate",
    "device",
    "einsum",
    "exp",
    "functional",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_grad_enabled",
    "log",
    "manual_seed",
    "maximum",
    "minimum",
    "nn",
    "no_grad",
    "optim",
    "outer",
    "set_num_threads",
    "sqrt",
    "stack",
    "where",
]
