"""The blocks and networks of the cases, in minidl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import models
from benchmarks.case import FORWARD, Case
from minidl import nn
from models.googlenet import Inception, NaiveInception
from models.repvgg import RepVGGBlock
from models.resnet import Bottleneck


def _filter(C: int, *kernels: tuple[int, int]) -> nn.Module:
    """Convolutions of C channels, one after the other, that keep the size of the image."""
    return nn.Sequential(*(nn.Conv2d(C, C, (KH, KW), padding=(KH // 2, KW // 2), bias=False) for KH, KW in kernels))


BLOCKS: dict[str, Callable[..., nn.Module]] = {  # by name, from the sizes that a case gives
    "naive inception": NaiveInception,
    "inception": Inception,
    "bottleneck": Bottleneck,
    "repvgg": RepVGGBlock,
    "filters": _filter,
}


def create(options: Mapping[str, Any]) -> nn.Module:
    """The module that the options of a case name: a "block" with its "sizes", or a "network" with its "arguments".

    "form" is that of a RepVGG block: "training", its branches, or "plain", the one convolution that they become.
    """
    if "network" in options:
        return models.create(options["network"], **options.get("arguments", {}))
    block = BLOCKS[options["block"]](*options["sizes"])
    return models.to_deploy(block) if options.get("form") == "plain" else block


def as_run(case: Case, module: nn.Module) -> nn.Module:
    """The module as the case runs it: in inference in its deploy form, unless the case is about the form."""
    if case.mode == FORWARD and "form" not in case.options:
        return models.to_deploy(module)
    return module.train(case.trains)
