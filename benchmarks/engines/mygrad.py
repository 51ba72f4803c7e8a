"""MyGrad: NumPy with gradients (https://mygrad.readthedocs.io)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from benchmarks import inputs
from benchmarks.case import BACKWARD, RECORDED, START, Case
from benchmarks.engines import layouts, work
from benchmarks.engines.engine import Setting
from benchmarks.engines.small import SmallEngine
from benchmarks.engines.work import Work


class MyGrad(SmallEngine):
    """`mygrad`. It stands on NumPy, and so runs with the BLAS kernels that minidl has."""

    name = "mygrad"
    packages = ("mygrad",)
    install = 'pip install "minidl[bench]"'
    rows: ClassVar = {"mygrad": "MyGrad"}

    def environment(self, row: str, kernels: Mapping[str, str], threads: int) -> dict[str, str]:
        return dict(kernels)

    def load(self, row: str, case: Case, setting: Setting) -> None:
        import mygrad  # noqa: F401

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        import mygrad
        from mygrad.nnet.activations import relu
        from mygrad.nnet.layers import conv_nd

        if case.mode == START:
            return work.of_start("import mygrad")
        constant = case.mode not in (RECORDED, BACKWARD)
        leaves = {
            name: mygrad.tensor(layouts.channels_first(name, array), constant=constant)
            for name, array in inputs.operands(case).items()
        }
        x, *rest = leaves.values()
        stride, padding = case.options.get("stride", 1), case.options.get("padding", (0, 0))
        function: Callable[[], Any] = {
            "conv2d": lambda: conv_nd(x, *rest, stride=stride, padding=padding),
            "add": lambda: x + rest[0],
            "relu": lambda: relu(x),
            "matmul": lambda: x @ rest[0],
        }[case.what]
        g = layouts.channels_first("y", inputs.upstream(layouts.channels_last("y", function().data).shape))

        def both() -> tuple[Any, ...]:
            y = function()
            y.backward(g)
            return (y, *(leaf.grad for leaf in leaves.values()))

        def to_numpy(name: str, tensor: Any) -> Any:
            return layouts.channels_last(name, getattr(tensor, "data", tensor) if name == "y" else tensor)

        return work.of_function(case.mode, function, both, list(leaves), to_numpy)
