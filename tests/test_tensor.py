"""The value and its manners: construction, attributes, leaving the graph, printing, refusals."""

import copy
import inspect
import operator
import types

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import Tensor, backend
from minidl import functional as F
from minidl.tensor import Leaf

# ---- what it is


def test_attributes(device):
    x = Tensor([[1, 2, 3], [4, 5, 6]], dtype="float32", requires_grad=True, device=device)
    assert (x.shape, x.ndim, x.size, x.dtype) == ((2, 3), 2, 6, np.float32)
    assert str(x.device).startswith(device)
    assert x.requires_grad
    assert x.is_leaf
    assert isinstance(x.source, Leaf)
    assert x.grad is None
    y = x * 2
    assert y.requires_grad
    assert not y.is_leaf
    assert type(y.source).__name__ == "Multiply"
    z = Tensor([1.0], device=device) * 2
    assert not z.requires_grad
    assert z.is_leaf
    assert z.source is None


@pytest.mark.parametrize("data", [np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.float64(2)])
def test_data_is_copied(data, device):
    x = Tensor(data, device=device)
    y = Tensor(x)
    assert not backend.array_module(x.data).may_share_memory(x.data, y.data)
    if device == "cpu":
        assert not np.shares_memory(x.data, data)
    np.testing.assert_array_equal(y.numpy(), data)


def test_a_tensor_from_a_tensor_begins_a_new_graph(device):
    x = Tensor([1.0], requires_grad=True, device=device)
    y = Tensor(x * 2)
    assert not y.requires_grad
    assert y.device == x.device


def test_only_known_attributes_can_be_set():
    with pytest.raises(AttributeError):
        Tensor([1.0]).gard = None


def test_what_brings_tensor_its_methods_is_declared_there():
    """The block in class Tensor names every method for readers and type checkers: none missing, none too many."""
    declared = {name for name, kind in Tensor.__annotations__.items() if "ClassVar" in str(kind)}
    brought = {
        name
        for name, value in vars(Tensor).items()
        if isinstance(value, types.FunctionType | property) and _module(value) != "minidl.tensor"
    }
    comparisons = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}  # object has declared them
    assert comparisons <= brought
    assert declared == brought - comparisons


def _module(value):
    return inspect.unwrap(value.fget if isinstance(value, property) else value).__module__


def test_every_promised_method_is_there():
    promised = """sum mean var max min prod exp log sqrt tanh sigmoid relu reshape flatten transpose permute T squeeze
        unsqueeze expand pad split clip copy detach numpy item to astype zero_grad backward"""
    assert [name for name in promised.split() if not hasattr(Tensor, name)] == []
    functions = "concatenate stack where maximum minimum grad no_grad manual_seed gradcheck gradgradcheck exp log sqrt"
    assert [name for name in functions.split() if name not in minidl.__all__] == []
    assert [name for name in minidl.__all__ if not hasattr(minidl, name)] == []


@pytest.mark.torch
def test_size_and_data_are_numpys():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = Tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert (ours.size, tuple(theirs.size())) == (6, (2, 3))
    assert (type(ours.data), type(theirs.data)) == (np.ndarray, torch.Tensor)
    assert (type(ours > 2), type(theirs > 2)) == (np.ndarray, torch.Tensor)


def test_methods_have_numpys_axis_and_functions_pytorchs_dim():
    methods = {name: value for name, value in vars(Tensor).items() if isinstance(value, types.FunctionType)}
    of_methods = {p for method in methods.values() for p in inspect.signature(method).parameters}
    of_functions = {p for name in F.__all__ for p in inspect.signature(getattr(F, name)).parameters}
    assert {"axis", "keepdims"} <= of_methods
    assert {"dim", "keepdim"} <= of_functions
    assert of_methods & {"dim", "keepdim", "dims"} == of_functions & {"axis", "keepdims"} == set()


# ---- data


def test_data_can_be_replaced(device):
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    array = x.data * 3
    x.data = array
    assert x.data is array
    x.data -= 1
    assert x.numpy().tolist() == [2, 5]
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [4, 10]
    x.data = np.float32(7)
    assert isinstance(x.data, np.ndarray)
    assert x.item() == 7


@pytest.mark.parametrize("value", [[1.0], 1.0, None, Tensor([3.0])])
def test_what_is_no_data(value):
    x = Tensor([1.0])
    with pytest.raises(TypeError, match=f"data: expected an array, got {type(value).__name__}; .* is its .data"):
        x.data = value
    assert x.numpy().tolist() == [1]


def test_data_of_a_subclass():
    x = Tensor([[1.0]])
    x.data = np.array([[1.0, 2.0]]).view(np.matrix)
    assert type(x.data) is np.ndarray
    with pytest.raises(TypeError, match=r"\.filled\(value\)"):
        x.data = np.ma.masked_array([1.0], mask=[True])
    assert x.numpy().tolist() == [[1, 2]]


# ---- requires_grad and grad


