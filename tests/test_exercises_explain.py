"""Verdicts in words."""

import pytest

from minidl.exercises.curriculum import curriculum
from minidl.exercises.explain import explained
from minidl.exercises.runner import Failure, Verdict

SLOPES = curriculum()["central-difference"]
TEST = "tests/exercises/test_01_central_difference.py::test_a_line"


def wrong(got, test=TEST, kind="Wrong", text="f(x)\n\nwanted  1\ngot     2"):
    return Failure(test, "a straight line", kind, text, got=got)


def words(**verdict):
    return explained(Verdict(SLOPES, **{"calls": {SLOPES.targets[0]: 1}, **verdict}), "mine.py", ["Halve it."])


def test_a_wrong_result():
    assert words(passed_tests=3, failures=(wrong(2.0), wrong(3.0, TEST + "_more"))) == (
        "2 of 5 tests failed; the first is test_a_line: a straight line\n\n"
        "    f(x)\n\n    wanted  1\n    got     2\n\nAdvice: Halve it.\n\nalso failed: test_a_line_more"
    )


def test_an_error_and_what_was_printed():
    frames = (
        ("tests/exercises/test_01.py", 9, "test_a_line", "line.slopes(1)"),
        ("mine.py", 44, "slopes", "return a"),
        ("lib.py", 1, "f", "g()"),
    )
    printed = "".join(f"{i}\n" for i in range(30))
    text = words(failures=(Failure(TEST, "", "NameError", "NameError: no a", frames),), printed=printed)
    assert "    NameError: no a\n    mine.py, line 44, in slopes:  return a\n" in text
    assert "your code printed:\n    0\n    1\n" in text
    assert "    ... (10 more lines)" in text


def test_an_error_outside_of_the_learners_file():
    frames = (("/x/tests/exercises/test_01.py", 9, "test_a_line", "f(1)"), ("/x/engine.py", 7, "f", "return g(x)"))
    text = words(failures=(Failure(TEST, "", "TypeError", "TypeError: no", frames),))
    assert "    TypeError: no\n    test_01.py, line 9:  f(1)\n" in text


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ({"stuck": 'Thread:\n  File "mine.py", line 12 in slopes\n'}, "still running, in line 12 (slopes)"),
        ({"stuck": 'Thread:\n  File "other.py", line 12 in f\n'}, "your code was still running. Does a loop"),
        ({"output": "Segmentation fault"}, "came to an end before the tests did:\n    Segmentation fault"),
        ({"passed_tests": 2, "calls": {}}, "none of them has called Line.slopes: nothing was judged"),
        ({"passed_tests": 2}, "all 2 tests passed"),
        ({}, "there is no test: so this is no pass"),
        ({"skipped": (TEST,)}, "a test was skipped, which proves nothing: so this is no pass"),
        ({"failures": (Failure("", "", "ImportError", "ImportError: x"),)}, "minidl cannot be imported with it"),
        (
            {"failures": (Failure(TEST, "", "OSError", "OSError: pytest: reading from stdin while"),)},
            "it asks for input, and nobody is there to answer",
        ),
        ({"failures": (Failure(TEST, "", "BdbQuit", "bdb.BdbQuit"),)}, "a breakpoint stops nobody here"),
        ({"failures": (Failure("", "", "import", "line 1\nline 2"),)}, "    line 1\n    line 2"),
        (
            {"failures": (wrong(None, kind="ExerciseTodo", text="1 central-difference"),)},
            "    1 central-difference is not written yet\n",
        ),
        (
            {"failures": (wrong(None, kind="ExerciseTodo", text="18 x"),)},
            "    18 x is not written yet, and this exercise needs it: write that one first\n",
        ),
    ],
)
def test_other_endings(verdict, text):
    assert text in words(**verdict)
