"""ResNet: blocks and networks against PyTorch and torchvision's checkpoints, and the way round a block."""

import json
from pathlib import Path

import numpy as np
import pytest
from resnet_twins import TWINS, torch_stages
from torch_twin import assert_twins, published, torch_nn, torch_shapes, twin

import minidl
from minidl import Tensor, nn
from minidl.inspection.summary import summary
from models import resnet
from models.resnet import BasicBlock, Bottleneck, PaddedShortcut, ResNet, shortcut_connection

ARCHITECTURES = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())["architectures"]
CASES = {  # in_channels, channels, stride
    "identity": (BasicBlock, (4, 4, 1), {}),
    "wider": (BasicBlock, (3, 4, 1), {}),
    "strided": (BasicBlock, (4, 4, 2), {}),
    "wider and strided": (BasicBlock, (3, 5, 2), {}),
    "option A, wider": (BasicBlock, (3, 4, 1), {"shortcut": "A"}),
    "option A, wider and strided": (BasicBlock, (3, 5, 2), {"shortcut": "A"}),
    "option C, identity": (BasicBlock, (4, 4, 1), {"shortcut": "C"}),
    "bottleneck identity": (Bottleneck, (8, 2, 1), {}),
    "bottleneck wider": (Bottleneck, (3, 2, 1), {}),
    "bottleneck strided": (Bottleneck, (8, 2, 2), {}),
    "bottleneck wider and strided": (Bottleneck, (3, 2, 2), {}),
    "bottleneck of the paper": (Bottleneck, (3, 2, 2), {"variant": "paper"}),
    "bottleneck, option A": (Bottleneck, (3, 2, 2), {"shortcut": "A"}),
    "bottleneck, option C": (Bottleneck, (8, 2, 1), {"shortcut": "C"}),
}
every_case = pytest.mark.parametrize(("block", "arguments", "options"), CASES.values(), ids=CASES)
FORMS = {  # the entry in architectures.json
    "resnet18": ("resnet18", {}),
    "resnet34": ("resnet34", {}),
    "resnet50": ("resnet50", {}),
    "resnet101": ("resnet101", {}),
    "resnet152": ("resnet152", {}),
    "resnet50_v1_stride_on_1x1": ("resnet50", {"variant": "paper"}),
    "resnet101_v1_stride_on_1x1": ("resnet101", {"variant": "paper"}),
    "resnet152_v1_stride_on_1x1": ("resnet152", {"variant": "paper"}),
}
every_form = pytest.mark.parametrize(("entry", "name", "options"), [(e, *f) for e, f in FORMS.items()], ids=FORMS)


def built(name, **options):
    """The network without memory for its weights."""
    with nn.init.placeholders():
        return getattr(resnet, name)(**options)


def torch_layout(shape):
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(shape), range(len(shape)))
    return [shape[axis] for axis in axes]


def torch_resnet(block, blocks, widths, num_classes, in_channels, **options):
    tnn = torch_nn()
    stages, channels = torch_stages(block, blocks, widths, (1, 2, 2, 2), **options)

    def forward(m, x):
        x = m.maxpool(m.bn1(m.conv1(x)).relu())
        for stage in (m.layer1, m.layer2, m.layer3, m.layer4):
            x = stage(x)
        return m.fc(x.mean(dim=(2, 3)))

    return twin(
        forward,
        conv1=tnn.Conv2d(in_channels, widths[0], 7, stride=2, padding=3, bias=False),
        bn1=tnn.BatchNorm2d(widths[0]),
        maxpool=tnn.MaxPool2d(3, stride=2, padding=1),
        **{f"layer{i + 1}": stage for i, stage in enumerate(stages)},
        fc=tnn.Linear(channels, num_classes),
    )


# ------------------------------------------------------------------------------------------------- blocks


@pytest.mark.torch
@every_case
def test_block_is_pytorchs(block, arguments, options, monkeypatch):
    module, other = (build(*arguments, **options) for build in (block, TWINS[block]))
    assert_twins(module, other, (2, 7, 4, arguments[0]), monkeypatch)


@every_case
def test_gradients_of_a_block(block, arguments, options, rng):
    module = block(*arguments, **options).to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal((2, 3, 4, arguments[0])), requires_grad=True), *module.parameters()]
    minidl.gradcheck(lambda x, *_: module(x), inputs, fast=True)  # `minidl gradcheck` compares every derivative
    minidl.gradgradcheck(lambda x, *_: module(x), inputs, fast=True)


