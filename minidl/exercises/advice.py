"""Advice: a failure recognised as one that others have made before.

The known mistakes of an exercise are made anew, and judged. The one that fails the same test with the same wrong result
is the learner's. So nothing is written down of what comes of a mistake; but in a student's tree, which has no right
bodies to be broken, a file says it.
"""

from __future__ import annotations

import concurrent.futures
import json
import re
from pathlib import Path

import numpy as np

from minidl.exercises.curriculum import FILE, Exercise, Mistake
from minidl.exercises.runner import Failure, Verdict, judge
from minidl.exercises.submissions import submission
from minidl.exercises.substitution import Submission
from minidl.exercises.worksheet import mistaken_worksheet

KNOWN_FAILURES = FILE.with_name("known_failures.json")


def advice_for(verdict: Verdict, tests: Path | None = None, workers: int = 2) -> list[str]:
    """What to tell somebody whose failure is that of a known mistake. `tests`: as for `runner.judge`."""
    exercise = verdict.exercise
    if not verdict.failures or verdict.failures[0].kind == "ExerciseTodo":
        return []
    known = _made_anew(exercise, tests, workers) if exercise.mistakes else _written_down(exercise)
    return list(dict.fromkeys(advice for advice, failure in known if same_failure(failure, verdict.failures[0])))


def _made_anew(exercise: Exercise, tests: Path | None, workers: int) -> list[tuple[str, Failure]]:
    """The advice for each known mistake, and how it fails."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        verdicts = list(pool.map(lambda mistake: judge_mistake(exercise, mistake, tests), exercise.mistakes))
    return [(m.advice, v.failures[0]) for m, v in zip(exercise.mistakes, verdicts, strict=True) if v.failures]


def _written_down(exercise: Exercise) -> list[tuple[str, Failure]]:
    """The same, from the file that a student's tree has for exercises without bodies."""
    entries = json.loads(KNOWN_FAILURES.read_text(encoding="utf-8")) if KNOWN_FAILURES.is_file() else []
    return [
        (entry["advice"], Failure(entry["test"], "", entry["kind"], entry["text"], got=entry["got"]))
        for entry in entries
        if entry["id"] == exercise.id
    ]


def judge_mistake(exercise: Exercise, mistake: Mistake, tests: Path | None = None) -> Verdict:
    """What the judges say of minidl with this mistake in it."""
    return judge(exercise, [mistaken_submission(exercise, mistake)], tests=tests, seconds=30)


def mistaken_submission(exercise: Exercise, mistake: Mistake) -> Submission:
    return submission(exercise, mistaken_worksheet(exercise, mistake), f"<{exercise.id}, mistaken>")


def same_failure(one: Failure, other: Failure) -> bool:
    """Whether two failures are of one test, with one wrong result or error."""
    if (one.test.rpartition("/")[2], one.kind) != (other.test.rpartition("/")[2], other.kind):
        return False
    if one.kind != "Wrong":
        return re.sub(r"\d+", "#", one.text) == re.sub(r"\d+", "#", other.text)  # sizes may be others
    if not all(isinstance(failure.got, float | int | list) for failure in (one, other)):
        return bool(one.got == other.got)
    try:
        a, b = np.asarray(one.got, dtype=float), np.asarray(other.got, dtype=float)
    except (TypeError, ValueError):
        return bool(one.got == other.got)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True))
