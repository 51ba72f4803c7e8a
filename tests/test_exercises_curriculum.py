"""The exercises' data: complete, in order, and each with its judges."""

import re

import pytest

from minidl.exercises.curriculum import UnknownExercise, curriculum
from minidl.exercises.runner import judges_of

COURSE = curriculum()


def test_forty_two_exercises_in_seven_stages():
    assert [exercise.number for exercise in COURSE.exercises] == list(range(1, 43))
    assert len({exercise.id for exercise in COURSE.exercises}) == 42
    assert "".join(exercise.stage for exercise in COURSE.exercises) == "".join(
        stage.letter * len(COURSE.of_stage(stage.letter)) for stage in COURSE.stages
    )
    assert [stage.letter for stage in COURSE.stages] == list("ABCDEFG")
    assert COURSE.exported == ""


def test_no_function_is_in_two_exercises():
    targets = [target for exercise in COURSE.exercises for target in exercise.targets if not exercise.defects]
    assert len(set(targets)) == len(targets)


@pytest.mark.parametrize("exercise", COURSE.exercises, ids=lambda exercise: exercise.id)
def test_what_every_exercise_has(exercise):
    assert re.fullmatch(r"[a-z0-9-]+", exercise.id)
    assert exercise.title
    assert exercise.text.strip()
    assert exercise.source
    assert 5 <= exercise.minutes <= 60
    assert len(exercise.hints) == 3
    assert len(exercise.mistakes) >= 3
    assert [file.name for file in judges_of(exercise)] == [
        f"test_{exercise.number:02}_{exercise.id.replace('-', '_')}.py"
    ]


def test_the_courses_table_is_in_the_readme():
    text = (judges_of(COURSE.exercises[0])[0].parents[2] / "minidl" / "exercises" / "README.md").read_text()
    for stage in COURSE.stages:
        first, *_, last = COURSE.of_stage(stage.letter)
        minutes = sum(exercise.minutes for exercise in COURSE.of_stage(stage.letter))
        hours = f"{round(minutes / 30) / 2:g}"
        row = f"| {stage.letter} | {stage.title} | {first.number} to {last.number} | {hours} | {stage.lecture} |"
        assert row in text.splitlines()


@pytest.mark.parametrize("name", ["20", "020", "im2col", "20_im2col.py", "20_im2col", "work/20_im2col.py"])
def test_an_exercise_by_its_names(name):
    assert COURSE[name].id == "im2col"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imcol", "there is no exercise 'imcol': did you mean im2col or col2im"),
        ("43", "there is no exercise 43: they are numbered 1 to 42"),
        ("0", "they are numbered 1 to 42"),
        ("zzz", "`minidl exercise list` shows them all"),
    ],
)
def test_a_name_that_no_exercise_has(name, message):
    with pytest.raises(UnknownExercise, match=re.escape(message)):
        COURSE[name]


def test_stages():
    assert COURSE.stage("d").title == "Convolution"
    assert COURSE.from_stage("G") == COURSE.of_stage("G")
    with pytest.raises(UnknownExercise, match="there is no stage 'X': they are A, B, C"):
        COURSE.stage("X")


def test_the_later_ones_without_those_that_are_written_already():
    later = COURSE.after(COURSE["winograd"])
    assert later == []
    assert COURSE.after(COURSE["label-smoothing"]) == [COURSE["winograd"]]


ENTRY = """
[[stage]]
letter = "A"
title = "A"
lecture = "none"

[[exercise]]
id = "one"
title = "One"
stage = "A"
targets = ["m:f", "m:g"]
text = "t"
source = "s"
minutes = 5
hints = ["1", "2", "3"]
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('requires = ["two"]', r"exercise 1 one: requires \['two'\], which do not come earlier"),
        ('colour = "red"', "exercise 1 one: .*unexpected keyword argument 'colour'"),
        ('mistakes = [{ target = "h", advice = "a" }]', "a mistake in 'h': expected the end of one of m:f, m:g"),
        ("mistakes = [{ find = 'a' }]", "missing 1 required positional argument: 'advice'"),
    ],
)
def test_a_damaged_curriculum(tmp_path, more, message):
    file = tmp_path / "damaged.toml"
    file.write_text(ENTRY + more)
    with pytest.raises(ValueError, match=message):
        curriculum(file)


def test_what_is_missing_is_named(tmp_path):
    file = tmp_path / "damaged.toml"
    file.write_text(ENTRY.replace('targets = ["m:f", "m:g"]', ""))
    with pytest.raises(ValueError, match="exercise 1 one: 'targets' is missing"):
        curriculum(file)


def test_a_mistake_is_in_the_first_target_or_in_the_one_it_names(tmp_path):
    file = tmp_path / "fine.toml"
    file.write_text(
        ENTRY + 'mistakes = [{ find = "a", replace = "b", advice = "x" }, { target = "g", body = "c", advice = "y" }]\n'
        'defects = [{ find = "d", replace = "e", advice = "z" }]'
    )
    (exercise,) = curriculum(file).exercises
    assert [(mistake.target, mistake.advice) for mistake in exercise.mistakes] == [
        ("m:f", "x"),
        ("m:g", "y"),
        ("m:f", "z"),
    ]
    assert exercise.defects == exercise.mistakes[2:]
