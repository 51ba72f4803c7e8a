"""What commands have in common: a network to be named, kinds of numbers, and the error for what cannot be done."""

from __future__ import annotations

import argparse
import textwrap

import models
from minidl.names import build
from minidl.nn import Module
from models.published import Published, forms_of


class UsageError(Exception):
    """What the user asked for cannot be done; the message says what to ask for instead."""


def add_model(parser: argparse.ArgumentParser) -> None:
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


def form(options: argparse.Namespace) -> dict[str, str]:
    """Which form of the network was asked for."""
    return {} if options.variant is None else {"variant": options.variant}


def add_form(parser: argparse.ArgumentParser) -> None:
    """Options of commands that look at a network without data: what image it is for, and how it is to be run."""
    text = "the image, as 224x224x3 or 224 (default: the published one, or 8x8x1)"
    parser.add_argument("--input", type=image_shape, metavar="HxWxC", help=text)
    text = "how many (default: as published, or 10)"
    parser.add_argument("--classes", type=positive, metavar="K", help=text)
    text = "in the form in which it is run: batch normalisation folded, RepVGG's branches merged"
    parser.add_argument("--deploy", action="store_true", help=text)


def asked_input(options: argparse.Namespace) -> tuple[list[Published], tuple[int, ...], int]:
    """The published forms of the network that was asked for, the image (H, W, C), and the number of classes."""
    published = forms_of(options.model)
    shape = options.input or (published[0].input if published else (8, 8, 1))
    return published, shape, options.classes or (published[0].classes if published else 10)


def asked_model(options: argparse.Namespace, shape: tuple[int, ...], K: int) -> Module:
    """The network that was asked for, before `--deploy`."""
    return build(options.model, num_classes=K, in_channels=shape[-1], **form(options))


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def image_shape(text: str) -> tuple[int, ...]:
    sizes = text.lower().replace("×", "x").split("x")
    if len(sizes) not in (1, 3) or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"expected an image as 224x224x3 or 224, got {text!r}")
    return tuple(map(int, sizes)) if len(sizes) == 3 else (int(text), int(text), 3)


def seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)
