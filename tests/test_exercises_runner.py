"""Submissions judged: what cannot be, what passes, and what does not, however the tests and the process end."""

import sys
import time
from pathlib import Path

import pytest

from minidl.exercises.curriculum import curriculum
from minidl.exercises.runner import judge, judges_of, run_command
from minidl.exercises.submissions import submission
from minidl.exercises.worksheet import blank_worksheet, solved_worksheet

SLOPES, MULTIPLY = curriculum()["central-difference"], curriculum()["multiply-divide"]
RIGHT = "return (self.at(eps) - self.at(-eps)) / (2 * eps)"
TODO = 'raise ExerciseTodo("1 central-difference")'


def written(body):
    """The worksheet of exercise 1 with this body."""
    return blank_worksheet(SLOPES).replace(TODO, body.replace("\n", "\n        "))


def verdict(body, **options):
    return judge(SLOPES, [submission(SLOPES, written(body), "mine.py")], **options)


# ------------------------------------------------------------------------------------------------------------- verdicts


def test_what_is_right_passes():
    result = verdict(RIGHT)
    assert result.passed
    assert result.passed_tests >= 2
    assert result.calls["minidl.differences:Line.slopes"] >= result.passed_tests
    assert result.uncalled == []


def test_what_is_wrong_does_not():
    result = verdict("print('hello'); return (self.at(eps) - self.at(-eps)) / eps")
    assert not result.passed
    first = result.failures[0]
    assert (first.kind, result.printed) == ("Wrong", "hello\n")
    assert "wanted" in first.text
    assert first.says
    assert first.test.startswith("tests/exercises/test_01_central_difference.py::test_")


def test_what_is_not_written():
    result = judge(SLOPES, [submission(SLOPES, blank_worksheet(SLOPES), "mine.py")])
    assert {failure.kind for failure in result.failures} == {"ExerciseTodo"}
    assert result.passed_tests == 0


def test_an_error_has_its_line():
    failure = verdict("step = eps\nreturn self.at(step) / nobody").failures[0]
    assert failure.text.startswith("NameError: name 'nobody' is not defined")
    assert failure.frames[-1][0] == "mine.py"
    assert failure.frames[-1][2:] == ("slopes", "return self.at(step) / nobody")


def test_a_loop_without_an_end():
    result = verdict("while True:\n    pass", seconds=3)
    assert not result.passed
    assert "mine.py" in result.stuck
    assert "slopes" in result.stuck


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_process_that_starts_others():
    """What is left behind keeps nobody waiting, and is gone."""
    begun = time.monotonic()
    result = verdict("import subprocess\nprint(subprocess.Popen(['sleep', '60']).pid)")
    assert result.failures[0].kind == "Wrong"
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"
    assert verdict(thread).failures[0].kind == "Wrong"
    assert time.monotonic() - begun < 40
    file = Path("/proc", result.printed.strip(), "stat")
    assert not file.exists() or file.read_text().split()[2] == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_a_hundred_gigabytes():
    assert "MemoryError" in verdict("return np.ones(100 << 27)").failures[0].text


def test_what_was_printed_is_known_after_a_pass_too():
    assert verdict(f"print('hello')\n{RIGHT}").printed.startswith("hello\n")


def test_a_keyboard_interrupt():
    assert "interrupted" in verdict("raise KeyboardInterrupt").failures[-1].text


def test_a_process_that_ends():
    result = verdict("import os\nos._exit(3)")
    assert not result.passed
    assert "status 3" in result.output


def test_an_import_that_fails():
    text = "import nothing_of_this_name\n" + written(RIGHT)
    result = judge(SLOPES, [submission(SLOPES, text.replace("from __future__", "# from __future__"), "mine.py")])
    assert not result.passed
    assert "nothing_of_this_name" in result.failures[0].text


# -------------------------------------------------------------------------------------------------- judges of one's own

JUDGE = """
import pytest
from minidl.differences import Line

pytestmark = pytest.mark.exercise("central-difference")

"""


@pytest.mark.parametrize(
    ("test", "passed"),
    [
        ("def test():\n    Line(lambda: 0.0, [], []).slopes(1.0)\n", True),
        ("def test():\n    pass\n", False),  # it does not call the function
        ("def test():\n    Line(lambda: 0.0, [], []).slopes(1.0)\n    pytest.skip('no')\n", False),
        ("x = 1\n", False),  # there is no test
        ("@pytest.fixture\ndef broken():\n    1 / 0\n\ndef test(broken):\n    pass\n", False),
        ("1 / 0\n", False),
    ],
)
def test_a_pass_takes_a_test_that_passed_and_called(tmp_path, test, passed):
    (tmp_path / "test_own.py").write_text(JUDGE + test)
    (tmp_path / "conftest.py").write_text("raise RuntimeError('not to be read')")
    (tmp_path / "test_other.py").write_text("raise RuntimeError('not to be imported')")
    assert verdict(RIGHT, tests=tmp_path).passed is passed


def test_judges_of_ones_own_replace_those_of_their_exercise_only(tmp_path):
    (tmp_path / "test_own.py").write_text(JUDGE.replace('"', "'"))
    assert judges_of(SLOPES, tmp_path) == [tmp_path / "test_own.py"]
    assert [file.name for file in judges_of(MULTIPLY, tmp_path)] == ["test_06_multiply_divide.py"]


def test_judges_of_ones_own_may_have_a_module_beside_them(tmp_path):
    (tmp_path / "beside.py").write_text("STEP = 1.0\n")
    (tmp_path / "test_own.py").write_text(
        JUDGE + "import beside\n\n\ndef test():\n    Line(lambda: 0.0, [], []).slopes(beside.STEP)\n"
    )
    assert verdict(RIGHT, tests=tmp_path).passed


def test_a_command_with_a_submission(capfd):
    mine = submission(SLOPES, solved_worksheet(SLOPES), "mine.py")
    result = run_command(["gradcheck", "relu"], [mine])
    assert result["status"] == 0
    assert result["calls"]["minidl.differences:Line.slopes"] > 0
    assert "relu" in capfd.readouterr().out


def test_a_command_that_is_none(capfd):
    assert run_command(["nothing"], [])["status"] == 2


def test_a_command_with_a_submission_that_breaks_it(capfd):
    mine = submission(SLOPES, written("raise RuntimeError('broken')"), "mine.py")
    result = run_command(["gradcheck", "relu"], [mine])
    assert result["status"] == 1
    assert result["errors"][0]["last_line"] == "RuntimeError: broken"
