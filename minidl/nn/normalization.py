"""Layers that normalise: see `minidl.ops.norm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import functional as F
from minidl.nn.module import Module, Parameter
from minidl.nn.options import check_sizes
from minidl.tensor import Tensor


class BatchNorm2d(Module):
    """Batch normalisation of images (N, H, W, C), or of rows (N, C), for each channel: see `functional.batch_norm`.

    momentum  how far the running statistics move towards a batch's; None averages all batches equally
    affine    learn a weight (initially 1) and a bias (initially 0)
    track_running_stats   keep running statistics; without them inference normalises by the batch as well
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        check_sizes("BatchNorm2d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean: Any = None
        self.running_var: Any = None
        self.num_batches_tracked: Any = None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(0))

    def forward(self, x: Any) -> Any:
        moves = self.training and self.num_batches_tracked is not None
        momentum: Any = self.momentum
        if moves:
            count = self.num_batches_tracked + 1
            momentum = (1 / count.astype(self.running_mean.dtype)).data if momentum is None else momentum
        y = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )
        if moves:
            self.num_batches_tracked.data = count.data
        return y

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
