"""A learner's definitions in the place of a module's own: wherever that uses them, and nowhere else."""

import gc
import importlib
import linecache
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from minidl.exercises import substitution
from minidl.exercises.substitution import Finder, Submission

MODULE = '''
"""A module with everything that makes replacing hard."""

import functools

TABLE = {}


def register(function):
    TABLE[function.__name__] = function
    return function


def shouted(function):
    @functools.wraps(function)
    def call(*args):
        return f"{function(*args)}!"

    return call


@register
def double(x, times=2):
    """x, twice."""
    return times * x


alias = double


@shouted
def name():
    return "engine"


class Box:
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2

    def volume(self):
        return self.area() * self.side


class Crate(Box):
    pass
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The module, imported with a learner's text in it."""
    (tmp_path / "victim.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    substitution.calls.clear()

    def load(text, *names, known=()):
        targets = tuple(f"victim:{name}" for name in names)
        monkeypatch.setattr(sys, "meta_path", [Finder([Submission("mine.py", text, targets, known)]), *sys.meta_path])
        monkeypatch.delitem(sys.modules, "victim", raising=False)
        module = importlib.import_module("victim")
        monkeypatch.delitem(sys.modules, "victim")
        return module

    return load


def test_an_alias_and_a_table_have_the_learners_function(load):
    module = load("def double(x, times=2):\n    return x + x + 100\n", "double")
    assert module.double(3) == module.alias(3) == module.TABLE["double"](3) == 106


def test_decorators_stay_the_engines(load):
    module = load("@nothing_of_this_name\ndef name():\n    return 'mine'\n", "name")
    assert module.name() == "mine!"


def test_a_method_is_replaced_in_its_class_and_below(load):
    module = load("class Box:\n    def area(self):\n        return 7\n", "Box.area")
    assert module.Crate(2).volume() == 14
    assert module.Crate(5).side == 5, "what is not a target stays"


def test_helpers_constants_and_imports_come_along(load):
    text = """
import math
from victim import double  # there already, and at this moment not yet importable

FACTOR = math.floor(3.7)

def helper(x):
    return FACTOR * x

class Help:
    plus = 1

def double(x, times=2):
    return helper(x) + Help.plus
"""
    assert load(text, "double").alias(2) == 7


def test_methods_that_the_learner_adds_come_along(load):
    text = """
class Box:
    def area(self):
        return self.side_squared()

    def side_squared(self):
        return -1
"""
    assert load(text, "Box.area").Box(9).area() == -1


def test_what_the_module_imports_itself_is_not_imported_again(load):
    text = """
import functools
from functools import reduce as other

def name():
    return other.__name__
"""
    assert load(text, "name").name() == "reduce!"
    with pytest.raises(ImportError):
        load("from functools import never_there\n\ndef name():\n    return 1\n", "name")
    known = ("from functools import never_there as never_there",)
    assert load("from functools import never_there\n\ndef name():\n    return 1\n", "name", known=known).name() == "1!"


def test_the_source_of_a_line_is_the_submissions():
    substitution.install([Submission("nowhere.py", "a = 1\nb = 2\n", ())])
    sys.meta_path.pop(0)
    assert linecache.getline("nowhere.py", 2) == "b = 2\n"


def test_calls_are_counted_and_the_docstring_stays(load):
    module = load('def double(x, times=2):\n    """Mine."""\n    return 0\n', "double")
    module.alias(1), module.double(2)
    assert substitution.calls == {"victim:double": 2}
    assert module.double.__doc__ == "Mine."


def test_without_a_text_the_modules_own_is_counted(load):
    module = load("", "double", "Box.area")
    assert module.alias(4) == 8
    assert module.Crate(2).volume() == 8
    assert substitution.calls == {"victim:double": 1, "victim:Box.area": 1}


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("    y = x\n    return y / 0\n", 4),
        ("    def inner():\n        return x / 0\n    return inner()\n", 4),
        ("    return (lambda: x / 0)()\n", 3),
        ("    return [x / 0 for _ in range(2)]\n", 3),
        ("    return helper(x)\n\ndef helper(x):\n    return x / 0\n", 6),
    ],
)
def test_a_traceback_leads_to_the_learners_file_and_line(load, body, line):
    module = load(f"\ndef double(x, times=2):\n{body}", "double")
    with pytest.raises(ZeroDivisionError) as caught:
        module.double(1)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == ("mine.py", line)


def test_the_engines_own_lines_keep_their_file(load, tmp_path):
    module = load("def double(x, times=2):\n    return 0\n", "double")
    assert module.Box.area.__code__.co_filename == str(tmp_path / "victim.py")
    assert module.Box.area.__code__.co_firstlineno == MODULE.splitlines().index("    def area(self):") + 1


def test_nothing_of_it_is_kept_in_a_cache(load, tmp_path):
    load("def double(x, times=2):\n    return 0\n", "double")
    assert list(tmp_path.rglob("*.pyc")) == []


def test_a_name_that_is_not_there():
    with pytest.raises(KeyError):
        substitution.find(substitution.ast.parse(MODULE), "Box.weight")


ONE = """
def double(x, times=2):
    return one()

def one():
    return 1
"""
TWO = """
class Box:
    def area(self):
        return self.two()

    def two(self):
        return 1 / 0
"""


def test_two_submissions_for_one_module(tmp_path, monkeypatch):
    (tmp_path / "victim.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    submissions = [Submission("1.py", ONE, ("victim:double",)), Submission("2.py", TWO, ("victim:Box.area",))]
    monkeypatch.setattr(sys, "meta_path", [Finder(submissions), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "victim", raising=False)
    module = importlib.import_module("victim")
    monkeypatch.delitem(sys.modules, "victim")
    assert module.alias(5) == 1
    with pytest.raises(ZeroDivisionError) as caught:
        module.Crate(1).area()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [(frame.filename, frame.lineno) for frame in frames[-2:]] == [("2.py", 4), ("2.py", 7)]


@pytest.fixture
def interrupting_collector():
    """A garbage collector that comes often, and lets another thread go on meanwhile."""

    def callback(phase, info):
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(callback)


def test_threads_may_parse_at_once(interrupting_collector):
    """Python 3.11 raises SystemError here, but for the lock."""
    text = MODULE * 10
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            trees = list(pool.map(substitution.parsed, [text] * 20))
        assert {len(tree.body) for tree in trees} == {len(trees[0].body)}


def test_modules_without_a_target_are_none_of_its_business():
    assert Finder([Submission("mine.py", "", ("victim:double",))]).find_spec("json") is None
