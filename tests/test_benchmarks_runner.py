"""Running a case: answers are checked before anything is timed, rows take turns, and one that fails harms no other."""

import numpy as np
import pytest
from benchmark_fakes import RELU, FakeEngine, FakeRunner, failing, right

from benchmarks import runner as runner_module
from benchmarks.runner import LEAST, MOST


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(runner_module.time, "sleep", lambda seconds: None)


def wrong(case):
    return {"y": right(case)["y"] * 1.001}


def test_rows_take_turns_and_each_round_begins_with_another():
    runner = FakeRunner({"a": {}, "b": {}, "c": {}}, rounds=4)
    found = runner.measure(RELU, ["a", "b", "c"])
    assert runner.commands("turn") == [*"abc", *"bca", *"cab", *"abc"]
    assert {row: of_row["seconds"] for row, of_row in found.items()} == dict.fromkeys("abc", [0.5] * 4)


def test_all_are_checked_before_any_is_timed():
    runner = FakeRunner({"a": {}, "b": {}}, rounds=2)
    runner.measure(RELU, ["a", "b"])
    commands = [command for command, _ in runner.log]
    assert commands.index("turn") > max(i for i, command in enumerate(commands) if command == "answer")


def test_the_samples_are_what_the_worker_measured_for_its_repeats():
    times = iter([0.1, 0.2, 0.3])
    asked = []

    def turn(repeats):
        asked.append(repeats)
        return next(times)

    runner = FakeRunner({"a": {"repeats": 7, "turn": turn}}, rounds=3)
    found = runner.measure(RELU, ["a"])["a"]
    assert found["seconds"] == [0.1, 0.2, 0.3]
    assert asked == [7, 7, 7]
    assert found["repeats"] == 7


def test_there_is_a_pause_before_every_turn(monkeypatch):
    runner = FakeRunner({"a": {}, "b": {}}, rounds=2)
    monkeypatch.setattr(runner_module.time, "sleep", lambda seconds: runner.log.append(("pause", seconds)))
    runner.measure(RELU, ["a", "b"])
    turns = [i for i, (command, _) in enumerate(runner.log) if command == "turn"]
    assert [runner.log[i - 1] for i in turns] == [("pause", runner_module.PAUSE)] * 4
    assert runner_module.PAUSE > 0.03  # an idle thread of OpenBLAS looks out for work for 2²⁶ cycles


@pytest.mark.parametrize(("a_round", "rounds"), [(0.01, MOST), (0.1, 10), (10, LEAST)])
def test_rounds_go_on_for_the_seconds_of_the_case(monkeypatch, a_round, rounds):
    clock = [0.0]
    monkeypatch.setattr(runner_module.time, "monotonic", lambda: clock[0])

    def turn(repeats):
        clock[0] += a_round * 1.0001
        return a_round

    found = FakeRunner({"a": {"turn": turn}}).measure(RELU, ["a"])
    assert len(found["a"]["seconds"]) == rounds


# ----------------------------------------------------------------------------------------------------- what goes wrong


def test_a_wrong_answer_is_refused_and_not_timed():
    runner = FakeRunner({"right": {}, "wrong": {"answer": wrong}}, rounds=3)
    found = runner.measure(RELU, ["right", "wrong"])
    assert runner.commands("turn") == ["right"] * 3
    assert found["wrong"].keys() == {"refused"}
    assert "y: off by 1.0e-03 of its size, 0.0001 is allowed" in found["wrong"]["refused"]
    assert found["right"]["error"] < 1e-7


@pytest.mark.parametrize("command", ["load", "answer", "repeats", "turn", "memory"])
def test_a_worker_that_fails_harms_no_other(command):
    runner = FakeRunner({"good": {}, "bad": {command: failing}}, rounds=3)
    found = runner.measure(RELU, ["bad", "good"])
    assert found["bad"] == {"failed": "its process ended with status 1: out of luck"}
    assert found["good"]["seconds"] == [0.5] * 3
    assert list(found) == ["bad", "good"]


def test_what_cannot_run_is_skipped_with_its_reason_and_starts_no_process():
    engines = {"absent": FakeEngine("torch not installed: pip install torch")}
    runner = FakeRunner({"a": {}, "absent": {}}, engines, rounds=1)
    found = runner.measure(RELU, ["absent", "a"])
    assert found["absent"] == {"skipped": "torch not installed: pip install torch"}
    assert {row for _, row in runner.log} == {"a"}


