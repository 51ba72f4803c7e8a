"""The stand-in for CuPy keeps its promises: what CuPy refuses is refused, and every wait of the host is counted."""

import copy
import inspect
import itertools
import pickle

import fakecupy as xp
import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def x(rng):
    return xp.asarray(rng.standard_normal((3, 4)).astype(np.float32))


def device_ids():
    return range(xp.cuda.runtime.getDeviceCount())


# ---- it computes what NumPy computes

HOST = np.random.default_rng(1).standard_normal((4, 5, 6))
INDEX = np.random.default_rng(3).integers(0, 5, (4, 2, 6))

CALLS = {
    "exp": lambda m, a: m.exp(a),
    "sum": lambda m, a: m.sum(a, axis=(0, 2), keepdims=True),
    "mean": lambda m, a: m.mean(a, 1),
    "var": lambda m, a: m.var(a, axis=0, ddof=1),
    "std": lambda m, a: a.std(-1),
    "max": lambda m, a: a.max(axis=1),
    "argmax": lambda m, a: m.argmax(a, axis=2),
    "argmin": lambda m, a: a.argmin(),
    "prod": lambda m, a: a.prod(0),
    "any": lambda m, a: m.any(a > 2, axis=0),
    "all": lambda m, a: (a > -2).all(axis=0),
    "cumsum": lambda m, a: m.cumsum(a, axis=1),
    "count_nonzero": lambda m, a: m.count_nonzero(a > 0, axis=1),
    "norm": lambda m, a: m.linalg.norm(a, axis=-1),
    "reshape": lambda m, a: a.reshape(5, -1),
    "transpose": lambda m, a: a.transpose(2, 0, 1),
    "T": lambda m, a: a.T,
    "swapaxes": lambda m, a: m.swapaxes(a, 0, 2),
    "moveaxis": lambda m, a: m.moveaxis(a, 0, -1),
    "ravel": lambda m, a: a[:, ::2].ravel(),
    "squeeze": lambda m, a: a[:, :1].squeeze(1),
    "expand_dims": lambda m, a: m.expand_dims(a, (0, 2)),
    "broadcast_to": lambda m, a: m.broadcast_to(a[:1], (4, 5, 6)),
    "concatenate": lambda m, a: m.concatenate([a, 2 * a], axis=1),
    "stack": lambda m, a: m.stack((a, -a), axis=-1),
    "split": lambda m, a: m.split(a, [1, 3], axis=1)[1],
    "pad": lambda m, a: m.pad(a, ((0, 0), (1, 2), (0, 3)), constant_values=7.0),
    "flip": lambda m, a: m.flip(a, axis=1),
    "roll": lambda m, a: m.roll(a, 2, axis=2),
    "tile": lambda m, a: m.tile(a, (2, 1, 1)),
    "repeat": lambda m, a: m.repeat(a, 3, axis=1),
    "where": lambda m, a: m.where(a > 0, a, 0.0),
    "maximum": lambda m, a: m.maximum(a, 0.5),
    "clip": lambda m, a: m.clip(a, -1, 1),
    "take": lambda m, a: m.take(a, m.asarray([2, 0]), axis=1),
    "take_along_axis": lambda m, a: m.take_along_axis(a, m.asarray(INDEX), axis=1),
    "einsum": lambda m, a: m.einsum("nij,nkj->nik", a, a),
    "tensordot": lambda m, a: m.tensordot(a, a, axes=([1, 2], [1, 2])),
    "matmul": lambda m, a: a @ a.swapaxes(1, 2),
    "dot": lambda m, a: a[0].dot(a[1].T),
    "sort": lambda m, a: m.sort(a, axis=1),
    "argsort": lambda m, a: a.argsort(1),
    "stable argsort": lambda m, a: m.argsort(a, axis=1, kind="stable"),
    "isfinite": lambda m, a: m.isfinite(m.log(a + 5)),
    "astype": lambda m, a: a.astype(m.float32),
    "tril": lambda m, a: m.tril(a[0]),
    "integer index": lambda m, a: a[1, :, -1],
    "slices": lambda m, a: a[::-1, None, 1:4:2],
    "array index": lambda m, a: a[m.asarray([0, 2, 0]), :, m.asarray([1, 1, 3])],
    "list index": lambda m, a: a[[3, 0]],
    "mask": lambda m, a: a[a > 0],
    "reflected": lambda m, a: 1.0 - 2 / a + 3**a,
    "comparisons": lambda m, a: (a < 1) & ~(a >= 0) | (a == 0.5) ^ (a != 2),
    "uint32": lambda m, a: ((m.arange(9, dtype=m.uint32) << 7) ^ 5) >> 2,
    "as_strided": lambda m, a: m.lib.stride_tricks.as_strided(a[0, 0], (4, 3), (8, 8)),
}


