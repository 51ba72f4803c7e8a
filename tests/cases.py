"""A case is one operator on inputs of given shapes, with NumPy's and PyTorch's word for it; and what is asked of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from judge import assert_close, check_operator, leaves

import minidl
from minidl import Tensor


class Case(NamedTuple):
    """ours, numpy and torch each take the inputs, in their own kind of array; None: the same lines as ours."""

    ours: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    numpy: Callable[..., Any] | None = None
    torch: Callable[..., Any] | None = None
    positive: bool = False

    def arrays(self):
        """float64 inputs of both signs: no two values, signs aside, and no value and 0 come near each other."""
        rng = np.random.default_rng(3)
        arrays = []
        for i, shape in enumerate(self.shapes):
            n = int(np.prod(shape))
            values = 0.5 + (rng.permutation(n) + 0.5 + 0.317 * i) / max(n, 1)
            signs = 1 if self.positive else rng.choice([-1, 1], n)
            arrays.append((values * signs).reshape(shape))
        return arrays


def broadcasts(ours, numpy=None, torch=None, positive=False):
    """An operator of two inputs, on all the ways their shapes can meet."""
    meetings = {
        "equal shapes": ((2, 3), (2, 3)),
        "right is repeated": ((4, 2, 3), (3,)),
        "left is repeated": ((1,), (2, 3)),
        "both are repeated": ((2, 1, 3), (4, 1)),
        "left is a scalar": ((), (2, 3)),
        "right is a scalar": ((3, 2), ()),
        "two scalars": ((), ()),
        "sizes of one": ((1, 1), (1,)),
        "nothing": ((0, 3), (1, 3)),
        "nothing, repeated": ((2, 0), (2, 1)),
    }
    return {name: Case(ours, shapes, numpy, torch, positive) for name, shapes in meetings.items()}


def named(groups):
    """{group: {name: case}} or {group: case} -> {"group, name": case}"""
    cases = {}
    for group, members in groups.items():
        if isinstance(members, Case):
            cases[group] = members
        else:
            cases |= {f"{group}, {name}": case for name, case in members.items()}
    return cases


def check_value(case, device):
    """The value NumPy gives, in the same dtype, for float64 inputs; inputs of several tensors give several."""
    arrays = case.arrays()
    y = case.ours(*[Tensor(array, device=device) for array in arrays])
    expected = np.asarray((case.numpy or case.ours)(*arrays))
    assert y.dtype == expected.dtype
    assert str(y.device).startswith(device)
    assert_close(y, expected, 1e-13)


def check_derivatives(case, device):
    """First and second derivatives, recorded and not; manners; float32."""
    check_operator(case.ours, case.arrays(), device)
    check_recorded(case.ours, case.arrays(), device)
    if device == "cpu":
        minidl.gradgradcheck(case.ours, leaves(case.arrays(), device))


def check_recorded(function, arrays, device):
    """create_graph=True gives the same gradients, and they can be differentiated again."""
    inputs = leaves(arrays, device)
    g = Tensor(np.random.default_rng(4).standard_normal(function(*inputs).shape), requires_grad=True, device=device)
    plain = minidl.grad(function(*inputs), inputs, g)
    recorded = minidl.grad(function(*inputs), inputs, g, create_graph=True)
    for x, one, other in zip(inputs, plain, recorded, strict=True):
        assert (other.shape, other.dtype, other.device) == (x.shape, x.dtype, x.device)
        assert not one.requires_grad
        assert other.requires_grad
        assert_close(other, one, 1e-14)


def check_torch(case):
    """PyTorch's value and gradients for one random upstream gradient."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    ours, theirs = leaves(case.arrays(), "cpu"), [torch.tensor(array, requires_grad=True) for array in case.arrays()]
    y, expected = case.ours(*ours), (case.torch or case.ours)(*theirs)
    g = np.random.default_rng(5).standard_normal(y.shape)
    y.backward(g)
    expected.backward(torch.tensor(g))
    assert_close(y, expected.detach().numpy(), 1e-12)
    for x, other in zip(ours, theirs, strict=True):
        assert_close(x.grad, other.grad.numpy(), 1e-12)
