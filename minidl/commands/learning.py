"""`minidl exercise start`, `check`, `hint` and the other commands for learners."""

from __future__ import annotations

import argparse
import difflib
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from minidl.commands.exercise_options import add_folder, add_judging, named_or_last, require_tests, short, workplace
from minidl.commands.options import UsageError
from minidl.exercises.advice import advice_for
from minidl.exercises.curriculum import Exercise, curriculum
from minidl.exercises.explain import explained, printed
from minidl.exercises.runner import judge, judges_of
from minidl.exercises.screen import say, waiting
from minidl.exercises.submissions import CannotBeJudged, is_blank, require_no_collisions
from minidl.exercises.workplace import Workplace
from minidl.exercises.worksheet import blank_worksheet, definitions, solved_worksheet

Run = Callable[[argparse.Namespace], int]

MARKS = {"passed": ("✓", "green"), "changed": ("~", "yellow"), "started": ("·", "cyan"), "": (" ", "")}
MEANINGS = {"passed": "passed", "changed": "changed since it passed", "started": "started"}


def add_learning(actions: argparse._SubParsersAction) -> None:
    saved_last = "that you saved last"
    add_command(actions, "list", _list, "show all exercises, and which you have passed")
    add_command(actions, "start", _start, "write the worksheet of an exercise", "that comes next")
    check = add_command(actions, "check", _check, "run the tests of an exercise on what you wrote", saved_last)
    check.add_argument("--all", action="store_true", help="every exercise that you have started")
    add_judging(check)
    hint = add_command(actions, "hint", _hint, "show a hint", saved_last)
    hint.add_argument("--more", action="store_true", help="one hint further; there are three")
    text = "show how minidl does it, beside what you wrote; after you have passed"
    solution = add_command(actions, "solution", _solution, text, saved_last)
    solution.add_argument("--give-up", action="store_true", help="without having passed")
    reset = add_command(actions, "reset", _reset, "write a fresh worksheet; yours is kept as a backup")
    reset.add_argument("exercise", metavar="EXERCISE", help="its number or name")
    add_judging(add_command(actions, "watch", _watch, "check each worksheet whenever you save it, until Ctrl-C"))


def add_command(
    actions: argparse._SubParsersAction, name: str, run: Run, text: str, default: str = ""
) -> argparse.ArgumentParser:
    """A command for learners; `default` says which exercise it is for where none is named."""
    action: argparse.ArgumentParser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if default:
        help_text = f"its number or name (default: the one {default})"
        action.add_argument("exercise", nargs="?", metavar="EXERCISE", help=help_text)
    add_folder(action)
    action.set_defaults(run=run)
    return action


def overview(options: argparse.Namespace) -> int:
    place, course = workplace(options), curriculum()
    states = [place.state(exercise) for exercise in course.open]
    passed = states.count("passed")
    say((f"{passed} of {len(states)} exercises passed", "bold"), "  " + "".join(_bar(states)))
    following = place.next(course)
    if following is None:
        say("all exercises are done; `minidl exercise run --mine` trains a network with your engine")
        return 0
    stage = course.stage(following.stage)
    say(
        f"\nnext: {following}: {following.title}  "
        f"(stage {stage.letter}, {stage.title.lower()}; {following.minutes} minutes)"
    )
    say(textwrap.fill(following.text.strip(), 100, initial_indent="  ", subsequent_indent="  "))
    verb = "check" if place.text(following) is not None else "start"
    say(
        "\n  ",
        (f"minidl exercise {verb} {following.number}", "bold"),
        "      `minidl exercise --help` lists all commands",
    )
    return 0


def _bar(states: list[str]) -> list[str]:
    return [{"passed": "█", "changed": "▓", "started": "▒"}.get(state, "░") for state in states]