def test_what_takes_long_to_start_is_left_out_unless_it_is_named():
    engines = {"slow": FakeEngine(left_out="compiling takes minutes")}
    assert FakeRunner({"slow": {}}, engines, rounds=1).measure(RELU, ["slow"]) == {
        "slow": {"skipped": "compiling takes minutes"}
    }
    named = FakeRunner({"slow": {}}, engines, rounds=1, asked_for=["slow"]).measure(RELU, ["slow"])
    assert named["slow"]["seconds"] == [0.5]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_workers_are_closed_however_it_ends(error):
    runner = FakeRunner({"a": {}, "b": {"turn": 0.5 if error is None else error}}, rounds=2)
    if error is None:
        runner.measure(RELU, ["a", "b"])
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.measure(RELU, ["a", "b"])
    assert sorted(runner.commands("close")) == ["a", "b"]


# ------------------------------------------------------------------------------------------------- what else is written


def test_memory_and_what_was_running_are_written_down():
    running = {"version": "2.1", "blas": "Haswell", "environment": {"OMP_NUM_THREADS": "2"}}
    found = FakeRunner({"a": {"load": running}}, rounds=1).measure(RELU, ["a"])["a"]
    assert found.items() >= {**running, "peak_bytes": 3, "baseline_bytes": 1}.items()


def test_a_worker_has_the_environment_of_its_row_and_the_threads_of_the_case():
    seen = []

    class Recorder(FakeRunner):
        def _started(self, purpose, environment, threads, workers):
            seen.append((environment, threads))
            return super()._started(purpose, environment, threads, workers)

    runner = Recorder({"a": {}}, rounds=1, kernels={"KERNELS": "new"})
    runner.measure(RELU, ["a"])
    one_thread = type(RELU)("made-up/relu/1", "relu", "forward", (4, 4), threads=1)
    runner.measure(one_thread, ["a"])
    assert [threads for _, threads in seen] == [2, 1]
    assert seen[0][0] == {"ROW": "a", "THREADS": "2", "KERNELS": "new"}


def test_kept_workers_serve_the_next_case_and_are_closed_at_the_end():
    started = []
    with FakeRunner({"a": {}}, rounds=1, keep=True) as runner:
        start = runner.start
        runner.start = lambda environment, threads: started.append(threads) or start(environment, threads)
        runner.measure(RELU, ["a"])
        runner.measure(RELU, ["a"])
        assert started == [2]
        assert "close" not in dict(runner.log)
        next(iter(runner._kept.values())).alive = False  # as after a crash
        runner.measure(RELU, ["a"])
        assert started == [2, 2]
    assert runner.commands("close") == ["a"]


# ------------------------------------------------------------------------------------------------ files and references


class Exporting(FakeEngine):
    exporters = ("first", "second")

    def __init__(self, name):
        super().__init__()
        self.file = name

    def needs(self, case):
        return self.file


def test_files_are_made_once_in_their_order_before_the_engine_starts():
    engines = {name: Exporting(name) for name in ("first", "second", "third")}
    runner = FakeRunner({"export": {"export": None}, "third": {}}, engines, rounds=1, kernels={"ROW": "export"})
    exported = []
    runner.start = lambda environment, threads: starting(environment)

    def starting(environment):
        from benchmark_fakes import FakeWorker

        script = {"export": lambda engine, case, folder: exported.append((engine, str(folder)))}
        return FakeWorker("third", script, runner.log)

    runner.measure(RELU, ["third"])
    runner.measure(RELU, ["third"])
    assert exported == [("first", "nowhere"), ("second", "nowhere")]
    commands = [command for command, _ in runner.log]
    assert commands.index("load") > max(i for i, command in enumerate(commands) if command == "export")


NETWORK = type(RELU)("made-up/network/forward", "network", "forward", (2, 8, 8, 1), {"network": "resnet_small"})


def test_networks_are_compared_with_the_reference():
    scores = np.arange(6.0).reshape(2, 3) + 1

    def off_by(share):
        return {"answer": lambda case: {"y": scores * (1 + share)}}

    scripts = {"minidl/reference": off_by(0), "good": off_by(1e-4), "bad": off_by(1e-2)}
    runner = FakeRunner(scripts, rounds=1)
    found = runner.measure(NETWORK, ["good", "bad"])
    assert found["good"]["seconds"]
    assert found["good"]["error"] == pytest.approx(1e-4)
    assert "off by 1.0e-02" in found["bad"]["refused"]
    assert "turn" not in [command for command, row in runner.log if row == "minidl/reference"]


def test_without_a_reference_nothing_is_timed():
    runner = FakeRunner({"minidl/reference": {"answer": failing}, "a": {}}, rounds=1)
    found = runner.measure(NETWORK, ["a"])
    assert "there is no answer to check it with: its process ended" in found["a"]["failed"]
    assert runner.commands("turn") == []
