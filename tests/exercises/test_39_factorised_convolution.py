"""Judges of exercise 39: Inception-v3's module of 1×7 and 7×1 filters."""

import numpy as np
import oracle
import pytest
from blocks import normed, relu, same_parameters, trained

from minidl import Tensor, nn
from minidl.exercises.judging import judge, untouched
from models.inception_v3 import InceptionB

pytestmark = pytest.mark.exercise("factorised-convolution")

ROW, COLUMN = (1, 7), (7, 1)
SINGLE = ((1, 1), ROW, COLUMN)  # kernels of branch7x7_1 to branch7x7_3
DOUBLE = ((1, 1), COLUMN, ROW, COLUMN, ROW)  # and of branch7x7dbl_1 to branch7x7dbl_5
SOME = [0, 1, 100, 191]  # filters of the last convolution of a branch: the others would only take longer


def unit(x, w, name, filters=None, training=False):
    """Convolution with "same" padding, batch norm with ε = 0.001, ReLU; or some of the filters."""
    kernel = w[f"{name}.conv.weight"]
    filters = range(kernel.shape[3]) if filters is None else filters
    w = {key: w[f"{name}.bn.{key[2:]}"][filters] for key in ("n.weight", "n.bias", "n.running_mean", "n.running_var")}
    padding = kernel.shape[0] // 2, kernel.shape[1] // 2
    return relu(normed(oracle.conv2d(x, kernel[..., filters], padding=padding), w, "n", training, eps=1e-3))


def written_out(x, w, training=False):
    """Some channels of each branch, one below the other: (4, N, H, W, len(SOME))."""
    y = [unit(x, w, "branch1x1", SOME, training)]
    for name, count in (("branch7x7", 3), ("branch7x7dbl", 5)):
        between = x
        for i in range(1, count):
            between = unit(between, w, f"{name}_{i}", None, training)
        y.append(unit(between, w, f"{name}_{count}", SOME, training))
    y.append(unit(oracle.avg_pool2d(x, 3, stride=1, padding=1), w, "branch_pool", SOME, training))
    return np.stack(y)


def some_of_each_branch(y):
    """(N, H, W, 4 · 192) → (4, N, H, W, len(SOME))"""
    return np.stack([y[..., 192 * i : 192 * (i + 1)][..., SOME] for i in range(4)])


def kernels(C, c7):
    """The kernels of InceptionB(C, c7), by the names of their units."""
    last = {"branch1x1": (1, 1, C, 192), "branch_pool": (1, 1, C, 192)}
    for name, sizes in (("branch7x7", SINGLE), ("branch7x7dbl", DOUBLE)):
        channels = [C, *[c7] * (len(sizes) - 1), 192]
        last |= {f"{name}_{i + 1}": (*size, channels[i], channels[i + 1]) for i, size in enumerate(sizes)}
    return last


def test_parameters():
    """names and shapes of the weights of InceptionB(4, c7=3), as torchvision's checkpoints have them"""
    wanted = {}
    for name, kernel in kernels(4, 3).items():
        wanted |= {f"{name}.conv.weight": kernel, f"{name}.bn.weight": kernel[3:], f"{name}.bn.bias": kernel[3:]}
    same_parameters("InceptionB(4, c7=3)", InceptionB(4, c7=3), wanted)


@pytest.mark.parametrize(("training", "shape"), [(False, (2, 4, 9, 3)), (False, (1, 8, 3, 3)), (True, (2, 3, 5, 3))])
def test_each_branch(training, shape):
    """each of the four branches in turn: 1×1; 1×7 and 7×1; the double one; 1×1 of the mean of 3×3 pixels"""
    rng = np.random.default_rng(39)
    module = trained(InceptionB(3, c7=2), rng).train(training)
    x = rng.standard_normal(shape)
    wanted = written_out(x, module.state_dict(), training)
    call = f"InceptionB(3, c7=2).{'train' if training else 'eval'}()(x)"
    with untouched(call, x=x):
        y = module(Tensor(x)).data
    judge(f"the shape of {call}, x of shape {shape}", str(y.shape), str((*shape[:3], 768)))
    names = ("branch1x1", "branch7x7_3", "branch7x7dbl_5", "branch_pool")
    for i, (name, branch) in enumerate(zip(names, some_of_each_branch(y), strict=True)):
        others = {f"it comes from {names[j]}": wanted[j] for j in range(4) if j != i}
        place = f"channels {192 * i} + {SOME}, of {name}"
        judge(f"{call}, x of shape {shape}; {place}", branch, wanted[i], mistakes=others)


