"""What layers do with their options: check them, and print those that differ from the defaults."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from typing import Any


def check_sizes(layer: str, **sizes: int) -> None:
    """Raises: ValueError for a size that is not a positive integer."""
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(f"{layer}: {name} must be an integer of at least 1, got {size!r}")


def listing(function: Callable[..., Any], options: dict[str, Any]) -> str:
    """The options that differ from the defaults of `function`, as `name=value`."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    return ", ".join(f"{name}={value}" for name, value in options.items() if value != defaults[name])
