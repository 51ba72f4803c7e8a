"""Judges of exercise 35: the pre-activation block of ResNet V2."""

import numpy as np
import oracle
import pytest
from blocks import by_hand, normed, relu, same_statistics, trained

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from models.preact_resnet import PreActBlock

pytestmark = pytest.mark.exercise("pre-activation")


def written_out(x, w, stride=1, training=False):
    """The block by the definition: w is its state_dict."""
    activated = relu(normed(x, w, "norm1", training))
    y = oracle.conv2d(activated, w["conv1.weight"], stride=stride, padding=1)
    y = relu(normed(y, w, "norm2", training))
    y = oracle.conv2d(y, w["conv2.weight"], w.get("conv2.bias"), padding=1)
    if "downsample.conv.weight" in w:
        return y + oracle.conv2d(activated, w["downsample.conv.weight"], w.get("downsample.conv.bias"), stride=stride)
    shortcut = np.zeros(y.shape)
    shortcut[..., : x.shape[3]] = x[:, ::stride, ::stride]
    return y + shortcut


def test_two_pixels_by_hand():
    """two pixels of one channel; the batch norms change nothing, so that numbers stay whole"""
    first, second = np.zeros((3, 3, 1, 1)), np.zeros((3, 3, 1, 1))
    first[1, 1], first[1, 2] = 1.0, -2.0  # each pixel less twice its right neighbour
    second[1, 1], second[1, 0] = 1.0, -1.0  # each pixel less its left neighbour
    block = by_hand(PreActBlock(1, 1), conv1__weight=first, conv2__weight=second)
    pixels = np.array([4.0, -1.0])
    # ReLU: 4 and 0;  conv1: 4 and 0;  ReLU: 4 and 0;  conv2: 4 and 0 - 4 = -4;  + x: 8 and -5
    judge(
        "block(x)[0, 0, :, 0], where block = PreActBlock(1, 1) and x is one row of two pixels",
        block(Tensor(pixels.reshape(1, 1, 2, 1))).data[0, 0, :, 0],
        np.array([8.0, -5.0]),
        given={"x": pixels, "conv1.weight[1]": first[1, :, 0, 0], "conv2.weight[1]": second[1, :, 0, 0]},
        mistakes={
            "a ReLU follows the addition, as in the first ResNet": np.array([8.0, 0.0]),
            "the activated input is added, and not the input itself": np.array([8.0, -4.0]),
            "the first convolution reads x as it is": np.array([10.0, -7.0]),
            "nothing is added": np.array([4.0, -4.0]),
        },
    )


@pytest.mark.parametrize("C", [4, 3])
def test_random_weights_in_inference(C):
    """trained statistics; the input itself goes round, or, where the channels change, a projection of what?"""
    rng = np.random.default_rng(C)
    block = trained(PreActBlock(C, 4), rng)
    x = rng.standard_normal((2, 4, 3, C))
    w = block.state_dict()
    wanted, mistakes = written_out(x, w), {}
    if C == 3:
        projection = w["downsample.conv.weight"]
        activated = relu(normed(x, w, "norm1"))
        other = wanted + oracle.conv2d(x - activated, projection)
        mistakes = {"the projection reads x, and not what the first convolution reads": other}
    with untouched(f"PreActBlock({C}, 4)(x)", x=x):
        got = block(Tensor(x)).data
    judge(f"PreActBlock({C}, 4)(x), x of shape {x.shape}, in inference", got, wanted, mistakes=mistakes)


@pytest.mark.parametrize(
    ("C", "stride", "shortcut", "bias"), [(3, 2, "B", True), (3, 2, "A", False), (4, 2, "B", False), (3, 1, "A", False)]
)
def test_each_kind_of_shortcut(C, stride, shortcut, bias):
    """a projection reads the activated input; one that only subsamples, or adds channels of 0, the input itself"""
    rng = np.random.default_rng(5)
    block = trained(PreActBlock(C, 4, stride=stride, shortcut=shortcut, bias=bias), rng)
    x = rng.standard_normal((2, 5, 4, C))
    call = f"PreActBlock({C}, 4, stride={stride}, shortcut={shortcut!r}, bias={bias})(x), x of shape {x.shape}"
    judge(call, block(Tensor(x)).data, written_out(x, block.state_dict(), stride))


def test_in_training():
    """in training both batch norms take the statistics of this batch, and move their own towards them, once"""
    rng = np.random.default_rng(6)
    block = trained(PreActBlock(3, 2, stride=2), rng).train()
    x = rng.standard_normal((3, 4, 5, 3))
    call = f"PreActBlock(3, 2, stride=2).train()(x), x of shape {x.shape}"
    state = block.state_dict()
    wanted = written_out(x, state, 2, training=True)
    judge(call, block(Tensor(x)).data, wanted)
    same_statistics(call, block, state)


def test_the_gradient_arrives_at_the_input():
    """both ways round the block: the gradient to the input, against finite differences"""
    rng = np.random.default_rng(7)
    block = trained(PreActBlock(2, 2), rng)
    x, g = rng.standard_normal((1, 2, 3, 2)), rng.standard_normal((1, 2, 3, 2))
    w = block.state_dict()
    image = Tensor(x, requires_grad=True)
    block(image).backward(g)
    (wanted,) = oracle.numeric_gradient(lambda x: written_out(x, w), [x], g)
    judge("PreActBlock(2, 2)(x).backward(g):  x.grad", image.grad.data, wanted, tolerance=1e-6)


def test_an_identity_for_negative_numbers_too():
    """with weights of 0 a block gives back its input, and its gradient, whatever their signs: nothing cuts them off"""
    block = by_hand(PreActBlock(2, 2), conv1__weight=0.0, conv2__weight=0.0)
    x = np.array([[1.0, -2.0], [-3.0, 4.0]]).reshape(1, 2, 1, 2)
    g = np.array([[5.0, -6.0], [7.0, -8.0]]).reshape(1, 2, 1, 2)
    image = Tensor(x, requires_grad=True)
    y = block(image)
    judge("block(x), with weights of 0 in both convolutions", y.data, x)
    y.backward(g)
    judge("block(x).backward(g):  x.grad, with weights of 0 in both convolutions", image.grad.data, g)
