"""Blocks in pairs, of which one was invented to need less than the other: does it take less time, too?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.case import Case
from benchmarks.cases.operations import MODES

SHAPES = {  # of the images, by the first part of the block's name
    "inception": (8, 28, 28, 256),
    "bottleneck": (8, 56, 56, 256),
    "repvgg": (8, 56, 56, 64),
    "filters": (8, 17, 17, 192),
}

# {name: what it is, and how `modules.create` makes it}
BLOCKS: dict[str, dict[str, Any]] = {
    "inception/naive": {"block": "naive inception", "sizes": (256, 128, 192, 96), "folds": True},
    "inception/reduced": {"block": "inception", "sizes": (256, 128, 64, 192, 64, 96, 64), "folds": True},
    "bottleneck/1x1-3x3-1x1": {"block": "bottleneck", "sizes": (256, 64), "folds": True},
    "bottleneck/two-3x3": {"block": "filters", "sizes": (256, (3, 3), (3, 3))},
    "repvgg/training-form": {"block": "repvgg", "sizes": (64, 64), "form": "training"},
    "repvgg/plain-form": {"block": "repvgg", "sizes": (64, 64), "form": "plain"},
    "filters/7x7": {"block": "filters", "sizes": (192, (7, 7))},
    "filters/three-3x3": {"block": "filters", "sizes": (192, (3, 3), (3, 3), (3, 3))},
    "filters/1x7-7x1": {"block": "filters", "sizes": (192, (1, 7), (7, 1))},
}


@dataclass(frozen=True)
class Pair:
    """Two blocks of which `less` needs fewer multiply-adds than `more` for the same."""

    more: str
    less: str
    source: str


PAIRS = (
    Pair("inception/naive", "inception/reduced", "1×1 filters before the large ones (GoogLeNet, figure 2)"),
    Pair("bottleneck/two-3x3", "bottleneck/1x1-3x3-1x1", "3×3 filters on a quarter of the channels (ResNet, figure 5)"),
    Pair("repvgg/training-form", "repvgg/plain-form", "branches merged into one 3×3 (RepVGG, §3.3)"),
    Pair("filters/7x7", "filters/three-3x3", "three 3×3 that see as much as a 7×7 (VGG, §2.3)"),
    Pair("filters/7x7", "filters/1x7-7x1", "a 7×7 factorised (Inception-v3, figure 6)"),
)


def block(name: str, mode: str, shape: tuple[int, ...] | None = None, sizes: tuple[Any, ...] | None = None) -> Case:
    """One of `BLOCKS`.  shape, sizes   others than its own"""
    options = BLOCKS[name] | ({} if sizes is None else {"sizes": sizes})
    return Case(f"block/{name}/{mode}", "block", MODES[mode], shape or SHAPES[name.partition("/")[0]], options)


def cases() -> list[Case]:
    return [block(name, mode) for name in BLOCKS for mode in MODES]
