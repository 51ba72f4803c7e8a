"""Mutation testing: the engine is broken on purpose, one small change at a time, and the tests must notice each.

    python tests/mutate.py minidl/ops minidl/kernels                  # all mutants of these files
    python tests/mutate.py minidl/ops/conv.py --sample 50 --seed 1    # fifty of them, drawn at random

A mutant is the source with one comparison, operator, number, condition or statement changed. It is killed when a test
fails with it, or does not end, and survives when all pass: then either a test is missing, or the change makes no
difference. Mutants live in memory only; no source is touched. Texts of error messages and type annotations are left as
they are.

How many were tried and which survived, file by file, goes to tests/mutants.json, in place of what is there of these
files; the survivors are argued in tests/MUTANTS.md.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.machinery
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "mutants.json"

# The tests that are tried first, where they are not tests/test_<folder>_<file>.py or, if there is no such file,
# tests/test_<folder>.py; then the contract of all operators.
TESTS = {
    "minidl/kernels/bands.py": ["kernels", "kernels_winograd", "kernels_convolution"],
    "minidl/kernels/columns.py": ["kernels", "kernels_convolution", "ops_conv", "ops_unfold"],
    "minidl/kernels/epilogue.py": ["kernels_winograd", "kernels_convolution", "ops_conv"],
    "minidl/kernels/elementwise.py": ["kernels_elementwise", "ops_activation"],
    "minidl/kernels/tiles.py": ["kernels_winograd", "kernels_convolution"],
    "minidl/kernels/window.py": ["kernels", "ops_conv", "ops_pool"],
    "minidl/kernels/pooling.py": ["kernels", "ops_pool", "ops_adaptive_pool"],
    "minidl/kernels/channels.py": ["kernels", "ops_norm", "ops_samplenorm"],
    "minidl/kernels/shares.py": ["ops_adaptive_pool"],
    "minidl/nn/containers.py": ["nn_module"],
    "minidl/inspection/plots.py": ["plots"],
    "minidl/inspection/gradients.py": ["gradients"],
    "minidl/evaluation.py": ["train"],
    "minidl/progress.py": ["train"],
    "minidl/operators.py": ["checks"],
}
THEN = ["contract", "functional", "torch_database"]

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.MatMult: ast.Mult,
}  # fmt: skip
NAMES = {
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "zeros": "ones",
    "any": "all",
    "all": "any",
}


# ------------------------------------------------------------------------------------------------------------- mutants


def mutants(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """Each mutant of a module: what was changed, and the module with the change."""
    places = list(ast.walk(tree))
    skipped = {id(inner) for node in places for part in _left_alone(node) for inner in ast.walk(part)}
    for number, node in enumerate(places):
        if id(node) in skipped:
            continue
        for change in range(len(_changes(node))):
            mutated = copy.deepcopy(tree)
            twin = list(ast.walk(mutated))[number]
            before = ast.unparse(twin)
            _changes(twin)[change]()
            after = ast.unparse(twin)
            if isinstance(node, ast.stmt):
                after = after if before != after else ""
            place = f"{node.lineno}:{node.col_offset}"  # type: ignore[attr-defined]
            yield f"{place}: {_short(before)} → {_short(after)}", ast.fix_missing_locations(mutated)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:67] + "..."


def _left_alone(node: ast.AST) -> list[ast.AST]:
    """Parts that say something to people or to a type checker, and do nothing."""
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom):
        return [node]
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        notes = [a.annotation for a in arguments if a is not None and a.annotation is not None]
        return [*notes, *([node.returns] if node.returns else []), *node.decorator_list]
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return [node]  # a docstring
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in ("Axis", "op"):
        return [node]
    return [node] if isinstance(node, ast.JoinedStr) else []


def _changes(node: ast.AST) -> list:
    """What can be changed about a node: functions that do it."""
    found = []
    if isinstance(node, ast.Compare):
        found += [lambda i=i, op=op: node.ops.__setitem__(i, COMPARISONS[type(op)]()) for i, op in enumerate(node.ops)]
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        found.append(lambda: setattr(node, "op", OPERATORS[type(node.op)]()))
    elif isinstance(node, ast.BoolOp):
        found.append(lambda: setattr(node, "op", ast.And() if isinstance(node.op, ast.Or) else ast.Or()))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        found.append(lambda: _become(node, ast.UnaryOp(ast.UAdd(), node.operand)))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        found.append(lambda: setattr(node, "value", not node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        found.append(lambda: setattr(node, "value", node.value + 1))
    elif isinstance(node, ast.IfExp | ast.If | ast.While):
        found.append(lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test)))
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
        found.append(lambda: setattr(node, "id", NAMES[node.id]))
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in NAMES:
        found.append(lambda: setattr(node, "attr", NAMES[node.attr]))
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        found.append(lambda: _become(node, ast.Pass()))
    return found


def _become(node: ast.AST, other: ast.AST) -> None:
    """Turn a node into another in place: Pass for a statement, and for `-x` or `not x` what the sign stood before."""
    if isinstance(other, ast.UnaryOp):
        operator = node.op
        node.op = ast.UAdd() if isinstance(operator, ast.USub) else operator
        if isinstance(operator, ast.Not | ast.Invert):
            node.operand = ast.UnaryOp(operator, node.operand)  # twice is not at all
        return
    node.__class__ = ast.Pass
    node.__dict__.clear()


# ------------------------------------------------------------------------------------------------------------- running


def start(path: Path, tree: ast.Module, seconds: float, batches: list[list[str]]) -> int:
    """Start a process that runs the tests with `tree` in place of the source `path`: it exits with 0 when all pass."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    signal.alarm(int(seconds))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader, name):
        if Path(loader.path) == path:
            return compile(tree, str(path), "exec")
        return original(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code
    import pytest

    status = 0
    options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    for batch in batches:  # none is empty: pytest would take that for all tests
        status = pytest.main([*options, *batch])
        if status:
            break
    os._exit(int(status))


def tests_for(path: Path) -> list[list[str]]:
    """The tests of this file, where it has any, and then those of all operators."""
    parts = path.relative_to(ROOT / "minidl").with_suffix("").parts
    usual = [name for name in ("_".join(parts), parts[0]) if tests_named(name).exists()]
    own = TESTS.get(str(path.relative_to(ROOT)), usual[:1])
    return [[str(tests_named(name)) for name in names] for names in (own, THEN) if names]


def tests_named(name: str) -> Path:
    return ROOT / "tests" / f"test_{name}.py"


def run(work: list[tuple[Path, str, ast.Module]], jobs: int, seconds: float) -> Iterator[tuple[Path, str, str]]:
    """(file, change, what became of it) of each mutant, in the order in which they finish."""
    running: dict[int, tuple[Path, str]] = {}
    waiting = list(reversed(work))
    while waiting or running:
        while waiting and len(running) < jobs:
            path, change, tree = waiting.pop()
            running[start(path, tree, seconds, tests_for(path))] = (path, change)
        child, status = os.wait()
        path, change = running.pop(child)
        timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM
        yield path, change, "timed out" if timed_out else "killed" if status else "SURVIVED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="Python files or folders of them")
    parser.add_argument("--sample", type=int, help="try only this many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time (default: all cores)")
    parser.add_argument(
        "--seconds", type=float, default=240, help="after which a mutant counts as killed (default: 240)"
    )
    options = parser.parse_args()
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True
    files = [f.resolve() for path in options.paths for f in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    work = [
        (file, change, tree)
        for file in files
        if file.name != "__init__.py"
        for change, tree in mutants(ast.parse(file.read_text(encoding="utf-8")))
    ]
    if options.sample is not None and options.sample < len(work):
        work = random.Random(options.seed).sample(work, options.sample)
    mutated = sorted({file for file, _, _ in work})
    every = list(dict.fromkeys(test for file in mutated for batch in tests_for(file) for test in batch))
    print(f"{len(work)} mutants of {len(mutated)} files; first, their tests as it is", flush=True)
    if os.waitpid(start(mutated[0], ast.parse(mutated[0].read_text(encoding="utf-8")), 3600, [every]), 0)[1]:
        sys.exit(f"the tests fail as it is: pytest {' '.join(every)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {str(file.relative_to(ROOT)): {"tried": 0, "survived": []} for file, _, _ in work}
    began, survivors = time.monotonic(), []
    for done, (path, change, became) in enumerate(run(work, options.jobs, options.seconds), 1):
        entry = results[str(path.relative_to(ROOT))]
        entry["tried"] += 1
        if became == "SURVIVED":
            entry["survived"].append(change)
            survivors.append(f"{path.relative_to(ROOT)} {change}")
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
        rest = (time.monotonic() - began) / done * (len(work) - done) / 60
        print(f"{done}/{len(work)}, killed {1 - len(survivors) / done:.1%}, {rest:.0f} min left: ", end="")
        print(f"{became}  {path.relative_to(ROOT)} {change}", flush=True)
    print(f"{len(survivors)} of {len(work)} survived", *survivors, sep="\n")


if __name__ == "__main__":
    os.chdir(ROOT)
    import hypothesis  # noqa: F401  (once, for all mutants)
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    main()
