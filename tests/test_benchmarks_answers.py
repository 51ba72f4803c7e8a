"""The check before the timing: right answers pass, and every kind of wrong one is refused."""

import numpy as np
import pytest

from benchmarks import answers, definitions, inputs
from benchmarks.answers import WrongAnswerError, check
from benchmarks.case import BACKWARD, EPOCH, FORWARD, RECORDED, START, STEP, Case
from benchmarks.engines.engine import Setting
from benchmarks.engines.minidl import Minidl
from benchmarks.engines.naive import Naive

WINDOW = {"kernel": (3, 2), "stride": 2, "padding": (1, 1)}
CASES = {
    "conv2d": Case("a/conv/c", "conv2d", BACKWARD, (2, 5, 6, 3), {"filters": 4, "kernel": (3, 3), "padding": (1, 1)}),
    "strided conv2d": Case("a/conv/c", "conv2d", BACKWARD, (2, 7, 6, 3), {"filters": 4, **WINDOW}),
    "max_pool2d": Case("a/pool/c", "max_pool2d", BACKWARD, (2, 7, 6, 3), WINDOW),
    "batch_norm": Case("a/norm/c", "batch_norm", BACKWARD, (4, 5, 5, 3)),
    "add": Case("a/add/c", "add", RECORDED, (4, 4)),
    "relu": Case("a/relu/c", "relu", RECORDED, (4, 4)),
    "matmul": Case("a/matmul/c", "matmul", RECORDED, (4, 4)),
}
SETTING = Setting(folder=None, threads=1)


def answer(case):
    return {name: np.array(array) for name, array in Minidl().prepare("minidl", case, SETTING).answer().items()}


@pytest.mark.parametrize("name", CASES)
def test_definitions_are_those_of_minidl(name):
    case = CASES[name]
    given = answer(case)
    wanted = {"y"} if case.mode == RECORDED else {"y", *(f"gradient of {leaf}" for leaf in inputs.operands(case))}
    assert given.keys() == wanted
    assert check(case, given, answers.by_definition(case)) < 1e-6


@pytest.mark.parametrize("name", ["conv2d", "strided conv2d", "max_pool2d"])
def test_definitions_are_those_of_the_loops(name):
    case = CASES[name]
    assert check(case, Naive().prepare("naive", case, SETTING).answer(), answers.by_definition(case)) < 1e-6


def test_forward_alone_is_checked_too():
    case = Case("a/conv/c", "conv2d", FORWARD, (2, 5, 6, 3), CASES["conv2d"].options)
    assert answer(case).keys() == {"y"}
    check(case, answer(case), answers.by_definition(case))


WRONG = {
    "half of it": lambda a: a / 2,
    "nothing": np.zeros_like,
    "a little off": lambda a: a * 1.001,
    "NaN": lambda a: np.full_like(a, np.nan),
    "shifted": lambda a: a + 0.01 * abs(a).max(),
    "mirrored": lambda a: a[..., ::-1],
    "moved": lambda a: np.roll(a, 1, axis=0),
    "its first part missing": lambda a: np.concatenate([0 * a[:1], a[1:]]),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", CASES)
def test_each_part_of_an_answer_is_checked(name, wrong):
    case = CASES[name]
    right = answer(case)
    expected = answers.by_definition(case)
    for part in right:
        with pytest.raises(WrongAnswerError, match=part):
            check(case, right | {part: WRONG[wrong](right[part])}, expected)


def test_200_places_of_each_array_are_looked_at():
    expected = definitions.expected(CASES["conv2d"])
    for places, values in expected.values():
        assert len(values) == definitions.PLACES == 200
        assert len(set(zip(*places, strict=True))) > 50


def test_an_answer_must_have_all_parts():
    case = CASES["conv2d"]
    right = answer(case)
    del right["gradient of weight"]
    with pytest.raises(WrongAnswerError, match="expected y, gradient of x, gradient of weight, got y, gradient of x"):
        check(case, right, answers.by_definition(case))


# -------------------------------------------------------------------------------------------------------- references

NETWORK = Case("a/network/c", "network", FORWARD, (2, 8, 8, 1), {"network": "resnet_small"})


def test_networks_have_no_definition_and_imports_nothing_to_check():
    assert answers.by_definition(NETWORK) is None
    assert answers.by_definition(Case("start/import", "import", START)) == {}
    assert check(Case("start/import", "import", START), {}, {}) == 0


@pytest.mark.parametrize(
    ("mode", "part", "allowed"),
    [
        (FORWARD, "y", 1e-3),
        (STEP, "losses", 5e-3),
        (STEP, "gradient of last", 5e-3),
        (STEP, "gradient of first", 0.1),
        (STEP, "two steps", 5e-3),
        (EPOCH, "losses", 0.01),
    ],
)
def test_what_a_network_may_be_off_by(mode, part, allowed):
    case = Case("a/network/c", "network", mode, (2, 8, 8, 1), {"watched": ("first", "last")})
    values = np.random.default_rng(0).standard_normal(1000)
    expected = answers.by_reference({part: values})
    assert check(case, {part: values * (1 + 0.9 * allowed)}, expected) == pytest.approx(0.9 * allowed)
    with pytest.raises(WrongAnswerError, match=f"{part}: off by .* of its size, {allowed:g} is allowed"):
        check(case, {part: values * (1 + 1.1 * allowed)}, expected)


@pytest.mark.parametrize(("part", "allowed"), [("y", 1e-4), ("gradient of x", 1e-2)])
def test_what_a_block_may_be_off_by(part, allowed):
    """A gradient comes through a ReLU, and where numbers round to the other side of 0 another one passes."""
    case, values = Case("a/block/b", "block", BACKWARD, (2, 4, 4, 3)), np.ones((2, 4, 4, 3))
    expected = answers.by_reference({part: values})
    assert check(case, {part: values * (1 + 0.9 * allowed)}, expected) == pytest.approx(0.9 * allowed)
    with pytest.raises(WrongAnswerError, match=f"{part}: off by .* of its size, {allowed:g} is allowed"):
        check(case, {part: values * (1 + 1.1 * allowed)}, expected)


def test_a_block_may_be_off_by_less_than_a_network():
    block = Case("a/block/c", "block", BACKWARD, (2, 8, 8, 1), {"block": "repvgg"})
    with pytest.raises(WrongAnswerError):
        check(block, {"y": np.array([1.0002])}, answers.by_reference({"y": np.array([1.0])}))


def test_another_shape_is_wrong_even_if_it_could_be_broadcast():
    with pytest.raises(WrongAnswerError, match=r"y: expected the shape \(2, 3\), got \(1, 3\)"):
        check(NETWORK, {"y": np.ones((1, 3))}, answers.by_reference({"y": np.ones((2, 3))}))
