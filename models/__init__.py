"""The architectures, built only from `minidl.nn` and `minidl.functional`, and read like their papers' tables.

net = models.create("resnet_small", num_classes=10, in_channels=1)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from minidl.nn import Module
from models.googlenet import inception_small
from models.repvgg import repvgg_small
from models.resnet import resnet_small
from models.vgg import vgg_small

_BUILDERS: dict[str, Callable[..., Module]] = {
    builder.__name__: builder for builder in (vgg_small, inception_small, repvgg_small, resnet_small)
}


def names() -> list[str]:
    """The names that `create` knows."""
    return list(_BUILDERS)


def create(name: str, num_classes: int = 10, in_channels: int = 1) -> Module:
    """A new network with random weights. Raises: ValueError for an unknown name, with the ones closest to it."""
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_BUILDERS)}"
        raise ValueError(f"unknown model {name!r}: {hint}")
    return _BUILDERS[name](num_classes=num_classes, in_channels=in_channels)
