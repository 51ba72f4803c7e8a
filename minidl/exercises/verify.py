"""The exercises, tried out: for each of them five proofs that it can be solved, and that its judges judge.

1. the engine's own bodies pass
2. what the learner gets fails every judge, with ExerciseTodo (a bug hunt: in any way)
3. each listed mistake fails, and its advice is given
4. the judges need nothing that is written later: they pass with all later exercises blank
5. there are three hints, none empty and none the solution, and three mistakes or more
"""

from __future__ import annotations

import ast
import concurrent.futures
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from minidl.exercises.advice import judge_mistake, same_failure
from minidl.exercises.curriculum import Exercise, curriculum
from minidl.exercises.runner import Verdict, judge
from minidl.exercises.submissions import CannotBeJudged, submission
from minidl.exercises.substitution import Submission, find
from minidl.exercises.worksheet import blank_worksheet, body_of, solved_worksheet, source_of

HINTS, MISTAKES = 3, 3


def verify(
    exercises: Sequence[Exercise], tests: Path | None = None, workers: int = 0
) -> Iterator[tuple[Exercise, list[str]]]:
    """Of each exercise, as it is done, what is wrong with it: nothing, one hopes."""
    with concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        jobs = {pool.submit(faults, exercise, tests): exercise for exercise in exercises}
        try:
            for job in concurrent.futures.as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def faults(exercise: Exercise, tests: Path | None = None) -> list[str]:
    """What the five proofs find wrong with an exercise, a line each."""
    try:
        return [
            *_of_hints(exercise),
            *_of_the_solution(exercise, tests),
            *_of_the_blank(exercise, tests),
            *_of_mistakes(exercise, tests),
            *_of_later_ones(exercise, tests),
        ]
    except (CannotBeJudged, ValueError, KeyError) as error:
        return [f"its worksheet cannot be made: {error}"]


def solved(exercise: Exercise) -> Submission:
    return submission(exercise, solved_worksheet(exercise), f"<{exercise.id}, solved>")


def blank(exercise: Exercise) -> Submission:
    return submission(exercise, blank_worksheet(exercise), f"<{exercise.id}, blank>")


def _of_the_solution(exercise: Exercise, tests: Path | None) -> list[str]:
    verdict = judge(exercise, [solved(exercise)], tests=tests)
    return [] if verdict.passed else [f"minidl's own does not pass: {_said(verdict)}"]


def _of_the_blank(exercise: Exercise, tests: Path | None) -> list[str]:
    verdict = judge(exercise, [blank(exercise)], tests=tests)
    found = [f"passes unsolved: {verdict.passed_tests} test(s)"] if verdict.passed_tests else []
    if verdict.output or verdict.stuck:
        found.append(f"unsolved, its tests do not run: {verdict.output}{verdict.stuck}")
    kinds = {failure.kind for failure in verdict.failures} - {"ExerciseTodo"}
    return found + ([f"unsolved, it fails with {', '.join(sorted(kinds))}"] if kinds and not exercise.defects else [])


def _of_mistakes(exercise: Exercise, tests: Path | None = None) -> list[str]:
    found = []
    if len(exercise.mistakes) < MISTAKES:
        found.append(f"{len(exercise.mistakes)} mistake(s) listed, {MISTAKES} wanted")
    seen: list[tuple[int, Verdict]] = []
    for i, mistake in enumerate(exercise.mistakes):
        verdict = judge_mistake(exercise, mistake, tests)
        if not verdict.failures:
            found.append(f"mistake {i} is not noticed: {mistake.advice!r}{verdict.output}{verdict.stuck}")
            continue
        if verdict.failures[0].kind == "ExerciseTodo":
            found.append(f"mistake {i} meets a blank: {mistake.advice!r}")
        found += [
            f"mistakes {j} and {i} look the same: they share {verdict.failures[0].test.rpartition('::')[2]}"
            for j, other in seen
            if same_failure(other.failures[0], verdict.failures[0])
        ]
        seen.append((i, verdict))
        if not mistake.advice.strip():
            found.append(f"mistake {i} has no advice")
    return found


def _of_later_ones(exercise: Exercise, tests: Path | None) -> list[str]:
    later = [blank(other) for other in curriculum().after(exercise)]
    verdict = judge(exercise, [solved(exercise), *later], tests=tests)
    return [] if verdict.passed else [f"needs a later exercise: {_said(verdict)}"]


def _of_hints(exercise: Exercise) -> list[str]:
    found = []
    if len(exercise.hints) != HINTS or not all(hint.strip() for hint in exercise.hints):
        found.append(f"expected {HINTS} hints, none of them empty")
    for target in exercise.targets:
        source, name = source_of(target)
        statements = [ast.unparse(s) for s in body_of(find(source.tree, name))]
        whole = "".join("".join(statements).split())
        found += [
            f"hint {i} is the solution of {name}"
            for i, hint in enumerate(exercise.hints, start=1)
            if whole in "".join(hint.replace("`", "").split())
        ]
    return found


def _said(verdict: Verdict) -> str:
    if verdict.failures:
        first = verdict.failures[0]
        return f"{first.test.rpartition('::')[2]}: {first.kind}: {first.text}"
    if verdict.uncalled:
        return f"no test calls {', '.join(verdict.uncalled)}"
    return verdict.output or verdict.stuck or f"{verdict.passed_tests} tests passed, {len(verdict.skipped)} skipped"
