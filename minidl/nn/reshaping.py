"""Layers without weights that move elements: flatten."""

from __future__ import annotations

from typing import Any

from minidl.nn.module import Module


class Flatten(Module):
    """The axes from start_dim to end_dim made one: by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return x.flatten(self.start_dim, self.end_dim)


class Identity(Module):
    """x itself: a place kept for a layer that may be put there."""

    def forward(self, x: Any) -> Any:
        return x
