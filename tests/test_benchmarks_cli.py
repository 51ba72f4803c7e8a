"""`python -m benchmarks`: a whole run, what its commands print, and wrong calls."""

import json
import re

import pytest
from benchmark_fakes import FakeEngine, case, file, row

from benchmarks import cli, machine, measure, progress, report, results
from benchmarks.case import FORWARD, Case
from benchmarks.cases import catalogue
from benchmarks.engines import registry
from benchmarks.handle import WorkerError
from minidl.backend import DeviceError


@pytest.fixture
def measured(monkeypatch):
    """Runs without processes: what `Runner.measure` was asked, and gives; and what the worker for ceilings gives."""

    class Asked:
        pass

    class Runner:
        def __init__(self, folder, threads, device, kernels, **options):
            assert folder.exists()
            Asked.runners.append((threads, device, kernels, options))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def measure(self, case, rows, tell):
            Asked.cases.append((case.name, list(rows)))
            tell("working")
            if isinstance(Asked.rows, BaseException):
                raise Asked.rows
            return Asked.rows

    class Worker:
        def __init__(self, environment, threads):
            self.threads = threads

        __enter__, __exit__ = Runner.__enter__, Runner.__exit__

        def ask(self, command, *arguments):
            return {"kernels": {"NEW": "1"}, "ceilings": {"flops": 1e9 * self.threads, "bytes": 1e9}}[command]

    monkeypatch.setattr(measure, "Runner", Runner)
    monkeypatch.setattr(measure, "Worker", Worker)
    Asked.rows = {"minidl": row(0.1, 0.1), "torch/nchw": row(0.2, 0.2)}
    Asked.rows = {"minidl": row(0.1, 0.1), "torch/nchw": row(0.2, 0.2)}
    Asked.runners, Asked.cases = [], []
    return Asked


# ---------------------------------------------------------------------------------------------------------------- run


def test_a_run_writes_what_it_measured(measured, tmp_path, capsys):
    output = tmp_path / "here.json"
    names = ["conv/tiny/forward", "conv/64@56/forward"]
    status = cli.main(["run", "--cases", *names, "--threads", "2", "--rounds", "7", "--output", str(output)])
    assert status == 0
    found = results.read(output)
    assert list(found["cases"]) == names[::-1], "in the order of the catalogue"
    assert found["ceilings"] == {"2": {"flops": 2e9, "bytes": 1e9}}
    assert found["machine"] == machine.describe("cpu")
    tiny = found["cases"]["conv/tiny/forward"]
    assert (tiny["macs"], tiny["shape"], tiny["threads"], tiny["rows"]) == (36_864, [2, 8, 8, 4], 2, measured.rows)
    assert tiny["commit"] == machine.commit()
    assert measured.runners == [(2, "cpu", {"NEW": "1"}, {"rounds": 7, "asked_for": []})]
    assert measured.cases[0] == ("conv/64@56/forward", registry.rows("cpu"))
    said = capsys.readouterr().out
    assert "minidl 100 ms  PyTorch, NCHW 200 ms  ratio 0.500" in said
    assert f"2 cases are in {output}" in said


def test_other_cases_of_the_file_stay_and_the_same_is_replaced(measured, tmp_path):
    output = tmp_path / "here.json"
    old = file(conv_old_forward=case({"minidl": row(1)}), conv_tiny_forward=case({"minidl": row(1), "naive": row(9)}))
    old["machine"] = machine.describe("cpu")
    results.write(output, old)
    assert cli.main(["run", "--cases", "conv/tiny/forward", "--output", str(output)]) == 0
    found = results.read(output)["cases"]
    assert found["conv/old/forward"] == old["cases"]["conv/old/forward"]
    assert found["conv/tiny/forward"]["rows"] == measured.rows


def test_each_case_is_written_as_soon_as_it_is_done(measured, tmp_path, monkeypatch, capsys):
    output = tmp_path / "here.json"
    monkeypatch.setattr(progress.Lines, "done", lambda self, lines: setattr(measured, "rows", KeyboardInterrupt()))
    assert cli.main(["run", "--cases", "conv/*", "--output", str(output)]) == 130
    assert len(results.read(output)["cases"]) == 1
    assert "python -m benchmarks run: interrupted; cases that were done are kept" in capsys.readouterr().err


def test_results_of_another_machine_are_not_mixed_in(measured, tmp_path, capsys):
    results.write(tmp_path / "theirs.json", file())
    assert cli.main(["run", "--cases", "conv/*", "--output", str(tmp_path / "theirs.json")]) == 2
    assert "choose another --output" in capsys.readouterr().err
    assert measured.cases == []


