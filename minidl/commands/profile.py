"""`minidl profile`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import models
from minidl import nn
from minidl.backend import CPU, Device, device
from minidl.commands.options import UsageError, add_form, add_model, asked_input, asked_model, positive
from minidl.inspection import plots
from minidl.inspection.profile import Profile, profile
from minidl.kernels import winograd
from minidl.kernels.threads import get_num_threads, set_num_threads
from minidl.kernels.window import Window, pair
from minidl.names import fault_of
from minidl.progress import display
from minidl.tensor import Tensor

PICTURES = (".png", ".svg", ".pdf")


def add_profile(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "profile",
        help="time a network layer by layer, against what this machine can do",
        description=(
            "Run a network on random images and print, for each layer: multiply-adds, time, GFLOP/s, the share of what "
            "this machine could do, bytes moved, and the share of the whole time. What the machine could do, its "
            "roofline, is measured: it is limited by matrix products or by copying. Times are those of the fastest "
            "run. GFLOP/s count the multiply-adds of a convolution's definition; Winograd's algorithm does with fewer, "
            "and can pass 100%."
        ),
    )
    add_model(parser)
    parser.epilog = f"example:\n  minidl profile resnet18 --batch 8 --training --plot resnet18.png\n\n{parser.epilog}"
    add_form(parser)
    parser.add_argument("--batch", type=positive, default=8, metavar="N", help="images a run (default %(default)s)")
    text = "forward and backward, in training mode; otherwise forward, in inference"
    parser.add_argument("--training", action="store_true", help=text)
    text = "of the CPU (default: all cores, or what MINIDL_NUM_THREADS says)"
    parser.add_argument("--threads", type=positive, metavar="N", help=text)
    text = "of convolutions: auto (the default), im2col, or winograd for those of 3×3 and stride 1"
    parser.add_argument("--algorithm", choices=("auto", "im2col", "winograd"), default="auto", metavar="A", help=text)
    parser.add_argument("--device", default="cpu", help='"cpu" (the default), "gpu" or "gpu:<number>"')
    text = "runs, after one to warm up (default %(default)s)"
    parser.add_argument("--repeat", type=positive, default=5, metavar="X", help=text)
    text = "how deep to look into layers of layers (default %(default)s)"
    parser.add_argument("--depth", type=positive, default=2, metavar="D", help=text)
    text = "write all layers at any depth, for a program to read"
    parser.add_argument("--output", type=Path, metavar="FILE.json", help=text)
    text = f"draw the roofline and a bar a layer; the file ends in {', '.join(PICTURES)}"
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help=text)
    parser.set_defaults(run=_profile)


def _profile(options: argparse.Namespace) -> int:
    place = device(options.device)
    _check_files(options)
    _, shape, K = asked_input(options)
    before = get_num_threads()
    set_num_threads(options.threads or before)
    try:
        with fault_of(options.model):
            model = asked_model(options, shape, K)
            model = (models.to_deploy(model) if options.deploy else model).to(place)
            _use(model, options.algorithm)
            images = np.random.default_rng(0).standard_normal((options.batch, *shape), dtype=np.float32)
            with display(show=True) as shown:
                measured = profile(model, Tensor(images, device=place), options.training, options.repeat, shown)
    finally:
        set_num_threads(before)
    _say(options, measured, place)
    measured.grid(options.depth).show()
    if options.output is not None:
        options.output.write_text(json.dumps({"network": options.model, **measured.as_dict()}, indent=2) + "\n")
    if options.plot is not None:
        plots.roofline(measured, options.plot, options.depth)
    return 0


def _check_files(options: argparse.Namespace) -> None:
    """Raises: UsageError, before anything is measured, for a file that cannot be written afterwards."""
    for option, path in (("--output", options.output), ("--plot", options.plot)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise UsageError(f"{option} {path}: expected a file in a folder that exists")
    if options.plot is not None:
        if options.plot.suffix not in PICTURES:
            raise UsageError(f"--plot {options.plot}: expected a file ending in {', '.join(PICTURES)}")
        plots.require_matplotlib()


def _use(model: nn.Module, algorithm: str) -> None:
    """Have the convolutions of `model` computed by this algorithm; Winograd's, where it computes such a convolution."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            stride, dilation = (pair("profile", name, getattr(layer, name), 1) for name in ("stride", "dilation"))
            window = Window(layer.kernel_size, stride, dilation=dilation)
            if algorithm != "winograd" or winograd.applies(window, layer.groups):
                layer.algorithm = algorithm


def _say(options: argparse.Namespace, measured: Profile, place: Device) -> None:
    """What was run, and the machine's ceilings."""
    N, H, W, C = measured.input_shape
    kind = "training step without update" if measured.training else "inference"
    where = f"cpu, {measured.threads} thread(s)" if place == CPU else str(place)
    time = f"{1e3 * measured.seconds:.3g} ms, the fastest of {options.repeat}"
    print(f"{options.model}, {kind}, {N} image(s) of {H}×{W}×{C}, {where}: {time}")
    flops, bandwidth = (f"{value / 1e9:.3g}" for value in measured.ceilings)
    print(f"roofline: {flops} GFLOP/s of matrix products, {bandwidth} GB/s of copying")
