"""How a program prepares its process: what is recommended, that a program begins again at most once, and that memory
stays. `import minidl` does none of it."""

import builtins
import contextlib
import ctypes
import io
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minidl import process

ROOT = Path(__file__).resolve().parents[1]
SKYLAKE = {"OPENBLAS_CORETYPE": "SkylakeX"}
FLAGS = "fpu sse2 avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512vbmi"


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this the machine: its processor's flags, and (name, kernels) of its BLAS libraries."""

    def be(flags, *libraries):
        text = f"processor : 0\nmodel name : A\nflags\t\t: {flags}\n\nprocessor : 1\nflags : none\n"
        real = builtins.open

        def fake(path, *arguments, **options):
            return io.StringIO(text) if path == "/proc/cpuinfo" else real(path, *arguments, **options)

        monkeypatch.setattr(builtins, "open", fake)
        known = [{"user_api": "blas", "internal_api": api, "architecture": kernels} for api, kernels in libraries]
        monkeypatch.setitem(sys.modules, "threadpoolctl", SimpleNamespace(threadpool_info=lambda: known))

    return be


def run(code, **environment):
    """What a new Python prints that runs this code."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


# ------------------------------------------------------------------------------------------------------- recommended


@pytest.mark.parametrize(
    ("flags", "library", "expected"),
    [
        (FLAGS, ("openblas", "Haswell"), SKYLAKE),
        (FLAGS, ("openblas", "Zen"), SKYLAKE),
        (FLAGS, ("openblas", "haswell"), SKYLAKE),  # in a build for one kind of processor
        (FLAGS, ("openblas", "SkylakeX"), {}),
        (FLAGS, ("openblas", "Cooperlake"), {}),
        (FLAGS, ("openblas", None), {}),
        (FLAGS, ("mkl", "Haswell"), {}),
        (FLAGS.replace("avx512cd ", ""), ("openblas", "Haswell"), {}),
        ("fpu sse2 avx2", ("openblas", "Haswell"), {}),
        ("", ("openblas", "Haswell"), {}),
    ],
)
def test_kernels_for_avx512_where_those_for_avx2_run(machine, flags, library, expected):
    machine(flags, library)
    assert process.recommended_environment() == expected


def test_every_library_is_looked_at(machine):
    machine(FLAGS, ("mkl", None), ("openblas", "SkylakeX"), ("openblas", "Zen"))
    assert process.recommended_environment() == SKYLAKE


def test_nothing_is_recommended_where_nothing_is_known(machine, monkeypatch):
    machine(FLAGS, ("openblas", "Haswell"))
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert process.recommended_environment() == {}
    machine(FLAGS, ("openblas", "Haswell"))

    def no_such_file(path, *arguments, **options):
        raise FileNotFoundError(path)

    monkeypatch.setattr(builtins, "open", no_such_file)
    assert process.processor_flags() == set()
    assert process.recommended_environment() == {}


def test_a_processor_that_lists_no_flags(machine, monkeypatch):
    machine("")
    monkeypatch.setattr(builtins, "open", lambda *arguments, **options: io.StringIO("processor : 0\nFeatures : neon\n"))
    assert process.processor_flags() == set()


# ----------------------------------------------------------------------------------------------------------- prepare


@pytest.fixture
def prepared(monkeypatch):
    """What `prepare` does, in order, on a machine where the recommended kernels are not those that run."""
    done = []
    monkeypatch.setattr(process, "recommended_environment", lambda: SKYLAKE)
    monkeypatch.setattr(process, "keep_freed_memory", lambda: done.append("memory"))

    def execve(path, arguments, environment):
        done.append((path, arguments, environment))
        raise SystemExit  # the real one does not return

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.delenv(process.SWITCH, raising=False)

    def call():
        done.clear()
        with contextlib.suppress(SystemExit):
            process.prepare()
        return done

    return call


def test_a_program_begins_again_with_what_its_environment_lacks(prepared, monkeypatch):
    monkeypatch.setenv("OTHER", "stays")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "program.py", "--option"])
    ((path, arguments, environment),) = prepared()
    assert (path, arguments) == (sys.executable, [sys.executable, "-X", "dev", "program.py", "--option"])
    assert environment == {**os.environ, **SKYLAKE}
    assert "OPENBLAS_CORETYPE" not in os.environ


@pytest.mark.parametrize("value", ["SkylakeX", "Haswell", ""])
def test_what_is_set_stays_and_the_program_goes_on(prepared, monkeypatch, value):
    monkeypatch.setenv("OPENBLAS_CORETYPE", value)
    assert prepared() == ["memory"]


def test_where_nothing_is_recommended_the_program_goes_on(prepared, monkeypatch):
    monkeypatch.setattr(process, "recommended_environment", dict)
    assert prepared() == ["memory"]


def test_where_python_does_not_know_its_own_file_the_program_goes_on(prepared, monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    assert prepared() == ["memory"]


def test_a_user_can_ask_for_nothing(prepared, monkeypatch):
    monkeypatch.setenv(process.SWITCH, "0")
    assert prepared() == []
    monkeypatch.setenv(process.SWITCH, "1")
    assert len(prepared()) == 1


def test_a_real_program_begins_again_once():
    code = """