def test_refused_and_failed_rows_are_named_and_the_status_says_so(measured, tmp_path, capsys):
    measured.rows = {
        "minidl": {"refused": "y: off by 1e-02"},
        "torch/nchw": {"failed": "it ended"},
        "naive": {"skipped": "-"},
    }
    assert cli.main(["run", "--cases", "conv/tiny/forward", "--output", str(tmp_path / "here.json")]) == 1
    said = capsys.readouterr().out
    assert "wrong: conv/tiny/forward: minidl: refused: y: off by 1e-02" in said
    assert "wrong: conv/tiny/forward: PyTorch, NCHW: failed: it ended" in said
    assert "naive" not in said


def test_engines_that_are_named(measured, tmp_path):
    arguments = ["run", "--cases", "conv/tiny/forward", "--output", str(tmp_path / "here.json"), "--engines"]
    cli.main([*arguments, "naive", "torch/compiled"])
    assert measured.cases[-1][1] == ["torch/compiled", "naive"]
    assert measured.runners[-1][3]["asked_for"] == ["torch/compiled", "naive"]
    cli.main([*arguments, "torch"])
    assert measured.runners[-1][3]["asked_for"] == []


def test_cases_with_threads_of_their_own_have_ceilings_of_their_own(measured, tmp_path):
    output = tmp_path / "here.json"
    cli.main(["run", "--cases", "scaling/inference/*", "--threads", "2", "--output", str(output)])
    found = results.read(output)
    assert {n: ceiling["flops"] for n, ceiling in found["ceilings"].items()} == {"1": 1e9, "2": 2e9}
    assert found["cases"]["scaling/inference/threads/1"]["threads"] == 1


def test_smoke_is_tiny_disturbs_nobody_and_keeps_nothing(measured, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "RESULTS", tmp_path)
    assert cli.main(["run", "--smoke"]) == 0
    assert [name for name, _ in measured.cases] == [case.name for case in catalogue.smoke()]
    assert measured.runners == [(1, "cpu", {"NEW": "1"}, {"rounds": 2, "asked_for": [], "turn": 0.0, "keep": True})]
    assert list(tmp_path.iterdir()) == []
    assert "nothing is kept of them" in capsys.readouterr().out


def test_results_go_to_a_file_named_after_the_machine(measured, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results")
    assert cli.main(["run", "--cases", "conv/tiny/forward"]) == 0
    (path,) = (tmp_path / "results").iterdir()
    assert path.name == f"{machine.name(machine.describe('cpu'))}.json"
    amd = {"processor": "AMD EPYC (2nd)", "cores": 2, "gpu": None}
    assert machine.name(amd) == "amd-epyc-2nd-2-cores"
    assert machine.name(amd | {"gpu": "NVIDIA X"}) == "amd-epyc-2nd-2-cores-nvidia-x"


def test_a_real_run_of_two_engines(tmp_path, capsys):
    output = tmp_path / "here.json"
    arguments = ["run", "--smoke", "--cases", "conv/*", "--engines", "minidl*", "naive", "--output", str(output)]
    assert cli.main(arguments) == 0, capsys.readouterr().out
    rows = results.read(output)["cases"]["conv/tiny/forward+backward"]["rows"]
    assert rows.keys() == {"minidl", "minidl/own-kernels", "minidl/im2col", "minidl/winograd", "naive"}
    for of_row in results.measured({"rows": rows}).values():
        assert len(of_row["seconds"]) == 2
        assert 0 < of_row["error"] < 1e-5
        assert of_row["environment"]["OPENBLAS_NUM_THREADS"] == "1"


# ---------------------------------------------------------------------------------------------------- other commands


def test_list_has_cases_with_their_work_and_engines_with_their_state(capsys, monkeypatch):
    class Absent(FakeEngine):
        name, rows = "absent", {"absent": "Absent"}

        def missing(self):
            return "absent not installed: pip install it"

    monkeypatch.setattr(registry, "ENGINES", (*registry.ENGINES, Absent()))
    assert cli.main(["list", "--cases", "conv/tiny/*"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "conv/tiny/forward 2×8×8×4 forward 36,864 multiply-adds"
    assert lines[1].endswith("110,592 multiply-adds")
    assert "naive plain loops: 2 of these cases" in lines
    assert "absent Absent: absent not installed: pip install it" in lines
    assert any(line.startswith("torch/tf32-on PyTorch on CUDA, TF32 on (GPU)") for line in lines)


def test_compare_prints_what_changed(tmp_path, capsys):
    for name, seconds in (("a.json", [1.0, 1.01, 0.99]), ("b.json", [2.0, 2.01, 1.99])):
        results.write(tmp_path / name, file(conv_one_forward=case({"minidl": row(*seconds)})))
    assert cli.main(["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    assert "slower: ×2.00" in capsys.readouterr().out


def test_report_writes_the_page(monkeypatch, tmp_path, capsys):
    page = tmp_path / "README.md"
    page.write_text(f"{report.BEGIN}\n\n{report.END}\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results")
    assert cli.main(["report"]) == 0
    assert report.NOTHING in page.read_text()
    assert "README.md" in capsys.readouterr().out


# -------------------------------------------------------------------------------------------------------- wrong calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--cases", "konv/tiny/forward"], "run: no case 'konv/tiny/forward': did you mean conv/tiny/forward"),
        (["run", "--engines", "tork"], "run: no engine or row 'tork' on the cpu: did you mean torch"),
        (["list", "--cases", "nothing-like-it*"], "list: no case 'nothing-like-it*': `python -m benchmarks list`"),
        (
            ["compare", "no-such-file.json", "b.json"],
            "compare: [Errno 2] No such file or directory: 'no-such-file.json'",
        ),
    ],
)
def test_wrong_calls_say_what_would_be_right(arguments, message, capsys):
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert f"python -m benchmarks {message}" in said


def test_without_a_gpu_it_says_so_before_any_work(measured, monkeypatch, capsys):
    def no_gpu(name):
        raise DeviceError("device 'gpu' needs CuPy, which is not installed")

    monkeypatch.setattr(cli, "device", no_gpu)
    assert cli.main(["run", "--device", "gpu"]) == 2
    assert "run: device 'gpu' needs CuPy, which is not installed" in capsys.readouterr().err
    assert measured.cases == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["run", "--rounds", "0"], "argument --rounds: expected an integer of at least 1, got '0'"),
        (["run", "--threads", "two"], "argument --threads: expected an integer of at least 1, got 'two'"),
        (["run", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["sprint"], "invalid choice: 'sprint'"),
    ],
)
def test_usage_errors(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "list", "compare", "report"])
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    options = {
        "run": ("--cases", "--engines", "--threads", "--device", "--rounds", "--smoke", "--output", "refused"),
        "list": ("--cases",),
        "compare": ("results of before", "bootstrap"),
        "report": ("benchmarks/README.md",),
    }
    assert all(option in said for option in options[command])


