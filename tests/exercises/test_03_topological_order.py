"""Judges of exercise 3: the order in which a graph is walked back."""

from collections import Counter

import numpy as np
import pytest

from minidl import Tensor
from minidl.autograd import Edge, Function
from minidl.backpropagation import _topological_order
from minidl.exercises.judging import Wrong, require

pytestmark = pytest.mark.exercise("topological-order")


class Source:
    """A node that was computed from `inputs`: other nodes, or None for a constant."""

    def __init__(self, name, *inputs):
        self.name, self.looks = name, 0
        self._edges = tuple(None if source is None else Edge(source, 0) for source in inputs)

    @property
    def edges(self):
        self.looks += 1
        if self.looks > 20_000:
            raise Wrong(
                f"the edges of node {self.name} have been looked at 20,000 times, and no end is in sight: many ways "
                "may lead back to one node, and whoever follows each of them must remember which nodes were met before",
                "endless",
            )
        return self._edges

    def __repr__(self):
        return self.name


def judge_order(roots, everything, graph):
    """The order must have each node once, and each before those it was computed from."""
    call = f"_topological_order({roots if len(roots) < 9 else '...'})\n    {graph}"
    given = list(roots)
    try:
        order = _topological_order(roots)
    except RecursionError:
        raise Wrong(
            f"{call}\n\nRecursionError: Python allows about 1,000 calls inside one another; keep a list of what is "
            "still to be looked at, instead of calling the function for it",
            "RecursionError",
        ) from None
    require(isinstance(order, list), f"wanted  a list\ngot     {order!r}", call=call)
    got = f"got     {order}" if len(order) < 40 else f"got     {len(order)} nodes"
    times = Counter(order)
    for node in everything:
        if times[node] != 1:
            raise Wrong(f"{call}\n\n{got}\n{node} stands in it {times[node]} times, not once", got)
    require(len(order) == len(everything), f"{got}\nthere are more than the {len(everything)} nodes", call=call)
    place = {node: i for i, node in enumerate(order)}
    for node in everything:
        for edge in node.edges:
            if edge is not None and place[edge.source] < place[node]:
                raise Wrong(
                    f"{call}\n\n{got}\n{edge.source} comes before {node}, which was computed from it: when "
                    f"{edge.source} is visited, what {node} has to say to it has not arrived yet",
                    got,
                )
    require(roots == given, f"the list of roots was {given}, and now is {roots}: it is the caller's", call=call)


def test_a_chain():
    """c was computed from b, and b from a: c, b, a is the only order"""
    a = Source("a")
    b = Source("b", a)
    c = Source("c", b)
    judge_order([c], [a, b, c], "a ← b ← c")


def test_a_constant():
    """an edge that is None: an input for which no gradient is wanted"""
    a = Source("a")
    y = Source("y", None, a, None)
    judge_order([y], [a, y], "y was computed from a and two constants")


def test_used_twice_by_one():
    """y = x · x: two edges from one node to the same input, which still stands in the order once"""
    x = Source("x")
    y = Source("y", x, x)
    judge_order([y], [x, y], "y = x · x")


def test_diamonds():
    """two ways lead back to x; it comes after both, though one is longer"""
    for longer_first in (True, False):
        x = Source("x")
        short = Source("short", x)
        a = Source("a", x)
        b = Source("b", a)
        y = Source("y", *([b, short] if longer_first else [short, b]))
        judge_order(
            [y], [x, short, a, b, y], f"y from {y.edges[0].source} and {y.edges[1].source}, b from a, both from x"
        )
        x = Source("x")
        a = Source("a", x)
        y = Source("y", *([a, x] if longer_first else [x, a]))
        judge_order([y], [x, a, y], f"y from {y.edges[0].source} and {y.edges[1].source}, a from x: a skip connection")


def test_used_twice_by_two():
    """a = x · x, b = x · x, y = a + b: each use counts"""
    x = Source("x")
    a = Source("a", x, x)
    b = Source("b", x, x)
    y = Source("y", a, b)
    judge_order([y], [x, a, b, y], "a = x · x, b = x · x, y = a + b")


def test_several_roots():
    """two results that share an input, one of them given twice"""
    x, w = Source("x"), Source("w")
    h = Source("h", x)
    y, z = Source("y", h), Source("z", h, w)
    judge_order([y, z, y], [x, w, h, y, z], "y from h, z from h and w, h from x")


def test_a_root_inside_the_graph():
    """h is asked for, and y was computed from it: h still comes after y, wherever it stands among the roots"""
    for h_first in (True, False):
        x = Source("x")
        h = Source("h", x)
        y = Source("y", h)
        judge_order([h, y] if h_first else [y, h], [x, h, y], "x ← h ← y")


def test_a_long_chain():
    """3,000 operations, one after the other, as in a deep network: too many for recursion"""
    chain = [Source("0")]
    for i in range(1, 3000):
        chain.append(Source(str(i), chain[-1]))
    judge_order([chain[-1]], chain, "a chain of 3,000 nodes")


def test_forty_blocks():
    """40 blocks, in each of which two ways lead back to the block before: 2⁴⁰ ways to 81 nodes; and once more"""
    y = Source("x")
    everything = [y]
    for i in range(40):
        branch = Source(f"branch{i}", y)
        y = Source(f"sum{i}", y, branch)
        everything += [branch, y]
    for _ in range(2):  # a graph can be walked back twice
        judge_order([y], everything, "40 blocks, each with a branch from x and a sum from x and branch")


class Plus(Function):
    def __init__(self, name):
        self.name = name

    def forward(self, a, b):
        return a + b

    def __repr__(self):
        return self.name


def test_a_residual_network():
    """what Tensors leave behind: 12 blocks, y = x + (x + x), so that 3¹² ways lead back to the first x"""
    y = x = Tensor(np.array([1.0]), requires_grad=True)
    everything = []
    for i in range(12):
        branch = Plus(f"branch{i}")(y, y)
        y = Plus(f"sum{i}")(y, branch)
        everything += [branch._source, y._source]
    judge_order([y._source], [*everything, x._source], "12 blocks, each with a branch = x + x and a sum = x + branch")
