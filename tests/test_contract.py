"""The contract of an operator, which every public one keeps: this file is where a new one must show that it does.

Its values are judged in its own test file. Here it is asked what is asked of all: it writes to nothing it was given and
shares no memory; gradients have the shape, dtype and device of their inputs; twice is the same; memory that is not
contiguous is read right; it can be differentiated twice; nothing of its graph outlives it; on a second device all it
makes is made there, without waiting for the device; a wrong call gets an error that names it.
"""

import gc

import fakecupy
import numpy as np
import pytest
from judge import assert_close, check_float32, check_manners, host, leaves, scattered
from wrong_calls import COMPARISONS, TWO_DEVICES, WRONG_CALLS

import minidl
from minidl import Function, Tensor, backend
from minidl import functional as F
from minidl.operators import operators

OPERATORS = operators()

# Public operations with nothing to differentiate: results that are whole numbers or booleans, and what moves data.
WITHOUT_GRADIENTS = {
    "__eq__", "__ge__", "__gt__", "__le__", "__lt__", "__ne__", "all", "any", "argmax", "argmin", "argsort", "astype",
    "one_hot", "to",
}  # fmt: skip

# Other spellings of operators in the table: Tensor's operators and methods, and compositions of one line.
SPELLINGS = {
    "__add__": "add", "__radd__": "add", "__sub__": "subtract", "__rsub__": "subtract", "__mul__": "multiply",
    "__rmul__": "multiply", "__truediv__": "divide", "__rtruediv__": "divide", "__pow__": "power",
    "__rpow__": "power", "__matmul__": "matmul", "__rmatmul__": "matmul", "__neg__": "negative",
    "__abs__": "absolute", "__getitem__": "getitem", "abs": "absolute", "permute": "transpose", "T": "transpose",
    "swapaxes": "transpose", "moveaxis": "transpose", "flatten": "reshape", "unflatten": "reshape",
    "squeeze": "reshape", "unsqueeze": "reshape",
}  # fmt: skip

NOT_OPERATORS = {"device", "grad", "gradcheck", "gradgradcheck", "is_grad_enabled", "manual_seed", "no_grad"} | {
    "get_num_threads",
    "set_num_threads",
}


def public_operators():
    """The functions of minidl.functional and of minidl itself, and what the ops brought to Tensor."""
    top = {name for name in minidl.__all__ if callable(getattr(minidl, name)) and name[0].islower()} - NOT_OPERATORS
    brought = {
        name
        for name, member in vars(Tensor).items()
        if getattr(getattr(member, "fget", member), "__module__", "").startswith("minidl.ops")
    }
    return set(F.__all__) | top | brought


def test_every_public_operator_is_in_the_table():
    known = set(OPERATORS) | WITHOUT_GRADIENTS | set(SPELLINGS)
    assert public_operators() - known == set(), "add it to minidl/operators.py"
    assert (WITHOUT_GRADIENTS | set(SPELLINGS)) - public_operators() == set(), "there is no such operator"
    assert set(SPELLINGS.values()) <= set(OPERATORS)


# ------------------------------------------------------------------------------------------------------- what is asked


def single(name):
    """The operator as a function with one result (several are joined into a vector), and its inputs as arrays."""
    check = OPERATORS[name]

    def function(*inputs):
        minidl.manual_seed(1)
        outputs = check.function(*inputs)
        if not isinstance(outputs, tuple):
            return outputs
        return minidl.concatenate([y.flatten() for y in outputs if backend.is_floating(y.dtype)])

    return function, [x.numpy() for x in check.inputs()]


@pytest.mark.parametrize("name", OPERATORS)
def test_it_writes_to_nothing_and_shares_nothing(name, device):
    check_manners(*single(name), device)


@pytest.mark.parametrize("name", OPERATORS)
def test_it_keeps_float32(name, device):
    check_float32(*single(name), device)


@pytest.mark.parametrize("name", OPERATORS)
def test_the_same_input_gives_the_same_result_and_a_raw_array_gives_a_raw_array(name, device):
    function, arrays = single(name)
    first, second = (function(*leaves(arrays, device)) for _ in range(2))
    assert isinstance(first, Tensor)
    assert str(first.device).startswith(device)
    np.testing.assert_array_equal(host(first), host(second))
    plain = function(*[x.data for x in leaves(arrays, device)])
    assert not isinstance(plain, Tensor)
    np.testing.assert_array_equal(host(first), host(plain))


@pytest.mark.parametrize("name", OPERATORS)
def test_memory_that_is_not_contiguous_is_read_right(name, device):
    function, arrays = single(name)
    straight, inputs = function(*leaves(arrays, device)), leaves(arrays, device)
    views = [scattered(x, axis=-1) for x in inputs]
    assert not any(view.data.flags.c_contiguous for view in views if view.size > 1)
    y = function(*views)
    assert_close(y, straight, 1e-13)
    g = Tensor(np.random.default_rng(1).standard_normal(y.shape), device=device)
    expected = leaves(arrays, device)
    gradients = minidl.grad(function(*expected), expected, g)
    for one, other in zip(minidl.grad(y, inputs, g), gradients, strict=True):
        assert_close(one, other, 1e-13)


