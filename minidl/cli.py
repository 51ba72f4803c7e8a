"""The command line: `minidl demo`, `minidl train`, `minidl gradcheck`, `minidl doctor`."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import models
from minidl import checks, demo, doctor
from minidl.backend import DeviceError, device, manual_seed
from minidl.checkpoint import CheckpointError
from minidl.data import DataLoader
from minidl.gradcheck import GradcheckError
from minidl.nn import Module
from minidl.recipe import Recipe, load_data, make_trainer
from minidl.train import TrainingDiverged, evaluate
from minidl.version import __version__

DEFAULTS = Recipe()


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what to ask for instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status: 0; 1 when a check failed; 2 for a usage error; 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return options.run(options)
    except (
        UsageError,
        DeviceError,
        CheckpointError,
        TrainingDiverged,
        ModuleNotFoundError,
        OSError,
        ValueError,
    ) as error:
        print(f"minidl {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"\nminidl {options.command}: {str(interruption) or 'interrupted'}", file=sys.stderr)
        if hasattr(options, "resume"):
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
    device(options.device)
    directory = options.output or Path("runs") / options.model.replace(".py:", "-").replace("/", "-")
    if (directory / "last.npz").exists() and not options.resume:
        raise UsageError(f"{directory} already holds a run; add --resume to go on with it, or choose another --output")
    recipe = Recipe(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Recipe)})
    train_set, test_set = load_data(options.data)
    manual_seed(recipe.seed)
    num_classes, in_channels = int(train_set.labels.max()) + 1, train_set.images.shape[-1]
    model = _build(options.model, num_classes, in_channels)
    trainer = make_trainer(model, (train_set, test_set), recipe, directory)
    if options.resume:
        print(f"resumed after epoch {trainer.resume()}")
    trainer.fit(recipe.epochs)
    result = evaluate(model, DataLoader(test_set, 256), recipe.device)
    print(f"test accuracy {result.accuracy:.2%} on {len(test_set)} images; checkpoints are in {directory}/")
    return 0


def _gradcheck(options: argparse.Namespace) -> int:
    known = checks.names()
    for name in options.name:
        if name not in known and ".py:" not in name:
            raise UsageError(_unknown("operator, block or model", name, known))
    failed = 0
    for name in options.name or known:
        try:
            if ".py:" in name:
                first, second = checks.check_module(lambda name=name: _build(name, 10, 1), (4, 8, 8, 1), fast=True)
            else:
                first, second = checks.run(name)
        except GradcheckError as error:
            failed += 1
            print(f"{name:20} WRONG  {error}")
        else:
            print(f"{name:20} first: {first}; second: {second}", flush=True)
    print(
        f"{failed} of {len(options.name or known)} wrong" if failed else "all gradients agree with finite differences"
    )
    return 1 if failed else 0


def _doctor(options: argparse.Namespace) -> int:
    print(doctor.report())
    return 0


def _build(spec: str, num_classes: int, in_channels: int) -> Module:
    """The model called `spec`: one of `models.names()`, or a class or function in a file, "my_net.py:Net"."""
    path, colon, attribute = spec.rpartition(":")
    if not colon:
        return models.create(spec, num_classes, in_channels)
    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file (a model of your own is given as FILE.py:NAME)")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    builder: Callable[..., Module] | None = getattr(module, attribute, None)
    if builder is None:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UsageError(f"{path}: {_unknown('name', attribute, public)}")
    model = builder(num_classes=num_classes, in_channels=in_channels)
    if not isinstance(model, Module):
        raise UsageError(
            f"{spec}(num_classes=..., in_channels=...) gave a {type(model).__name__}, not a minidl.nn.Module"
        )
    return model


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"unknown {kind} {name!r}: " + (
        f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    )


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
    _add_gradcheck(commands)
    commands.add_parser(
        "doctor",
        help="what minidl runs on here, what is missing, and how to install it",
        description="Print versions, BLAS kernels and threads, the GPU, and for each missing package the command for it.",
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
    parser.add_argument("--family", action="append", choices=list(demo.FAMILIES), help="only this one; may be repeated")
    parser.add_argument("--epochs", type=_positive, default=DEFAULTS.epochs, help="default %(default)s")
    _add_common(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR", help="default %(default)s")
    parser.set_defaults(run=_demo)


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train one network",
        description="Train a network by SGD with Nesterov momentum and a cosine learning rate, with a checkpoint an epoch.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help=f"{', '.join(models.names())}, or one of your own as FILE.py:NAME"
    )
    parser.add_argument(
        "--data",
        default="digits",
        help="digits (the default), or a .npz file with train_images, train_labels, test_images and test_labels",
    )
    for name, kind, text in (
        ("epochs", _positive, "passes over the training images"),
        ("batch_size", _positive, "images a step"),
        ("lr", float, "the learning rate after the first epoch, before it falls along a cosine"),
        ("momentum", float, "Nesterov momentum; 0 is plain SGD"),
        ("weight_decay", float, "on weight matrices and filters; biases and batch norms have none"),
        ("label_smoothing", float, "the share of each target spread over all classes"),
    ):
        default = getattr(DEFAULTS, name)
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=default, metavar="X", help=f"{text} (default %(default)s)")
    _add_common(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="where checkpoints go (default runs/MODEL)")
    parser.set_defaults(run=_train)


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
        epilog=f"Known names: {', '.join(checks.names())}. A network of your own is given as FILE.py:NAME.",
    )
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help="operators, blocks or models; all of them when none is given"
    )
    parser.set_defaults(run=_gradcheck)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