@pytest.mark.parametrize("name", CALLS)
def test_values_and_dtypes_are_numpys(name):
    host = HOST + 5 if name == "isfinite" else HOST
    with np.errstate(all="ignore"):
        expected = np.asarray(CALLS[name](np, host))
    actual = CALLS[name](xp, xp.asarray(host))
    assert isinstance(actual, xp.ndarray)
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(xp.asnumpy(actual), expected)


def test_creation():
    assert xp.zeros((2, 3)).dtype == np.float64
    assert xp.asnumpy(xp.full((2,), 3, dtype=xp.float32)).tolist() == [3, 3]
    assert xp.asnumpy(xp.arange(2, 8, 3)).tolist() == [2, 5]
    assert xp.asnumpy(xp.linspace(0, 1, 3)).tolist() == [0, 0.5, 1]
    assert xp.asnumpy(xp.eye(2, 3, 1)).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert xp.asnumpy(xp.ones_like(xp.zeros(2, xp.int32), dtype=xp.float16)).tolist() == [1, 1]
    assert xp.ndarray((2, 3), xp.float32).shape == (2, 3)


def test_attributes():
    array = xp.zeros((3, 4, 5), xp.float32).transpose(2, 0, 1)
    assert (array.shape, array.strides, array.ndim, array.size) == ((5, 3, 4), (4, 80, 20), 3, 60)
    assert (array.itemsize, array.nbytes, len(array)) == (4, 240, 5)
    assert not array.flags.c_contiguous and not array.flags.f_contiguous and not array.flags.owndata
    assert array.T.T.flags.c_contiguous is False and xp.ascontiguousarray(array).flags.c_contiguous
    assert not hasattr(array.flags, "writeable")


# ---- mixing


class Tensor:
    """A class that wants its reflected operators called."""

    __array_ufunc__ = None

    def __radd__(self, other):
        return "radd"

    def __rmatmul__(self, other):
        return "rmatmul"


HOST_MIXES = {
    "array + host": lambda x, h: x + h,
    "host + array": lambda x, h: h + x,
    "0-d host": lambda x, h: x * np.array(2.0),
    "host 0-d first": lambda x, h: np.array(2.0) * x,
    "matmul": lambda x, h: x @ h.T,
    "comparison": lambda x, h: x < h,
    "in place": lambda x, h: x.__iadd__(h),
    "host in place": lambda x, h: h.__iadd__(x),
    "index": lambda x, h: x[np.array([0, 1])],
    "index in a tuple": lambda x, h: x[:, np.array([0, 1])],
    "host indexed": lambda x, h: h[xp.asarray([0, 1])],
    "assignment": lambda x, h: x.__setitem__(slice(None), h),
    "assigned into host": lambda x, h: h.__setitem__(slice(None), x),
    "assignment index": lambda x, h: x.__setitem__(np.array([0]), 1.0),
    "ufunc": lambda x, h: xp.exp(h),
    "ufunc operand": lambda x, h: xp.maximum(x, h),
    "ufunc out": lambda x, h: xp.exp(x, out=h),
    "function": lambda x, h: xp.sum(h),
    "function out": lambda x, h: xp.sum(x, axis=0, out=h[0]),
    "method out": lambda x, h: x.clip(0, 1, out=h),
    "second argument": lambda x, h: xp.where(x > 0, x, h),
    "condition": lambda x, h: xp.where(h > 0, x, x),
    "list element": lambda x, h: xp.concatenate([x, h]),
    "einsum": lambda x, h: xp.einsum("ij,ij->i", x, h),
    "method": lambda x, h: x.dot(h.T),
    "add.at": lambda x, h: xp.add.at(x, np.array([0]), 1.0),
    "copyto": lambda x, h: xp.copyto(x, h),
    "fill": lambda x, h: x.fill(np.array(1.0)),
    "as_strided": lambda x, h: xp.lib.stride_tricks.as_strided(h, (1,), (8,)),
    "norm": lambda x, h: xp.linalg.norm(h),
    "np.exp": lambda x, h: np.exp(x),
    "np.multiply by a scalar": lambda x, h: np.multiply(x, 2.0),
    "np.sum": lambda x, h: np.sum(x),
    "np.concatenate": lambda x, h: np.concatenate([x, x]),
    "np.add.reduce": lambda x, h: np.add.reduce(x),
    "np.asarray": lambda x, h: np.asarray(x),
    "np.asarray of a list": lambda x, h: np.asarray([x, x]),
}


