"""A verdict in words: what was called, what came and what should have come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from minidl.exercises.curriculum import Exercise
from minidl.exercises.runner import Failure, Verdict


def explained(verdict: Verdict, file: str, advice: Sequence[str] = ()) -> str:
    """What a learner reads after a check that was not passed."""
    exercise = verdict.exercise
    if verdict.stuck:
        return _stuck(verdict, file)
    if verdict.output:
        return f"the process that ran your code came to an end before the tests did:\n{_indented(verdict.output)}"
    if verdict.passed:
        return f"all {verdict.passed_tests} tests passed"
    if not verdict.failures:
        if verdict.passed_tests and verdict.uncalled:
            names = ", ".join(target.split(":")[1] for target in verdict.uncalled)
            return f"the tests passed, but none of them has called {names}: nothing was judged"
        what = "a test was skipped, which proves nothing" if verdict.skipped else "there is no test"
        return f"{what}: so this is no pass"
    first, more = verdict.failures[0], len(verdict.failures) - 1
    count = len(verdict.failures) + verdict.passed_tests
    lines = [f"{len(verdict.failures)} of {count} tests failed" if first.test else "minidl cannot be imported with it"]
    if first.test:
        lines[0] += f"; the first is {first.test.rpartition('::')[2]}" + (f": {first.says}" if first.says else "")
    lines += ["", _indented(_what_happened(exercise, first, file))]
    lines += printed(verdict)
    for text in advice:
        lines += ["", f"Advice: {text}"]
    if more:
        lines += ["", "also failed: " + ", ".join(f.test.partition("::")[2] for f in verdict.failures[1:])]
    return "\n".join(lines)


def printed(verdict: Verdict) -> list[str]:
    """What the learner's code has printed, in the first test in which it did."""
    return ["", "your code printed:", _indented(_shortened(verdict.printed, 20))] if verdict.printed else []


def _what_happened(exercise: Exercise, failure: Failure, file: str) -> str:
    if failure.kind == "Wrong":
        return failure.text
    if failure.kind == "ExerciseTodo":
        first = "" if failure.text == str(exercise) else ", and this exercise needs it: write that one first"
        return f"{failure.text} is not written yet{first}{_where(failure, file)}"
    if failure.kind in ("import", "pytest"):
        return _shortened(failure.text, 20)
    if "reading from stdin" in failure.text:
        return f"it asks for input, and nobody is there to answer{_where(failure, file)}"
    if failure.kind == "BdbQuit":
        return f"a breakpoint stops nobody here; what you print is shown{_where(failure, file)}"
    return failure.text + _where(failure, file)


def _where(failure: Failure, file: str) -> str:
    """The lines of the learner's file that an error went through; where it has none, the judge's line."""
    frames = [frame for frame in failure.frames if frame[0] == file]
    if frames:
        lines = [f"\n{Path(f).name}, line {line}, in {name}:  {source}" for f, line, name, source in frames]
        return "".join(dict.fromkeys(lines[-4:]))
    judges = [frame for frame in failure.frames if Path(frame[0]).name.startswith("test_")]
    return "".join(f"\n{Path(f).name}, line {line}:  {source}" for f, line, _, source in judges[-1:])


def _stuck(verdict: Verdict, file: str) -> str:
    places = re.findall(r'File "(.*?)", line (\d+) in (\S+)', verdict.stuck)
    mine = [(line, name) for path, line, name in places if path == file]
    where = f", in line {mine[0][0]} ({mine[0][1]})" if mine else ""
    return (
        f"time was up: your code was still running{where}. Does a loop never end, or is one far longer than it must be?"
    )


def _shortened(text: str, most: int) -> str:
    lines = text.rstrip().splitlines()
    return "\n".join([*lines[:most], f"... ({len(lines) - most} more lines)"] if len(lines) > most else lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())
