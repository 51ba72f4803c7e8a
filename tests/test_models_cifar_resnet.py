"""The ResNets of CIFAR and the plain networks: against PyTorch, the paper's arithmetic, and the gradient's way back."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from resnet_twins import torch_plain, torch_stages
from torch_twin import assert_twins, torch_nn, twin

import minidl
from minidl import Tensor, nn
from minidl.inspection.gradients import gradient_norms
from minidl.inspection.summary import summary
from models import cifar_resnet
from models.cifar_resnet import CifarResNet, PlainBlock, plain20, resnet20, resnet_small
from models.resnet import BasicBlock, Bottleneck, PaddedShortcut

ARCHITECTURES = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())["architectures"]
DEPTHS = (20, 32, 44, 56, 110)
FORMS = {  # the entry in architectures.json
    **{f"cifar_resnet{depth}": getattr(cifar_resnet, f"resnet{depth}") for depth in DEPTHS},
    **{
        f"cifar_resnet{depth}_optB": lambda depth=depth: getattr(cifar_resnet, f"resnet{depth}")(shortcut="B")
        for depth in DEPTHS
    },
    "cifar_resnet1202": lambda: CifarResNet(BasicBlock, 200, shortcut="A"),
    "cifar_resnet164_v1_bottleneck": lambda: CifarResNet(Bottleneck, 18, variant="paper"),
}


def built(build):
    """The network without memory for its weights."""
    with nn.init.placeholders():
        return build()


def torch_cifar(block, n, widths, num_classes, in_channels, batch_norm=True, **options):
    tnn = torch_nn()
    stages, channels = torch_stages(block, (n, n, n), widths, (1, 2, 2), **options)

    def forward(m, x):
        x = m.bn1(m.conv1(x)).relu()
        return m.fc(m.layer3(m.layer2(m.layer1(x))).mean(dim=(2, 3)))

    network = twin(
        forward,
        conv1=tnn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
        bn1=tnn.BatchNorm2d(widths[0]),
        **{f"layer{i + 1}": stage for i, stage in enumerate(stages)},
        fc=tnn.Linear(channels, num_classes),
    )
    for part in list(network.modules()):
        for name, child in list(part.named_children()):
            if not batch_norm and isinstance(child, tnn.BatchNorm2d):
                setattr(part, name, tnn.Identity())
    return network


# ------------------------------------------------------------------------------------------------- against PyTorch


@pytest.mark.torch
@pytest.mark.parametrize("arguments", [(4, 4, 1), (3, 5, 2)], ids=str)
def test_plain_block_is_pytorchs(arguments, monkeypatch):
    assert_twins(PlainBlock(*arguments), torch_plain(*arguments), (2, 7, 4, arguments[0]), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    assert_twins(resnet_small(7, C), torch_cifar(BasicBlock, 1, (16, 32, 64), 7, C), shape, monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("block", "options"),
    [
        (BasicBlock, {"shortcut": "A"}),
        (BasicBlock, {"shortcut": "B"}),
        (BasicBlock, {"shortcut": "A", "batch_norm": False}),
        (BasicBlock, {"batch_norm": False}),
        (Bottleneck, {}),
        (Bottleneck, {"variant": "paper"}),
        (PlainBlock, {}),
        (PlainBlock, {"batch_norm": False}),
    ],
    ids=str,
)
def test_network_is_pytorchs(block, options, monkeypatch):
    arguments = block, 2, (2, 4, 6), 5, 3
    assert_twins(CifarResNet(*arguments, **options), torch_cifar(*arguments, **options), (2, 8, 10, 3), monkeypatch)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_a_plain_block(stride, rng):
    block = PlainBlock(2, 3, stride).to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal((2, 3, 4, 2)), requires_grad=True), *block.parameters()]
    minidl.gradcheck(lambda x, *_: block(x), inputs, fast=True)
    minidl.gradgradcheck(lambda x, *_: block(x), inputs, fast=True)


# ------------------------------------------------------------------------------------------------- the paper's networks


@pytest.mark.parametrize(("entry", "build"), FORMS.items(), ids=FORMS)
def test_parameters_and_shapes_are_the_papers(entry, build):
    net, expected = built(build), ARCHITECTURES[entry]
    assert sum(parameter.size for parameter in net.parameters()) == expected["params"]
    assert len(list(net.parameters())) == expected["n_param_tensors"]
    assert sum(buffer.size for buffer in net.buffers()) == expected["buffer_elements"]
    if entry == "cifar_resnet1202":  # its parts are those of the others
        return
    layers = {layer.name: layer for layer in summary(net, (32, 32, 3)).layers}
    shapes = {key: layer.output_shape for key, layer in layers.items() if key and layer.depth == 1}
    assert list(shapes.items()) == [
        (key, (*pixels, channels)) for key, (_, channels, *pixels) in expected["out_shapes"].items()
    ]
    for key, macs in {"": expected["macs"], **expected["macs_by_child"]}.items():
        assert layers[key].macs == macs


@pytest.mark.parametrize("depth", DEPTHS)
def test_docstring_tells_parameters_and_multiply_adds(depth):
    document = getattr(cifar_resnet, f"resnet{depth}").__doc__
    a, b = (ARCHITECTURES[f"cifar_resnet{depth}{option}"] for option in ("", "_optB"))
    assert document.startswith(f"{depth} layers, n = {(depth - 2) // 6}: {a['params']:,} parameters, ")
    assert f'{b["params"]:,} with shortcut="B"' in document
    assert f"{a['macs']:,} multiply-adds" in document


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("family", ["resnet", "plain"])
def test_depth_is_six_n_plus_two(family, depth):
    """§4.2: 6n + 2 layers with weights, projections not counted."""
    net = built(getattr(cifar_resnet, f"{family}{depth}"))
    layers = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert sum("downsample" not in name for name in layers) == depth
    assert all(len(stage) == (depth - 2) // 6 for stage in (net.layer1, net.layer2, net.layer3))


@pytest.mark.parametrize("depth", DEPTHS)
def test_plain_network_has_the_same_layers(depth):
    """The shortcuts of option A have nothing to learn: a comparison of equal numbers of parameters (§3.3)."""
    plain, residual = (built(getattr(cifar_resnet, f"{family}{depth}")) for family in ("plain", "resnet"))
    shapes = [[(name, p.shape) for name, p in net.named_parameters()] for net in (plain, residual)]
    assert shapes[0] == shapes[1]
    assert sum(isinstance(part, PaddedShortcut) for part in residual.modules()) == 2
    assert not any(isinstance(part, PaddedShortcut) for part in plain.modules())


def test_names():
    """Those of `models.resnet`, which others use for CIFAR, too."""
    names = [name for name, _ in built(resnet20).named_parameters()]
    assert names[:5] == ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer1.0.bn1.weight"]
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert "layer2.0.downsample.0.weight" in dict(built(lambda: resnet20(shortcut="B")).named_parameters())


@pytest.mark.parametrize("build", [resnet20, plain20, lambda: resnet20(num_classes=7, in_channels=1)])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (32, 32), (9, 13)], ids=str)
def test_images_of_any_size(build, size, rng):
    net = build()
    x = Tensor(rng.standard_normal((2, *size, net.conv1.in_channels)), dtype=np.float32)
    for training in (True, False):
        scores = net.train(training)(x)
        assert scores.shape == (2, net.fc.out_features)
        assert np.isfinite(scores.numpy()).all()


def test_wrong_images_are_refused_by_the_first_layer():
    with pytest.raises(ValueError, match="conv2d: input .* has 1 channels") as caught:
        resnet20()(Tensor(np.zeros((1, 32, 32, 1), np.float32)))
    assert any(note.startswith("in layer conv1 of CifarResNet: Conv2d(3, 16") for note in caught.value.__notes__)


@pytest.mark.parametrize("net", [resnet20(), plain20(), CifarResNet(Bottleneck, 1)], ids=["residual", "plain", "wide"])
def test_initial_filters_have_variance_2_over_fan_out(net):
    """Deviations within 5 standard errors: 1 / √(2n) of n weights."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            KH, KW = module.kernel_size
            normal = module.weight.numpy().astype(np.float64) / np.sqrt(2 / (KH * KW * module.out_channels))
            assert abs(normal.std() - 1) < 5 / np.sqrt(2 * normal.size)


