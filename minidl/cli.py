"""The command line: `minidl demo`, `train`, `summary`, `profile`, `gradcheck`, `exercise`, `doctor`."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence

from minidl import process
from minidl.backend import DeviceError
from minidl.checkpoint import CheckpointError
from minidl.commands.checking import add_doctor, add_gradcheck
from minidl.commands.exercise import add_exercise
from minidl.commands.options import UsageError
from minidl.commands.profile import add_profile
from minidl.commands.summary import add_summary
from minidl.commands.training import add_demo, add_train
from minidl.train import TrainingDiverged, TrainingInterrupted
from minidl.version import __version__

PREPARED = ("demo", "train", "profile")  # commands that compute long enough for it


def program() -> int:
    """The program `minidl`: the command that its arguments name, in a process that is prepared for computing."""
    if sys.argv[1:] and sys.argv[1] in PREPARED:
        process.prepare()
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Its exit status: 0; 1 when a check failed; 2 for a usage error; 130 after Ctrl-C; 141 when stdout
    was closed.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no × shows a question mark
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status: int = options.run(options)
        print(end="", flush=True)  # here, where a closed pipe is still noticed
        return status
    except BrokenPipeError:  # `minidl ... | head`: its reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (
        UsageError,
        DeviceError,
        CheckpointError,
        MemoryError,
        TrainingDiverged,
        ModuleNotFoundError,
        OSError,
        ValueError,
    ) as error:
        print(f"minidl {options.command}: {error}", *getattr(error, "__notes__", ()), sep="\n  ", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        when = f" after {interruption.epoch} epoch(s)" if isinstance(interruption, TrainingInterrupted) else ""
        print(f"\nminidl {options.command}: interrupted{when}", file=sys.stderr)
        if hasattr(options, "resume") and any((*options.output.glob("last.npz"), *options.output.glob("*/last.npz"))):
            again = arguments if options.resume else [*arguments, "--resume"]
            print(f"to go on:  minidl {shlex.join(again)}", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands. What it gives has `run`, a function that takes it."""
    parser = argparse.ArgumentParser(
        prog="minidl",
        description="A deep-learning engine to read: autograd, convolutions and four families of networks on NumPy.",
        epilog="`minidl COMMAND --help` explains a command and its options.",
    )
    parser.add_argument("--version", action="version", version=f"minidl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add in (add_demo, add_train, add_summary, add_profile, add_gradcheck, add_exercise, add_doctor):
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(program())
