"""Where a network's time goes, layer by layer, and how near each layer is to what the machine can do.

    print(profile(models.create("resnet18"), images, training=True))

Each operation is timed, forward and backward, and counts for the innermost layer that was running when the operation
was recorded. What is left of the whole time is Python and the adding up of gradients. It is shown too, so that the
parts make up the whole. (The time of writing down what was done is not part of it.)
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.autograd import Function, computing, no_grad
from minidl.backend import Array, Device, array_module, is_array
from minidl.backpropagation import grad
from minidl.inspection import ceilings, clock, timings
from minidl.inspection.ceilings import Ceilings
from minidl.inspection.summary import borrowed, described, first_tensor
from minidl.inspection.timings import Timing, Work
from minidl.inspection.tracing import Shape, macs
from minidl.kernels.threads import get_num_threads
from minidl.nn import Module
from minidl.progress import Silent
from minidl.tensor import Tensor


@dataclass
class Profile:
    """What the layers of a network did in one run, in the order in which they began, and the whole time.

    `layers` has for each layer what was computed in it, but not in a layer inside it; `profile[name]` has both.
    """

    kind: str
    input_shape: Shape  # (N, H, W, C)
    training: bool
    device: Device
    threads: int
    ceilings: Ceilings
    layers: list[Timing]
    forward_seconds: float
    backward_seconds: float

    def __str__(self) -> str:
        """The table of all layers."""
        return str(self.grid())

    def __getitem__(self, name: str) -> Timing:
        """The layer of this dotted name with the layers inside it; the network's name is empty."""
        own = next((layer for layer in self.layers if layer.name == name), None)
        if own is None:
            raise KeyError(f"{self.kind} has no layer {name!r} that was run")
        inside = [layer for layer in self.layers if _is_inside(layer.name, name)]
        forward = sum((layer.forward for layer in inside), Work())
        return Timing(name, own.kind, own.output_shape, forward, sum((layer.backward for layer in inside), Work()))

    @property
    def seconds(self) -> float:
        """The whole time."""
        return self.forward_seconds + self.backward_seconds

    @property
    def rest(self) -> list[Timing]:
        """What belongs to no layer: the operations in the network's own forward, and the rest of the whole time."""
        itself = next(layer for layer in self.layers if not layer.name)
        network = self[""]
        forward = Work(self.forward_seconds - network.forward.seconds)
        backward = Work(self.backward_seconds - network.backward.seconds)
        return [
            Timing("between layers", "in the network's forward", (), itself.forward, itself.backward),
            Timing("outside any layer", "Python, sums of gradients", (), forward, backward),
        ]

    @property
    def total(self) -> Timing:
        """The network, in the whole time."""
        network, outside = self[""], self.rest[-1]
        forward, backward = network.forward + outside.forward, network.backward + outside.backward
        return Timing("", self.kind, network.output_shape, forward, backward)

    def rows(self, depth: int | None = None) -> list[Timing]:
        """The layers that are inside at most `depth` others, of which the network is one; each with those inside it."""
        names = [layer.name for layer in self.layers]
        around = {name: sum(_is_inside(name, other) for other in names) - 1 for name in names}
        return [self[name] for name in names if name and (depth is None or around[name] <= depth)]

    def grid(self, depth: int | None = None) -> timings.Grid:
        """The rows as a table, then the rest, and the sum."""
        return timings.grid(self.rows(depth), self.rest, self.total, self.training)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it; each layer without those inside it."""
        return {
            "model": self.kind,
            "input_shape": list(self.input_shape),
            "training": self.training,
            "device": str(self.device),
            "threads": self.threads,
            "ceilings": self.ceilings._asdict(),
            "forward_seconds": self.forward_seconds,
            "backward_seconds": self.backward_seconds,
            "layers": [layer.as_dict() for layer in self.layers],
        }


def _is_inside(name: str, other: str) -> bool:
    """Whether a layer is the other or inside it."""
    return not other or f"{name}.".startswith(f"{other}.")


def profile(
    model: Module, images: Tensor | Array, training: bool = False, repeat: int = 5, shown: Silent | None = None
) -> Profile:
    """Run `model` on `images` (N, H, W, C) and time each layer: the fastest of `repeat` runs, after one to warm up.

    images     on the model's device. On a GPU the clock waits for each operation to finish: layers can be compared, but
               the whole takes longer than without
    training   in training mode, and backward too, for the gradients of all outputs to all parameters. Otherwise in
               inference, without recording
    shown      a display that is told of each run

    The model keeps its mode, weights, gradients and statistics, and the random numbers that follow are the same.

    Raises: TypeError for what is no Module; ValueError for repeat < 1, and for training a model without parameters.
    """
    if not isinstance(model, Module):
        raise TypeError(f'profile: expected a Module, such as models.create("resnet18"), got {model!r:.60}')
    if repeat < 1:
        raise ValueError(f"profile: repeat must be at least 1, got {repeat}")
    if training and not _learnt(model):
        raise ValueError(
            f"profile: training=True needs parameters that require gradients; {type(model).__name__} has none"
        )
    images = images if isinstance(images, Tensor) else Tensor(images)
    limits = ceilings.measure(get_num_threads(), images.device)
    shown = shown or Silent()
    runs = []
    with borrowed(model):
        model.train(training)
        shown.begin(f"profiling {type(model).__name__}", repeat + 1)
        for _ in range(repeat + 1):
            runs.append(_run(model, images, training, limits))
            shown.advance()
    return min(runs[1:], key=lambda run: run.seconds)


def _run(model: Module, images: Tensor, training: bool, limits: Ceilings) -> Profile:
    recorder = _Recorder(model, images.device, limits)
    backward = 0.0
    with recorder.watching(), computing(recorder.forward, recorder.backward):
        start = clock.now(images.device)
        with contextlib.nullcontext() if training else no_grad():
            output = model(images)
        forward = clock.now(images.device) - start - recorder.watched
        if training:
            outputs = [y for y in _tensors(output) if y.requires_grad]
            upstream = [Tensor(array_module(y.data).ones_like(y.data)) for y in outputs]
            start, before = clock.now(images.device), recorder.watched
            grad(outputs, _learnt(model), upstream, allow_unused=True)
            backward = clock.now(images.device) - start - (recorder.watched - before)
    layers = list(recorder.layers.values())
    threads = get_num_threads()
    return Profile(
        type(model).__name__, images.shape, training, images.device, threads, limits, layers, forward, backward
    )


def _learnt(model: Module) -> list[Tensor]:
    return [p for p in model.parameters() if p.requires_grad]


def _tensors(output: Any) -> Iterator[Tensor]:
    """All tensors in what a module gives."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from _tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for part in output:
            yield from _tensors(part)


