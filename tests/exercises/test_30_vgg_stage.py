"""Judges of exercise 30: a stage of VGG, and how much of the image an element sees."""

import numpy as np
import oracle
import pytest
from blocks import normed, relu, same_parameters, trained

from minidl import Tensor
from minidl.exercises.judging import judge, untouched
from minidl.inspection.tracing import Field
from models.vgg import vgg_stage

pytestmark = pytest.mark.exercise("vgg-stage")


def followed(windows):
    """The field of one pixel of a 32×32×3 image, and behind each of these windows (extent, stride)."""
    field = Field((1, 1), (1, 1), (32, 32, 3))
    for extent, stride in windows:
        field = field.through(extent, stride, (32, 32, 8))
    return field


def layers_of(stage):
    return ", ".join(type(layer).__name__ for layer in stage)


# ------------------------------------------------------------------------------------------------- receptive fields


def test_one_window():
    """a 3×3 window of stride 1 sees 3×3 pixels, and its neighbour is one pixel further"""
    pixel = Field((1, 1), (1, 1), (32, 32, 3))
    judge(
        "pixel.through((3, 3), (1, 1), (32, 32, 8))",
        pixel.through((3, 3), (1, 1), (32, 32, 8)),
        Field((3, 3), (1, 1), (32, 32, 8)),
        given={"pixel": pixel},
    )


@pytest.mark.parametrize(("convolutions", "seen"), [(2, 5), (3, 7)])
def test_a_stack_of_small_windows(convolutions, seen):
    """two 3×3 windows, one behind the other, see 5×5 pixels, and three see what one 7×7 window sees"""
    judge(
        f"pixel, {convolutions} times .through((3, 3), (1, 1), (32, 32, 8))",
        followed([((3, 3), (1, 1))] * convolutions),
        Field((seen, seen), (1, 1), (32, 32, 8)),
    )


def test_one_window_with_a_stride():
    """the first 3×3 windows see 3×3 pixels whatever the stride, which only says how far apart they are"""
    judge(
        "pixel.through((3, 3), (2, 2), (32, 32, 8))",
        followed([((3, 3), (2, 2))]),
        Field((3, 3), (2, 2), (32, 32, 8)),
    )


def test_strides_multiply():
    """the first layers of GoogLeNet and ResNet: 7×7 with stride 2, 3×3 with stride 2, then 3×3 with stride 1"""
    windows = [((7, 7), (2, 2)), ((3, 3), (2, 2)), ((3, 3), (1, 1))]
    for count, (size, step) in enumerate([(7, 2), (11, 4), (19, 4)], start=1):
        calls = "".join(f".through({extent}, {stride}, (32, 32, 8))" for extent, stride in windows[:count])
        judge(f"pixel{calls}", followed(windows[:count]), Field((size, size), (step, step), (32, 32, 8)))


def test_height_and_width_are_apart():
    """a 7×1 window moved by (3, 1), and then a 1×5 window moved by (1, 2)"""
    start = Field((3, 2), (2, 4), (16, 8, 3))
    middle = start.through((7, 1), (3, 1), (4, 8, 5))
    judge("start.through((7, 1), (3, 1), (4, 8, 5))", middle, Field((15, 2), (6, 4), (4, 8, 5)), given={"start": start})
    judge(
        "middle.through((1, 5), (1, 2), (4, 2, 6))",
        middle.through((1, 5), (1, 2), (4, 2, 6)),
        Field((15, 18), (6, 8), (4, 2, 6)),
        given={"middle": middle},
    )
    enlarged = Field((3.0, 1.5), (0.5, 0.25), (64, 128, 3))
    judge(
        "enlarged.through((3, 3), (1, 0.5), (64, 256, 8)): behind a layer that enlarges the image, steps are fractions",
        enlarged.through((3, 3), (1, 0.5), (64, 256, 8)),
        Field((4.0, 2.0), (0.5, 0.125), (64, 256, 8)),
        given={"enlarged": enlarged},
    )


# ---------------------------------------------------------------------------------------------------------- the stage


@pytest.mark.parametrize(
    ("convolutions", "batch_norm", "layers"),
    [
        (1, False, "Conv2d, ReLU, MaxPool2d"),
        (3, False, "Conv2d, ReLU, Conv2d, ReLU, Conv2d, ReLU, MaxPool2d"),
        (2, True, "Conv2d, BatchNorm2d, ReLU, Conv2d, BatchNorm2d, ReLU, MaxPool2d"),
    ],
)
def test_its_layers(convolutions, batch_norm, layers):
    """the layers, in their order"""
    call = f"the layers of vgg_stage(4, 4, {convolutions}, batch_norm={batch_norm})"
    judge(call, layers_of(vgg_stage(4, 4, convolutions, batch_norm)), layers)