@pytest.mark.parametrize("name", HOST_MIXES)
def test_host_arrays_do_not_mix(name, x):
    host = np.zeros(x.shape, np.float32)
    before = x._host.copy()
    with pytest.raises(TypeError, match="NumPy array|numpy.* called on a CuPy array|must be a CuPy array"):
        HOST_MIXES[name](x, host)
    np.testing.assert_array_equal(x._host, before)
    np.testing.assert_array_equal(host, 0)


@pytest.mark.parametrize("bad", [None, "two", [1, 2], object()], ids=str)
def test_only_arrays_and_numbers_are_operands(bad, x):
    with pytest.raises(TypeError, match="unsupported type"):
        x + bad
    with pytest.raises(TypeError, match="unsupported type"):
        assert x == bad
    with pytest.raises(TypeError, match="unsupported type"):
        xp.maximum(x, bad)


@pytest.mark.parametrize("wrong", [xp.sum, xp.reshape, xp.concatenate, xp.stack, xp.where, xp.zeros_like, xp.nonzero])
def test_functions_take_arrays_not_lists(wrong):
    with pytest.raises(TypeError, match="must be a CuPy array, got float"):
        wrong([1.0, 2.0] if wrong in (xp.concatenate, xp.stack) else 1.0)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="CuPy promotes as NumPy 2 does")
def test_scalars_mix_and_numpy_scalars_are_strong(x):
    assert (x * 2.5).dtype == (2.5 * x).dtype == np.float32
    assert (x * np.float64(2)).dtype == (np.float64(2) * x).dtype == np.float64
    assert (x + xp.asarray(2.0)).dtype == np.float64  # a 0-d array is strong too
    assert (np.float32(3) - x).dtype == np.float32
    np.testing.assert_array_equal(xp.asnumpy(np.float32(3) - x), np.float32(3) - xp.asnumpy(x))
    assert xp.result_type(x, 1.0) == np.float32 and xp.result_type(x, xp.zeros((), xp.float64)) == np.float64


def test_operators_defer_to_a_class_that_asks_for_it(x):
    assert x + Tensor() == "radd"
    assert x @ Tensor() == "rmatmul"


def test_upload_and_download_copy():
    host = np.arange(4.0)
    device = xp.asarray(host)
    host[0] = 9
    assert device[0].item() == 0
    back = device.get()
    back[1] = 9
    assert device[1].item() == 1
    device.set(np.full(4, 5.0))
    assert device.tolist() == [5.0] * 4
    with pytest.raises(TypeError, match=r"shape \(4,\)"):
        device.set(np.zeros(3))
    assert xp.asarray(device) is device and xp.array(device) is not device
    assert xp.asnumpy(host) is host
    assert xp.get_array_module(device) is xp and xp.get_array_module(host) is np


def test_unsupported_dtypes():
    for host in (np.array(["a"]), np.array([None]), np.zeros(2, np.longdouble)):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            xp.asarray(host)


# ---- waiting

