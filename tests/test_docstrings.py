"""Every public function says what it computes, and its examples print what they say."""

import doctest
import inspect

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn
from minidl import functional as F

NAMES = {"minidl": minidl, "np": np, "Tensor": Tensor, "F": F, "nn": nn}


def public_functions():
    """The functions of minidl and minidl.functional, and the methods that the ops brought to Tensor, each once."""
    found = {f"minidl.{name}": getattr(minidl, name) for name in minidl.__all__}
    found |= {f"F.{name}": getattr(F, name) for name in F.__all__}
    found |= {f"Tensor.{name}": member for name, member in vars(Tensor).items() if not name.startswith("_")}
    once = {}
    for name, function in found.items():
        if inspect.isfunction(function) and function not in once.values():
            once[name] = function
    return once


FUNCTIONS = public_functions()
LEAVING = ["Tensor.detach", "Tensor.numpy", "Tensor.item", "Tensor.zero_grad"]  # explained on one page, Tensor's


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_is_documented_and_typed(name):
    function = FUNCTIONS[name]
    assert inspect.getdoc(function), "no docstring"
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation is not parameter.empty or parameter.name == "self", parameter.name
        words = inspect.getdoc(function)
        assert parameter.name in words or parameter.name in UNNAMED, f"{parameter.name} is not explained"


# Parameters whose meaning is the same wherever they stand: README.md and the head of minidl/functional.py explain them.
UNNAMED = {
    "self", "tensor", "x", "a", "b", "axis", "keepdims", "dim", "keepdim", "weight", "bias", "stride", "eps",
    "function",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in LEAVING])
def test_its_examples_are_there_and_true(name):
    (test,) = doctest.DocTestFinder(recurse=False).find(FUNCTIONS[name], name, globs=dict(NAMES))
    assert test.examples, "no example"
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert outcome.failed == 0
