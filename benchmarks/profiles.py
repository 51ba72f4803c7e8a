"""Where minidl's time goes: the part of the report that `minidl profile` measured, network by network.

    minidl profile resnet18 --training --output benchmarks/results/<machine>/resnet18-training.json

writes a file in the folder that is named as the machine's results are. Its picture, from `--plot`, has the same name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.figures import number
from benchmarks.tables import table
from minidl.inspection.timings import Timing, Work

Group = tuple[str, int, Work, Work]  # a name, how many layers, and what they did forward and backward


def account(folder: Path) -> str:
    """A table by kind of layer and one by part of the network, for each profile in the folder; empty without any."""
    found = sorted(folder.glob("*.json"))
    return "\n\n".join(_account(path, json.loads(path.read_text(encoding="utf-8"))) for path in found)


def _account(path: Path, measured: dict[str, Any]) -> str:
    seconds = measured["forward_seconds"] + measured["backward_seconds"]
    layers = [_timing(layer) for layer in measured["layers"]]
    N, H, W, _ = measured["input_shape"]
    mode = "forward and backward" if measured["training"] else "inference"
    forward = Work(measured["forward_seconds"] - sum(layer.forward.seconds for layer in layers))
    backward = Work(measured["backward_seconds"] - sum(layer.backward.seconds for layer in layers))
    rest: Group = "Python, sums of gradients, memory", 0, forward, backward
    picture = path.with_suffix(".png")
    lines = [
        f"**{measured['network']}**, {mode}, {N} image(s) of {H}×{W}, {measured['threads']} thread(s): "
        f"{number(1e3 * seconds)} ms, the fastest run. [Layer by layer](results/{path.parent.name}/{picture.name}).",
        _table("layers of a kind", [*_grouped(layers, _kind), rest], seconds),
        _table("part of the network", [*_grouped(layers, _part), rest], seconds),
    ]
    return "\n\n".join(lines)


def _timing(layer: dict[str, Any]) -> Timing:
    works = (Work(**layer[direction]) for direction in ("forward", "backward"))
    return Timing(layer["name"], layer["kind"], tuple(layer["output_shape"]), *works)


def _kind(layer: Timing) -> str:
    """3×3 convolution, BatchNorm2d, ..."""
    kernel = re.match(r"Conv2d\(.*kernel_size=\((\d+), (\d+)\)", layer.kind)
    return f"{kernel[1]}×{kernel[2]} convolution" if kernel else layer.kind.partition("(")[0]


def _part(layer: Timing) -> str:
    """The first part of a layer's dotted name."""
    return layer.name.partition(".")[0] or "between layers"


def _grouped(layers: Iterable[Timing], key: Callable[[Timing], str]) -> list[Group]:
    """The layers that did something, added up by their key, in the order in which the keys come."""
    groups: dict[str, Group] = {}
    for layer in layers:
        if layer.seconds > 0:
            name, count, forward, backward = groups.get(key(layer), (key(layer), 0, Work(), Work()))
            groups[name] = name, count + 1, forward + layer.forward, backward + layer.backward
    return list(groups.values())


def _table(title: str, groups: list[Group], seconds: float) -> str:
    header = (title, "layers", "forward, ms", "GFLOP/s", "backward, ms", "GFLOP/s", "share")
    rows = [
        (
            name,
            str(count or ""),
            *(cell for work in (forward, backward) for cell in (number(1e3 * work.seconds), _flops(work))),
            f"{(forward.seconds + backward.seconds) / seconds:.1%}",
        )
        for name, count, forward, backward in groups
        if forward.seconds + backward.seconds >= 0.002 * seconds
    ]
    return table(header, rows)


def _flops(work: Work) -> str:
    return number(work.flops / 1e9) if work.macs else ""
