"""Schedules: the learning rate as a function of t, the number of `step()` calls so far.

    schedule = CosineAnnealingLR(optimizer, T_max=20)
    for epoch in range(20):
        ...                     # an epoch of training, with the learning rate of t = epoch
        schedule.step()

Each has a closed form: the learning rate follows from t alone, and does not depend on how t was reached. Whether t
counts epochs or batches is the caller's choice.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar

from minidl.optim.optimizer import Optimizer, checked_number


class Schedule:
    """The base of every schedule. A new one derives from it and writes `lr`.

    The learning rates that the optimizer's groups have when the schedule is made are its base learning rates. Making it
    sets those of t = 0.
    """

    _settings: ClassVar[tuple[str, ...]] = ()  # the attributes that `lr` depends on

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an Optimizer, got a {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.base_lrs: list[float] = [group["lr"] for group in optimizer.param_groups]
        self._go_to(0)

    def lr(self, base_lr: float, t: int) -> float:
        """The learning rate after t steps of a group that has `base_lr`."""
        raise NotImplementedError(f"{type(self).__name__}.lr is not written")

    def step(self) -> None:
        """Go on to the next t: set the learning rate of every group."""
        self._go_to(self.t + 1)

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _go_to(self, t: int) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise RuntimeError(
                f"{type(self).__name__}: the optimizer had {len(self.base_lrs)} parameter group(s) when the schedule "
                f"was made and has {len(groups)} now; make the schedule after the last add_param_group"
            )
        for group, base_lr in zip(groups, self.base_lrs, strict=True):
            group["lr"] = self.lr(base_lr, t)
        self.t = t

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is and the settings it depends on: plain numbers, for a checkpoint."""
        settings = {name: getattr(self, name) for name in self._settings}
        return {"kind": type(self).__name__, **settings, "base_lrs": list(self.base_lrs), "t": self.t}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict()` was taken; this sets the optimizer's learning rates too.

        Raises: ValueError when the state is of another kind, has other settings or another number of groups; the
        schedule then stays as it is.
        """
        where = f"{type(self).__name__}.load_state_dict"
        own = self.state_dict()
        missing = [name for name in own if name not in state]
        if missing:
            raise ValueError(f"{where}: the state has no {missing}; expected the state_dict() of a {own['kind']}")
        for name in ("kind", *self._settings):
            if state[name] != own[name]:
                raise ValueError(
                    f"{where}: the state was saved with {name}={state[name]}, this schedule has {name}={own[name]}; "
                    "to continue, make the schedule as it was"
                )
        if len(state["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{where}: the state was saved for {len(state['base_lrs'])} group(s) of parameters, "
                f"this optimizer has {len(self.base_lrs)}"
            )
        self.base_lrs = list(state["base_lrs"])
        self._go_to(state["t"])

    def _integer(self, name: str, value: Any, at_least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < at_least:
            raise ValueError(f"{type(self).__name__}: {name} must be an integer of at least {at_least}, got {value!r}")
        return int(value)


class StepLR(Schedule):
    """The learning rate times gamma after every `step_size` steps:  lr(t) = base_lr · gamma^⌊t / step_size⌋."""

    _settings: ClassVar[tuple[str, ...]] = ("step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = self._integer("step_size", step_size, at_least=1)
        self.gamma = checked_number(self, "gamma", gamma)
        super().__init__(optimizer)

    def lr(self, base_lr: float, t: int) -> float:
        return base_lr * self.gamma ** (t // self.step_size)


class CosineAnnealingLR(Schedule):
    """Up a straight line for `warmup` steps, then down half a cosine to eta_min at t = T_max, where it stays.

        t < warmup   lr(t) = base_lr · (t + 1) / (warmup + 1)
        otherwise    lr(t) = eta_min + ½ (base_lr − eta_min) · (1 + cos(π · (t − warmup) / (T_max − warmup)))

    The line reaches base_lr at t = warmup, where the cosine starts, and the first step is not lost to lr = 0.

    Sources: the cosine, Loshchilov & Hutter, SGDR, arXiv 1608.03983, eq. 5, without restarts (PyTorch's goes up again
    after T_max); the warm-up, Goyal et al., arXiv 1706.02677, §2.2. Raises: ValueError unless 0 ≤ warmup < T_max.
    """

    _settings: ClassVar[tuple[str, ...]] = ("T_max", "eta_min", "warmup")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, warmup: int = 0) -> None:
        self.T_max = self._integer("T_max", T_max, at_least=1)
        self.eta_min = checked_number(self, "eta_min", eta_min)
        self.warmup = self._integer("warmup", warmup, at_least=0)
        if self.warmup >= self.T_max:
            raise ValueError(f"CosineAnnealingLR: warmup={warmup} leaves nothing of T_max={T_max} for the cosine")
        super().__init__(optimizer)

    def lr(self, base_lr: float, t: int) -> float:
        if t < self.warmup:
            return base_lr * (t + 1) / (self.warmup + 1)
        progress = min((t - self.warmup) / (self.T_max - self.warmup), 1.0)
        return self.eta_min + (base_lr - self.eta_min) * (1 + math.cos(math.pi * progress)) / 2
