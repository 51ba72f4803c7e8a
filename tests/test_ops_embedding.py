"""Rows of a table and one-hot vectors: values, what the gradient leaves out, and integers that name nothing."""

import inspect

import fakecupy
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import assert_close, check_operator, host, relative_error

import minidl
from minidl import Tensor, backend
from minidl import functional as F

SHAPES = {
    "a sequence": (5,),
    "sequences": (2, 3),
    "images of words": (2, 3, 4),
    "one word": (),
    "no words": (0,),
    "sequences of nothing": (2, 0),
}


@pytest.fixture
def fake_gpu():
    backend.set_gpu_module(fakecupy)
    yield
    backend.set_gpu_module(None)


# ---- embedding


@pytest.mark.parametrize("name", SHAPES)
def test_embedding(name, device, rng):
    words, weight = rng.integers(0, 4, SHAPES[name]), rng.standard_normal((4, 3))
    x = Tensor(words, device=device)
    assert_close(F.embedding(x, Tensor(weight, device=device)), oracle.embedding(words, weight), 0)
    check_operator(lambda w: F.embedding(x, w), [weight], device)


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_words_may_be_any_integers(dtype, device):
    x, weight = Tensor([2, 0], dtype=dtype, device=device), Tensor([[1.0], [2.0], [3.0]], device=device)
    assert host(F.embedding(x, weight)).tolist() == [[3], [1]]


@st.composite
def texts(draw):
    V = draw(st.integers(1, 5))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    words = np.array(draw(st.lists(st.integers(0, V - 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))))
    padding = draw(st.one_of(st.none(), st.integers(-V, V - 1)))
    return words.reshape(shape).astype(int), V, padding, draw(st.booleans())


@given(text=texts())
def test_the_gradient_adds_up_by_row(text, device):
    """But for the row of the padding; and divided by how often a row was read, where that is asked for."""
    words, V, padding, by_frequency = text
    rng = np.random.default_rng(0)
    array, g = rng.standard_normal((V, 2)), rng.standard_normal((*words.shape, 2))
    x, weight = Tensor(words, device=device), Tensor(array, requires_grad=True, device=device)
    y = F.embedding(x, weight, padding, scale_grad_by_freq=by_frequency)
    assert_close(y, oracle.embedding(words, array), 0)
    upstream = Tensor(g, requires_grad=True, device=device)
    (to_weight,) = minidl.grad(y, [weight], upstream, create_graph=True)
    row = None if padding is None else padding % V
    assert_close(to_weight, oracle.embedding_gradient(g, words, V, row, by_frequency), 1e-14)
    (plain,) = minidl.grad(F.embedding(x, weight, padding, scale_grad_by_freq=by_frequency), [weight], upstream)
    assert_close(plain, to_weight, 0)

    u = rng.standard_normal(array.shape)  # the gradient is linear in g: its own gradient comes from the same weights
    (to_g,) = minidl.grad(to_weight, [upstream], Tensor(u, device=device))
    moved = np.zeros(g.shape)
    for place in np.ndindex(g.shape):
        direction = np.zeros(g.shape)
        direction[place] = 1
        moved[place] = (oracle.embedding_gradient(direction, words, V, row, by_frequency) * u).sum()
    assert_close(to_g, moved, 1e-13)


def test_the_table_in_float32(device, rng):
    """As many additions as a batch of text makes: value and gradient keep float32, and its accuracy."""
    words, weight = rng.integers(0, 7, (50, 40)), rng.standard_normal((7, 3)).astype(np.float32)
    g = rng.standard_normal((50, 40, 3)).astype(np.float32)
    x, table = Tensor(words, device=device), Tensor(weight, requires_grad=True, device=device)
    for options in ({}, {"padding_idx": 2}, {"scale_grad_by_freq": True}):
        y = F.embedding(x, table, **options)
        (to_table,) = minidl.grad(y, [table], Tensor(g, device=device))
        assert (y.dtype, to_table.dtype) == (np.float32, np.float32)
        assert relative_error(to_table, oracle.embedding_gradient(g.astype(float), words, 7, **options)) < 1e-5


