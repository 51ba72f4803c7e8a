"""PyTorch: eager in both of its memory layouts, as people run it and with batch norm folded; and compiled."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks import inputs
from benchmarks.case import BACKWARD, EPOCH, FORWARD, RECORDED, START, STEP, Case
from benchmarks.engines import layouts, pytorch_modules, work
from benchmarks.engines.engine import Engine, Setting
from benchmarks.engines.minidl import weights_name
from benchmarks.engines.work import Work

AUXILIARY = {"googlenet": 0.3, "inception_v3": 0.4}  # how much the loss of an auxiliary head counts


class PyTorch(Engine):
    """`torch`. "as people run it" is eager, with the modules of torchvision and timm in evaluation mode for inference.

    Folded rows do what minidl's deploy form does: `fuse_conv_bn_eval` on every convolution before a batch norm, and
    timm's `reparameterize_model` for RepVGG.
    """

    name = "torch"
    packages = ("torch",)
    install = 'pip install "minidl[bench]"'
    rows: ClassVar = {
        "torch/nchw": "PyTorch, NCHW",
        "torch/channels-last": "PyTorch, channels_last",
        "torch/nchw-folded": "PyTorch folded, NCHW",
        "torch/channels-last-folded": "PyTorch folded, channels_last",
        "torch/compiled": "PyTorch compiled",
        "torch/tf32-off": "PyTorch on CUDA, TF32 off",
        "torch/tf32-on": "PyTorch on CUDA, TF32 on",
    }
    exporters = ("minidl", "torch")
    devices: ClassVar = {"torch/tf32-off": ("gpu",), "torch/tf32-on": ("gpu",)}

    def unable(self, row: str, case: Case) -> str:
        module = case.what in ("block", "network")
        absent = [name for name in pytorch_modules.libraries(case.options) if importlib.util.find_spec(name) is None]
        if module and absent:
            return f'{" and ".join(absent)} not installed: pip install "minidl[compare]"'
        if row in self.devices and not self.missing() and self.version().endswith("+cpu"):
            return f"PyTorch {self.version()} is built without CUDA"
        if row == "torch/channels-last" and len(case.shape) != 4:
            return "there are no images"
        if row.endswith("-folded"):
            if case.mode != FORWARD or not case.options.get("folds"):
                return "there is no batch norm to fold"
            return "in sweeps PyTorch has its two layouts" if case.options.get("sweep") else ""
        if row == "torch/compiled" and (case.what != "network" or case.mode == EPOCH or case.options.get("sweep")):
            return "whole networks are compiled"
        compiler = os.environ.get("CXX", "g++")
        if row == "torch/compiled" and shutil.which(compiler) is None:
            return f"torch.compile needs a compiler; {compiler} is not installed, and the variable CXX may name another"
        return ""

    def left_out(self, row: str, case: Case) -> str:
        return (
            "compiling takes up to minutes a case: it is done for --engines '*' torch/compiled"
            if "compiled" in row
            else ""
        )

    def needs(self, case: Case) -> str:
        name = weights_name(case)
        return f"{name}.pt" if name else ""

    def export(self, case: Case, folder: Path) -> None:
        """The weights under the names of PyTorch's module, and what those are in minidl."""
        import torch

        from models.dialects import in_our_names

        theirs = pytorch_modules.create(case.options).state_dict()
        with np.load(folder / f"{weights_name(case)}-torch.npz") as ours:
            names = {name: their for name, (their, _) in in_our_names(theirs, ours)[0].items()}
            state = {their: torch.from_numpy(ours[name]) for name, their in names.items()}
        torch.save({"state": state, "names": names}, folder / self.needs(case))

    def load(self, row: str, case: Case, setting: Setting) -> None:
        import torch

        torch.set_num_threads(setting.threads)
        if weights_name(case):
            pytorch_modules.create(case.options)
        if setting.device == "gpu":
            if not torch.cuda.is_available():
                raise RuntimeError("torch.cuda.is_available() is False")
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = row == "torch/tf32-on"

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        if case.mode == START:
            return work.of_start("import torch")
        return _Build(row, case, setting).work()


