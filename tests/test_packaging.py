"""The package as it is installed: what an import brings with it, what is in it, and what its documents say of it."""

import configparser
import importlib
import importlib.metadata
import json
import os
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import minidl
import models

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = (
    "cupy", "hypothesis", "matplotlib", "pytest", "rich", "safetensors", "threadpoolctl", "timm", "torch",
    "torchvision",
)  # fmt: skip
MODULES = [
    name
    for package in (minidl, models)
    for name in (package.__name__, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")))
]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def in_a_new_process(code):
    """What `code` prints, as JSON, in a Python that has nothing but the standard library, NumPy and minidl."""
    block = f"""
import json, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", block + code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return json.loads(process.stdout)


# ------------------------------------------------------------------------------------------------------------ imports


def test_every_module_can_be_imported_without_any_extra():
    assert {"minidl.cli", "minidl.inspection.plots", "minidl.checkpoint", "minidl.progress"} <= set(MODULES)
    code = f"""
import importlib
for name in {MODULES}:
    importlib.import_module(name)
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] in ("minidl", "models"))))
"""
    assert in_a_new_process(code) == sorted(MODULES)


def test_import_minidl_brings_the_engine_and_nothing_above_it():
    loaded = in_a_new_process("import minidl; print(json.dumps(sorted(sys.modules)))")
    assert "minidl.nn" in loaded
    engine = r"autograd|backend|backpropagation|differences|functional|gradcheck|kernels|mistakes|naive|nn|ops|optim"
    engine += "|tensor|version"
    ours = [name for name in loaded if name.split(".")[0] in ("minidl", "models")]
    assert [name for name in ours if not re.fullmatch(rf"minidl(\.({engine})(\..*)?)?", name)] == []
    assert [name for name in loaded if name.split(".")[0] in EXTRAS] == []


def test_an_extra_is_imported_only_inside_a_function():
    for name in MODULES:
        source = Path(importlib.import_module(name).__file__).read_text()
        for extra in EXTRAS:
            assert not re.search(rf"^(import|from) {extra}\b", source, re.MULTILINE), f"{name} needs {extra}"


# ------------------------------------------------------------------------------------------------------------- __all__


@pytest.mark.parametrize("name", [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")])
def test_all_is_complete(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    assert missing == []
    if hasattr(module, "__path__"):  # a package: whatever it takes from its modules, it offers
        public = {key for key, value in vars(module).items() if not key.startswith("_") and is_offered(value)}
        assert public == {entry for entry in module.__all__ if is_offered(getattr(module, entry))} - {"__version__"}


def is_offered(value):
    """Whether it is something of minidl's: not a module, and not `from __future__ import annotations`."""
    return not isinstance(value, types.ModuleType) and getattr(value, "__module__", "").startswith(("minidl", "models"))


def test_packages_have_an_all():
    packages = ("minidl", "minidl.data", "minidl.nn", "minidl.optim")
    assert [name for name in packages if not hasattr(importlib.import_module(name), "__all__")] == []


# ----------------------------------------------------------------------------------------------------------- metadata


def test_the_version_is_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+", minidl.__version__)
    assert SETUP["metadata"]["version"] == "attr: minidl.version.__version__"
    others = [path for path in sources() if path.name != "version.py" and minidl.__version__ in path.read_text()]
    assert set(others) <= {ROOT / "benchmarks" / "README.md"}  # which says what was measured


def test_the_installed_version_is_this_one():
    """Where minidl is installed: a stale installation makes `minidl doctor` tell another version than pip."""
    versions = [d.version for d in importlib.metadata.distributions() if d.metadata["Name"] == "minidl"]
    assert set(versions) <= {minidl.__version__}


def test_every_file_that_is_not_python_is_package_data():
    listed = {
        Path(*package.split("."), name)
        for package, names in SETUP["options.package_data"].items()
        for name in names.split()
    }
    there = {
        path.relative_to(ROOT)
        for package in ("minidl", "models")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md")
    }
    assert listed == there
    assert Path("minidl/py.typed") in there


def test_every_folder_of_python_is_a_package():
    folders = {path.parent for package in ("minidl", "models") for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_command_leads_to_the_function():
    (entry,) = SETUP["options.entry_points"]["console_scripts"].split("\n")[1:]
    name, target = entry.split(" = ")
    module, function = target.split(":")
    assert name == "minidl"
    assert callable(getattr(importlib.import_module(module), function))


def test_numpy_is_all_that_is_needed():
    assert SETUP["options"]["install_requires"].split() == ["numpy>=1.26"]
    assert SETUP["options"]["python_requires"] == ">=3.11"
    build = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r"^\[.*\]$", build, re.MULTILINE) == ["[build-system]"], "configuration belongs in setup.cfg"


# ---------------------------------------------------------------------------------------------------------- documents


def sources():
    folders = [ROOT / name for name in ("minidl", "models", "benchmarks")]
    return [
        ROOT / "README.md",
        ROOT / "setup.cfg",
        *(p for f in folders for p in f.rglob("*") if p.suffix in (".py", ".md", ".txt")),
    ]


def test_no_document_or_source_names_a_path_of_one_machine():
    wrong = re.compile(r"(?<![\w./~])/(home|root|work|tmp|Users|mnt|opt)/\w|[A-Z]:\\\\Users")
    assert wrong.search("see " + "/".join(["", "home", "someone", "minidl"]))
    found = {path.relative_to(ROOT): wrong.findall(path.read_text(encoding="utf-8")) for path in sources()}
    assert {path: matches for path, matches in found.items() if matches} == {}


def test_links_in_documents_lead_somewhere():
    for path in sources():
        if path.suffix == ".md":
            for link in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
                assert link.startswith("http") or (path.parent / link).exists(), f"{path.name}: {link}"