@pytest.mark.parametrize(
    ("block", "names"),
    [(BasicBlock, "conv1 bn1 conv2 bn2 downsample"), (Bottleneck, "conv1 bn1 conv2 bn2 conv3 bn3 downsample")],
)
def test_batch_norm_follows_its_convolution(block, names):
    module = block(3, 4)
    assert [name for name, _ in module.named_children()] == names.split()
    assert [type(part) for part in module.downsample] == [nn.Conv2d, nn.BatchNorm2d]


def zero_convolutions(module):
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = np.zeros_like(part.weight.data)


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


def test_option_a_takes_every_second_pixel_and_adds_zeros():
    x = np.arange(1.0, 2 * 5 * 4 * 2 + 1).reshape(2, 5, 4, 2)
    y = PaddedShortcut(2, 5, stride=2)(Tensor(x)).numpy()
    assert y.shape == (2, 3, 2, 5)
    for n, h, w, c in np.ndindex(y.shape):
        assert y[n, h, w, c] == (x[n, 2 * h, 2 * w, c] if c < 2 else 0)


@pytest.mark.parametrize(
    ("arguments", "kinds"),
    [
        ((4, 4, 1), {"A": None, "B": None, "C": nn.Sequential}),
        ((4, 4, 2), {"A": PaddedShortcut, "B": nn.Sequential, "C": nn.Sequential}),
        ((4, 6, 1), {"A": PaddedShortcut, "B": nn.Sequential, "C": nn.Sequential}),
    ],
)
def test_options_of_the_shortcut(arguments, kinds):
    for option, kind in kinds.items():
        way = shortcut_connection(*arguments, option)
        assert way is None if kind is None else type(way) is kind


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="^Bottleneck: variant must be one of 'v1.5', 'paper'; got 'v2'"):
        Bottleneck(4, 1, variant="v2")
    with pytest.raises(ValueError, match="^BasicBlock: variant must be one of"):
        BasicBlock(4, 4, variant="v1")
    with pytest.raises(ValueError, match="^shortcut_connection: option must be one of 'A', 'B', 'C'; got 'AB'"):
        BasicBlock(4, 4, shortcut="AB")
    with pytest.raises(ValueError, match="^PaddedShortcut: expected out_channels ≥ 8, got 4; use option B"):
        BasicBlock(8, 4, shortcut="A")


# ------------------------------------------------------------------------------------------------- networks


@pytest.mark.torch
@pytest.mark.parametrize(
    ("block", "options"),
    [(BasicBlock, {}), (Bottleneck, {}), (Bottleneck, {"variant": "paper"}), (BasicBlock, {"shortcut": "A"})],
    ids=str,
)
def test_network_is_pytorchs(block, options, monkeypatch):
    arguments = block, (1, 2, 1, 1), (2, 3, 4, 5), 6, 2
    assert_twins(ResNet(*arguments, **options), torch_resnet(*arguments, **options), (3, 35, 40, 2), monkeypatch)


@every_form
def test_parameters_are_the_published_networks(entry, name, options):
    net, expected = built(name, **options), ARCHITECTURES[entry]
    assert sum(parameter.size for parameter in net.parameters()) == expected["params"]
    assert len(list(net.parameters())) == expected["n_param_tensors"]
    assert sum(buffer.size for buffer in net.buffers()) == expected["buffer_elements"]
    layers = [key for key, part in net.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert sum("downsample" not in key for key in layers) == int(name.removeprefix("resnet"))


@every_form
def test_shapes_and_multiply_adds_are_the_published_networks(entry, name, options):
    expected = ARCHITECTURES[entry]
    layers = {layer.name: layer for layer in summary(built(name, **options), (224, 224, 3)).layers}
    shapes = {key: layer.output_shape for key, layer in layers.items() if key and layer.depth == 1}
    assert list(shapes.items()) == [
        (key, (*pixels, channels))
        for key, (_, channels, *pixels) in expected["out_shapes"].items()
        if key != "relu"  # which is no layer of its own here
    ]
    assert layers[""].macs == expected["macs"]
    for key, macs in expected["macs_by_child"].items():
        assert layers[key].macs == macs


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_docstring_tells_parameters_and_multiply_adds(name):
    document = getattr(resnet, name).__doc__
    entries = [entry for entry, (builder, _) in FORMS.items() if builder == name]
    assert f"{ARCHITECTURES[name]['params']:,} parameters" in document
    assert f"{ARCHITECTURES[name]['macs']:,} multiply-adds at 224×224" in document
    for entry in entries[1:]:
        assert f'(variant "paper": {ARCHITECTURES[entry]["macs"]:,})' in document


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("variant", ["v1.5", "paper"])
def test_names_and_shapes_are_torchvisions(name, variant):
    net = built(name, variant=variant)
    shapes = {key: torch_layout(tensor.shape) for key, tensor in net._state()}  # state_dict() would copy
    assert list(shapes.items()) == list(published(name).items())


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


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (33, 50)], ids=str)
def test_images_of_any_size(size, rng):
    """Every layer that strides has padding, so that one pixel is enough."""
    net = ResNet(BasicBlock, (1, 1, 1, 1), (4, 5, 6, 7), num_classes=3, in_channels=1)
    for training in (True, False):
        scores = net.train(training)(Tensor(rng.standard_normal((2, *size, 1)), dtype=np.float32))
        assert scores.shape == (2, 3)
        assert np.isfinite(scores.numpy()).all()


