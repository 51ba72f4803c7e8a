"""What the README says is so: its commands, its samples of code, and the order in which it has the source read."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(("extra", "command"), [("show", "minidl demo"), ("test", "pytest")])
def test_the_commands_are_there_each_on_a_line(extra, command):
    line = f'python3 -m venv .venv && .venv/bin/pip install -e ".[{extra}]" && .venv/bin/{command}'
    assert README.splitlines().count(line) == 1


# ------------------------------------------------------------------------------------------------------------ samples


def samples(document):
    """(text before, code) of each Python sample."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [(text[: found.start()], found[1]) for found in re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S)]


def is_excerpt(code):
    """A sample that shows what minidl has, rather than use it: there is no import in it."""
    return not re.search(r"^(import|from) ", code, re.MULTILINE)


SAMPLES = [(document, *sample) for document in ("README.md", "models/README.md") for sample in samples(document)]


@pytest.mark.parametrize("code", [code for _, _, code in SAMPLES if not is_excerpt(code)])
def test_a_sample_runs_and_prints_what_its_comments_say(code, capsys):
    exec(compile(code, "sample", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*?\)(?:  # (.*))?$", code, re.MULTILINE)


@pytest.mark.parametrize(("document", "before", "code"), [sample for sample in SAMPLES if is_excerpt(sample[2])])
def test_an_excerpt_is_in_the_file_that_the_text_before_it_links_to(document, before, code):
    link = re.findall(r"\]\(([^)]+\.py)\)", before)[-1]
    assert f"\n\n{code}\n" in ((ROOT / document).parent / link).read_text(encoding="utf-8")


def test_there_are_samples_of_both_kinds():
    assert {is_excerpt(code) for _, _, code in SAMPLES} == {True, False}


# -------------------------------------------------------------------------------------------------- the reading order


def module_name(path):
    """minidl/ops/conv.py → minidl.ops.conv"""
    return path.removesuffix(".py").replace("/", ".")


def reading_order(document):
    """The modules in the table's second column: linked as `folder/name.py`, or named behind a link to their folder."""
    order = []
    for files in re.findall(r"^\| \d+ \| (.*?) \|", document, re.MULTILINE):
        folder = None
        for linked, named in re.findall(r"\[`(.+?)`\]\(.+?\)|`(.+?)`", files):
            if linked.endswith("/"):
                folder = linked
            else:
                order.append(module_name(linked or f"{folder}{named}"))
    return order


SOURCES = {
    module_name(str(path.relative_to(ROOT))): path
    for name in ("minidl", "models")
    for path in (ROOT / name).rglob("*.py")
}
TREES = {name.removesuffix(".__init__"): ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}
PACKAGES = {name.removesuffix(".__init__") for name in SOURCES if name.endswith(".__init__")}


def needed_by(module):
    """The modules from which `module` takes something at the top of its file."""
    needed = set()
    for statement in TREES[module].body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                needed |= home(statement.module, alias.name)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                for attribute in attributes_of(alias.asname or alias.name, TREES[module]):
                    needed |= home(alias.name, attribute)
    return needed


def attributes_of(name, tree):
    """The x of each `name.x`."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name}


def home(package, name):
    """The modules to read to know `package.name`; a package passes on what it has from its own modules."""
    if f"{package}.{name}" in PACKAGES:
        return needed_by(f"{package}.{name}")
    if f"{package}.{name}" in TREES:
        return {f"{package}.{name}"}
    if package not in PACKAGES:
        return {package} & set(TREES)
    for statement in TREES[package].body:
        if isinstance(statement, ast.ImportFrom) and name in [alias.asname or alias.name for alias in statement.names]:
            return home(statement.module, name)
    return needed_by(package)  # defined in the package's __init__.py


def read_too_early(order):
    """(module, what it needs that comes only later in `order`)."""
    return [
        (module, needed)
        for i, module in enumerate(order)
        for needed in sorted(needed_by(module))
        if needed not in order[:i]
    ]


def test_every_file_needs_only_those_before_it():
    assert read_too_early(reading_order(README)) == []


def test_the_reading_order_has_every_module_once():
    assert sorted(reading_order(README)) == sorted(set(TREES) - PACKAGES)


def swapped(first, second):
    """The README with two pieces of its text in each other's place."""
    assert README.count(first) == README.count(second) == 1
    return README.replace(first, "\0").replace(second, first).replace("\0", second)


def test_rows_in_another_order_are_found():
    rows = re.findall(r"^\| \d+ \| .*$", README, re.MULTILINE)
    tensor, autograd = (next(row for row in rows if f"minidl/{name}.py" in row) for name in ("tensor", "autograd"))
    assert read_too_early(reading_order(swapped(tensor, autograd))) == [("minidl.autograd", "minidl.tensor")]


def test_names_in_another_order_are_found():
    assert read_too_early(reading_order(swapped("`reparam`", "`repvgg`"))) == [("models.repvgg", "models.reparam")]


HELPERS = {"minidl.nn.options"}  # minidl.nn passes on nothing of it
NN = set(TREES) & {f"minidl.nn.{path.stem}" for path in (ROOT / "minidl/nn").glob("*.py")} - HELPERS
NOT_CREATED = {"models.units", "models.published", "models.dialects", "models.weight_files"}


@pytest.mark.parametrize(
    ("package", "name", "modules"),
    [
        ("minidl.ops.conv", "conv2d", {"minidl.ops.conv"}),
        ("minidl", "functional", {"minidl.functional"}),
        ("minidl", "Tensor", {"minidl.tensor"}),
        ("minidl.optim", "AdamW", {"minidl.optim.adam"}),
        ("minidl", "nn", NN),
        ("models", "create", NN | {name for name in TREES if name.startswith("models.")} - NOT_CREATED),
        ("numpy", "ndarray", set()),
    ],
)
def test_where_a_name_is_from(package, name, modules):
    assert home(package, name) == modules
