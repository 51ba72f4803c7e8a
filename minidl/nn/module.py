"""Module: a piece of a network that knows its parameters, its buffers and the modules inside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from minidl.backend import Device, active, device_of, is_array, is_floating, to_device, to_host
from minidl.backend import device as as_device
from minidl.nn.init import is_placeholder, making_placeholders
from minidl.tensor import Tensor, raw


class Parameter(Tensor):
    """A tensor that is learnt. Assigned to an attribute of a Module, it becomes one of its parameters."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None, device: Any = None) -> None:
        if making_placeholders() and is_placeholder(raw(data)):  # a copy would have the memory that it does without
            super().__init__(np.zeros((), data.dtype if dtype is None else dtype), requires_grad)
            self.data = np.broadcast_to(self.data, data.shape)
        else:
            super().__init__(data, requires_grad, dtype, device)


class Hook:
    """A function that a module calls before or after each `forward`, until `remove()` or the end of a `with` block."""

    def __init__(self, module: Module, place: str, function: Callable[..., None]) -> None:
        if not callable(function):
            raise TypeError(f"hook of {type(module).__name__}: expected a function, got {type(function).__name__}")
        self._module, self._place, self._function = module, place, function
        setattr(module, place, (*getattr(module, place), function))

    def remove(self) -> None:
        """Call it no more. What was removed already stays removed."""
        others = (function for function in getattr(self._module, self._place) if function is not self._function)
        setattr(self._module, self._place, tuple(others))

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Module:
    """The base of every layer and network. Derive from it, assign parts in `__init__`, compute in `forward`:

        class Affine(Module):
            def __init__(self, inputs, outputs):
                super().__init__()
                self.weight = Parameter(nn.init.kaiming_uniform((inputs, outputs)))

            def forward(self, x):
                return x @ self.weight

    Attributes that are Parameters or Modules are found by `parameters()`, `state_dict()` and the rest; a tensor that
    is part of the state but not learnt (a running mean) is announced with `register_buffer`.
    """

    _before_forward: tuple[Callable[..., None], ...] = ()
    _after_forward: tuple[Callable[..., None], ...] = ()

    def __init__(self) -> None:
        # The order of assignment is the order of everything below. Filled by __setattr__.
        self._parameters: dict[str, Parameter] = {}
        self._buffers: dict[str, Tensor] = {}
        self._modules: dict[str, Module] = {}
        self.training = True

    def forward(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward is not written")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What `forward` computes, with the hooks before and after it.

        An error inside gets a note that names the layer in which it happened.
        """
        try:
            for before in self._before_forward:
                before(self, inputs)
            output = self.forward(*inputs, **options)
            for after in self._after_forward:
                after(self, inputs, output)
            return output
        except Exception as error:
            _note_layer(error, self)
            raise

    # -- watching

    def register_forward_pre_hook(self, hook: Callable[[Module, tuple[Any, ...]], None]) -> Hook:
        """Call hook(module, inputs) each time before `forward`, until the Hook that is returned is removed."""
        return Hook(self, "_before_forward", hook)

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], None]) -> Hook:
        """Call hook(module, inputs, output) each time after `forward`, until the Hook that is returned is removed.

            with net.layer1.register_forward_hook(lambda module, inputs, output: print(output.shape)):
                net(images)

        A hook only watches: what it returns is not looked at.
        """
        return Hook(self, "_after_forward", hook)

    # -- registration

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter | Module):
            self._require_init(name)
        if type(value) is Tensor and name in self.__dict__.get("_parameters", {}):
            raise TypeError(f"{name} is a parameter: assign a Parameter, or change its .data")
        belongs = {
            "_parameters": isinstance(value, Parameter),
            "_buffers": type(value) is Tensor and name in self.__dict__.get("_buffers", {}),  # a buffer stays one
            "_modules": isinstance(value, Module),
        }
        for registry, here in belongs.items():
            if here:
                self.__dict__[registry][name] = value  # in the place of what had this name before
            else:
                self.__dict__.get(registry, {}).pop(name, None)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            registry.pop(name, None)
        object.__delattr__(self, name)

    def register_buffer(self, name: str, value: Tensor) -> None:
        """Make `value` part of the state under `name`: saved and moved with the module, not learnt."""
        self._require_init(name)
        if not isinstance(value, Tensor) or isinstance(value, Parameter):
            raise TypeError(f"register_buffer: {name} must be a Tensor that is not learnt, got {type(value).__name__}")
        setattr(self, name, value)
        self._buffers[name] = value

    def _require_init(self, name: str) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}.__init__ must call super().__init__() before assigning {name!r}"
            )

    # -- looking inside

    def children(self) -> Iterator[Module]:
        """The modules assigned to this one's attributes."""
        return iter(self._modules.values())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """`children()` with their attribute names."""
        return iter(self._modules.items())

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, at any depth; each once, outer before inner."""
        return (module for _, module in self.named_modules())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """`modules()` with their dotted names; this module's own name is empty."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            prefix = f"{name}." if name else ""
            stack.extend((prefix + key, child) for key, child in reversed(module._modules.items()))

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter of this module and those inside it, each once, even where two modules share it."""
        return (parameter for _, parameter in self.named_parameters())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """`parameters()` with their dotted names."""
        return self._named_tensors("_parameters")

    def buffers(self) -> Iterator[Tensor]:
        """Every buffer of this module and those inside it."""
        return (buffer for _, buffer in self.named_buffers())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """`buffers()` with their dotted names."""
        return self._named_tensors("_buffers")

    def _named_tensors(self, registry: str) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, tensor in getattr(module, registry).items():
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{prefix}.{name}" if prefix else name, tensor

    # -- state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Parameters and buffers by dotted name, copied to the host, module by module."""
        return {name: to_host(tensor.data).copy() for name, tensor in self._state()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take parameters and buffers from `state` (arrays or Tensors by dotted name), in this module's dtypes.

        strict   every name must be there, and no other. Otherwise only what is there is loaded.

        Raises: ValueError listing all missing, unexpected and mis-shaped names; then nothing has been changed.
        """
        own = dict(self._state())
        problems = [
            f"shape of {name}: expected {own[name].shape}, got {_shape(state[name])}"
            for name in own
            if name in state and own[name].shape != _shape(state[name])
        ]
        if strict:
            problems = [
                *(f"missing: {name}" for name in own if name not in state),
                *(f"unexpected: {name}" for name in state if name not in own),
                *problems,
            ]
        if problems:
            raise ValueError(
                f"load_state_dict: the state does not fit {type(self).__name__}:\n  " + "\n  ".join(problems)
            )
        loaded = {
            name: to_device(np.array(_host(state[name]), dtype=own[name].dtype, order="C"), own[name].device)
            for name in own
            if name in state
        }
        for name, array in loaded.items():
            own[name].data = array

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self.named_modules():
            for name, tensor in {**module._parameters, **module._buffers}.items():
                yield f"{prefix}.{name}" if prefix else name, tensor

    # -- changing all of it

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all inside it to training (batch statistics, dropout) or out of it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to inference: `train(False)`."""
        return self.train(False)

    def to(self, device: str | Device | None = None, dtype: Any = None) -> Module:
        """Move all parameters and buffers to `device`, and the floating ones to `dtype`. Gradients are dropped.

        Arrays that are there already stay what they are.
        """
        if dtype is not None and not is_floating(dtype):
            raise TypeError(f"{type(self).__name__}.to: expected a floating dtype, got {np.dtype(dtype)}")
        try:
            target = None if device is None else as_device(device)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}.to: {error}; for a dtype write .to(dtype=...)") from None
        for _, tensor in self._state():
            array = tensor.data if target is None else to_device(tensor.data, target)
            if dtype is not None and is_floating(array.dtype):
                with active(device_of(array)):
                    array = array.astype(dtype, copy=False)
            if array is not tensor.data:
                tensor.data = array
            tensor.zero_grad()
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def apply(self, function: Callable[[Module], None]) -> Module:
        """Call `function` on every module inside, inner ones first, and on this one."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    # -- printing

    def extra_repr(self) -> str:
        """What `repr` shows in the parentheses after the class name; layers show their options."""
        return ""

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self._modules:
            return f"{name}({self.extra_repr()})"
        lines = [f"({keys}): {text}" for keys, text in _grouped({k: repr(m) for k, m in self._modules.items()})]
        inside = "\n".join(lines).replace("\n", "\n  ")
        return f"{name}({self.extra_repr()}\n  {inside}\n)"


def _grouped(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Key and text of each; neighbours with one text as one: ("1-3", "3 × " + text)."""
    for text, group in itertools.groupby(texts, key=lambda key: texts[key]):
        keys = list(group)
        yield (keys[0], text) if len(keys) == 1 else (f"{keys[0]}-{keys[-1]}", f"{len(keys)} × {text}")


def _note_layer(error: Exception, module: Module) -> None:
    """Note on the way out of `module`, from the inside to the outside, where in it the error happened.

    The note of an inner module is replaced: at the end there is one, with the innermost module and its dotted name in
    the outermost.
    """
    innermost, note = getattr(error, "_layer", (module, ""))
    names = [name for name, inside in module.named_modules() if inside is innermost]
    if not names:  # called by a module that does not hold it: what is known stays
        return
    kept = [other for other in getattr(error, "__notes__", []) if other != note]
    described = repr(innermost) if not innermost._modules else type(innermost).__name__
    note = f"in layer {names[0]} of {type(module).__name__}: {described}" if names[0] else f"in {described}"
    error.__notes__ = [*kept, note]
    error._layer = (innermost, note)  # type: ignore[attr-defined]


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)


def _host(value: Any) -> np.ndarray:
    array = raw(value)
    return to_host(array) if is_array(array) else np.asarray(array)
