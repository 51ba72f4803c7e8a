"""On CuPy itself the host never waits while it trains, and a second device trains too.

    cuda-on-cpu pytest tests/cuda_on_cpu/check_devices.py

The suite asserts the same of the stand-in, by the stand-in's rules. Here CUDA's functions that wait are counted, and
the two devices are CuPy's.
"""

import ctypes
import os

import numpy as np
import pytest

import minidl
import models
from minidl import Tensor
from minidl.functional import cross_entropy
from minidl.optim import SGD, AdamW

if "CUDA_ON_CPU" not in os.environ:
    raise pytest.UsageError("these tests are of CUDA on the CPU: run them under cuda-on-cpu (see README.md here)")

pytestmark = pytest.mark.gpu
waits = ctypes.CDLL("libcuda.so.1").cuda_on_cpu_waits


def test_what_waits_is_counted():
    x = Tensor([1.0, 2.0], device="gpu")
    before = waits()
    y = (x * x).sum()
    assert waits() == before
    assert y.item() == 5
    assert waits() == before + 1


def steps(name, make, device, count=2):
    """A network after some steps of training, and how often the host has waited."""
    rng = np.random.default_rng(0)
    model = models.create(name).to(device)
    optimizer = make(model.parameters(), lr=0.01)
    images = Tensor(rng.standard_normal((8, 8, 8, 1)), dtype=np.float32, device=device)
    labels = Tensor(np.arange(8), device=device)
    before = waits()
    for _ in range(count):
        optimizer.zero_grad()
        outputs = model(images)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(cross_entropy(output, labels) for output in outputs).backward()
        optimizer.step()
    return model, waits() - before


NETWORKS = ["vgg_small", "inception_small", "repvgg_small", "resnet_small"]


@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_never_waits(name, make):
    model, waited = steps(name, make, "gpu")
    assert waited == 0
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_second_device_trains_as_the_cpu_does(name):
    on_cpu, _ = steps(name, SGD, "cpu", count=1)
    minidl.manual_seed(0)
    on_gpu, _ = steps(name, SGD, "gpu:1", count=1)
    for expected, actual in zip(on_cpu.parameters(), on_gpu.parameters(), strict=True):
        assert str(actual.device) == str(actual.grad.device) == "gpu:1"
        np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_devices_do_not_mix():
    with pytest.raises(minidl.DeviceError, match="operand 0 .* is on gpu:0, operand 1 .* is on gpu:1"):
        Tensor([1.0], device="gpu") + Tensor([1.0], device="gpu:1")
    with pytest.raises(minidl.DeviceError, match=r"this machine has 2 GPU\(s\)"):
        minidl.device("gpu:2")
