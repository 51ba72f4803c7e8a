"""Many submissions judged at once."""

import json

import pytest

from minidl.exercises import grading
from minidl.exercises.curriculum import Curriculum, curriculum
from minidl.exercises.grading import grades, is_tree
from minidl.exercises.worksheet import blank_worksheet, mistaken_worksheet, root, solved_worksheet

COURSE = curriculum()
FOUR = COURSE.exercises[:5]


@pytest.fixture(autouse=True)
def a_short_course(monkeypatch):
    monkeypatch.setattr(grading, "curriculum", lambda: Curriculum(COURSE.stages, FOUR))


def test_a_folder_of_worksheets(tmp_path):
    for exercise, text in (
        (FOUR[0], solved_worksheet(FOUR[0])),
        (FOUR[1], mistaken_worksheet(FOUR[1], FOUR[1].mistakes[0])),
        (FOUR[2], blank_worksheet(FOUR[2])),
        (FOUR[3], "return ("),
    ):
        (tmp_path / exercise.file_name).write_text(text)
    results = list(grades(tmp_path, None, 60))
    assert [grade["status"] for grade in results] == ["passed", "failed", "blank", "invalid", "missing"]
    assert [grade["number"] for grade in results] == [1, 2, 3, 4, 5]
    passed, failed, _, invalid, _ = results
    assert passed["message"] == ""
    assert passed["failed_tests"] == {}
    assert list(passed["calls"]) == list(FOUR[0].targets)
    assert failed["failed_tests"]
    assert "wanted" in failed["message"]
    assert "this is not Python" in invalid["message"]
    assert json.loads(json.dumps(results)) == results


def test_what_is_a_tree(tmp_path):
    assert is_tree(root())
    assert not is_tree(tmp_path)


def test_a_tree_without_the_function(tmp_path):
    (tmp_path / "minidl").mkdir()
    (tmp_path / "minidl" / "__init__.py").touch()
    (tmp_path / "minidl" / "differences.py").write_text("class Line:\n    pass\n")
    first, _, third, *_ = grades(tmp_path, None, 60)
    assert (first["status"], first["message"]) == ("invalid", "slopes is missing in its module")
    assert third["status"] == "invalid"
