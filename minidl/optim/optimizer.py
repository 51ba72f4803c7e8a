"""Optimizer: what all optimizers share. Groups of parameters, the loop over them, and the state in a checkpoint.

    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

An optimizer's own file has only its rule: how one parameter changes, given its gradient.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from minidl.backend import Array, active, device_of, to_device, to_host
from minidl.kernels.elementwise import copied
from minidl.tensor import Tensor

Options = dict[str, Any]


def checked_number(owner: object, name: str, value: Any, below: float = math.inf) -> float:
    """`value` as a float. Raises: ValueError, naming the owner's class, unless 0 ≤ value < below (NaN is not)."""
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < below:
        limit = "" if below == math.inf else f" and below {below:g}"
        raise ValueError(f"{type(owner).__name__}: {name} must be a finite number of at least 0{limit}, got {value!r}")
    return float(value)


class Optimizer:
    """The base of every optimizer. A new one derives from it and writes `_update` and `_checked`.

    params    parameters; or groups, a list of dicts such as {"params": [...], "lr": 0.01}: an option that a group
              does not mention has its default
    defaults  the options of a group that says nothing: the learning rate and whatever else the rule needs

    `param_groups` is the list of these dicts, complete; a schedule changes the lr in them. `state` has what the rule
    remembers for each parameter that has been updated, in memory of its own.

    Raises: TypeError for what is not a parameter; ValueError for no parameters, one that is given twice, and an option
    that is unknown or out of range.
    """

    # What the rule keeps in `state` for each parameter: arrays of the parameter's shape, and Python integers.
    _arrays: ClassVar[tuple[str, ...]] = ()
    _counts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Any], defaults: Options) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
            raise TypeError(
                f"{name}: expected a list of parameters or of groups, got a {type(params).__name__}; "
                "write model.parameters(), or [parameter]"
            )
        given = list(params)
        if not given:
            raise ValueError(f"{name}: got no parameters; model.parameters() can be used up only once")
        self.defaults = self._checked(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}  # a Tensor's hash is its identity
        for group in given if all(isinstance(item, Mapping) for item in given) else [{"params": given}]:
            self.add_param_group(group)
        if not any(True for _ in self._parameters()):
            raise ValueError(f"{name}: got no parameters; all {len(given)} groups are empty")

    # -- groups

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimize more parameters from now on: {"params": parameters, **options that differ from the defaults}."""
        where = f"{type(self).__name__}: group {len(self.param_groups)}"
        options = dict(group)
        if "params" not in options:
            raise ValueError(f'{where}: "params" is missing; expected a dict like {{"params": [...], "lr": 0.01}}')
        params = options.pop("params")
        params = [params] if isinstance(params, Tensor) else list(params)
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise ValueError(f"{where}: unknown options {unknown}; the options are {', '.join(self.defaults)}")
        seen = set(self._parameters())
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                hint = "; write model.parameters(), not named_parameters()" if isinstance(p, tuple) else ""
                raise TypeError(f"{where}: parameter {i} must be a Parameter, got a {type(p).__name__}{hint}")
            if not p.is_leaf:
                raise ValueError(
                    f"{where}: parameter {i} was computed by {type(p.source).__name__}; only leaves are optimized"
                )
            if p in seen:
                raise ValueError(f"{where}: parameter {i}, of shape {p.shape}, is given twice; it would move twice")
            seen.add(p)
        self.param_groups.append({"params": params, **self._checked({**self.defaults, **options})})

    def _parameters(self) -> Iterator[Tensor]:
        """All parameters, group by group."""
        return (p for group in self.param_groups for p in group["params"])

    # -- learning

    def zero_grad(self) -> None:
        """Forget the gradients: `backward()` adds to what is there."""
        for p in self._parameters():
            p.zero_grad()

    def step(self) -> None:
        """Change each parameter by its gradient. Those without a gradient stay as they are.

        Nothing is read back from a GPU: counters and learning rates are Python numbers.
        """
        self._check_places()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    with active(p.device):
                        array = copied(p.data)  # a graph, or a view such as p.T, may still need the old values
                        self._update(array, p.grad.data, self.state.setdefault(p, {}), group)
                        p.data = array

    def _update(self, p: Array, g: Array, state: dict[str, Any], options: Options) -> None:
        """The rule: write to `p` and to the arrays in `state` (empty at first), and to neither `g` nor `options`."""
        raise NotImplementedError(f"{type(self).__name__}._update is not written")

    def _checked(self, options: Options) -> Options:
        """`options` as plain Python values. Raises: ValueError for a value that makes no sense."""
        raise NotImplementedError(f"{type(self).__name__}._checked is not written")

    def _check_places(self) -> None:
        """Raise, before anything has changed, if a parameter has been moved away from what is remembered for it."""
        for p, state in self.state.items():
            for name in self._arrays:
                if name in state and (device_of(state[name]), state[name].dtype) != (p.device, p.dtype):
                    raise RuntimeError(
                        f"{type(self).__name__}.step: a parameter of shape {p.shape} is {p.dtype} on {p.device}, its "
                        f"{name} {state[name].dtype} on {device_of(state[name])}; move the model before the first "
                        "step, or call optimizer.load_state_dict(optimizer.state_dict()) after moving it"
                    )

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on besides the parameters: host arrays, numbers and strings.

            {"kind": "SGD", "param_groups": [{"shapes": [...], "lr": ..., ...}], "state": {"0": {...}, "1": {...}}}

        Parameters are numbered through all groups; those for which nothing is remembered have no entry in "state".
        """
        groups = []
        for group in self.param_groups:
            options = {k: list(v) if isinstance(v, tuple) else v for k, v in group.items() if k != "params"}
            groups.append({"shapes": [list(p.shape) for p in group["params"]], **options})
        state = {
            str(i): {k: to_host(v).copy() if k in self._arrays else v for k, v in self.state[p].items()}
            for i, p in enumerate(self._parameters())
            if self.state.get(p)
        }
        return {"kind": type(self).__name__, "param_groups": groups, "state": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict()` was taken: its options, and what it remembers in the parameters' dtypes.

        Raises: ValueError when it comes from another kind of optimizer, or from groups of other sizes or shapes; the
        optimizer then stays as it is.
        """
        where = f"{type(self).__name__}.load_state_dict"
        missing = [name for name in ("kind", "param_groups", "state") if name not in state]
        if missing:
            raise ValueError(f"{where}: the state has no {missing}; expected an optimizer's state_dict()")
        if state["kind"] != type(self).__name__:
            raise ValueError(f"{where}: the state was saved by {state['kind']}; make that optimizer to continue")
        self._check_groups(where, state["param_groups"])
        self._check_remembered(where, state["state"])
        options = [self._checked({name: saved[name] for name in self.defaults}) for saved in state["param_groups"]]
        remembered = {
            p: {
                k: to_device(np.array(v, dtype=p.dtype), p.device) if k in self._arrays else v
                for k, v in state["state"][str(i)].items()
            }
            for i, p in enumerate(self._parameters())
            if str(i) in state["state"]
        }
        for group, saved_options in zip(self.param_groups, options, strict=True):
            group.update(saved_options)
        self.state = remembered

    def _check_groups(self, where: str, saved_groups: list[dict[str, Any]]) -> None:
        """Raise unless the state was saved for groups like ours."""
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(
                f"{where}: the state has {len(saved_groups)} group(s) of parameters, this optimizer has "
                f"{len(self.param_groups)}"
            )
        for i, (group, saved) in enumerate(zip(self.param_groups, saved_groups, strict=True)):
            missing = [name for name in ("shapes", *self.defaults) if name not in saved]
            if missing:
                raise ValueError(f"{where}: group {i} of the state has no {missing}")
            shapes, saved_shapes = [p.shape for p in group["params"]], [tuple(shape) for shape in saved["shapes"]]
            if len(shapes) != len(saved_shapes):
                raise ValueError(
                    f"{where}: group {i} has {len(shapes)} parameter(s), the state was saved for {len(saved_shapes)}"
                )
            for j, (shape, saved_shape) in enumerate(zip(shapes, saved_shapes, strict=True)):
                if shape != saved_shape:
                    raise ValueError(
                        f"{where}: parameter {j} of group {i} has shape {shape}, the state was saved for {saved_shape}"
                    )

    def _check_remembered(self, where: str, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise unless what is remembered belongs to our parameters and is complete."""
        parameters = {str(i): p for i, p in enumerate(self._parameters())}
        expected = {*self._arrays, *self._counts}
        for key, remembered in saved.items():
            if key not in parameters:
                raise ValueError(f"{where}: the state is for a parameter {key!r}, there are {len(parameters)}, from 0")
            if set(remembered) != expected:
                raise ValueError(
                    f"{where}: the state of parameter {key} has {sorted(remembered)}, expected {sorted(expected)}"
                )
            for name in self._arrays:
                if np.shape(remembered[name]) != parameters[key].shape:
                    raise ValueError(
                        f"{where}: {name} of parameter {key} has shape {np.shape(remembered[name])}, "
                        f"the parameter {parameters[key].shape}"
                    )
