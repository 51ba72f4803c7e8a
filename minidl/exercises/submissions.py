"""What was handed in: whether it can be judged, and if not, what is missing or in the way."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from pathlib import Path

from minidl.exercises.curriculum import Exercise
from minidl.exercises.substitution import (
    Definition,
    Submission,
    extras,
    find,
    imported,
    is_import,
    is_text,
    is_trial,
    names_of,
    parent,
    parsed,
)
from minidl.exercises.worksheet import body_of, definitions, source_of


class CannotBeJudged(ValueError):
    """A worksheet that is no submission: the message says what is missing or in the way."""


def submission(exercise: Exercise, text: str, file: Path | str, tree: Path | None = None) -> Submission:
    """A worksheet as it was filled in. Raises: CannotBeJudged."""
    try:
        theirs = parsed(text, str(file))
        compile(text, str(file), "exec", dont_inherit=True)  # a `return` in a class, say, is found only now
    except (RecursionError, MemoryError):
        raise CannotBeJudged("this is too deeply nested for Python") from None
    except SyntaxError as error:
        place = f"line {error.lineno}: " if error.lineno else ""
        raise CannotBeJudged(f"{place}this is not Python: {error.msg}{_marked(error, text)}") from None
    _check_statements(theirs)
    for target in exercise.targets:
        source, name = source_of(target, tree)
        try:
            new = find(theirs, name)
        except KeyError:
            raise CannotBeJudged(
                f"{name} is missing: the worksheet must define it, spelled like this and with `def`; `minidl exercise "
                f"reset {exercise.number}` writes a fresh worksheet and keeps yours as a backup"
            ) from None
        _check_signature(name, new, find(source.tree, name))
    own = {target: source_of(target, tree)[0].tree for target in exercise.targets}
    every = {key for module in own.values() for key in imported(module)}
    known = sorted(key for key in every if key.split()[1].split(".")[0] in ("minidl", "models"))
    for target, module in own.items():
        _check_names(exercise, target, theirs, module, {*known, *imported(module)})
    return Submission(str(file), text, exercise.targets, tuple(known))


def _marked(error: SyntaxError, text: str) -> str:
    """The line of an error, with a mark below the place."""
    lines = text.splitlines()
    if not error.lineno or error.lineno > len(lines):
        return ""
    line = lines[error.lineno - 1].rstrip()
    before = len(line) - len(line.lstrip())
    return f"\n    {line.lstrip()}\n    {' ' * ((error.offset or 1) - 1 - before)}^"


def _check_statements(theirs: ast.Module) -> None:
    """Raises: CannotBeJudged unless a worksheet only defines, and each thing once."""
    allowed = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Pass | ast.AsyncFunctionDef
    for body in (theirs.body, *(node.body for node in theirs.body if isinstance(node, ast.ClassDef))):
        seen: dict[str, int] = {}
        for node in body:
            if isinstance(node, Definition):
                if node.name in seen and not node.decorator_list:
                    before = seen[node.name]
                    raise CannotBeJudged(f"line {node.lineno}: {node.name} is defined in line {before} already")
                seen[node.name] = node.lineno
            elif not isinstance(node, allowed) and not is_text(node) and not is_trial(node):
                raise CannotBeJudged(
                    f"line {node.lineno}: only definitions are taken from a worksheet; what tries them out belongs "
                    'below `if __name__ == "__main__":`, or into a file of its own'
                )


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
    function = parsed(f"def _({ast.unparse(node.args)}): 0").body[0]
    assert isinstance(function, ast.FunctionDef)
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(function.args)


def _check_names(exercise: Exercise, target: str, theirs: ast.Module, own: ast.Module, known: Collection[str]) -> None:
    """Raises: CannotBeJudged for a name of the learner's that their module, or class, has for something else."""
    module, name = target.split(":")
    written = {other.split(":")[1] for other in exercise.targets}
    taken = set(names_of(own)) - {other.split(".")[0] for other in written}
    for node in extras(theirs, exercise.targets, known):
        for new in names_of(ast.Module([node], [])):
            if new in taken:
                raise CannotBeJudged(
                    f"line {node.lineno}: {new} is something else in {module} already, and not a part of this "
                    "exercise: call yours something else"
                )
    place = parent(own, name)
    if not isinstance(place, ast.ClassDef):
        return
    taken = {new for node in place.body for new in names_of(ast.Module([node], []))}
    for node in parent(theirs, name).body:
        for new in names_of(ast.Module([node], [])):
            if new in taken and f"{place.name}.{new}" not in written:
                raise CannotBeJudged(
                    f"line {node.lineno}: {place.name}.{new} is not a part of this exercise, and stays as it is: leave "
                    "it a comment, or call yours something else"
                )


def require_no_collisions(submissions: Sequence[Submission]) -> None:
    """Raises: CannotBeJudged where two worksheets for one module define helpers of one name."""
    where: dict[tuple[str, str], str] = {}
    for one in submissions:
        helpers = extras(parsed(one.text), one.targets, one.known) if one.text else []
        for module in {target.split(":")[0] for target in one.targets}:
            for name in (new for node in helpers if not is_import(node) for new in names_of(ast.Module([node], []))):
                other = where.setdefault((module, name), one.file)
                if other != one.file:
                    raise CannotBeJudged(
                        f"{Path(other).name} and {Path(one.file).name} are both for {module}, and both define {name}: "
                        "call one of the two something else"
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
        tree = parsed(text)
        bodies = [find(tree, target.split(":")[1]) for target in exercise.targets]
    except (SyntaxError, ValueError, KeyError, RecursionError, MemoryError):
        return False
    return not exercise.defects and all(
        any(isinstance(s, ast.Raise) and "ExerciseTodo" in ast.unparse(s) for s in body_of(node)) for node in bodies
    )
