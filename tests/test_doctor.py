"""`minidl doctor`: it names what is here, and for all that is missing the command that installs it."""

import configparser
import importlib.metadata
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minidl import backend, doctor, process
from minidl.backend import DeviceError
from minidl.inspection import settings
from minidl.kernels import threads
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


# ----------------------------------------------------------------------------------------------------------- threads


def test_how_many_threads(use_threads, monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(threadpool_info=list))
    use_threads(3)
    assert findings()["threads"] == doctor.Finding("threads", "3")
    monkeypatch.setenv(threads.VARIABLE, "3")
    assert findings()["threads"].state == "3, as MINIDL_NUM_THREADS says"


def test_threads_without_threadpoolctl(use_threads, monkeypatch):
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    use_threads(2)
    found = findings()["threads"]
    assert found.state == "2, by BLAS alone: without threadpoolctl minidl computes on one"
    assert found.advice == 'pip install threadpoolctl (or "minidl[fast]")'
    use_threads(1)
    assert findings()["threads"].advice == ""


def test_a_wrong_number_of_threads(monkeypatch):
    def wrong():
        raise ValueError("MINIDL_NUM_THREADS: expected an integer of at least 1, got 'all'")

    monkeypatch.setattr(threads, "get_num_threads", wrong)
    found = findings()["threads"]
    assert (found.state, found.advice) == (
        "minidl cannot compute",
        "MINIDL_NUM_THREADS: expected an integer of at least 1, got 'all'",
    )


# ---------------------------------------------------------------------------------------------------- what it is worth


@pytest.fixture
def worth(monkeypatch):
    """A function that says what is measured: FLOP/s by environment, and bytes/s written to new arrays."""

    def measured(products, arrays=(5e9, 20e9), recommended=None):
        monkeypatch.setattr(process, "recommended_environment", lambda: recommended or {})
        monkeypatch.setattr(settings, "matrix_products", lambda environment: products[bool(environment)])
        monkeypatch.setattr(settings, "new_arrays", lambda: arrays)
        return {finding.subject: finding for finding in doctor.measure()}

    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    return measured


SKYLAKE = {"OPENBLAS_CORETYPE": "SkylakeX"}


def test_matrix_products_where_nothing_is_to_be_changed(worth):
    products = worth([412.3e9, None])["matrix products"]
    assert (products.state, products.advice) == ("412 GFLOP/s in float32", "")


def test_matrix_products_with_kernels_that_suit_better(worth, monkeypatch):
    products = worth([210e9, 420e9], recommended=SKYLAKE)["matrix products"]
    assert products.state == "210 GFLOP/s in float32; 420 with OPENBLAS_CORETYPE=SkylakeX"
    assert products.advice.startswith("export OPENBLAS_CORETYPE=SkylakeX before Python starts; minidl demo, train and")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    products = worth([210e9, 420e9], recommended=SKYLAKE)["matrix products"]
    assert products.advice == (
        "your environment has OPENBLAS_CORETYPE=Haswell: unset it, or set OPENBLAS_CORETYPE=SkylakeX"
    )


def test_memory_that_is_kept(worth):
    arrays = worth([1e9, None])["new arrays"]
    assert arrays.state == "written at 5.0 GB/s; at 20.0 where freed memory is kept"
    assert arrays.advice.startswith("minidl.process.keep_freed_memory() where your program starts")
    assert worth([1e9, None], arrays=(5e9, 5.9e9))["new arrays"].advice == "", "not worth it"
    arrays = worth([1e9, None], arrays=(5e9, None))["new arrays"]
    assert (arrays.state, arrays.advice) == (
        "written at 5.0 GB/s; that freed memory is kept can be set with glibc only",
        "",
    )


def test_what_could_not_be_measured_is_said(worth, monkeypatch):
    def fail(*arguments):
        raise settings.NotMeasured("not measured: because")

    worth([1e9, None])
    monkeypatch.setattr(settings, "matrix_products", fail)
    monkeypatch.setattr(settings, "new_arrays", fail)
    assert doctor.measure() == [
        doctor.Finding("matrix products", "not measured: because"),
        doctor.Finding("new arrays", "not measured: because"),
    ]


# ------------------------------------------------------------------------------------------------------------ report


def test_the_report_has_every_finding_in_columns_and_advice_below_it(installed, worth):
    installed()
    found = [*doctor.examine(), *worth([210e9, 420e9], recommended=SKYLAKE).values()]
    lines = doctor.report().splitlines()
    start = max(len(finding.subject) for finding in found) + 2
    assert len(lines) == len(found) + sum(1 for finding in found if finding.advice)
    for finding in found:
        at = lines.index(f"{finding.subject:<{start}}{finding.state}")
        if finding.advice:
            assert lines[at + 1] == " " * start + f"→ {finding.advice}"