def _list(options: argparse.Namespace) -> int:
    place, course = workplace(options), curriculum()
    for stage in course.stages:
        exercises = course.of_stage(stage.letter)
        minutes = sum(exercise.minutes for exercise in exercises)
        say((f"{stage.letter}  {stage.title}", "bold"), f"  (about {_hours(minutes)})")
        for exercise in exercises:
            mark, style = MARKS[place.state(exercise)]
            say("  ", (mark, style), f" {exercise.number:>2}  {exercise.id:24}{exercise.title}")
        say()
    say(", ".join(f"{MARKS[state][0]} {meaning}" for state, meaning in MEANINGS.items()))
    return 0


def _hours(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _start(options: argparse.Namespace) -> int:
    place, course = workplace(options), curriculum()
    exercise = place.next(course) if options.exercise is None else course[options.exercise]
    if exercise is None:
        raise UsageError("all exercises have been passed; name the one to start again, or `reset` it")
    written = place.start(exercise)
    missing = [name for name in exercise.requires if place.state(course[name]) != "passed"]
    say((str(exercise), "bold"), f": {exercise.title}  (about {exercise.minutes} minutes)\n")
    say(textwrap.fill(exercise.text.strip(), 100))
    say("\n" + textwrap.fill(f"Source: {exercise.source}", 100, subsequent_indent="  "))
    if missing:
        names = ", ".join(str(course[name]) for name in missing)
        given = (
            "write that first, for here it is missing"
            if course.exported
            else "until you have written that, minidl's own is used"
        )
        text = f"It builds on {names}; {given}."
        say(textwrap.fill(text, 100, subsequent_indent="  "))
    verb = "is your worksheet" if written else "is there already, and stays as it is"
    say("\n", (short(place.file(exercise)), "bold"), f" {verb}. Then:  minidl exercise check {exercise.number}")
    return 0


def _check(options: argparse.Namespace) -> int:
    require_tests()
    place = workplace(options)
    if options.all and options.exercise is not None:
        raise UsageError("check: name an exercise, or give --all")
    if not options.all:
        exercise = named_or_last(options, place)
        return 0 if _judged(exercise, place, options) else 1
    started = [exercise for exercise in curriculum().exercises if place.text(exercise) is not None]
    if not started:
        raise UsageError(
            f"there is no worksheet in {short(place.folder)} yet: `minidl exercise start` writes the first"
        )
    results = [_judged(exercise, place, options, brief=True) for exercise in started]
    say((f"{sum(results)} of {len(results)} passed", "bold"))
    return 0 if all(results) else 1


def _judged(exercise: Exercise, place: Workplace, options: argparse.Namespace, brief: bool = False) -> bool:
    """Judge a worksheet, say how it went, write it down; and return whether it passed."""
    course, text, file = curriculum(), place.text(exercise), place.file(exercise)
    if text is None and not course.is_in_place(exercise):
        raise UsageError(f"there is no {short(file)} yet: `minidl exercise start {exercise.number}` writes it")
    if text is not None and is_blank(text, exercise):
        _failed(exercise, f"nothing is written yet: {short(file)} still raises ExerciseTodo")
        return False
    try:
        mine = [place.submission(exercise)]
        if course.exported:  # what the tree lacks is taken from other worksheets
            mine += [place.submission(other) for other in place.passed(course) if other != exercise]
            require_no_collisions(mine)
    except CannotBeJudged as error:
        place.note_failed(exercise)
        _failed(exercise, f"{short(file)}, {error}")
        return False
    with waiting(f"judging {exercise}"):
        verdict = judge(exercise, mine, tests=options.tests, seconds=options.seconds)
    if verdict.passed:
        place.note_passed(exercise)
        calls = sum(verdict.calls.values())
        say(
            ("✓", "bold green"),
            f" {exercise}: passed  ({verdict.passed_tests} tests, which called your code {calls} times)",
        )
        if not brief:
            _say_next(exercise, place)
            for line in printed(verdict):
                say(line)
        return True
    place.note_failed(exercise)
    if brief:
        _failed(exercise, explained(verdict, str(file)).splitlines()[0])
        return False
    unchanged = text == blank_worksheet(exercise)  # a bug hunt's: what is said of mistakes would give it away
    with waiting("looking whether this is a known mistake"):
        advice = [] if unchanged else advice_for(verdict, options.tests)
    _failed(exercise, explained(verdict, str(file), advice))
    say(f"\nstuck?  minidl exercise hint {exercise.number}      the tests: {_tests_of(exercise, options.tests)}")
    return False


def _failed(exercise: Exercise, why: str) -> None:
    say(("✗", "bold red"), f" {exercise}: {why}")


def _tests_of(exercise: Exercise, tests: Path | None) -> str:
    """The files of its judges."""
    return ", ".join(short(file) for file in judges_of(exercise, tests))


def _say_next(exercise: Exercise, place: Workplace) -> None:
    if not curriculum().is_in_place(exercise):  # in a student's tree there is no solution to be shown
        say(f"  `minidl exercise solution {exercise.number}` shows how minidl does it")
    following = place.next(curriculum(), exercise)
    if following is not None:
        verb = "start" if place.text(following) is None else "check"
        say("  next:  ", (f"minidl exercise {verb} {following.number}", "bold"), f"    {following.title}")
    stage = curriculum().of_stage(exercise.stage)
    if exercise is stage[-1] and all(place.state(one) == "passed" for one in stage):
        say(
            "  a stage is done:  ",
            ("minidl exercise run --mine", "bold"),
            "  trains a network with what you have written",
        )


def _hint(options: argparse.Namespace) -> int:
    place = workplace(options)
    exercise = named_or_last(options, place)
    seen = place.of(exercise).hints
    shown = min(seen + 1, len(exercise.hints)) if options.more or not seen else seen
    if shown > seen:
        place.note(exercise, hints=shown)
    for number, hint in enumerate(exercise.hints[:shown], start=1):
        before = f"hint {number} of {len(exercise.hints)}: "
        say((before, "bold"), textwrap.fill(hint, 100, initial_indent=" " * len(before))[len(before) :])
    if shown < len(exercise.hints):
        say(f"\none further:  minidl exercise hint {exercise.number} --more")
    elif options.more and seen == shown:
        say(f"\nthat was the last. To see minidl's own:  minidl exercise solution {exercise.number} --give-up")
    return 0


def _solution(options: argparse.Namespace) -> int:
    place, course = workplace(options), curriculum()
    exercise = named_or_last(options, place)
    if course.exported and exercise.stage >= course.exported:
        raise UsageError(f"this tree has no solutions from stage {course.exported} on")
    if place.state(exercise) != "passed" and not options.give_up:
        raise UsageError(f"{exercise} has not passed yet; `--give-up` shows it all the same")
    if place.state(exercise) != "passed":
        place.note(exercise, gave_up=True)
    mine = place.text(exercise)
    if mine is None:
        say(definitions(exercise))
        return 0
    own = solved_worksheet(exercise).splitlines()
    difference = list(difflib.unified_diff(mine.splitlines(), own, "yours", "minidl's", n=3, lineterm=""))
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in difference or ["yours is minidl's, word for word"]:
        say((line, styles.get(line[:1], "")))
    return 0


def _reset(options: argparse.Namespace) -> int:
    place, exercise = workplace(options), curriculum()[options.exercise]
    kept = place.reset(exercise)
    place.note_failed(exercise)
    say(
        (short(place.file(exercise)), "bold"),
        " is fresh" + (f"; what you had is kept as {short(kept)}" if kept else ""),
    )
    return 0


def _watch(options: argparse.Namespace) -> int:
    require_tests()
    place = workplace(options)
    say(f"watching {short(place.folder)}: each worksheet is checked when you save it. Ctrl-C ends this.")
    say("by hand:  minidl exercise check")
    times = place.saved_at()
    try:
        while True:
            time.sleep(0.3)  # asking for times works on every file system
            now = place.saved_at()
            for exercise in (one for one, when in now.items() if times.get(one) != when):
                say(f"\n{time.strftime('%H:%M:%S')}  {place.file(exercise).name}", end="  ")
                _judged(exercise, place, options)
            times = now
    except KeyboardInterrupt:
        say("\nno longer watching")
        return 0
