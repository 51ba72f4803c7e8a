"""Many submissions judged at once, for an instructor: a folder of worksheets, or a student's whole tree."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minidl.exercises.curriculum import FILE, Exercise, curriculum
from minidl.exercises.explain import explained
from minidl.exercises.runner import Verdict, judge
from minidl.exercises.submissions import in_tree, is_blank, submission
from minidl.exercises.workplace import Workplace
from minidl.exercises.worksheet import root


def grades(folder: Path, tests: Path | None, seconds: float) -> Iterator[dict[str, Any]]:
    """The grade of each exercise that is in `folder`, in their order: {"number", "id", "stage", "status", ...}.

    status   "passed", "failed", "blank" (nothing written yet), "invalid" (cannot be judged), or, in a folder of
             worksheets, "missing"

    Judges are those of this tree, or of `tests`, whatever the student's tree has.
    """
    exercises = curriculum().exercises
    if is_tree(folder):  # of what a student's tree was given nothing is to be graded
        theirs = folder / FILE.relative_to(root())
        exported = curriculum(theirs).exported if theirs.is_file() else ""
        exercises = tuple(e for e in exercises if e.stage >= exported and not e.defects)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(lambda exercise: _grade(exercise, folder, tests, seconds), exercises)


def is_tree(folder: Path) -> bool:
    """Whether it holds an engine, and not worksheets."""
    return (folder / "minidl" / "__init__.py").is_file()


def _grade(exercise: Exercise, folder: Path, tests: Path | None, seconds: float) -> dict[str, Any]:
    grade: dict[str, Any] = {"number": exercise.number, "id": exercise.id, "stage": exercise.stage}
    tree, file = (folder, "") if is_tree(folder) else (root(), str(Workplace(folder).file(exercise)))
    try:
        if file:
            text = Workplace(folder).text(exercise)
            if text is None:
                return grade | {"status": "missing"}
            if is_blank(text, exercise):
                return grade | {"status": "blank"}
            mine = submission(exercise, text, file)
        else:
            mine = in_tree(exercise, tree)
    except (ValueError, OSError, SyntaxError, RecursionError, MemoryError) as error:
        return grade | {"status": "invalid", "message": str(error)}
    verdict = judge(exercise, [mine], tree=tree, tests=tests, seconds=seconds)
    return grade | _as_data(verdict, file)


def _as_data(verdict: Verdict, file: str) -> dict[str, Any]:
    failed = {failure.test.rpartition("::")[2]: f"{failure.kind}: {failure.text}" for failure in verdict.failures}
    blank = bool(failed) and all(failure.kind == "ExerciseTodo" for failure in verdict.failures)
    return {
        "status": "passed" if verdict.passed else "blank" if blank else "failed",
        "passed_tests": verdict.passed_tests,
        "failed_tests": failed,
        "calls": verdict.calls,
        "message": "" if verdict.passed else explained(verdict, file),
    }