@pytest.mark.torch
@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"padding_idx": 0}], ids=str
)
@pytest.mark.parametrize("both", [False, True])
def test_embedding_against_torch(options, both, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    options = options | {"scale_grad_by_freq": True} if both else options
    words, weight, g = rng.integers(0, 4, (3, 5)), rng.standard_normal((4, 2)), rng.standard_normal((3, 5, 2))
    ours, theirs = Tensor(weight, requires_grad=True), torch.tensor(weight, requires_grad=True)
    y, expected = (
        F.embedding(words, ours, **options),
        torch.nn.functional.embedding(torch.from_numpy(words), theirs, **options),
    )
    assert_close(y, expected.detach().numpy(), 0)
    y.backward(Tensor(g))
    expected.backward(torch.from_numpy(g))
    assert_close(ours.grad, theirs.grad.numpy(), 1e-14)


@pytest.mark.torch
def test_what_torch_has_and_embedding_has_not():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = inspect.signature(torch.nn.functional.embedding).parameters
    ours = inspect.signature(F.embedding).parameters
    assert [name for name in theirs if name not in ours] == ["input", "max_norm", "norm_type", "sparse"]
    assert all(ours[name].default == theirs[name].default for name in ("padding_idx", "scale_grad_by_freq"))
    with pytest.raises(TypeError):  # what stands fourth there is max_norm
        F.embedding(np.array([0]), np.ones((2, 2)), None, 1.0)


def test_words_are_copied(device):
    """They may be filled again before backward."""
    words = Tensor([0, 0, 1], device=device).data
    weight = Tensor(np.ones((3, 1)), requires_grad=True, device=device)
    y = F.embedding(words, weight)
    words[:] = 2
    y.sum().backward()
    assert host(weight.grad).tolist() == [[2], [1], [0]]


# ---- one-hot


@pytest.mark.parametrize("name", SHAPES)
def test_one_hot(name, device, rng):
    classes = rng.integers(0, 4, SHAPES[name])
    y = F.one_hot(Tensor(classes, device=device), 5)
    assert isinstance(y, Tensor) and not y.requires_grad
    assert (y.dtype, y.shape) == (np.int64, (*SHAPES[name], 5))
    np.testing.assert_array_equal(host(y), np.eye(5, dtype=int)[classes])


def test_one_hot_counts_the_classes(device):
    assert host(F.one_hot(Tensor([2, 0], device=device))).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert host(F.one_hot(Tensor([0, 0], dtype="uint8", device=device))).tolist() == [[1], [1]]


def test_one_hot_of_a_raw_array(device):
    y = F.one_hot(Tensor([1], device=device).data, 2)
    assert backend.is_array(y)
    assert host(y).tolist() == [[0, 1]]


def test_a_one_hot_vector_picks_its_row(device, rng):
    words, weight = Tensor([2, 0, 2], device=device), Tensor(rng.standard_normal((3, 4)), device=device)
    assert_close(F.one_hot(words, 3) @ weight, F.embedding(words, weight), 0)


@pytest.mark.torch
@pytest.mark.parametrize("num_classes", [-1, 3, 5])
def test_one_hot_against_torch(num_classes):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    classes = np.array([[2, 0], [1, 1]])
    expected = torch.nn.functional.one_hot(torch.from_numpy(classes), num_classes).numpy()
    y = F.one_hot(classes, num_classes)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)


# ---- devices


def test_on_a_second_gpu_without_waiting(fake_gpu):
    x, weight = Tensor([[2, 0], [2, 1]], device="gpu:1"), Tensor(np.ones((3, 2)), requires_grad=True, device="gpu:1")
    with fakecupy.count_synchronisations() as log:
        for y in (
            F.embedding(x, weight),
            F.embedding(x, weight, 1, scale_grad_by_freq=True),
            F.one_hot(x, 3) * weight[0, 0],
        ):
            (g,) = minidl.grad(y, [weight], Tensor._wrap(y.data), create_graph=True)
            assert str(y.device) == str(g.device) == "gpu:1"
    assert log.places == []


