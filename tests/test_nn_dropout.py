"""Dropout layers: their functions in training, nothing in inference."""

import inspect

import numpy as np
import pytest
from judge import assert_close, host

import minidl
from minidl import Tensor, nn
from minidl import functional as F

LAYERS = {nn.Dropout: F.dropout, nn.Dropout2d: F.dropout2d}


@pytest.mark.parametrize("layer", LAYERS)
def test_in_training_and_inference(layer, device, rng):
    function, layer = LAYERS[layer], layer(0.4)
    x = Tensor(rng.standard_normal((2, 3, 4, 9)), device=device)
    minidl.manual_seed(2)
    y = layer(x)
    minidl.manual_seed(2)
    assert_close(y, function(x, 0.4), 0)
    assert (host(y) == 0).any() and (host(y) != 0).any()
    assert layer.eval()(x) is x
    assert layer.state_dict() == {}


def test_dropout2d_drops_whole_channels(device):
    y = host(nn.Dropout2d()(Tensor(np.ones((5, 3, 4, 6)), device=device)))
    assert (y == y[:, :1, :1]).all()
    assert set(y.ravel().tolist()) == {0, 2}
    y = host(nn.Dropout()(Tensor(np.ones((5, 3, 4, 6)), device=device)))
    assert not (y == y[:, :1, :1]).all()


@pytest.mark.torch
@pytest.mark.parametrize("layer", LAYERS)
def test_options_are_those_of_torch(layer):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    theirs = inspect.signature(getattr(torch.nn, layer.__name__)).parameters
    expected = [(name, parameter.default) for name, parameter in theirs.items() if name != "inplace"]
    assert [(name, p.default) for name, p in inspect.signature(layer).parameters.items()] == expected


@pytest.mark.parametrize("layer", LAYERS)
def test_repr_and_wrong_probabilities(layer):
    assert repr(layer(0.3)) == f"{layer.__name__}(p=0.3)"
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=f"^{layer.__name__}: expected a probability from 0 to 1, got p={p}"):
            layer(p)
