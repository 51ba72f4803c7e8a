"""Mutation testing, tested: each kind of change is made, one at a time, and the source stays as it is."""

import ast
from pathlib import Path

import mutate
import pytest


def changes(source):
    """What becomes of the source in each mutant."""
    return [ast.unparse(mutant) for _, mutant in mutate.mutants(ast.parse(source))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("y = a < b", ["y = a <= b"]),
        ("y = a < b == c", ["y = a <= b == c", "y = a < b != c"]),
        ("y = a + b", ["y = a - b"]),
        ("y = a or b", ["y = a and b"]),
        ("y = -a", ["y = +a"]),
        ("y = not a", ["y = not not a"]),
        ("y = True", ["y = False"]),
        ("y = 2", ["y = 3"]),
        ("y = a if b else c", ["y = a if not b else c"]),
        ("if a:\n    b = c", ["if not a:\n    b = c"]),
        ("y = max(a)", ["y = min(a)"]),
        ("y = xp.zeros(a)", ["y = xp.ones(a)"]),
        ("y += a", ["y -= a", "pass"]),
        ("check(a)", ["pass"]),
        ("'Text.'", []),
        ("raise ValueError(f'{a + 1}')", []),
        ("def f(a: 1 + 1) -> 2:\n    return a", []),
    ],
)
def test_what_is_changed(source, expected):
    assert changes(source) == expected


def test_no_mutant_of_the_engine_is_the_engine_or_another_mutant():
    for name in ("kernels/window.py", "mistakes.py"):
        source = (mutate.ROOT / "minidl" / name).read_text(encoding="utf-8")
        tree = ast.parse(source)
        named = [change for change, _ in mutate.mutants(tree)]
        assert len(named) == len(set(named)) > 20
        assert ast.unparse(tree) not in changes(source)
        assert ast.dump(tree) == ast.dump(ast.parse(source))


def test_the_tests_that_are_tried_are_there():
    sources = [mutate.ROOT / name for name in mutate.TESTS]
    for path in [*sources, *(mutate.ROOT / "minidl").rglob("*.py")]:
        assert path.exists()
        batches = mutate.tests_for(path)
        assert all(batches)
        assert all(Path(file).exists() for batch in batches for file in batch)
    assert batches_of("minidl/optim/adam.py")[0] == ["test_optim.py"]
    assert batches_of("minidl/ops/conv.py")[0] == ["test_ops_conv.py"]
    assert batches_of("minidl/kernels/shares.py")[0] == ["test_ops_adaptive_pool.py"]


def batches_of(name):
    return [[Path(file).name for file in batch] for batch in mutate.tests_for(mutate.ROOT / name)]
