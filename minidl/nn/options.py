"""How a layer prints its options: those that differ from the defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from minidl.nn.module import Module


def described(layer: Module, kind: type[Module]) -> str:
    """The options of a layer of this kind that differ from their defaults: each is an attribute of its name."""
    return listing(kind, {name: getattr(layer, name) for name in inspect.signature(kind).parameters})


def listing(function: Callable[..., Any], options: dict[str, Any]) -> str:
    """The options that differ from the defaults of `function`, as `name=value`."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    return ", ".join(f"{name}={value}" for name, value in options.items() if value != defaults[name])
