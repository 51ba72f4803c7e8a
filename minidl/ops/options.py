"""Options that ops and layers have in common, and what is said when one of them is wrong.

An option is a plain number or word, and is checked before anything is computed. (Tensors are checked in `broadcast`.)
"""

from __future__ import annotations

import numbers
from typing import Any


def check_numbers(op: str, **options: Any) -> None:
    """Raises: TypeError for options that are not real numbers."""
    for name, value in options.items():
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{op}: {name} must be a number, got {value!r}")


def check_probability(op: str, **options: float) -> None:
    """Raises: ValueError for options that are not numbers from 0 to 1."""
    for name, value in options.items():
        if not isinstance(value, numbers.Real) or not 0 <= value <= 1:
            raise ValueError(f"{op}: expected a probability from 0 to 1, got {name}={value!r}")


def check_sizes(op: str, **options: Any) -> None:
    """Raises: ValueError for options that are not positive integers."""
    for name, value in options.items():
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{op}: {name} must be an integer of at least 1, got {value!r}")
