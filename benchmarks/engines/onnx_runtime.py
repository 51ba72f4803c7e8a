"""ONNX Runtime: inference of networks that PyTorch has exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks import inputs
from benchmarks.case import FORWARD, START, Case
from benchmarks.engines import layouts, pytorch_modules, work
from benchmarks.engines.engine import Engine, Setting
from benchmarks.engines.minidl import weights_name
from benchmarks.engines.pytorch import PyTorch
from benchmarks.engines.work import Work


class OnnxRuntime(Engine):
    """The network in its deploy form, exported by torch.onnx for images of the case's shape."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx", "onnxscript", "torch")
    install = 'pip install "minidl[bench]"'
    exporters = ("minidl", "torch", "onnxruntime")
    rows: ClassVar = {"onnxruntime": "ONNX Runtime"}

    def unable(self, row: str, case: Case) -> str:
        if case.mode == START:
            return ""
        if case.what != "network" or case.mode != FORWARD:
            return "it runs whole networks, in inference"
        if case.options.get("sweep"):
            return "sweeps are of minidl and PyTorch"
        return PyTorch().unable("torch/nchw", case)

    def needs(self, case: Case) -> str:
        name = weights_name(case)
        return f"{name}-{'x'.join(map(str, case.shape))}.onnx" if name else ""

    def export(self, case: Case, folder: Path) -> None:
        import torch

        module = pytorch_modules.create(case.options).to_empty(device="cpu")
        module.load_state_dict(torch.load(folder / f"{weights_name(case)}.pt", weights_only=True)["state"])
        images = torch.from_numpy(_images(case))
        torch.onnx.export(pytorch_modules.folded(module), (images,), folder / self.needs(case), verbose=False)

    def load(self, row: str, case: Case, setting: Setting) -> None:
        import onnxruntime  # noqa: F401

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        import onnxruntime

        if case.mode == START:
            return work.of_start("import onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = setting.threads
        path = setting.folder / self.needs(case)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: _images(case)}

        def forward() -> Any:
            return session.run(None, feed)[0]

        return work.of_function(case.mode, forward, tuple, (), layouts.channels_last)


def _images(case: Case) -> np.ndarray:
    return layouts.channels_first("x", inputs.operands(case)["x"])