def test_what_one_pixel_reaches():
    """a single pixel reaches 7×7 outputs through the single branch, and 13×13 through the double one"""
    module = InceptionB(1, c7=1).to(dtype=np.float64).eval()
    for parameter in module.parameters():
        parameter.data = np.ones(parameter.shape)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.bias.data = np.zeros(part.num_features)
    x = np.zeros((1, 15, 17, 1))
    x[0, 7, 8] = 1.0
    reached = some_of_each_branch(module(Tensor(x)).data)[:, 0, :, :, 0] > 0  # (4, 15, 17)
    got = {}
    for name, branch in zip(("branch1x1", "branch7x7_3", "branch7x7dbl_5", "branch_pool"), reached, strict=True):
        got[name] = f"{branch.any(axis=1).sum()}×{branch.any(axis=0).sum()}"
    judge(
        "how many rows × columns of InceptionB(1, c7=1)(x) are not 0, where one pixel of x is not, with weights of 1",
        got,
        {"branch1x1": "1×1", "branch7x7_3": "7×7", "branch7x7dbl_5": "13×13", "branch_pool": "3×3"},
    )


def test_the_gradient_arrives_at_the_input():
    """four ways lead back to the input: its gradient, against finite differences"""
    rng = np.random.default_rng(40)
    module = trained(InceptionB(2, c7=1), rng)
    x, part = rng.standard_normal((1, 2, 2, 2)), rng.standard_normal((4, 1, 2, 2, len(SOME)))
    g = np.zeros((1, 2, 2, 768))
    for i in range(4):
        g[..., [192 * i + f for f in SOME]] = part[i]
    w = module.state_dict()
    image = Tensor(x, requires_grad=True)
    module(image).backward(g)
    (wanted,) = oracle.numeric_gradient(lambda x: written_out(x, w), [x], part)
    judge("InceptionB(2, c7=1)(x).backward(g):  x.grad", image.grad.data, wanted, tolerance=1e-6)


def test_each_batch_norm_meets_a_batch_once():
    """in training the batch norms that read the input, or its means, move their statistics towards it once"""
    rng = np.random.default_rng(41)
    module = trained(InceptionB(2, c7=2), rng).train()
    x = rng.standard_normal((2, 3, 4, 2))
    state = module.state_dict()
    module(Tensor(x))
    for name in ("branch1x1", "branch7x7_1", "branch7x7dbl_1", "branch_pool"):
        image = oracle.avg_pool2d(x, 3, stride=1, padding=1) if name == "branch_pool" else x
        normed(oracle.conv2d(image, state[f"{name}.conv.weight"]), state, f"{name}.bn", training=True)  # moves them
        for statistic in (f"{name}.bn.running_mean", f"{name}.bn.running_var"):
            judge(f"module(x), in training; afterwards {statistic}", module.state_dict()[statistic], state[statistic])


def test_cost():
    """1×7 and 7×1 from 192 to 192 channels on 17×17: 149 million multiply-adds, where a 7×7 has 522 million"""
    with nn.init.placeholders():
        module = InceptionB(768, c7=192)
    weights = {name: p.size for name, p in module.named_parameters()}
    sizes = {name: p.shape for name, p in module.named_parameters() if name.endswith("conv.weight")}
    judge(
        "the weights of InceptionB(768, c7=192)",
        sizes,
        {f"{name}.conv.weight": kernel for name, kernel in kernels(768, 192).items()},
    )
    both = weights.get("branch7x7_2.conv.weight", 0) + weights.get("branch7x7_3.conv.weight", 0)
    judge(
        "multiply-adds of branch7x7_2 and branch7x7_3 of InceptionB(768, c7=192) on 17×17", 17 * 17 * both, 149_151_744
    )
