"""Judges of exercise 31: the bottleneck block of ResNet."""

import numpy as np
import oracle
import pytest
from blocks import by_hand, normed, relu, same_parameters, same_statistics, trained

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from models.resnet import Bottleneck

pytestmark = pytest.mark.exercise("bottleneck")


def written_out(x, w, stride1=1, stride2=1, training=False):
    """The block by the definition: w is its state_dict; stride1 is on the first 1×1, stride2 on the 3×3."""
    y = relu(normed(oracle.conv2d(x, w["conv1.weight"], stride=stride1), w, "bn1", training))
    y = relu(normed(oracle.conv2d(y, w["conv2.weight"], stride=stride2, padding=1), w, "bn2", training))
    y = normed(oracle.conv2d(y, w["conv3.weight"]), w, "bn3", training)
    shortcut = x
    if "downsample.0.weight" in w:
        projected = oracle.conv2d(x, w["downsample.0.weight"], stride=stride1 * stride2)
        shortcut = normed(projected, w, "downsample.1", training)
    elif shortcut.shape != y.shape:  # option A
        shortcut = np.zeros(y.shape)
        shortcut[..., : x.shape[3]] = x[:, :: stride1 * stride2, :: stride1 * stride2]
    return relu(y + shortcut)


def test_its_parameters():
    """names and shapes of the weights, as torchvision's checkpoints have them"""
    norms = {f"bn{i}.{name}": (C,) for i, C in ((1, 2), (2, 2), (3, 8)) for name in ("weight", "bias")}
    convolutions = {"conv1.weight": (1, 1, 8, 2), "conv2.weight": (3, 3, 2, 2), "conv3.weight": (1, 1, 2, 8)}
    same_parameters("Bottleneck(8, 2)", Bottleneck(8, 2), convolutions | norms)
    projection = {"downsample.0.weight": (1, 1, 3, 8), "downsample.1.weight": (8,), "downsample.1.bias": (8,)}
    same_parameters(
        "Bottleneck(3, 2)", Bottleneck(3, 2), convolutions | {"conv1.weight": (1, 1, 3, 2)} | norms | projection
    )


def test_two_pixels_by_hand():
    """two pixels of four channels; the batch norms change nothing, so that numbers stay whole"""
    block = by_hand(
        Bottleneck(4, 1), conv1__weight=1.0, conv2__weight=1.0, conv3__weight=np.array([1.0, -1.0, 0.0, 2.0])
    )
    pixels = np.array([[1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 1.0, -2.0]])
    judge(
        "block(x)[0, 0], where block = Bottleneck(4, 1); conv1 adds up the channels, conv2 the pixels",
        block(Tensor(pixels.reshape(1, 1, 2, 4))).data[0, 0],
        np.array([[11.0, 0.0, 3.0, 24.0], [9.0, 0.0, 1.0, 18.0]]),
        given={"x[0, 0]": pixels, "conv3.weight[0, 0]": np.array([[1.0, -1.0, 0.0, 2.0]])},
        mistakes={
            "the ReLU comes before the addition": np.array([[11.0, 2.0, 3.0, 24.0], [9.0, 0.0, 1.0, 18.0]]),
            "no ReLU follows the addition": np.array([[11.0, -8.0, 3.0, 24.0], [9.0, -10.0, 1.0, 18.0]]),
            "nothing is added": np.array([[10.0, 0.0, 0.0, 20.0], [10.0, 0.0, 0.0, 20.0]]),
            "no ReLU follows the first batch norm": np.array([[9.0, 0.0, 3.0, 20.0], [7.0, 0.0, 1.0, 14.0]]),
        },
    )


@pytest.mark.parametrize("C", [8, 3])
def test_random_weights_in_inference(C):
    """trained statistics, once with the input itself as the shortcut and once with a projection"""
    rng = np.random.default_rng(C)
    block = trained(Bottleneck(C, 2), rng)
    x = rng.standard_normal((2, 4, 3, C))
    with untouched(f"Bottleneck({C}, 2)(x)", x=x):
        got = block(Tensor(x)).data
    judge(f"Bottleneck({C}, 2)(x), x of shape {x.shape}, in inference", got, written_out(x, block.state_dict()))


@pytest.mark.parametrize(
    ("variant", "shortcut", "strides"),
    [("v1.5", "B", (1, 2)), ("paper", "B", (2, 1)), ("v1.5", "A", (1, 2)), ("paper", "A", (2, 1))],
)
def test_where_the_stride_is(variant, shortcut, strides):
    """stride 2: on the 3×3 convolution in v1.5, on the first 1×1 convolution in the paper, whatever the shortcut"""
    rng = np.random.default_rng(5)
    block = trained(Bottleneck(3, 2, stride=2, shortcut=shortcut, variant=variant), rng)
    x, other = rng.standard_normal((2, 5, 4, 3)), strides[::-1]
    call = f"Bottleneck(3, 2, stride=2, shortcut={shortcut!r}, variant={variant!r})(x), x of shape {x.shape}"
    judge(
        call,
        block(Tensor(x)).data,
        written_out(x, block.state_dict(), *strides),
        mistakes={"the stride is on the other convolution": written_out(x, block.state_dict(), *other)},
    )


def test_shortcuts_of_other_kinds():
    """option "A" has nothing to learn on the way round, option "C" has a projection in every block"""
    for option, C, wanted in (("A", 3, None), ("B", 8, None), ("C", 8, (1, 1, 8, 8))):
        names = {name: p.shape for name, p in Bottleneck(C, 2, shortcut=option).named_parameters()}
        got = next((shape for name, shape in names.items() if name.startswith("downsample")), None)
        judge(f"the weight of the projection in Bottleneck({C}, 2, shortcut={option!r})", got, wanted)


def test_in_training():
    """in training each of the four batch norms takes the statistics of this batch, and moves its own towards them"""
    rng = np.random.default_rng(6)
    block = trained(Bottleneck(3, 2, stride=2), rng).train()
    x = rng.standard_normal((3, 4, 5, 3))
    call = f"Bottleneck(3, 2, stride=2).train()(x), x of shape {x.shape}"
    state = block.state_dict()
    wanted = written_out(x, state, 1, 2, training=True)
    judge(call, block(Tensor(x)).data, wanted)
    same_statistics(call, block, state)


def test_the_gradient_arrives_at_the_input():
    """both ways round the block: the gradient to the input, against finite differences"""
    rng = np.random.default_rng(7)
    block = trained(Bottleneck(4, 1), rng)
    x, g = rng.standard_normal((1, 2, 3, 4)), rng.standard_normal((1, 2, 3, 4))
    w = block.state_dict()
    image = Tensor(x, requires_grad=True)
    block(image).backward(g)
    (wanted,) = oracle.numeric_gradient(lambda x: written_out(x, w), [x], g)
    judge("Bottleneck(4, 1)(x).backward(g):  x.grad", image.grad.data, wanted, tolerance=1e-6)


def test_what_the_projection_saves():
    """256 channels, 64 of them between: 69,632 weights in convolutions; two 3×3 filters of 256 have 1,179,648"""
    convolutions = [p.size for name, p in Bottleneck(256, 64).named_parameters() if name.startswith("conv")]
    judge("the weights in the convolutions of Bottleneck(256, 64)", sum(convolutions), 69_632)
