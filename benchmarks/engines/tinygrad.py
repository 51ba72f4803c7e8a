"""tinygrad on the CPU: a small framework that compiles what it computes, with clang (https://tinygrad.org)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from benchmarks import inputs
from benchmarks.case import BACKWARD, START, Case
from benchmarks.engines import layouts, work
from benchmarks.engines.engine import Setting
from benchmarks.engines.small import SmallEngine
from benchmarks.engines.work import Work


class Tinygrad(SmallEngine):
    """`tinygrad`, with TinyJit for what is large enough to be worth it: then nothing is scheduled a second time."""

    name = "tinygrad"
    packages = ("tinygrad",)
    install = 'pip install "minidl[bench]"'
    rows: ClassVar = {"tinygrad": "tinygrad"}

    def missing(self) -> str:
        compiler = os.environ.get("CC", "clang")
        if not super().missing() and shutil.which(compiler) is None:
            return f"it compiles with {compiler}, which is not installed; the variable CC may name another clang"
        return super().missing()

    def environment(self, row: str, kernels: Mapping[str, str], threads: int) -> dict[str, str]:
        return {"DEV": "CPU", "NUM_CPU_THREADS": str(threads)}

    def load(self, row: str, case: Case, setting: Setting) -> None:
        import tinygrad  # noqa: F401

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        from tinygrad import Device, Tensor, TinyJit

        if case.mode == START:
            return work.of_start("import tinygrad")
        arrays = {name: layouts.channels_first(name, array) for name, array in inputs.operands(case).items()}
        leaves = {name: Tensor(array).realize() for name, array in arrays.items()}
        stride, padding = case.options.get("stride", 1), case.options.get("padding", (0, 0))
        functions: dict[str, Callable[..., Any]] = {
            "conv2d": lambda x, weight: x.conv2d(weight, stride=stride, padding=padding),
            "add": lambda x, other: x + other,
            "relu": lambda x: x.relu(),
            "matmul": lambda x, other: x @ other,
        }
        function = functions[case.what]
        shape = function(*leaves.values()).shape
        if case.mode == BACKWARD:
            N, F, OH, OW = shape
            g = Tensor(layouts.channels_first("y", inputs.upstream((N, OH, OW, F)))).realize()

        def with_gradients(*operands: Any) -> tuple[Any, ...]:
            y = function(*operands)
            return tuple(result.realize() for result in (y, *y.gradient(*operands, gradient=g)))

        large = case.what == "conv2d"
        forward: Callable[..., Any] = TinyJit(lambda *a: function(*a).realize()) if large else function
        both = TinyJit(with_gradients)

        def done(results: Any) -> Any:
            """The results, once they are there."""
            Device[Device.DEFAULT].synchronize()
            return results

        return work.of_function(
            case.mode,
            lambda: done(forward(*leaves.values()).realize()),
            lambda: done(both(*leaves.values())),
            list(leaves),
            lambda name, tensor: layouts.channels_last(name, tensor.numpy()),
        )
