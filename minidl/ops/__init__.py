"""The mathematics: one idea a file, forward beside backward.

Read them in this order: broadcast, convert, choice, elementwise, shape, reduce, matmul, activation, conv, pool, norm,
dropout, loss.
"""

# Importing any op brings all: each adds its operators and methods to Tensor.
from minidl.ops import (
    activation,
    broadcast,
    choice,
    conv,
    convert,
    dropout,
    elementwise,
    loss,
    matmul,
    norm,
    pool,
    reduce,
    shape,
)

__all__ = [
    "activation",
    "broadcast",
    "choice",
    "conv",
    "convert",
    "dropout",
    "elementwise",
    "loss",
    "matmul",
    "norm",
    "pool",
    "reduce",
    "shape",
]
