"""WALKTHROUGH.md shows what the screen says."""

import re

import pytest
import walkthrough

from minidl.exercises.curriculum import curriculum


@pytest.mark.slow
def test_the_screen_says_what_the_document_shows(tmp_path):
    document = walkthrough.DOCUMENT.read_text(encoding="utf-8")
    assert walkthrough.replayed(document, tmp_path) == document


def test_eight_exercises_with_two_wrong_attempts_each():
    document = walkthrough.DOCUMENT.read_text(encoding="utf-8")
    for number in (1, 6, 12, 20, 23, 25, 28, 38):
        exercise = curriculum()[str(number)]
        failed = re.findall(rf"^✗ {re.escape(str(exercise))}: ", document, re.MULTILINE)
        assert len(failed) >= 2, exercise
        assert len(re.findall(rf"^✓ {re.escape(str(exercise))}: passed", document, re.MULTILINE)) == 1


def test_definitions_are_put_in_their_places():
    around = "import x\n\nclass A(B):\n    # around\n{}\n    def g(self):\n        pass\n"
    old, new = "    def f(self):\n        raise T\n", "    def f(self):\n        y = 1\n        return y\n"
    helper = "def helper():\n    return 2\n"
    written = walkthrough.written_into(around.format(old), f"class A(B):\n{new}\n{helper}")
    assert written == f"{around.format(new)}\n\n{helper}"
