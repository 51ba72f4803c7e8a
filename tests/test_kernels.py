"""The inner loops on raw arrays: windows, columns, bands, per-channel sums."""

import itertools
import math
import tracemalloc

import fakecupy
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from judge import assert_close, host

from minidl.backend import array_module, to_device
from minidl.backend import device as as_device
from minidl.kernels import bands, channels, columns, elementwise, pooling, shares
from minidl.kernels.epilogue import Epilogue
from minidl.kernels.window import Window, pair, sides

# ---- window


@pytest.mark.parametrize(
    ("given", "expected"), [(3, (3, 3)), ((2, 5), (2, 5)), ([2, 5], (2, 5)), (np.int64(4), (4, 4))], ids=str
)
def test_pair(given, expected):
    assert pair("op", "stride", given, 1) == expected


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "same", (1,), (1, 2, 3), (1, 0), (2, 1.0)], ids=str)
def test_pair_refuses(wrong):
    with pytest.raises(ValueError, match="op: stride must be an integer or a pair of integers, at least 1; got"):
        pair("op", "stride", wrong, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([[1, 2], (3, 4)], ((1, 2), (3, 4))),
        (((1, 2), 3), ((1, 2), (3, 3))),
        (np.int64(0), ((0, 0), (0, 0))),
    ],
    ids=str,
)
def test_sides(given, expected):
    assert sides("op", given) == expected


@pytest.mark.parametrize(
    "wrong",
    [-1, 0.5, None, "same", (1,), (1, 2, 3), (1, -1), ((1, 2), (3, -4)), ((1, 2), (3, 4, 5)), ((1, 2),)],
    ids=str,
)
def test_sides_refuses(wrong):
    with pytest.raises(ValueError, match="op: padding must be an integer or a pair of integers, at least 0; got"):
        sides("op", wrong)


def windows():
    """Windows with everything at once, uneven padding included."""
    sizes, paddings = st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(0, 3), st.integers(0, 3))
    return st.builds(
        Window,
        kernel=sizes,
        stride=sizes,
        padding=st.tuples(paddings, paddings),
        dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
        ceil_mode=st.booleans(),
    )


@given(window=windows(), H=st.integers(1, 12), W=st.integers(1, 12))
def test_output_size_counts_the_places_of_a_window(window, H, W):
    for axis, size in enumerate((H, W)):
        places, start = 0, 0  # in padded coordinates
        before, after = window.padding[axis]
        if size + before + after >= window.extent[axis]:  # it fits at least once
            while start + window.extent[axis] <= before + size + after:
                places, start = places + 1, start + window.stride[axis]
            left_over = start - window.stride[axis] + window.extent[axis] < before + size + after
            places += window.ceil_mode and left_over and start < before + size
            assert window.output_size(H, W)[axis] == places
        elif not window.ceil_mode:
            assert window.output_size(H, W)[axis] < 1


@given(window=windows(), H=st.integers(1, 9), W=st.integers(1, 9))
def test_margins_hold_every_window_and_crop_undoes_pad(window, H, W):
    OH, OW = window.output_size(H, W)
    assume(min(OH, OW) >= 1)
    x = np.random.default_rng(0).standard_normal((2, H, W, 3))
    padded = window.pad(x, -7.0)
    np.testing.assert_array_equal(window.crop(padded, H, W), x)
    assert (padded == -7.0).sum() == padded.size - x.size
    for kh, kw, rows, cols in window.positions(OH, OW):
        assert padded[:, rows, cols].shape == (2, OH, OW, 3)
        assert (rows.start, cols.start) == (kh * window.dilation[0], kw * window.dilation[1])


# ---- im2col and col2im


