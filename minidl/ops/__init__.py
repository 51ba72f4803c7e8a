"""The mathematics: one idea a file, forward beside backward.

Read them in this order: broadcast, convert, choice, elementwise, shape, indexing, padding, reduce, order, matmul,
activation, softmax, conv, pool, adaptive_pool, norm, dropout, loss, cross_entropy.
"""

# Importing any op brings all: each adds its operators and methods to Tensor.
from minidl.ops import (
    activation,
    adaptive_pool,
    broadcast,
    choice,
    conv,
    convert,
    cross_entropy,
    dropout,
    elementwise,
    indexing,
    loss,
    matmul,
    norm,
    order,
    padding,
    pool,
    reduce,
    shape,
    softmax,
)

__all__ = [
    "activation",
    "adaptive_pool",
    "broadcast",
    "choice",
    "conv",
    "convert",
    "cross_entropy",
    "dropout",
    "elementwise",
    "indexing",
    "loss",
    "matmul",
    "norm",
    "order",
    "padding",
    "pool",
    "reduce",
    "shape",
    "softmax",
]
