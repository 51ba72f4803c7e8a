"""`minidl doctor`: it names what is here, and for all that is missing the command that installs it."""

import configparser
import importlib.metadata
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import backend, doctor
from minidl.backend import DeviceError
from minidl.version import __version__

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(monkeypatch):
    """A function that makes exactly these packages installed, as far as their metadata say."""

    def install(**versions):
        def version(name):
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return install


def findings():
    return {finding.subject: finding for finding in doctor.examine()}


def test_what_is_here():
    found = findings()
    assert found["minidl"].state == __version__
    assert found["NumPy"].state == np.__version__
    assert found["Python"].state.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert int(found["CPU cores"].state) >= 1


def test_what_is_missing_comes_with_the_command_that_installs_it(installed):
    installed(rich="13.1")
    found = findings()
    assert (found["rich"].state, found["rich"].advice) == ("13.1", "")
    for name, (purpose, extra) in doctor.OPTIONAL.items():
        if name != "rich":
            assert found[name].state == f"not installed; it is for {purpose}"
            assert found[name].advice == f'pip install "minidl[{extra}]"'


def test_the_extras_named_have_what_they_are_named_for():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"]
    for name, (_, extra) in doctor.OPTIONAL.items():
        assert re.search(rf"^{name}\b", extras[extra], re.MULTILINE), f"{name} does not come with {extra}"


def test_blas_without_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    blas = findings()["BLAS"]
    assert blas.state == "unknown"
    assert "pip install threadpoolctl" in blas.advice


def test_blas_by_threadpoolctl(monkeypatch):
    library = dict(user_api="blas", internal_api="openblas", version="0.3", architecture="Haswell", num_threads=2)
    monkeypatch.setitem(
        sys.modules, "threadpoolctl", SimpleNamespace(threadpool_info=lambda: [{"user_api": "openmp"}, library])
    )
    assert findings()["BLAS"].state == "openblas 0.3, kernels Haswell, 2 thread(s)"
    del library["architecture"]  # not every library tells
    assert findings()["BLAS"].state == "openblas 0.3, kernels unknown, 2 thread(s)"
    monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(threadpool_info=list))
    assert findings()["BLAS"].state.startswith("none")


def test_without_a_gpu_the_report_says_what_to_do(monkeypatch):
    def device(spec):
        raise DeviceError("needs CuPy: pip install ...")

    monkeypatch.setattr(doctor, "device", device)
    gpu = findings()["GPU"]
    assert (gpu.state, gpu.advice) == ("not usable; everything runs on the CPU", "needs CuPy: pip install ...")


def test_with_a_gpu_the_report_names_it(monkeypatch):
    runtime = SimpleNamespace(getDeviceProperties=lambda index: {"name": b"A GPU"})
    cupy = SimpleNamespace(__version__="13.6", cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(doctor, "device", lambda spec: backend.Device("gpu"))
    monkeypatch.setattr(doctor, "gpu_module", lambda: cupy)
    assert findings()["GPU"] == doctor.Finding("GPU", "A GPU, CuPy 13.6")


def test_the_report_has_every_finding_in_columns_and_advice_below_it(installed):
    installed()
    lines = doctor.report().splitlines()
    found = doctor.examine()
    start = max(len(finding.subject) for finding in found) + 2
    assert len(lines) == len(found) + sum(1 for finding in found if finding.advice)
    for finding in found:
        at = lines.index(f"{finding.subject:<{start}}{finding.state}")
        if finding.advice:
            assert lines[at + 1] == " " * start + f"→ {finding.advice}"