WAITS = {
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool(x.sum() > 0),
    "if": lambda x: 1 if x.max() > 0 else 0,
    "item": lambda x: x.sum().item(),
    "get": lambda x: x.get(),
    "tolist": lambda x: x.tolist(),
    "asnumpy": lambda x: xp.asnumpy(x),
    "repr": lambda x: repr(x),
    "str": lambda x: str(x),
    "format": lambda x: f"{x.sum():.3f}",
    "mask": lambda x: x[x > 0],
    "mask in a tuple": lambda x: x[0, x[0] > 0],
    "mask assignment": lambda x: x.__setitem__(x > 0, 0.0),
    "iteration": lambda x: list(x),
    "unpacking": lambda x: (*x, 0),
    "nonzero": lambda x: x.nonzero(),
    "where of a condition": lambda x: xp.where(x > 0),
    "unique": lambda x: xp.unique(x),
    "device": lambda x: xp.cuda.Device().synchronize(),
    "stream": lambda x: xp.cuda.Stream.null.synchronize(),
    "pickle": lambda x: pickle.dumps(x),
}


@pytest.mark.parametrize("name", WAITS)
def test_waiting_is_counted_once_with_its_place(name, x):
    total = xp.synchronisations.count
    with xp.count_synchronisations() as log:
        WAITS[name](x)
    assert log.count == 1
    assert xp.synchronisations.count == total + 1
    assert "test_fakecupy.py" in log.places[0] and "<lambda>" in log.places[0]
    x.get()
    assert log.count == 1, "the block is over"


def test_counters_nest(x):
    with xp.count_synchronisations() as outer:
        x.get()
        with xp.count_synchronisations() as inner:
            x.get()
    assert (outer.count, inner.count) == (2, 1)


def test_computing_does_not_wait(x):
    with xp.count_synchronisations() as log:
        y = xp.where(x > 0, x, 0.1 * x) @ x.T + x.sum(axis=1)
        y -= y.max(axis=-1, keepdims=True)
        y[0] = y[1, 0]
        y[xp.asarray([2, 0])] = 1.0
        xp.copyto(y, 0.0, where=y > 0)
        len(y), y.shape, y.T, y[None, 0], xp.asarray(np.zeros(3)), copy.deepcopy(y), xp.result_type(y)
    assert log.places == []


def test_no_index_protocol():
    one = xp.asarray(1)
    for use in (lambda: [5, 6][one], lambda: range(one), lambda: np.zeros(3)[one]):
        with pytest.raises(TypeError):
            use()


@pytest.mark.parametrize(
    "misuse",
    [
        lambda n: xp.zeros((2, n)),
        lambda n: xp.arange(n),
        lambda n: xp.arange(6).reshape(n, 3),
        lambda n: xp.repeat(xp.arange(6), n),
        lambda n: xp.sum(xp.zeros((2, 3, 4)), axis=n),
        lambda n: xp.pad(xp.arange(6), (n, 0)),
    ],
)
def test_shapes_come_from_the_host(misuse):
    misuse(2)
    with pytest.raises(TypeError, match="must be known on the host"):
        misuse(xp.asarray(2))


@pytest.mark.parametrize(
    "scalar",
    [
        lambda x: x.sum(),
        lambda x: x[1, 2],
        lambda x: x[1, ..., 2],
        lambda x: xp.count_nonzero(x),
        lambda x: xp.sqrt(2.0),
        lambda x: x[0, 0][()],
        lambda x: xp.allclose(x, x),
        lambda x: x[0] @ x[0],
        lambda x: xp.linalg.norm(x),
    ],
)
def test_scalars_are_0d_arrays(scalar, x):
    assert isinstance(scalar(x), xp.ndarray) and scalar(x).shape == ()


def test_integer_indexing_gives_a_view(x):
    corner = x[0, 0]
    corner[...] = 42.0
    assert x[0, 0].item() == 42.0
    rows = x[xp.asarray(0)]
    rows[...] = -1.0
    assert x[0, 0].item() == 42.0, "an array as the index copies, also a 0-d one"


def test_arrays_are_unhashable_and_sizes_greater_than_one_ambiguous(x):
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError):
        len(x.sum())


# ---- memory


@pytest.mark.parametrize("make", [xp.empty, xp.ndarray, lambda shape, dtype: xp.empty_like(xp.zeros(shape, dtype))])
def test_empty_is_poisoned(make):
    assert np.isnan(make((2, 3), np.float32).get()).all()
    assert np.isnan(make((2, 3), np.complex64).get()).all()
    assert (make((4,), np.int32).get() == np.iinfo(np.int32).max).all()
    assert make((4,), np.bool_).get().all()


