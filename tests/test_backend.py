"""Devices and what is said when there is none, moving arrays, dtypes of new tensors, random numbers."""

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import Device, DeviceError, Tensor, backend


@pytest.fixture
def fake():
    backend.set_gpu_module(fakecupy)
    yield fakecupy
    backend.set_gpu_module(None)


@pytest.fixture
def import_again():
    """CuPy is looked for anew, before the test and after it."""
    backend._import_cupy.cache_clear()
    yield
    backend._import_cupy.cache_clear()


# ---- names of devices


def test_names(fake):
    assert str(minidl.device("cpu")) == repr(minidl.device("cpu")) == "cpu"
    assert minidl.device("gpu") == minidl.device("gpu:0") == Device("gpu", 0)
    assert str(minidl.device("gpu")) == "gpu:0"
    assert minidl.device("gpu:1") == Device("gpu", 1) != Device("gpu", 0)
    assert minidl.device(Device("gpu", 1)) == Device("gpu", 1)
    assert minidl.device("cpu") != minidl.device("gpu")
    assert len({minidl.device("gpu"), minidl.device("gpu:0"), minidl.device("cpu")}) == 2


@pytest.mark.parametrize(
    "name", ["cuda", "GPU", "cpu:0", "gpu:", "gpu:x", "gpu:-1", "gpu:0:1", "gpu0", "", None, 0, np.float32]
)
def test_what_is_no_name_of_a_device(name, fake):
    with pytest.raises(ValueError, match='device: expected "cpu", "gpu" or "gpu:<number>", got '):
        minidl.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_name_from_pytorch_is_translated(name):
    with pytest.raises(ValueError, match=f"""got '{name}'; write "gpu"$"""):
        minidl.device(name)
    with pytest.raises(ValueError, match="got 'cpu:0'$"):
        minidl.device("cpu:0")


def test_a_device_is_a_cpu_or_a_gpu():
    with pytest.raises(
        ValueError, match=r"""Device: expected kind "cpu" or "gpu", got 'gpu:1'; device\("gpu:1"\) reads"""
    ):
        Device("gpu:1")


def test_a_number_beyond_the_last_gpu(fake):
    with pytest.raises(DeviceError, match=r"device 'gpu:2': this machine has 2 GPU\(s\), numbered from 0"):
        minidl.device("gpu:2")


# ---- what is missing, and what to do about it


def test_cupy_is_not_installed(monkeypatch, import_again):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for call in (lambda: minidl.device("gpu"), lambda: Tensor([1.0], device="gpu"), lambda: Tensor([1.0]).to("gpu:0")):
        with pytest.raises(DeviceError) as caught:
            call()
        message = str(caught.value)
        assert "CuPy" in message
        assert "not installed" in message
        assert 'pip install "minidl[gpu-cuda12]"' in message
        assert 'pip install "minidl[gpu-cuda13]"' in message
    assert Tensor([1.0], device="cpu").item() == 1


def test_cupy_cannot_be_imported(monkeypatch, import_again):
    def broken(name):
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(DeviceError, match=r"installed but cannot be imported: libcudart\.so\.12"):
        minidl.device("gpu")


def no_driver():
    raise fakecupy.CUDARuntimeError("cudaErrorInsufficientDriver")


@pytest.mark.parametrize("is_available", [lambda: False, no_driver])
def test_cupy_finds_no_gpu(is_available):
    runtime = SimpleNamespace(CUDARuntimeError=fakecupy.CUDARuntimeError)
    backend.set_gpu_module(
        SimpleNamespace(__version__="14.0", is_available=is_available, cuda=SimpleNamespace(runtime=runtime))
    )
    try:
        with pytest.raises(DeviceError, match=r"device 'gpu': CuPy 14\.0 is installed but finds no GPU .*`nvidia-smi`"):
            minidl.device("gpu")
    finally:
        backend.set_gpu_module(None)


