"""ResNet: basic and bottleneck blocks and the small network against PyTorch, and the way round a block."""

import numpy as np
import pytest
from torch_twin import assert_twins, published, sequence, torch_nn, torch_shapes, twin

import minidl
from minidl import Tensor, nn
from minidl import functional as F
from models.resnet import BasicBlock, Bottleneck, CifarResNet, resnet_small

CASES = {  # in_channels, channels, stride
    "identity": (BasicBlock, (4, 4, 1)),
    "wider": (BasicBlock, (3, 4, 1)),
    "strided": (BasicBlock, (4, 4, 2)),
    "wider and strided": (BasicBlock, (3, 5, 2)),
    "bottleneck identity": (Bottleneck, (8, 2, 1)),
    "bottleneck wider": (Bottleneck, (3, 2, 1)),
    "bottleneck strided": (Bottleneck, (8, 2, 2)),
    "bottleneck wider and strided": (Bottleneck, (3, 2, 2)),
}


def torch_shortcut(in_channels, out_channels, stride):
    if (in_channels, stride) == (out_channels, 1):
        return None
    tnn = torch_nn()
    return sequence(tnn.Conv2d(in_channels, out_channels, 1, stride, bias=False), tnn.BatchNorm2d(out_channels))


def torch_basic(in_channels, channels, stride):
    tnn = torch_nn()

    def forward(m, x):
        y = m.conv1(x)
        y = m.bn1(y).relu()
        y = m.bn2(m.conv2(y))
        y = y + (m.downsample(x) if m.downsample else x)
        return y.relu()

    return twin(
        forward,
        conv1=tnn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
        bn1=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, padding=1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
        downsample=torch_shortcut(in_channels, channels, stride),
    )


def torch_bottleneck(in_channels, channels, stride):
    tnn = torch_nn()

    def forward(m, x):
        y = m.bn1(m.conv1(x)).relu()
        y = m.bn2(m.conv2(y)).relu()
        y = m.bn3(m.conv3(y))
        return (y + (m.downsample(x) if m.downsample else x)).relu()

    return twin(
        forward,
        conv1=tnn.Conv2d(in_channels, channels, 1, bias=False),
        bn1=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
        conv3=tnn.Conv2d(channels, 4 * channels, 1, bias=False),
        bn3=tnn.BatchNorm2d(4 * channels),
        downsample=torch_shortcut(in_channels, 4 * channels, stride),
    )


TWINS = {BasicBlock: torch_basic, Bottleneck: torch_bottleneck}


def torch_cifar(block, blocks, widths, num_classes, in_channels):
    tnn = torch_nn()
    expansion = 4 if block is Bottleneck else 1
    stages, channels = [], widths[0]
    for i, width in enumerate(widths):
        stage = []
        for j in range(blocks):
            stage.append(TWINS[block](channels, width, 2 if i and not j else 1))
            channels = expansion * width
        stages.append(sequence(*stage))

    def forward(m, x):
        x = m.bn1(m.conv1(x)).relu()
        for stage in m.stages:
            x = stage(x)
        return m.fc(x.mean(dim=(2, 3)))

    return twin(
        forward,
        conv1=tnn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
        bn1=tnn.BatchNorm2d(widths[0]),
        stages=tnn.ModuleList(stages),
        fc=tnn.Linear(channels, num_classes),
    )


@pytest.mark.torch
@pytest.mark.parametrize(("block", "arguments"), CASES.values(), ids=CASES)
def test_block_is_pytorchs(block, arguments, monkeypatch):
    assert_twins(block(*arguments), TWINS[block](*arguments), (2, 7, 4, arguments[0]), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    assert_twins(resnet_small(7, C), torch_cifar(BasicBlock, 1, (16, 32, 64), 7, C), shape, monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_deeper_network_is_pytorchs(block, monkeypatch):
    arguments = block, 2, (2, 4, 6), 5, 3
    assert_twins(CifarResNet(*arguments), torch_cifar(*arguments), (2, 8, 10, 3), monkeypatch)


@pytest.mark.parametrize(
    ("block", "network", "prefix"),
    [
        (lambda: BasicBlock(64, 64), "resnet18", "layer1.0."),
        (lambda: BasicBlock(64, 128, stride=2), "resnet18", "layer2.0."),
        (lambda: Bottleneck(64, 64), "resnet50", "layer1.0."),
        (lambda: Bottleneck(256, 64), "resnet50", "layer1.1."),
        (lambda: Bottleneck(256, 128, stride=2), "resnet50", "layer2.0."),
    ],
)
def test_block_has_torchvisions_names_and_shapes(block, network, prefix):
    assert torch_shapes(block()) == published(network, prefix)


@pytest.mark.parametrize("blocks", [1, 3])
def test_depth_is_six_n_plus_two(blocks):
    """§4.2: 6n + 2 layers with weights, projections not counted."""
    net = CifarResNet(BasicBlock, blocks, widths=(2, 3, 4))
    layers = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sum("downsample" not in name for name in layers) == 6 * blocks + 2


@pytest.mark.parametrize("build", [lambda: BasicBlock(3, 3), lambda: Bottleneck(4, 1)])
def test_without_its_convolutions_a_block_is_relu(build, rng):
    """Not the identity: the ReLU after the addition is on the way round. Compare the pre-activation block."""
    block = build()
    zero_convolutions(block)
    x = Tensor(rng.standard_normal((2, 5, 4, block.conv1.weight.shape[2])), dtype=np.float32)
    np.testing.assert_array_equal(block(x).numpy(), np.maximum(x.numpy(), 0))
    assert (x.numpy() < 0).any()


def test_gradient_takes_the_way_round(rng):
    """With its convolutions zero nothing comes back through them, and the gradient arrives whole all the same."""
    block = BasicBlock(3, 3).to(dtype=np.float64)
    zero_convolutions(block)
    x = Tensor(abs(rng.standard_normal((2, 4, 5, 3))), requires_grad=True)
    g = rng.standard_normal(x.shape)
    block(x).backward(g)
    np.testing.assert_array_equal(x.grad.numpy(), g)


def test_stages_halve_the_image(rng):
    net = CifarResNet(BasicBlock, 1, (4, 6, 8)).eval()
    x = F.relu(net.conv1(Tensor(rng.standard_normal((1, 9, 12, 3)), dtype=np.float32)))
    shapes = []
    with minidl.no_grad():
        for stage in net.stages:
            x = stage(x)
            shapes.append(x.shape)
    assert shapes == [(1, 9, 12, 4), (1, 5, 6, 6), (1, 3, 3, 8)]


def zero_convolutions(module):
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = np.zeros_like(part.weight.data)