# --------------------------------------------------------------------------------------------------- what is shown


def test_lines_without_a_terminal(capsys):
    with progress.display(3) as shown:
        assert type(shown) is progress.Lines
        shown.doing("a round")
        shown.done("a case: 1 ms")
    assert capsys.readouterr().out == "a case: 1 ms\n"


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True, raising=False)
    with progress.display(3) as shown:
        assert type(shown) is progress.Bar
        shown.doing("round 2")
        shown.done("a [case]: 1 ms")
        task = shown._bar.tasks[0]
        assert (task.completed, task.total, task.description) == (1, 3, "round 2")
    assert "a [case]: 1 ms" in capsys.readouterr().out


def test_the_commit_is_known_or_said_not_to_be(monkeypatch):
    replies = {"rev-parse": "0123456789ab", "status": ""}
    monkeypatch.setattr(machine, "_git", lambda command, *_: replies[command])
    assert machine.commit() == "0123456789ab"
    replies["status"] = " M minidl/tensor.py"
    assert machine.commit() == "0123456789ab+"
    replies["rev-parse"] = None
    assert machine.commit() == "unknown"


def test_a_worker_that_cannot_measure_the_ceilings_is_an_error(monkeypatch, tmp_path, capsys, measured):
    def failing(self, command, *arguments):
        raise WorkerError("its process ended")

    monkeypatch.setattr(measure.Worker, "ask", failing)
    assert cli.main(["run", "--cases", "conv/tiny/forward", "--output", str(tmp_path / "here.json")]) == 2
    assert "run: its process ended" in capsys.readouterr().err


def test_results_are_plain_json(measured, tmp_path):
    output = tmp_path / "here.json"
    cli.main(["run", "--cases", "conv/tiny/forward", "--output", str(output)])
    assert json.loads(output.read_text()) == results.read(output)


def test_the_line_of_a_case():
    rows = {"minidl": row(0.003), "torch/nchw": row(0.004), "torch/channels-last": row(0.002)}
    line = measure.line("conv/a/forward", rows)
    assert re.sub(" +", " ", line) == "conv/a/forward minidl 3.00 ms PyTorch, channels_last 2.00 ms ratio 1.50"
    assert measure.line("conv/a/forward", {"torch/nchw": row(0.004)}).endswith("PyTorch, NCHW 4.00 ms")


def test_a_case_is_described_in_full():
    made_up = Case("a/b/c", "relu", FORWARD, (4, 4))
    found = measure.described(made_up, 2, "cpu")
    assert {**found, "rows": {}}.keys() == results.CASE.keys()
