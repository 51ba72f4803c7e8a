"""A network in numbers, layer by layer: shapes, parameters, multiply-adds, activations, receptive fields.

    print(summary(models.create("resnet18"), (224, 224, 3)))

Nothing is computed (see `tracing`), and the network stays as it is.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.backend import CPU, generator_state, set_generator_state
from minidl.inspection.tables import Layer, grid
from minidl.inspection.tracing import Field, Follower, Shape, Step, following, placeholder
from minidl.nn import Module
from minidl.tensor import Tensor


@dataclass
class Summary:
    """The layers of a network, in the order in which they begin to compute, and their sums.

    The layer with the empty name and depth 0 is the network itself. Layers that were not run, such as auxiliary heads
    in inference, come last, when they have parameters.
    """

    kind: str
    input_shape: Shape
    layers: list[Layer]
    computed: set[str] = field(default_factory=set)  # operations that no rule is known for, and so were computed

    def __str__(self) -> str:
        """The table of all layers."""
        return str(grid(self.rows(), self[""]))

    def __getitem__(self, name: str) -> Layer:
        """The layer of this dotted name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"{self.kind} has no layer {name!r} that was run or has parameters")

    @property
    def parameters(self) -> int:
        """How many numbers are learnt, in layers that were run or were not; shared ones count once."""
        return self[""].parameters

    @property
    def macs(self) -> int:
        """Multiply-adds of all convolutions and matrix products, for one image."""
        return self[""].macs

    @property
    def activation_bytes(self) -> int:
        """Memory of all results, for one image."""
        return self[""].activation_bytes

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        totals = {name: getattr(self, name) for name in ("parameters", "macs", "activation_bytes")}
        layers = [layer.as_dict() for layer in self.layers[1:]]
        return {"model": self.kind, "input_shape": list(self.input_shape), **totals, "layers": layers}

    def rows(self, depth: int | None = None) -> list[Layer]:
        """The layers down to `depth`, without the network itself."""
        return [layer for layer in self.layers[1:] if depth is None or layer.depth <= depth]


def summary(model: Module, input_shape: Shape, training: bool = False) -> Summary:
    """What `model` computes for one input of `input_shape`, such as (224, 224, 3): without the batch.

    training   run it as in training, with its auxiliary heads; otherwise as in inference. (Layers without layers inside
               are run as in inference always: normalisation would move its statistics.)

    The model keeps its mode, weights and statistics, and the random numbers that follow are the same as without. On a
    model made inside `nn.init.placeholders()` it works as well.

    Raises: TypeError for what is no Module; ValueError for an input_shape that is not a tuple of sizes, and for a model
    that is not on the CPU; and what the model raises for such an input, with a note that names the layer.
    """
    if not isinstance(model, Module):
        raise TypeError(f'summary: expected a Module, such as models.create("resnet18"), got {model!r:.60}')
    sizes = _sizes(input_shape)
    if elsewhere := {str(tensor.device) for _, tensor in model._state() if tensor.device != CPU}:
        raise ValueError(
            f"summary: expected a model on the CPU, got one on {', '.join(sorted(elsewhere))}; "
            'count a copy of it: summary(copy.deepcopy(model).to("cpu"), ...)'
        )
    recorder = _Recorder(model)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    image = Tensor._wrap(placeholder((1, *sizes), dtype))
    with following(recorder.see) as follower, borrowed(model), recorder.watching(follower):
        for module in model.modules():
            module.training = training and any(module.children())
        if len(sizes) == 3:
            follower.enter(image.data)
        model(image)
    return Summary(type(model).__name__, sizes, recorder.finished(), recorder.computed)


def _sizes(input_shape: Any) -> Shape:
    """`input_shape` as Python's whole numbers. Raises: ValueError where it is something else."""
    try:
        sizes = tuple(0 if isinstance(n, bool) else operator.index(n) for n in input_shape)
    except TypeError:  # it is no sequence, or holds other things than whole numbers
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ValueError(
            f"summary: input_shape must be sizes without the batch, like (224, 224, 3); got {input_shape!r}"
        )
    return sizes


@contextlib.contextmanager
def borrowed(model: Module) -> Iterator[None]:
    """A context after which the modes and buffers of the model, and the random numbers to come, are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(module, name, b, b.data) for module, _ in modes for name, b in module._buffers.items()]
    random = generator_state()
    try:
        yield
    finally:
        set_generator_state(random)
        for module, mode in modes:
            module.training = mode
        for module, name, buffer, array in buffers:
            if buffer.data is not array:  # assigned without need, it would look changed to a graph that needs it
                buffer.data = array
            module.register_buffer(name, buffer)


class _Recorder:
    """Writes down, for each module that runs, what is computed while it does."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.names = {id(module): name for name, module in model.named_modules()}
        self.layers: dict[str, Layer] = {}
        self.running: list[Layer] = []
        self.computed: set[str] = set()

    def see(self, step: Step) -> None:
        """A step of the network: it counts for all modules that are running."""
        for layer in self.running:
            layer.macs += step.macs
            layer.activation_bytes += step.bytes
        if step.computed:
            self.computed.add(step.name)

    @contextlib.contextmanager
    def watching(self, follower: Follower) -> Iterator[None]:
        """A context in which each module, before and after its forward, is written down."""

        def begin(module: Module, inputs: tuple[Any, ...]) -> None:
            name = self.names[id(module)]
            layer = self.layers.setdefault(name, self._layer(name, module))
            self.running.append(layer)

        def end(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            layer = self.running.pop()
            main = first_tensor(output)
            layer.output_shape = () if main is None else main.shape[1:]
            seen: Field | None = None if main is None else follower.field(main.data)
            layer.receptive_field = None if seen is None else seen.size
            layer.stride = None if seen is None else seen.step

        with contextlib.ExitStack() as hooks:
            for module in self.model.modules():
                hooks.enter_context(module.register_forward_pre_hook(begin))
                hooks.enter_context(module.register_forward_hook(end))
            yield

    def finished(self) -> list[Layer]:
        """The layers that ran, then the outermost of those that did not and have parameters."""
        idle: list[Layer] = []
        for name, module in self.model.named_modules():
            if name in self.layers or any(name.startswith(f"{layer.name}.") for layer in idle):
                continue
            if any(other.startswith(f"{name}.") for other in self.layers):
                continue  # a list of modules, which is not run itself
            layer = self._layer(name, module)
            if layer.parameters:
                idle.append(layer)
        return [*self.layers.values(), *idle]

    def _layer(self, name: str, module: Module) -> Layer:
        depth = name.count(".") + 1 if name else 0
        return Layer(name, described(module), depth, parameters=sum(p.size for p in module.parameters()))


def described(module: Module) -> str:
    """What it is, in a line: with its options, if it has no layers inside."""
    return type(module).__name__ if any(module.children()) else repr(module)


def first_tensor(output: Any) -> Tensor | None:
    """What a module gives, if it is a tensor; otherwise the first in its tuples, lists and dicts."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return next((tensor for tensor in map(first_tensor, output) if tensor is not None), None)
    return output if isinstance(output, Tensor) else None
