"""Options: what is accepted, and what is said when one is wrong."""

import numpy as np
import pytest

from minidl.ops.options import check_numbers, check_probability, check_sizes

WRONG = [
    (lambda: check_numbers("op", eps=1e-5, beta="1"), TypeError, "^op: beta must be a number, got '1'$"),
    (lambda: check_numbers("op", eps=None), TypeError, "^op: eps must be a number, got None$"),
    (lambda: check_numbers("op", eps=1j), TypeError, "^op: eps must be a number, got 1j$"),
    (lambda: check_probability("op", p=1.5), ValueError, "^op: expected a probability from 0 to 1, got p=1.5$"),
    (lambda: check_probability("op", p=-0.5), ValueError, "^op: expected a probability from 0 to 1, got p=-0.5$"),
    (
        lambda: check_probability("op", p=float("nan")),
        ValueError,
        "^op: expected a probability from 0 to 1, got p=nan$",
    ),
    (lambda: check_probability("op", p="0.5"), ValueError, "^op: expected a probability from 0 to 1, got p='0.5'$"),
    (lambda: check_sizes("op", size=3, groups=0), ValueError, "^op: groups must be an integer of at least 1, got 0$"),
    (lambda: check_sizes("op", size=2.0), ValueError, "^op: size must be an integer of at least 1, got 2.0$"),
    (lambda: check_sizes("op", size=True), ValueError, "^op: size must be an integer of at least 1, got True$"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_options(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_right_options():
    check_numbers("op", a=1, b=-0.5, c=np.float32(2), d=float("inf"))
    check_probability("op", a=0, b=1, c=np.float32(0.5))
    check_sizes("op", a=1, b=np.int64(7))