def test_number_of_classes_and_channels():
    net = built("resnet18", num_classes=7, in_channels=1)
    assert (net.conv1.weight.shape, net.fc.weight.shape) == ((7, 7, 1, 64), (512, 7))


def test_wrong_images_are_refused_by_the_first_layer():
    with pytest.raises(ValueError, match="conv2d: input .* has 1 channels") as caught:
        built("resnet18")(Tensor(np.zeros((1, 32, 32, 1), np.float32)))
    assert any(note.startswith("in layer conv1 of ResNet: Conv2d(3, 64") for note in caught.value.__notes__)


def test_options_reach_every_block():
    ways = [part for part in built("resnet34", shortcut="A").modules() if isinstance(part, PaddedShortcut)]
    assert [(way.in_channels, way.out_channels) for way in ways] == [(64, 128), (128, 256), (256, 512)]
    net = built("resnet50", variant="paper")
    for stage in (net.layer2, net.layer3, net.layer4):
        assert [(block.conv1.stride, block.conv2.stride) for block in stage][:2] == [(2, 1), (1, 1)]
    projections = sum("downsample.0" in key for key, _ in built("resnet34", shortcut="C").named_modules())
    assert projections == 3 + 4 + 6 + 3


# ------------------------------------------------------------------------------------------------- initial weights


def test_initial_weights_are_torchvisions():
    """Deviations within 5 standard errors: 1 / √(2n) of n weights."""
    net = ResNet(Bottleneck, (1, 1, 1, 1), (8, 16, 24, 32), num_classes=50)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            KH, KW = module.kernel_size
            normal = module.weight.numpy().astype(np.float64) / np.sqrt(2 / (KH * KW * module.out_channels))
            assert abs(normal.mean()) < 5 / np.sqrt(normal.size)
            assert abs(normal.std() - 1) < 5 / np.sqrt(2 * normal.size)
            assert abs(normal).max() > 2.5, "not normal"
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)
            assert (module.weight.numpy() == 1).all() and not module.bias.numpy().any()
    bound = 1 / np.sqrt(128)
    for array in (net.fc.weight.numpy(), net.fc.bias.numpy()):
        assert 0.9 * bound < abs(array).max() <= bound


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_zero_init_residual_makes_each_block_its_shortcut(block, rng):
    net = ResNet(block, (2, 2, 2, 2), (4, 4, 4, 4), zero_init_residual=True)
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        for part in stage:
            x = Tensor(rng.standard_normal((2, 6, 6, part.conv1.in_channels)), dtype=np.float32)
            way_round = x if part.downsample is None else part.downsample(x)
            np.testing.assert_array_equal(part(x).numpy(), np.maximum(way_round.numpy(), 0))
    last = "bn2" if block is BasicBlock else "bn3"
    for name, part in net.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight.numpy() == (0 if name.endswith(last) else 1)).all()


def test_repr_shows_a_row_of_equal_blocks_once():
    text = repr(built("resnet152"))
    assert "(1-35): 35 × Bottleneck(" in text
    assert max(map(len, text.splitlines())) <= 120
    assert repr(PaddedShortcut(4, 8, stride=2)) == "PaddedShortcut(4, 8, stride=2)"