def test_requires_grad_can_be_set_on_leaves(device):
    x = Tensor([1.0], device=device)
    x.requires_grad = True
    x.requires_grad = True
    (x * 3).backward()
    assert x.grad.item() == 3
    x.requires_grad = True
    assert x.grad.item() == 3, "nothing was changed, and so nothing is lost"
    x.requires_grad = False
    assert x.grad is None
    assert not (x * 3).requires_grad


def test_requires_grad_switched_off_and_on_again_is_the_same_leaf(device):
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    y = (x * x).sum()
    x.requires_grad = False
    x.requires_grad = True
    y.backward()
    assert x.grad.numpy().tolist() == [2, 4]


@pytest.mark.parametrize("wanted", [1, "float32", None, np.float32])
def test_requires_grad_is_a_boolean(wanted):
    with pytest.raises(TypeError, match="requires_grad must be True or False, got "):
        Tensor([1.0], wanted)
    x = Tensor([1.0])
    with pytest.raises(TypeError, match="requires_grad must be True or False, got "):
        x.requires_grad = wanted
    assert not x.requires_grad


@pytest.mark.parametrize("wanted", [True, False])
def test_requires_grad_cannot_be_set_on_results(wanted):
    y = Tensor([1.0], requires_grad=True) * 2
    with pytest.raises(
        RuntimeError, match=r"requires_grad can be set on leaves only.* computed by Multiply; use \.detach\(\)"
    ):
        y.requires_grad = wanted


@pytest.mark.parametrize("data", [1, True, np.ones(2, np.int32)])
def test_integers_have_no_gradients(data, device):
    with pytest.raises(TypeError, match=r"requires_grad: only floating tensors have gradients, this one is (int|bool)"):
        Tensor(data, requires_grad=True, device=device)
    x = Tensor(data, device=device)
    x.requires_grad = False
    with pytest.raises(TypeError, match="only floating tensors have gradients"):
        x.requires_grad = True
    assert Tensor(data, requires_grad=True, dtype="float32", device=device).requires_grad


def test_grad_can_be_replaced_and_forgotten(device):
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    g = Tensor([3.0, 4.0], device=device)
    x.grad = g
    assert x.grad is g
    x.zero_grad()
    assert x.grad is None
    x.grad = g
    x.grad = None
    assert x.grad is None
    Tensor([1.0]).zero_grad()  # nothing to forget is no mistake
    (x * 2).zero_grad()


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (Tensor([1.0]), ValueError, r"grad: expected shape \(2,\), dtype float32, on cpu; got \(1,\), float32, on cpu"),
        (Tensor([1.0, 2.0], dtype="float64"), ValueError, r"got \(2,\), float64"),
        (np.ones(2, np.float32), TypeError, "grad: expected a Tensor or None, got ndarray"),
        (0, TypeError, "grad: expected a Tensor or None, got int"),
    ],
)
def test_what_is_no_gradient(value, error, message):
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(error, match=message):
        x.grad = value
    assert x.grad is None


def test_only_leaves_have_a_grad_to_set():
    for x in (Tensor([1.0]), Tensor([1.0], requires_grad=True) * 2):
        assert x.grad is None
        with pytest.raises(RuntimeError, match="grad can be set on leaves that require gradients only"):
            x.grad = Tensor([1.0])


# ---- leaving the graph


def test_detach_and_numpy(device):
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    y = (x * 3).detach()
    assert not y.requires_grad
    assert x.detach().data is x.data
    (y * x).sum().backward()
    assert x.grad.numpy().tolist() == [3, 6], "y is a constant"
    array = x.numpy()
    assert type(array) is np.ndarray
    assert array.tolist() == [1, 2]
    if device == "cpu":
        assert np.shares_memory(array, x.data)


def test_item_float_int_bool(device):
    x = Tensor([[2.5]], device=device)
    assert (x.item(), float(x), int(x), bool(x)) == (2.5, 2.5, 2, True)
    assert type(x.item()) is float
    assert type(Tensor(3, device=device).item()) is int
    assert not Tensor(0.0, device=device)
    assert Tensor(True, device=device).item() is True


@pytest.mark.parametrize("call", [lambda x: x.item(), float, int, bool])
@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
def test_several_elements_are_not_one(call, shape):
    with pytest.raises(ValueError, match=r"item: expected a tensor with one element, got shape \("):
        call(Tensor(np.ones(shape)))


def test_a_whole_number_is_an_index():
    two = Tensor(2)
    assert list(range(two)) == [0, 1]
    assert ["a", "b", "c"][two] == "c"
    assert Tensor([5, 6, 7])[:two].numpy().tolist() == [5, 6]
    assert operator.index(Tensor(3, dtype="uint8")) == 3


@pytest.mark.parametrize("data", [2.0, True, [2]])
def test_what_is_no_index(data):
    with pytest.raises(TypeError, match=r"only an integer tensor of shape \(\) on the CPU is an index, got"):
        range(Tensor(data))


