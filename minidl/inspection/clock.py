"""The time, for measuring how long something takes on a device."""

from __future__ import annotations

import time

from minidl.backend import CPU, Device, active, gpu_module


def now(device: Device) -> float:
    """Seconds from some moment in the past, once the device has done all that it was asked to do.

    A GPU is given work faster than it does it. Read without waiting, a clock would tell how long the asking took.
    """
    if device != CPU:
        with active(device):
            gpu_module().cuda.get_current_stream().synchronize()
    return time.perf_counter()
