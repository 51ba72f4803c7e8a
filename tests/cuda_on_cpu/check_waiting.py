"""With CuPy itself the host never waits for the device while it trains: `cuda-on-cpu pytest` with this file's name.

The suite asserts the same of the stand-in, which counts by its own rules; here CUDA's functions that wait are counted.
"""

import ctypes

import numpy as np
import pytest

import models
from minidl import Tensor
from minidl.functional import cross_entropy
from minidl.optim import SGD, AdamW

pytestmark = pytest.mark.gpu
waits = ctypes.CDLL("libcuda.so.1").cuda_on_cpu_waits


def test_what_waits_is_counted():
    x = Tensor([1.0, 2.0], device="gpu")
    before = waits()
    y = (x * x).sum()
    assert waits() == before
    assert y.item() == 5
    assert waits() == before + 1


@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize("name", ["vgg_small", "inception_small", "repvgg_small", "resnet_small"])
def test_training_never_waits(name, make, rng):
    model = models.create(name).to("gpu")
    optimizer = make(model.parameters(), lr=0.01)
    images = Tensor(rng.standard_normal((8, 8, 8, 1)), dtype=np.float32, device="gpu")
    labels = Tensor(np.arange(8), device="gpu")
    before = waits()
    for _ in range(2):
        optimizer.zero_grad()
        outputs = model(images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(cross_entropy(output, labels) for output in outputs).backward()
        optimizer.step()
    assert waits() == before
    assert all(p.grad is not None for p in model.parameters())
