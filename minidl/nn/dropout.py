"""Layers that drop: see `minidl.ops.dropout`."""

from __future__ import annotations

from typing import Any

from minidl import functional as F
from minidl.nn.module import Module


class Dropout(Module):
    """In training, each element is 0 with probability p and the others are divided by 1 − p."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: expected a probability from 0 to 1, got p={p!r}")
        self.p = p

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
