"""ResNet V2: blocks and networks against PyTorch and timm's names, the clean identity, and a thousand layers."""

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from judge import assert_close
from resnet_twins import torch_padded
from torch_twin import assert_twins, published, sequence, torch_nn, twin, unsettle

import minidl
from minidl import Tensor, nn
from minidl import functional as F
from minidl.inspection.summary import summary
from models import cifar_preact_resnet, preact_resnet
from models.cifar_preact_resnet import preact_resnet1001
from models.preact_resnet import PreActBlock, PreActBottleneck, PreActResNet, preact_resnet50
from models.resnet import PaddedShortcut

ARCHITECTURES = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())["architectures"]
CASES = {  # in_channels, channels, stride
    "identity": (PreActBlock, (4, 4, 1), {}),
    "wider": (PreActBlock, (3, 4, 1), {}),
    "strided": (PreActBlock, (4, 4, 2), {}),
    "wider and strided": (PreActBlock, (3, 5, 2), {}),
    "option A": (PreActBlock, (3, 5, 2), {"shortcut": "A"}),
    "with biases": (PreActBlock, (3, 5, 2), {"bias": True}),
    "bottleneck identity": (PreActBottleneck, (8, 2, 1), {}),
    "bottleneck wider": (PreActBottleneck, (3, 2, 1), {}),
    "bottleneck strided": (PreActBottleneck, (8, 2, 2), {}),
    "bottleneck wider and strided": (PreActBottleneck, (3, 2, 2), {}),
    "bottleneck, stride on 1×1": (PreActBottleneck, (3, 2, 2), {"stride_on_1x1": True}),
    "bottleneck, option A": (PreActBottleneck, (3, 2, 2), {"shortcut": "A"}),
    "bottleneck with biases": (PreActBottleneck, (3, 2, 2), {"bias": True}),
}
every_case = pytest.mark.parametrize(("block", "arguments", "options"), CASES.values(), ids=CASES)
FORMS = {  # the entry in architectures.json
    **{f"resnetv2_{depth}_timm": (f"preact_resnet{depth}", {}) for depth in (50, 101, 152)},
    **{f"resnetv2_{depth}_paper_stemBN": (f"preact_resnet{depth}", {"variant": "paper"}) for depth in (50, 101, 152)},
    **{f"resnetv2_{depth}_tfslim": (f"preact_resnet{depth}", {"variant": "slim"}) for depth in (50, 101, 152)},
    "resnetv2_200_paper_stemBN": ("preact_resnet200", {}),
    "resnetv2_50_plain_stride1x1": ("preact_resnet50", {"stride_on_1x1": True}),
    **{f"cifar_preact_resnet{depth}": (f"preact_resnet{depth}", {}) for depth in (110, 164, 1001)},
}
every_form = pytest.mark.parametrize(("entry", "name", "options"), [(e, *f) for e, f in FORMS.items()], ids=FORMS)


def builder(name):
    cifar = name in ("preact_resnet110", "preact_resnet164", "preact_resnet1001")
    return getattr(cifar_preact_resnet if cifar else preact_resnet, name)


def built(name, **options):
    """The network without memory for its weights."""
    with nn.init.placeholders():
        return builder(name)(**options)


# ------------------------------------------------------------------------------------------------- twins


def torch_shortcut(in_channels, out_channels, stride, option, bias):
    """The module, and whether it reads the activated input; (None, False) is the input itself."""
    if in_channels != out_channels and option == "B":
        conv = torch_nn().Conv2d(in_channels, out_channels, 1, stride, bias=bias)
        return twin(lambda m, x: m.conv(x), conv=conv), True
    if stride != 1 or in_channels != out_channels:
        return torch_padded(in_channels, out_channels, stride), False
    return None, False


def torch_preact(in_channels, channels, stride=1, *, shortcut="B", bias=False, activated=False):
    tnn = torch_nn()
    way, of_activated = torch_shortcut(in_channels, channels, stride, shortcut, bias)

    def forward(m, x):
        a = x if activated else m.norm1(x).relu()
        y = m.conv2(m.norm2(m.conv1(a)).relu())
        return (m.downsample(a if of_activated else x) if m.downsample else x) + y

    return twin(
        forward,
        downsample=way,
        norm1=None if activated else tnn.BatchNorm2d(in_channels),
        conv1=tnn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
        norm2=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, padding=1, bias=bias),
    )