def test_no_index_without_waiting():
    """On a GPU the number would have to be fetched: that is asked for by name."""
    backend.set_gpu_module(fakecupy)
    try:
        with pytest.raises(TypeError, match=r"is an index, got int64 of shape \(\) on gpu:0; .item\(\) is its value"):
            range(Tensor(2, device="gpu"))
    finally:
        backend.set_gpu_module(None)


def test_np_asarray():
    x = Tensor([[1.0, 2.0]], requires_grad=True)
    assert np.asarray(x).tolist() == [[1, 2]]
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.asarray(x, dtype="float64").dtype == np.float64
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray(Tensor(2)).shape == ()


def test_np_asarray_of_a_gpu_tensor(device):
    x = Tensor([1.0], device=device)
    if device == "cpu":
        assert np.asarray(x).tolist() == [1]
        return
    with pytest.raises(TypeError, match=r"np\.asarray: this tensor is on gpu:0; copy it to the host with \.numpy\(\)"):
        np.asarray(x)


def test_numpys_functions_do_not_loop_over_a_tensor():
    with pytest.raises(TypeError, match="__array_ufunc__"):
        np.exp(Tensor([1.0]))


def test_copies_of_a_tensor():
    x = Tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.copy(x), copy.deepcopy(x)):
        assert twin.requires_grad
        assert twin.numpy().tolist() == [1, 2]
    (copy.deepcopy(x) * 2).sum().backward()
    assert x.grad is None


# ---- Python's protocols


def test_repr(device):
    place = "cpu" if device == "cpu" else "gpu:0"
    x = Tensor([[1.0, 2.5], [-3.0, 4.0]], requires_grad=True, device=device)
    assert (
        repr(x) == f"Tensor([[ 1. ,  2.5],\n        [-3. ,  4. ]], dtype=float32, device={place}, requires_grad=True)"
    )
    assert repr(x @ x).endswith(f"dtype=float32, device={place}, op=MatMul)")
    assert repr(x.detach()).endswith(f"device={place})")
    assert repr(Tensor(2, device=device)) == f"Tensor(2, dtype=int64, device={place})"
    assert repr(Tensor([True], device=device)) == f"Tensor([ True], dtype=bool, device={place})"
    assert repr(Tensor([], device=device)) == f"Tensor([], dtype=float32, device={place})"
    assert str(x) == repr(x)
    assert len(repr(Tensor(np.ones((50, 50)), device=device))) < 1000
    assert repr(Tensor(np.float64(1), True, device=device).max()).endswith("op=Reshape)")
    pieces = Tensor([1.0, 2.0], requires_grad=True, device=device).split(1)
    assert "op=Split" in repr(pieces[1])


def test_len():
    assert len(Tensor(np.ones((3, 2)))) == 3
    assert len(Tensor([])) == 0
    for call in (len, iter, list):
        with pytest.raises(TypeError, match="len: a 0-dimensional tensor has no length"):
            call(Tensor(1.0))


def test_format(device):
    assert f"{Tensor(2 / 3, device=device):.3f}" == f"{Tensor([[2 / 3]], device=device):.3f}" == "0.667"
    assert f"{Tensor(7, device=device):04d}" == "0007"
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    assert f"{x}" == str(x) == f"{x!r}"
    with pytest.raises(ValueError, match=r"item: expected a tensor with one element, got shape \(2,\)"):
        f"{x:.3f}"


def test_tensors_are_keys_by_identity():
    x, y = Tensor([1.0]), Tensor([1.0])
    assert {x: 1, y: 2}[x] == 1
    assert len({x, y, x}) == 2


# ---- what is refused


def assign(x):
    x[0] = 1.0


def assign_masked(x):
    x[x > 0] = 0.0


def delete(x):
    del x[0]


def add_to_item(x):
    x[0] += 1.0


def in_place(operator):
    namespace = {}
    exec(f"def change(x):\n    x {operator}= 2.0", namespace)
    return namespace["change"]


@pytest.mark.parametrize(
    "change", [*map(in_place, ["+", "-", "*", "/", "**", "@"]), assign, assign_masked, delete, add_to_item]
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_tensors_do_not_change_in_place(change, requires_grad, device):
    x = Tensor([1.0, 2.0], requires_grad=requires_grad, device=device)
    with pytest.raises(RuntimeError, match=r"do not change in place.*x = x \+ y.*where\(mask, v, x\).*x\.data"):
        change(x)
    assert x.numpy().tolist() == [1, 2]


@pytest.mark.parametrize("operator", ["//", "%", "<<", "&"])
def test_operators_that_tensors_do_not_have(operator):
    with pytest.raises(TypeError, match="unsupported operand"):
        eval(f"x {operator} 2", {"x": Tensor([1.0])})


def test_zero_grad_forgets_even_while_requires_grad_is_off():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    x.requires_grad = False
    x.zero_grad()
    x.requires_grad = True
    assert x.grad is None


def test_data_of_a_tensor_with_gradients_stays_floating():
    x = Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="data: only floating tensors have gradients, got int64"):
        x.data = np.arange(2)
    np.testing.assert_array_equal(x.data, [1.0, 2.0])
