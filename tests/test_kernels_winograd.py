"""Winograd's convolution: the loops' results for every size and padding, how exact it is, what it takes."""

import functools
import itertools
import tracemalloc

import loops
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge import host, largest_error

from minidl.backend import array_module, to_device
from minidl.backend import device as as_device
from minidl.kernels import bands, columns, convolution, tiles, winograd
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.tiles import F2, F4
from minidl.kernels.window import Window

ONE = (1, 1), (1, 1)


def window(padding=ONE):
    return Window((3, 3), padding=padding)


def arrays_for(x_shape, F, padding=ONE, dtype=np.float64, seed=0):
    """x, weight, bias, and an upstream gradient g."""
    rng = np.random.default_rng(seed)
    N, H, W, C = x_shape
    g_shape = (N, *window(padding).output_size(H, W), F)
    return [rng.standard_normal(shape).astype(dtype) for shape in (x_shape, (3, 3, C, F), (F,), g_shape)]


def all_three(x, weight, bias, g, padding=ONE):
    """The convolution, and its gradients to x and to weight, by Winograd's algorithm."""
    H, W = x.shape[1:3]
    return [
        winograd.convolve(x, weight, window(padding), Epilogue(bias)),
        convolution.convolve_input_gradient(g, weight, window(padding), 1, "winograd", H, W),
        winograd.convolve_weight_gradient(x, g, window(padding)),
    ]


def by_columns(x, weight, bias, g, padding=ONE):
    H, W = x.shape[1:3]
    return [
        columns.convolve(x, weight, window(padding), 1, Epilogue(bias)),
        columns.convolve_input_gradient(g, weight, window(padding), 1, H, W),
        columns.convolve_weight_gradient(x, g, window(padding), 1),
    ]


def on(device, arrays):
    return [to_device(array, as_device(device)) for array in arrays]


def only(monkeypatch, transforms):
    monkeypatch.setattr(tiles, "best", lambda OH, OW: transforms)


@functools.cache
def case(x_shape, F, padding=ONE):
    """float64 arrays, and what the loops make of them."""
    arrays = arrays_for(x_shape, F, padding)
    value, to_x, to_weight, _ = loops.convolution(*arrays, padding=padding)
    return arrays, [value, to_x, to_weight]


def check(device, x_shape, F, padding=ONE):
    arrays, expected = case(x_shape, F, padding)
    for actual, loop in zip(all_three(*on(device, arrays), padding), expected, strict=True):
        assert host(actual).dtype == np.float64
        assert largest_error(actual, loop) <= 1e-12


# ------------------------------------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("transforms", [F2, F4], ids=["F(2×2)", "F(4×4)"])
def test_the_matrices_are_an_identity(transforms):
    """Every entry of a tile with every entry of a filter: the m×m outputs are those of the sliding filter."""
    m = transforms.m
    assert [matrix.shape for matrix in transforms[1:]] == [((m + 2) ** 2, 9), ((m + 2) ** 2,) * 2, (m**2, (m + 2) ** 2)]
    tiles, filters = np.eye((m + 2) ** 2), np.eye(9)
    U, V = transforms.to_filter @ filters, transforms.to_tile @ tiles  # (P, 9), (P, P)
    outputs = np.einsum("op,pf,pt->otf", transforms.to_output, U, V).reshape(m, m, m + 2, m + 2, 3, 3)
    expected = np.zeros_like(outputs)
    for oh, ow, kh, kw in itertools.product(range(m), range(m), range(3), range(3)):
        expected[oh, ow, oh + kh, ow + kw, kh, kw] = 1
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("transforms", [F2, F4], ids=["F(2×2)", "F(4×4)"])
@pytest.mark.parametrize("H", range(1, 14))
def test_every_size(H, transforms, device, monkeypatch):
    """Every remainder of height and width, by both tiles: also those that are larger than the image."""
    only(monkeypatch, transforms)
    for W in range(1, 14):
        check(device, (1, H, W, 2), 3)


@pytest.mark.parametrize("transforms", [F2, F4], ids=["F(2×2)", "F(4×4)"])
@pytest.mark.parametrize(
    "padding",
    [
        ((0, 0), (0, 0)),
        ((2, 2), (2, 2)),  # of the input gradient's convolution, 0
        ((3, 3), (4, 4)),  # and here it is none
        ((0, 2), (1, 0)),
        ((2, 0), (0, 1)),
        ((5, 0), (0, 7)),
        ((0, 6), (9, 0)),
    ],
    ids=str,
)
def test_every_padding(padding, transforms, device, monkeypatch):
    only(monkeypatch, transforms)
    for H, W in ((3, 4), (6, 5), (7, 9)):
        check(device, (2, H, W, 2), 3, padding)