def torch_preact_bottleneck(
    in_channels, channels, stride=1, *, shortcut="B", bias=False, activated=False, stride_on_1x1=False
):
    tnn = torch_nn()
    way, of_activated = torch_shortcut(in_channels, 4 * channels, stride, shortcut, bias)
    first, second = (stride, 1) if stride_on_1x1 else (1, stride)

    def forward(m, x):
        a = x if activated else m.norm1(x).relu()
        y = m.conv2(m.norm2(m.conv1(a)).relu())
        y = m.conv3(m.norm3(y).relu())
        return (m.downsample(a if of_activated else x) if m.downsample else x) + y

    return twin(
        forward,
        downsample=way,
        norm1=None if activated else tnn.BatchNorm2d(in_channels),
        conv1=tnn.Conv2d(in_channels, channels, 1, first, bias=False),
        norm2=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, second, padding=1, bias=False),
        norm3=tnn.BatchNorm2d(channels),
        conv3=tnn.Conv2d(channels, 4 * channels, 1, bias=bias),
    )


TWINS = {PreActBlock: torch_preact, PreActBottleneck: torch_preact_bottleneck}


def torch_network(stem, strides, block, widths, num_classes, activated=False, **options):
    """`strides`: of each block of each stage, written out."""
    tnn = torch_nn()
    stages, channels = [], widths[0]
    for width, of_stage in zip(widths, strides, strict=True):
        blocks = []
        for stride in of_stage:
            first = not stages and not blocks
            blocks.append(TWINS[block](channels, width, stride, activated=activated and first, **options))
            channels = block.expansion * width
        stages.append(twin(lambda m, x: m.blocks(x), blocks=sequence(*blocks)))
    head = twin(lambda m, x: m.fc(x.mean(dim=(2, 3), keepdim=True)).flatten(1), fc=tnn.Conv2d(channels, num_classes, 1))
    return twin(
        lambda m, x: m.head(m.norm(m.stages(m.stem(x))).relu()),
        stem=stem,
        stages=sequence(*stages),
        norm=tnn.BatchNorm2d(channels),
        head=head,
    )


def torch_stem(bias=False):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.pool(m.conv(x)),
        conv=tnn.Conv2d(2, 3, 7, stride=2, padding=3, bias=bias),
        pool=tnn.MaxPool2d(3, stride=2, padding=1),
    )


def torch_paper_stem():
    tnn = torch_nn()
    return twin(
        lambda m, x: m.pool(m.norm(m.conv(x)).relu()),
        conv=tnn.Conv2d(2, 3, 7, stride=2, padding=3, bias=False),
        norm=tnn.BatchNorm2d(3),
        pool=tnn.MaxPool2d(3, stride=2, padding=1),
    )


def torch_cifar_stem():
    tnn = torch_nn()
    return twin(
        lambda m, x: m.norm(m.conv(x)).relu(),
        conv=tnn.Conv2d(2, 3, 3, padding=1, bias=False),
        norm=tnn.BatchNorm2d(3),
    )


STRIDES, LAST_STRIDES = ((1,), (2, 1), (2, 1), (2,)), ((2,), (1, 2), (1, 2), (1,))
NETWORKS = {  # block, options of ours, stem, strides, options of the twin
    "timm": (PreActBottleneck, {}, torch_stem, STRIDES, {}),
    "timm, basic": (PreActBlock, {}, torch_stem, STRIDES, {}),
    "stride on 1×1": (PreActBottleneck, {"stride_on_1x1": True}, torch_stem, STRIDES, {"stride_on_1x1": True}),
    "paper": (
        PreActBottleneck,
        preact_resnet.VARIANTS["paper"],
        torch_paper_stem,
        STRIDES,
        {"activated": True, "stride_on_1x1": True},
    ),
    "slim": (
        PreActBottleneck,
        preact_resnet.VARIANTS["slim"],
        lambda: torch_stem(bias=True),
        LAST_STRIDES,
        {"bias": True},
    ),
    "CIFAR, basic": (
        PreActBlock,
        {"small_images": True, "stem_norm": True, "shortcut": "A"},
        torch_cifar_stem,
        STRIDES,
        {"activated": True, "shortcut": "A"},
    ),
    "CIFAR, bottleneck": (
        PreActBottleneck,
        {"small_images": True, "stem_norm": True, "stride_on_1x1": True},
        torch_cifar_stem,
        STRIDES,
        {"activated": True, "stride_on_1x1": True},
    ),
}


