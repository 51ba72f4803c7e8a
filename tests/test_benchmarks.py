"""Benchmarks: a wrong answer is not timed, and candidates take turns. How fast anything is, no test says."""

import numpy as np
import pytest

from benchmarks import __main__ as benchmarks_main
from benchmarks import convolution, timing
from benchmarks.convolution import Case

CASE = Case(N=2, size=5, C=3, F=4)


def answer():
    return convolution.naive_engine(CASE)[1]()


# ------------------------------------------------------------------------------------------------------------ engines


@pytest.mark.parametrize("engine", [convolution.minidl_engine, convolution.naive_engine])
def test_every_engine_gives_the_right_answer_every_time(engine):
    forward, both = engine(CASE)
    for _ in range(2):
        forward()
        convolution.check(CASE, both())


@pytest.mark.torch
@pytest.mark.parametrize("channels_last", [False, True])
def test_pytorch_gives_the_right_answer(channels_last):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    forward, both = convolution.torch_engine(CASE, channels_last)
    for _ in range(2):
        assert tuple(forward().shape) == (2, 4, 5, 5)
        convolution.check(CASE, both())


def test_forward_alone_is_the_same_convolution():
    forward, both = convolution.minidl_engine(CASE)
    np.testing.assert_array_equal(forward().numpy(), both()[0])


def test_multiply_adds():
    assert CASE.macs == 2 * 5 * 5 * 4 * 3 * 3 * 3
    assert str(CASE) == "2×5×5×3 → 4"


WRONG = {
    "half of it": lambda a: a / 2,
    "nothing": np.zeros_like,
    "a little off": lambda a: a * 1.001,
    "NaN": lambda a: np.full_like(a, np.nan),
    "mirrored": lambda a: a[:, ::-1],
    "channels moved": lambda a: np.roll(a, 1, axis=-1),
    "one row of an image or filter": lambda a: np.concatenate([0 * a[:, :1], a[:, 1:]], axis=1),
}


@pytest.mark.parametrize("which", [0, 1, 2], ids=["y", "dx", "dw"])
@pytest.mark.parametrize("wrong", WRONG)
def test_check_rejects_a_wrong_answer(which, wrong):
    result = list(answer())
    convolution.check(CASE, tuple(result))
    result[which] = WRONG[wrong](result[which])
    with pytest.raises(AssertionError):
        convolution.check(CASE, tuple(result))


def test_a_wrong_engine_is_not_timed(monkeypatch):
    def wrong_engine(case):
        forward, both = convolution.naive_engine(case)
        return forward, lambda: tuple(2 * array for array in both())

    monkeypatch.setattr(benchmarks_main, "interleaved", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(AssertionError):
        benchmarks_main.compare(CASE, {"right": convolution.naive_engine, "wrong": wrong_engine}, rounds=3)


# ------------------------------------------------------------------------------------------------------------- timing


class Clock:
    """A clock on which every run takes as long as it is told."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def run(self, seconds):
        seconds = iter(seconds)

        def run():
            self.now += next(seconds)

        return run


def test_candidates_take_turns_after_a_round_that_does_not_count(monkeypatch):
    turns = []
    timings = timing.interleaved({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=4)
    assert turns == ["a", "b"] * 5
    assert {name: t.n for name, t in timings.items()} == {"a": 4, "b": 4}


def test_the_median_and_quartiles_leave_the_first_round_out(monkeypatch):
    clock = Clock(monkeypatch)
    candidates = {"a": clock.run([100, 0.5, 0.1, 0.4, 0.2, 0.3]), "b": clock.run([9] * 6)}
    timings = timing.interleaved(candidates, rounds=5)
    a, b = timings["a"], timings["b"]
    np.testing.assert_allclose((a.lower, a.median, a.upper), (200, 300, 400))
    np.testing.assert_allclose((b.lower, b.median, b.upper), (9000, 9000, 9000))
    assert str(timing.Timing(12.345, 10, 20.06, 5)) == "12.3 ms (10 to 20.1)"


def test_the_table_has_a_row_for_each_engine_and_ratios_to_the_first(monkeypatch, capsys):
    def interleaved(candidates, rounds):
        assert rounds == 3
        return {name: timing.Timing(factor, factor, factor, 3) for name, factor in zip(candidates, (2, 8), strict=True)}

    monkeypatch.setattr(benchmarks_main, "interleaved", interleaved)
    engines = {"one": convolution.minidl_engine, "another": convolution.naive_engine}
    benchmarks_main.compare(CASE, engines, rounds=3)
    title, header, one, another = capsys.readouterr().out.strip().splitlines()
    assert "2×5×5×3 → 4" in title
    assert f"{CASE.macs:,} MACs" in title
    columns = {line.index("ratio") for line in [header]}
    assert columns
    assert one.split()[0] == "one"
    assert another.split()[0] == "another"
    flops = 2 * CASE.macs / 8e-3 / 1e9  # of the forward pass, at 8 ms
    assert another.split("(8 to 8)")[1].split()[:2] == [f"{flops:.3g}", "4"]
    assert another.split("(8 to 8)")[2].split() == [f"{3 * flops:.3g}", "4"]
    assert one.split("(2 to 2)")[1].split()[1] == "1"
