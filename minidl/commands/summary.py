"""`minidl summary`."""

from __future__ import annotations

import argparse
import json

import models
from minidl.commands.options import add_form, add_model, asked_input, asked_model, positive
from minidl.inspection.summary import summary
from minidl.inspection.tables import grid
from minidl.inspection.tracing import following
from minidl.names import fault_of
from minidl.nn import init
from models.published import agreeing as forms_agreeing


def add_summary(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "summary",
        help="count a network: shapes, parameters, multiply-adds, activations, receptive fields",
        description=(
            "Print, for each layer of a network, what it gives for one image: shape, parameters, multiply-adds (those "
            "of convolutions and linear layers), memory of the results, receptive field and stride; and the sums, with "
            "the published figures that they agree with. Nothing is computed, and no weight takes memory."
        ),
    )
    add_model(parser)
    add_form(parser)
    parser.add_argument("--training", action="store_true", help="as in training, with auxiliary heads")
    text = "how deep to look into layers of layers (default %(default)s)"
    parser.add_argument("--depth", type=positive, default=2, metavar="D", help=text)
    parser.add_argument("--json", action="store_true", help="all layers at any depth, for a program to read")
    parser.set_defaults(run=_summary)


def _summary(options: argparse.Namespace) -> int:
    published, shape, K = asked_input(options)
    with fault_of(options.model):
        with init.placeholders():
            model = asked_model(options, shape, K)
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
    grid(counted.rows(options.depth), counted[""]).show()
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