def windows(x):
    step = x.strides[-1]
    return xp.lib.stride_tricks.as_strided(x, (3, 3, 2), (x.strides[0], step, step))


SHARED_VIEWS = {
    "broadcast_to": lambda x: xp.broadcast_to(x[:1], (3, 4)),
    "part of a broadcast": lambda x: xp.broadcast_to(x[0], (3, 4))[1],
    "transposed broadcast": lambda x: xp.broadcast_to(x[:, :1], (3, 4)).T,
    "reshaped broadcast": lambda x: xp.broadcast_to(x, (2, 3, 4)).reshape(2, 3, 2, 2),
    "windows": windows,
    "a few repeats far apart": lambda x: xp.lib.stride_tricks.as_strided(x, (3, 2), (16, 0)),
    "one window": lambda x: windows(x)[0, 0],
}
WRITES = {
    "assignment": lambda v: v.__setitem__(..., 1.0),
    "in place": lambda v: v.__iadd__(1.0),
    "out": lambda v: xp.exp(v, out=v),
    "reduction out": lambda v: xp.sum(xp.stack([v, v]), axis=0, out=v),
    "method out": lambda v: v.clip(0, 1, out=v),
    "fill": lambda v: v.fill(0.0),
    "sort": lambda v: v.sort(),
    "copyto": lambda v: xp.copyto(v, 0.0),
    "add.at": lambda v: xp.add.at(v, xp.asarray([0]), 1.0),
    "set": lambda v: v.set(np.zeros(v.shape, v.dtype)),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("view", SHARED_VIEWS)
def test_writing_into_a_shared_view_raises(view, write, x):
    before = x.get()
    with pytest.raises(ValueError, match="broadcast or overlapping view"):
        WRITES[write](SHARED_VIEWS[view](x))
    np.testing.assert_array_equal(x.get(), before)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.T[1:],
        lambda x: x.reshape(2, 6),
        lambda x: xp.lib.stride_tricks.as_strided(x, (3, 2, 2), (16, 8, 4)),  # windows side by side
        lambda x: xp.lib.stride_tricks.as_strided(x, (2, 3), (12, 8)),  # interleaved, yet no address twice
        lambda x: xp.broadcast_to(x[0], (3, 4)).copy(),
        lambda x: xp.broadcast_to(x[0], (3, 4)) + 0,
    ],
)
def test_writing_elsewhere_works(view, write, x):
    target = view(x)
    before = target.get()
    WRITES[write](target)
    assert not np.array_equal(target.get(), before)


def test_out_returns_the_same_array(x):
    y = xp.empty_like(x)
    assert xp.exp(x, out=y) is y and xp.exp(x, y) is y
    np.testing.assert_array_equal(y.get(), np.exp(x.get()))
    z = y
    z *= 2
    assert z is y
    total = xp.empty((4,), xp.float32)
    assert x.sum(axis=0, out=total) is total


def test_in_place_does_not_widen(x):
    counts = xp.arange(3)
    with pytest.raises(TypeError, match="same_kind"):
        counts += 0.5
    x += xp.ones(4, xp.float64)
    assert x.dtype == np.float32


def test_duplicate_indices(x):
    rows = xp.asarray([0, 2, 0])
    negative = xp.asarray([0, 2, -3])
    for index in (rows, negative, (rows, 1), (slice(None), xp.asarray([1, 1])), [0, 0]):
        with pytest.raises(ValueError, match="duplicates"):
            x[index] = xp.zeros_like(x[index])
    with pytest.raises(ValueError, match="duplicates"):
        x[rows] += 1.0
    x[rows] = 5.0  # one value: whichever write comes last, the result is the same
    x[rows, xp.asarray([0, 0, 1])] = xp.asarray([1.0, 2.0, 3.0])
    assert x[0].tolist() == [1, 3, 5, 5] and x[2, 0].item() == 2


def test_add_at_accumulates_and_lacks_int64():
    sums = xp.zeros(3, xp.float32)
    xp.add.at(sums, xp.asarray([0, 2, 0]), xp.asarray([1.0, 2.0, 3.0]))
    assert sums.tolist() == [4, 0, 2]
    with pytest.raises(TypeError, match="int64"):
        xp.add.at(xp.zeros(3, xp.int64), xp.asarray([0]), 1)
    with pytest.raises(NotImplementedError, match="multiply.at"):
        xp.multiply.at(sums, xp.asarray([0]), 2.0)


