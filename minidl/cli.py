"""The command line: `minidl demo`, `train`, `summary`, `gradcheck`, `doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import models
from minidl import checks, demo, doctor
from minidl.backend import DeviceError, device, manual_seed
from minidl.checkpoint import CheckpointError
from minidl.data import DataLoader
from minidl.evaluation import evaluate
from minidl.gradcheck import GradcheckError, GradcheckReport
from minidl.inspection.summary import summary
from minidl.inspection.tables import show
from minidl.inspection.tracing import following
from minidl.names import build, fault_of, try_out, unknown
from minidl.nn import init
from minidl.recipe import Recipe, load_data, make_trainer
from minidl.train import TrainingDiverged, TrainingInterrupted
from minidl.version import __version__
from models.published import agreeing as forms_agreeing
from models.published import forms_of
from models.repvgg import custom_l2, custom_l2_kernels

DEFAULTS = Recipe()
RECIPE_OPTIONS = [field.name for field in dataclasses.fields(Recipe)]


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what to ask for instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Its exit status: 0; 1 when a check failed; 2 for a usage error; 130 after Ctrl-C; 141 when stdout
    was closed.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no × shows a question mark
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status: int = options.run(options)
        print(end="", flush=True)  # here, where a closed pipe is still noticed
        return status
    except BrokenPipeError:  # `minidl ... | head`: its reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (
        UsageError,
        DeviceError,
        CheckpointError,
        TrainingDiverged,
        ModuleNotFoundError,
        OSError,
        ValueError,
    ) as error:
        print(f"minidl {options.command}: {error}", *getattr(error, "__notes__", ()), sep="\n  ", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        when = f" after {interruption.epoch} epoch(s)" if isinstance(interruption, TrainingInterrupted) else ""
        print(f"\nminidl {options.command}: interrupted{when}", file=sys.stderr)
        if hasattr(options, "resume") and any((*options.output.glob("last.npz"), *options.output.glob("*/last.npz"))):
            again = arguments if options.resume else [*arguments, "--resume"]
            print(f"to go on:  minidl {shlex.join(again)}", file=sys.stderr)
        return 130


# --------------------------------------------------------------------------------------------------------- commands


def _demo(options: argparse.Namespace) -> int:
    device(options.device)
    recipe = dataclasses.replace(DEFAULTS, seed=options.seed, epochs=options.epochs, device=options.device)
    demo.run(options.family or list(demo.FAMILIES), recipe, options.output, options.resume)
    return 0


def _train(options: argparse.Namespace) -> int:
    if options.output is None:
        file, _, name = options.model.rpartition(":")
        options.output = Path("runs") / (f"{Path(file).stem}-{name}" if file else name)
    directory = options.output
    device(options.device)
    if options.resume != (directory / "last.npz").exists():
        raise UsageError(
            f"there is no run in {directory} to resume; leave --resume out to begin one"
            if options.resume
            else f"{directory} already holds a run; add --resume to go on with it, or choose another --output"
        )
    recipe = Recipe(**{name: getattr(options, name) for name in RECIPE_OPTIONS})
    train_set, test_set = load_data(options.data, recipe.image_size)
    images = train_set.batch([0, 1])[0]  # two: normalisation in training needs more than one value
    size, K = images.shape[1:], int(train_set.labels.max()) + 1
    print(f"{len(train_set):,} training and {len(test_set):,} test images of {'×'.join(map(str, size))}, {K} classes")
    manual_seed(recipe.seed)
    with fault_of(options.model):
        model = build(options.model, num_classes=K, in_channels=size[-1], **_form(options))
        try_out(model, images, num_classes=K)
    own = (custom_l2, custom_l2_kernels(model)) if options.custom_l2 else (None, ())
    trainer = make_trainer(model, (train_set, test_set), recipe, directory, *own)
    _keep_options(options, directory / "options.json")
    if options.resume:
        print(f"resumed after epoch {trainer.resume()}")
    with np.errstate(all="ignore"):  # the trainer looks for infinities itself, and says more
        trainer.fit(recipe.epochs)
    result = evaluate(model, DataLoader(test_set, 256), recipe.device)
    print(f"test accuracy {result.accuracy:.2%} on {len(test_set)} images; checkpoints are in {directory}/")
    return 0


def _form(options: argparse.Namespace) -> dict[str, str]:
    """Which form of the network was asked for."""
    return {} if options.variant is None else {"variant": options.variant}


def _keep_options(options: argparse.Namespace, path: Path) -> None:
    """Write down what a new run is; a resumed one must be the same. The device may change."""
    numbers = {"--" + name.replace("_", "-"): getattr(options, name) for name in RECIPE_OPTIONS if name != "device"}
    asked = {"MODEL": options.model, "--data": options.data, **numbers}
    asked |= {"--variant": options.variant, "--custom-l2": options.custom_l2}
    if not options.resume:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asked, indent=2) + "\n")
    elif path.exists():
        begun = _read_options(path)
        differing = [_as_asked(option, begun.get(option)) for option in asked if asked[option] != begun.get(option)]
        if differing:
            raise UsageError(
                f"{path.parent} was begun {', '.join(differing)}: give the same to go on, or another --output"
            )


def _read_options(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_text())
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise UsageError(f"{path} is damaged; without this file, --resume trusts that the options are the same")
    return options


def _as_asked(option: str, value: Any) -> str:
    """How a run was begun: "with --lr 0.05", "with --custom-l2", "without --variant"."""
    if value is None or value is False:
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"


def _summary(options: argparse.Namespace) -> int:
    published = forms_of(options.model)
    shape = options.input or (published[0].input if published else (8, 8, 1))
    K = options.classes or (published[0].classes if published else 10)
    with fault_of(options.model):
        with init.placeholders():
            model = build(options.model, num_classes=K, in_channels=shape[-1], **_form(options))
            if options.deploy:
                with following(lambda step: None):  # its kernels are not computed either
                    model = models.to_deploy(model)
        counted = summary(model, shape, training=options.training)
    agreeing = forms_agreeing(counted.parameters, counted.macs, shape)
    if options.json:
        names = [{"network": same.network, "source": same.source, "paper": same.paper} for same in agreeing]
        print(json.dumps(counted.as_dict() | {"agrees_with": names}, indent=2))
        return 0
    print(f"{options.model} for one image of {'×'.join(map(str, shape))}, {K} classes")
    show(counted.rows(options.depth), counted[""])
    for same in agreeing:
        print(f"agrees to the digit with {same.network}: {same.source}")
    for line in dict.fromkeys(line for same in agreeing for line in same.paper):
        print(f"printed in the paper: {line}")
    if published and not agreeing:
        print("agrees with none of the published figures, which are for:")
        for other in published:
            asked = "".join(f" {name}={value}" for name, value in other.options.items())
            print(
                f"  {other.source}:{asked} {'×'.join(map(str, other.input))}, {other.classes} classes; "
                f"{other.parameters:,} parameters, {other.macs:,} multiply-adds"
            )
    return 0


def _gradcheck(options: argparse.Namespace) -> int:
    known = checks.names()
    for name in options.name:
        if name not in known and ":" not in name:
            raise UsageError(unknown("operator, block or model", name, known))
    names = options.name or known
    width = max(map(len, names))
    wrong = 0
    for name in names:
        try:
            first, second = checks.run(name) if name in known else _check_own(name)
        except GradcheckError as error:
            wrong += 1
            print(f"{name:{width}}  WRONG: {error}", flush=True)
        else:
            columns = (
                f"{report.compared:>7,} {order} derivative{'s' if report.compared > 1 else ' '}  off by at most "
                f"{report.worst_relative:.0e}"
                for order, report in (("first", first), ("second", second))
            )
            print(f"{name:{width}}  {'  '.join(columns)}", flush=True)
    print(f"{wrong} of {len(names)} wrong" if wrong else "all gradients agree with finite differences")
    return 1 if wrong else 0


def _check_own(spec: str) -> list[GradcheckReport]:
    with fault_of(spec):
        return checks.check_module(lambda: build(spec, num_classes=10, in_channels=1), (4, 8, 8, 1), fast=True)


def _doctor(options: argparse.Namespace) -> int:
    print(doctor.report())
    return 0


# ---------------------------------------------------------------------------------------------------------- options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minidl",
        description="A deep-learning engine to read: autograd, convolutions and four families of networks on NumPy.",
        epilog="`minidl COMMAND --help` explains a command and its options.",
    )
    parser.add_argument("--version", action="version", version=f"minidl {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_demo(commands)
    _add_train(commands)
    _add_summary(commands)
    _add_gradcheck(commands)
    commands.add_parser(
        "doctor",
        help="what minidl runs on here, what is missing, and how to install it",
        description="Print versions, BLAS kernels and threads, the GPU, and the command for each missing package.",
    ).set_defaults(run=_doctor)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "demo",
        help="prove, train and compare the four families on real handwritten digits",
        description=(
            "For each family (VGG, Inception, RepVGG, ResNet): compare the gradients of its blocks with finite "
            "differences, train its small network on 1,437 handwritten digits, and test it on 360 others. RepVGG is "
            "then fused to its plain form. Pictures, checkpoints and summary.json are written; an earlier demo there "
            "is replaced."
        ),
    )
    families = list(demo.FAMILIES)
    text = f"only this one of {', '.join(families)}; may be repeated"
    parser.add_argument("--family", action="append", choices=families, metavar="FAMILY", help=text)
    text = "passes over the training images (default %(default)s)"
    parser.add_argument("--epochs", type=_positive, default=DEFAULTS.epochs, metavar="X", help=text)
    _add_common(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR", help="default %(default)s")
    parser.set_defaults(run=_demo)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train one network",
        description="Train a network by SGD with Nesterov momentum and a cosine learning rate; each epoch is saved.",
    )
    _add_model(parser)
    parser.add_argument(
        "--data",
        default="digits",
        help="digits (the default), or a .npz file with train_images, train_labels, test_images and test_labels",
    )
    for name, kind, text in (
        ("epochs", _positive, "passes over the training images"),
        ("batch_size", _positive, "images a step"),
        ("lr", float, "the learning rate after the first epoch, before a cosine lowers it; the large VGGs need 0.01"),
        ("momentum", float, "Nesterov momentum; 0 is plain SGD"),
        ("weight_decay", float, "on weight matrices and filters; biases and batch norms have none"),
        ("label_smoothing", float, "the share of each target spread over all classes"),
    ):
        default = getattr(DEFAULTS, name)
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=default, metavar="X", help=f"{text} (default %(default)s)")
    text = "resize the images to X×X (default: as they are); the larger networks need it"
    parser.add_argument("--image-size", type=_positive, default=DEFAULTS.image_size, metavar="X", help=text)
    text = "RepVGG's own weight decay, which regularises the kernel that the branches add up to"
    parser.add_argument("--custom-l2", action="store_true", help=text)
    _add_common(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="where checkpoints go (default runs/MODEL)")
    parser.set_defaults(run=_train)


def _add_summary(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "summary",
        help="count a network: shapes, parameters, multiply-adds, activations, receptive fields",
        description=(
            "Print, for each layer of a network, what it gives for one image: shape, parameters, multiply-adds (those "
            "of convolutions and linear layers), memory of the results, receptive field and stride; and the sums, with "
            "the published figures that they agree with. Nothing is computed, and no weight takes memory."
        ),
    )
    _add_model(parser)
    text = "the image, as 224x224x3 or 224 (default: the published one, or 8x8x1)"
    parser.add_argument("--input", type=_image_shape, metavar="HxWxC", help=text)
    text = "how many (default: as published, or 10)"
    parser.add_argument("--classes", type=_positive, metavar="K", help=text)
    text = "in the form in which it is run: batch normalisation folded, RepVGG's branches merged"
    parser.add_argument("--deploy", action="store_true", help=text)
    parser.add_argument("--training", action="store_true", help="as in training, with auxiliary heads")
    text = "how deep to look into layers of layers (default %(default)s)"
    parser.add_argument("--depth", type=_positive, default=2, metavar="D", help=text)
    parser.add_argument("--json", action="store_true", help="all layers at any depth, for a program to read")
    parser.set_defaults(run=_summary)


def _add_model(parser: argparse.ArgumentParser) -> None:
    lines = ["networks:"]
    for family, builders in models.FAMILIES.items():
        names = ", ".join(builder.__name__ for builder in builders)
        lines.append(textwrap.fill(f"{family}: {names}", 100, initial_indent="  ", subsequent_indent="    "))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = textwrap.fill(parser.description or "", 100)
    parser.epilog = "\n".join(lines)
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=(
            "a network by its name (they are listed below), or one of your own as FILE.py:NAME, a class or function "
            "that is called with num_classes= and in_channels="
        ),
    )
    text = 'a form of the network other than the usual one, such as "paper" for resnet50 or googlenet'
    parser.add_argument("--variant", metavar="NAME", help=text)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=_seed, default=DEFAULTS.seed, help="of all random numbers (default %(default)s)")
    parser.add_argument("--device", default=DEFAULTS.device, help='"cpu" (the default), "gpu" or "gpu:<number>"')
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch of an earlier run")


def _add_gradcheck(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "gradcheck",
        help="compare gradients with finite differences",
        description=(
            "Compare first and second derivatives with central differences in float64, for a random upstream gradient. "
            "For operators and blocks every derivative is compared, for whole networks one along a random direction. "
            "The exit status is 1 when any is wrong."
        ),
        epilog=(
            f"Known names: {', '.join(checks.names())}. A network of your own is given as FILE.py:NAME, a class or "
            "function that is called with num_classes=10 and in_channels=1; it must take images (4, 8, 8, 1)."
        ),
    )
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help="operators, blocks or models; all of them when none is given"
    )
    parser.set_defaults(run=_gradcheck)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _image_shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().replace("×", "x").split("x")
    if len(sizes) not in (1, 3) or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected an image as 224x224x3 or 224, got {text!r}")
    return tuple(map(int, sizes)) if len(sizes) == 3 else (int(text), int(text), 3)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
