"""Judges of exercise 4: what arrives at a value that is used more than once."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.autograd import Edge, Function
from minidl.backpropagation import AT_ONCE, _accumulate, _sum
from minidl.exercises.judging import judge, require, untouched
from minidl.tensor import Leaf

pytestmark = pytest.mark.exercise("fan-out")


class Times(Function):
    """y = k · x for a number k."""

    def __init__(self, k):
        self.k = k

    def forward(self, x):
        return self.k * x

    def backward(self, g):
        return self.k * g


class Plus(Function):
    """y = a + b. Its backward hands one and the same array to both inputs."""

    def forward(self, a, b):
        return a + b

    def backward(self, g):
        return g, g


class Both(Function):
    """Two outputs: 2x and 3x."""

    def forward(self, x):
        return 2 * x, 3 * x

    def backward(self, gs):
        return 2 * gs[0] + 3 * gs[1]


def leaf(*values):
    return Tensor(np.array(values), requires_grad=True)


def test_two_arrivals():
    """two gradients arrive at one edge, then the sum is asked for"""
    x, arriving = Leaf(), {}
    first, second = np.array([1.0, -2.0]), np.array([10.0, 20.0])
    _accumulate(arriving, Edge(x, 0), first)
    _accumulate(arriving, Edge(x, 0), second)
    judge(
        "_accumulate(arriving, Edge(x, 0), first), the same with second, then _sum(arriving[x][0])",
        _sum(arriving[x][0]),
        np.array([11.0, 18.0]),
        given={"first": first, "second": second},
        mistakes={"the second takes the place of the first": second, "only the first is kept": first},
    )


def test_one_arrival():
    """the sum of a single gradient is that gradient"""
    g = np.array([[1.0, -2.0], [0.5, 4.0]])
    judge("_sum([g])", _sum([g]), np.array([[1.0, -2.0], [0.5, 4.0]]), given={"g": g})


def test_edges_apart():
    """two outputs of one Function, and another source: each has a sum of its own"""
    f, x, arriving = Both(), Leaf(), {}
    for place, g in [((f, 0), 1.0), ((f, 1), 10.0), ((f, 0), 2.0), ((x, 0), 100.0), ((f, 1), 20.0)]:
        _accumulate(arriving, Edge(*place), np.array([g]))
    given = {"arrived at output 0 of f": [1.0, 2.0], "arrived at output 1 of f": [10.0, 20.0], "arrived at x": [100.0]}
    for source, output, wanted in [(f, 0, 3.0), (f, 1, 30.0), (x, 0, 100.0)]:
        call = f"_sum(arriving[{'f' if source is f else 'x'}][{output}])"
        judge(call, _sum(arriving[source][output]), np.array([wanted]), given=given)


def test_nothing_in_place():
    """an array that arrives may have gone elsewhere, too: it must not be written to"""
    first, second, third = np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array([100.0, 200.0])
    gradients = [first, second, third]
    with untouched("_sum([first, second, third])", first=first, second=second, third=third):
        judge("_sum([first, second, third])", _sum(gradients), np.array([111.0, 222.0]))
    length = len(gradients)
    require(
        length == 3, f"the list of three that was given has length {length} now", call="_sum([first, second, third])"
    )


def test_ten_arrivals():
    """gradients 1 to 10 arrive at one edge, and few arrays are kept"""
    x, arriving = Leaf(), {}
    arrays = [np.array([float(k), -0.5 * k]) for k in range(1, 11)]
    with untouched("_accumulate(arriving, edge, g), ten times", **{f"g{i}": g for i, g in enumerate(arrays)}):
        for i, g in enumerate(arrays, start=1):
            _accumulate(arriving, Edge(x, 0), g)
            if i == AT_ONCE:
                at_four = len(arriving[x][0])
    given = {"g0": arrays[0], "g1": arrays[1], "g9": arrays[9]}
    judge("_sum(arriving[x][0])", _sum(arriving[x][0]), np.array([55.0, -27.5]), given=given)
    held = len(arriving[x][0])
    require(
        held <= AT_ONCE,
        f"after ten arrivals the list arriving[x][0] holds {held} arrays, where {AT_ONCE} at most are wanted\n"
        "has the list in `arriving` become shorter, or only a list of the same name?",
        call="_accumulate(arriving, Edge(x, 0), g), ten times",
    )
    require(
        at_four == 1,
        f"after {AT_ONCE} arrivals arriving[x][0] holds {at_four} arrays; their sum should stand in their place",
        call=f"_accumulate(arriving, Edge(x, 0), g), {AT_ONCE} times",
    )


def test_x_plus_x():
    """y = x + x through backward: x receives g twice"""
    x, g = leaf(1.0, 2.0), np.array([3.0, -5.0])
    y = Plus()(x, x)
    with untouched("y = x + x; y.backward(g)", g=g):
        y.backward(Tensor._wrap(g))
    judge(
        "y = x + x; y.backward(g); x.grad",
        x.grad.data,
        np.array([6.0, -10.0]),
        given={"x": x, "g": g},
        mistakes={"only one of the two uses counts": g},
    )


def test_a_shared_array():
    """y = (x + w) + 2x: one array goes to x and to w, and only x receives more"""
    for other_way_round in (False, True):
        x, w, g = leaf(1.0, 2.0), leaf(7.0, 7.0), np.array([3.0, -5.0])
        twice, added = Times(2.0)(x), Plus()(x, w)
        y = Plus()(twice, added) if other_way_round else Plus()(added, twice)
        y.backward(Tensor._wrap(g))
        judge("y = (x + w) + 2x; y.backward(g); x.grad", x.grad.data, np.array([9.0, -15.0]), given={"g": g})
        judge(
            "y = (x + w) + 2x; y.backward(g); w.grad",
            w.grad.data,
            np.array([3.0, -5.0]),
            given={"g": g},
            mistakes={"the sum for x is written into the array that w has as well": np.array([9.0, -15.0])},
        )


@pytest.mark.parametrize("uses", [3, 4, 5, 10])
def test_many_uses(uses):
    """y = 1·x + 2·x + … + n·x in float32: x receives (1 + 2 + … + n) · g, in float32"""
    x = Tensor(np.array([1.0, -2.0, 0.5], dtype=np.float32), requires_grad=True)
    y = Times(1)(x)
    for k in range(2, uses + 1):
        y = Plus()(y, Times(k)(x))
    g = np.array([1.0, 4.0, -2.0], dtype=np.float32)
    y.backward(Tensor._wrap(g))
    wanted = np.array([1.0, 4.0, -2.0], dtype=np.float32) * np.float32(uses * (uses + 1) // 2)
    judge(f"y = 1·x + 2·x + … + {uses}·x; y.backward(g); x.grad", x.grad.data, wanted, given={"g": g})


def test_forks_behind_forks():
    """y is added to itself 10 times over, and two outputs of one Function are used: x receives 2¹⁰ · 5 · g"""
    x, g = leaf(1.0), np.array([-3.0])
    y = Plus()(*Both()(x))  # 5x
    for _ in range(10):
        y = Plus()(y, y)
    y.backward(Tensor._wrap(g))
    judge(
        "y = 2x + 3x; then ten times y = y + y; y.backward(g); x.grad",
        x.grad.data,
        np.array([-15360.0]),
        given={"g": g},
    )
