"""The process of an engine: commands and replies, what becomes of errors, and memory."""

import io
import pickle
import sys

import numpy as np
import pytest
from benchmark_fakes import RELU, right

from benchmarks import memory, worker
from benchmarks.case import START, Case
from benchmarks.engines import work
from benchmarks.engines.engine import Setting
from benchmarks.engines.work import Work
from benchmarks.handle import Worker, WorkerError

linux = sys.platform == "linux"


class Tiny:
    """An engine that computes a ReLU, and 0.01 s later by a clock that it brings along."""

    def load(self, row, case, setting):
        self.row = row

    def version(self):
        return "0.1"

    def prepare(self, row, case, setting):
        return Work(lambda: None, lambda: right(case), lambda run, repeats: 0.01)


def exchange(monkeypatch, tmp_path, *commands):
    """What a worker replies to commands."""
    monkeypatch.setattr(worker, "engine_of", lambda row: Tiny())
    sent = io.BytesIO(b"".join(pickle.dumps(command) for command in commands))
    received = io.BytesIO()
    worker.serve(sent, received)
    received.seek(0)
    return [pickle.load(received) for _ in commands]


def test_a_case_from_beginning_to_end(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    replies = exchange(
        monkeypatch,
        tmp_path,
        ("load", ("tiny", RELU, Setting(tmp_path, 2))),
        ("answer", (RELU,)),
        ("repeats", (0.1,)),
        ("turn", (10,)),
        ("memory", ()),
        ("finish", ()),
    )
    assert [kind for kind, _ in replies] == ["ok"] * 6
    running, answer, repeats, seconds, used, _ = [value for _, value in replies]
    assert running["version"] == "0.1"
    assert running["environment"]["OMP_NUM_THREADS"] == "2"
    assert "HOME" not in running["environment"]
    np.testing.assert_array_equal(answer["y"], right(RELU)["y"])
    assert repeats == 10  # of 0.01 s
    assert seconds == 0.01
    assert used.keys() == {"peak_bytes", "baseline_bytes"}
    if linux:
        assert used["peak_bytes"] > 0


def test_an_error_is_a_reply_and_the_worker_goes_on(monkeypatch, tmp_path):
    setting = Setting(tmp_path, 1)
    replies = exchange(monkeypatch, tmp_path, ("turn", (1,)), ("load", ("tiny", RELU, setting)))
    assert replies[0][0] == "error"
    assert "AttributeError" in replies[0][1]
    assert replies[1][0] == "ok"


@pytest.mark.parametrize(
    ("seconds", "least", "repeats"), [(0.01, 0.1, 10), (2.0, 0.1, 1), (0.01, 0.0, 1), (0, 0.1, 10**6)]
)
def test_short_computations_are_repeated(seconds, least, repeats):
    serving = worker.Worker()
    serving.work = Work(lambda: None, dict, lambda run, n: seconds)
    assert serving.repeats(least) == repeats


def test_slow_first_times_do_not_count_for_repeats():
    times = iter([0.2, 0.15, 0.01, 0.02])
    serving = worker.Worker()
    serving.work = Work(lambda: None, dict, lambda run, n: next(times))
    assert serving.repeats(0.1) == 10


def test_a_start_has_no_memory_of_its_own(tmp_path):
    """It is in other processes."""
    start = Case("start/import", "import", START)
    serving = worker.Worker()
    serving.engine, serving.row, serving.setting = Tiny(), "tiny", Setting(tmp_path, 1)
    serving.engine.prepare = lambda row, case, setting: work.of_start("pass")
    assert serving.answer(start) == {}
    assert serving.memory() == {"peak_bytes": None, "baseline_bytes": None}


# --------------------------------------------------------------------------------------------------------- the process


def test_a_real_process_runs_an_engine_with_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    with Worker({"OPENBLAS_VERBOSE": "0"}, threads=1) as process:
        running = process.ask("load", "naive", RELU, Setting(tmp_path, 1))
        assert running["environment"].items() >= {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_VERBOSE": "0"}.items()
        with pytest.raises(WorkerError, match="AttributeError"):
            process.ask("turn", 1)
        assert process.alive
    assert not process.alive


def test_a_process_that_dies_says_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "threadpoolctl.py").write_text("raise SystemExit('no more threads')")  # which loading an engine imports
    with Worker({}, threads=1) as process, pytest.raises(WorkerError, match=r"status 1: no more threads"):
        process.ask("load", "naive", RELU, Setting(tmp_path, 1))


def test_what_an_engine_prints_is_no_reply(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "threadpoolctl.py").write_text("print('hello', flush=True)\ndef threadpool_info(): return []")
    with Worker({}, threads=1) as process:
        assert process.ask("load", "naive", RELU, Setting(tmp_path, 1))["blas"] is None


# -------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.skipif(not linux, reason="Linux tells how much memory a process has")
def test_the_peak_is_that_of_what_came_after_the_reset():
    size = 200_000_000
    array = np.ones(size // 8)
    del array
    assert memory.reset_peak()
    before = memory.peak()
    assert before - memory.resident() < size / 4
    array = np.ones(size // 8)
    del array
    assert memory.peak() - before > 0.9 * size


def test_elsewhere_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "nothing")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "nowhere" / "nothing")
    assert memory.peak() is memory.resident() is None
    assert memory.reset_peak() is False
