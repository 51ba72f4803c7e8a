"""The proofs of each exercise, and that they find an exercise that does not hold."""

import dataclasses

import pytest

from minidl.exercises import verify as verifying
from minidl.exercises.curriculum import Curriculum, Mistake, curriculum
from minidl.exercises.verify import faults, verify

SLOPES = curriculum()["central-difference"]
TARGET = SLOPES.targets[0]
JUDGE = """
import numpy as np
import pytest
from minidl.differences import Line
from minidl.exercises.judging import judge

pytestmark = pytest.mark.exercise("central-difference")


class Cubed(Line):
    def at(self, step):
        return np.array([step**3 + step])

"""
RIGHT = "def test_it():\n    judge('f', Cubed(None, [], []).slopes(1.0), np.array([2.0]))\n"


def like(**changes):
    """Exercise 1, but for something."""
    return dataclasses.replace(SLOPES, **changes)


def test_one_that_holds():
    assert list(verify([like(mistakes=SLOPES.mistakes[:3])])) == [(like(mistakes=SLOPES.mistakes[:3]), [])]


@pytest.mark.parametrize(
    ("hints", "fault"),
    [
        (SLOPES.hints, None),
        (SLOPES.hints[:2], "expected 3 hints, none of them empty"),
        ((*SLOPES.hints[:2], " "), "expected 3 hints, none of them empty"),
        (
            (*SLOPES.hints[:2], "`return (self.at(eps) - self.at(-eps)) / (2 * eps)`"),
            "hint 3 is the solution of Line.slopes",
        ),
        (
            ("so: return (self.at(eps)-self.at(-eps))/(2*eps)", *SLOPES.hints[1:]),
            "hint 1 is the solution of Line.slopes",
        ),
    ],
)
def test_hints(hints, fault):
    assert verifying._of_hints(like(hints=hints)) == ([] if fault is None else [fault])


@pytest.mark.parametrize(
    ("mistake", "fault"),
    [
        (Mistake(TARGET, "x", body="return (self.at(eps) - self.at(-eps)) / eps / 2"), "mistake 0 is not noticed: 'x'"),
        (Mistake(TARGET, "x", body="raise ExerciseTodo('later')"), "mistake 0 meets a blank: 'x'"),
        (Mistake(TARGET, " ", body="return 7"), "mistake 0 has no advice"),
    ],
)
def test_mistakes(mistake, fault):
    assert verifying._of_mistakes(like(mistakes=(mistake,))) == ["1 mistake(s) listed, 3 wanted", fault]


def test_mistakes_that_look_the_same():
    mistakes = Mistake(TARGET, "x", body="return 7"), Mistake(TARGET, "y", body="return 3 + 4")
    fault = verifying._of_mistakes(like(mistakes=mistakes))[-1]
    assert fault.startswith("mistakes 0 and 1 look the same: they share test_")


@pytest.mark.parametrize(
    "mistake", [Mistake(TARGET, "x", find="nowhere", replace="y"), Mistake(TARGET, "x", body="return (")]
)
def test_mistakes_that_cannot_be_made(monkeypatch, mistake):
    monkeypatch.setattr(verifying, "_of_the_solution", lambda *_: [])
    monkeypatch.setattr(verifying, "_of_the_blank", lambda *_: [])
    (fault,) = faults(like(mistakes=(mistake,)))
    assert fault.startswith("its worksheet cannot be made: ")


def test_a_target_that_the_engine_does_not_have():
    (fault,) = faults(like(targets=("minidl.differences:Line.slope",)))
    assert fault.startswith("its worksheet cannot be made")


SWALLOWED = """
def test_it():
    try:
        Cubed(None, [], []).slopes(1.0)
    except NotImplementedError:
        raise KeyError from None
"""


@pytest.mark.parametrize(
    ("proof", "code", "fault"),
    [
        (verifying._of_the_solution, RIGHT, None),
        (verifying._of_the_solution, RIGHT.replace("[2.0]", "[3.0]"), "minidl's own does not pass: test_it: Wrong: f"),
        (
            verifying._of_the_solution,
            "def test_it():\n    assert True\n",
            "minidl's own does not pass: no test calls minidl.differences:Line.slopes",
        ),
        (verifying._of_the_blank, RIGHT, None),
        (verifying._of_the_blank, RIGHT + "\ndef test_other():\n    assert True\n", "passes unsolved: 1 test(s)"),
        (verifying._of_the_blank, SWALLOWED, "unsolved, it fails with KeyError"),
        (verifying._of_later_ones, RIGHT, None),
        (verifying._of_later_ones, RIGHT + "\nimport minidl\nminidl.Tensor([1.0]) * 2.0\n", "needs a later exercise: "),
    ],
)
def test_judges(tmp_path, proof, code, fault):
    (tmp_path / "test_own.py").write_text(JUDGE + code)
    found = proof(SLOPES, tmp_path)
    assert found == [] if fault is None else found[0].startswith(fault)


def test_all_five_proofs_are_made(monkeypatch):
    proofs = ("_of_hints", "_of_the_solution", "_of_the_blank", "_of_mistakes", "_of_later_ones")
    for proof in proofs:
        monkeypatch.setattr(verifying, proof, lambda *_, proof=proof: [proof])
    assert sorted(faults(SLOPES)) == sorted(proofs)


def test_mistakes_are_made_before_judges_of_ones_own(tmp_path):
    (tmp_path / "test_own.py").write_text(JUDGE + "def test_it():\n    Cubed(None, [], []).slopes(1.0)\n")
    fault = verifying._of_mistakes(like(mistakes=SLOPES.mistakes[:3]), tmp_path)[0]
    assert fault.startswith("mistake 0 is not noticed")


def test_results_come_as_they_are_ready(monkeypatch):
    monkeypatch.setattr(verifying, "faults", lambda exercise, tests: [exercise.id])
    exercises = curriculum().exercises
    assert dict(verify(exercises)) == {exercise: [exercise.id] for exercise in exercises}


def test_a_curriculum_of_none():
    assert list(verify(Curriculum((), ()).exercises)) == []
