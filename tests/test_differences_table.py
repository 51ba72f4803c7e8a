"""minidl/README.md, where minidl differs from PyTorch: rows name tests that exist, and translations are true."""

import ast
import re
from pathlib import Path

import pytest
from judge import assert_close

import minidl
from minidl import Tensor
from minidl import functional as F

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "minidl" / "README.md").read_text(encoding="utf-8")
COLUMNS = ["what", "PyTorch", "minidl, and why", "shown by"]


def tables(page):
    """(columns, rows) of each table, in cells."""
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        columns, _, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]
        yield columns, rows


def differences(page):
    return [row for columns, rows in tables(page) if columns == COLUMNS for row in rows]


def translations(page):
    return {row[0]: row[1:] for columns, rows in tables(page) if columns == ["", "PyTorch", "minidl"] for row in rows}


# ---------------------------------------------------------------------------------------------------- the differences


def functions_of(file):
    """The names of the functions at the top of a file."""
    path = ROOT / file
    if not path.exists():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {statement.name for statement in tree.body if isinstance(statement, ast.FunctionDef)}


def mistakes(page):
    """What is wrong with each row of differences: (its first cell, the mistake)."""
    found = []
    for row in differences(page):
        if len(row) != len(COLUMNS) or not all(row):
            found.append((row[0], "expected a text in each of four cells"))
            continue
        named = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", row[-1])
        if not named or row[-1] != ", ".join(f"`{file}::{test}`" for file, test in named):
            found.append((row[0], "expected tests, as `tests/test_x.py::test_y`"))
        found += [(row[0], f"no {test} in {file}") for file, test in named if test not in functions_of(file)]
    return found


def test_every_difference_is_shown_by_a_test():
    assert mistakes(PAGE) == []


def test_every_table_is_one_of_the_two_kinds():
    kinds = [columns for columns, _ in tables(PAGE)]
    assert kinds == [["", "PyTorch", "minidl"]] + [COLUMNS] * (len(kinds) - 1)
    assert len(kinds) - 1 == len(re.findall(r"^## ", PAGE, re.MULTILINE)) - 1


def test_no_difference_stands_twice():
    names = [row[0] for row in differences(PAGE)]
    assert len(names) > 30
    assert sorted(set(names)) == sorted(names)


ROW = next(line for line in PAGE.splitlines() if line.startswith("| Scores |"))


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        ("| Scores | axis 1 | the last axis | |", "expected a text in each of four cells"),
        ("| Scores | axis 1 | the last axis |", "expected a text in each of four cells"),
        ("| Scores | axis 1 | the last axis | a test |", "expected tests, as `tests/test_x.py::test_y`"),
        ("| Scores | axis 1 | the last axis | `tests/test_x.py::test_y`, or so |", "expected tests"),
        ("| Scores | axis 1 | the last axis | `tests/test_x.py::test_y` |", "no test_y in tests/test_x.py"),
        ("| Scores | axis 1 | the last axis | `tests/test_names.py::test_y` |", "no test_y in tests/test_names.py"),
    ],
)
def test_a_row_that_shows_nothing_is_found(wrong, mistake):
    (where, found), *_ = mistakes(PAGE.replace(ROW, wrong))
    assert where == "Scores"
    assert found.startswith(mistake)


def test_the_page_is_found_and_compares_with_the_release_that_is_tested():
    assert "](minidl/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    release = re.search(r"torch==(\d+\.\d+)", (ROOT / ".ci" / "constraints.txt").read_text())[1]
    assert f"PyTorch {release}." in PAGE


# --------------------------------------------------------------------------------------------------- the translations


def code(cell):
    """The first piece of code in a cell."""
    return re.search(r"`(.+?)`", cell)[1]


def ours(what, tensor):
    """A tensor of PyTorch's as an array in our layout: permuted as the row `what` says."""
    return eval(code(translations(PAGE)[what][1]), {"x": tensor, "w": tensor}).numpy()


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.torch
def test_the_layouts(torch, rng):
    x, w, b = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((2, 4, 5, 6), (8, 2, 3, 2), (8,)))
    y = F.conv2d(Tensor(ours("images", x)), Tensor(ours("filters", w)), Tensor(b.numpy()), groups=2)
    assert_close(y, ours("images", torch.nn.functional.conv2d(x, w, b, groups=2)))
    rows, w = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((2, 4), (8, 4)))
    y = F.linear(Tensor(rows.numpy()), Tensor(ours("weight of a linear layer", w)), Tensor(b.numpy()))
    assert_close(y, torch.nn.functional.linear(rows, w, b).numpy())


CODE = [what for what, cells in translations(PAGE).items() if all("`" in cell for cell in cells)]


@pytest.mark.torch
@pytest.mark.parametrize("what", CODE)
def test_a_translation_computes_the_same(what, torch, rng):
    x = torch.from_numpy(rng.standard_normal((2, 3, 4, 5)))
    images = Tensor(ours("images", x))
    theirs, mine = (code(cell) for cell in translations(PAGE)[what])
    expected = result_of(theirs, torch=torch, F=torch.nn.functional, x=x.clone())
    assert_close(result_of(mine, minidl=minidl, F=F, x=images), ours("images", expected))


def result_of(line, **names):
    """The value of an expression, or x after a statement."""
    if re.match(r"x(\[.*\])? \+?= ", line):
        exec(line, names)
        return names["x"]
    return eval(line, names)


def test_most_translations_are_code():
    assert len(CODE) == len(translations(PAGE)) - 3
