"""ResNet V2: pre-activation blocks against PyTorch, the clean identity, and a network of a thousand layers."""

import numpy as np
import pytest
from torch_twin import assert_twins, torch_nn, twin

from minidl import Tensor, nn
from models.preact_resnet import PreActBlock, PreActBottleneck

CASES = {  # in_channels, channels, stride
    "identity": (PreActBlock, (4, 4, 1)),
    "wider": (PreActBlock, (3, 4, 1)),
    "strided": (PreActBlock, (4, 4, 2)),
    "wider and strided": (PreActBlock, (3, 5, 2)),
    "bottleneck identity": (PreActBottleneck, (8, 2, 1)),
    "bottleneck wider": (PreActBottleneck, (3, 2, 1)),
    "bottleneck strided": (PreActBottleneck, (8, 2, 2)),
    "bottleneck wider and strided": (PreActBottleneck, (3, 2, 2)),
}


def torch_projection(in_channels, out_channels, stride):
    if (in_channels, stride) == (out_channels, 1):
        return None
    return torch_nn().Conv2d(in_channels, out_channels, 1, stride, bias=False)


def torch_preact(in_channels, channels, stride):
    tnn = torch_nn()

    def forward(m, x):
        a = m.bn1(x).relu()
        y = m.conv1(a)
        y = m.conv2(m.bn2(y).relu())
        return (m.downsample(a) if m.downsample else x) + y

    return twin(
        forward,
        bn1=tnn.BatchNorm2d(in_channels),
        conv1=tnn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, padding=1, bias=False),
        downsample=torch_projection(in_channels, channels, stride),
    )


def torch_preact_bottleneck(in_channels, channels, stride):
    tnn = torch_nn()

    def forward(m, x):
        a = m.bn1(x).relu()
        y = m.conv1(a)
        y = m.conv2(m.bn2(y).relu())
        y = m.conv3(m.bn3(y).relu())
        return (m.downsample(a) if m.downsample else x) + y

    return twin(
        forward,
        bn1=tnn.BatchNorm2d(in_channels),
        conv1=tnn.Conv2d(in_channels, channels, 1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, stride, padding=1, bias=False),
        bn3=tnn.BatchNorm2d(channels),
        conv3=tnn.Conv2d(channels, 4 * channels, 1, bias=False),
        downsample=torch_projection(in_channels, 4 * channels, stride),
    )


TWINS = {PreActBlock: torch_preact, PreActBottleneck: torch_preact_bottleneck}


@pytest.mark.torch
@pytest.mark.parametrize(("block", "arguments"), CASES.values(), ids=CASES)
def test_block_is_pytorchs(block, arguments, monkeypatch):
    assert_twins(block(*arguments), TWINS[block](*arguments), (2, 7, 4, arguments[0]), monkeypatch)


@pytest.mark.parametrize("build", [lambda: PreActBlock(3, 3), lambda: PreActBottleneck(4, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_without_its_convolutions_a_block_is_the_identity(build, training, rng):
    """Exactly, for negative values too: nothing is left on the way round."""
    block = build().to(dtype=np.float64).train(training)
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = np.zeros_like(part.weight.data)
    x = Tensor(rng.standard_normal((2, 5, 4, block.bn1.num_features)), requires_grad=True)
    assert (x.numpy() < 0).any()
    g = rng.standard_normal(x.shape)
    y = block(x)
    y.backward(g)
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    np.testing.assert_array_equal(x.grad.numpy(), g)


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (PreActBlock(3, 4), "bn1 conv1 bn2 conv2 downsample"),
        (PreActBottleneck(3, 4), "bn1 conv1 bn2 conv2 bn3 conv3 downsample"),
    ],
)
def test_normalisation_stands_before_its_convolution(block, names):
    assert [name for name, _ in block.named_children()] == names.split()


def test_a_thousand_layers_forward_and_backward(rng):
    """500 blocks of two convolutions: neither pass uses recursion, and the gradient comes through whole."""
    net = nn.Sequential(*(PreActBlock(2, 2) for _ in range(500)))
    assert sum(isinstance(module, nn.Conv2d) for module in net.modules()) == 1000
    x = Tensor(rng.standard_normal((2, 4, 4, 2)), dtype=np.float32, requires_grad=True)
    net(x).backward(rng.standard_normal(x.shape).astype(np.float32))
    gradients = [x.grad, *(parameter.grad for parameter in net.parameters())]
    assert all(g is not None and np.isfinite(g.numpy()).all() for g in gradients)
    assert all(np.linalg.norm(block.conv1.weight.grad.numpy()) > 1e-3 for block in net)
