"""`minidl doctor`: what minidl runs on here, what is missing and what would make it faster, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidl import process
from minidl.backend import DeviceError, device, gpu_module
from minidl.inspection import settings
from minidl.kernels import threads
from minidl.version import __version__


@dataclass(frozen=True)
class Finding:
    """One line of the report. `advice` is a command or a sentence; empty when there is nothing to do."""

    subject: str
    state: str
    advice: str = ""


# What each optional package is for, and the extra it comes with.
OPTIONAL = {
    "rich": ("progress bars", "show"),
    "matplotlib": ("pictures", "show"),
    "safetensors": ("checkpoints other libraries can read", "test"),
    "threadpoolctl": ("computing on several threads, and for this report's BLAS line", "fast"),
    "pytest": ("the tests", "test"),
    "hypothesis": ("the tests", "test"),
    "torch": ("comparisons with PyTorch", "compare"),
    "torchvision": ("comparisons with its networks", "compare"),
    "timm": ("comparisons with its networks", "compare"),
}


INSTALL_THREADPOOLCTL = 'pip install threadpoolctl (or "minidl[fast]")'


def examine() -> list[Finding]:
    """What is here, and what is missing."""
    return [
        Finding("minidl", __version__),
        Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("processor", _processor()),
        Finding("CPU cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        Finding("NumPy", np.__version__),
        *_blas(),
        _threads(),
        _gpu(),
        *(_optional(name, purpose, extra) for name, (purpose, extra) in OPTIONAL.items()),
    ]


def _processor() -> str:
    """Its name, as Linux tells it; elsewhere as Python does."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _blas() -> list[Finding]:
    """The library behind NumPy's matrix products: nearly all of the time of a network is spent in it."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return [Finding("BLAS", "unknown", INSTALL_THREADPOOLCTL)]
    np.ones((2, 2)) @ np.ones((2, 2))
    libraries = [info for info in threadpool_info() if info["user_api"] == "blas"]
    if not libraries:
        return [Finding("BLAS", "none that threadpoolctl recognises")]
    return [
        Finding(
            "BLAS",
            f"{info['internal_api']} {info['version']}, kernels {info.get('architecture', 'unknown')}, "
            f"{info['num_threads']} thread(s)",
        )
        for info in libraries
    ]


def _threads() -> Finding:
    try:
        n = threads.get_num_threads()
    except ValueError as error:
        return Finding("threads", "minidl cannot compute", str(error))
    said = f", as {threads.VARIABLE} says" if os.environ.get(threads.VARIABLE) else ""
    try:
        import threadpoolctl  # noqa: F401
    except ModuleNotFoundError:
        state = f"{n}{said}, by BLAS alone: without threadpoolctl minidl computes on one"
        return Finding("threads", state, INSTALL_THREADPOOLCTL if n > 1 else "")
    return Finding("threads", f"{n}{said}")


def measure() -> list[Finding]:
    """How fast the process computes, and what would make it faster. Takes a few seconds."""
    return [_measured("matrix products", _matrix_products), _measured("new arrays", _new_arrays)]


def _measured(subject: str, measure: Callable[[], tuple[str, str]]) -> Finding:
    try:
        return Finding(subject, *measure())
    except settings.NotMeasured as error:
        return Finding(subject, str(error))


def _matrix_products() -> tuple[str, str]:
    """Their speed with the kernels that BLAS runs, and with those that it should run."""
    recommended = process.recommended_environment()
    state = f"{settings.matrix_products({}) / 1e9:.0f} GFLOP/s in float32"
    if not recommended:
        return state, ""
    asked = " ".join(f"{name}={value}" for name, value in recommended.items())
    state += f"; {settings.matrix_products(recommended) / 1e9:.0f} with {asked}"
    found = " ".join(f"{name}={os.environ[name]}" for name in recommended if name in os.environ)
    if found:
        return state, f"your environment has {found}: unset it, or set {asked}"
    return state, f"export {asked} before Python starts; minidl demo, train and profile do so themselves"


def _new_arrays() -> tuple[str, str]:
    """How fast they are written, and how fast where freed memory is kept."""
    by_default, kept = settings.new_arrays()
    state = f"written at {by_default / 1e9:.1f} GB/s"
    if kept is None:
        return f"{state}; that freed memory is kept can be set with glibc only", ""
    advice = "minidl.process.keep_freed_memory() where your program starts; minidl demo, train and profile do so"
    return f"{state}; at {kept / 1e9:.1f} where freed memory is kept", advice if kept > 1.2 * by_default else ""


def _gpu() -> Finding:
    try:
        device("gpu")
    except DeviceError as error:
        return Finding("GPU", "not usable; everything runs on the CPU", str(error))
    gpu = gpu_module()
    properties = gpu.cuda.runtime.getDeviceProperties(0)
    return Finding("GPU", f"{properties['name'].decode()}, CuPy {gpu.__version__}")


def _optional(name: str, purpose: str, extra: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, f"not installed; it is for {purpose}", f'pip install "minidl[{extra}]"')


def report() -> str:
    """The findings as aligned lines, advice under what it belongs to."""
    findings = examine() + measure()
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.subject:<{width}}  {finding.state}")
        if finding.advice:
            lines.append(f"{'':<{width}}  → {finding.advice}")
    return "\n".join(lines)
