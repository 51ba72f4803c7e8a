"""All cases, and which of them are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from benchmarks.case import FORWARD, STEP, Case
from benchmarks.cases import blocks, endtoend, networks, operations, scaling
from benchmarks.cases.networks import network


def cases() -> list[Case]:
    """Everything, in the order in which it is measured."""
    return [*networks.cases(), *endtoend.cases(), *operations.cases(), *blocks.cases(), *scaling.cases()]


def smoke() -> list[Case]:
    """One tiny case of every kind: to see that everything runs and is right, not to time anything."""
    both, tiny = "forward+backward", (2, 6, 6, 8)
    return [
        network("resnet_small", "network/resnet_small/training", STEP, 4),
        network("repvgg_a0", "network/repvgg_a0/inference", FORWARD, 2, 32),
        network("googlenet", "network/googlenet/training", STEP, 4, 64),
        operations.tiny_convolution(both),
        operations.pooling(3, 1, both, (2, 8, 8, 4)),
        operations.batch_norm(both, (2, 6, 6, 8)),
        blocks.block("inception/naive", both, tiny, (8, 4, 4, 4)),
        blocks.block("inception/reduced", "forward", tiny, (8, 4, 4, 4, 4, 4, 4)),
        blocks.block("bottleneck/1x1-3x3-1x1", both, tiny, (8, 2)),
        blocks.block("repvgg/training-form", both, tiny, (8, 8)),
        blocks.block("repvgg/plain-form", "forward", tiny, (8, 8)),
        blocks.block("filters/1x7-7x1", both, tiny, (8, (1, 7), (7, 1))),
        endtoend.epoch(100),
        endtoend.start(),
        *map(endtoend.overhead, endtoend.OVERHEAD),
    ]


def select(patterns: Sequence[str], known: Sequence[Case]) -> list[Case]:
    """The cases whose name one of the patterns matches, `*` standing for any letters. Without patterns, all.

    Raises: ValueError for a pattern that matches none.
    """
    for pattern in patterns:
        if not any(fnmatchcase(case.name, pattern) for case in known):
            names = [case.name for case in known]
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else "`python -m benchmarks list` lists them"
            raise ValueError(f"no case {pattern!r}: {hint}")
    return [case for case in known if not patterns or any(fnmatchcase(case.name, pattern) for pattern in patterns)]