class _Recorder:
    """Times each operation, forward and backward, and writes it down for the layer that it belongs to."""

    def __init__(self, model: Module, device: Device, limits: Ceilings) -> None:
        self.model, self.device, self.limits = model, device, limits
        self.known = {id(module): Timing(name, described(module)) for name, module in model.named_modules()}
        self.layers: dict[str, Timing] = {}  # those that have run
        self.running: list[Timing] = []
        self.watched = 0.0  # seconds of writing down, which are no part of the network's time
        # Where each operation of the graph was recorded, with its multiply-adds; it does not keep the graph alive.
        self.recorded: weakref.WeakKeyDictionary[Function, tuple[Timing, int]] = weakref.WeakKeyDictionary()

    def forward(self, function: Function, arrays: tuple[Any, ...]) -> Any:
        start = clock.now(self.device)
        result = function.forward(*arrays)
        end = clock.now(self.device)
        if self.running:
            layer, results = self.running[-1], _arrays(result)
            count = macs(function, arrays, results[0].shape)
            layer.forward += self._work(end - start, count, _arrays(arrays), results)
            self.recorded[function] = layer, count
        self.watched += clock.now(self.device) - end
        return result

    def backward(self, function: Function, g: Any, wanted: tuple[Any, ...]) -> Any:
        start = clock.now(self.device)
        result = function.backward(g, *wanted)
        end = clock.now(self.device)
        if function in self.recorded:
            layer, count = self.recorded[function]
            products = sum(function.needs[:2])  # the gradient to each factor of a product is a product as large
            layer.backward += self._work(end - start, count * products, _arrays((g, wanted)), _arrays(result))
        self.watched += clock.now(self.device) - end
        return result

    def _work(self, seconds: float, count: int, read: list[Array], written: list[Array]) -> Work:
        moved = _moved(read, written)
        return Work(seconds, count, moved, self.limits.seconds(count, moved))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """A context in which it is known which module runs."""

        def begin(module: Module, inputs: tuple[Any, ...]) -> None:
            layer = self.known[id(module)]
            self.running.append(self.layers.setdefault(layer.name, layer))

        def end(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            main = first_tensor(output)
            self.running.pop().output_shape = () if main is None else main.shape[1:]

        with contextlib.ExitStack() as hooks:
            for module in self.model.modules():
                hooks.enter_context(module.register_forward_pre_hook(begin))
                hooks.enter_context(module.register_forward_hook(end))
            yield


def _arrays(value: Any) -> list[Array]:
    """All arrays in nested tuples and lists."""
    if isinstance(value, tuple | list):
        return [array for part in value for array in _arrays(part)]
    return [value] if is_array(value) or isinstance(value, np.generic) else []


def _moved(read: Iterable[Array], written: Iterable[Array]) -> int:
    """Bytes of arrays that are read and of those that are written; a view of what is read is not written."""
    read = list(read)
    new = [y for y in written if not any(array_module(y).may_share_memory(y, x) for x in read)]
    return sum(x.nbytes for x in (*read, *new)) if new else 0
