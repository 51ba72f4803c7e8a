"""`minidl demo` and `minidl train`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from minidl import demo
from minidl.backend import device, manual_seed
from minidl.commands.options import UsageError, add_model, form, positive, seed
from minidl.data import DataLoader
from minidl.evaluation import evaluate
from minidl.names import build, fault_of, try_out
from minidl.recipe import Recipe, load_data, make_trainer
from models.repvgg import custom_l2, custom_l2_kernels

DEFAULTS = Recipe()
RECIPE_OPTIONS = [field.name for field in dataclasses.fields(Recipe)]


def add_demo(commands: argparse._SubParsersAction) -> None:
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
    parser.add_argument("--epochs", type=positive, default=DEFAULTS.epochs, metavar="X", help=text)
    _add_common(parser)
    parser.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR", help="default %(default)s")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    device(options.device)
    recipe = dataclasses.replace(DEFAULTS, seed=options.seed, epochs=options.epochs, device=options.device)
    demo.run(options.family or list(demo.FAMILIES), recipe, options.output, options.resume)
    return 0


def add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        help="train one network",
        description="Train a network by SGD with Nesterov momentum and a cosine learning rate; each epoch is saved.",
    )
    add_model(parser)
    parser.add_argument(
        "--data",
        default="digits",
        help="digits (the default), or a .npz file with train_images, train_labels, test_images and test_labels",
    )
    for name, kind, text in (
        ("epochs", positive, "passes over the training images"),
        ("batch_size", positive, "images a step"),
        ("lr", float, "the learning rate after the first epoch, before a cosine lowers it; the large VGGs need 0.01"),
        ("momentum", float, "Nesterov momentum; 0 is plain SGD"),
        ("weight_decay", float, "on weight matrices and filters; biases and batch norms have none"),
        ("label_smoothing", float, "the share of each target spread over all classes"),
    ):
        default = getattr(DEFAULTS, name)
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, default=default, metavar="X", help=f"{text} (default %(default)s)")
    text = "resize the images to X×X (default: as they are); the larger networks need it"
    parser.add_argument("--image-size", type=positive, default=DEFAULTS.image_size, metavar="X", help=text)
    text = "RepVGG's own weight decay, which regularises the kernel that the branches add up to"
    parser.add_argument("--custom-l2", action="store_true", help=text)
    _add_common(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="where checkpoints go (default runs/MODEL)")
    parser.set_defaults(run=_train)


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
        model = build(options.model, num_classes=K, in_channels=size[-1], **form(options))
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


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=seed, default=DEFAULTS.seed, help="of all random numbers (default %(default)s)")
    parser.add_argument("--device", default=DEFAULTS.device, help='"cpu" (the default), "gpu" or "gpu:<number>"')
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch of an earlier run")
