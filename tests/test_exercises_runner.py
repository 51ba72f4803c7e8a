"""Submissions judged: what cannot be, what passes, and what does not, however the tests and the process end."""

import re
from pathlib import Path

import pytest

from minidl.exercises.curriculum import curriculum
from minidl.exercises.runner import CannotBeJudged, is_blank, judge, judges_of, run_command, submission
from minidl.exercises.worksheet import blank_worksheet, solved_worksheet

SLOPES, MULTIPLY = curriculum()["central-difference"], curriculum()["multiply-divide"]
RIGHT = "return (self.at(eps) - self.at(-eps)) / (2 * eps)"
TODO = 'raise ExerciseTodo("1 central-difference")'


def written(body):
    """The worksheet of exercise 1 with this body."""
    return blank_worksheet(SLOPES).replace(TODO, body.replace("\n", "\n        "))


def verdict(body, **options):
    return judge(SLOPES, [submission(SLOPES, written(body), "mine.py")], **options)


# ------------------------------------------------------------------------------------------------ what cannot be judged


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            written("return ("),
            "line [0-9]+: this is not Python: '\\(' was never closed\n    return \\(\n           \\^",
        ),
        (written("return 'a\0'"), "this is not Python: .*null bytes"),
        (written(RIGHT).replace("def slopes", "def slope"), "Line.slopes is missing: .* `minidl exercise reset 1`"),
        (written(RIGHT).replace("class Line", "class Lines"), "Line.slopes is missing"),
        ("", "Line.slopes is missing"),
        (written(RIGHT).replace("self, eps: float", "self, h"), r"must stay \(self, eps\), .* here it is \(self, h\)"),
        (written(RIGHT).replace("eps: float", "eps=1"), r"here it is \(self, eps=1\)"),
        (written(RIGHT).replace("    def slopes", "    async def slopes"), "Line.slopes is missing"),
        (written(RIGHT) + "\n\ndef unit(x):\n    return x\n", "line .*: unit is defined in minidl.differences already"),
        (
            written(RIGHT) + "\n    def at(self, step):\n        pass\n",
            "line .*: Line.at is not a part of this exercise",
        ),
    ],
)
def test_the_message_says_what_is_wrong(text, message):
    with pytest.raises(CannotBeJudged) as caught:
        submission(SLOPES, text, "mine.py")
    assert re.search(message, str(caught.value), re.DOTALL), caught.value


def test_annotations_may_go():
    text = written(RIGHT).replace("(self, eps: float) -> np.ndarray", "(self, eps)")
    assert judge(SLOPES, [submission(SLOPES, text, "mine.py")]).passed


def test_what_is_blank():
    assert is_blank(blank_worksheet(SLOPES), SLOPES)
    assert not is_blank(written(RIGHT), SLOPES)
    assert not is_blank("return (", SLOPES)
    assert not is_blank("", SLOPES)
    one_of_four = blank_worksheet(MULTIPLY).replace('raise ExerciseTodo("6 multiply-divide")', "return a * b", 1)
    assert is_blank(blank_worksheet(MULTIPLY), MULTIPLY)
    assert not is_blank(one_of_four, MULTIPLY)
    assert not is_blank(blank_worksheet(curriculum()["bug-hunt"]), curriculum()["bug-hunt"])


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
    assert (first.kind, first.printed) == ("Wrong", "hello\n")
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
    file, _, name, source = failure.frames[-1]
    assert (file, name, source) == ("", "slopes", "") or Path(file).name == "mine.py"


def test_a_loop_without_an_end():
    result = verdict("while True:\n    pass", seconds=3)
    assert not result.passed
    assert "mine.py" in result.stuck
    assert "slopes" in result.stuck


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
    (tmp_path / "test_own.py").write_text(JUDGE)
    assert judges_of(SLOPES, tmp_path) == [tmp_path / "test_own.py"]
    assert [file.name for file in judges_of(MULTIPLY, tmp_path)] == ["test_06_multiply_divide.py"]


def test_a_command_with_a_submission(capfd):
    mine = submission(SLOPES, solved_worksheet(SLOPES), "mine.py")
    result = run_command(["gradcheck", "relu"], [mine])
    assert result["status"] == 0
    assert result["calls"]["minidl.differences:Line.slopes"] > 0
    assert "relu" in capfd.readouterr().out


def test_a_command_with_a_submission_that_breaks_it(capfd):
    mine = submission(SLOPES, written("raise RuntimeError('broken')"), "mine.py")
    result = run_command(["gradcheck", "relu"], [mine])
    assert result["status"] == 1
    assert result["errors"][0]["last_line"] == "RuntimeError: broken"
