"""Layers that drop: see `minidl.ops.dropout`."""

from __future__ import annotations

from typing import Any

from minidl import functional as F
from minidl.nn.module import Module
from minidl.ops.options import check_probability


class Dropout(Module):
    """In training, each element is 0 with probability p and the others are divided by 1 − p."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_probability(type(self).__name__, p=p)
        self.p = p

    def forward(self, x: Any) -> Any:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """In training, each channel of each image (N, H, W, C) is 0 with probability p, the others divided by 1 − p."""

    def forward(self, x: Any) -> Any:
        return F.dropout2d(x, self.p, self.training)
