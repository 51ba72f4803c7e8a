"""What the commands of `minidl exercise` have in common: options, which exercise is meant, and what they need."""

from __future__ import annotations

import argparse
import importlib.util
import math
from pathlib import Path

from minidl.commands.options import UsageError
from minidl.exercises.curriculum import Exercise, curriculum
from minidl.exercises.runner import SECONDS
from minidl.exercises.workplace import Workplace
from minidl.exercises.worksheet import root


def add_folder(parser: argparse.ArgumentParser) -> None:
    text = "the folder of your worksheets (default: work)"
    parser.add_argument("--dir", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=text)


def add_judging(parser: argparse.ArgumentParser) -> None:
    text = "after which a check is stopped (default %(default)g)"
    parser.add_argument("--seconds", type=_seconds, default=SECONDS, metavar="S", help=text)
    add_tests(parser)


def add_tests(parser: argparse.ArgumentParser) -> None:
    text = "judges of your own; of the exercises that they are for, they replace minidl's"
    parser.add_argument("--tests", type=_folder, metavar="DIR", help=text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text!r}")
    return seconds


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder, got {text!r}")
    return Path(text).resolve()


def workplace(options: argparse.Namespace) -> Workplace:
    here = Path("progress.txt").is_file() and not Path("work").is_dir()  # it was called in the folder itself
    folder = getattr(options, "dir", Path(".") if here else Path("work"))
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--dir {folder}: expected a folder, and that is a file")
    return Workplace(folder.absolute())


def named_or_last(options: argparse.Namespace, place: Workplace) -> Exercise:
    """The exercise that was named; otherwise the one whose worksheet was saved last."""
    if options.exercise is not None:
        return curriculum()[options.exercise]
    exercise = place.saved_last()
    if exercise is None:
        raise UsageError(
            f"there is no worksheet in {short(place.folder)} yet: `minidl exercise start` writes the first"
        )
    return exercise


def require_tests() -> None:
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("the judges need pytest: pip install -e '.[test]'")
    if not (root() / "tests" / "exercises").is_dir():
        raise UsageError(
            f"the judges are not here: run this in a clone of minidl, installed with `pip install -e` ({root()})"
        )


def short(path: Path) -> str:
    """A path as one would write it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
