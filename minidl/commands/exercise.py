"""`minidl exercise`: its commands for learners are in learning.py, those for instructors in teaching.py."""

from __future__ import annotations

import argparse

from minidl.commands.exercise_options import add_folder
from minidl.commands.learning import add_learning, overview
from minidl.commands.milestone import add_milestone
from minidl.commands.teaching import add_teaching


def add_exercise(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "exercise",
        help="rebuild minidl function by function, judged by tests",
        description=(
            "Exercises, from a difference quotient to Winograd's convolution. Each is a function of minidl whose body "
            "is gone; what you write takes its place in the engine, and tests judge it. Without a command: how far you "
            "are, and what comes next."
        ),
        epilog=(
            "EXERCISE is a number or a name from `minidl exercise list`. Your files are in ./work, or where --dir "
            "says; nothing there is overwritten without a backup. The exit status is 0 when what was checked passed, "
            "1 when it did not, 2 for a usage error."
        ),
    )
    parser.set_defaults(run=overview)
    add_folder(parser)
    actions = parser.add_subparsers(dest="action", metavar="COMMAND")
    add_learning(actions)
    add_milestone(actions)
    add_teaching(actions)