@pytest.mark.parametrize("name", OPERATORS)
def test_it_can_be_differentiated_twice(name, device):
    """The recorded gradient is the ordinary one, and its own gradient is right."""
    function, arrays = single(name)
    inputs = leaves(arrays, device)
    g = Tensor(np.random.default_rng(4).standard_normal(function(*inputs).shape), requires_grad=True, device=device)
    plain = minidl.grad(function(*inputs), inputs, g)
    recorded = minidl.grad(function(*inputs), inputs, g, create_graph=True)
    for x, one, other in zip(inputs, plain, recorded, strict=True):
        assert (other.shape, other.dtype, other.device) == (x.shape, x.dtype, x.device)
        assert (one.requires_grad, other.requires_grad) == (False, True)
        assert_close(other, one, 1e-12)
    minidl.gradcheck(function, inputs, fast=True)
    minidl.gradgradcheck(function, inputs, fast=True)


@pytest.mark.parametrize("name", OPERATORS)
def test_nothing_of_its_graph_outlives_it(name):
    """With the garbage collector off: neither after a backward pass, nor when there is none, nor in no_grad."""
    function, arrays = single(name)
    inputs = leaves(arrays, "cpu")
    function(*inputs)

    def alive():
        return [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor | Function)]

    gc.disable()
    gc.freeze()  # what is there already is not counted, nor looked at
    try:
        y = function(*inputs)
        assert alive()
        minidl.grad(y, inputs, np.ones(y.shape))
        del y
        assert alive() == []
        y = function(*inputs)
        minidl.grad(y, inputs, Tensor(np.ones(y.shape), requires_grad=True), create_graph=True)
        del y
        assert alive() == []
        with minidl.no_grad():
            assert not function(*inputs).requires_grad
        assert alive() == []
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("name", OPERATORS)
def test_it_computes_only_the_gradients_that_are_wanted(name):
    """Each input alone: the others are constants, whose gradients nobody asked for."""
    function, arrays = single(name)
    g = np.random.default_rng(1).standard_normal(function(*leaves(arrays, "cpu")).shape)
    every = leaves(arrays, "cpu")
    gradients = minidl.grad(function(*every), every, g)
    for i in range(len(arrays)):
        inputs = [Tensor(array, requires_grad=k == i) for k, array in enumerate(arrays)]
        (alone,) = minidl.grad(function(*inputs), [inputs[i]], g)
        assert_close(alone, gradients[i], 1e-13)


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


@pytest.mark.parametrize("name", OPERATORS)
def test_on_a_second_device_all_is_made_there_without_waiting(name, fake_gpu):
    """On gpu:1 while gpu:0 is current: value, gradient, and the gradient of the gradient."""
    function, arrays = single(name)

    def both_gradients(device):
        rng = np.random.default_rng(1)
        inputs = leaves(arrays, device)
        g = Tensor(rng.standard_normal(upstream_shape), requires_grad=True, device=device)
        directions = [Tensor(rng.standard_normal(x.shape), device=device) for x in inputs]
        y = function(*inputs)
        first = minidl.grad(y, inputs, g, create_graph=True)
        second = minidl.grad(first, [*inputs, g], directions, allow_unused=True)
        return [y, *first, *(gradient for gradient in second if gradient is not None)]

    upstream_shape = function(*leaves(arrays, "cpu")).shape
    with fakecupy.count_synchronisations() as log:
        on_device = both_gradients("gpu:1")
    assert log.places == []
    for actual, expected in zip(on_device, both_gradients("cpu"), strict=True):
        assert str(actual.device) == "gpu:1"
        assert_close(actual, expected)


# ---------------------------------------------------------------------------------------------------------- wrong calls


def test_every_public_operator_has_a_wrong_call():
    spelled = {SPELLINGS.get(name, name) for name in public_operators()}
    assert spelled - set(WRONG_CALLS) == {"copy"}, "add it to tests/wrong_calls.py"  # nothing to get wrong in a copy
    for name, calls in WRONG_CALLS.items():
        assert calls
        assert all(message.startswith(f"^{COMPARISONS.get(name, name)}") for _, _, message in calls), name


@pytest.mark.parametrize(("name", "i"), [(name, i) for name, calls in WRONG_CALLS.items() for i in range(len(calls))])
def test_a_wrong_call_is_answered(name, i, device):
    """The error is of the right kind and names the operator, what it expected and what it got."""
    call, kind, message = WRONG_CALLS[name][i]
    with pytest.raises(kind, match=message):
        call(device)


@pytest.mark.parametrize(("here", "there"), [("cpu", "gpu"), ("gpu:1", "gpu:0")])
@pytest.mark.parametrize("name", TWO_DEVICES)
def test_operands_on_two_devices_are_refused(name, here, there, fake_gpu):
    """The error names the operator, or the operation of that name, and where which operand is."""
    message = (
        rf"(?i)^{name}: operands on different devices: operand 0 of shape .* is on .*; bring them together with \.to"
    )
    with pytest.raises(minidl.DeviceError, match=message):
        TWO_DEVICES[name](here, there)
