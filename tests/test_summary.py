"""Counting networks: against published figures to the digit, against networks that are really run, and by hand."""

import copy
import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from judge import assert_close

import minidl
import models
from minidl import Tensor, backend, nn
from minidl import functional as F
from minidl.inspection import tables, tracing
from minidl.inspection.summary import summary
from minidl.inspection.tables import Layer
from minidl.inspection.tracing import following
from models.cifar_resnet import CifarResNet
from models.dialects import DIALECTS
from models.googlenet import Inception, NaiveInception
from models.inception_v2 import BNInception
from models.preact_resnet import PreActBottleneck, PreActResNet
from models.published import Published, agreeing, forms, forms_of
from models.resnet import BasicBlock, Bottleneck

PUBLISHED = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())["architectures"]


def placeholder(build, **options):
    with nn.init.placeholders():
        return build(**options)


# ------------------------------------------------------------------------------------------------- published figures


def assert_as_published(model, reference):
    """Parameters, multiply-adds without and with auxiliary heads, the shape of the scores; and nothing was computed."""
    _, C, H, W = reference["input"]
    inference = summary(model, (H, W, C))
    assert (inference.parameters, inference.macs) == (reference["params"], reference["macs"])
    assert inference[""].output_shape == (reference["output"][1],)
    training = summary(model, (H, W, C), training=True)
    assert training.macs == reference.get("macs_with_aux_heads", reference["macs"])
    assert inference.computed | training.computed == set()
    return training


@pytest.mark.parametrize("form", forms(), ids=lambda form: form.entry)
def test_published_forms_come_out_to_the_digit(form):
    reference = PUBLISHED[form.entry]
    counted = assert_as_published(placeholder(models.create, name=form.network, **form.options), reference)
    assert (form.parameters, form.macs) == (reference["params"], reference["macs"])
    assert form.macs_in_training == reference.get("macs_with_aux_heads")
    assert_stages_as_published(counted, reference, form)


OTHER_FORMS = {  # without a name of their own: made with the options of a class
    "resnetv2_50_plain_stride1x1": lambda: PreActResNet(PreActBottleneck, (3, 4, 6, 3), stride_on_1x1=True),
    "cifar_resnet1202": lambda: CifarResNet(BasicBlock, 200, shortcut="A"),
    "cifar_resnet164_v1_bottleneck": lambda: CifarResNet(Bottleneck, 18, shortcut="B", variant="paper"),
    "bn_inception_fig5_nobias": lambda: BNInception(conv_bias=False),
    "bn_inception_slim_channels": lambda: BNInception(variant="slim", separable_stem=False),
    # other libraries' networks that are the same
    "inception_v3_timm": lambda: models.create("inception_v3", aux_logits=False),
    "inception_v4_cadene": lambda: models.create("inception_v4"),
    "inception_resnet_v2_cadene": lambda: models.create("inception_resnet_v2"),
}


@pytest.mark.parametrize("entry", OTHER_FORMS)
def test_other_forms_come_out_to_the_digit(entry):
    assert_as_published(placeholder(OTHER_FORMS[entry]), PUBLISHED[entry])


def test_every_published_form_is_compared():
    assert {form.entry for form in forms()} | set(OTHER_FORMS) == set(PUBLISHED)
    assert {form.network for form in forms()} | {f"{f}_small" for f in ("vgg", "inception", "repvgg", "resnet")} | {
        f"plain{depth}" for depth in (20, 32, 44, 56, 110)
    } == set(models.names())


# Names in the published shapes → names of ours, where a source of its own names its layers differently.
STEM = {"conv1": "stem.conv", "maxpool": "stem.pool", "pool1": "stem.pool"}
STAGES = {f"{theirs}{i}": f"stages.{i - 1}" for theirs in ("layer", "block") for i in (1, 2, 3, 4)}
PREACT = STEM | STAGES | {"post_bn": "norm", "postnorm": "norm", "fc": "", "logits": "", "stem_bn": "stem.norm"}
PAPER_GOOGLENET = {f"pool{i}": f"maxpool{i}" for i in (1, 2, 3, 4)} | {"conv2_reduce": "conv2", "conv2": "conv3"}
MODULES = ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
SLIM_INCEPTION = PAPER_GOOGLENET | {f"inception_{m}": f"inception{m}" for m in MODULES}
# In some networks a function, a part of the layer before, or left out where it does nothing.
NOT_A_LAYER = {"avgpool", "head.drop", "dropout", "relu"}


