"""`minidl exercise grade`, `export` and `verify`, for instructors."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from minidl.commands.exercise_options import add_judging, add_tests, require_tests, short
from minidl.commands.options import UsageError, positive
from minidl.exercises.curriculum import curriculum
from minidl.exercises.export import export
from minidl.exercises.grading import grades, is_tree
from minidl.exercises.screen import counting, say
from minidl.exercises.verify import verify


def add_teaching(actions: argparse._SubParsersAction) -> None:
    text = "judge a folder of worksheets, or a student's tree; for instructors"
    grade = actions.add_parser("grade", help=text, description=f"{text[0].upper()}{text[1:]}.")
    grade.add_argument("folder", type=Path, metavar="DIR", help="a folder of worksheets, or a tree from `export`")
    grade.add_argument("--json", action="store_true", help="for a program to read")
    add_judging(grade)
    grade.set_defaults(run=_grade)

    text = "write a tree for students: this one, without the bodies that are theirs to write; for instructors"
    exporting = actions.add_parser("export", help=text, description=f"{text[0].upper()}{text[1:]}.")
    text = "the first stage that students write, with all after it"
    exporting.add_argument("--stage", required=True, metavar="LETTER", help=text)
    exporting.add_argument("folder", type=Path, metavar="DIR", help="a folder that does not exist yet, or is empty")
    add_tests(exporting)
    exporting.set_defaults(run=_export)

    text = "prove of each exercise that right passes, and wrong does not"
    verifying = actions.add_parser("verify", help=text, description=f"{text[0].upper()}{text[1:]}.")
    verifying.add_argument("exercise", nargs="*", metavar="EXERCISE", help="which (default: all)")
    text = "at a time (default: one a core)"
    verifying.add_argument("--workers", type=positive, metavar="N", help=text)
    add_tests(verifying)
    verifying.set_defaults(run=_verify)


def _grade(options: argparse.Namespace) -> int:
    require_tests()
    if not options.folder.is_dir():
        raise UsageError(f"{options.folder}: expected a folder of worksheets, or a tree from `export`")
    folder = options.folder.resolve()
    results = []
    with counting("grading", len(curriculum().exercises)) as advance:
        for grade in grades(folder, options.tests, options.seconds):
            results.append(grade)
            advance()
    passed = sum(grade["status"] == "passed" for grade in results)
    present = sum(grade["status"] != "missing" for grade in results)
    if not present:
        raise UsageError(
            f"{options.folder}: there is no worksheet in it, such as {curriculum().exercises[0].file_name}"
        )
    if options.json:
        kind = "tree" if is_tree(folder) else "worksheets"
        print(json.dumps({"folder": str(folder), "kind": kind, "passed": passed, "exercises": results}, indent=2))
    else:
        for grade in results:
            style = {"passed": "green", "failed": "red", "invalid": "red"}.get(grade["status"], "")
            first = grade.get("message", "").splitlines()[:1]
            say(f"{grade['number']:>2}  {grade['id']:24}", (f"{grade['status']:8}", style), "  ".join(["", *first]))
        say((f"{passed} of {len(results)} passed", "bold"))
    return 0 if passed == present else 1


def _export(options: argparse.Namespace) -> int:
    require_tests()
    course = curriculum()
    if course.exported:
        raise UsageError("this tree was exported itself, and has no solutions to leave out")
    stage = course.stage(options.stage)
    count = len(course.from_stage(stage.letter))
    with counting("making the known mistakes, for their advice", count) as advance:
        written = export(stage.letter, options.folder, options.tests, advance)
    functions = sum(len(exercise.targets) for exercise in written)
    say(
        (short(options.folder), "bold"),
        f": {functions} functions of {len(written)} exercises are to be written, ",
        end="",
    )
    say(f"from {written[0]} on; README.md in it says how")
    return 0


def _verify(options: argparse.Namespace) -> int:
    require_tests()
    course = curriculum()
    if course.exported:
        raise UsageError("this tree was exported, and has no right bodies to verify the exercises with")
    chosen = [course[name] for name in options.exercise] or list(course.exercises)
    wrong, begun = 0, time.monotonic()
    with counting("verifying", len(chosen)) as advance:
        for exercise, found in verify(chosen, options.tests, options.workers or 0):
            wrong += bool(found)
            mark = ("✗", "bold red") if found else ("✓", "green")
            mistakes = f"{len(exercise.mistakes)} mistakes noticed, each with its advice"
            say(mark, f" {exercise}" + ("" if found else f": solvable, judged, {mistakes}"))
            for line in found:
                say(f"    {line}")
            advance()
    say((f"{len(chosen) - wrong} of {len(chosen)} exercises hold", "bold"), f"  ({time.monotonic() - begun:.0f} s)")
    return 1 if wrong else 0
