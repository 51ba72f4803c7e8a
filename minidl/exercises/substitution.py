"""A learner's functions in the place of the engine's, from the moment that the engine is imported.

A module that has one of them is not loaded as it stands. Its source is parsed, the one definition is replaced by the
learner's, and the result is compiled. So theirs is used wherever the engine uses its own: under another name, in a
table, below a decorator, as a method. Whatever else the learner's file defines (helpers, constants, imports that the
module lacks) comes along, right before the definition. Tracebacks lead to the learner's file and line.

It must come before the engine. So this file needs nothing but the standard library, and is loaded by its path.
"""

from __future__ import annotations

import ast
import linecache
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import NamedTuple

Definition = ast.FunctionDef | ast.ClassDef


class Submission(NamedTuple):
    """A worksheet, as it was filled in. Without a text the module's own definitions stay; their calls are counted."""

    file: str  # its name, for tracebacks
    text: str
    targets: tuple[str, ...]  # "module:name" of each definition that it brings: "minidl.ops.conv:Conv2d.forward"
    known: tuple[str, ...] = ()  # what its modules import of minidl, all together: see `imported`


_parsing = threading.Lock()


def parsed(text: str | bytes, file: str = "<text>") -> ast.Module:
    """The syntax tree of a text; one at a time, for threads of Python 3.11 that parse at once get in each other's way
    (github.com/python/cpython/issues/106905)."""
    with _parsing:
        return ast.parse(text, file)


calls: Counter[str] = Counter()  # of each target, how often the learner's function was called


def install(submissions: Sequence[Submission]) -> None:
    """From now on, modules are imported with these submissions in them."""
    sys.meta_path.insert(0, Finder(submissions))
    for file, text, *_ in submissions:  # for tracebacks: it may be in no file
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file


class Finder(MetaPathFinder):
    """Finds the modules that have a target in them; Python finds the others."""

    def __init__(self, submissions: Sequence[Submission]) -> None:
        self._brought: dict[str, list[tuple[str, Submission]]] = {}  # of each module, names and where they come from
        for submission in submissions:
            for target in submission.targets:
                module, name = target.split(":")
                self._brought.setdefault(module, []).append((name, submission))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._brought:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = Loader(fullname, spec.origin, self._brought[fullname])
        return spec


class Loader(SourceFileLoader):
    """Loads a module with some of its definitions replaced; compiled anew, for none of it is to be kept."""

    def __init__(self, fullname: str, path: str, brought: list[tuple[str, Submission]]) -> None:
        super().__init__(fullname, path)
        self._brought = brought

    def get_code(self, fullname: str) -> CodeType:
        return substituted(self.get_data(self.path), self.path, fullname, self._brought)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[COUNT] = calls.update
        super().exec_module(module)
        _waiting.update({(module.__name__, submission) for _, submission in self._brought})
        bind_imports()


COUNT = "_count_call"

_waiting: set[tuple[str, Submission]] = set()


def bind_imports() -> None:
    """Give modules what their worksheet imports of other modules of minidl, where these have been imported by now.

    A worksheet for two modules imports what both need. While they are imported themselves that would go in circles.
    """
    for name, submission in list(_waiting):
        module, missing = sys.modules[name], False
        for node in parsed(submission.text).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("minidl", "models"):
                source = sys.modules.get(node.module or "")
                for alias in node.names:
                    if hasattr(source, alias.name):
                        vars(module).setdefault(alias.asname or alias.name, getattr(source, alias.name))
                    else:
                        missing = True
        if not missing:
            _waiting.discard((name, submission))


def substituted(source: bytes, path: str, module: str, brought: list[tuple[str, Submission]]) -> CodeType:
    """The code of a module in which some definitions are those of submissions."""
    tree = parsed(source, path)
    files: dict[str, str] = {}  # of names that learners have defined, where
    for submission in {id(submission): submission for _, submission in brought}.values():
        names = [name for name, other in brought if other is submission]
        if not submission.text:
            for name in names:
                _count(find(tree, name), f"{module}:{name}")
            continue
        theirs = parsed(submission.text, submission.file)
        helpers = extras(theirs, submission.targets, {*submission.known, *imported(tree)})
        first = min(tree.body.index(find(tree, name.split(".")[0])) for name in names)
        for name in names:
            _replace(tree, theirs, name, f"{module}:{name}")
        tree.body[first:first] = helpers
        classes = {name.split(".")[0] for name in names if "." in name}
        methods = [f"{outer}.{new}" for outer in classes for new in names_of(parent(theirs, f"{outer}._"))]
        files |= dict.fromkeys([*names, *methods, *names_of(ast.Module(helpers, []))], submission.file)
    code = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
    return _relabelled(code, files)


