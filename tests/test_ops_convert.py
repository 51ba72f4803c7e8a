"""Copies and moves: the same numbers in other memory, in another dtype, on another device."""

import fakecupy
import numpy as np
import pytest
from cases import Case, check_derivatives, check_torch, check_value
from judge import check_manners

import minidl
from minidl import Tensor, backend

COPY = Case(lambda x: x.copy(), ((2, 3),), torch=lambda x: x.clone())


def test_copy(device):
    check_value(COPY, device)
    check_derivatives(COPY, device)


@pytest.mark.torch
def test_copy_against_torch():
    check_torch(COPY)


def test_astype(device):
    x = Tensor([1.5, -2.5], requires_grad=True, device=device)
    assert x.astype("float32") is x
    wide = x.astype(np.float64)
    assert wide.dtype == np.float64
    (wide * 2).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.numpy().tolist() == [2, 2]
    whole = x.astype(int)
    assert whole.numpy().tolist() == [1, -2]
    assert not whole.requires_grad


def test_copy_has_memory_of_its_own(device):
    x = Tensor([1.0, 2.0], requires_grad=True, device=device)
    y = x.copy()
    assert not backend.array_module(x.data).may_share_memory(x.data, y.data)
    check_manners(lambda x: x.copy(), [np.ones((2, 3))], device)


@pytest.fixture
def fake():
    backend.set_gpu_module(fakecupy)
    yield fakecupy
    backend.set_gpu_module(None)


def test_to_and_back_with_gradients(fake):
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = x.to("gpu:1")
    assert str(y.device) == "gpu:1"
    assert y.to("gpu:1") is y
    assert x.to("cpu") is x
    (y * y * y).to("gpu").sum().backward()
    assert str(x.grad.device) == "cpu"
    assert x.grad.numpy().tolist() == [3, 12]
    minidl.gradgradcheck(lambda x: (x.to("gpu") ** 3).to("cpu"), [x])


def test_what_is_already_there_is_not_moved(device):
    x = Tensor([1.0], device=device)
    assert x.to(device) is x


def test_the_gradient_of_a_cast_is_cast_back_also_where_it_is_recorded(device):
    x = Tensor(np.array([0.5, 3.0]), requires_grad=True, device=device)
    y = x.astype(np.float32) ** 2
    (first,) = minidl.grad(y, x, Tensor(np.array([1, 3], np.float32), device=device), create_graph=True)
    (second,) = minidl.grad(first, x, Tensor(np.array([1.0, 10.0]), device=device))
    assert (first.dtype, second.dtype) == (np.float64, np.float64)
    assert first.numpy().tolist() == [1, 18]
    assert second.numpy().tolist() == [2, 60]
