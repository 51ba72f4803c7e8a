"""The checker is checked, on the engine itself: each wrong backward of tests/wrong_backwards.py is rejected.

tests/test_gradcheck.py does the same with operations that are written for it, and tests what gradcheck says.
"""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import report
from wrong_backwards import NO_WRONG_TWIN, SMALLER, WRONG, functions

import minidl
from minidl import Tensor, gradcheck, gradgradcheck
from minidl.operators import operators

tried, rejected = [], []


@pytest.fixture(scope="module", autouse=True)
def said_afterwards():
    yield
    if tried:
        report.lines.append(
            f"the checker is checked: {len(rejected)} of {len(tried)} wrong backwards rejected, "
            f"of {len({wrong.kind for wrong in rejected})} kinds of operation"
        )


def check_of(wrong, fast=True):
    """(function, inputs): what to differentiate."""
    check = wrong.check()
    if not fast:
        check = replace(check, shapes=SMALLER.get(check.name, check.shapes))

    def function(*inputs):
        minidl.manual_seed(1)  # dropout must drop the same elements each time
        return check.function(*inputs)

    return gradient_of(function, check.inputs()) if wrong.order == 3 else (function, check.inputs())


def gradient_of(function, inputs):
    """The gradients as a function of the inputs and of the upstream gradient, and its inputs."""
    v = Tensor(np.random.default_rng(3).standard_normal(function(*inputs).shape), requires_grad=True)
    return (lambda *xs: minidl.grad(function(*xs[:-1]), xs[:-1], xs[-1], create_graph=True)), [*inputs, v]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_rejected(wrong, monkeypatch):
    tried.append(wrong)
    judge = gradcheck if wrong.order == 1 else gradgradcheck
    judge(*check_of(wrong), fast=True)  # the right backward passes

    monkeypatch.setattr(wrong.kind, "backward", wrong.backward)
    monkeypatch.setattr(wrong.kind, "_wanted_names", tuple(inspect.signature(wrong.backward).parameters)[2:])
    if wrong.order > 1:
        gradcheck(*check_of(wrong), fast=True)  # too early to see the mistake
    with pytest.raises(wrong.error, match=wrong.says):
        judge(*check_of(wrong, fast=False))
    for seed in range(3):
        with pytest.raises(wrong.error, match=wrong.says):
            judge(*check_of(wrong), fast=True, seed=seed)
    rejected.append(wrong)


def test_every_operation_has_a_wrong_twin():
    """A new Function needs at least one entry in the table."""
    assert len(functions()) >= 70
    in_the_table = {wrong.kind for wrong in WRONG}
    assert {kind.__name__ for kind in functions() if kind not in in_the_table} == set(NO_WRONG_TWIN)


def test_no_mistake_is_there_twice():
    assert len({str(wrong) for wrong in WRONG}) == len(WRONG) >= 60


@pytest.mark.parametrize("name", SMALLER)
def test_the_right_backward_passes_on_the_smaller_inputs(name):
    check = replace(operators()[name], shapes=SMALLER[name])
    assert gradcheck(check.function, check.inputs()).worst_relative < 1e-5
