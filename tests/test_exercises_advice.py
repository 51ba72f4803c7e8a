"""Advice: for mistakes that are known, and for no others."""

import dataclasses
import json

import numpy as np
import pytest

from minidl.exercises import advice
from minidl.exercises.advice import advice_for, judge_mistake, same_failure
from minidl.exercises.curriculum import curriculum
from minidl.exercises.export import known_failures
from minidl.exercises.runner import Failure, Verdict

SLOPES = curriculum()["central-difference"]
TEST = "tests/exercises/test_01_central_difference.py::test_a_line"


def wrong(got, test=TEST, kind="Wrong", text="f(x) is wrong"):
    return Failure(test, "a straight line", kind, text, got=got)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (wrong([1.0, 2.0]), wrong([1.0, 2.0 + 1e-9]), True),
        (wrong([1.0, 2.0]), wrong([1.0, 2.1]), False),
        (wrong([1.0]), wrong([1.0, 1.0]), False),
        (wrong([float("nan")]), wrong([float("nan")]), True),
        (wrong("(1, 2)"), wrong("(1, 2)"), True),
        (wrong("(1, 2)"), wrong("(2, 1)"), False),
        (wrong(None), wrong(None), True),
        (wrong(1.0), wrong(1.0, TEST + "_more"), False),
        (wrong(1.0), wrong(1.0, TEST.replace("tests/", "/x/tests/")), True),
        (wrong(1.0, kind="TypeError", text="a"), wrong(1.0, kind="TypeError", text="b"), False),
        (wrong(1.0, kind="TypeError", text="a"), wrong(2.0, kind="TypeError", text="a"), True),
        (wrong(1.0, kind="TypeError", text="(2, 3) and"), wrong(1.0, kind="TypeError", text="(4, 15) and"), True),
        (wrong(1.0), wrong(1.0, kind="TypeError"), False),
    ],
)
def test_when_two_failures_are_one(one, other, same):
    assert same_failure(one, other) is same


def test_advice_is_for_the_mistake_that_gives_the_same():
    for mistake in SLOPES.mistakes[:2]:
        assert advice_for(judge_mistake(SLOPES, mistake)) == [mistake.advice]


def test_no_advice_for_what_nobody_has_done_before():
    assert advice_for(Verdict(SLOPES, failures=(wrong([np.pi]),))) == []
    assert advice_for(Verdict(SLOPES, failures=(wrong(None, kind="ExerciseTodo"),))) == []
    assert advice_for(Verdict(SLOPES, passed_tests=1)) == []


def test_advice_in_a_tree_that_has_no_right_bodies(tmp_path, monkeypatch):
    mistake = SLOPES.mistakes[1]
    verdict = judge_mistake(SLOPES, mistake)
    without = dataclasses.replace(verdict, exercise=dataclasses.replace(SLOPES, mistakes=()))
    assert advice_for(without) == []
    file = tmp_path / "known_failures.json"
    file.write_text(json.dumps(known_failures([SLOPES], None, lambda: None)))
    monkeypatch.setattr(advice, "KNOWN_FAILURES", file)
    assert advice_for(without) == [mistake.advice]
