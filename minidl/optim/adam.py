"""Adam and AdamW: every element gets a step size of its own, from the history of its gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from minidl.backend import Array, array_module
from minidl.optim.optimizer import Optimizer, Options, checked_number


class Adam(Optimizer):
    """Adaptive moment estimation. With g the gradient of the loss to θ, step number t = 1, 2, ... is

        g ← g + weight_decay · θ
        m ← β₁ · m + (1 − β₁) · g              the running mean of g, and
        v ← β₂ · v + (1 − β₂) · g²             of its square: both start at 0, and so are too small by
        m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)  a factor that is known
        θ ← θ − lr · m̂ / (√v̂ + ε)

    The first step moves every element by nearly lr, however large or small its gradient is.

    Source: Kingma & Ba, arXiv 1412.6980, Algorithm 1. Raises: ValueError for a number out of range; the betas must lie
    in [0, 1).
    """

    _arrays: ClassVar[tuple[str, ...]] = ("m", "v")
    _counts: ClassVar[tuple[str, ...]] = ("step",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    def _checked(self, options: Options) -> Options:
        betas = options["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(f"{type(self).__name__}: betas must be two numbers, got {betas!r}")
        checked: Options = {name: checked_number(self, name, options[name]) for name in ("lr", "eps", "weight_decay")}
        checked["betas"] = tuple(checked_number(self, f"betas[{i}]", beta, below=1) for i, beta in enumerate(betas))
        return checked

    def _update(self, p: Array, g: Array, state: dict[str, Any], options: Options) -> None:
        if options["weight_decay"]:
            g = g + options["weight_decay"] * p
        self._adapt(p, g, state, options)

    def _adapt(self, p: Array, g: Array, state: dict[str, Any], options: Options) -> None:
        """Adam's step without weight decay."""
        xp = array_module(p)
        if not state:
            state.update(step=0, m=xp.zeros_like(p), v=xp.zeros_like(p))
        state["step"] += 1
        t, m, v = state["step"], state["m"], state["v"]
        beta1, beta2 = options["betas"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * (g * g)
        root = xp.sqrt(v) / math.sqrt(1 - beta2**t)  # √v̂
        p -= (options["lr"] / (1 - beta1**t)) * m / (root + options["eps"])


class AdamW(Adam):
    """Adam with decoupled weight decay: it shrinks θ directly and does not pass through m and v.

        θ ← θ − lr · weight_decay · θ
        θ ← θ − lr · m̂ / (√v̂ + ε)              with m̂ and v̂ of the gradient alone

    In Adam the decay is divided by √v̂ too, and so acts least where gradients are large.

    Source: Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2; as in PyTorch, the decay is multiplied by lr.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, p: Array, g: Array, state: dict[str, Any], options: Options) -> None:
        p *= 1 - options["lr"] * options["weight_decay"]
        self._adapt(p, g, state, options)
