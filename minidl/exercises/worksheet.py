"""Worksheets: the files that learners fill in, written from the engine's own source.

What a worksheet has of a function is what the engine has: decorators, signature, docstring, and, where the exercise
says so, some statements. The rest of the body is gone, comments too, and `raise ExerciseTodo` stands in its place. With
the body in it, right or wrong, it is a submission such as a learner's: so the exercises themselves are tried out.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from minidl.exercises.curriculum import Exercise, Mistake, curriculum
from minidl.exercises.substitution import Definition, find, parsed

Fill = Callable[[str, str], str]  # (target, its source in the engine) → its source in the worksheet


class Source:
    """The source of a module, and its definitions."""

    def __init__(self, module: str, root: Path) -> None:
        path = root.joinpath(*module.split("."))
        self.path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        self.relative = self.path.relative_to(root).as_posix()
        self.text = self.path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.tree = parsed(self.text)

    def definition(self, name: str) -> str:
        """The whole definition called `name`, from its first decorator on, indented as in the file."""
        return "\n".join(self.lines[slice(*span(find(self.tree, name)))])

    def statement(self, node: ast.stmt) -> str:
        return "\n".join(self.lines[node.lineno - 1 : node.end_lineno])


def root() -> Path:
    """The folder that holds the package `minidl`."""
    spec = importlib.util.find_spec("minidl")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).resolve().parents[1]


def source_of(target: str, tree: Path | None = None) -> tuple[Source, str]:
    """The module of a target, and the name that it has there."""
    module, _, name = target.partition(":")
    return Source(module, tree or root()), name


def definitions(exercise: Exercise, tree: Path | None = None) -> str:
    """The functions of an exercise as they stand in a tree. Raises: KeyError for one that is not there."""
    found = (source_of(target, tree) for target in exercise.targets)
    return "\n".join(source.definition(name) for source, name in found)


def span(node: Definition) -> tuple[int, int]:
    """The lines of a definition, counted from 0, its decorators among them."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    assert node.end_lineno is not None
    return first - 1, node.end_lineno


# ------------------------------------------------------------------------------------------------- one definition


def body_of(node: Definition) -> list[ast.stmt]:
    """The statements after the docstring."""
    return node.body[1:] if ast.get_docstring(node) is not None else node.body


def head(text: str) -> str:
    """A definition up to its docstring, with that."""
    node = _parsed(text)
    lines = text.splitlines()
    body = body_of(node)
    end = node.body[0].end_lineno if body != node.body else _first_line(body[0]) - 1
    return "\n".join(lines[:end])


def blank(text: str, exercise: Exercise) -> str:
    """A definition whose body is still to be written, but for the statements that the exercise keeps."""
    node, lines = _parsed(text), text.splitlines()
    indent = " " * body_of(node)[0].col_offset
    parts, missing = [head(text)], False
    for statement in body_of(node):
        kept = "\n".join(lines[_first_line(statement) - 1 : statement.end_lineno])
        if kept.strip().startswith(exercise.keep):
            parts.append(kept)
        elif not missing:
            missing = True
            parts.append(f'{indent}raise ExerciseTodo("{exercise}")')
    return "\n".join(parts)


def with_body(text: str, body: str) -> str:
    """A definition with another body."""
    indent = " " * body_of(_parsed(text))[0].col_offset
    return f"{head(text)}\n{textwrap.indent(textwrap.dedent(body).strip(), indent)}"


def mistaken(text: str, mistake: Mistake) -> str:
    """A definition in which this mistake is made. Raises: ValueError unless the text to be replaced is there once."""
    if mistake.body:
        return with_body(text, mistake.body)
    if text.count(mistake.find) != 1:
        raise ValueError(f"{mistake.target}: {mistake.find!r} stands there {text.count(mistake.find)} times, not once")
    return text.replace(mistake.find, mistake.replace)


def _parsed(text: str) -> ast.FunctionDef:
    """A definition that may be indented, with line numbers and columns as in its text."""
    inside = text.startswith((" ", "\t"))
    tree = parsed(f"class _:\n{text}" if inside else text)
    node = tree.body[0].body[0] if inside else tree.body[0]  # type: ignore[attr-defined]
    if inside:
        ast.increment_lineno(node, -1)
    assert isinstance(node, ast.FunctionDef)
    return node


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


# ---------------------------------------------------------------------------------------------------- whole worksheets


def blank_worksheet(exercise: Exercise, tree: Path | None = None) -> str:
    """The worksheet as a learner gets it. For a bug hunt the bodies are there, with their defects."""

    def fill(target: str, text: str) -> str:
        if not exercise.defects:
            return blank(text, exercise)
        for defect in exercise.defects:
            if defect.target == target:
                text = mistaken(text, defect)
        return text

    return worksheet(exercise, fill, tree)


def solved_worksheet(exercise: Exercise, tree: Path | None = None) -> str:
    """The worksheet with the engine's own bodies."""
    return worksheet(exercise, lambda target, text: text, tree)


def mistaken_worksheet(exercise: Exercise, mistake: Mistake, tree: Path | None = None) -> str:
    """The worksheet with the engine's own bodies and one mistake."""
    return worksheet(exercise, lambda target, text: mistaken(text, mistake) if target == mistake.target else text, tree)


