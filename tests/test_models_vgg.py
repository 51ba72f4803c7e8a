"""VGG: the stage and the small network against PyTorch, and what the lecture says of small filters."""

import numpy as np
import pytest
from torch_twin import assert_twins, published, sequence, torch_nn, torch_shapes, twin

import minidl
from minidl import Tensor, nn
from models.vgg import VGG, vgg_small, vgg_stage


def torch_stage(in_channels, channels, convolutions, batch_norm=True):
    tnn = torch_nn()
    layers = []
    for _ in range(convolutions):
        layers.append(tnn.Conv2d(in_channels, channels, kernel_size=3, padding=1))
        layers += [tnn.BatchNorm2d(channels)] if batch_norm else []
        layers.append(tnn.ReLU())
        in_channels = channels
    return sequence(*layers, tnn.MaxPool2d(kernel_size=2, stride=2))


def torch_vgg_small(num_classes, in_channels):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.classifier(m.avgpool(m.features(x)).permute(0, 2, 3, 1)),  # flattened in our order
        features=sequence(torch_stage(in_channels, 32, 2), torch_stage(32, 64, 2)),
        avgpool=tnn.AdaptiveAvgPool2d((2, 2)),
        classifier=sequence(
            tnn.Flatten(),
            tnn.Linear(64 * 2 * 2, 128),
            tnn.ReLU(),
            tnn.Dropout(0.5),
            tnn.Linear(128, 128),
            tnn.ReLU(),
            tnn.Dropout(0.5),
            tnn.Linear(128, num_classes),
        ),
    )


@pytest.mark.torch
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_stage_is_pytorchs(convolutions, batch_norm, monkeypatch):
    arguments = 3, 4, convolutions, batch_norm
    assert_twins(vgg_stage(*arguments), torch_stage(*arguments), (2, 7, 4, 3), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    assert_twins(vgg_small(7, C), torch_vgg_small(7, C), shape, monkeypatch)


def test_stage_has_torchvisions_names_and_shapes():
    assert torch_shapes(vgg_stage(3, 64, 2, batch_norm=False)) == published("vgg16", "features.")
    assert torch_shapes(vgg_stage(3, 64, 2)) == published("vgg16_bn", "features.")


def test_stage_halves_and_drops_an_odd_row():
    assert vgg_stage(3, 4, 1)(Tensor(np.zeros((2, 9, 6, 3)), dtype=np.float32)).shape == (2, 4, 3, 4)


def test_configuration_d_has_sixteen_layers_with_weights():
    """VGG16 has 13 convolutions and 3 fully connected layers. Widths do not matter here, and are small."""
    net = VGG([(2, 2), (2, 2), (3, 3), (4, 3), (4, 3)], num_classes=5, hidden=6)
    counts = [sum(isinstance(module, kind) for module in net.modules()) for kind in (nn.Conv2d, nn.Linear)]
    assert counts == [13, 3]
    net.eval()
    assert net.features(Tensor(np.zeros((1, 224, 224, 3), np.float32))).shape == (1, 7, 7, 4)


# ------------------------------------------------------------------------------------------------- small filters


def footprint(convolutions, size):
    """Height and width of the part of a size × size image that the output's middle depends on."""
    C = convolutions[0].weight.shape[2]
    x = Tensor(np.ones((1, size, size, C)), requires_grad=True)
    y = x
    for convolution in convolutions:
        convolution.to(dtype=np.float64)
        convolution.weight.data = abs(convolution.weight.data)  # nothing cancels
        y = minidl.functional.relu(convolution(y))
    y[0, size // 2, size // 2, 0].backward()
    reached = x.grad.numpy()[0].any(axis=2)
    rows, columns = reached.any(axis=1), reached.any(axis=0)
    assert reached.sum() == rows.sum() * columns.sum(), "not a rectangle"
    return int(rows.sum()), int(columns.sum())


@pytest.mark.parametrize(("convolutions", "seen"), [(1, 3), (2, 5), (3, 7)])
def test_a_stack_of_three_sees_seven_pixels(convolutions, seen):
    stage = vgg_stage(2, 2, convolutions, batch_norm=False)
    stack = [layer for layer in stage if isinstance(layer, nn.Conv2d)]
    assert len(stack) == convolutions
    assert footprint(stack, size=15) == (seen, seen)
    assert footprint([nn.Conv2d(2, 2, seen, padding=seen // 2)], size=15) == (seen, seen)


def test_three_small_filters_have_27_c_squared_weights_and_one_large_49_c_squared():
    C = 6
    stack = sum(layer.weight.size for layer in vgg_stage(C, C, 3, batch_norm=False) if isinstance(layer, nn.Conv2d))
    one = nn.Conv2d(C, C, 7, padding=3).weight.size
    assert (stack, one) == (27 * C**2, 49 * C**2)
    assert round(one / stack - 1, 2) == 0.81  # "81% more"
    assert sum(isinstance(layer, nn.ReLU) for layer in vgg_stage(C, C, 3)) == 3
