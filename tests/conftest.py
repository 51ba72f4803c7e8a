"""Every engine test runs on each array library: NumPy, the stand-in for CuPy, and CuPy where there is a GPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import fakecupy
import numpy as np
import pytest
import report
from hypothesis import HealthCheck, settings

import minidl
from minidl import backend
from minidl.kernels import threads

# "ci" tries the same examples every time; `pytest --hypothesis-profile deep` looks for new ones. All examples of a test
# share its device, and that is meant.
_hypothesis = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("ci", derandomize=True, max_examples=30, **_hypothesis)
settings.register_profile("deep", max_examples=1000, **_hypothesis)
settings.load_profile("ci")

REQUIRE_GPU = os.environ.get("MINIDL_REQUIRE_GPU") == "1"


def pytest_configure(config: pytest.Config) -> None:
    """Some tests interrupt a command, and a shell starts jobs in the background with Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "CUDA_ON_CPU" in os.environ:  # see tests/cuda_on_cpu: new memory is NaN there, which memory from a pool is not
        backend.gpu_module().cuda.set_allocator(None)


def _gpu_missing() -> str:
    """Why there is no usable GPU here; empty when there is one."""
    try:
        minidl.device("gpu")
    except minidl.DeviceError as error:
        return str(error)
    return ""


@pytest.fixture(params=["cpu", "fake", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device a test computes on: "cpu", or "gpu" on the stand-in and, where there is one, on a real GPU."""
    if request.param == "cpu":
        yield "cpu"
    elif request.param == "fake":
        backend.set_gpu_module(fakecupy)
        yield "gpu"
        backend.set_gpu_module(None)
    else:
        yield "gpu"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a GPU its tests are deselected, all at once and said so; MINIDL_REQUIRE_GPU=1 makes that a failure."""
    missing = _gpu_missing()
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if REQUIRE_GPU and (missing or not on_gpu):
        raise pytest.UsageError(f"MINIDL_REQUIRE_GPU=1, but {missing or 'none of the tests chosen runs on a GPU'}")
    if missing:
        config.hook.pytest_deselected(items=on_gpu)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """With MINIDL_REQUIRE_GPU=1 a GPU test that is skipped has failed."""
    report = yield
    if REQUIRE_GPU and report.skipped and item.get_closest_marker("gpu"):
        report.outcome, report.longrepr = "failed", f"MINIDL_REQUIRE_GPU=1, but skipped: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have counted, samples compared and mistakes found; and what tests/mutate.py found last."""
    terminalreporter.section("what was proven")
    for line in [*report.lines, report.mutants()]:
        terminalreporter.line(line)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test starts from the same random numbers, whichever ran before it."""
    minidl.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def use_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """`minidl.set_num_threads` until the test ends. Pieces are shared as if threadpoolctl were installed."""
    monkeypatch.setattr(threads, "_blas_libraries", list)
    before = minidl.get_num_threads()
    yield minidl.set_num_threads
    minidl.set_num_threads(before)