def test_cupy_finds_a_gpu_but_not_cudas_libraries(fake, monkeypatch):
    """They are loaded when something is computed, so that is tried."""

    def dot(a, b):
        raise ImportError("No such file: libcublas.so.13\nsearched in these places:")

    monkeypatch.setitem(fake._namespace, "dot", dot)
    backend._require_cuda_libraries.cache_clear()
    with pytest.raises(DeviceError, match=r"cannot compute on it \(No such file: libcublas\.so\.13\); .*pip install"):
        minidl.device("gpu")
    monkeypatch.undo()
    assert minidl.device("gpu") == Device("gpu", 0)


def test_a_device_that_somebody_made_is_looked_at_too(monkeypatch, import_again):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match="not installed"):
        Tensor([1.0], device=Device("gpu"))


def test_a_list_of_arrays_of_a_gpu_is_no_list_of_numbers(fake):
    with pytest.raises(TypeError, match=r"^Tensor: .*; minidl\.stack puts arrays together"):
        Tensor([fake.ones(2), fake.ones(2)])


def test_importing_minidl_imports_no_extra():
    code = (
        "import sys, minidl; print([m for m in ('cupy', 'torch', 'matplotlib', 'rich', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- arrays and where they are


def test_array_module_and_device_of(fake):
    host, device = np.ones(2), fake.ones(2)
    assert backend.array_module(host) is backend.array_module(np.float32(1)) is backend.array_module(1.5) is np
    assert backend.array_module(device) is fake
    assert backend.device_of(host) == backend.device_of(2) == Device("cpu")
    assert backend.device_of(device) == Device("gpu", 0)
    assert [backend.is_array(x) for x in (host, device, np.float32(1), 1, [1], Tensor([1]))] == [True, True] + [
        False
    ] * 4


@pytest.mark.parametrize("wrong", [[1.0], None, "1", Tensor([1.0])])
def test_what_belongs_to_no_array_library(wrong, monkeypatch, import_again):
    """Nothing is said of CuPy, which a list has nothing to do with."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(TypeError, match=f"^expected an array or a number, got {type(wrong).__name__}$"):
        backend.array_module(wrong)


def test_moving_arrays(fake):
    host = np.arange(6.0).reshape(2, 3).T
    for name in ("gpu", "gpu:1"):
        there = backend.to_device(host, minidl.device(name))
        assert backend.device_of(there) == minidl.device(name)
        assert backend.to_device(there, minidl.device(name)) is there
        back = backend.to_host(there)
        assert isinstance(back, np.ndarray)
        np.testing.assert_array_equal(back, host)
    on_the_other = backend.to_device(there, minidl.device("gpu:0"))
    assert backend.device_of(on_the_other) == Device("gpu", 0)
    np.testing.assert_array_equal(backend.to_host(on_the_other), host)
    assert backend.to_host(host) is host
    assert backend.to_device(host, minidl.device("cpu")) is host


def test_active_chooses_where_new_arrays_go(fake):
    with backend.active(minidl.device("gpu:1")):
        assert fake.zeros(2).device.id == 1
    assert fake.zeros(2).device.id == 0
    with backend.active(minidl.device("cpu")):
        assert fake.zeros(2).device.id == 0


# ---- the second GPU: everything below happens while the first is current


def training_like(device):
    x = Tensor([[1.0, -2.0], [3.0, 0.5]], requires_grad=True, device=device)
    w = Tensor([[0.5, 1.0], [2.0, -1.0]], requires_grad=True, device=device)
    y = (x @ w + 1).tanh() * 2 + x.max(axis=0) - w[[0, 0]].mean() / 3
    loss = minidl.where(y > 0, y, y * 0.1).sum() + minidl.maximum(x, 0.7).prod() + x.pad(((1, 0), (0, 1))).sum()
    first = minidl.grad(loss, [x, w], create_graph=True)
    (loss + (first[0] * first[0]).sum()).backward()
    (x * x).sum().backward()  # adds to what is there
    return [loss, x.grad, w.grad, *first]


def test_the_second_gpu_computes_the_same(fake):
    for one, other in zip(training_like("gpu:1"), training_like("cpu"), strict=True):
        assert str(one.device) == "gpu:1"
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)


def test_copies_upstream_gradients_and_checks_on_the_second_gpu(fake):
    x = Tensor([1.0, 2.0], requires_grad=True, device="gpu:1")
    assert Tensor(x).device == Tensor(x.data, dtype="float64").device == x.device
    assert str(Tensor(x.data, device="gpu:0").device) == "gpu:0"
    (x * 3).backward([1.0, 2.0])
    assert x.grad.numpy().tolist() == [3, 6]
    double = Tensor(x, dtype="float64", requires_grad=True)
    minidl.gradcheck(lambda x: x.exp() * x, [double])
    minidl.gradgradcheck(lambda x: x.exp() * x, [double], fast=True)
    assert str(double.device) == "gpu:1"


# ---- new tensors


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2], "float32"),
        ([[1, 2], [3, 4]], "int64"),
        (True, "bool"),
        ([True, False], "bool"),
        ([], "float32"),
        ((1.0, 2.0), "float32"),
        (range(3), "int64"),
        (np.float64(1.5), "float64"),
        (np.float16(1.5), "float16"),
        (np.ones(2), "float64"),
        (np.ones(2, np.float32), "float32"),
        (np.ones(2, np.uint8), "uint8"),
        (np.ones(2, bool), "bool"),
        ([np.float64(1.5)], "float32"),
    ],
)
def test_dtype_of_a_new_tensor(data, dtype, device):
    x = Tensor(data, device=device)
    assert x.dtype == dtype
    assert str(x.device).startswith(device)
    np.testing.assert_array_equal(x.numpy(), np.array(data))
    assert Tensor(data, dtype="float64", device=device).dtype == np.float64


def test_python_numbers_become_float64_without_a_detour():
    assert Tensor(0.1, dtype="float64").item() == 0.1


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, TypeError, "Tensor: expected real numbers or booleans, got NoneType"),
        ("1", TypeError, "Tensor: expected real numbers or booleans, got str"),
        ([1, "2"], TypeError, "Tensor: expected real numbers or booleans, got list"),
        ({}, TypeError, "Tensor: expected real numbers or booleans, got dict"),
        (1j, TypeError, "Tensor: expected real numbers or booleans, got complex of dtype complex128"),
        (np.ones(2, complex), TypeError, "Tensor: expected real .* got ndarray of dtype complex128"),
        (2**70, TypeError, "Tensor: expected real .* got int of dtype object"),
        ([[1, 2], [3]], ValueError, "Tensor: expected nested lists of even lengths"),
    ],
)
def test_what_is_no_tensor(data, error, message):
    with pytest.raises(error, match=message):
        Tensor(data)


def test_subclasses_of_arrays_are_arrays_like_any_other(tmp_path):
    numbers = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.save(tmp_path / "numbers.npy", numbers)
    for data in (numbers.view(np.matrix), np.load(tmp_path / "numbers.npy", mmap_mode="r")):
        x = Tensor(data)
        assert type(x.data) is np.ndarray
        assert not np.shares_memory(x.data, data)
        for y in (x * x, Tensor(numbers) * data, data * Tensor(numbers)):
            assert type(y.data) is np.ndarray
            assert y.numpy().tolist() == [[1, 4], [9, 16]], "element by element"
        assert (x @ data).numpy().tolist() == [[7, 10], [15, 22]]
        assert type(x == data) is type(x <= data) is np.ndarray
        assert type(minidl.concatenate([x, data]).data) is np.ndarray


def test_numbers_in_another_byte_order_are_brought_into_the_machines():
    """Files hold them: IDX, FITS. Of >f4 NumPy says that it is no float32."""
    data = np.array([[1.0, 2.0], [3.0, 4.0]], np.dtype(np.float32).newbyteorder("S"))
    x, layer = Tensor(data, requires_grad=True), minidl.nn.Linear(2, 3)
    x.sum().backward(np.ones((), data.dtype))
    assigned = Tensor([0.0])
    assigned.data = data
    for tensor in (
        x,
        x.grad,
        assigned,
        Tensor([[1.0, 2.0]], dtype=data.dtype),
        x.astype("float64").astype(data.dtype),
        layer(Tensor(data)),
        layer(data),
        Tensor(np.ones((2, 2), np.float32)) * data,
        minidl.nn.Linear(2, 3).to(dtype=data.dtype).weight,
    ):
        assert tensor.dtype == np.float32
        assert tensor.data.dtype.isnative
    assert x.numpy().tolist() == data.tolist()
    assert minidl.functional.conv2d(data.reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1), np.float32)).dtype == np.float32
    assert minidl.functional.sigmoid(data).dtype.isnative


def test_a_masked_array_is_refused_wherever_it_is_given():
    masked = np.ma.masked_array([1.0, 2.0], mask=[False, True])
    x = Tensor([1.0, 2.0])
    for call in (
        lambda: Tensor(masked),
        lambda: x * masked,
        lambda: masked - x,
        lambda: x @ masked,
        lambda: x * np.ma.masked,
        lambda: x == masked,
        lambda: x < masked,
        lambda: minidl.maximum(x, masked),
        lambda: minidl.where(masked > 1, x, x),
        lambda: minidl.concatenate([x, masked]),
        lambda: minidl.functional.relu(masked),
        lambda: minidl.functional.mse_loss(x, masked),
        lambda: minidl.functional.cross_entropy(Tensor(np.ones((2, 3))), masked.astype(int)),
    ):
        with pytest.raises(TypeError, match=r"a masked array is not .*; fill it first, with \.filled\(value\)"):
            call()
    assert Tensor(masked.filled(0)).numpy().tolist() == [1, 0]


def test_what_is_no_dtype():
    with pytest.raises(TypeError, match=r"expected real numbers or booleans, .*complex64"):
        Tensor([1.0], dtype="complex64")
    for data in ("1.5", 1j, np.ones(1, complex)):
        with pytest.raises(TypeError, match="expected real numbers or booleans"):
            Tensor(data, dtype="float32")
    with pytest.raises(TypeError, match="float99"):
        Tensor([1.0], dtype="float99")


# ---- random numbers


def test_the_seed_decides():
    minidl.manual_seed(3)
    first = backend.generator().random(4)
    minidl.manual_seed(np.int64(3))
    np.testing.assert_array_equal(backend.generator().random(4), first)
    minidl.manual_seed(4)
    assert (backend.generator().random(4) != first).all()


def test_the_state_continues_bit_for_bit():
    backend.generator().standard_normal(7)
    state = json.loads(json.dumps(backend.generator_state()))
    expected = backend.generator().random(5)
    minidl.manual_seed(99)
    backend.set_generator_state(state)
    np.testing.assert_array_equal(backend.generator().random(5), expected)
    backend.set_generator_state(state)
    np.testing.assert_array_equal(backend.generator().random(5), expected)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True])
def test_what_is_no_seed(seed):
    before = backend.generator_state()
    with pytest.raises(ValueError, match="manual_seed: expected an integer of at least 0, got "):
        minidl.manual_seed(seed)
    assert backend.generator_state() == before


@pytest.mark.parametrize("state", [{}, {"bit_generator": "Other"}, None, 3])
def test_what_is_no_state(state):
    before = backend.generator_state()
    with pytest.raises((ValueError, TypeError, KeyError)):
        backend.set_generator_state(state)
    assert backend.generator_state() == before


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long doubles are doubles here")
def test_numbers_of_more_than_64_bits_are_refused():
    for make in (lambda: Tensor(np.ones(2, np.longdouble)), lambda: Tensor(np.ones(2), dtype=np.longdouble)):
        with pytest.raises(TypeError, match=r"Tensor: expected numbers of at most 64 bits, got float128; convert them"):
            make()
    with pytest.raises(TypeError, match=r"^astype: expected a dtype of real numbers or booleans"):
        Tensor([1.0]).astype(np.longdouble)
