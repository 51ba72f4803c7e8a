"""On what the figures were measured: the machine, and the state of this project."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from minidl import doctor
from minidl.backend import gpu_module

ROOT = Path(__file__).resolve().parents[1]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(device: str) -> dict[str, Any]:
    """What stays the same from run to run. Only figures of one machine are kept in one file."""
    findings = {finding.subject: finding.state for finding in doctor.examine()}
    gpu = None
    if device == "gpu":
        gpu = gpu_module().cuda.runtime.getDeviceProperties(0)["name"].decode()
    return {"processor": findings["processor"], "cores": cores(), "system": platform.system(), "gpu": gpu}


def name(machine: dict[str, Any]) -> str:
    """For a file: "amd-epyc-2-cores"."""
    words = f"{machine['processor']} {machine['cores']} cores {machine['gpu'] or ''}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def state() -> dict[str, str]:
    """What may change from run to run."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def commit() -> str:
    """The commit that is checked out, with a + where files differ from it; "unknown" outside a repository."""
    head, changes = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return "unknown" if head is None else head + ("+" if changes else "")


def _git(*arguments: str) -> str | None:
    try:
        process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return process.stdout.strip() if process.returncode == 0 else None
