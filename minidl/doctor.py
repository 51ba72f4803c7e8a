"""`minidl doctor`: what minidl runs on here, what is missing, and the command that installs it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

import numpy as np

from minidl.backend import DeviceError, device, gpu_module
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
    "threadpoolctl": ("this report's BLAS line", "bench"),
    "pytest": ("the tests", "test"),
    "hypothesis": ("the tests", "test"),
    "torch": ("comparisons with PyTorch", "bench"),
    "torchvision": ("comparisons with its networks", "compare"),
    "timm": ("comparisons with its networks", "compare"),
}


def examine() -> list[Finding]:
    """Everything `minidl doctor` prints."""
    return [
        Finding("minidl", __version__),
        Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("processor", _processor()),
        Finding("CPU cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        Finding("NumPy", np.__version__),
        *_blas(),
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
        return [Finding("BLAS", "unknown", 'pip install threadpoolctl (or "minidl[bench]") to see kernels and threads')]
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
    findings = examine()
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.subject:<{width}}  {finding.state}")
        if finding.advice:
            lines.append(f"{'':<{width}}  → {finding.advice}")
    return "\n".join(lines)
