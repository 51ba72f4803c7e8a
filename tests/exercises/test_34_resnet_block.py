"""Judges of exercise 34: the basic block of ResNet."""

import numpy as np
import oracle
import pytest
from blocks import by_hand, normed, relu, same_parameters, same_statistics, trained

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from models.resnet import BasicBlock

pytestmark = pytest.mark.exercise("resnet-block")


def written_out(x, w, stride=1, training=False):
    """The block by the definition: w is its state_dict."""
    y = relu(normed(oracle.conv2d(x, w["conv1.weight"], stride=stride, padding=1), w, "bn1", training))
    y = normed(oracle.conv2d(y, w["conv2.weight"], padding=1), w, "bn2", training)
    shortcut = x
    if "downsample.0.weight" in w:
        shortcut = normed(oracle.conv2d(x, w["downsample.0.weight"], stride=stride), w, "downsample.1", training)
    elif shortcut.shape != y.shape:  # option A
        shortcut = np.zeros(y.shape)
        shortcut[..., : x.shape[3]] = x[:, ::stride, ::stride]
    return relu(y + shortcut)


def test_its_parameters():
    """names and shapes of the weights, as torchvision's checkpoints have them"""
    norms = {f"bn{i}.{name}": (4,) for i in (1, 2) for name in ("weight", "bias")}
    same_parameters(
        "BasicBlock(4, 4)", BasicBlock(4, 4), {"conv1.weight": (3, 3, 4, 4), "conv2.weight": (3, 3, 4, 4)} | norms
    )
    projection = {"downsample.0.weight": (1, 1, 3, 4), "downsample.1.weight": (4,), "downsample.1.bias": (4,)}
    convolutions = {"conv1.weight": (3, 3, 3, 4), "conv2.weight": (3, 3, 4, 4)}
    same_parameters("BasicBlock(3, 4, stride=2)", BasicBlock(3, 4, stride=2), convolutions | norms | projection)


def test_two_pixels_by_hand():
    """two pixels of one channel; the batch norms change nothing, so that numbers stay whole"""
    first, second = np.zeros((3, 3, 1, 1)), np.zeros((3, 3, 1, 1))
    first[1, 1], first[1, 2] = 1.0, 2.0  # each pixel and twice its right neighbour
    second[1, 1], second[1, 0] = 1.0, -1.0  # each pixel less its left neighbour
    block = by_hand(BasicBlock(1, 1), conv1__weight=first, conv2__weight=second)
    pixels = np.array([4.0, -1.0])
    # conv1: 4 - 2 = 2 and -1;  ReLU: 2 and 0;  conv2: 2 and 0 - 2 = -2;  + x: 6 and -3;  ReLU: 6 and 0
    judge(
        "block(x)[0, 0, :, 0], where block = BasicBlock(1, 1) and x is one row of two pixels",
        block(Tensor(pixels.reshape(1, 1, 2, 1))).data[0, 0, :, 0],
        np.array([6.0, 0.0]),
        given={"x": pixels, "conv1.weight[1]": first[1, :, 0, 0], "conv2.weight[1]": second[1, :, 0, 0]},
        mistakes={
            "the ReLU comes before the addition": np.array([6.0, -1.0]),
            "no ReLU follows the addition": np.array([6.0, -3.0]),
            "nothing is added": np.array([2.0, 0.0]),
            "what is added has been through the first convolution": np.array([4.0, 0.0]),
        },
    )


@pytest.mark.parametrize("C", [4, 3])
def test_random_weights_in_inference(C):
    """trained statistics, once with the input itself as the shortcut and once with a projection"""
    rng = np.random.default_rng(C)
    block = trained(BasicBlock(C, 4), rng)
    x = rng.standard_normal((2, 4, 3, C))
    with untouched(f"BasicBlock({C}, 4)(x)", x=x):
        got = block(Tensor(x)).data
    judge(f"BasicBlock({C}, 4)(x), x of shape {x.shape}, in inference", got, written_out(x, block.state_dict()))


@pytest.mark.parametrize("shortcut", ["B", "A"])
def test_stride_2(shortcut):
    """the first convolution makes the image half as large, and so does the shortcut, whichever it is"""
    rng = np.random.default_rng(5)
    block = trained(BasicBlock(3, 4, stride=2, shortcut=shortcut), rng)
    x = rng.standard_normal((2, 5, 4, 3))
    call = f"BasicBlock(3, 4, stride=2, shortcut={shortcut!r})(x), x of shape {x.shape}"
    judge(call, block(Tensor(x)).data, written_out(x, block.state_dict(), stride=2))


def test_in_training():
    """in training each of the three batch norms takes the statistics of this batch, and moves its own towards them"""
    rng = np.random.default_rng(6)
    block = trained(BasicBlock(3, 2, stride=2), rng).train()
    x = rng.standard_normal((3, 4, 5, 3))
    call = f"BasicBlock(3, 2, stride=2).train()(x), x of shape {x.shape}"
    state = block.state_dict()
    wanted = written_out(x, state, 2, training=True)
    judge(call, block(Tensor(x)).data, wanted)
    same_statistics(call, block, state)


def test_the_gradient_arrives_at_the_input():
    """both ways round the block: the gradient to the input, against finite differences"""
    rng = np.random.default_rng(7)
    block = trained(BasicBlock(2, 2), rng)
    x, g = rng.standard_normal((1, 2, 3, 2)), rng.standard_normal((1, 2, 3, 2))
    w = block.state_dict()
    image = Tensor(x, requires_grad=True)
    block(image).backward(g)
    (wanted,) = oracle.numeric_gradient(lambda x: written_out(x, w), [x], g)
    judge("BasicBlock(2, 2)(x).backward(g):  x.grad", image.grad.data, wanted, tolerance=1e-6)


def test_a_block_that_adds_nothing():
    """with weights of 0 the gradient passes the block as if it were not there"""
    block = by_hand(BasicBlock(2, 2), conv1__weight=0.0, conv2__weight=0.0)
    x = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).reshape(1, 3, 1, 2)
    g = np.array([[1.0, -2.0], [0.5, 4.0], [-3.0, 0.0]]).reshape(1, 3, 1, 2)
    image = Tensor(x, requires_grad=True)
    block(image).backward(g)
    judge("block(x).backward(g):  x.grad, with weights of 0 in both convolutions, and positive x", image.grad.data, g)


def test_shortcuts_of_other_kinds():
    """option "A" has nothing to learn on the way round, option "C" has a projection in every block"""
    for option, C, wanted in (("A", 3, None), ("B", 4, None), ("C", 4, (1, 1, 4, 4))):
        names = {name: p.shape for name, p in BasicBlock(C, 4, shortcut=option).named_parameters()}
        got = next((shape for name, shape in names.items() if name.startswith("downsample")), None)
        judge(f"the weight of the projection in BasicBlock({C}, 4, shortcut={option!r})", got, wanted)