def worksheet(exercise: Exercise, fill: Fill, tree: Path | None = None) -> str:
    """The text of a worksheet, with each definition as `fill` gives it."""
    sources = {target: source_of(target, tree) for target in exercise.targets}
    files = {source.relative: source for source, _ in sources.values()}
    imports = _imports(exercise, list(files.values()))
    outer: dict[tuple[str, str], list[str]] = {}  # of each class or function at the top: what is to be written in it
    for target, (source, name) in sources.items():
        outer.setdefault((source.relative, name.split(".")[0]), []).append(target)
    parts = [_introduction(exercise, list(files)), "", imports]
    before = ""
    for (file, name), targets in outer.items():
        parts += ["", "", f"# {file}"] if len(files) > 1 and file != before else []
        parts += ["", ""]
        before = file
        definitions = [fill(target, sources[target][0].definition(sources[target][1])) for target in targets]
        if isinstance(find(files[file].tree, name), ast.ClassDef):
            parts.append(_class_around(files[file], name, targets, definitions))
        else:
            parts += definitions
    return "\n".join(parts).rstrip() + "\n"


def _introduction(exercise: Exercise, files: Sequence[str]) -> str:
    known = curriculum()
    stage = known.stage(exercise.stage)
    builds_on = ", ".join(str(known[name]) for name in exercise.requires)
    where = ", ".join(files)
    lines = [
        f'"""Exercise {exercise.number} of {len(known.exercises)}: {exercise.title}',
        f"(stage {stage.letter}, {stage.title.lower()}; about {exercise.minutes} minutes)",
        "",
        *textwrap.wrap(exercise.text, 100),
        "",
        *textwrap.wrap(f"Source: {exercise.source}", 100, subsequent_indent="  "),
        *textwrap.wrap(f"Builds on: {builds_on}" if builds_on else "", 100, subsequent_indent="  "),
        "",
        f"    minidl exercise check {exercise.number:<6} runs the tests",
        f"    minidl exercise hint {exercise.number:<7} gives a hint, if you are stuck",
        "",
        *textwrap.wrap(
            f"What you write below takes the place of minidl's own, in {where}; whatever else is defined there can be "
            "used. Helpers of your own and further imports may stand in this file, too. As everywhere in minidl, "
            "images are (N, H, W, C), float32 stays float32, and nothing that is given is written to.",
            100,
        ),
        '"""',
    ]
    return "\n".join(lines)


def _imports(exercise: Exercise, sources: Sequence[Source]) -> str:
    """What the modules import, and what stands in them beside the targets. (For editors; minidl has it in any case.)"""
    plain: dict[str, None] = {}
    named: dict[str, dict[str, None]] = {}  # of each module, what is imported from it
    for node in (node for source in sources for node in source.tree.body):
        if isinstance(node, ast.Import):
            plain[ast.unparse(node)] = None
        elif isinstance(node, ast.ImportFrom):
            named.setdefault(node.module or "", {}).update((ast.unparse(name), None) for name in node.names)
    for source in sources:
        module = source.relative.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        own = {target.split(":")[1].split(".")[0] for target in exercise.targets if target.startswith(f"{module}:")}
        neighbours = [name for node in source.tree.body for name in _defined(node) if name not in own]
        named.setdefault(module, {}).update((name, None) for name in neighbours if not name.startswith("__"))
    named["minidl.exercises"] = {"ExerciseTodo": None}
    named.pop("__future__")
    froms = [_import_from(module, list(names)) for module, names in named.items() if names]
    standard = [line for line in froms if not line.startswith(("from minidl", "from models"))]
    ours = [line for line in froms if line not in standard]
    return "\n".join(["from __future__ import annotations", "", *plain, *standard, "", *ours])


def _import_from(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= 100:
        return line
    body = textwrap.fill(", ".join(names) + ",", 96, initial_indent="    ", subsequent_indent="    ")
    return f"from {module} import (\n{body}\n)"


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, Definition):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _class_around(source: Source, name: str, targets: Sequence[str], definitions: Sequence[str]) -> str:
    """A class with its docstring, the definitions, and the rest of it as a comment."""
    node = find(source.tree, name)
    start, _ = span(node)
    first = node.body[0] if ast.get_docstring(node) is not None else None
    end = first.end_lineno if first is not None else _first_line(node.body[0]) - 1
    parts = ["\n".join(source.lines[start:end])]
    written = {target.split(":")[1] for target in targets}
    context = []
    for member in body_of(node):
        if f"{name}.{getattr(member, 'name', '')}" not in written:
            before = [""] if isinstance(member, ast.FunctionDef) else []
            context += [*before, *_as_context(source, member).splitlines()]
    if context:
        parts += ["", f"    # The rest of the class, as it stands in {source.relative}:", "    #"]
        parts += [f"    #   {line[4:] if line.strip() else ''}".rstrip() for line in context[context[0] == "" :]]
    for definition in definitions:
        parts += ["", definition]
    return "\n".join(parts)


BRIEF = ("__init__", "forward", "backward")  # methods that are shown whole


def _as_context(source: Source, member: ast.stmt) -> str:
    if not isinstance(member, ast.FunctionDef):
        return source.statement(member)
    text = "\n".join(source.lines[slice(*span(member))])
    if member.name in BRIEF:
        return text
    lines = head(text).splitlines()
    docstring = ast.get_docstring(member)
    if docstring is not None:
        lines = lines[: member.body[0].lineno - _first_line(member)]
        first, *more = docstring.splitlines()
        lines.append(f'        """{first}{" ..." if more else ""}"""')
    return "\n".join([*lines, "        ..."] if docstring is None else lines)
