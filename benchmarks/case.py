"""What is measured: one computation, described so that every engine can build it.

    Case("conv/64@56/forward", "conv2d", FORWARD, (8, 56, 56, 64), {"filters": 64, "kernel": (3, 3), "padding": (1, 1)})

A case holds no arrays: each engine draws them in its own process (`inputs`). This file imports nothing, so that the
process of another engine has nothing of minidl in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORWARD = "forward"  # the output alone, as in inference
RECORDED = "forward, recorded"  # the output, and the graph for a backward pass that does not come
BACKWARD = "forward and backward"  # the output, and from its gradient those to the input and to all parameters
STEP = "training step"  # forward, cross-entropy, backward, SGD with momentum 0.9
EPOCH = "epoch"  # training steps over all images of the digits
START = "start"  # of a fresh interpreter that imports the engine
MODES = (FORWARD, RECORDED, BACKWARD, STEP, EPOCH, START)


@dataclass(frozen=True)
class Case:
    """One computation.

    name      group/what/mode, as in network/resnet18/inference: what `--cases` patterns are matched with
    what      "block" or "network", and options say which; "import"; otherwise the operation, such as "conv2d"
    mode      one of `MODES`
    shape     of the input: (N, H, W, C) for images, () where there is none
    options   what else there is to know
    threads   of each engine; None for the number that the whole run has
    everyone  small enough for engines that are not made for speed, too
    seconds   for how long rounds go on
    """

    name: str
    what: str
    mode: str
    shape: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    everyone: bool = False
    seconds: float = 3.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Case: mode must be one of {', '.join(map(repr, MODES))}; got {self.mode!r}")

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]

    @property
    def batch(self) -> int:
        """How many images there are; 1 where there are none."""
        return self.shape[0] if len(self.shape) == 4 else 1

    @property
    def trains(self) -> bool:
        """Whether normalisation and dropout work as in training."""
        return self.mode in (BACKWARD, STEP, EPOCH)

    @property
    def output_size(self) -> tuple[int, int]:
        """OH and OW of a convolution or pooling."""
        stride, padding = self.options.get("stride", 1), self.options.get("padding", (0, 0))
        sizes = zip(self.shape[1:3], padding, self.options["kernel"], strict=True)
        OH, OW = ((n + 2 * p - k) // stride + 1 for n, p, k in sizes)
        return OH, OW