import os, sys
from minidl import process
process.recommended_environment = lambda: {"ANOTHER_SETTING": "a value"}
before = os.environ.get("ANOTHER_SETTING")
process.prepare()
print(before, os.getpid(), sys.flags.optimize, flush=True)
"""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    variables.pop(process.SWITCH, None)
    command = [sys.executable, "-O", "-c", code]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as program:
        out, _ = program.communicate(timeout=60)
    assert (program.returncode, out) == (0, f"a value {program.pid} 1\n")


def test_importing_minidl_prepares_nothing():
    code = """
import json, os, sys
before = dict(os.environ)
import minidl
print(json.dumps([before == dict(os.environ), "minidl.process" in sys.modules]))
"""
    assert json.loads(run(code)[0]) == [True, False]


# ------------------------------------------------------------------------------------------------------------ memory

FAULTS = """
import resource, threading
import numpy as np
from minidl import process

def step(sizes):
    arrays = [np.ones(MB * 2**17) for MB in sizes]

def faults(sizes):
    step(sizes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        step(sizes)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

KEEP
faults([30, 30, 70, 12, 1])
thread = threading.Thread(target=faults, args=([2, 4, 8, 16, 16, 16, 16],))
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_used_again_without_asking_the_system():
    """Page faults: how often memory was touched that was not there yet; in the main thread, and in another."""
    by_default = [int(line) for line in run(FAULTS.replace("KEEP", ""))]
    kept = [int(line) for line in run(FAULTS.replace("KEEP", "assert process.keep_freed_memory()"))]
    assert min(by_default) > 50
    assert max(kept) < 20


def test_what_the_c_library_is_told(monkeypatch):
    told = []
    answers = {parameter: 1 for parameter in (-1, -4, -8)}
    library = SimpleNamespace(
        gnu_get_libc_version=None,
        mallopt=lambda parameter, value: told.append((parameter, value)) or answers[parameter],
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    assert process.keep_freed_memory() is True
    assert sorted(told) == [(-8, 1), (-4, 0), (-1, -1)]
    answers[-8] = 0
    assert process.keep_freed_memory() is False


def test_other_c_libraries_are_left_alone(monkeypatch):
    def mallopt(parameter, value):
        raise AssertionError("called")

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    assert process.keep_freed_memory() is False
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(gnu_get_libc_version=None))
    assert process.keep_freed_memory() is False
    for error in (TypeError("on Windows"), OSError("no such library")):

        def missing(name, error=error):
            raise error

        monkeypatch.setattr(ctypes, "CDLL", missing)
        assert process.keep_freed_memory() is False
