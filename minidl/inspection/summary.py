"""A network in numbers, layer by layer: shapes, parameters, multiply-adds, activations, receptive fields.

    print(summary(models.create("resnet18"), (224, 224, 3)))

Nothing is computed (see `tracing`), and the network stays as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl.inspection.tracing import Field, Follower, Shape, Step, following, placeholder
from minidl.nn import Module
from minidl.tensor import Tensor


@dataclass
class Layer:
    """A module of a network: what it computes for one image, the modules inside it included.

    output_shape      without the batch; None when it was not run. That of the last time, when it was run several times
    parameters        how many numbers it learns
    macs              multiply-adds of its convolutions and matrix products
    activation_bytes  memory of all results that are computed in it
    receptive_field   how many rows and columns of the image an element of its output sees (more than there are, when
                      the window reaches over the border); None: all of it
    stride            how many rows and columns of the image lie between neighbours of its output
    """

    name: str
    kind: str
    depth: int
    output_shape: Shape | None = None
    parameters: int = 0
    macs: int = 0
    activation_bytes: int = 0
    receptive_field: tuple[float, float] | None = None
    stride: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


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

    The model keeps its mode, weights and statistics, and no random number is drawn. On a model made inside
    `nn.init.placeholders()` it works as well. The layers' arrays must be on the CPU, or be moved there.

    Raises: ValueError for an input_shape that is not a tuple of sizes; and what the model raises for such an input,
    with a note that names the layer.
    """
    sizes = tuple(input_shape)
    if not sizes or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise ValueError(
            f"summary: input_shape must be sizes without the batch, like (224, 224, 3); got {input_shape!r}"
        )
    recorder = _Recorder(model)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    image = Tensor._wrap(placeholder((1, *sizes), dtype))
    with following(recorder.see) as follower, _mode(model, training), recorder.watching(follower):
        if len(sizes) == 3:
            follower.enter(image.data)
        model(image)
    return Summary(type(model).__name__, sizes, recorder.finished(), recorder.computed)


@contextlib.contextmanager
def _mode(model: Module, training: bool) -> Iterator[None]:
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = training and any(module.children())
        yield
    finally:
        for module, mode in before:
            module.training = mode


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
            main = output[0] if isinstance(output, tuple) else output
            if isinstance(main, Tensor):
                layer.output_shape = main.shape[1:]
                seen: Field | None = follower.field(main.data)
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
        kind = type(module).__name__ if any(module.children()) else repr(module)
        depth = name.count(".") + 1 if name else 0
        return Layer(name, kind, depth, parameters=sum(p.size for p in module.parameters()))
