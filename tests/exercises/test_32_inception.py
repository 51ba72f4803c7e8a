"""Judges of exercise 32: the Inception module, naive and with dimension reduction."""

import numpy as np
import oracle
import pytest
from blocks import by_hand, normed, relu, same_parameters, trained

from minidl import Tensor, nn
from minidl.exercises.judging import judge, untouched
from models.googlenet import Inception, NaiveInception
from models.units import ConvReLU

pytestmark = pytest.mark.exercise("inception")


def unit(x, w, name, padding=0, training=False):
    """A unit by the definition: convolution, batch norm with ε = 0.001 and ReLU; or, without one, its bias and ReLU."""
    y = oracle.conv2d(x, w[f"{name}.conv.weight"], w.get(f"{name}.conv.bias"), padding=padding)
    return relu(normed(y, w, f"{name}.bn", training, eps=1e-3) if f"{name}.bn.weight" in w else y)


def naive_written_out(x, w, training=False):
    branches = [unit(x, w, f"branch{i}", padding=i - 1, training=training) for i in (1, 2, 3)]
    return np.concatenate([*branches, oracle.max_pool2d(x, 3, stride=1, padding=1)], axis=-1)


def written_out(x, w, kernel5=5, training=False):
    one = unit(x, w, "branch1", training=training)
    three = unit(unit(x, w, "branch2.0", 0, training), w, "branch2.1", 1, training)
    five = unit(unit(x, w, "branch3.0", 0, training), w, "branch3.1", kernel5 // 2, training)
    pooled = unit(oracle.max_pool2d(x, 3, stride=1, padding=1), w, "branch4.1", 0, training)
    return np.concatenate([one, three, five, pooled], axis=-1)


def multiply_adds(module, H, W):
    """Of the convolutions, which all give images of H×W: H · W for each weight."""
    return H * W * sum(p.size for name, p in module.named_parameters() if name.endswith("conv.weight"))


def of_units(**shapes):
    """The parameters of units with these kernels: each has a batch norm."""
    parameters = {}
    for name, kernel in shapes.items():
        name = name.replace("_", ".")
        parameters |= {f"{name}.conv.weight": kernel, f"{name}.bn.weight": kernel[3:], f"{name}.bn.bias": kernel[3:]}
    return parameters


# ---------------------------------------------------------------------------------------------------- the naive module


def test_naive_parameters():
    """the naive module: names and shapes of its weights"""
    same_parameters(
        "NaiveInception(4, c1=2, c3=3, c5=5)",
        NaiveInception(4, 2, 3, 5),
        of_units(branch1=(1, 1, 4, 2), branch2=(3, 3, 4, 3), branch3=(5, 5, 4, 5)),
    )


def test_naive_by_hand():
    """the naive module on a row of four pixels: each output channel is another branch"""
    module = by_hand(
        NaiveInception(1, 1, 1, 1), branch1__conv__weight=2.0, branch2__conv__weight=1.0, branch3__conv__weight=1.0
    )
    row = np.array([-1.0, -2.0, 3.0, 4.0])
    judge(
        "module(x)[0, 0], where module = NaiveInception(1, 1, 1, 1); weights of 2 in branch1, of 1 in branches 2 and 3",
        module(Tensor(row.reshape(1, 1, 4, 1))).data[0, 0],
        np.array([[0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 4.0, 3.0], [6.0, 5.0, 4.0, 4.0], [8.0, 7.0, 5.0, 4.0]]),
        given={
            "x[0, 0, :, 0]": row,
            "channels of module(x)": "2x; the sum over 3 pixels; the sum over 5; the largest of 3",
        },
    )


@pytest.mark.parametrize("training", [False, True])
def test_naive_with_random_weights(training):
    """the naive module on images, in inference and in training: 3 channels become 2 + 4 + 1 + 3"""
    rng = np.random.default_rng(1)
    module = trained(NaiveInception(3, 2, 4, 1), rng).train(training)
    x = rng.standard_normal((2, 5, 4, 3))
    wanted = naive_written_out(x, module.state_dict(), training)
    call = f"NaiveInception(3, 2, 4, 1).{'train' if training else 'eval'}()(x), x of shape {x.shape}"
    with untouched(call, x=x):
        got = module(Tensor(x)).data
    judge(call, got, wanted)


def test_naive_cost():
    """the lecture's naive module on 28×28×256: 854 million multiply-adds"""
    with nn.init.placeholders():
        module = NaiveInception(256, 128, 192, 96)
    judge("multiply-adds of NaiveInception(256, 128, 192, 96) on 28×28", multiply_adds(module, 28, 28), 854_196_224)


# ------------------------------------------------------------------------------------------ with dimension reduction


def test_parameters():
    """with 1×1 filters: names and shapes of the weights, as torchvision's checkpoints have them"""
    kernels = dict(branch1=(1, 1, 4, 2), branch2_0=(1, 1, 4, 3), branch2_1=(3, 3, 3, 5), branch3_0=(1, 1, 4, 6))
    same_parameters(
        "Inception(4, c1=2, c3_reduce=3, c3=5, c5_reduce=6, c5=7, proj=8)",
        Inception(4, 2, 3, 5, 6, 7, 8),
        of_units(**kernels, branch3_1=(5, 5, 6, 7), branch4_1=(1, 1, 4, 8)),
    )
    same_parameters(
        "Inception(4, 2, 3, 5, 6, 7, 8, kernel5=3)",
        Inception(4, 2, 3, 5, 6, 7, 8, kernel5=3),
        of_units(**kernels, branch3_1=(3, 3, 6, 7), branch4_1=(1, 1, 4, 8)),
    )


@pytest.mark.parametrize("training", [False, True])
def test_random_weights(training):
    """on images, in inference and in training: 3 channels become 2 + 1 + 3 + 2"""
    rng = np.random.default_rng(2)
    module = trained(Inception(3, 2, 2, 1, 2, 3, 2), rng).train(training)
    x = rng.standard_normal((2, 5, 4, 3))
    w = module.state_dict()
    call = f"Inception(3, 2, 2, 1, 2, 3, 2).{'train' if training else 'eval'}()(x), x of shape {x.shape}"
    judge(call, module(Tensor(x)).data, written_out(x, w, training=training))


@pytest.mark.parametrize("kernel5", [3, 7])
def test_another_size_and_another_unit(kernel5):
    """kernel5=3, as in torchvision, or 7; and units without batch norm, as in the paper"""
    rng = np.random.default_rng(3)
    module = trained(Inception(3, 2, 2, 1, 2, 3, 2, kernel5=kernel5, unit=ConvReLU), rng)
    kernels = {"branch1": (1, 1, 3, 2), "branch2.0": (1, 1, 3, 2), "branch2.1": (3, 3, 2, 1)}
    kernels |= {"branch3.0": (1, 1, 3, 2), "branch3.1": (kernel5, kernel5, 2, 3), "branch4.1": (1, 1, 3, 2)}
    wanted = {f"{name}.conv.weight": kernel for name, kernel in kernels.items()}
    wanted |= {f"{name}.conv.bias": kernel[3:] for name, kernel in kernels.items()}
    call = f"Inception(3, 2, 2, 1, 2, 3, 2, kernel5={kernel5}, unit=ConvReLU)"
    same_parameters(call, module, wanted)
    x = rng.standard_normal((2, 4, 5, 3))
    judge(f"{call}(x), x of shape {x.shape}", module(Tensor(x)).data, written_out(x, module.state_dict(), kernel5))


def test_the_gradient_arrives_at_the_input():
    """four ways lead back to the input: its gradient, against finite differences"""
    rng = np.random.default_rng(4)
    module = trained(Inception(2, 1, 1, 1, 1, 1, 1), rng)
    x, g = rng.standard_normal((1, 2, 3, 2)), rng.standard_normal((1, 2, 3, 4))
    w = module.state_dict()
    image = Tensor(x, requires_grad=True)
    module(image).backward(g)
    (wanted,) = oracle.numeric_gradient(lambda x: written_out(x, w), [x], g)
    judge("Inception(2, 1, 1, 1, 1, 1, 1)(x).backward(g):  x.grad", image.grad.data, wanted, tolerance=1e-6)


def test_cost():
    """the lecture's module with 64 channels in between: 271 million multiply-adds, not the 358 that are printed"""
    with nn.init.placeholders():
        module = Inception(256, 128, 64, 192, 64, 96, 64)
    wanted = 271_351_808
    judge("multiply-adds of Inception(256, 128, 64, 192, 64, 96, 64) on 28×28", multiply_adds(module, 28, 28), wanted)
