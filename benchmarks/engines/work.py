"""A case, ready to be computed: what is timed, and what is checked before.

The functions here make a `Work` of what an engine does, in the same way for all engines.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.case import BACKWARD

Answer = Mapping[str, np.ndarray]
Clock = Callable[[Callable[[], Any], int], float]
LEARNING_RATE, MOMENTUM = 1e-4, 0.9  # of all training steps: small, so that the second differs little from the first


def wall_clock(run: Callable[[], Any], repeats: int) -> float:
    """Seconds that a run takes, of so many one after the other."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


@dataclass(frozen=True)
class Work:
    """A case, as an engine computes it.

    run      computes it once; this is what is timed
    answer   computes it once and gives what is to be checked, in minidl's layouts, by name: "y", "gradient of x", ...
    clock    times runs: a GPU's own clock where the work is done there
    """

    run: Callable[[], Any]
    answer: Callable[[], Answer]
    clock: Clock = wall_clock


def of_function(
    mode: str,
    forward: Callable[[], Any],
    both: Callable[[], Sequence[Any]],
    names: Sequence[str],
    to_numpy: Callable[[str, Any], np.ndarray],
    clock: Clock = wall_clock,
) -> Work:
    """y = f(x, ...), or with its gradients.

    both       gives y and the gradients to `names`, in this order
    to_numpy   of what has the layout of "y" or of one of `names`
    """

    def answer() -> Answer:
        if mode != BACKWARD:
            return {"y": to_numpy("y", forward())}
        y, *gradients = both()
        named = zip(names, gradients, strict=True)
        return {"y": to_numpy("y", y), **{f"gradient of {name}": to_numpy(name, g) for name, g in named}}

    return Work(both if mode == BACKWARD else forward, answer, clock)


def of_training(
    step: Callable[[], Any],
    module: Any,
    gradients: Callable[[], dict[str, np.ndarray]],
    bias: Callable[[], np.ndarray],
    clock: Clock = wall_clock,
) -> Work:
    """Training steps, which give their loss. Checked are those of two, gradients of the first, and where both lead.

    gradients   those that are looked at, {name: array}; it may be the engine's own
    bias        of the last layer; it may be the engine's own
    """

    def answer() -> Answer:
        before = bias().copy()
        with _without_dropout(module):
            losses = [float(step())]
            first = {f"gradient of {name}": array.copy() for name, array in gradients().items()}
            losses.append(float(step()))
        return {"losses": np.array(losses), **first, "two steps": bias() - before}

    return Work(step, answer, clock)


def of_epoch(epoch: Callable[[], Sequence[Any]], clock: Clock = wall_clock) -> Work:
    """An epoch, which gives the losses of its steps: these are checked."""
    return Work(epoch, lambda: {"losses": np.array([float(loss) for loss in epoch()])}, clock)


def of_start(statement: str) -> Work:
    """A fresh interpreter that runs one statement, an import. Raises: CalledProcessError where that fails."""

    def run() -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    return Work(run, dict)


@contextlib.contextmanager
def _without_dropout(module: Any) -> Iterator[None]:
    """A context in which nothing is dropped: engines draw other random numbers. For minidl's modules and PyTorch's."""
    layers = [part for part in module.modules() if type(part).__name__ == "Dropout"]
    before = [layer.p for layer in layers]
    for layer in layers:
        layer.p = 0.0
    try:
        yield
    finally:
        for layer, p in zip(layers, before, strict=True):
            layer.p = p
