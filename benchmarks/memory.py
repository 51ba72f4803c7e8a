"""How much memory this process has, and had at most, as Linux tells it. Elsewhere nothing is known: None."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident() -> int | None:
    """Bytes of physical memory that the process has now."""
    return _read("VmRSS")


def peak() -> int | None:
    """Bytes that it had at most, since it began or since `reset_peak`."""
    return _read("VmHWM")


def reset_peak() -> bool:
    """Give back what was freed, and measure the peak from here on. Whether that was possible."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what is freed
        CLEAR.write_text("5")  # proc(5): VmHWM becomes VmRSS
    except (OSError, AttributeError, TypeError):
        return False
    return True


def _read(field: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), None)