@given(window=windows(), rest=st.tuples(st.integers(0, 3), st.integers(0, 3)), seed=st.integers(0, 9))
def test_col2im_is_the_adjoint_of_im2col(window, rest, seed):
    """⟨im2col x, y⟩ = ⟨x, col2im y⟩ for all x and y: with integers, to the last bit."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 9, (2, window.extent[0] + rest[0], window.extent[1] + rest[1], 3)).astype(np.float64)
    laid_out = columns.im2col(x, window)
    y = rng.integers(-9, 9, laid_out.shape).astype(np.float64)
    added_up = np.zeros_like(x)
    columns.col2im(y, added_up, window)
    assert (laid_out * y).sum() == (x * added_up).sum()


def test_im2col_lays_windows_out_row_by_row(device):
    x = np.arange(2 * 3 * 5 * 2.0).reshape(2, 3, 5, 2)
    window = Window(kernel=(2, 2), stride=(1, 2), dilation=(1, 2))
    laid_out = host(columns.im2col(to_device(x, as_device(device)), window))
    expected = [
        np.concatenate([x[n, h, w], x[n, h, w + 2], x[n, h + 1, w], x[n, h + 1, w + 2]])
        for n in range(2)
        for h in (0, 1)
        for w in (0, 2)
    ]
    np.testing.assert_array_equal(laid_out, expected)


# ---- bands


def convolution_case(dtype=np.float64):
    """Small integers: their products and sums are exact, in whatever order and grouping they are added."""
    rng = np.random.default_rng(0)
    window = Window(kernel=(3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), dilation=(1, 2))
    x, weight, bias = (rng.integers(-4, 5, shape).astype(dtype) for shape in ((5, 9, 8, 4), (3, 2, 2, 6), (6,)))
    g = rng.integers(-4, 5, (5, *window.output_size(9, 8), 6)).astype(dtype)
    return window, x, weight, bias, g


def all_three(window, x, weight, bias, g):
    return [
        host(columns.convolve(x, weight, window, 2, Epilogue(bias))),
        host(columns.convolve_input_gradient(g, weight, window, 2, 9, 8)),
        host(columns.convolve_weight_gradient(x, g, window, 2)),
    ]


@pytest.mark.parametrize("scratch", [1, 600, 1500, 3000, 12_000, 1 << 30])  # a row, rows, an image, images, all of them
def test_bands_change_nothing(scratch, device, monkeypatch):
    window, *arrays = convolution_case()
    expected = all_three(window, *arrays)
    monkeypatch.setattr(bands, "CPU_SCRATCH", scratch)
    monkeypatch.setattr(bands, "GPU_SCRATCH", scratch)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)  # what is worth none is one band
    arrays = [to_device(array, as_device(device)) for array in arrays]
    for actual, whole in zip(all_three(window, *arrays), expected, strict=True):
        np.testing.assert_array_equal(actual, whole)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("N", [0, 1, 5])
def test_sharing_the_weight_or_the_rows_gives_the_same(N, few, device, use_threads, monkeypatch):
    """Whole numbers, whose sums are exact; two groups."""
    window, x, weight, bias, g = convolution_case()
    expected = all_three(window, x[:N], weight, bias, g[:N])
    monkeypatch.setattr(columns, "_are_few", lambda rows, weight: few)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    use_threads(2)
    arrays = [to_device(array, as_device(device)) for array in (x[:N], weight, bias, g[:N])]
    for actual, whole in zip(all_three(window, *arrays), expected, strict=True):
        np.testing.assert_array_equal(actual, whole)


def test_rows_are_few_where_they_take_less_memory_than_the_weight():
    """Rows of 3·2·2 + 6 numbers, and a weight of 3·2·2·6 of them."""
    assert [columns._are_few(rows, np.zeros((3, 2, 2, 6))) for rows in (0, 3, 4, 5)] == [True, True, False, False]


@given(
    N=st.integers(0, 9),
    OH=st.integers(1, 12),
    row_bytes=st.integers(1, 500),
    scratch=st.integers(1, 8000),
    more=st.integers(0, 8000),
    threads=st.integers(1, 4),
)
def test_bands_cover_the_output_once_in_order_and_fit_the_scratch(
    N, OH, row_bytes, scratch, more, threads, use_threads, monkeypatch
):
    """A single row may be larger. There are as many bands for each thread, unless they are single images or rows."""
    use_threads(threads)
    monkeypatch.setattr(bands, "CPU_SCRATCH", scratch)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    cut = bands.bands(N, OH, row_bytes, np, more)
    order = np.arange(N * OH).reshape(N, OH)
    assert np.concatenate([order[band].ravel() for band in cut]).tolist() == list(range(N * OH))
    assert len(cut) >= min(threads, N * OH)
    assert len(cut) % threads == 0 or len(cut) == N or any(order[band].size == 1 for band in cut) or N == 0
    for band in cut:
        rows = order[band].size
        assert rows <= 1 or rows * row_bytes <= max(scratch, more)
        assert rows > 0 or N == 0


def test_little_is_one_band(use_threads):
    use_threads(4)
    least = bands.NOT_WORTH_A_THREAD // bands.MULTIPLY_ADDS_PER_BYTE
    assert [len(bands.bands(4, 8, size // 32, np)) for size in (least, 2 * least)] == [1, 4]
    assert [len(bands.whole_images(size, 4, np)) for size in (least, 2 * least)] == [1, 4]
    four = 4 * bands.CPU_SCRATCH
    assert [len(bands.whole_images(size, 64, np)) for size in (four, four + 1)] == [4, 8]  # a multiple of the threads
    assert len(bands.whole_images(bands.GPU_SCRATCH, 64, fakecupy)) == 1


@pytest.mark.parametrize(
    ("nbytes", "work", "expected"), [(0, 40_000_000, False), (0, 40_000_001, True), (4_000_001, 0, True)]
)
def test_bytes_and_multiply_adds_are_worth_a_thread(nbytes, work, expected):
    assert bands.worth_threads(nbytes, work) == expected
    assert len(bands.bands(1, 2, nbytes // 2, fakecupy, row_work=-(-work // 2))) == 1


def test_on_a_gpu_bands_are_larger(use_threads):
    use_threads(4)
    assert len(bands.bands(4, 8, bands.GPU_SCRATCH // 32, fakecupy)) == 1
    assert len(bands.bands(4, 8, bands.GPU_SCRATCH // 8, fakecupy)) == 4


@given(n=st.integers(0, 40), count=st.integers(0, 50))
def test_parts(n, count):
    cut = bands.parts(n, count)
    assert [i for part in cut for i in range(n)[part]] == list(range(n))
    sizes = [part.stop - part.start for part in cut]
    assert len(cut) == max(1, min(n, count))
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("count", "expected"), [(0, 1), (1, 3), (3, 3), (4, 6), (7, 9), (10, 10)])
def test_even_parts(count, expected, use_threads):
    """A multiple of the threads, as far as there is something for each; one part where there is little to do."""
    use_threads(3)
    assert bands.even_parts(10, count, np) == bands.parts(10, expected)
    assert bands.even_parts(10, count, fakecupy) == bands.parts(10, count)


def test_scratch_memory_is_bounded(monkeypatch):
    """Inputs, outputs and the scratch, and nothing of the size of the column matrix."""
    monkeypatch.setattr(bands, "CPU_SCRATCH", 64 << 10)
    N, H, W, C, F = 4, 40, 40, 16, 8
    window = Window(kernel=(5, 5), padding=((2, 2), (2, 2)))
    x, weight, g = (np.ones(shape) for shape in ((N, H, W, C), (5, 5, C, F), (N, H, W, F)))
    column_matrix = N * H * W * 25 * C * 8
    for work in (
        lambda: columns.convolve(x, weight, window, 1, Epilogue()),
        lambda: columns.convolve_input_gradient(g, weight, window, 1, H, W),
        lambda: columns.convolve_weight_gradient(x, g, window, 1),
    ):
        tracemalloc.start()
        work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2.5 * x.nbytes < column_matrix / 8


# ---- pooling


def adjoint(forward, backward, x, y):
    return (host(forward(x)) * host(y)).sum() == (host(x) * host(backward(y))).sum()


@given(window=windows(), H=st.integers(1, 9), W=st.integers(1, 9))
def test_spreading_is_the_adjoint_of_summing_and_scattering_of_gathering(window, H, W):
    OH, OW = window.output_size(H, W)
    assume(min(OH, OW) >= 1)
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, shape).astype(np.float64) for shape in ((2, H, W, 3), (2, OH, OW, 3)))
    assert adjoint(lambda x: pooling.sum_windows(x, window), lambda y: pooling.spread_windows(y, window, H, W), x, y)
    _, winner = pooling.max_windows_and_winners(x, window)
    assert adjoint(
        lambda x: pooling.gather_winners(x, winner, window),
        lambda y: pooling.scatter_to_winners(y, winner, window, H, W),
        x,
        y,
    )


@pytest.mark.parametrize("divisor", [1, 3.0, "places"], ids=str)
@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), padding=((1, 1), (1, 1))),
        Window((3, 2), padding=((0, 2), (1, 0))),
        Window((2, 3), padding=((1, 0), (2, 2)), dilation=(3, 2)),
        Window((2, 2), padding=((2, 0), (0, 3))),  # more than the window reaches
        Window((1, 1), padding=((1, 0), (0, 0))),
        Window((3, 2), stride=(2, 1), padding=((1, 2), (0, 1))),
    ],
    ids=str,
)
def test_sums_of_windows_and_their_adjoint_are_the_loops(window, divisor, device, rng):
    x = rng.standard_normal((2, 7, 6, 3))
    OH, OW = window.output_size(7, 6)
    if divisor == "places":
        divisor = rng.uniform(1, 2, (OH, OW, 1))
    g = rng.standard_normal((2, OH, OW, 3))
    sums, spread = np.zeros_like(g), np.zeros_like(x)
    (top, _), (left, _) = window.padding
    for oh, ow, (kh, kw) in itertools.product(range(OH), range(OW), np.ndindex(window.kernel)):
        h = oh * window.stride[0] + kh * window.dilation[0] - top
        w = ow * window.stride[1] + kw * window.dilation[1] - left
        if 0 <= h < 7 and 0 <= w < 6:
            sums[:, oh, ow] += x[:, h, w]
            spread[:, h, w] += g[:, oh, ow]
    on_device = [array if np.isscalar(array) else to_device(array, as_device(device)) for array in (x, g, divisor)]
    assert_close(pooling.sum_windows(on_device[0], window, on_device[2]), sums / divisor, 1e-12)
    assert_close(pooling.spread_windows(on_device[1], window, 7, 6), spread, 1e-12)


def test_a_window_of_257_elements_remembers_its_winner(device):
    x = np.zeros((1, 1, 257, 1))
    x[0, 0, 256] = 1
    _, winner = pooling.max_windows_and_winners(to_device(x, as_device(device)), Window(kernel=(1, 257)))
    assert host(winner).ravel().tolist() == [256]


def test_a_window_of_more_than_256_elements_remembers_its_winner(device):
    x = np.zeros((1, 17, 19, 2))
    x[0, 16, 18, 0] = x[0, 13, 15, 1] = 1.0
    window = Window(kernel=(17, 19))
    _, winner = pooling.max_windows_and_winners(to_device(x, as_device(device)), window)
    assert host(winner).ravel().tolist() == [16 * 19 + 18, 13 * 19 + 15]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_where_else_zero_is_where(dtype, device):
    values = np.array([1.5, -0.0, np.inf, -np.inf, np.nan, 6e-8, -7.0, 2.0], dtype)
    mask = np.array([[True] * 8, [False] * 8, [True, False] * 4, [False, True] * 4])
    on_device = to_device(values, as_device(device)), to_device(mask, as_device(device))
    chosen = elementwise.where_else_zero(on_device[1], on_device[0])
    assert chosen.dtype == dtype
    np.testing.assert_array_equal(host(chosen), np.where(mask, values, 0))
    every_second = elementwise.where_else_zero(on_device[1][::2, ::2], on_device[0][::2])
    np.testing.assert_array_equal(host(every_second), np.where(mask[::2, ::2], values[::2], 0))


def test_how_pooling_is_cut(use_threads, monkeypatch):
    """Bands of a maximum or a sum fill the cache that cores share; a gradient goes to whole images, by threads."""
    pieces = []
    monkeypatch.setattr(pooling, "parallel", lambda work, cut, xp: pieces.append(len(cut)) or [*map(work, cut)])
    monkeypatch.setattr(bands, "CPU_SCRATCH", 1)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    use_threads(2)
    window, x, g = Window((2, 2), (2, 2)), np.zeros((4, 8, 6, 3)), np.zeros((4, 4, 3, 3))
    _, winner = pooling.max_windows_and_winners(x, window)
    pooling.sum_windows(x, window)
    pooling.scatter_to_winners(g, winner, window, 8, 6)
    assert pieces == [2, 2, 4]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("scratch", [1, 600, 3000, 1 << 30])
def test_bands_and_threads_change_nothing_about_pooling(scratch, threads, device, use_threads, monkeypatch):
    """With whole numbers, whose sums are exact."""
    rng = np.random.default_rng(0)
    window = Window(kernel=(3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), dilation=(1, 2), ceil_mode=True)
    x = rng.integers(-9, 9, (5, 9, 8, 3)).astype(float)
    g = rng.integers(-9, 9, (5, *window.output_size(9, 8), 3)).astype(float)
    places = math.prod(window.output_size(9, 8))

    def every(x, g):
        y, winner = pooling.max_windows_and_winners(x, window)
        return [
            y,
            winner,
            pooling.max_windows(x, window),
            pooling.sum_windows(x, window),
            pooling.sum_windows(x, window, array_module(x).arange(1.0, 1 + places).reshape(*y.shape[1:3], 1)),
            pooling.spread_windows(g, window, 9, 8),
            pooling.scatter_to_winners(g, winner, window, 9, 8),
        ]

    use_threads(1)
    expected = every(x, g)
    np.testing.assert_array_equal(expected[0], expected[2])
    monkeypatch.setattr(bands, "CPU_SCRATCH", scratch)
    monkeypatch.setattr(bands, "GPU_SCRATCH", scratch)
    monkeypatch.setattr(pooling, "SHARED_CACHE", scratch)
    monkeypatch.setattr(bands, "NOT_WORTH_A_THREAD", 0)
    use_threads(threads)
    for actual, whole in zip(every(*(to_device(array, as_device(device)) for array in (x, g))), expected, strict=True):
        np.testing.assert_array_equal(host(actual), whole)


# ---- shares


@given(size=st.integers(1, 40), places=st.integers(1, 60))
def test_shares_cover_an_axis_evenly(size, places):
    """Each has an element, lengths differ by at most one, none is left out, and neighbours share at most one."""
    cut = shares.shares(size, places)
    lengths = [share.stop - share.start for share in cut]
    assert len(cut) == places
    assert (cut[0].start, cut[-1].stop) == (0, size)
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= (size % places > 0)
    for one, other in itertools.pairwise(cut):
        assert one.start <= other.start
        assert one.stop <= other.stop
        assert 0 <= one.stop - other.start <= 1


@given(size=st.integers(1, 12), places=st.integers(0, 15))
def test_adjoints_of_shares(size, places):
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 9, shape).astype(np.float64) for shape in ((2, size, 3), (2, places, 3)))
    total = (shares.mean_shares(x, places) * y).sum()
    np.testing.assert_allclose(total, (x * shares.spread_shares(y, size)).sum(), rtol=1e-12, atol=1e-9)
    _, winner = shares.max_shares(x, places)
    assert adjoint(lambda x: shares.gather_shares(x, winner), lambda y: shares.scatter_shares(y, winner, size), x, y)


# ---- channels


PIECES = [
    1,
    7,
    *(channels.PIECE // 4 + n for n in (0, 1)),
    *(channels.PIECE // 2 + n for n in (5, 64)),
]  # rows of 4 channels


@pytest.mark.parametrize("M", PIECES)
def test_moments_are_those_of_all_pieces_together(M, device, rng):
    """Also where the pieces have means of their own."""
    x = (rng.standard_normal((M, 4)) + np.linspace(0, 3, M)[:, None]).astype(np.float32)
    mean, variance = channels.moments(to_device(x, as_device(device)))
    assert mean.dtype == variance.dtype == np.float32
    assert_close(mean, x.astype(np.float64).mean(axis=0), 1e-6)
    assert_close(variance, x.astype(np.float64).var(axis=0), 1e-5)


@pytest.mark.parametrize("M", PIECES[1:])
def test_affine_and_what_follows(M, device, rng):
    x, add = rng.standard_normal((2, M, 4))
    scale, shift = rng.standard_normal((2, 4))
    on_device = [to_device(array, as_device(device)) for array in (x, scale, shift, add)]
    assert_close(channels.affine(*on_device[:3]), x * scale + shift, 1e-12)
    assert_close(channels.affine(*on_device), x * scale + shift + add, 1e-12)
    assert_close(channels.affine(*on_device, relu=True), np.maximum(x * scale + shift + add, 0), 1e-12)


@pytest.mark.parametrize("M", PIECES[1:])
def test_gradients_of_a_normalisation_in_pieces(M, device, rng):
    g, x = rng.standard_normal((2, M, 4))
    weight = rng.standard_normal(4)
    mean, inv_std = x.mean(axis=0), 1 / x.std(axis=0)
    normalized = (x - mean) * inv_std
    given = [to_device(array, as_device(device)) for array in (g, x, mean, inv_std, weight)]
    to_x, to_weight, to_bias, used = channels.normalize_gradients(*given)
    assert (host(used) == g).all()
    assert_close(to_bias, g.sum(axis=0), 1e-10)
    assert_close(to_weight, (g * normalized).sum(axis=0), 1e-10)
    along = normalized * (g * normalized).mean(axis=0)
    assert_close(to_x, weight * inv_std * (g - g.mean(axis=0) - along), 1e-10)


@pytest.mark.parametrize("M", PIECES[1:])
def test_gradients_of_a_normalisation_and_a_relu_in_pieces(M, device, rng):
    """They are those of the normalisation alone, of g where the output is not 0."""
    g, x, y = rng.standard_normal((3, M, 4))
    y[y < 0] = 0
    weight, mean, inv_std = rng.standard_normal(4), x.mean(axis=0), 1 / x.std(axis=0)
    before = g.copy()
    given = [to_device(array, as_device(device)) for array in (g, x, mean, inv_std, weight, y)]
    results = channels.normalize_gradients(*given)
    given[0] = to_device(np.where(y > 0, g, 0), as_device(device))
    expected = channels.normalize_gradients(*given[:5])
    for actual, right in zip(results, expected, strict=True):
        assert (host(actual) == host(right)).all()
    assert (g == before).all()


def test_many_pieces_are_added_up_exactly(device):
    """2²⁴ and twenty ones, a piece each: in float32, 2²⁴ + 1 is 2²⁴."""
    g = np.zeros((21 * channels.PIECE, 1), np.float32)
    g[:: channels.PIECE] = 1
    g[0] = 2**24
    one = np.ones(1, np.float32)
    given = [to_device(array, as_device(device)) for array in (g, g, one, one, one)]
    assert host(channels.normalize_gradients(*given)[2]).tolist() == [2**24 + 20]


def test_moments_do_not_cancel(device, rng):
    """Mean 10,000 and variance 1 in float32: E[x²] − E[x]² would be off by several."""
    x = (rng.standard_normal((20_000, 3)) + 1e4).astype(np.float32)
    mean, variance = channels.moments(to_device(x, as_device(device)))
    assert mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(host(mean), x.astype(np.float64).mean(axis=0), rtol=2e-6)
    np.testing.assert_allclose(host(variance), x.astype(np.float64).var(axis=0), rtol=1e-3)


def test_kernels_write_only_to_what_they_made(device, rng):
    window = Window(kernel=(3, 2), stride=(1, 2), padding=((1, 1), (1, 0)))
    x, weight, bias = (rng.standard_normal(shape) for shape in ((2, 5, 6, 4), (3, 2, 4, 3), (3,)))
    g = rng.standard_normal((2, *window.output_size(5, 6), 3))
    u = rng.standard_normal((2, *window.output_size(5, 6), 4))
    rows, scale = rng.standard_normal((10, 4)), rng.uniform(1, 2, 4)
    given = [to_device(array, as_device(device)) for array in (x, weight, bias, g, u, rows, scale)]
    x, weight, bias, g, u, rows, scale = given
    before = [array.copy() for array in given]
    columns.convolve(x, weight, window, 1, Epilogue(bias))
    columns.convolve_input_gradient(g, weight, window, 1, 5, 6)
    columns.convolve_weight_gradient(x, g, window, 1)
    _, winner = pooling.max_windows_and_winners(x, window)
    pooling.scatter_to_winners(u, winner, window, 5, 6)
    pooling.gather_winners(x, winner, window)
    pooling.sum_windows(x, window)
    pooling.spread_windows(u, window, 5, 6)
    _, winner = shares.max_shares(x[0], 3)  # (5, 6, 4) → (5, 3, 4)
    shares.gather_shares(x[0], winner)
    shares.scatter_shares(x[0, :, :3], winner, 6)
    shares.mean_shares(x[0], 3)
    shares.spread_shares(x[0, :, :3], 6)
    channels.moments(rows)
    channels.affine(rows, scale, scale, rows, relu=True)
    channels.normalize_gradients(rows, rows, scale, scale, scale)
    for array, copy in zip(given, before, strict=True):
        assert array_module(array).array_equal(array, copy)