@pytest.mark.parametrize(
    ("x_shape", "F"),
    [
        ((2, 5, 6, 1), 3),
        ((2, 5, 6, 3), 1),
        ((3, 5, 6, 1), 1),
        ((0, 5, 6, 2), 3),
        ((5, 2, 3, 4), 5),
        ((2, 5, 6, 0), 3),
        ((2, 5, 6, 30), 20),
    ],
    ids=str,
)
def test_every_count(x_shape, F, device):
    """Of images, channels and filters: one, none, and several."""
    check(device, x_shape, F)


small, sides = st.integers(1, 10), st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(N=st.integers(0, 3), H=small, W=small, C=st.integers(1, 4), F=st.integers(1, 4), padding=st.tuples(sides, sides))
def test_anything(N, H, W, C, F, padding, device):
    padding = tuple(p if size + sum(p) >= 3 else (1, 1) for p, size in zip(padding, (H, W), strict=True))
    check(device, (N, H, W, C), F, padding)


def test_it_writes_only_to_what_it_made_and_reads_any_memory(device):
    """Transposed, turned around, repeated, with gaps: the result is that of a copy."""
    x, weight, bias, g = on(device, arrays_for((2, 7, 6, 4), 3))
    xp = array_module(x)
    scattered = [
        xp.ascontiguousarray(x.transpose(3, 1, 0, 2)).transpose(2, 1, 3, 0),
        xp.ascontiguousarray(weight[::-1, :, ::-1])[::-1, :, ::-1],
        xp.stack([bias, bias], axis=1)[:, 0],
        xp.broadcast_to(g[:1, :1], g.shape),
    ]
    assert not any(array.flags.c_contiguous for array in scattered)
    before = [array.copy() for array in scattered]
    results = all_three(*scattered)
    for array, copy in zip(scattered, before, strict=True):
        assert host(xp.array_equal(array, copy))
    for actual, expected in zip(results, all_three(*before), strict=True):
        assert largest_error(actual, expected) <= 1e-14


def test_an_epilogue_reaches_every_output_once(device):
    (x, weight, bias, add), (value, _, _) = case((2, 7, 6, 2), 3)
    arrays = on(device, (x, weight, bias, add))
    for epilogue, expected in (
        (Epilogue(), value - bias),
        (Epilogue(add=arrays[3]), value - bias + add),
        (Epilogue(arrays[2], arrays[3]), value + add),
        (Epilogue(arrays[2], arrays[3], relu=True), np.maximum(value + add, 0)),
        (Epilogue(relu=True), np.maximum(value - bias, 0)),
    ):
        assert largest_error(winograd.convolve(*arrays[:2], window(), epilogue), expected) <= 1e-12


# --------------------------------------------------------------------------------------------------- pieces and threads

MANY_TILES = (3, 22, 9, 5), 6  # six rows of tiles in each image
FEW_TILES = (2, 9, 9, 70), 60  # 18, of less memory than the filters


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("scratch", [1, 4000, 40_000, 1 << 30])  # a row of tiles, rows, an image, all of them
@pytest.mark.parametrize("shapes", [MANY_TILES, FEW_TILES], ids=["many", "few"])
def test_bands_and_threads_change_nothing(shapes, scratch, threads, device, use_threads, monkeypatch):
    arrays = arrays_for(*shapes)
    use_threads(1)
    expected = all_three(*arrays)
    for name in ("CPU_SCRATCH", "GPU_SCRATCH"):
        monkeypatch.setattr(bands, name, scratch)
    monkeypatch.setattr(tiles, "CPU_SCRATCH", scratch)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    use_threads(threads)
    for actual, whole in zip(all_three(*on(device, arrays)), expected, strict=True):
        assert largest_error(actual, whole) <= 1e-13


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_threads_give_the_same_bits(threads, use_threads, monkeypatch):
    """Whichever of them is faster: float32, whose sums depend on their order."""
    monkeypatch.setattr(bands, "CPU_SCRATCH", 4000)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    use_threads(threads)
    for shapes in (MANY_TILES, FEW_TILES):
        arrays = arrays_for(*shapes, dtype=np.float32)
        first = all_three(*arrays)
        for _ in range(25):
            for again, once in zip(all_three(*arrays), first, strict=True):
                np.testing.assert_array_equal(again, once)


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_bounded(threads, use_threads, monkeypatch):
    """Beside what is given back, four times as many images take no more of it, and far less than a column matrix.

    (With threads it depends on when they let go of things.)
    """
    use_threads(threads)
    monkeypatch.setattr(bands, "CPU_SCRATCH", 32 << 10)

    def scratch(N):
        x, weight, bias, g = arrays_for((N, 32, 64, 8), 8)
        taken = []
        for work in (
            lambda: winograd.convolve(x, weight, window(), Epilogue(bias)),
            lambda: convolution.convolve_input_gradient(g, weight, window(), 1, "winograd", 32, 64),
            lambda: winograd.convolve_weight_gradient(x, g, window()),
        ):
            tracemalloc.start()
            result = work()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            taken.append(peak - result.nbytes)
        return taken, 9 * x.nbytes

    few, _ = scratch(4)
    many, column_matrix = scratch(16)
    for with_few, with_many in zip(few, many, strict=True):
        assert with_many < column_matrix / 8
        assert threads > 1 or with_many < 1.1 * with_few


