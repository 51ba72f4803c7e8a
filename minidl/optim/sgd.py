"""Stochastic gradient descent: downhill along the gradient of one batch, with a memory of where it was going."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from minidl.backend import Array, array_module
from minidl.kernels.elementwise import in_pieces
from minidl.optim.optimizer import Optimizer, Options, checked_number


class SGD(Optimizer):
    """Gradient descent with momentum. With g the gradient of the loss to θ, a step is

        g ← g + weight_decay · θ
        v ← momentum · v + (1 − dampening) · g        the first time, v ← g
        g ← g + momentum · v  with nesterov, otherwise  g ← v
        θ ← θ − lr · g

    lr            how far to go
    momentum      how much of the velocity v stays from one step to the next; without it, g is used as it is
    weight_decay  λ: adds the gradient of the penalty ½ λ ‖θ‖² (nothing is added to the reported loss)

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", eq. 1-4, in
    PyTorch's form: lr multiplies v instead of the g inside it, and with nesterov θ is eq. 3's look-ahead point.
    Raises: ValueError for a number out of range, and for nesterov without momentum or with dampening.
    """

    _arrays: ClassVar[tuple[str, ...]] = ("velocity",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov)
        super().__init__(params, defaults)

    def _checked(self, options: Options) -> Options:
        names = ("lr", "momentum", "dampening", "weight_decay")
        checked: Options = {name: checked_number(self, name, options[name]) for name in names}
        checked["nesterov"] = bool(options["nesterov"])
        if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov needs momentum above 0 and dampening 0, got momentum={checked['momentum']:g} and "
                f"dampening={checked['dampening']:g}"
            )
        return checked

    def _update(self, p: Array, g: Array, state: dict[str, Any], options: Options) -> None:
        momentum, weight_decay = options["momentum"], options["weight_decay"]
        first = "velocity" not in state
        if momentum and first:
            state["velocity"] = array_module(p).empty_like(p)

        def step(p: Array, g: Array, velocity: Array | None = None) -> None:
            if weight_decay:
                g = g + weight_decay * p
            if velocity is not None:
                if first:
                    velocity[...] = g
                else:
                    velocity *= momentum
                    velocity += (1 - options["dampening"]) * g if options["dampening"] else g
                g = g + momentum * velocity if options["nesterov"] else velocity
            p -= options["lr"] * g

        in_pieces(step, p, g, *([state["velocity"]] if momentum else []))
