"""What the stand-in for CuPy says of CuPy, asked of CuPy itself. (`pytest -m gpu`; tests/cuda_on_cpu needs no GPU.)

Where the stand-in is stricter on purpose, and raises what in CuPy would be silently slow or silently wrong, the reason
is here: what CuPy does.
"""

import operator

import fakecupy
import numpy as np
import pytest
from test_fakecupy import CALLS, HOST

from minidl.backend import gpu_module

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["fakecupy", "cupy"])
def xp(request):
    return fakecupy if request.param == "fakecupy" else gpu_module()


@pytest.fixture
def cupy():
    return gpu_module()


@pytest.mark.parametrize("name", CALLS)
def test_it_computes_what_its_stand_in_does(name, cupy):
    host = HOST + 5 if name == "isfinite" else HOST
    expected, actual = (CALLS[name](m, m.asarray(host)) for m in (fakecupy, cupy))
    assert isinstance(actual, cupy.ndarray)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(cupy.asnumpy(actual), fakecupy.asnumpy(expected), rtol=1e-12, atol=1e-12)


# ---- rules that both have


def test_scalars_are_0d_arrays_and_integer_indexing_gives_views(xp):
    x = xp.asarray(HOST)
    for scalar in (x.sum(), x[0, 0, 0], x.max(), xp.dot(x[0, 0], x[0, 0])):
        assert isinstance(scalar, xp.ndarray)
        assert scalar.shape == ()
    x[1][:] = 7.0
    assert xp.asnumpy(x[1] == 7).all()
    with pytest.raises(TypeError):
        operator.index(xp.asarray(1))


def test_numpy_scalars_are_strong_and_pythons_weak(xp):
    x = xp.ones(3, xp.float32)
    assert (x * 2.0).dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64


@pytest.mark.parametrize("mix", [operator.add, operator.mul, operator.matmul, operator.lt])
def test_host_arrays_do_not_mix(mix, xp):
    with pytest.raises(TypeError):
        mix(xp.ones((2, 2)), np.ones((2, 2)))


def test_in_place_does_not_widen(xp):
    counts = xp.arange(3)
    with pytest.raises(TypeError, match="same_kind"):
        counts += 0.5


def test_results_are_c_contiguous(xp):
    x = xp.asarray(HOST).T
    for result in (xp.exp(x), x + x, x.sum(axis=0, keepdims=True), xp.concatenate([x, x]), x.clip(0, 1)):
        assert result.flags.c_contiguous


def test_what_clip_does_with_nan(xp):
    x = xp.asarray([-2.0, 0.0, 2.0, np.nan])
    np.testing.assert_array_equal(xp.asnumpy(xp.clip(x, -1.0, np.nan)), [-1, 0, 2, np.nan])
    np.testing.assert_array_equal(xp.asnumpy(xp.clip(x, np.nan, 1.0)), [-2, 0, 1, np.nan])
    np.testing.assert_array_equal(xp.asnumpy(x.clip(1.0, -1.0)), [-1, -1, -1, -1])


@pytest.mark.parametrize("bounds", [(-1, 1), (0, 300), (None, -1)])
def test_clip_takes_no_bound_that_the_dtype_does_not_hold(bounds, xp):
    with pytest.raises(OverflowError):
        xp.arange(3, dtype=np.uint8).clip(*bounds)


def test_clip_of_whole_numbers(xp):
    most = np.iinfo(np.int64).max
    assert xp.asarray([-5, most]).clip(0).tolist() == [0, most]
    assert xp.asarray([True, False]).clip(False, False).tolist() == [False, False]
    with pytest.raises(TypeError, match="NoneType"):
        xp.asarray([True]).clip(False)


def test_a_floating_index_is_read_as_an_integer(xp):
    assert xp.arange(5)[1.9].item() == 1


def test_of_several_nan_argmax_chooses_one(xp):
    x = xp.asarray([[-np.inf, np.nan, np.nan], [np.nan, 5.0, np.nan]])
    for chosen in (x.argmax(axis=1), x.argmin(axis=1)):
        assert np.isnan(np.take_along_axis(xp.asnumpy(x), xp.asnumpy(chosen)[:, None], 1)).all()


# ---- where the stand-in raises


def test_an_index_out_of_range_wraps_around(cupy):
    assert cupy.arange(3)[cupy.asarray([4])].tolist() == [1]


def test_a_broadcast_view_can_be_written_into(cupy):
    row = cupy.zeros(3)
    view = cupy.broadcast_to(row, (2, 3))
    view[0] = 5.0
    assert row.tolist() == [5, 5, 5]


def test_host_arrays_are_uploaded_without_a_word(cupy):
    x = cupy.arange(3.0)
    assert isinstance(np.exp(x), cupy.ndarray)
    assert x[np.array([2, 0])].tolist() == [2, 0]
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)
