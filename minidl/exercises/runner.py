"""Submissions judged: whether they can be at all, and what the judges say, in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minidl.exercises.curriculum import Exercise
from minidl.exercises.substitution import Definition, Submission, find, imported, parent
from minidl.exercises.worksheet import body_of, definitions, root, source_of

SECONDS = 60.0  # for the judges of one exercise


class CannotBeJudged(ValueError):
    """A worksheet that is no submission: the message says what is missing or in the way."""


@dataclass(frozen=True)
class Failure:
    """A judge that is not content, or could not come to a verdict."""

    test: str  # "tests/exercises/test_05_sum_to.py::test_bias"
    says: str  # what the test is about
    kind: str  # of the exception: "Wrong", "ExerciseTodo", "NameError" ...
    text: str
    frames: tuple[tuple[str, int, str, str], ...] = ()  # file, line, function, source
    got: Any = None
    printed: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the judges of an exercise said of a submission."""

    exercise: Exercise
    passed_tests: int = 0
    failures: tuple[Failure, ...] = ()
    skipped: tuple[str, ...] = ()
    calls: dict[str, int] = field(default_factory=dict)
    stuck: str = ""  # where it was when time was up
    output: str = ""  # of the process, where it ended without a verdict

    @property
    def uncalled(self) -> list[str]:
        """The functions that no judge has called."""
        return [target for target in self.exercise.targets if not self.calls.get(target)]

    @property
    def passed(self) -> bool:
        """Every test ran and passed, there was one at least, and they ran the learner's functions."""
        complete = not (self.failures or self.skipped or self.stuck or self.output or self.uncalled)
        return complete and self.passed_tests > 0


def submission(exercise: Exercise, text: str, file: Path | str, tree: Path | None = None) -> Submission:
    """A worksheet as it was filled in. Raises: CannotBeJudged."""
    try:
        theirs = ast.parse(text, str(file))
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        before = len(line) - len(line.lstrip())
        mark = f"\n    {line.lstrip()}\n    {' ' * ((error.offset or 1) - 1 - before)}^" if line else ""
        raise CannotBeJudged(f"line {error.lineno}: this is not Python: {error.msg}{mark}") from None
    except ValueError as error:  # such as a null byte
        raise CannotBeJudged(f"this is not Python: {error}") from None
    for target in exercise.targets:
        source, name = source_of(target, tree)
        try:
            new = find(theirs, name)
        except KeyError:
            raise CannotBeJudged(
                f"{name} is missing: the worksheet must define it, spelled like this; `minidl exercise reset "
                f"{exercise.number}` writes a fresh worksheet and keeps yours as a backup"
            ) from None
        _check_signature(name, new, find(source.tree, name))
        _check_helpers(exercise, target, theirs, source.tree)
    known = {key for target in exercise.targets for key in imported(source_of(target, tree)[0].tree)}
    ours = sorted(key for key in known if key.split()[1].split(".")[0] in ("minidl", "models"))
    return Submission(str(file), text, exercise.targets, tuple(ours))


def _check_signature(name: str, new: Definition, own: Definition) -> None:
    assert isinstance(own, ast.FunctionDef)
    wanted = _signature(own)
    got = _signature(new) if isinstance(new, ast.FunctionDef) else type(new).__name__
    if got != wanted:
        raise CannotBeJudged(
            f"line {new.lineno}: the signature of {name} must stay ({wanted}), for that is how minidl calls it; here "
            f"it is ({got})"
        )


def _signature(node: ast.FunctionDef) -> str:
    """Names and defaults, without the annotations."""
    function = ast.parse(f"def _({ast.unparse(node.args)}): 0").body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(function.args)


def _check_helpers(exercise: Exercise, target: str, theirs: ast.Module, own: ast.Module) -> None:
    module, name = target.split(":")
    names = {node.name for node in own.body if isinstance(node, Definition)}
    written = {t.split(":")[1] for t in exercise.targets}
    for node in theirs.body:
        if isinstance(node, Definition) and node.name in names - {t.split(".")[0] for t in written}:
            raise CannotBeJudged(
                f"line {node.lineno}: {node.name} is defined in {module} already, and not a part of this exercise: "
                "call your helper something else"
            )
    place = parent(own, name)
    if not isinstance(place, ast.ClassDef):
        return
    members = {node.name for node in place.body if isinstance(node, Definition)}
    for node in parent(theirs, name).body:
        if isinstance(node, Definition) and node.name in members and f"{place.name}.{node.name}" not in written:
            raise CannotBeJudged(
                f"line {node.lineno}: {place.name}.{node.name} is not a part of this exercise, and stays as it is: "
                "leave it a comment, or call your helper something else"
            )


def in_tree(exercise: Exercise, tree: Path) -> Submission:
    """The functions of an exercise as they stand in a tree. Nothing takes their place; but calls are counted."""
    try:
        definitions(exercise, tree)
    except KeyError as error:
        raise CannotBeJudged(f"{error.args[0]} is missing in its module") from None
    return Submission("", "", exercise.targets)


def is_blank(text: str, exercise: Exercise) -> bool:
    """Whether nothing has been written yet: each definition still raises ExerciseTodo. Never true of a bug hunt."""
    try:
        tree = ast.parse(text)
        bodies = [find(tree, target.split(":")[1]) for target in exercise.targets]
    except (SyntaxError, ValueError, KeyError):
        return False
    return not exercise.defects and all(
        any(isinstance(s, ast.Raise) and "ExerciseTodo" in ast.unparse(s) for s in body_of(node)) for node in bodies
    )


# -------------------------------------------------------------------------------------------------------- the process


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
    return Verdict(exercise, passed, tuple(failures), skipped, result["calls"])


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
            "oracle": str(root() / "tests"),
            "exercise": exercise.id if exercise else None,
            "command": list(command),
            "seconds": seconds,
            "submissions": [list(one) for one in submissions],
        }
        file = Path(folder, "request")
        file.write_text(json.dumps(request))
        alone = {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # pytest, as it comes
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, **alone}
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("court.py")), str(file)],
            cwd=folder if exercise else None,
            env=environment,
            stdout=subprocess.PIPE if exercise else None,
            stderr=subprocess.STDOUT if exercise else None,
            text=True,
            errors="replace",
        )
        try:
            output, _ = process.communicate(timeout=seconds + 20 if seconds else None)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        stuck = Path(files["stuck"])
        where = stuck.read_text() if stuck.exists() else ""
        if not Path(files["result"]).exists():
            return None, output or f"its process ended with status {process.returncode}", where
        return json.loads(Path(files["result"]).read_text()), output or "", where


def judges_of(exercise: Exercise, tests: Path | None = None) -> list[Path]:
    """The files of this exercise's judges: those in `tests` where it has some, otherwise ours."""
    for folder in (tests, root() / "tests" / "exercises"):
        files = sorted(folder.rglob("*.py")) if folder is not None else []
        found = [file for file in files if f'exercise("{exercise.id}")' in file.read_text(encoding="utf-8")]
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
        what.get("printed", ""),
        tuple(what.get("notes", ())),
    )
