"""A learner's folder: worksheets that are never overwritten, and a text file that says what is done."""

import os

import pytest

from minidl.exercises.curriculum import curriculum
from minidl.exercises.workplace import PROGRESS, Progress, Workplace

FIRST, SECOND, *_ = curriculum().exercises


@pytest.fixture
def place(tmp_path):
    return Workplace(tmp_path / "new" / "folder")


def test_a_worksheet_is_written_once(place):
    assert place.text(FIRST) is None
    assert place.state(FIRST) == ""
    assert place.start(FIRST)
    assert "raise ExerciseTodo" in place.text(FIRST)
    place.file(FIRST).write_text("mine")
    assert not place.start(FIRST)
    assert place.text(FIRST) == "mine"
    assert place.state(FIRST) == "started"


def test_reset_keeps_what_was_there(place):
    assert place.reset(FIRST) is None
    for text in ("one", "two"):
        place.file(FIRST).write_text(text)
        kept = place.reset(FIRST)
        assert kept.read_text() == text
        assert "raise ExerciseTodo" in place.text(FIRST)
    assert sorted(file.name for file in place.folder.iterdir()) == [FIRST.file_name + end for end in ("", ".1", ".2")]


def test_what_has_passed_and_has_changed_since(place):
    place.start(FIRST)
    place.note_passed(FIRST)
    assert place.state(FIRST) == "passed"
    assert place.next(curriculum()) == SECOND
    place.file(FIRST).write_text("another")
    assert place.state(FIRST) == "changed"
    assert place.next(curriculum()) == FIRST
    place.note_failed(FIRST)
    assert place.state(FIRST) == "started"


def test_a_worksheet_that_is_gone(place):
    place.start(FIRST)
    place.note_passed(FIRST)
    assert place.passed(curriculum()) == [FIRST]
    place.file(FIRST).unlink()
    assert place.state(FIRST) == ""
    assert place.passed(curriculum()) == []
    with pytest.raises(FileNotFoundError):
        place.submission(FIRST)


def test_progress_is_a_text_file_in_the_order_of_the_exercises(place):
    place.note(SECOND, hints=2)
    place.note(FIRST, gave_up=True)
    lines = (place.folder / PROGRESS).read_text().splitlines()
    assert lines[0].startswith("# exercise")
    assert [line.split() for line in lines[1:]] == [[FIRST.id, "-", "-", "0", "yes"], [SECOND.id, "-", "-", "2", "no"]]
    assert place.progress() == {FIRST.id: Progress(gave_up=True), SECOND.id: Progress(hints=2)}
    assert [file.name for file in place.folder.iterdir()] == [PROGRESS]


def test_a_damaged_line_is_named(place):
    place.note(FIRST, hints=1)
    with (place.folder / PROGRESS).open("a") as file:
        file.write("what is this\n")
    with pytest.raises(ValueError, match=r"progress\.txt, line 3: expected five words"):
        place.progress()


def test_lines_of_exercises_that_are_gone_stay(place):
    place.folder.mkdir(parents=True)
    (place.folder / PROGRESS).write_text("long-gone 2020-01-01 abc 0 no\n")
    place.note(FIRST, hints=1)
    assert set(place.progress()) == {FIRST.id, "long-gone"}


def test_the_worksheet_saved_last(place):
    assert place.saved_last() is None
    place.start(SECOND)
    place.start(FIRST)
    os.utime(place.file(FIRST), (1, 1))
    assert place.saved_last() == SECOND
    assert set(place.saved_at()) == {FIRST, SECOND}


def test_what_comes_after_one(place):
    course = curriculum()
    assert place.next(course, course["20"]) == course["21"]
    assert place.next(course, course["42"]) == FIRST
    assert place.next(course) == FIRST


def test_all_done(place):
    for exercise in curriculum().exercises:
        place.start(exercise)
        place.note_passed(exercise)
    assert place.next(curriculum()) is None