def test_its_parameters():
    """names and shapes of weights and biases, as torchvision's checkpoints have them"""
    same_parameters(
        "vgg_stage(3, 8, 2)",
        vgg_stage(3, 8, 2),
        {"0.weight": (3, 3, 3, 8), "0.bias": (8,), "2.weight": (3, 3, 8, 8), "2.bias": (8,)},
    )
    first, norm = {"weight": (3, 3, 4, 6), "bias": (6,)}, {"weight": (6,), "bias": (6,)}
    further = {"weight": (3, 3, 6, 6), "bias": (6,)}
    parts = {0: first, 1: norm, 3: further, 4: norm, 6: further, 7: norm}
    for convolutions in 1, 3:
        same_parameters(
            f"vgg_stage(4, 6, {convolutions}, batch_norm=True)",
            vgg_stage(4, 6, convolutions, True),
            {f"{i}.{name}": s for i, part in parts.items() if i < 3 * convolutions for name, s in part.items()},
        )


def test_a_small_image_by_hand():
    """a filter that copies its pixel, a bias of -1, ReLU, and the largest of each 2×2 window"""
    stage = vgg_stage(1, 1, 1).to(dtype=np.float64)
    weight = np.zeros((3, 3, 1, 1))
    weight[1, 1] = 1.0
    stage[0].weight.data, stage[0].bias.data = weight, np.array([-1.0])
    image = np.array([[1.0, 2.0, -1.0, -2.0], [3.0, 4.0, -3.0, -4.0], [0.5, 0.0, 9.0, 2.0], [0.0, 7.0, 2.0, 8.0]])
    y = stage(Tensor(image.reshape(1, 4, 4, 1))).data
    judge(
        "vgg_stage(1, 1, 1)(x)[0, :, :, 0], where the filter copies its pixel, and the bias is -1",
        y[0, :, :, 0],
        np.array([[3.0, 0.0], [6.0, 8.0]]),
        given={"image": image},
        mistakes={"the pooling takes the mean": np.array([[1.5, 0.0], [1.5, 4.25]])},
    )


def test_three_convolutions():
    """three convolutions with 3 → 4 → 4 → 4 channels on images of 7×6 pixels, of which the last row is dropped"""
    rng = np.random.default_rng(30)
    stage = trained(vgg_stage(3, 4, 3), rng)
    x = rng.standard_normal((2, 7, 6, 3))
    w, y = stage.state_dict(), x
    for i in (0, 2, 4):
        y = relu(oracle.conv2d(y, w[f"{i}.weight"], w[f"{i}.bias"], padding=1))
    with untouched("vgg_stage(3, 4, 3)(x)", x=x):
        got = stage(Tensor(x)).data
    judge("vgg_stage(3, 4, 3)(x), x of shape (2, 7, 6, 3)", got, oracle.max_pool2d(y, 2))


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_stands_between_convolution_and_relu(training):
    """with batch norm, in inference (by running statistics) and in training (by those of the batch)"""
    rng = np.random.default_rng(31)
    stage = trained(vgg_stage(2, 3, 2, batch_norm=True), rng).train(training)
    x = rng.standard_normal((3, 4, 5, 2))
    w, y = stage.state_dict(), x
    for i in (0, 3):
        y = oracle.conv2d(y, w[f"{i}.weight"], w[f"{i}.bias"], padding=1)
        y = relu(normed(y, w, str(i + 1), training))
    call = f"vgg_stage(2, 3, 2, batch_norm=True).{'train' if training else 'eval'}()(x), x of shape (3, 4, 5, 2)"
    judge(call, stage(Tensor(x)).data, oracle.max_pool2d(y, 2))


def test_the_gradient_arrives_at_the_image():
    """the gradient to the image, behind two convolutions and the pooling, against finite differences"""
    rng = np.random.default_rng(32)
    stage = trained(vgg_stage(1, 2, 2), rng)
    x, g = rng.standard_normal((1, 4, 4, 1)), rng.standard_normal((1, 2, 2, 2))
    w = stage.state_dict()

    def written_out(x):
        y = relu(oracle.conv2d(x, w["0.weight"], w["0.bias"], padding=1))
        return oracle.max_pool2d(relu(oracle.conv2d(y, w["2.weight"], w["2.bias"], padding=1)), 2)

    image = Tensor(x, requires_grad=True)
    stage(image).backward(g)
    (wanted,) = oracle.numeric_gradient(written_out, [x], g)
    judge("vgg_stage(1, 2, 2)(x).backward(g): x.grad", image.grad.data, wanted, tolerance=1e-6)


def test_three_small_filters_have_fewer_weights_than_one_large():
    """27·C² weights in three 3×3 convolutions, where a 7×7 has 49·C²: 81% more"""
    C = 6
    weights = sum(p.size for name, p in vgg_stage(C, C, 3).named_parameters() if name.endswith("weight"))
    judge("the number of weights, without biases, of vgg_stage(6, 6, 3)", weights, 27 * C**2)
