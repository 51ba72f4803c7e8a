"""Twins in PyTorch: a block or network rebuilt from torch.nn, given the same weights, and compared in every respect.

A twin has minidl's names for its parts, so the state goes over name by name, and a name that differs is an error.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from judge import assert_close

import minidl
from minidl import Tensor, nn

PUBLISHED = Path(__file__).parent / "reference" / "state_dict_keys"  # a file for each network


# ------------------------------------------------------------------------------------------------------ building twins


def torch_nn():
    """torch.nn. A test that asks for it is skipped where PyTorch is not installed."""
    return _torch().nn


def _torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)  # these shapes are tiny
    return torch


def twin(forward, **children):
    """A torch module with these children, in this order (None for one left out), that computes forward(module, x)."""

    class Twin(torch_nn().Module):
        def forward(self, x):
            return forward(self, x)

    module = Twin()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def sequence(*modules):
    return torch_nn().Sequential(*modules)


# -------------------------------------------------------------------------------------------------------- layouts


def to_torch(array):
    """Ours to PyTorch's: a filter (KH, KW, C/G, F) → (F, C/G, KH, KW), a matrix (I, O) → (O, I)."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return np.array(array if axes is None else array.transpose(axes), order="C")


def from_torch(tensor):
    """PyTorch's to ours, the other way."""
    array = tensor.detach().numpy()
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
    return array if axes is None else array.transpose(axes)


def images_from_torch(tensor):
    """(N, C, H, W) → (N, H, W, C); scores (N, classes) as they are."""
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def copy_state(module, other):
    """The minidl module's parameters and buffers into the torch module, whose names and shapes must be the same."""
    torch = _torch()
    other.load_state_dict({name: torch.from_numpy(to_torch(array)) for name, array in module.state_dict().items()})


def torch_shapes(module):
    """{name: shape} of a minidl module's state, in PyTorch's layout: to be compared with a published checkpoint's."""
    return {name: list(to_torch(array).shape) for name, array in module.state_dict().items()}


def published(network, prefix=""):
    """{name: shape} of a published checkpoint (torchvision's, timm's, the RepVGG repository's), or of a block in it."""
    names = json.loads((PUBLISHED / f"{network}.json").read_text())
    found = {name.removeprefix(prefix): shape for name, shape in names.items() if name.startswith(prefix)}
    assert found, f"no {prefix} in {network}"
    return found


# --------------------------------------------------------------------------------------------------------- comparing


def unsettle(module, rng):
    """float64, and batch norms that look trained: every statistic different, scales of either sign, none near 0."""
    module.to(dtype=np.float64)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            C = part.num_features
            part.weight.data = rng.uniform(0.5, 1.5, C) * rng.choice([-1, 1], C)
            part.bias.data = rng.standard_normal(C)
            part.running_mean.data = rng.standard_normal(C)
            part.running_var.data = rng.uniform(0.5, 2, C)
    return module


def assert_twins(module, other, shape, monkeypatch):
    """A module and its PyTorch twin agree to 1e-10 in float64, in training and in inference.

    Compared are outputs, gradients to the input and to every parameter, and what becomes of the running statistics.
    """
    rng = np.random.default_rng(0)
    _drop_the_same(monkeypatch)
    copy_state(unsettle(module, rng), other.double())
    x = rng.standard_normal(shape)
    for training in (True, False):
        module.train(training)
        other.train(training)
        _assert_step_equal(module, other, x, rng)
    state, expected = module.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name, array in state.items():
        assert_close(array, from_torch(expected[name]))


def _assert_step_equal(module, other, x, rng):
    torch = _torch()
    images = Tensor(x, requires_grad=True)
    other_images = torch.from_numpy(np.array(x.transpose(0, 3, 1, 2), order="C")).requires_grad_()
    outputs, other_outputs = _as_tuple(module(images)), _as_tuple(other(other_images))
    assert len(outputs) == len(other_outputs)
    upstream = []
    for y, expected in zip(outputs, other_outputs, strict=True):
        assert_close(y, images_from_torch(expected))
        upstream.append(rng.standard_normal(y.shape))
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = minidl.grad(outputs, [images, *parameters], upstream, allow_unused=True)
    other_parameters = dict(other.named_parameters())
    other_upstream = [torch.from_numpy(np.moveaxis(g, -1, 1).copy()) for g in upstream]
    expected = torch.autograd.grad(
        other_outputs, [other_images, *(other_parameters[name] for name in names)], other_upstream, allow_unused=True
    )
    assert_close(gradients[0], images_from_torch(expected[0]))
    for name, g, e in zip(names, gradients[1:], expected[1:], strict=True):
        assert (g is None) == (e is None), name
        if g is not None:
            assert_close(g, from_torch(e))


def _drop_the_same(monkeypatch):
    """Dropout in both libraries drops every third element, so that its place and its probability can be compared."""
    torch = _torch()

    def kept(layer, shape):
        keep = np.arange(np.prod(shape)).reshape(shape) % 3 != 0
        return keep / (1 - layer.p) if layer.training else np.ones(shape)

    monkeypatch.setattr(nn.Dropout, "forward", lambda layer, x: x * kept(layer, x.shape))
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda layer, x: x * torch.from_numpy(kept(layer, x.shape)))


def _as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)
