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
from minidl.inspection.summary import Layer, summary
from minidl.inspection.tracing import following
from models.cifar_resnet import CifarResNet
from models.googlenet import Inception, NaiveInception
from models.inception_v2 import CADENE_NAMES, BNInception
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
NOT_A_LAYER = {"avgpool", "head.drop", "dropout"}  # in some networks a function, or left out where it does nothing


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
    for pattern, replacement in CADENE_NAMES:
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


class Everything(nn.Module):
    """Operations of many kinds, all with a rule for their shape but one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), bias=True)
        self.grouped = nn.Conv2d(8, 6, 3, groups=2)
        self.up = nn.ConvTranspose2d(6, 5, 3, stride=2, output_padding=1)
        self.lrn = nn.LocalResponseNorm(3)
        self.fc = nn.Linear(5, 7)

    def forward(self, x):
        x = self.conv(x)
        x = minidl.maximum(minidl.concatenate([x, x.tanh() * 2 - 1], axis=-1), 0.1)
        x = self.grouped(x.pad(((0, 0), (1, 2), (0, 1), (0, 0))))
        x = self.lrn(self.up(x)[:, ::2, 1:])
        x = F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) + F.max_pool2d(x, 2, ceil_mode=True)
        x = F.interpolate(x, scale_factor=2)  # no rule
        x = F.adaptive_max_pool2d(x, (3, 2)).transpose(0, 3, 1, 2)  # (N, C, 3, 2)
        return F.softmax(self.fc(x.sum(axis=(2, 3))), -1)


def test_operations_of_many_kinds():
    model = Everything()
    steps = []
    real = model.eval()(Tensor(np.random.default_rng(0).random((1, 13, 11, 3), dtype=np.float32)))
    with following(steps.append):
        y = model(Tensor(np.zeros((1, 13, 11, 3), np.float32)))
    assert (y.shape, y.dtype) == (real.shape, real.dtype)
    shapes = []
    with computing_shapes(shapes):
        model(Tensor(np.zeros((1, 13, 11, 3), np.float32)))
    assert [(step.name, step.output_shape) for step in steps] == shapes
    computed = {step.name for step in steps if step.computed}
    assert "Conv2d" not in computed
    assert computed == summary(model, (13, 11, 3)).computed != set()


def computing_shapes(shapes):
    """A context in which operations compute, and their names and the shapes of their results are written down."""

    def compute(op, arrays):
        y = op.forward(*arrays)
        shapes.append((type(op).__name__, y.shape))
        return y

    return minidl.autograd.computing(compute)


def test_multiply_adds_are_those_of_the_loops():
    """Counted by a network of ones: with ones for weights, each output is the number of its products."""
    for groups in (1, 2):
        layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), groups=groups, bias=False)
        layer.weight.data = np.ones_like(layer.weight.data)
        y = layer(Tensor(np.ones((1, 9, 8, 4), np.float32)))
        assert summary(layer, (9, 8, 4)).macs == int(y.numpy().sum())
    up = nn.ConvTranspose2d(3, 5, 3, stride=2, bias=False)
    up.weight.data = np.ones_like(up.weight.data)
    assert summary(up, (4, 6, 3)).macs == int(up(Tensor(np.ones((1, 4, 6, 3), np.float32))).numpy().sum())
    assert summary(nn.Linear(7, 5), (7,)).macs == 35
    assert summary(nn.Linear(7, 5), (3, 7)).macs == 105


STACKS = {
    "strides and dilations": lambda: [
        nn.Conv2d(1, 2, 3, stride=2),
        nn.Conv2d(2, 2, (3, 1), dilation=(2, 1)),
        nn.AvgPool2d((2, 3), stride=(1, 2)),
        nn.Conv2d(2, 1, (1, 5)),
    ],
    "overlapping poolings": lambda: [nn.AvgPool2d(3, stride=2), nn.Conv2d(1, 1, 3), nn.AvgPool2d(3, stride=2)],
    "global rows": lambda: [nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d((32, 16)), nn.Conv2d(2, 1, 3)],
    "steps over pixels": lambda: [nn.Conv2d(1, 1, 3), EverySecond(), nn.Conv2d(1, 1, 3)],
}


class EverySecond(nn.Module):
    def forward(self, x):
        return x[:, ::2, ::2]


@pytest.mark.parametrize("name", STACKS)
def test_receptive_fields_are_what_gradients_reach(name):
    """With positive weights nothing cancels: the gradient of one output is not 0 exactly where it looks."""
    model = nn.Sequential(*STACKS[name]()).to(dtype=np.float64)
    for p in model.parameters():
        p.data = np.ones_like(p.data)
    layer = summary(model, (64, 64, 1))[""]
    corners = []
    for shift in (0, 1):
        x = Tensor(np.zeros((1, 64, 64, 1)), requires_grad=True)
        y = model(x)
        at = y.shape[1] // 2 + shift, y.shape[2] // 2 + shift
        (g,) = minidl.grad(y[0, at[0], at[1], 0], [x])
        rows, cols = (np.flatnonzero(g.numpy()[0, :, :, 0].any(axis=axis)) for axis in (1, 0))
        assert (rows[-1] - rows[0] + 1, cols[-1] - cols[0] + 1) == layer.receptive_field
        corners.append((rows[0], cols[0]))
    assert tuple(np.subtract(corners[1], corners[0])) == layer.stride


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


def test_auxiliary_heads_are_run_in_training_only():
    model = placeholder(models.create, name="googlenet")
    inference, training = summary(model, (224, 224, 3)), summary(model, (224, 224, 3), training=True)
    assert [layer.name for layer in inference.rows(1)[-2:]] == ["aux1", "aux2"]
    assert inference["aux1"].output_shape is None
    assert (training["aux1"].output_shape, training["aux1"].macs) == ((1000,), 4_169_728)
    names = [layer.name for layer in training.rows(1)]
    assert names.index("aux1") == names.index("inception4a") + 1


@pytest.mark.parametrize("shape", [(), (224, 224, 0), (8.0, 8, 1), (True, 8, 1), (-1,)])
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