def our_name(theirs, form):
    if form.entry.startswith(("resnetv2", "cifar_preact")):
        return theirs if form.entry.endswith("timm") else PREACT.get(theirs, theirs)
    if form.entry.startswith("googlenet_paper"):
        return PAPER_GOOGLENET.get(theirs, theirs)
    if form.entry.startswith("bn_inception_slim"):
        return SLIM_INCEPTION.get(theirs, theirs)
    if form.entry == "bn_inception_cadene":
        return cadene_unit(theirs)
    return theirs


def cadene_unit(theirs):
    """Of the flat names the convolutions, whose unit gives what they give: inception_3a_1x1 is inception3a.branch1."""
    for pattern, replacement in DIALECTS["Cadene's BN-Inception"]:
        theirs = re.sub(pattern, replacement, theirs + ".weight").removesuffix(".weight")
    return theirs


def assert_stages_as_published(counted, reference, form):
    """Each stage that the published shapes name gives that shape (there channels are first, and pooled images 1×1)."""
    ours = {layer.name: layer.output_shape for layer in counted.layers}
    compared = 0
    for theirs, (_, *shape) in reference["out_shapes"].items():
        expected = (*shape[1:], shape[0])  # (H, W, C)
        name = our_name(theirs, form)
        if name in ours:
            assert ours[name] in {expected, expected[2:] if expected[:2] == (1, 1) else expected}, theirs
            compared += 1
        else:
            assert theirs in NOT_A_LAYER or form.entry == "bn_inception_cadene", theirs
    assert compared >= min(6, len(reference["out_shapes"]) - 2)


def test_the_table_of_published_forms():
    form = agreeing(25_557_032, 4_089_184_256, (224, 224, 3))
    assert [(f.network, f.source, f.options) for f in form] == [("resnet50", "torchvision 0.28.0", {})]
    assert (
        agreeing(25_557_032, 4_089_184_256, (225, 224, 3)) == agreeing(25_557_031, 4_089_184_256, (224, 224, 3)) == []
    )
    assert [f.entry for f in forms_of("inception_v2")] == ["bn_inception_cadene", "bn_inception_slim_sepconv1"]
    assert forms_of("vgg_small") == []
    with_heads = agreeing(13_004_888, 1_506_748_416, (224, 224, 3))
    assert [f.entry for f in with_heads] == ["googlenet_aux"]
    assert all(isinstance(f, Published) and f.source and f.classes in (10, 1000) for f in forms())


# -------------------------------------------------------------------------------------------- the lecture's arithmetic


def macs(model, *shape):
    return summary(placeholder(model), shape).macs


def parameters(model, *shape):
    return summary(placeholder(model), shape).parameters


def conv(*arguments, **options):
    return lambda: nn.Conv2d(*arguments, bias=False, **options)


def sequence(*builders):
    return lambda: nn.Sequential(*(build() for build in builders))


def test_three_3x3_see_what_a_7x7_sees_with_27_c_squared_weights():
    C = 64
    small = placeholder(sequence(*[conv(C, C, 3, padding=1)] * 3))
    large = placeholder(conv(C, C, 7, padding=3))
    three, one = summary(small, (56, 56, C)), summary(large, (56, 56, C))
    assert (three.parameters, one.parameters) == (27 * C**2, 49 * C**2)
    assert three[""].receptive_field == one[""].receptive_field == (7, 7)
    assert three[""].stride == one[""].stride == (1, 1)
    assert (three.macs, one.macs) == (56 * 56 * 27 * C**2, 56 * 56 * 49 * C**2)
    assert round(one.parameters / three.parameters, 4) == 1.8148


def test_vgg16_layer_by_layer():
    """Configuration D of table 1: 13 convolutions and 3 linear layers, at the sizes of the images there."""
    counted = summary(placeholder(models.create, name="vgg16"), (224, 224, 3))
    widths = [(64, 2, 224), (128, 2, 112), (256, 3, 56), (512, 3, 28), (512, 3, 14)]
    expected, C = [], 3
    for F_, convolutions, size in widths:
        for _ in range(convolutions):
            expected.append(((size, size, F_), 9 * C * F_ + F_, size * size * 9 * C * F_))
            C = F_
    expected += [((4096,), 25088 * 4096 + 4096, 25088 * 4096), ((4096,), 4096 * 4097, 4096**2)]
    expected += [((1000,), 4096 * 1000 + 1000, 4096 * 1000)]
    weighted = [layer for layer in counted.rows() if layer.kind.startswith(("Conv2d", "Linear"))]
    assert [(layer.output_shape, layer.parameters, layer.macs) for layer in weighted] == expected
    assert (counted.parameters, counted.macs) == (138_357_544, 15_470_264_320)


