"""Blocks of networks, as the judges of exercises need them: their parameters by name, weights, and batch norms."""

import numpy as np
import oracle

from minidl import nn
from minidl.exercises.judging import judge, require


def same_parameters(call, block, wanted):
    """Names and shapes of a block's parameters, which must be these: checkpoints find their places by them."""
    got = {name: parameter.shape for name, parameter in block.named_parameters()}
    wrong = [
        f"    {name}: wanted {wanted.get(name, 'none of that name')}, got {got.get(name, 'none of that name')}"
        for name in {**wanted, **got}
        if wanted.get(name) != got.get(name)
    ]
    require(not wrong, "its parameters have other names or shapes than a checkpoint:\n" + "\n".join(wrong), call=call)


def trained(block, rng):
    """The block in float64 and inference mode, as after training: no weight and no statistic is what it starts as."""
    block.to(dtype=np.float64).eval()
    for parameter in block.parameters():
        parameter.data = rng.standard_normal(parameter.shape)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.data = rng.standard_normal(module.num_features)
            module.running_var.data = rng.uniform(0.5, 2, module.num_features)
    return block


def by_hand(block, **weights):
    """The block in float64 and inference mode, with these weights, and batch norms that change nothing."""
    block.to(dtype=np.float64).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # mean 0 and variance 1 it starts with
    parameters = dict(block.named_parameters())
    for name, values in weights.items():
        parameter = parameters[name.replace("__", ".")]
        parameter.data = np.broadcast_to(np.array(values, dtype=np.float64), parameter.shape).copy()
    return block


def normed(x, state, name, training=False, eps=1e-5):
    """What the batch norm `name` must give for x (N, H, W, C), by the definition; `state` is the block's state_dict.

    In training it moves the running statistics in `state`, once, as the layer moves its own.
    """
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        mean, variance, _ = oracle.batch_statistics(x)
        n = x[..., 0].size
        for kind, of_batch in (("mean", mean), ("var", variance * n / (n - 1))):
            state[f"{name}.running_{kind}"] = 0.9 * state[f"{name}.running_{kind}"] + 0.1 * of_batch
    return oracle.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps)


def same_statistics(call, block, state):
    """The running statistics of the block after a batch in training; `state` is what `normed` has moved."""
    for name, array in block.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            judge(f"{call}\n\nafterwards, {name}: each batch moves it once", array, state[name])


def relu(x):
    return np.maximum(x, 0)