class _Build:
    """A case of one row: its tensors in the row's memory layout, its modules in the row's form."""

    def __init__(self, row: str, case: Case, setting: Setting) -> None:
        import torch

        self.torch, self.row, self.case, self.setting = torch, row, case, setting
        self.layout = torch.channels_last if "channels-last" in row else torch.contiguous_format
        self.device = "cuda" if setting.device == "gpu" else "cpu"
        self.clock = self.gpu_clock if setting.device == "gpu" else work.wall_clock
        self.parameters: dict[str, Any] = {}  # of the module, by the names that they have in minidl

    def work(self) -> Work:
        return {STEP: self.training, EPOCH: self.epoch}.get(self.case.mode, self.function)()

    def function(self) -> Work:
        """An operation, a block, or a network in inference."""
        torch, case, F = self.torch, self.case, self.torch.nn.functional
        differentiated = case.mode in (RECORDED, BACKWARD)
        leaves = {n: self.tensor(n, a).requires_grad_(differentiated) for n, a in inputs.operands(case).items()}
        x, *rest = leaves.values()
        window = {name: case.options[name] for name in ("stride", "padding") if name in case.options}
        if case.what in ("block", "network"):
            module = self.module()
            leaves |= self.parameters
        function: Callable[[], Any] = {
            "conv2d": lambda: F.conv2d(x, *rest, **window),
            "max_pool2d": lambda: F.max_pool2d(x, case.options["kernel"], **window),
            "batch_norm": lambda: F.batch_norm(x, None, None, rest[0], rest[1], training=True),
            "block": lambda: module(x),
            "network": lambda: module(x),
            "add": lambda: x + rest[0],
            "relu": lambda: torch.relu(x),
            "matmul": lambda: x @ rest[0],
        }[case.what]

        def forward() -> Any:
            with torch.inference_mode():
                return function()

        shape = self.to_numpy("y", forward()).shape if case.mode == BACKWARD else ()
        g = self.tensor("y", inputs.upstream(shape))

        def both() -> tuple[Any, ...]:
            y = function()
            return (y, *torch.autograd.grad(y, list(leaves.values()), g))

        run = function if case.mode == RECORDED else forward
        return work.of_function(case.mode, run, both, list(leaves), self.to_numpy, self.clock)

    def training(self) -> Work:
        module = self.module()
        step = self.step_of(module)
        images = self.tensor("x", inputs.operands(self.case)["x"])
        labels = self.torch.from_numpy(inputs.labels(self.case)).to(self.device)
        first, last = self.case.options["watched"]
        return work.of_training(
            lambda: step(images, labels).item(),
            module,
            lambda: {name: self.to_numpy(name, self.parameters[name].grad) for name in (first, last)},
            lambda: self.to_numpy("bias", self.parameters[last.replace("weight", "bias")]),
            self.clock,
        )

    def epoch(self) -> Work:
        """Batches are slices of one tensor, which costs less than torch.utils.data.DataLoader."""
        torch, n = self.torch, self.case.options["images"]
        step = self.step_of(self.module())
        with np.load(self.setting.folder / "digits.npz") as digits:
            images, labels = (
                self.tensor("x", digits["images"][:n]),
                torch.from_numpy(digits["labels"][:n]).to(self.device),
            )

        def epoch() -> list[float]:
            batches = zip(images.split(self.case.batch), labels.split(self.case.batch), strict=True)
            return [step(*batch).item() for batch in batches]

        return work.of_epoch(epoch, self.clock)

    def step_of(self, module: Any) -> Callable[[Any, Any], Any]:
        """A training step on a batch; it gives the loss."""
        optimizer = self.torch.optim.SGD(module.parameters(), lr=work.LEARNING_RATE, momentum=work.MOMENTUM)
        cross_entropy = self.torch.nn.functional.cross_entropy
        share = AUXILIARY.get(self.case.options["network"], 0.0)

        def step(images: Any, labels: Any) -> Any:
            optimizer.zero_grad()
            outputs = module(images)
            scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = cross_entropy(scores, labels) + share * sum(cross_entropy(aux, labels) for aux in auxiliary)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def module(self) -> Any:
        """The block or network, with the weights that all engines have, in the form in which the row runs it."""
        torch, case = self.torch, self.case
        module = pytorch_modules.create(case.options).to_empty(device=self.device)
        saved = torch.load(self.setting.folder / f"{weights_name(case)}.pt", mmap=True, weights_only=True)
        module.load_state_dict(saved["state"])
        module.train(case.trains)
        if self.row.endswith("-folded"):
            module = pytorch_modules.folded(module)
        module = module.to(memory_format=self.layout)
        learnt = dict(module.named_parameters())
        self.parameters = {name: learnt[their] for name, their in saved["names"].items() if their in learnt}
        return torch.compile(module) if self.row == "torch/compiled" else module

    def tensor(self, name: str, array: np.ndarray) -> Any:
        tensor = self.torch.from_numpy(layouts.channels_first(name, array))
        return (tensor.contiguous(memory_format=self.layout) if array.ndim == 4 else tensor).to(self.device)

    def to_numpy(self, name: str, tensor: Any) -> np.ndarray:
        return layouts.channels_last(name, tensor.detach().cpu().numpy(), ("weight", *self.parameters))

    def gpu_clock(self, run: Callable[[], Any], repeats: int) -> float:
        """Seconds between two events on the GPU."""
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000 / repeats
