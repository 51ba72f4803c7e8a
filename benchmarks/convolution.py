"""One 3×3 convolution, forward and backward: plain loops, im2col and one matrix product a chunk, and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minidl import Tensor, grad, naive
from minidl import functional as F


@dataclass(frozen=True)
class Case:
    """A batch of N images of size×size, C channels in, F filters of 3×3, padding 1, float32."""

    N: int
    size: int
    C: int
    F: int

    @property
    def macs(self) -> int:
        """Multiply-adds of the forward pass; the backward pass has twice as many."""
        return self.N * self.size**2 * 9 * self.C * self.F

    def __str__(self) -> str:
        return f"{self.N}×{self.size}×{self.size}×{self.C} → {self.F}"


SMALL = Case(N=2, size=8, C=4, F=8)  # what plain loops can do in a second
LARGE = Case(N=8, size=56, C=64, F=64)  # ResNet's most frequent layer

Result = tuple[np.ndarray, np.ndarray, np.ndarray]  # y, ∂L/∂x, ∂L/∂w: NHWC and (KH, KW, C, F)
Engine = tuple[Callable[[], object], Callable[[], Result]]  # forward; forward and backward


def inputs(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (N, H, W, C), w (3, 3, C, F) and the upstream gradient g (N, H, W, F), standard normal."""
    random = np.random.default_rng(0)
    x = random.standard_normal((case.N, case.size, case.size, case.C), dtype=np.float32)
    w = random.standard_normal((3, 3, case.C, case.F), dtype=np.float32)
    g = random.standard_normal((case.N, case.size, case.size, case.F), dtype=np.float32)
    return x, w, g


def minidl_engine(case: Case) -> Engine:
    """`functional.conv2d`, recording, and `grad`."""
    x, w, g = inputs(case)
    x_tensor, w_tensor, g_tensor = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True), Tensor(g)

    def both() -> Result:
        y = F.conv2d(x_tensor, w_tensor, padding=1)
        to_x, to_w = grad(y, [x_tensor, w_tensor], g_tensor)
        return y.numpy(), to_x.numpy(), to_w.numpy()

    return lambda: F.conv2d(x_tensor, w_tensor, padding=1), both


def naive_engine(case: Case) -> Engine:
    """The loops of `minidl/naive/`."""
    x, w, g = inputs(case)

    def both() -> Result:
        y = naive.conv2d(x, w, padding=1)
        to_x, to_w, _ = naive.conv2d_backward(g, x, w, padding=1)
        return y, to_x, to_w

    return lambda: naive.conv2d(x, w, padding=1), both


def torch_engine(case: Case, channels_last: bool) -> Engine:
    """PyTorch eager, in one of its two memory layouts."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, w, g = inputs(case)
    x_torch = torch.from_numpy(x.transpose(0, 3, 1, 2)).contiguous(memory_format=layout).requires_grad_()
    w_torch = torch.from_numpy(w.transpose(3, 2, 0, 1)).contiguous(memory_format=layout).requires_grad_()
    g_torch = torch.from_numpy(g.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    def both() -> Result:
        y = torch.nn.functional.conv2d(x_torch, w_torch, padding=1)
        to_x, to_w = torch.autograd.grad(y, [x_torch, w_torch], g_torch)
        return (
            y.detach().numpy().transpose(0, 2, 3, 1),
            to_x.numpy().transpose(0, 2, 3, 1),
            to_w.numpy().transpose(2, 3, 1, 0),
        )

    return lambda: torch.nn.functional.conv2d(x_torch, w_torch, padding=1), both


def check(case: Case, result: Result, samples: int = 200) -> None:
    """Compare an engine's answer with the definition in float64, at random places. Raises: AssertionError.

    y[n, p, q, f] and the two gradients are each the sum their definition says, over a window, over the filters that
    read a pixel, over the places a weight was used.
    """
    x, w, g = (array.astype(np.float64) for array in inputs(case))
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    x_padded, g_padded = np.pad(x, around), np.pad(g, around)
    y, to_x, to_w = result
    random = np.random.default_rng(1)
    for _ in range(samples):
        n, p, q = (random.integers(limit) for limit in (case.N, case.size, case.size))
        i, j, c, f = (random.integers(limit) for limit in w.shape)
        expected_y = (x_padded[n, p : p + 3, q : q + 3] * w[..., f]).sum()
        expected_x = (g_padded[n, p : p + 3, q : q + 3] * w[::-1, ::-1, c]).sum()
        expected_w = (x_padded[:, i : i + case.size, j : j + case.size, c] * g[..., f]).sum()
        np.testing.assert_allclose(y[n, p, q, f], expected_y, atol=1e-5 * abs(y).max())
        np.testing.assert_allclose(to_x[n, p, q, c], expected_x, atol=1e-5 * abs(to_x).max())
        np.testing.assert_allclose(to_w[i, j, c, f], expected_w, atol=1e-5 * abs(to_w).max())
