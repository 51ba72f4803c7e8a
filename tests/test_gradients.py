"""Gradient norms per layer: the right numbers, and not a trace left behind."""

import numpy as np
import pytest

import minidl
import models
from minidl import functional as F
from minidl import nn
from minidl.backend import generator_state, to_host
from minidl.inspection.gradients import gradient_norms
from minidl.tensor import Tensor


def batch():
    random = np.random.default_rng(0)
    return random.random((6, 8, 8, 1), dtype=np.float32), random.integers(0, 10, 6)


def direct(model, images, labels, aux_weight):
    """The norms, computed on the model itself by the definition."""
    output = model.train()(Tensor(images))
    scores, *auxiliary = output if isinstance(output, tuple) else (output,)
    loss = F.cross_entropy(scores, labels)
    for head in auxiliary:
        loss = loss + aux_weight * F.cross_entropy(head, labels)
    loss.backward()
    norms = {name: np.sqrt((p.grad.numpy().astype(np.float64) ** 2).sum()) for name, p in model.named_parameters()}
    return {name: norms[name] for name, p in model.named_parameters() if p.ndim in (2, 4)}


@pytest.mark.parametrize("name", models.SMALL)
@pytest.mark.parametrize("aux_weight", [0.3, 1.0])
def test_equals_a_direct_computation_in_training_mode(name, aux_weight):
    model = models.create(name).to(dtype=np.float64)
    images, labels = batch()
    minidl.manual_seed(5)  # dropout drops the same
    measured = gradient_norms(model.eval(), images.astype(np.float64), labels, aux_weight)
    minidl.manual_seed(5)
    expected = direct(model, images.astype(np.float64), labels, aux_weight)
    assert list(measured) == list(expected), "from the input to the output"
    np.testing.assert_allclose(list(measured.values()), list(expected.values()), rtol=1e-10)


def test_the_auxiliary_weight_is_that_of_training():
    model, (images, labels) = models.create("inception_small"), batch()
    assert gradient_norms(model, images, labels) == gradient_norms(model, images, labels, aux_weight=0.3)
    assert gradient_norms(model, images, labels) != gradient_norms(model, images, labels, aux_weight=0.4)


def test_leaves_everything_as_it_is(device):
    model = models.create("inception_small").to(device)
    images, labels = batch()
    model.eval()
    model.aux1.training = True  # a mode of its own for each module
    F.cross_entropy(model(Tensor(images, device=device)), Tensor(labels, device=device)).backward()
    modes = [module.training for module in model.modules()]
    state, random = model.state_dict(), generator_state()
    gradients = {n: None if p.grad is None else to_host(p.grad.data).copy() for n, p in model.named_parameters()}
    arrays = [p.data for p in model.parameters()]

    norms = gradient_norms(model, images, labels)
    assert gradient_norms(model, images, labels) == norms, "the same answer twice"

    assert generator_state() == random
    assert [module.training for module in model.modules()] == modes
    assert all(p.data is array for p, array in zip(model.parameters(), arrays, strict=True))
    after = model.state_dict()
    for name, array in state.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    for name, p in model.named_parameters():
        if gradients[name] is None:
            assert p.grad is None, name
        else:
            np.testing.assert_array_equal(to_host(p.grad.data), gradients[name], err_msg=name)


def test_leaves_the_random_numbers_alone_when_the_model_fails():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            F.dropout(x, 0.5)
            raise RuntimeError("on purpose")

    model = Fails()
    random = generator_state()
    with pytest.raises(RuntimeError, match="on purpose"):
        gradient_norms(model, np.ones((3, 2), np.float32), np.zeros(3, int))
    assert generator_state() == random


def test_biases_and_unused_weights_have_no_norm():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.fc = nn.Linear(3, 4), nn.Linear(64, 10)

        def forward(self, x):
            return self.fc(x.flatten(1))

    assert list(gradient_norms(Half(), *batch())) == ["fc.weight"]