# ------------------------------------------------------------------------------------------------------ how exact it is


@pytest.mark.parametrize(("transforms", "bound"), [(F2, 5e-6), (F4, 5e-5)], ids=["F(2×2)", "F(4×4)"])
@pytest.mark.parametrize("positive", [False, True], ids=["both signs", "as after a ReLU"])
@pytest.mark.parametrize(("C", "F"), [(3, 64), (128, 128), (256, 64), (512, 8)])
def test_how_exact_float32_is(C, F, positive, transforms, bound, monkeypatch):
    """The largest error over the largest value: in the convolution, and in its two gradients."""
    only(monkeypatch, transforms)
    arrays = arrays_for((2, 14, 13, C), F, dtype=np.float32)
    if positive:
        arrays[0] = np.maximum(arrays[0], 0)
    exact = by_columns(*(array.astype(np.float64) for array in arrays))
    for actual, expected in zip(all_three(*arrays), exact, strict=True):
        assert actual.dtype == np.float32
        assert largest_error(actual, expected) <= bound


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("transforms", [F2, F4], ids=["F(2×2)", "F(4×4)"])
def test_what_is_not_finite_spreads_over_its_tiles(transforms, value, monkeypatch):
    """All outputs of the tiles that read it, and no others; by columns it is the windows that it is in."""
    only(monkeypatch, transforms)
    m = transforms.m
    x, weight, bias, _ = arrays_for((2, 13, 10, 3), 4)
    h, w = 8, 5
    clean = winograd.convolve(x, weight, window(), Epilogue(bias))
    x[1, h, w, 1] = value
    with np.errstate(invalid="ignore"):
        y = winograd.convolve(x, weight, window(), Epilogue(bias))
        by_window = columns.convolve(x, weight, window(), 1, Epilogue(bias))
    spoilt = np.zeros(y.shape, bool)
    for top, left in itertools.product(range(0, 13, m), range(0, 10, m)):
        if top <= h + 1 < top + m + 2 and left <= w + 1 < left + m + 2:  # in padded rows and columns
            spoilt[1, top : top + m, left : left + m] = True
    np.testing.assert_array_equal(np.isfinite(y), ~spoilt)
    np.testing.assert_array_equal(y[~spoilt], clean[~spoilt])
    spoilt[...] = False
    spoilt[1, h - 1 : h + 2, w - 1 : w + 2] = True
    np.testing.assert_array_equal(np.isfinite(by_window), ~spoilt)


# -------------------------------------------------------------------------------------------------------- what it takes


@pytest.mark.parametrize(
    ("window", "groups", "expected"),
    [
        (Window((3, 3)), 1, True),
        (Window((3, 3), padding=((0, 5), (2, 1))), 1, True),
        (Window((3, 3)), 2, False),
        (Window((3, 3), stride=(1, 2)), 1, False),
        (Window((3, 3), stride=(2, 1)), 1, False),
        (Window((3, 3), dilation=(2, 1)), 1, False),
        (Window((3, 3), dilation=(1, 2)), 1, False),
        (Window((3, 1)), 1, False),
        (Window((1, 3)), 1, False),
        (Window((5, 5)), 1, False),
    ],
    ids=str,
)
def test_what_it_applies_to(window, groups, expected):
    assert winograd.applies(window, groups) == expected


def test_multiplications():
    """A quarter of the 9 for each output, where tiles fit; and those of whole tiles where they stick out."""
    assert tiles.multiplications(F4, 8, 12) == 8 * 12 * 9 / 4
    assert tiles.multiplications(F2, 8, 12) == 8 * 12 * 4
    assert tiles.multiplications(F4, 5, 1) == 2 * 36
    assert tiles.multiplications(F2, 5, 1) == 3 * 16


@pytest.fixture
def transformed(monkeypatch):
    """The shapes of the weights that were transformed."""
    shapes = []
    by_channels = tiles._by_channels
    monkeypatch.setattr(tiles, "_by_channels", lambda matrix, x: shapes.append(x.shape) or by_channels(matrix, x))
    return shapes


