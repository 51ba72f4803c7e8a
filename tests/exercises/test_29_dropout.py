"""Judges of exercise 29: inverted dropout."""

import numpy as np
import pytest

from minidl import Tensor
from minidl.exercises.judging import judge, require, untouched
from minidl.ops.axes import kept_shape
from minidl.ops.dropout import Dropout, keep_mask

pytestmark = pytest.mark.exercise("dropout")


def kept_and_dropped(y, call, given=None):
    """Where y is not 0. Raises: Wrong unless that is the case at some places, and at others not."""
    kept = np.asarray(y) != 0
    require(kept.any(), "everything was dropped", call=call, given=given)
    require(not kept.all(), "nothing was dropped", call=call, given=given)
    return kept


def test_sixteen_numbers():
    """p = 3/4 of 1, 2, ..., 16: what is not 0 is four times what it was"""
    x = np.arange(1.0, 17.0)
    call, given = "Dropout(0.75, seed=1).forward(x)", {"x": x}
    with untouched(call, x=x):
        y = Dropout(0.75, seed=1).forward(x)
    kept = kept_and_dropped(y, call, given)
    judge(
        call,
        y,
        np.where(kept, 4 * x, 0.0),
        given=given,
        mistakes={
            "what is kept is not scaled; inverted dropout divides it by 1 − p": np.where(kept, x, 0.0),
            "what is kept is divided by p, and not by 1 − p": np.where(kept, x / 0.75, 0.0),
            "what is kept is multiplied by 1 − p, and not divided": np.where(kept, x * 0.25, 0.0),
            "1 stands where x belongs": np.where(kept, 4.0, 0.0),
        },
    )


def test_how_many():
    """100,000 ones, p = 0.3: of 100 some 30 are dropped, and the mean stays 1"""
    y = Dropout(0.3, seed=2).forward(np.ones((100, 1000)))
    call = "Dropout(0.3, seed=2).forward(x), x ones (100, 1000)"
    share = 100 * float(np.mean(y == 0))
    judge(f"{call}: how many of 100 are 0", share, 30.0, tolerance=0.02)
    judge(f"{call}: the mean", float(np.mean(y)), 1.0, tolerance=0.01)


def test_the_same_mask_in_backward():
    """backward drops what forward has dropped, and scales as forward has scaled"""
    random = np.random.default_rng(29)
    array, g = random.uniform(1, 2, (4, 6)), random.uniform(1, 2, (4, 6))
    x = Tensor(array, requires_grad=True)
    call = "y = Dropout(0.5, seed=3)(x), then y.backward(g), x of shape (4, 6)"
    with untouched(call, x=x, g=g):
        y = Dropout(0.5, seed=3)(x)
        y.backward(g)
    kept = kept_and_dropped(y.data, call)
    judge(
        f"{call}, x.grad, where y[0] is {np.round(y.data[0], 3).tolist()}",
        x.grad,
        np.where(kept, 2 * g, 0.0),
        mistakes={
            "g goes through everywhere": g,
            "g is scaled, but nothing of it is dropped": 2 * g,
            "the mask is there, the factor 1 / (1 − p) is not": np.where(kept, g, 0.0),
            "the factor 1 / (1 − p) is there twice": np.where(kept, 4 * g, 0.0),
            "g is multiplied by y, and not by what x was multiplied by": g * y.data,
        },
    )


def test_whole_channels():
    """together = (1, 2): of images (N, H, W, C) a channel of an image is kept or dropped as a whole"""
    random = np.random.default_rng(30)
    array, g = random.uniform(1, 2, (5, 3, 2, 4)), random.uniform(1, 2, (5, 3, 2, 4))
    x = Tensor(array, requires_grad=True)
    y = Dropout(0.5, 4, together=(1, 2))(x)
    y.backward(g)
    call = "y = Dropout(0.5, 4, together=(1, 2))(x), x of shape (5, 3, 2, 4)"
    kept = kept_and_dropped(y.data, call)
    for n, c in np.ndindex(5, 4):
        channel = kept[n, :, :, c]
        message = f"of y[{n}, :, :, {c}] one part is dropped and another kept: the mask has length 1 along these axes"
        require(channel.all() or not channel.any(), message, call=call)
    require(any(0 < kept[n, 0, 0].sum() < 4 for n in range(5)), "each image is dropped or kept as a whole", call=call)
    require(any(0 < kept[:, 0, 0, c].sum() < 5 for c in range(4)), "a channel is dropped in all images", call=call)
    judge(call, y, np.where(kept, 2 * array, 0.0))
    judge("y.backward(g), x.grad", x.grad, np.where(kept, 2 * g, 0.0))


def test_seeds():
    """one seed gives one mask, another gives another"""
    x = np.ones(64)
    first, again, other = (Dropout(0.5, seed).forward(x) for seed in (5, 5, 6))
    call = "Dropout(0.5, seed).forward(x), x ones (64,)"
    require(np.array_equal(first, again), "twice seed 5 gave different masks", call=call)
    require(not np.array_equal(first, other), "seed 5 and seed 6 gave the same mask", call=call)


def test_float32_stays_float32():
    """float32 in, float32 out, of values and of gradients"""
    x = Tensor(np.ones(32, np.float32), requires_grad=True)
    y = Dropout(0.2, 7)(x)
    y.backward(np.ones(32, np.float32))
    scaled = np.where(y.data != 0, 1 / (1 - 0.2), 0).astype(np.float32)
    judge("y = Dropout(0.2, 7)(x).data, x of dtype float32", y.data, scaled, tolerance=1e-6)
    op = Dropout(0.2, 7)
    op.forward(np.ones(32, np.float32))
    gradient = op.backward(np.ones(32, np.float32))
    judge("op.backward(g), after op.forward(x), g of dtype float32", gradient, scaled, tolerance=1e-6)


@pytest.mark.parametrize("together", [(), (1,), (1, 2)], ids=str)
def test_the_mask(together):
    """the mask is that of keep_mask, with length 1 along the axes in `together`, whichever they are; p = 1/4"""
    random = np.random.default_rng(31)
    x, g = random.uniform(1, 2, (3, 2, 4, 5)), random.uniform(1, 2, (3, 2, 4, 5))
    op = Dropout(0.25, 8, together)
    y = op.forward(x)
    mask = keep_mask(x, kept_shape(x.shape, together), 0.25, 8)
    call = f"op = Dropout(0.25, 8, {together}); op.forward(x), x of shape (3, 2, 4, 5)"
    judge(call, y, np.where(mask, x / 0.75, 0.0))
    judge(f"{call}; op.backward(g)", op.backward(g), np.where(mask, g / 0.75, 0.0))
