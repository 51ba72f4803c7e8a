"""`minidl exercise run --mine`: a network trained with what a learner has written."""

from __future__ import annotations

import argparse
import textwrap
import time
from pathlib import Path
from typing import Any

from minidl.commands.exercise_options import workplace
from minidl.commands.learning import add_command
from minidl.commands.options import UsageError, positive
from minidl.exercises.curriculum import Exercise, curriculum
from minidl.exercises.runner import run_command
from minidl.exercises.screen import say
from minidl.exercises.submissions import CannotBeJudged, require_no_collisions
from minidl.exercises.workplace import Workplace


def add_milestone(actions: argparse._SubParsersAction) -> None:
    text = "train a network on handwritten digits with the functions that you wrote, in the place of minidl's own"
    run = add_command(actions, "run", _run, text)
    run.add_argument("--mine", action="store_true", required=True, help="with all that have passed")
    text = "passes over the images (default %(default)s)"
    run.add_argument("--epochs", type=positive, default=3, metavar="N", help=text)
    run.add_argument("--model", default="resnet_small", metavar="MODEL", help="which network (default %(default)s)")


def _run(options: argparse.Namespace) -> int:
    place, course = workplace(options), curriculum()
    mine = place.passed(course)
    if not mine:
        raise UsageError("nothing of yours has passed yet: `minidl exercise` says what comes next")
    submissions = [place.submission(exercise) for exercise in mine]
    try:
        require_no_collisions(submissions)
    except CannotBeJudged as collision:
        raise UsageError(str(collision)) from None
    functions = [target for exercise in mine for target in exercise.targets]
    every = [target for exercise in course.exercises for target in exercise.targets]
    theirs = "still to be written" if course.exported else "minidl's still"
    say(f"training {options.model}: of {len(every)} functions of the exercises {len(functions)} are yours", end=", ")
    say(f"{len(every) - len(functions)} are {theirs}\n")
    output = place.folder / "runs" / time.strftime("%Y-%m-%d-%H%M%S")
    command = ["train", options.model, "--epochs", str(options.epochs), "--output", str(output)]
    result = run_command(command, submissions)
    for error in result["errors"]:
        _say_error(error, mine, place)
    if result["status"]:
        return 1
    calls = {target.removeprefix("minidl."): result["calls"].get(target, 0) for target in functions}
    say("\nhow often your functions were called:")
    used = sum(count > 0 for count in calls.values())
    for name, count in sorted(calls.items(), key=lambda item: -item[1])[:used]:
        say(f"  {count:>10,}  {name}")
    unused = [name for name, count in calls.items() if not count]
    if unused:
        text = f"this network has no use for {', '.join(unused)}"
        say(textwrap.fill(text, 100, initial_indent="  ", subsequent_indent="  "))
    say(
        (f"{len(functions)} of the {len(every)} functions of the exercises are yours", "bold"),
        f"; {used} worked in this run",
    )
    return 0


def _say_error(error: dict[str, Any], mine: list[Exercise], place: Workplace) -> None:
    """An error of a training run, with the lines of the learner's worksheets that it went through."""
    say(("✗", "bold red"), f" {error['last_line']}")
    files = {str(place.file(exercise)): exercise for exercise in mine}
    for file, line, name, source in error["frames"]:
        if file in files:
            say(f"    {files[file]}: {Path(file).name}, line {line}, in {name}:  {source}")