def test_argsort_knows_one_kind(x):
    assert xp.argsort(xp.asarray([2, 1, 2, 1] * 20)).tolist()[:40] == list(range(1, 80, 2))
    with pytest.raises(ValueError, match="None or 'stable'"):
        xp.argsort(x, kind="quicksort")


def test_an_index_out_of_range_raises(x):
    for index in (3, xp.asarray([0, 3])):
        with pytest.raises(IndexError):
            x[index]
    with pytest.raises(IndexError):
        xp.take(x, xp.asarray([4]), axis=1)


def test_results_are_c_contiguous(x):
    for result in (xp.exp(x.T), x.T + x.T, x.T.sum(axis=0, keepdims=True), xp.concatenate([x.T, x.T]), x.T.clip(0, 1)):
        assert result.flags.c_contiguous
    assert x.T.copy().flags.c_contiguous
    assert x.T.astype(xp.float64).flags.f_contiguous, "astype and *_like keep the layout"


def test_copies_do_not_alias(x):
    for duplicate in (
        x.copy(),
        xp.copy(x),
        xp.array(x),
        copy.copy(x),
        copy.deepcopy(x),
        x.flatten(),
        +x,
        x.astype(x.dtype),
    ):
        assert not xp.shares_memory(duplicate, x)
    for view in (x[1:], x.T, x.reshape(-1), x.ravel(), xp.asarray(x), x.astype(x.dtype, copy=False), x.view()):
        assert xp.shares_memory(view, x) and xp.may_share_memory(view, x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)).get(), x.get())


def test_memory_pool_counts_live_bytes():
    pool = xp.get_default_memory_pool()
    before = pool.used_bytes()
    big = xp.zeros((100, 10), xp.float32)
    view = xp.lib.stride_tricks.as_strided(big[10:].T, (5, 5), (4, 4))
    total = big + 1
    assert pool.used_bytes() - before == 8000
    del big, total
    assert pool.used_bytes() - before == 4000, "a view keeps its memory alive"
    with xp.cuda.Device(1):
        elsewhere = pool.used_bytes()
        other = xp.zeros(10)
        assert pool.used_bytes() - elsewhere == other.nbytes == 80
    assert pool.used_bytes() - before == 4000
    del view
    assert pool.used_bytes() == before


def test_no_floating_point_warnings(recwarn):
    assert xp.log(xp.zeros(1)).tolist() == [-np.inf]
    assert np.isnan((xp.zeros(1) / 0.0).item())
    assert not recwarn.list


# ---- devices


@pytest.fixture
def y():
    with xp.cuda.Device(1):
        return xp.asarray(np.ones((3, 4), np.float32))


def test_allocation_goes_to_the_current_device(x, y):
    assert xp.is_available() and list(device_ids()) == [0, 1]
    assert (x.device.id, y.device.id) == (0, 1) and x.device == xp.cuda.Device(0) and x.device != y.device
    assert xp.cuda.Device().id == 0
    with xp.cuda.Device(1):
        assert xp.cuda.Device().id == xp.cuda.get_device_id() == 1
        with xp.cuda.Device(0):
            assert xp.zeros(1).device.id == 0
        for made in (xp.zeros(1), xp.zeros_like(x), x.copy(), xp.asarray(x), (y + 1).sum(), y[xp.asarray([0])], y > 0):
            assert made.device.id == 1
    assert copy.deepcopy(y).device.id == 1
    xp.cuda.Device(1).use()
    try:
        assert xp.ones(1).device.id == 1
    finally:
        xp.cuda.Device(0).use()


CROSSINGS = {
    "operator": lambda x, y: x + y,
    "in place": lambda x, y: x.__iadd__(y),
    "matmul": lambda x, y: x @ y.T,
    "ufunc out": lambda x, y: xp.exp(x, out=y),
    "function": lambda x, y: xp.where(x > 0, x, y),
    "list": lambda x, y: xp.concatenate([x, y]),
    "assignment": lambda x, y: x.__setitem__(0, y[0]),
    "index": lambda x, y: x[y.astype(xp.int32)],
    "copyto": lambda x, y: xp.copyto(x, y),
    "add.at": lambda x, y: xp.add.at(x, 0, y[0]),
}