@pytest.mark.torch
@every_case
def test_block_is_pytorchs(block, arguments, options, monkeypatch):
    module, other = (build(*arguments, **options) for build in (block, TWINS[block]))
    assert_twins(module, other, (2, 7, 4, arguments[0]), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize(("block", "options", "stem", "strides", "others"), NETWORKS.values(), ids=NETWORKS)
def test_network_is_pytorchs(block, options, stem, strides, others, monkeypatch):
    widths = (3, 4, 5, 6)
    net = PreActResNet(block, (1, 2, 2, 1), widths, 5, 2, **options)
    other = torch_network(stem(), strides, block, widths, 5, **others)
    assert_twins(net, other, (3, 19, 24, 2), monkeypatch)


# ------------------------------------------------------------------------------------------------- blocks


@every_case
def test_gradients_of_a_block(block, arguments, options, rng):
    module = block(*arguments, **options).to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal((2, 3, 4, arguments[0])), requires_grad=True), *module.parameters()]
    minidl.gradcheck(lambda x, *_: module(x), inputs, fast=True)  # `minidl gradcheck` compares every derivative
    minidl.gradgradcheck(lambda x, *_: module(x), inputs, fast=True)


@pytest.mark.parametrize("build", [lambda: PreActBlock(3, 3), lambda: PreActBottleneck(4, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_without_its_convolutions_a_block_is_the_identity(build, training, rng):
    """Exactly, for negative values too: nothing is left on the way round."""
    block = build().to(dtype=np.float64).train(training)
    for part in block.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = np.zeros_like(part.weight.data)
    x = Tensor(rng.standard_normal((2, 5, 4, block.norm1.num_features)), requires_grad=True)
    assert (x.numpy() < 0).any()
    g = rng.standard_normal(x.shape)
    y = block(x)
    y.backward(g)
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    np.testing.assert_array_equal(x.grad.numpy(), g)


def test_a_padded_shortcut_leaves_the_identity(rng):
    """Option A reads x, not what BN and ReLU have made of it: every second pixel comes out as it was."""
    block = PreActBlock(3, 5, stride=2, shortcut="A").to(dtype=np.float64)
    assert isinstance(block.downsample, PaddedShortcut)
    for part in (block.conv1, block.conv2):
        part.weight.data = np.zeros_like(part.weight.data)
    x = rng.standard_normal((2, 5, 4, 3))
    y = block(Tensor(x)).numpy()
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    assert not y[..., 3:].any()


@pytest.mark.parametrize(
    ("block", "names"),
    [
        (PreActBlock(3, 4), "downsample norm1 conv1 norm2 conv2"),
        (PreActBottleneck(3, 4), "downsample norm1 conv1 norm2 conv2 norm3 conv3"),
    ],
)
def test_normalisation_stands_before_its_convolution(block, names):
    assert [name for name, _ in block.named_children()] == names.split()


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="^shortcut_connection: option must be one of 'A', 'B'; got 'C'"):
        PreActBlock(4, 4, shortcut="C")
    with pytest.raises(ValueError, match="^PreActResNet: variant must be one of 'timm', 'paper', 'slim'; got 'v2'"):
        preact_resnet50(variant="v2")
    with pytest.raises(TypeError, match="stride_on_1x1"):  # a block without a 1×1 convolution
        PreActResNet(PreActBlock, (1,), (2,), stride_on_1x1=True)


# ------------------------------------------------------------------------------------------------- networks

# What parts are called in architectures.json, where not by timm's names.
NAMES = {
    "conv1": "stem.conv",
    "stem_bn": "stem.norm",
    "maxpool": "stem.pool",
    "pool1": "stem.pool",
    **{f"layer{i + 1}": f"stages.{i}" for i in range(4)},
    **{f"block{i + 1}": f"stages.{i}" for i in range(4)},
    "post_bn": "norm",
    "postnorm": "norm",
    "avgpool": "head.global_pool",
    "logits": "head.fc",
    "fc": "head",
}


@every_form
def test_parameters_are_the_published_networks(entry, name, options):
    net, expected = built(name, **options), ARCHITECTURES[entry]
    assert sum(parameter.size for parameter in net.parameters()) == expected["params"]
    assert len(list(net.parameters())) == expected["n_param_tensors"]
    assert sum(buffer.size for buffer in net.buffers()) == expected["buffer_elements"]
    layers = [key for key, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    assert sum("downsample" not in key for key in layers) == int(name.removeprefix("preact_resnet"))


@every_form
def test_shapes_and_multiply_adds_are_the_published_networks(entry, name, options):
    expected = ARCHITECTURES[entry]
    _, C, H, W = expected["input"]
    layers = {layer.name: layer for layer in summary(built(name, **options), (H, W, C)).layers}
    for key, (_, channels, *pixels) in expected["out_shapes"].items():
        if key != "head.drop":  # no dropout by default, and none here
            assert layers[NAMES.get(key, key)].output_shape == (*pixels, channels), key
    assert layers[""].macs == expected["macs"]
    for key, macs in expected["macs_by_child"].items():
        assert layers[NAMES.get(key, key)].macs == macs


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in FORMS.values()))
def test_docstring_tells_parameters_and_multiply_adds(name):
    document = builder(name).__doc__
    entry = next(entry for entry, (network, _) in FORMS.items() if network == name)
    assert document.startswith(f"{name.removeprefix('preact_resnet')} layers")
    assert f"{ARCHITECTURES[entry]['params']:,} parameters" in document
    assert f"{ARCHITECTURES[entry]['macs']:,} multiply-adds" in document


def shapes(net):
    """{name: shape in PyTorch's layout}, without a copy of the weights, as state_dict() would make."""
    axes = {4: (3, 2, 0, 1)}
    return {
        name: [tensor.shape[axis] for axis in axes.get(tensor.ndim, range(tensor.ndim))]
        for name, tensor in net._state()
    }


def test_names_and_shapes_are_timms():
    assert list(shapes(built("preact_resnet50")).items()) == list(published("resnetv2_50").items())


def test_variants_have_the_same_names_but_for_what_they_differ_in():
    timm, paper, slim = (shapes(built("preact_resnet50", variant=name)) for name in ("timm", "paper", "slim"))
    moved = {name.replace("stem.norm.", "stages.0.blocks.0.norm1."): shape for name, shape in paper.items()}
    assert moved == timm
    biases = {name for name in slim if name.endswith(("conv.bias", "conv3.bias"))}
    assert {name: shape for name, shape in slim.items() if name not in biases} == timm
    assert len(biases) == 1 + 16 + 4  # the stem, the blocks, the projections


def test_before_a_projection_it_is_all_one_where_the_first_norm_stands(rng):
    """The authors' code for CIFAR has it in the first block, which shares it between both ways; the paper before."""
    arguments = PreActBottleneck, (2, 2, 2), (3, 4, 5), 4, 2
    theirs, ours = (PreActResNet(*arguments, small_images=True, stem_norm=stem_norm) for stem_norm in (False, True))
    state = unsettle(theirs, rng).state_dict()
    ours.to(dtype=np.float64).load_state_dict(
        {name.replace("stages.0.blocks.0.norm1.", "stem.norm."): array for name, array in state.items()}
    )
    x = Tensor(rng.standard_normal((3, 8, 7, 2)))
    for training in (True, False):
        assert_close(ours.train(training)(x), theirs.train(training)(x))


def test_slim_halves_in_the_last_block_of_a_stage():
    net = built("preact_resnet50", variant="slim")
    strides = [[block.conv2.stride for block in stage.blocks] for stage in net.stages]
    assert strides == [[1, 1, 2], [1, 1, 1, 2], [1, 1, 1, 1, 1, 2], [1, 1, 1]]
    assert all(block.conv1.stride == 1 for stage in net.stages for block in stage.blocks)
    kinds = [type(block.downsample).__name__ for block in net.stages[0].blocks]
    assert kinds == ["Projection", "NoneType", "PaddedShortcut"]


@pytest.mark.parametrize("variant", preact_resnet.VARIANTS)
@pytest.mark.parametrize("size", [(1, 1), (33, 50)], ids=str)
def test_images_of_any_size(variant, size, rng):
    """Every layer that strides has padding, so that one pixel is enough."""
    options = preact_resnet.VARIANTS[variant]
    net = PreActResNet(PreActBottleneck, (1, 1, 2, 1), (2, 3, 4, 5), num_classes=3, in_channels=1, **options)
    for training in (True, False):
        scores = net.train(training)(Tensor(rng.standard_normal((2, *size, 1)), dtype=np.float32))
        assert scores.shape == (2, 3)
        assert np.isfinite(scores.numpy()).all()


def test_wrong_images_are_refused_by_the_first_layer():
    with pytest.raises(ValueError, match="conv2d: input .* has 1 channels") as caught:
        built("preact_resnet110")(Tensor(np.zeros((1, 32, 32, 1), np.float32)))
    assert any(note.startswith("in layer stem.conv of PreActResNet: Conv2d(3, 16") for note in caught.value.__notes__)


def test_number_of_classes_and_channels():
    net = built("preact_resnet164", num_classes=7, in_channels=1)
    assert (net.stem.conv.weight.shape, net.head.fc.weight.shape) == ((3, 3, 1, 16), (1, 1, 256, 7))


@pytest.mark.parametrize("bias", [False, True])
def test_initial_weights_are_timms(bias):
    """Deviations within 5 standard errors: 1 / √(2n) of n weights."""
    net = PreActResNet(PreActBottleneck, (1, 2), (16, 32), num_classes=50, bias=bias)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            KH, KW = module.kernel_size
            std = 0.01 if name == "head.fc" else np.sqrt(2 / (KH * KW * module.out_channels))
            normal = module.weight.numpy().astype(np.float64) / std
            assert abs(normal.mean()) < 5 / np.sqrt(normal.size)
            assert abs(normal.std() - 1) < 5 / np.sqrt(2 * normal.size)
            has_bias = name == "head.fc" or (bias and not name.endswith(("conv1", "conv2")))
            assert (module.bias is not None) == has_bias
            assert not has_bias or not module.bias.numpy().any()
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-5, 0.1)
            assert (module.weight.numpy() == 1).all() and not module.bias.numpy().any()


def test_repr_shows_a_row_of_equal_blocks_once():
    text = repr(built("preact_resnet1001"))
    assert text.count("(1-110): 110 × PreActBottleneck(") == 3
    assert max(map(len, text.splitlines())) <= 120


# ------------------------------------------------------------------------------------------------- a thousand layers


@pytest.fixture
def shallow_stack():
    """Recursion over layers would not get through a thousand: this many calls are left."""
    depth, frame = 0, sys._getframe()
    while frame:
        depth, frame = depth + 1, frame.f_back
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 100)
    yield
    sys.setrecursionlimit(before)


def tensors():
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


def test_1001_layers_forward_and_backward(shallow_stack, rng):
    """Without recursion; a gradient for each layer; and with the garbage collector off no tensor is left over."""
    net = preact_resnet1001()
    images, labels = Tensor(rng.standard_normal((2, 8, 8, 3)), dtype=np.float32), np.array([3, 7])

    def step():
        net.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        assert all(np.isfinite(p.grad.numpy()).all() for p in net.parameters())
        assert np.linalg.norm(net.stem.conv.weight.grad.numpy()) > 1e-3
        return tensors()

    gc.collect()
    gc.disable()
    try:
        assert step() == step()
    finally:
        gc.enable()