def find(tree: ast.Module | ast.ClassDef, name: str) -> Definition:
    """The definition called `name`: "im2col", or "Conv2d.forward". Raises: KeyError when there is none."""
    first, _, rest = name.partition(".")
    for node in reversed(tree.body):  # the last one is the one that counts
        if isinstance(node, Definition) and node.name == first:
            if not rest:
                return node
            if isinstance(node, ast.ClassDef):
                return find(node, rest)
    raise KeyError(name)


def parent(tree: ast.Module, name: str) -> ast.Module | ast.ClassDef:
    """What the definition called `name` stands in: the module, or a class."""
    outer, _, _ = name.rpartition(".")
    node = find(tree, outer) if outer else tree
    assert isinstance(node, ast.Module | ast.ClassDef)
    return node


def _replace(tree: ast.Module, theirs: ast.Module, name: str, target: str) -> None:
    """Put their definition where the module's own is, below its decorators."""
    own, new = find(tree, name), find(theirs, name)
    _count(new, target)
    new.decorator_list = own.decorator_list
    place = parent(tree, name)
    place.body[place.body.index(own)] = new
    if isinstance(place, ast.ClassDef):  # methods and constants that they have added
        known = {node.name for node in place.body if isinstance(node, Definition)}
        added = (node for node in parent(theirs, name).body if not is_text(node))
        place.body += [node for node in added if not (isinstance(node, Definition) and node.name in known)]


def _count(function: Definition, target: str) -> None:
    """Have each call of it counted."""
    assert isinstance(function, ast.FunctionDef)
    count = parsed(f"{COUNT}([{target!r}])").body[0]
    for node in ast.walk(count):
        ast.copy_location(node, function.body[0])
    function.body.insert(1 if ast.get_docstring(function) is not None else 0, count)


def extras(theirs: ast.Module, targets: Sequence[str], known: Collection[str]) -> list[ast.stmt]:
    """What a submission has beside its targets and what is known: helpers, constants, imports."""
    outer = {target.split(":")[1].split(".")[0] for target in targets}
    modules = {target.split(":")[0] for target in targets}
    result: list[ast.stmt] = []
    for node in theirs.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            if isinstance(node, ast.ImportFrom) and node.module in {"__future__", *modules}:
                continue  # what the module itself defines is there already
            names = [name for name in node.names if _key(node, name) not in known]
            if names:
                result.append(ast.copy_location(_with_names(node, names), node))
        elif not (isinstance(node, Definition) and node.name in outer) and not is_text(node) and not is_trial(node):
            result.append(node)
    return result


def _with_names(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> ast.stmt:
    return ast.ImportFrom(node.module, names, node.level) if isinstance(node, ast.ImportFrom) else ast.Import(names)


def is_trial(node: ast.stmt) -> bool:
    """Whether it is a block below `if __name__ == "__main__":`, which is for running a file by itself."""
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def names_of(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Each name that is defined, assigned or imported in a module, or a class, itself."""
    for node in tree.body:
        if isinstance(node, Definition | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((name.asname or name.name).split(".")[0] for name in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))


def is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def imported(tree: ast.Module) -> Iterator[str]:
    """Each name that a module imports at its top, and where from: "import numpy as np"."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in node.names:
                yield _key(node, name)


def _key(node: ast.Import | ast.ImportFrom, name: ast.alias) -> str:
    source = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
    return f"{source}import {name.name} as {name.asname or name.name}"


def is_text(node: ast.stmt) -> bool:
    """Whether it is a string, or `...`: something that does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _relabelled(code: CodeType, files: dict[str, str]) -> CodeType:
    """The code, in which whatever belongs to one of these definitions says that it comes from that file."""
    constants = tuple(_relabelled(c, files) if isinstance(c, CodeType) else c for c in code.co_consts)
    for name, file in files.items():
        if code.co_qualname == name or code.co_qualname.startswith(f"{name}."):
            return code.replace(co_consts=constants, co_filename=file)
    return code.replace(co_consts=constants)