def test_without_batch_norm_nothing_of_it_is_left():
    net = resnet20(batch_norm=False, shortcut="B")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    assert not list(net.buffers())
    assert len(list(net.parameters())) == 21 + 2  # filters, and the weight and bias of fc


def test_repr_is_short():
    text = repr(resnet20())
    assert "(downsample): PaddedShortcut(32, 64, stride=2)" in text
    assert "(0-2): 3 × BasicBlock(" in text


# ------------------------------------------------------------------------------------------------- vanishing gradients

ROWS = {
    "weights as nn.Conv2d draws them": {"batch_norm": False, "as_drawn": True},
    "variance 2 / fan_out": {"batch_norm": False},
    "variance 2 / fan_out, batch norm": {},
}


def first_gradient(block, n, batch_norm=True, as_drawn=False, **options):
    """‖∂L/∂W‖ of the first layer of a new network, for four random images."""
    minidl.manual_seed(0)
    net = CifarResNet(block, n, batch_norm=batch_norm, **options)
    if as_drawn:
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.data = nn.Conv2d(part.in_channels, part.out_channels, part.kernel_size).weight.data
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((4, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, 4)
    return gradient_norms(net, images, labels)["conv1.weight"]


@pytest.mark.parametrize(("row", "options"), ROWS.items(), ids=ROWS)
def test_table_of_gradients(row, options):
    """The figures in the file, by order of magnitude: computed again within a factor of 3."""
    (told,) = re.findall(rf"^    {re.escape(row)}  +(\S+) +(\S+) +(\S+) +(\S+)$", cifar_resnet.__doc__, re.MULTILINE)
    plain, residual = (PlainBlock, {}), (BasicBlock, {"shortcut": "A"})
    found = [first_gradient(block, n, **options, **more) for block, more in (plain, residual) for n in (3, 18)]
    for figure, norm in zip(map(float, told), found, strict=True):
        assert norm == 0 if figure == 0 else figure / 3 < norm < figure * 3
