"""What the settings of a process are worth on this machine, measured in new processes that have them or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl import process
from minidl.backend import CPU
from minidl.inspection import clock
from minidl.inspection.ceilings import gemm_ceiling
from minidl.kernels.threads import get_num_threads

TIMEOUT = 20.0  # seconds, for what takes one or two
SECONDS, ROUNDS = 0.2, 4  # how long arrays are written, and how often at least
ARRAYS = 24, 24, 12, 12, 6, 6, 3, 3, 48  # MB: results of layers, small ones and large ones, alive at the same time


class NotMeasured(RuntimeError):
    """The new process failed; the message says how."""


def matrix_products(environment: Mapping[str, str]) -> float:
    """FLOP/s of matrix products on all threads, in a process with these environment variables.

    Raises: NotMeasured.
    """
    return float(_in_new_process("products_here", environment))


def new_arrays() -> tuple[float, float | None]:
    """Bytes a second written to new arrays that are freed afterwards: by default, and where freed memory is kept.

    None where it cannot be kept. Raises: NotMeasured.
    """
    by_default, kept = _in_new_process("arrays_here", {})
    return by_default, kept


def products_here() -> float:
    """`matrix_products` in this process."""
    return gemm_ceiling(get_num_threads())


def arrays_here() -> tuple[float, float | None]:
    """`new_arrays` in this process, which keeps freed memory from then on."""
    return _writing(), _writing() if process.keep_freed_memory() else None


def _writing() -> float:
    """Bytes a second, at best."""
    speeds: list[float] = []
    begin = clock.now(CPU)
    while len(speeds) < ROUNDS or clock.now(CPU) - begin < SECONDS:
        start = clock.now(CPU)
        arrays = [np.ones(MB * 2**18, np.float32) for MB in ARRAYS]
        speeds.append(sum(x.nbytes for x in arrays) / (clock.now(CPU) - start))
        del arrays
    return max(speeds)


def _in_new_process(function: str, environment: Mapping[str, str]) -> Any:
    """What this function of this file gives in a process that has more environment variables."""
    code = f"import json; from minidl.inspection import settings; print(json.dumps(settings.{function}()))"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    command = [sys.executable or "python3", "-c", code]
    try:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        last = [f"status {error.returncode}", *error.stderr.splitlines()][-1]
        raise NotMeasured(f"not measured: a new Python ended with {last}") from error
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise NotMeasured(f"not measured: no answer from a new Python: {error}") from error
