"""The layer of embeddings: its function with a table of its own, whose padding row is and stays zero."""

import inspect

import numpy as np
import oracle
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, nn, optim
from minidl import functional as F


def test_it_reads_its_table(device, rng):
    layer, words = nn.Embedding(5, 3).to(device), rng.integers(0, 5, (2, 4))
    x = Tensor(words, device=device)
    assert_close(layer(x), oracle.embedding(words, host(layer.weight)), 0)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert (layer.num_embeddings, layer.embedding_dim, layer.padding_idx) == (5, 3, None)


@pytest.mark.parametrize("padding_idx", [2, -3])
def test_the_padding_row_is_zero_and_stays_zero(padding_idx, device, rng):
    layer = nn.Embedding(5, 3, padding_idx).to(device)
    assert layer.padding_idx == 2
    before = host(layer.weight).copy()
    assert (before[2] == 0).all()
    assert (np.delete(before, 2, axis=0) != 0).all()
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    y = layer(Tensor([2, 2, 4], device=device))
    y.backward(Tensor(rng.standard_normal((3, 3)).astype(np.float32), device=device))
    optimizer.step()
    assert np.unique(np.nonzero(host(layer.weight) != before)[0]).tolist() == [4]


def test_scale_grad_by_freq_is_passed_on(device):
    x = Tensor([1, 1, 0], device=device)
    for scaled, expected in [(False, [1, 2, 0]), (True, [1, 1, 0])]:
        layer = nn.Embedding(3, 1, scale_grad_by_freq=scaled).to(device)
        layer(x).sum().backward()
        assert host(layer.weight.grad)[:, 0].tolist() == expected


def test_initial_weights_are_standard_normal():
    weight = host(nn.Embedding(300, 50).weight)
    assert weight.dtype == np.float32
    assert abs(weight.mean()) < 0.03
    assert abs(weight.std() - 1) < 0.03
    assert 3 < abs(weight).max() < 6


def test_it_is_checked_like_any_block(rng):
    layer = nn.Embedding(4, 3).to("cpu", np.float64)
    words = np.array([[1, 1, 3], [0, 1, 2]])
    minidl.gradcheck(lambda weight: F.embedding(words, weight) ** 2, [layer.weight])
    assert_close(layer(words), oracle.embedding(words, host(layer.weight)), 0)


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"padding_idx": -1, "scale_grad_by_freq": True}], ids=str)
def test_against_torch(options, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = nn.Embedding(4, 3, **options).to("cpu", np.float64), torch.nn.Embedding(4, 3, **options).double()
    assert ours.padding_idx == theirs.padding_idx
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(host(ours.weight)))
    words, g = np.array([[1, 1, 3], [0, 1, 2]]), rng.standard_normal((2, 3, 3))
    y, expected = ours(Tensor(words)), theirs(torch.from_numpy(words))
    assert_close(y, expected.detach().numpy(), 0)
    y.backward(Tensor(g))
    expected.backward(torch.from_numpy(g))
    assert_close(ours.weight.grad, theirs.weight.grad.numpy(), 1e-14)


@pytest.mark.torch
def test_options_and_defaults_are_those_of_torch():
    """Without max_norm, which changes the weight, and sparse gradients; what follows these has to be named."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = (inspect.signature(kind).parameters for kind in (nn.Embedding, torch.nn.Embedding))
    left_out = {"max_norm", "norm_type", "sparse", "_weight", "_freeze", "device", "dtype"}
    expected = [(name, theirs[name].default) for name in theirs if name not in left_out]
    assert [(name, ours[name].default) for name in ours] == expected
    assert ours["scale_grad_by_freq"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("Embedding(4, 3)", lambda: nn.Embedding(4, 3)),
        ("Embedding(4, 3, padding_idx=3)", lambda: nn.Embedding(4, 3, -1)),
        (
            "Embedding(4, 3, padding_idx=0, scale_grad_by_freq=True)",
            lambda: nn.Embedding(4, 3, 0, scale_grad_by_freq=True),
        ),
    ],
)
def test_repr(text, layer):
    assert repr(layer()) == text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Embedding(0, 3), "Embedding: num_embeddings must be an integer of at least 1, got 0"),
        (lambda: nn.Embedding(3, 1.5), "Embedding: embedding_dim must be an integer of at least 1, got 1.5"),
        (lambda: nn.Embedding(3, 2, 3), "Embedding: padding_idx=3 is not one of the 3 rows of the weight"),
        (lambda: nn.Embedding(3, 2, -4), "Embedding: padding_idx=-4 is not one of the 3 rows of the weight"),
        (lambda: nn.Embedding(3, 2, "0"), "Embedding: padding_idx='0' is not one of the 3 rows of the weight"),
    ],
)
def test_wrong_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()
