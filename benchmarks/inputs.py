"""The numbers that a case computes with, from a seed: the same ones in each engine's process, in minidl's layouts."""

from __future__ import annotations

import numpy as np

from benchmarks.case import Case


def operands(case: Case) -> dict[str, np.ndarray]:
    """The input "x", and what else an operation has: "weight" and "bias", or the other operand "other"."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    arrays = {"x": normal(*case.shape)}
    if case.what == "conv2d":
        arrays["weight"] = normal(*case.options["kernel"], case.shape[-1], case.options["filters"])  # (KH, KW, C, F)
    if case.what == "batch_norm":
        arrays |= {"weight": 1 + normal(case.shape[-1]), "bias": normal(case.shape[-1])}  # (C,)
    if case.what in ("add", "matmul"):
        arrays["other"] = normal(*case.shape)
    return arrays


def upstream(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient to an output of this shape, (N, OH, OW, F) for images."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def labels(case: Case) -> np.ndarray:
    """(N,), the class of each image."""
    return np.random.default_rng(2).integers(case.options["classes"], size=case.batch)
