"""The loops of `minidl.naive`: what a beginner would write. Small shapes only; nothing is extrapolated from them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from benchmarks import inputs
from benchmarks.case import BACKWARD, FORWARD, Case
from benchmarks.engines import work
from benchmarks.engines.engine import Engine, Setting
from benchmarks.engines.work import Work


class Naive(Engine):
    """Convolution and max pooling as plain loops over NumPy arrays."""

    name = "naive"
    packages = ("minidl",)
    install = "pip install -e ."
    rows: ClassVar = {"naive": "plain loops"}

    def version(self) -> str:
        import minidl

        return minidl.__version__

    def unable(self, row: str, case: Case) -> str:
        if case.what not in ("conv2d", "max_pool2d") or case.mode not in (FORWARD, BACKWARD):
            return "there are loops for convolution and pooling"
        return "" if case.options.get("tiny") else "loops would take minutes"

    def load(self, row: str, case: Case, setting: Setting) -> None:
        from minidl import naive  # noqa: F401

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        from minidl import naive

        arrays = list(inputs.operands(case).values())
        window: dict[str, Any] = {name: case.options[name] for name in ("stride", "padding") if name in case.options}
        if case.what == "max_pool2d":
            window["kernel_size"] = case.options["kernel"]
        function = getattr(naive, case.what)
        gradients = getattr(naive, f"{case.what}_backward")

        def forward() -> np.ndarray:
            return function(*arrays, **window)

        g = inputs.upstream(forward().shape)

        def both() -> tuple[np.ndarray, ...]:
            y, found = forward(), gradients(g, *arrays, **window)
            return (y, *found[:2]) if isinstance(found, tuple) else (y, found)  # the third is to the bias

        names = list(inputs.operands(case))
        return work.of_function(case.mode, forward, both, names, lambda _, array: array)
