"""minidl, with each of its algorithms for convolution, and with the BLAS kernels that NumPy picks by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks import inputs
from benchmarks.case import BACKWARD, EPOCH, FORWARD, RECORDED, START, STEP, Case
from benchmarks.engines import work
from benchmarks.engines.engine import Engine, Setting
from benchmarks.engines.work import Work

ALGORITHMS = {"minidl/im2col": "im2col", "minidl/reference": "im2col", "minidl/winograd": "winograd"}  # others: "auto"


class Minidl(Engine):
    """minidl as its own programs run it: freed memory is kept, and BLAS runs what suits the processor.

    "minidl/reference", which is in no table, is what answers for blocks and networks are compared with: im2col, and in
    float64 unless the case says that it is too large for that.
    """

    name = "minidl"
    packages = ("minidl",)
    install = "pip install -e ."
    rows: ClassVar = {
        "minidl": "minidl",
        "minidl/own-kernels": "minidl, NumPy's own kernels",
        "minidl/im2col": "minidl, im2col",
        "minidl/winograd": "minidl, Winograd",
    }
    exporters = ("minidl",)
    devices: ClassVar = {"minidl": ("cpu", "gpu"), "minidl/im2col": ("cpu", "gpu")}

    def version(self) -> str:
        import minidl

        return minidl.__version__

    def unable(self, row: str, case: Case) -> str:
        if row == "minidl":
            return ""
        if case.options.get("sweep"):
            return "in sweeps minidl has one row"
        if case.what not in ("conv2d", "block", "network"):
            return "there is no convolution"
        if row == "minidl/own-kernels" and case.what != "network":
            return "it is measured on whole networks"
        window = case.options.get("kernel"), case.options.get("stride", 1)
        if row == "minidl/winograd" and window != ((3, 3), 1):
            return "Winograd's algorithm is for one 3×3 convolution of stride 1"
        return ""

    def environment(self, row: str, kernels: Mapping[str, str], threads: int) -> dict[str, str]:
        own = row == "minidl/own-kernels"
        return {"MINIDL_NUM_THREADS": str(threads), **({} if own else kernels)}

    def needs(self, case: Case) -> str:
        name = weights_name(case)
        return f"{name}-minidl.npz" if name else ""

    def export(self, case: Case, folder: Path) -> None:
        """The weights, in minidl's layout and in PyTorch's; and the digits, which minidl has."""
        import models
        from benchmarks import weights
        from minidl.data.digits import digits

        module = weights.trained(case)
        for layout in ("minidl", "torch"):
            models.save_weights(module, folder / f"{weights_name(case)}-{layout}.npz", layout)
        train_set = digits("train")
        np.savez(folder / "digits.npz", images=train_set.images, labels=train_set.labels)

    def load(self, row: str, case: Case, setting: Setting) -> None:
        import minidl
        from benchmarks import modules  # noqa: F401
        from minidl import process

        minidl.device(setting.device)
        minidl.set_num_threads(setting.threads)
        process.keep_freed_memory()

    def prepare(self, row: str, case: Case, setting: Setting) -> Work:
        if case.mode == START:
            return work.of_start("import minidl")
        build = {STEP: _training, EPOCH: _epoch}.get(case.mode, _function)
        return build(row, case, setting)


def weights_name(case: Case) -> str:
    """How the files with the weights of a block or network begin; empty for a case that has none."""
    if case.what not in ("block", "network"):
        return ""
    options = case.options
    parts = (options.get("network") or options["block"], *options.get("sizes", ()), options.get("form", ""))
    return "-".join(str(part) for part in parts if part).replace(" ", "")


def _function(row: str, case: Case, setting: Setting) -> Work:
    """An operation, a block, or a network in inference."""
    from minidl import functional as F
    from minidl import grad, no_grad

    leaves = {name: _tensor(array, row, case, setting) for name, array in inputs.operands(case).items()}
    x, *rest = leaves.values()
    options, algorithm = case.options, ALGORITHMS.get(row, "auto")
    window = {name: options[name] for name in ("stride", "padding") if name in options}
    if case.what in ("block", "network"):
        module = _module(row, case, setting)
        leaves |= dict(module.named_parameters())
    function: Callable[[], Any] = {
        "conv2d": lambda: F.conv2d(x, *rest, **window, algorithm=algorithm),
        "max_pool2d": lambda: F.max_pool2d(x, options["kernel"], **window),
        "batch_norm": lambda: F.batch_norm(x, None, None, rest[0], rest[1], training=True),
        "block": lambda: module(x),
        "network": lambda: module(x),
        "add": lambda: x + rest[0],
        "relu": lambda: F.relu(x),
        "matmul": lambda: x @ rest[0],
    }[case.what]

    def forward() -> Any:
        with no_grad():
            return function()

    g = _tensor(inputs.upstream(forward().shape), row, case, setting) if case.mode == BACKWARD else None

    def both() -> tuple[Any, ...]:
        y = function()
        return (y, *grad(y, list(leaves.values()), g))

    run = function if case.mode == RECORDED else forward
    return work.of_function(case.mode, run, both, list(leaves), lambda _, tensor: tensor.numpy(), _clock(setting))


def _training(row: str, case: Case, setting: Setting) -> Work:
    from minidl.backend import device, to_device

    module = _module(row, case, setting)
    step = _step_of(module)
    images = _tensor(inputs.operands(case)["x"], row, case, setting)
    labels = to_device(inputs.labels(case), device(setting.device))
    parameters = dict(module.named_parameters())
    first, last = case.options["watched"]
    return work.of_training(
        lambda: step(images, labels).item(),
        module,
        lambda: {name: parameters[name].grad.numpy() for name in (first, last)},
        lambda: parameters[last.replace("weight", "bias")].numpy(),
        _clock(setting),
    )


def _epoch(row: str, case: Case, setting: Setting) -> Work:
    from minidl.data import ArrayDataset, DataLoader

    step = _step_of(_module(row, case, setting))
    with np.load(setting.folder / "digits.npz") as digits:
        n = case.options["images"]
        loader = DataLoader(ArrayDataset(digits["images"][:n], digits["labels"][:n]), case.batch, device=setting.device)

    def epoch() -> list[float]:
        return [step(_tensor(images, row, case, setting), labels).item() for images, labels in loader]

    return work.of_epoch(epoch, _clock(setting))


def _step_of(module: Any) -> Callable[[Any, Any], Any]:
    """A training step on a batch; it gives the loss."""
    from minidl import functional as F
    from minidl.evaluation import auxiliary_weight, training_loss
    from minidl.optim import SGD

    optimizer = SGD(module.parameters(), lr=work.LEARNING_RATE, momentum=work.MOMENTUM)

    def step(images: Any, labels: np.ndarray) -> Any:
        optimizer.zero_grad()
        loss, _ = training_loss(module(images), labels, F.cross_entropy, auxiliary_weight(module))
        loss.backward()
        optimizer.step()
        return loss

    return step


def _module(row: str, case: Case, setting: Setting) -> Any:
    """The block or network, with the weights that all engines have, in the form in which the case runs it."""
    import models
    from benchmarks import modules
    from minidl import nn

    with nn.init.placeholders():
        module = modules.create(case.options)
    models.load_weights(module, setting.folder / f"{weights_name(case)}-minidl.npz")
    module = modules.as_run(case, module).to(setting.device, _dtype(row, case))
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.algorithm = ALGORITHMS.get(row, "auto")
    return module


def _tensor(array: np.ndarray, row: str, case: Case, setting: Setting) -> Any:
    from minidl import Tensor

    differentiated = case.mode not in (FORWARD, STEP, EPOCH)
    return Tensor(array, dtype=_dtype(row, case), device=setting.device, requires_grad=differentiated)


def _dtype(row: str, case: Case) -> Any:
    return np.float64 if row == "minidl/reference" and not case.options.get("large") else np.float32


def _clock(setting: Setting) -> work.Clock:
    return _gpu_clock if setting.device == "gpu" else work.wall_clock


def _gpu_clock(run: Callable[[], Any], repeats: int) -> float:
    """Seconds between two events on the GPU, so that the host's work counts only where the GPU waits for it."""
    from minidl.backend import gpu_module

    cuda = gpu_module().cuda
    begin, end = cuda.Event(), cuda.Event()
    begin.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return cuda.get_elapsed_time(begin, end) / 1000 / repeats
