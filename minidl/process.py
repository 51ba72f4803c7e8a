"""How a program prepares its own process for computing. A library must not: `import minidl` changes nothing.

Two things outside minidl decide how fast it computes.

**Which kernels BLAS runs.** OpenBLAS, which comes with NumPy, has kernels for each kind of processor and chooses when
it is loaded. An older one does not know a newer processor and takes what suits every processor of the last ten years:
kernels for AVX2, whose registers have half the width of AVX-512's, and products of matrices take twice as long. Or an
environment variable, OPENBLAS_CORETYPE, has chosen for it. The variable is read once, before any code of minidl runs.

**What becomes of freed memory.** The C library of Linux gives large blocks back to the system when they are freed. A
new one is then made of pages that the system has to clear and map, one by one, at the first touch. A training step
frees and allocates the same arrays again and again; kept, their memory is there already.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

SWITCH = "MINIDL_PREPARE"  # set to 0, it has `prepare` do nothing

AVX512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}  # what OpenBLAS's kernels for SkylakeX need
AVX2_KERNELS = {"haswell", "zen"}

# Parameters of mallopt, with the numbers of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def recommended_environment() -> dict[str, str]:
    """The environment variables with which a new process would compute faster than this one; often there are none.

    {"OPENBLAS_CORETYPE": "SkylakeX"} on a processor with AVX-512 where OpenBLAS runs kernels for AVX2 here, by its own
    choice or because the environment says so. Without threadpoolctl it is not known which kernels run, and nothing is
    recommended; nor is it where /proc/cpuinfo does not tell what the processor has.
    """
    runs_avx2 = any(library["architecture"].lower() in AVX2_KERNELS for library in openblas())
    return {"OPENBLAS_CORETYPE": "SkylakeX"} if runs_avx2 and processor_flags() >= AVX512 else {}


def keep_freed_memory() -> bool:
    """Keep memory that is freed in this process, for the arrays that come next. Returns whether that was possible.

    All memory then comes from one heap that only grows: no block is mapped for itself (M_MMAP_MAX = 0), the end of the
    heap is not given back (M_TRIM_THRESHOLD = -1), and threads take from it too instead of from heaps of their own
    (M_ARENA_MAX = 1). The process holds what it needed at its peak until it ends, and its peak is higher by the gaps
    between blocks in use, which fit nothing else.

    It is possible with glibc, the C library of most Linux systems. Elsewhere nothing is changed.
    """
    try:
        c_library = ctypes.CDLL(None)
        c_library.gnu_get_libc_version  # noqa: B018 - is it glibc?
        settings = (M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_ARENA_MAX, 1)
        return all([c_library.mallopt(parameter, value) == 1 for parameter, value in settings])
    except (AttributeError, OSError, TypeError):  # no such functions; on Windows, no such library
        return False


def prepare() -> None:
    """Prepare this process, in which a program has just begun: it keeps freed memory, and BLAS runs what suits it.

    If the environment lacks a variable that `recommended_environment` has, the program begins again with it, in this
    process, with the same arguments. So it must not have read its input or written anything. A variable that is set
    stays as it is: a second time the program does not begin again, nor is what the user has set overridden.

    With MINIDL_PREPARE=0 in the environment nothing is done.
    """
    if os.environ.get(SWITCH) == "0":
        return
    lacking = {name: value for name, value in recommended_environment().items() if name not in os.environ}
    if lacking and sys.executable:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **lacking})
    keep_freed_memory()


def openblas() -> list[dict[str, Any]]:
    """What threadpoolctl knows of each OpenBLAS in this process that says which kernels it runs."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return []
    return [info for info in threadpool_info() if info["internal_api"] == "openblas" and info.get("architecture")]


def processor_flags() -> set[str]:
    """What the processor has, in Linux's words; empty where that is not known."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((set(line.partition(":")[2].split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return set()