@pytest.mark.parametrize("name", CROSSINGS)
def test_arrays_of_two_devices_do_not_mix(name, x, y):
    for device in device_ids():
        with xp.cuda.Device(device), pytest.raises(ValueError, match="device"):
            CROSSINGS[name](x, y)


def test_computing_needs_the_arrays_device_to_be_current(y):
    wrong = [lambda: y * 2, lambda: y.sum(), lambda: xp.exp(y), lambda: y.fill(0.0), lambda: y[xp.asarray([0])]]
    for compute in [*wrong, lambda: y.sort(), lambda: y.T.reshape(-1)]:
        with pytest.raises(ValueError, match="device"):
            compute()
    for view in (y[0], y.T, y.reshape(-1), xp.expand_dims(y, 0), xp.broadcast_to(y, (2, 3, 4))):
        assert view.device.id == 1
    assert y.get().sum() == 12 and float(y[0, 0]) == 1
    with y.device:
        assert (y * 2).device.id == 1


def test_a_device_that_is_not_there():
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        xp.cuda.Device(2).use()
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError), xp.cuda.Device(2):
        pass
    assert xp.cuda.Device().id == 0


# ---- names and parameters


@pytest.mark.parametrize(
    "name", ["float_", "errstate", "permute_dims", "concat", "put_along_axis", "logsumexp", "random"]
)
def test_names_not_in_both_cupy_versions_or_not_meant_for_the_engine(name):
    with pytest.raises(AttributeError, match=name):
        getattr(xp, name)


BAD_KEYWORDS = {
    "sum where": lambda x: xp.sum(x, where=x > 0),
    "max initial": lambda x: x.max(initial=0.0),
    "ufunc where": lambda x: xp.exp(x, where=x > 0),
    "as_strided writeable": lambda x: xp.lib.stride_tricks.as_strided(x, (1,), (4,), writeable=False),
    "take mode": lambda x: xp.take(x, xp.asarray([0]), mode="clip"),
    "einsum out": lambda x: xp.einsum("ij->i", x, out=xp.empty(3)),
    "reshape copy": lambda x: x.reshape(2, 6, copy=True),
    "too many": lambda x: xp.moveaxis(x, 0, 1, 2),
    "too many for a ufunc": lambda x: xp.exp(x, x, x),
}


@pytest.mark.parametrize("name", BAD_KEYWORDS)
def test_parameters_cupy_does_not_have(name, x):
    with pytest.raises(TypeError, match="keyword argument|positional arguments|operands"):
        BAD_KEYWORDS[name](x)


def test_every_listed_name_is_there():
    for table in xp.FUNCTION_TABLES.values():
        for name in xp.signatures(table):
            assert callable(getattr(xp, name))
    assert {"sum", "exp", "float32", "cuda", "asarray"} <= set(dir(xp))


def test_names_and_parameters_are_cupys():
    """Needs CuPy but no GPU."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    tools = {"count_synchronisations", "synchronisations", "signatures", "SynchronisationLog", "MemoryPool", "Flags"}
    internal = {"Device", "Stream", "CUDARuntimeError", "NamedTuple", "SimpleNamespace"}
    modules = {"np", "sys", "contextlib", "threading", "weakref"}
    names = {name for name in dir(xp) if not name.startswith("_") and not name.isupper()} - tools - internal - modules
    assert [name for name in sorted(names) if not hasattr(cupy, name)] == []
    methods = [name for name in dir(xp.ndarray) if name not in ("_host", "__weakref__", "__dict__", "__module__")]
    assert [name for name in methods if not hasattr(cupy.ndarray, name)] == []
    for table in xp.FUNCTION_TABLES.values():
        for name, parameters in xp.signatures(table).items():
            positional = list(itertools.takewhile(lambda parameter: not parameter.startswith("*"), parameters))
            if name not in ("matmul", "einsum"):  # these declare (*args, **kwargs)
                assert list(inspect.signature(getattr(cupy, name)).parameters)[: len(positional)] == positional, name
    for name in ("Device", "get_device_id", "is_available", "get_current_stream", "runtime"):
        assert hasattr(cupy.cuda, name)