def test_the_naive_inception_module_and_the_reduced_one():
    """On 28×28×256, with filters of 128, 192 and 96: 854 million; with 1×1 filters of 64 before, 271 million."""
    naive = summary(placeholder(lambda: NaiveInception(256, 128, 192, 96)), (28, 28, 256))
    reduced = summary(placeholder(lambda: Inception(256, 128, 64, 192, 64, 96, 64)), (28, 28, 256))
    assert (naive.macs, naive[""].output_shape) == (854_196_224, (28, 28, 672))
    assert (reduced.macs, reduced[""].output_shape) == (271_351_808, (28, 28, 480))
    assert (
        reduced["branch2.1.conv"].macs == 86_704_128
    )  # counted twice, it makes the 358 million that are often printed
    assert round((reduced.macs + 86_704_128) / 1e6) == 358


def test_factorised_filters():
    """5×5 → two 3×3 costs 18/25, n×n → 1×n and n×1 costs 2/n; with as many channels everywhere."""
    C, image = 64, (17, 17, 64)
    five, three = conv(C, C, 5, padding=2), conv(C, C, 3, padding=1)
    assert macs(sequence(three, three), *image) * 25 == macs(five, *image) * 18
    assert summary(placeholder(sequence(three, three)), image)[""].receptive_field == (5, 5)
    for n in (3, 7):
        square = conv(C, C, n, padding=n // 2)
        row, column = conv(C, C, (1, n), padding=(0, n // 2)), conv(C, C, (n, 1), padding=(n // 2, 0))
        assert macs(sequence(row, column), *image) * n == macs(square, *image) * 2
        assert summary(placeholder(row), image)[""].receptive_field == (1, n)
        assert summary(placeholder(sequence(row, column)), image)[""].receptive_field == (n, n)
    assert parameters(conv(64, 32, 1), 56, 56, 64) == 64 * 32  # L7: each output is a product of 64 terms
    assert macs(conv(64, 32, 1), 56, 56, 64) == 56 * 56 * 32 * 64


# ----------------------------------------------------------------------------------- against networks that really run


@pytest.mark.parametrize("name", ["vgg_small", "inception_small", "repvgg_small", "resnet_small"])
@pytest.mark.parametrize("training", [False, True])
def test_shapes_are_those_of_a_run(name, training):
    model = models.create(name, in_channels=3)
    counted = summary(model, (12, 16, 3), training=training)
    shapes = {}

    def keep(module, inputs, output):
        main = output[0] if isinstance(output, tuple) else output
        shapes[names[id(module)]] = main.shape[1:]

    names = {id(module): name for name, module in model.named_modules()}
    for module in model.modules():
        module.register_forward_hook(keep)
    model.train(training)(Tensor(np.zeros((2, 12, 16, 3), np.float32)))
    assert {layer.name: layer.output_shape for layer in counted.layers if layer.output_shape is not None} == shapes


def ones(*shape):
    return Tensor(np.ones(shape))


RULES = {  # what uses each rule, on images (2, 5, 6, 4) of positive numbers
    "convolution": lambda x: F.conv2d(
        x, ones(3, 2, 2, 6), ones(6), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=2
    ),
    "convolution and what follows": lambda x: F.conv2d(x, ones(3, 3, 4, 6), padding=1, add=ones(2, 5, 6, 6), relu=True),
    "transposed convolution": lambda x: F.conv_transpose2d(x, ones(3, 2, 3, 4), stride=2, output_padding=1, groups=2),
    "maxima": lambda x: F.max_pool2d(x, (2, 3), stride=2, ceil_mode=True),
    "means": lambda x: F.avg_pool2d(x, 2, padding=1, ceil_mode=True, count_include_pad=False),
    "means of shares": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "maxima of shares": lambda x: F.adaptive_max_pool2d(x, (2, 4)),
    "no shares": lambda x: F.adaptive_avg_pool2d(x, (0, 2)),
    "normalisation": lambda x: F.batch_norm(x, ones(4), ones(4), ones(4), ones(4)),
    "windows of channels": lambda x: F.local_response_norm(x, 3),
    "products": lambda x: (x @ ones(4, 3), ones(3, 1, 1, 7, 6) @ x, ones(6) @ x, x @ ones(4)),
    "contractions": lambda x: (minidl.einsum("nhwc,cf->nfhw", x, ones(4, 3)), minidl.einsum("nhwc,c->nch", x, ones(4))),
    "resized": lambda x: (F.interpolate(x, (3, 9)), F.interpolate(x, scale_factor=2, mode="bilinear")),
    "joined": lambda x: (minidl.concatenate([x, x, x], axis=2), minidl.concatenate([x, x], axis=-1)),
    "sums": lambda x: (x.sum(axis=(1, 2)), x.mean(axis=-1, keepdims=True), x.sum()),
    "padded": lambda x: x.pad(((0, 0), (1, 2), (0, 1), (0, 0))),
    "arithmetic": lambda x: (ones(3, 1, 1, 1, 4) + x, x - 1.0, 2.0 * x, x / ones(6, 1), -x, abs(x), x**2, 2.0**x),
    "curves": lambda x: (x.exp(), x.log(), x.sqrt(), F.sigmoid(x), F.tanh(x), F.elu(x), F.softplus(x)),
    "corners": lambda x: (F.relu(x), F.relu6(x), F.hardsigmoid(x), F.hardswish(x), F.prelu(x, ones(4))),
    "gates": lambda x: (F.silu(x), F.gelu(x), F.mish(x), F.selu(x)),
    "choice": lambda x: (
        minidl.where(x > 0.5, x, 0.0),
        minidl.maximum(x, ones(4)),
        minidl.minimum(ones(3, 1, 1, 1, 1), x),
        x.clip(0.2, 0.6),
    ),
    "dropout": lambda x: F.dropout2d(F.dropout(x, 0.5)),
    "views": lambda x: (x.reshape(2, -1), x.transpose(0, 3, 1, 2), x[:, ::2, 1:], x[..., 0]),
    "pieces": lambda x: minidl.concatenate(x.split(3, axis=2)[::-1], axis=1),
}


def steps_of(call, *inputs):
    """What the call is in steps without computing, and in (name, shape, dtype) when it computes."""
    steps, computed = [], []

    def compute(op, arrays):
        y = op.forward(*arrays)
        computed.extend((type(op).__name__, z.shape, z.size * z.itemsize) for z in (y if type(y) is tuple else [y]))
        return y

    with following(steps.append):
        call(*inputs)
    with minidl.autograd.computing(compute):
        call(*inputs)
    return steps, computed


@pytest.mark.parametrize("name", RULES)
def test_rules_give_the_shapes_and_sizes_of_results(name):
    x = Tensor(np.random.default_rng(0).random((2, 5, 6, 4)) + 0.1)
    steps, computed = steps_of(RULES[name], x)
    assert [(step.name, step.output_shape) for step in steps] == [(name, shape) for name, shape, _ in computed]
    for step, (_, _, memory) in zip(steps, computed, strict=True):
        assert step.bytes == (0 if step.name in ("Reshape", "Transpose", "GetItem", "Split") else memory)
        assert not step.computed, step.name


def test_every_rule_is_tried():
    x = ones(2, 5, 6, 4)
    tried = {step.name for call in RULES.values() for step in steps_of(call, x)[0]}
    assert tried == {op.__name__ for op in (*tracing.SHAPES, *tracing.ELEMENTWISE, *tracing.VIEWS)}


class Inverted(nn.Module):
    """An operation without a rule, and a result that is no tensor but has one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return {"scores": F.softmax(self.conv(x))}


def test_operations_without_a_rule_are_computed_and_said():
    counted = summary(Inverted(), (6, 5, 4))
    assert counted.computed == {"Softmax"}
    assert counted.activation_bytes == 2 * counted["conv"].activation_bytes
    assert (counted[""].output_shape, counted[""].receptive_field, counted.macs) == ((4, 3, 4), (3, 3), 4 * 3 * 4 * 36)
    steps, _ = steps_of(F.softmax, ones(6, 5))
    (step,) = steps
    assert (step.name, step.output_shape, step.bytes, step.computed) == ("Softmax", (6, 5), 6 * 5 * 8, True)


def test_results_are_placeholders_that_belong_to_no_graph_and_keep_their_fields():
    image = ones(1, 6, 5, 4)
    weight = nn.Parameter(np.ones((4, 3)))
    with following(lambda step: None) as follower:
        follower.enter(image.data)
        for y in (image @ weight, F.softmax(image @ weight)):  # by a rule, and without one
            assert nn.init.is_placeholder(y.data)
            assert not y.requires_grad
        for _ in range(100):  # an array where one that saw the image was before
            F.relu(image)
            assert follower.field(np.ones((1, 6, 5, 4))) is None


def test_multiply_adds_are_those_of_the_loops():
    """Counted by a network of ones: with ones for weights, each output is the number of its products."""
    for groups in (1, 2):
        layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), groups=groups, bias=False)
        layer.weight.data = np.ones_like(layer.weight.data)
        y = layer(Tensor(np.ones((1, 9, 8, 4), np.float32)))
        assert summary(layer, (9, 8, 4)).macs == int(y.numpy().sum())
        up = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=groups, bias=False)
        up.weight.data = np.ones_like(up.weight.data)
        assert summary(up, (4, 6, 4)).macs == int(up(Tensor(np.ones((1, 4, 6, 4), np.float32))).numpy().sum())
    assert summary(nn.Linear(7, 5), (7,)).macs == 35
    assert summary(nn.Linear(7, 5), (3, 7)).macs == 105
    for equation, a, b, count in (
        ("ij,jk->ik", ones(2, 3), ones(3, 4), 2 * 3 * 4),
        ("bqhd,bkhd->bhqk", ones(2, 3, 4, 5), ones(2, 6, 4, 5), 2 * 4 * 3 * 6 * 5),
        ("i,j->ij", ones(3), ones(4), 0),  # an outer product adds nothing
    ):
        steps, _ = steps_of(lambda a=a, b=b, equation=equation: minidl.einsum(equation, a, b))
        assert sum(step.macs for step in steps) == count


STACKS = {
    "strides and dilations": lambda: [
        nn.Conv2d(1, 2, 3, stride=2),
        nn.Conv2d(2, 2, (3, 1), dilation=(2, 1)),
        nn.AvgPool2d((2, 3), stride=(1, 2)),
        nn.Conv2d(2, 1, (1, 5)),
    ],
    "overlapping poolings": lambda: [nn.AvgPool2d(3, stride=2), nn.Conv2d(1, 1, 3), nn.AvgPool2d(3, stride=2)],
    "global rows": lambda: [nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d((32, 16)), nn.Conv2d(2, 1, 3)],
    "shares of joined channels": lambda: [
        nn.Conv2d(1, 2, 3, padding=1),
        Does(lambda x: minidl.concatenate([x, x], axis=-1)),
        nn.AdaptiveAvgPool2d((32, 16)),
    ],
    "steps over pixels": lambda: [nn.Conv2d(1, 1, 3), Does(lambda x: x[:, ::2, ::3]), nn.Conv2d(1, 1, 3)],
    "steps backwards": lambda: [nn.Conv2d(1, 1, 3), Does(lambda x: x[..., ::-2, 1:, :]), nn.Conv2d(1, 1, 3)],
    "cropped": lambda: [nn.Conv2d(1, 1, 3), Does(lambda x: x[:, 1:-1, 7:]), nn.Conv2d(1, 1, 3)],
    "padded": lambda: [nn.Conv2d(1, 1, 3), Does(lambda x: x.pad(((0, 0), (9, 9), (0, 9), (0, 0)))), nn.AvgPool2d(2)],
    "pixel by pixel": lambda: [nn.Conv2d(1, 3, 3), nn.Linear(3, 2), nn.Conv2d(2, 1, 3)],
    "means of channels": lambda: [nn.Conv2d(1, 3, 3), Does(lambda x: x.mean(axis=-1, keepdims=True))],
    "transposed": lambda: [nn.Conv2d(1, 1, 3, stride=4), nn.ConvTranspose2d(1, 1, (3, 2), stride=2)],
    "upsampled": lambda: [nn.Conv2d(1, 1, 3), Does(lambda x: F.interpolate(x, scale_factor=2)), nn.Conv2d(1, 1, 3)],
    "resized": lambda: [nn.Conv2d(1, 1, 3), Does(lambda x: F.interpolate(x, (124, 31), mode="bilinear"))],
    "resized to every third": lambda: [
        Does(lambda x: F.interpolate(x[:, 1:, 1:], (21, 21), mode="bilinear")),  # 63 rows: it meets pixels exactly
    ],
    "weights that are computed": lambda: [ScaledConv(), nn.Conv2d(1, 1, 3)],
    "ways that meet": lambda: [Both(nn.Conv2d(1, 1, (3, 1), padding=(1, 0)), nn.Conv2d(1, 1, (1, 5), padding=(0, 2)))],
    "ways that meet, side by side": lambda: [
        Both(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, (7, 1), padding=(3, 0)))
    ],
}


class Does(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.forward = forward


class ScaledConv(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 1, 3)

    def forward(self, x):
        return F.conv2d(x, self.weight * 2.0)


class Both(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x):
        return self.first(x) + self.second(x)


@pytest.mark.parametrize("part", [np.s_[0:0], np.s_[:, 0:0], np.s_[:, :, 0:0], np.s_[..., 0:0]])
def test_nothing_of_an_image_is_counted_as_well(part):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), Does(lambda x: x[part]))
    counted = summary(model, (6, 7, 1))
    assert (counted[""].output_shape, counted.macs) == (np.zeros((1, 4, 5, 2))[part].shape[1:], 4 * 5 * 2 * 9)


@pytest.mark.parametrize("name", STACKS)
def test_receptive_fields_are_what_gradients_reach(name):
    """With positive weights nothing cancels: the gradient of one output is not 0 exactly where it looks.

    Of upsampled images some elements look at less; the second neighbour is a whole number of rows away.
    """
    model = nn.Sequential(*STACKS[name]()).to(dtype=np.float64)
    for p in model.parameters():
        p.data = np.ones_like(p.data)
    layer = summary(model, (64, 64, 1))[""]
    sizes, corners = [], []
    for shift in (0, 1, 2):
        x = Tensor(np.zeros((1, 64, 64, 1)), requires_grad=True)
        y = model(x)
        at = y.shape[1] // 2 + shift, y.shape[2] // 2 + shift
        (g,) = minidl.grad(y[0, at[0], at[1], 0], [x])
        rows, cols = (np.flatnonzero(g.numpy()[0, :, :, 0].any(axis=axis)) for axis in (1, 0))
        sizes.append((rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1))
        corners.append((rows[0], cols[0]))
    assert tuple(np.max(sizes, axis=0)) == layer.receptive_field
    assert tuple(abs(np.subtract(corners[2], corners[0])) / 2) == layer.stride


def test_ways_that_meet_see_what_the_widest_does():
    model = placeholder(lambda: Inception(16, 8, 8, 8, 8, 8, 8))
    counted = summary(model, (9, 9, 16))
    fields = {name: counted[name].receptive_field for name in ("branch1", "branch2", "branch3", "branch4", "")}
    assert fields == {"branch1": (1, 1), "branch2": (3, 3), "branch3": (5, 5), "branch4": (3, 3), "": (5, 5)}
    assert counted[""].stride == (1, 1)
    known = summary(placeholder(models.create, name="resnet18"), (224, 224, 3))
    assert [known[f"layer{i}"].receptive_field[0] for i in (1, 2, 3, 4)] == [43, 99, 211, 435]
    assert [known[f"layer{i}"].stride[0] for i in (1, 2, 3, 4)] == [4, 8, 16, 32]
    assert known["fc"].receptive_field is known["fc"].stride is None


def test_who_sees_the_whole_image():
    def field(forward, *shape):
        layer = summary(Does(forward), shape or (16, 12, 4))[""]
        return layer.receptive_field, layer.stride

    assert field(lambda x: x.mean(axis=(1, 2), keepdims=True)) == (None, None)
    assert field(lambda x: x * F.sigmoid(x.mean(axis=(1, 2), keepdims=True))) == (None, None)
    assert field(lambda x: x.sum(axis=1)) == field(lambda x: x.flatten(1) @ ones(16 * 12 * 4, 2)) == (None, None)
    assert field(lambda x: minidl.einsum("nhwc,nijc->nhwij", x, x)) == (None, None)
    assert field(lambda x: x.reshape(1, 192, 4) @ x.reshape(1, 4, 192)) == (None, None)
    # pixels and rows of them, whose channels are mixed
    assert field(lambda x: x.reshape(192, 4) @ ones(4, 3) @ ones(3, 2)) == ((1, 1), (1, 1))
    assert field(lambda x: F.adaptive_avg_pool2d(x.sum(axis=3, keepdims=True), (4, 1))) == ((4, 12), (4, 12))
    assert field(lambda x: x.sum(axis=3).flatten(1)[:, None, None, ::2]) == ((1, 1), (1, 1))
    assert field(lambda x: x[:, :1, ::20]) == ((1, 1), (1, 1))  # a pixel without neighbours
    assert field(lambda x: F.interpolate(x[:, 0], 6, mode="linear")) == ((1, 1), (1, 1))  # rows that are no images
    # as large a window, moved to one place; what it is multiplied with lies closer
    assert field(lambda x: F.adaptive_avg_pool2d(x, 1)) == ((16, 12), (16, 12))
    assert field(lambda x: F.adaptive_avg_pool2d(x, 1) * x) == ((16, 12), (1, 1))
    assert field(lambda x: F.adaptive_avg_pool2d(x, (2, 1)), 8, 1, 3) == ((4, 1), (4, 1))
    assert field(lambda x: F.adaptive_avg_pool2d(x, (3, 1)), 8, 1, 3) == ((4, 1), (8 / 3, 1))  # of 3, 4 and 3 rows
    assert field(lambda x: F.adaptive_max_pool2d(x, (2, 1)), 8, 8, 3) == ((4, 8), (4, 8))
    assert field(lambda x: F.adaptive_avg_pool2d(x, (0, 2))) == (None, None)


def test_activation_bytes_are_those_of_all_results():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5))
    counted = summary(model, (8, 8, 3))
    conv_, relu, pooled, flat, linear = (layer.activation_bytes for layer in counted.rows())
    assert (conv_, relu, pooled, flat) == (8 * 8 * 8 * 4, 8 * 8 * 8 * 4, 4 * 4 * 8 * 4, 0)  # flattening is a view
    assert linear == 2 * 5 * 4  # the product, and the sum with the bias
    assert counted.activation_bytes == sum((conv_, relu, pooled, flat, linear))
    assert summary(model.to(dtype=np.float64), (8, 8, 3)).activation_bytes == 2 * counted.activation_bytes


# ------------------------------------------------------------------------------------------------------- good manners


def snapshot(model):
    state = model.state_dict()
    return state, [module.training for module in model.modules()], backend.generator_state()


def test_the_model_stays_as_it_is():
    model = models.create("inception_small")
    model.eval()
    model.inception4a.train()  # a mode of its own for a part
    state, modes, random = snapshot(model)
    for training in (False, True):
        summary(model, (8, 8, 1), training=training)
        with pytest.raises(ValueError, match="does not fit into an image"):
            summary(model, (1, 1, 1), training=training)
    after = snapshot(model)
    assert (after[1], after[2]) == (modes, random)
    assert after[0].keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(after[0][name], array)
    assert all(module._before_forward == module._after_forward == () for module in model.modules())
    assert minidl.is_grad_enabled()
    x = Tensor(np.ones((1, 8, 8, 1), np.float32))
    assert_close(model.eval()(x), copy.deepcopy(model)(x))  # operations compute again


def test_a_graph_made_before_is_still_good():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", Tensor([3.0]))

        def forward(self, x):
            return x * self.scale

    net, x = Scaled(), Tensor([2.0], requires_grad=True)
    y = net(x)
    summary(net, (1,))
    y.backward()
    assert x.grad.item() == 3


def test_no_weight_takes_memory_and_nothing_is_computed():
    tracemalloc.start()
    try:
        counted = summary(placeholder(models.create, name="vgg19"), (224, 224, 3))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted.parameters == 143_667_240
    assert peak < 1_000_000  # of 575 MB for the weights and 13 MB for a first activation
    assert counted.computed == set()


def test_layers_that_share_weights_and_layers_run_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.again = self.fc
            self.tied = nn.Linear(4, 4)
            self.tied.weight = self.fc.weight
            self.idle = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
            self.nothing = nn.ReLU()

        def forward(self, x):
            return self.tied(self.again(self.fc(x)))

    counted = summary(Twice(), (4,))
    assert [layer.name for layer in counted.layers] == ["", "fc", "tied", "idle"]
    assert (counted["fc"].macs, counted.macs) == (32, 48)
    assert counted.parameters == 16 + 4 + 4 + 8 + 3
    assert (counted["idle"].output_shape, counted["idle"].parameters, counted["idle"].macs) == (None, 11, 0)
    with pytest.raises(KeyError, match="Twice has no layer 'nothing' that was run or has parameters"):
        counted["nothing"]


def test_lists_and_idle_layers_whose_names_begin_alike():
    class Lists(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()
            self.head = nn.Linear(4, 1)
            self.head2 = nn.Linear(4, 4)
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 5)]), nn.Linear(2, 2)])
            self.idle, self.idle2 = nn.Sequential(nn.Linear(3, 1)), nn.Linear(3, 2)

        def forward(self, x):
            return self.relu(self.blocks[1][0](self.relu(self.blocks[0](self.head2(x)))))

    counted = summary(Lists(), (4,))
    assert [(layer.name, layer.depth) for layer in counted.layers] == [
        *(("", 0), ("head2", 1), ("blocks.0", 2), ("relu", 1), ("blocks.1.0", 3)),
        *(("head", 1), ("blocks.2", 2), ("idle", 1), ("idle2", 1)),
    ]
    assert counted["relu"].output_shape == (5,)  # the second time


def test_auxiliary_heads_are_run_in_training_only():
    model = placeholder(models.create, name="googlenet")
    inference, training = summary(model, (224, 224, 3)), summary(model, (224, 224, 3), training=True)
    assert [layer.name for layer in inference.rows(1)[-2:]] == ["aux1", "aux2"]
    assert inference["aux1"].output_shape is None
    assert (training["aux1"].output_shape, training["aux1"].macs) == ((1000,), 4_169_728)
    names = [layer.name for layer in training.rows(1)]
    assert names.index("aux1") == names.index("inception4a") + 1


class Restless(nn.Module):
    """What a forward may do in training: draw numbers, move buffers, exchange them."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("mean", Tensor(np.ones(4, np.float32)))
        self.register_buffer("count", Tensor(np.array(0)))

    def forward(self, x):
        x = F.dropout(self.fc(x), 0.5, training=self.training)
        self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
        self.count.data = self.count.data + 1
        return x


def test_a_model_that_changes_itself_in_forward_stays_as_it_is():
    model = Restless()
    mean, count = model.mean, model.count
    _, _, random = snapshot(model)
    summary(model, (4,), training=True)
    assert model.mean is mean
    assert model.count is count
    assert dict(model.named_buffers()).keys() == {"mean", "count"}
    state, _, random_after = snapshot(model)
    assert random_after == random
    assert (state["mean"].tolist(), state["count"]) == ([1.0] * 4, 0)


class Gives(nn.Module):
    """The result of a convolution, wrapped in something."""

    def __init__(self, wrap):
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(2, 4, 3), wrap

    def forward(self, x):
        return self.wrap(self.conv(x))


@pytest.mark.parametrize(
    ("wrap", "shape"),
    [
        (lambda y: (y, y.sum()), (3, 4, 4)),
        (lambda y: [y], (3, 4, 4)),
        (lambda y: {"loss": None, "scores": y}, (3, 4, 4)),
        (lambda y: ({}, [("text", y)]), (3, 4, 4)),
        (lambda y: None, ()),
        (lambda y: 3.0, ()),
    ],
)
def test_layers_that_give_no_tensor_but_something_with_one(wrap, shape):
    counted = summary(nn.Sequential(Gives(wrap)), (5, 6, 2))
    for name in ("0", ""):
        assert counted[name].output_shape == shape
        assert counted[name].receptive_field == ((3, 3) if shape else None)
        assert (counted[name].macs, counted[name].parameters) == (3 * 4 * 4 * 18, 76)
    assert "not run" not in str(counted)


@pytest.mark.parametrize("wrong", [None, "resnet18", models.create, nn.Linear])
def test_what_is_no_model(wrong):
    with pytest.raises(TypeError, match=r'^summary: expected a Module, such as models.create\("resnet18"\), got '):
        summary(wrong, (8, 8, 1))


def test_a_model_on_a_gpu(device):
    model = nn.BatchNorm2d(1, affine=False).to(device)  # which has buffers alone
    if device == "cpu":
        assert summary(model, (8, 8, 1)).activation_bytes == 256
        return
    with pytest.raises(ValueError, match="^summary: expected a model on the CPU, got one on gpu:0; count a copy of it"):
        summary(model, (8, 8, 1))
    assert summary(copy.deepcopy(model).to("cpu"), (8, 8, 1)).activation_bytes == 256


def test_it_prints_itself():
    counted = summary(models.create("resnet_small"), (8, 8, 1))
    assert str(counted) == str(tables.grid(counted.rows(), counted[""]))


def test_sizes_may_be_numpys():
    counted = summary(models.create("resnet_small"), np.array([8, 8, 1]))
    assert counted.input_shape == (8, 8, 1)
    json.dumps(counted.as_dict())


@pytest.mark.parametrize(
    "shape", [(), (224, 224, 0), (8.0, 8, 1), (True, 8, 1), (-1,), 224, None, "224", ("8", "8", "1"), np.ones(3)]
)
def test_input_shapes_that_are_none(shape):
    with pytest.raises(ValueError, match="summary: input_shape must be sizes without the batch, like"):
        summary(models.create("resnet_small"), shape)


def test_an_image_that_is_too_small_names_the_layer():
    with pytest.raises(ValueError, match="a window of 2×2 does not fit into an image of 1×1") as caught:
        summary(placeholder(models.create, name="vgg11"), (16, 16, 3))
    assert caught.value.__notes__ == ["in layer features.20 of VGG: MaxPool2d(kernel_size=2, stride=2)"]


def test_as_json():
    counted = summary(models.create("resnet_small"), (8, 8, 1))
    back = json.loads(json.dumps(counted.as_dict()))
    totals = back["model"], back["input_shape"], back["parameters"], back["macs"], back["activation_bytes"]
    assert totals == ("CifarResNet", [8, 8, 1], counted.parameters, counted.macs, counted.activation_bytes)
    assert back["layers"][0] == {
        "name": "conv1",
        "kind": "Conv2d(1, 16, kernel_size=(3, 3), padding=1, bias=False)",
        "depth": 1,
        "output_shape": [8, 8, 16],
        "parameters": 144,
        "macs": 9216,
        "activation_bytes": 4096,
        "receptive_field": [3, 3],
        "stride": [1, 1],
    }
    assert [Layer(**row).name for row in back["layers"]] == [layer.name for layer in counted.rows()]