def test_classes_of_a_gpu(fake_gpu):
    """Counting them means looking. Without looking, a class that does not exist gives a row of zeros."""
    x = Tensor([3, 1, -1], device="gpu:1")
    with fakecupy.count_synchronisations() as log:
        y = F.one_hot(x, 2)
    assert log.places == []
    assert host(y).tolist() == [[0, 0], [0, 1], [0, 0]]
    with fakecupy.count_synchronisations() as log:
        assert F.one_hot(x[:2]).shape == (2, 4)
    assert log.places != []
    with pytest.raises(ValueError, match="one_hot: class -1 does not exist among 4 classes"):
        F.one_hot(x)


def test_words_on_another_device(fake_gpu):
    with pytest.raises(minidl.DeviceError, match=r"embedding: .*operand 0 .*cpu, operand 1 .*gpu:0.*\.to\("):
        F.embedding(np.array([0]), Tensor(np.ones((2, 2)), device="gpu"))


# ---- wrong calls

WEIGHT = Tensor(np.ones((3, 2)))
WORDS = np.array([0, 2])
WRONG = [
    (lambda: F.embedding([0, 2], WEIGHT), TypeError, "embedding: expected a Tensor or an array, got list"),
    (lambda: F.embedding(WORDS, [[1.0]]), TypeError, "embedding: expected a Tensor or an array, got list"),
    (lambda: F.embedding(WEIGHT, WEIGHT), TypeError, "embedding: expected integers as index, got float64"),
    (lambda: F.embedding(WORDS > 0, WEIGHT), TypeError, "embedding: expected integers as index, got bool"),
    (lambda: F.embedding(WORDS, WEIGHT[0]), ValueError, r"embedding: expected a weight \(V, D\), .*got shape \(2,\)"),
    (lambda: F.embedding(WORDS + 1, WEIGHT), IndexError, r"embedding: index 3 does not exist on axis 0 of .*\(3, 2\)"),
    (lambda: F.embedding(WORDS - 1, WEIGHT), IndexError, "embedding: index -1 does not exist on axis 0"),
    (lambda: F.embedding(WORDS, WEIGHT, 3), ValueError, "embedding: padding_idx=3 is not one of the 3 rows"),
    (lambda: F.embedding(WORDS, WEIGHT, -4), ValueError, "embedding: padding_idx=-4 is not one of the 3 rows"),
    (lambda: F.embedding(WORDS, WEIGHT, 1.0), ValueError, "embedding: padding_idx=1.0 is not one of the 3 rows"),
    (lambda: F.one_hot([0, 1]), TypeError, "one_hot: expected a Tensor or an array, got list"),
    (lambda: F.one_hot(WEIGHT), TypeError, "one_hot: expected integers as index, got float64"),
    (lambda: F.one_hot(WORDS, 2), ValueError, "one_hot: class 2 does not exist among 2 classes, numbered from 0"),
    (lambda: F.one_hot(-WORDS, 5), ValueError, "one_hot: class -2 does not exist among 5 classes"),
    (lambda: F.one_hot(-WORDS), ValueError, "one_hot: class -2 does not exist among 1 classes"),
    (lambda: F.one_hot(WORDS, 0), ValueError, "one_hot: expected num_classes of at least 1, or -1 .*, got 0"),
    (lambda: F.one_hot(WORDS, -2), ValueError, "one_hot: expected num_classes of at least 1, .* got -2"),
    (lambda: F.one_hot(WORDS, 3.0), ValueError, "one_hot: expected num_classes of at least 1, .* got 3.0"),
    (lambda: F.one_hot(WORDS[:0]), ValueError, r"one_hot: the classes of an input of shape \(0,\) cannot be counted"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()
