"""The roofline's two ceilings: from the time of the best round, and of work that is really done."""

import fakecupy
import numpy as np
import pytest

import minidl
from minidl import backend
from minidl.inspection import ceilings, clock
from minidl.inspection.ceilings import Ceilings


@pytest.fixture
def rounds(monkeypatch):
    """A function that says how long the rounds take, by a clock that stands still otherwise; and what they computed."""
    time, pieces = [0.0], []

    def take(*durations):
        remaining = iter(durations)

        def parallel(work, round_pieces):
            for piece in round_pieces:
                work(piece)
            pieces.append(list(round_pieces))
            time[0] += next(remaining)

        monkeypatch.setattr(ceilings, "parallel", parallel)
        monkeypatch.setattr(clock, "now", lambda device: time[0])
        monkeypatch.setattr(ceilings, "MATRIX", {"cpu": 5, "gpu": 7})
        monkeypatch.setattr(ceilings, "COPIED", {"cpu": 404, "gpu": 44})
        return pieces

    return take


def test_the_best_round_counts_but_for_the_first(rounds, use_threads):
    use_threads(3)
    computed = rounds(0.01, 0.5, 0.2, 0.4)
    assert ceilings.gemm_ceiling(3) == pytest.approx(3 * 2 * 5**3 / 0.2)
    assert len(computed) == 4
    for product in computed[-1]:
        np.testing.assert_array_equal(product, np.full((5, 5), 5, np.float32))
        assert product.dtype == np.float32
    assert len({id(product) for product in computed[-1]}) == 3, "each thread writes to an array of its own"


def test_short_rounds_are_repeated_for_a_while(rounds, use_threads):
    use_threads(1)
    computed = rounds(*[ceilings.SECONDS / 8.5] * 20)
    ceilings.gemm_ceiling(1)
    assert len(computed) == 9


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_copy_is_read_and_written_once_by_all_threads_together(rounds, use_threads, monkeypatch, threads):
    use_threads(3)
    computed = rounds(9.0, 0.5, 0.2, 0.4)
    copied = []
    monkeypatch.setattr(
        np, "copyto", lambda to, x: copied.append((to.__array_interface__["data"][0], x.size, x.nbytes))
    )
    assert ceilings.copy_ceiling(threads) == pytest.approx(2 * 404 / 0.2)
    assert len(computed[-1]) == threads
    last = sorted(copied[-threads:])
    assert sum(size for _, size, _ in last) == 101
    assert [start + nbytes for start, _, nbytes in last[:-1]] == [start for start, _, _ in last[1:]], "a gap"


@pytest.fixture
def gpu():
    backend.set_gpu_module(fakecupy)
    yield minidl.device("gpu")
    backend.set_gpu_module(None)


def test_a_gpu_is_given_one_piece(rounds, gpu, use_threads):
    use_threads(2)
    computed = rounds(9.0, 0.5, 0.2, 0.4)
    assert ceilings.gemm_ceiling(2, gpu) == pytest.approx(2 * 7**3 / 0.2)
    assert [type(product) for product in computed[-1]] == [fakecupy.ndarray]
    rounds(9.0, 0.5, 0.2, 0.4)
    assert ceilings.copy_ceiling(2, gpu) == pytest.approx(2 * 44 / 0.2)


def test_the_clock_waits_for_a_gpu(gpu):
    with fakecupy.count_synchronisations() as waited:
        before = clock.now(gpu)
        assert clock.now(gpu) >= before
    assert waited.count == 2
    with fakecupy.count_synchronisations() as waited:
        assert clock.now(backend.CPU) >= before
    assert waited.count == 0


@pytest.mark.parametrize("ceiling", [ceilings.gemm_ceiling, ceilings.copy_ceiling])
@pytest.mark.parametrize("threads", [0, -1, 3])
def test_threads_that_minidl_does_not_use(use_threads, ceiling, threads):
    use_threads(2)
    message = rf"{ceiling.__name__}: expected 1 to 2 threads, got {threads}; minidl.set_num_threads\(n\) allows more"
    with pytest.raises(ValueError, match=message):
        ceiling(threads)


def test_the_roofline():
    """Level at 100 FLOP/s, from 100/20 operations a byte on; below that a slope of 20 bytes/s."""
    roof = Ceilings(flops=100.0, bandwidth=20.0)
    assert roof.seconds(macs=500, moved=1) == 10.0
    assert roof.seconds(macs=5, moved=100) == 5.0
    assert roof.seconds(macs=250, moved=100) == 5.0  # the ridge: both take as long
    assert roof.seconds(0, 0) == 0.0


def test_both_are_measured(monkeypatch):
    monkeypatch.setattr(ceilings, "gemm_ceiling", lambda threads, device: ("flops", threads, device))
    monkeypatch.setattr(ceilings, "copy_ceiling", lambda threads, device: ("bandwidth", threads, device))
    measured = ceilings.measure(2, "here")
    assert (measured.flops, measured.bandwidth) == (("flops", 2, "here"), ("bandwidth", 2, "here"))


def test_this_machine(use_threads):
    use_threads(1)
    assert all(0 < ceiling < np.inf for ceiling in ceilings.measure(1))