def test_filters_of_a_constant_are_transformed_once(transformed):
    """For each kind of tile; and what is kept goes when the weight goes."""
    x, weight, bias, _ = arrays_for((2, 8, 8, 4), 3)
    kept, before = tiles.constant(weight), len(tiles._kept)
    for image in (x, x[:, :, :2], x, x[:, :, :2]):  # F(4×4), F(2×2)
        y = winograd.convolve(image, kept, window(), Epilogue(bias))
        np.testing.assert_array_equal(y, winograd.convolve(image, weight, window(), Epilogue(bias)))
    assert len(transformed) == 2 + 4
    assert len(tiles._kept) == before + 2
    del kept
    assert len(tiles._kept) == before


def test_with_few_tiles_a_constant_is_transformed_once_and_other_filters_in_parts(
    transformed, use_threads, monkeypatch
):
    use_threads(2)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    x, weight, bias, _ = arrays_for((2, 9, 9, 70), 100)
    kept = tiles.constant(weight)
    once, again = (winograd.convolve(x, kept, window(), Epilogue(bias)) for _ in range(2))
    assert [shape[2] for shape in transformed] == [100]
    transformed.clear()
    np.testing.assert_allclose(winograd.convolve(x, weight, window(), Epilogue(bias)), once, rtol=1e-12)
    assert sorted(shape[2] for shape in transformed) == [36, 64]
    np.testing.assert_array_equal(again, once)


def test_tiles_are_few_where_they_take_less_memory_than_the_filters():
    """9 tiles of C and of 18 numbers, P times, and filters of 18·C."""
    covering = tiles.Tiles(window(), 3 * 4, 3 * 4, np.zeros(0))
    assert [covering.are_few(1, C, 18) for C in (17, 18, 19)] == [False, False, True]
    assert not covering.are_few(2, 19, 18)


def test_only_what_nobody_can_write_to_is_a_constant(transformed):
    x, weight, _, _ = arrays_for((2, 8, 8, 4), 3)
    view = weight[:]
    view.flags.writeable = False
    assert [tiles.is_constant(array) for array in (weight, view, tiles.constant(weight))] == [False, False, True]
    for array in (weight, view):
        first = winograd.convolve(x, array, window(), Epilogue())
        weight *= 2
        np.testing.assert_array_equal(winograd.convolve(x, array, window(), Epilogue()), 2 * first)
    assert len(transformed) == 4


def test_nobody_can_write_to_a_constant():
    weight = np.arange(6.0).reshape(2, 3)
    kept = tiles.constant(weight)
    weight[...] = 0
    assert kept.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="read-only"):
        kept[...] = 0
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        kept.flags.writeable = True


def test_where_filters_are_kept_it_is_faster_for_smaller_images(transformed, monkeypatch):
    """14×14 pixels of 300 channels and 200 filters: "auto" takes Winograd's algorithm for a constant only."""
    monkeypatch.setattr(winograd, "FILTER_COST", 10**6)
    x, weight, _, _ = arrays_for((1, 14, 14, 30), 20, dtype=np.float32)
    monkeypatch.setattr(winograd, "TILE_COST", 0)
    assert [winograd.is_faster(1, 14, 14, 30, 20, filters_kept=kept) for kept in (False, True)] == [False, True]
    for array, count in ((weight, 0), (tiles.constant(weight), 1)):
        transformed.clear()
        convolution.convolve(x, array, window(), 1, "auto", Epilogue())
        assert len(transformed) == count


@given(OH=st.integers(1, 40), OW=st.integers(1, 40))
def test_the_best_tiles_take_the_fewest_multiplications(OH, OW):
    two, four = (tiles.multiplications(transforms, OH, OW) for transforms in (F2, F4))
    assert tiles.best(OH, OW) is (F2 if two <= four else F4)


@pytest.mark.parametrize(
    ("N", "C", "F", "expected"),
    [(8, 120, 120, False), (8, 121, 121, True), (8, 60, 10**6, False), (8, 10**6, 61, True), (6, 10**6, 10**6, False)],
)
def test_when_it_should_be_faster(N, C, F, expected, monkeypatch):
    """Images of 8×8, four tiles: it saves N·(576 − 144)·CF multiplications, and costs 80·36·CF + 30·N·144·(C + F).

    For N = 8 that is less where CF / (C + F) > 60, and for N = 6 never.
    """
    monkeypatch.setattr(winograd, "FILTER_COST", 80)
    monkeypatch.setattr(winograd, "TILE_COST", 30)
    assert winograd.is_faster(N, 8, 8, C, F) == expected
