"""Submissions judged: what the judges say of them, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minidl.exercises.curriculum import Exercise
from minidl.exercises.substitution import Submission
from minidl.exercises.worksheet import root

SECONDS = 60.0  # for the judges of one exercise


@dataclass(frozen=True)
class Failure:
    """A judge that is not content, or could not come to a verdict."""

    test: str  # "tests/exercises/test_05_sum_to.py::test_bias"
    says: str  # what the test is about
    kind: str  # of the exception: "Wrong", "ExerciseTodo", "NameError" ...
    text: str
    frames: tuple[tuple[str, int, str, str], ...] = ()  # file, line, function, source
    got: Any = None


@dataclass(frozen=True)
class Verdict:
    """What the judges of an exercise said of a submission."""

    exercise: Exercise
    passed_tests: int = 0
    failures: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()
    calls: dict[str, int] = field(default_factory=dict)
    stuck: str = ""  # where it was when time was up
    output: str = ""  # of the process and its status, where it ended without a verdict
    printed: str = ""  # by the submission, in the first test in which it did

    @property
    def uncalled(self) -> list[str]:
        """The functions that no judge has called."""
        return [target for target in self.exercise.targets if not self.calls.get(target)]

    @property
    def passed(self) -> bool:
        """Every test ran and passed, there was one at least, and they ran the learner's functions."""
        complete = not (self.failures or self.skipped or self.stuck or self.output or self.uncalled)
        return complete and self.passed_tests > 0


def judge(
    exercise: Exercise,
    submissions: Sequence[Submission],
    *,
    tree: Path | None = None,
    tests: Path | None = None,
    seconds: float = SECONDS,
) -> Verdict:
    """What the judges of `exercise` say of minidl with these submissions in it.

    tree    the folder with the packages `minidl` and `models`; by default, this one
    tests   a folder of other judges; of the exercises that they are for, they are the only ones
    """
    result, output, stuck = _in_court(tree or root(), submissions, seconds, exercise, tests)
    if result is None:
        return Verdict(exercise, stuck=stuck, output="" if stuck else output)
    failures = [_failure("", error) for error in result["errors"]]
    failures += [_failure(test, what) for test, what in result["tests"].items() if what["outcome"] == "failed"]
    skipped = tuple(test for test, what in result["tests"].items() if what["outcome"] == "skipped")
    passed = sum(what["outcome"] == "passed" for what in result["tests"].values())
    printed = next((what["printed"] for what in result["tests"].values() if what.get("printed")), "")
    return Verdict(exercise, passed, tuple(failures), skipped, result["calls"], printed=printed)


def run_command(command: Sequence[str], submissions: Sequence[Submission], tree: Path | None = None) -> dict[str, Any]:
    """Run a command of minidl's with these submissions in it: {"status", "errors", "calls"}. It writes to stdout."""
    result, _, _ = _in_court(tree or root(), submissions, 0, command=list(command))
    return result or {"status": 1, "errors": [], "calls": {}}


def _in_court(
    tree: Path,
    submissions: Sequence[Submission],
    seconds: float,
    exercise: Exercise | None = None,
    tests: Path | None = None,
    command: Sequence[str] = (),
) -> tuple[dict[str, Any] | None, str, str]:
    """Run court.py: what it writes down, or None, then what it printed and where it was stuck."""
    with tempfile.TemporaryDirectory(prefix="minidl-") as folder:
        files = {name: str(Path(folder, name)) for name in ("result", "stuck", "pytest.ini")}
        Path(files["pytest.ini"]).write_text("[pytest]\n")
        request = {
            **files,
            "tree": str(tree),
            "tests": [str(file) for file in judges_of(exercise, tests)] if exercise else [],
            "ours": str(root()),
            "exercise": exercise.id if exercise else None,
            "command": list(command),
            "seconds": seconds,
            "submissions": [list(one) for one in submissions],
        }
        file = Path(folder, "request")
        file.write_text(json.dumps(request))
        alone = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # pytest, as it comes
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, **alone}
        command_line = [sys.executable, str(Path(__file__).with_name("court.py")), str(file)]
        if command:
            status = subprocess.run(command_line, env=environment).returncode
        else:
            status = _watched(command_line, Path(folder), environment, seconds + 20)
        said, result = Path(folder, "output"), Path(files["result"])
        stuck = Path(files["stuck"])
        return (
            json.loads(result.read_text()) if result.exists() else None,
            f"{said.read_text(errors='replace') if said.exists() else ''}(status {status})",
            stuck.read_text() if stuck.exists() else "",
        )


def _watched(command: Sequence[str], folder: Path, environment: dict[str, str], seconds: float) -> int:
    """Run a process, with all that it starts, for so long at most. What it prints is in `output`. Its exit status."""
    with open(folder / "output", "w") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            if hasattr(os, "killpg"):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()


def judges_of(exercise: Exercise, tests: Path | None = None) -> list[Path]:
    """The files of this exercise's judges: those in `tests` where it has some, otherwise ours."""
    mark = re.compile(rf"""exercise\(\s*["']{exercise.id}["']\s*\)""")
    for folder in (tests, root() / "tests" / "exercises"):
        files = sorted(folder.rglob("*.py")) if folder is not None else []
        found = [file for file in files if mark.search(file.read_text(encoding="utf-8", errors="replace"))]
        if found:
            return found
    return []


PLAIN = ("Wrong", "ExerciseTodo", "import", "pytest")  # kinds of failures that need no name before what they say


def _failure(test: str, what: dict[str, Any]) -> Failure:
    return Failure(
        test,
        " ".join(what.get("says", ())),
        what.get("kind", ""),
        what.get("last_line" if what.get("kind") not in PLAIN else "text", ""),
        tuple((str(file), int(line), str(name), str(source)) for file, line, name, source in what.get("frames", ())),
        what.get("got"),
    )
