"""What settings are worth: measured in a real new process, and said where that fails."""

import subprocess
import sys

import pytest

from minidl.inspection import settings
from minidl.inspection.settings import NotMeasured


def test_matrix_products_in_a_new_process():
    assert settings.matrix_products({"MINIDL_NUM_THREADS": "1"}) > 0


def test_new_arrays_in_a_new_process():
    by_default, kept = settings.new_arrays()
    assert by_default > 0
    assert kept is None or kept > 0


def test_the_new_process_has_the_environment():
    with pytest.raises(NotMeasured, match="MINIDL_NUM_THREADS: expected an integer of at least 1, got 'many'"):
        settings.matrix_products({"MINIDL_NUM_THREADS": "many"})


def test_where_memory_cannot_be_kept(monkeypatch):
    monkeypatch.setattr(settings, "_writing", lambda: 3.0)
    monkeypatch.setattr(settings.process, "keep_freed_memory", lambda: False)
    assert settings.arrays_here() == (3.0, None)
    monkeypatch.setattr(settings.process, "keep_freed_memory", lambda: True)
    assert settings.arrays_here() == (3.0, 3.0)


def test_the_best_of_what_was_written(monkeypatch):
    ticks = iter([0.0, 0.0, 0.4, 0.4, 0.6, 0.6, 0.7, 0.7, 1.0, 1.0])
    monkeypatch.setattr(settings.clock, "now", lambda device: next(ticks))
    monkeypatch.setattr(settings, "ARRAYS", (1, 2))
    monkeypatch.setattr(settings, "SECONDS", 0.0)
    assert settings._writing() == pytest.approx(3 * 2**20 / 0.1)


def test_when_python_cannot_be_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NotMeasured, match="no answer from a new Python: .*/nowhere/python"):
        settings.new_arrays()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (subprocess.CalledProcessError(1, "python", stderr="lines\nValueError: last\n"), "ended with ValueError: last"),
        (subprocess.CalledProcessError(-9, "python", stderr=""), "ended with status -9"),
        (subprocess.TimeoutExpired("python", 20), "no answer from a new Python: .*timed out"),
        (subprocess.CompletedProcess("python", 0, stdout="not a number"), "no answer from a new Python"),
    ],
)
def test_when_the_new_process_fails(monkeypatch, result, message):
    def run(*arguments, **options):
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(NotMeasured, match=message):
        settings.matrix_products({})
