"""Worksheets: what the engine has of a function, without its body."""

import ast
import io
import tokenize

import pytest

from minidl.exercises.curriculum import Exercise, Mistake, curriculum
from minidl.exercises.substitution import find
from minidl.exercises.worksheet import (
    blank,
    blank_worksheet,
    body_of,
    mistaken,
    mistaken_worksheet,
    root,
    solved_worksheet,
    source_of,
    with_body,
)

EXERCISES = curriculum().exercises
TO_WRITE = [exercise for exercise in EXERCISES if not exercise.defects]

FUNCTION = '''    @decorated(1)
    def area(self, scale=2):
        """The area.

        In square units.
        """
        # a comment that gives it away
        if scale < 0:
            raise ValueError("scale")
        size = self.side * scale  # (side,)
        return size**2
'''


def exercise(**more):
    return Exercise(5, "area", "", "A", ("m:Box.area",), "", "", 5, (), (), **more)


def test_a_blank_body():
    before, _, _ = FUNCTION.partition("        # a comment")
    assert blank(FUNCTION, exercise()) == before + '        raise ExerciseTodo("5 area")'


def test_statements_that_are_kept():
    text = blank(FUNCTION, exercise(keep=("if scale", "return")))
    assert text.splitlines()[6:] == [
        "        if scale < 0:",
        '            raise ValueError("scale")',
        '        raise ExerciseTodo("5 area")',
        "        return size**2",
    ]


def test_a_function_without_a_docstring():
    assert blank("def f(x):\n    # a comment\n    return x\n", exercise()).splitlines()[0] == "def f(x):"
    assert blank("def f(x):\n    return x\n", exercise()) == 'def f(x):\n    raise ExerciseTodo("5 area")'


def test_another_body():
    text = with_body(FUNCTION, "\n    a = 1\n    return a\n")
    assert text.endswith('"""\n        a = 1\n        return a')


def test_a_mistake():
    assert "size**3" in mistaken(FUNCTION, Mistake("m:Box.area", "", "size**2", "size**3"))
    assert mistaken(FUNCTION, Mistake("m:Box.area", "", body="pass")).endswith("\n        pass")
    for text, times in (("side", 2), ("nowhere", 0)):
        with pytest.raises(ValueError, match=f"'{text}' stands there {times} times, not once"):
            mistaken(FUNCTION.replace("(side,)", "(n,)").replace("In square", "side"), Mistake("m:f", "", text, "x"))


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_solved_it_has_the_engines_bodies(exercise):
    tree = ast.parse(solved_worksheet(exercise))
    for target in exercise.targets:
        source, name = source_of(target)
        assert ast.dump(find(tree, name)) == ast.dump(find(source.tree, name))


@pytest.mark.parametrize("exercise", TO_WRITE, ids=lambda exercise: exercise.id)
def test_blank_it_has_nothing_of_them(exercise):
    text = blank_worksheet(exercise)
    tree = ast.parse(text)
    for target in exercise.targets:
        source, name = source_of(target)
        mine, own = find(tree, name), find(source.tree, name)
        assert ast.unparse(mine.args) == ast.unparse(own.args)
        assert ast.get_docstring(mine) == ast.get_docstring(own)
        kept = [ast.unparse(s) for s in body_of(mine) if "ExerciseTodo" not in ast.unparse(s)]
        gone = [ast.unparse(s) for s in body_of(own) if ast.unparse(s) not in kept]
        assert gone
        assert len(kept) == len(body_of(own)) - len(gone)
        comments = {c.string for c in tokens(source.definition(name)) if c.type == tokenize.COMMENT}
        assert comments.isdisjoint(text.splitlines())


def tokens(text):
    return tokenize.generate_tokens(io.StringIO(f"if True:\n{text}\n" if text.startswith(" ") else text).readline)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_mistake_can_be_made(exercise):
    right = solved_worksheet(exercise)
    wrong = [mistaken_worksheet(exercise, mistake) for mistake in exercise.mistakes]
    assert len({right, *wrong}) == len(wrong) + 1
    for text in wrong:
        ast.parse(text)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_no_other_exercise_is_given_away(exercise):
    """The rest of a class is shown as a comment; but not the bodies that are another exercise's."""
    comments = "\n".join(line[8:] for line in blank_worksheet(exercise).splitlines() if line.startswith("    #"))
    for other in TO_WRITE:
        for target in other.targets:
            source, name = source_of(target)
            body = body_of(find(source.tree, name))
            text = "\n".join(source.statement(statement).strip() for statement in body)
            assert len(text) < 40 or text not in comments


def test_a_bug_hunt_has_its_bugs():
    hunt = curriculum()["bug-hunt"]
    text = blank_worksheet(hunt)
    assert "ExerciseTodo(" not in text
    for defect in hunt.defects:
        assert defect.replace in text
    assert text != solved_worksheet(hunt)


def test_the_introduction_says_what_to_do():
    text = blank_worksheet(curriculum()["im2col"])
    assert "Exercise 20 of 42" in text
    assert "minidl exercise check 20" in text
    assert "minidl/kernels/columns.py" in text
    assert "Builds on: 18 output-size-macs" in text
    assert max(map(len, text.splitlines())) <= 125


def test_the_engines_source_has_no_marks_of_exercises():
    for folder in ("minidl", "models"):
        for file in (root() / folder).rglob("*.py"):
            if "exercises" not in file.parts and file.parent.name != "commands" and file.name != "cli.py":
                assert "exercise" not in file.read_text(encoding="utf-8").lower(), file
