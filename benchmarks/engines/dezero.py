"""DeZero: the framework of a book that builds one (https://github.com/oreilly-japan/deep-learning-from-scratch-3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from benchmarks import inputs
from benchmarks.case import FORWARD, START, Case
from benchmarks.engines import layouts, work
from benchmarks.engines.engine import Setting
from benchmarks.engines.small import SmallEngine
from benchmarks.engines.work import Work

OLD_NUMPY = "import numpy; numpy.int = int"  # a name that NumPy gave up in 1.24, and DeZero's last release uses


class DeZero(SmallEngine):
    """`dezero`. It stands on NumPy, and so runs with the BLAS kernels that minidl has."""

    name = "dezero"
    packages = ("dezero",)
    install = 'pip install "minidl[bench]"'
    rows: ClassVar = {"dezero": "DeZero"}

    def environment(self, row: str, kernels: Mapping[str, str], threads: int) -> dict[str, str]:
        return dict(kernels)

    def load(self, row: str, case: Case, setting: Setting) -> None:
        exec(OLD_NUMPY)
        import dezero  # noqa: F401

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        import dezero
        import dezero.functions as F

        if case.mode == START:
            return work.of_start(f"{OLD_NUMPY}; import dezero")
        leaves = {
            name: dezero.Variable(layouts.channels_first(name, array)) for name, array in inputs.operands(case).items()
        }
        x, *rest = leaves.values()
        stride, padding = case.options.get("stride", 1), case.options.get("padding", (0, 0))
        function: Callable[[], Any] = {
            "conv2d": lambda: F.conv2d(x, *rest, None, stride, padding),
            "add": lambda: x + rest[0],
            "relu": lambda: F.relu(x),
            "matmul": lambda: F.matmul(x, rest[0]),
        }[case.what]

        def forward() -> Any:
            with dezero.no_grad():
                return function()

        g = layouts.channels_first("y", inputs.upstream(layouts.channels_last("y", forward().data).shape))

        def both() -> tuple[Any, ...]:
            for leaf in leaves.values():
                leaf.cleargrad()
            y = function()
            y.grad = dezero.Variable(g)
            y.backward()
            return (y, *(leaf.grad for leaf in leaves.values()))

        run = forward if case.mode == FORWARD else function
        return work.of_function(case.mode, run, both, list(leaves), lambda name, v: layouts.channels_last(name, v.data))
