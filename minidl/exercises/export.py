"""A tree for students: this one, with the bodies of some exercises gone, and nothing in it that has them.

It is written from the files of this tree alone: no history, no caches, no worksheets. The known mistakes, which are
right bodies but for a line, stay behind too; what comes of them goes with it, so that their advice can still be given.
"""

from __future__ import annotations

import ast
import concurrent.futures
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minidl.exercises.advice import KNOWN_FAILURES, judge_mistake
from minidl.exercises.curriculum import FILE, Curriculum, Exercise, curriculum
from minidl.exercises.runner import Failure, judges_of
from minidl.exercises.substitution import find
from minidl.exercises.worksheet import Source, blank, root, source_of, span

FOLDERS = ("minidl", "models", "tests/exercises")
FILES = ("LICENSE", "pyproject.toml", "setup.cfg", "tests/oracle.py", "tests/blocks.py")
LEFT_OUT = ("__pycache__", "*.pyc", ".*", "*.egg-info", "WALKTHROUGH.md")


def export(letter: str, folder: Path, tests: Path | None, done: Callable[[], None]) -> list[Exercise]:
    """Write the tree, and return the exercises whose bodies are gone: those of stage `letter` and of later stages.

    tests   a folder of judges that are added; an exercise that they are for loses minidl's own
    done    is called when an exercise is done

    Raises: FileExistsError for a folder that has something in it. UnknownExercise for a letter that is no stage.
    """
    course = curriculum()
    letter, folder = course.stage(letter).letter, folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already, and not empty; choose another folder")
    open_ones = [exercise for exercise in course.from_stage(letter) if not exercise.defects]
    failures = known_failures(open_ones, tests, done)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        _copy(part)
        _blank(part, open_ones)
        _write_curriculum(part, course, letter)
        (part / KNOWN_FAILURES.relative_to(root())).write_text(json.dumps(failures, indent=1) + "\n")
        (part / "README.md").write_text(_readme(course, letter), encoding="utf-8")
        if tests is not None:
            _add_judges(part, course, tests)
        if folder.exists():
            folder.rmdir()
        part.chmod(0o755)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return open_ones


def known_failures(exercises: Sequence[Exercise], tests: Path | None, done: Callable[[], None]) -> list[dict[str, Any]]:
    """What comes of each known mistake, with the advice for it."""

    def of(exercise: Exercise) -> list[dict[str, Any]]:
        verdicts = [(mistake, judge_mistake(exercise, mistake, tests)) for mistake in exercise.mistakes]
        done()
        return [
            {"id": exercise.id, "advice": mistake.advice, **_essence(verdict.failures[0])}
            for mistake, verdict in verdicts
            if verdict.failures
        ]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return [entry for entries in pool.map(of, exercises) for entry in entries]


def _essence(failure: Failure) -> dict[str, Any]:
    """What `same_failure` compares."""
    text = "" if failure.kind == "Wrong" else failure.text
    return {"test": failure.test.rpartition("/")[2], "kind": failure.kind, "text": text, "got": failure.got}


def _copy(part: Path) -> None:
    here = root()
    for name in FOLDERS:
        shutil.copytree(here / name, part / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (part / FILE.relative_to(here)).with_name("README.md").unlink()  # it is for instructors, and points to solutions
    for name in FILES:
        shutil.copy(here / name, part / name)


def _blank(tree: Path, exercises: Sequence[Exercise]) -> None:
    """Take the bodies out of the tree's modules."""
    of_module: dict[str, list[tuple[str, Exercise]]] = {}
    for exercise in exercises:
        for target in (*exercise.targets, *exercise.twins):
            module, _, name = target.partition(":")
            of_module.setdefault(module, []).append((name, exercise))
    for module, names in of_module.items():
        source = Source(module, tree)
        lines = list(source.lines)
        places = sorted(((span(find(source.tree, name)), name, exercise) for name, exercise in names), reverse=True)
        for (start, end), _, exercise in places:  # from the last one on, so that line numbers stay true
            lines[start:end] = blank("\n".join(lines[start:end]), exercise).splitlines()
        last = max(node.end_lineno or 0 for node in source.tree.body if isinstance(node, ast.Import | ast.ImportFrom))
        lines.insert(last, "from minidl.exercises import ExerciseTodo")
        source.path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_curriculum(tree: Path, course: Curriculum, letter: str) -> None:
    """The curriculum, without the mistakes of exercises that are open. (Of a bug hunt they are the task.)"""
    lines = [f"exported = {json.dumps(letter)}  # from this stage on, the bodies are gone"]
    for stage in course.stages:
        lines += ["", "[[stage]]", *_entries(asdict(stage))]
    for exercise in course.exercises:
        entry = asdict(exercise)
        if exercise.stage >= letter:
            entry["mistakes"] = entry["twins"] = ()
        del entry["number"]
        lines += ["", "[[exercise]]", *_entries(entry)]
    (tree / FILE.relative_to(root())).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _entries(entry: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in entry.items() if value not in ((), [])]


def _toml(value: Any) -> str:
    """A value as TOML has it. Strings are JSON's; tables stand on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items() if one != "") + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _add_judges(tree: Path, course: Curriculum, tests: Path) -> None:
    added = [file for file in sorted(tests.rglob("*.py")) if "__pycache__" not in file.parts]
    texts = [file.read_text(encoding="utf-8") for file in added]
    own = tree / "tests" / "exercises"
    for exercise in course.exercises:
        if judges_of(exercise, tests)[0].is_relative_to(tests):
            for file in judges_of(exercise):
                (own / file.name).unlink()
    for file, text in zip(added, texts, strict=True):
        place = own / file.relative_to(tests)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _readme(course: Curriculum, letter: str) -> str:
    first = course.from_stage(letter)[0].number
    stages = [stage for stage in course.stages if stage.letter >= letter]
    rows = [
        f"| {e.number} | `{e.id}` | {e.title} | {', '.join(f'`{source_of(t)[0].relative}`' for t in e.targets[:1])} |"
        for e in course.from_stage(letter)
    ]
    return f"""# minidl, to be rebuilt

A deep-learning engine on NumPy, in which some functions are still to be written: those of the stages
{", ".join(f"{stage.letter} ({stage.title.lower()})" for stage in stages)}. Where a body is missing stands
`raise ExerciseTodo`; the docstring above it says what it should do, and tests judge it.

```sh
python3 -m venv .venv && .venv/bin/pip install -e ".[test]"
.venv/bin/minidl exercise list
```

There are two ways to write a function. In a worksheet, a file of its own:

```sh
minidl exercise start {first}     # writes it
minidl exercise check {first}     # puts it in the engine's place and judges it
```

or right where it is missing: then `minidl exercise check {first}` judges the tree as it stands.
`minidl exercise --help` lists the rest: hints, a watcher, and training a network with what you have written.

| | exercise | | where |
|---:|---|---|---|
{chr(10).join(rows)}
"""
