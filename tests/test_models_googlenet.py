"""GoogLeNet: modules and networks against PyTorch, Table 1 and torchvision's checkpoint; the lecture's arithmetic."""

import functools

import numpy as np
import pytest
from architectures import ARCHITECTURES, built, counts, follow, parameters_by_child
from judge import assert_close, relative_error
from torch_twin import assert_twins, published, sequence, torch_nn, torch_shapes, twin, unsettle

import minidl
from minidl import Tensor, nn
from minidl import functional as F
from minidl.evaluation import auxiliary_weight
from models.googlenet import (
    AuxiliaryHead,
    GoogLeNet,
    Inception,
    InceptionSmall,
    NaiveInception,
    googlenet,
    inception_small,
)
from models.reparam import to_deploy
from models.units import BasicConv2d, ConvReLU, from_imagenet_statistics, separable_conv

REFERENCES = {  # the options that make each network of tests/reference/architectures.json
    "googlenet": {"aux_logits": False},
    "googlenet_aux": {},
    "googlenet_paper": {"variant": "paper", "aux_logits": False},
    "googlenet_paper_aux": {"variant": "paper"},
    "googlenet_paper_sepconv1": {"variant": "paper", "aux_logits": False, "separable_stem": True},
}
RENAMED = {
    "pool1": "maxpool1",
    "conv2_reduce": "conv2",
    "conv2": "conv3",
}  # from the paper's reference to torchvision's
RENAMED |= {f"pool{i}": f"maxpool{i}" for i in (2, 3, 4)}


def torch_unit(in_channels, channels, kernel, **options):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.bn(m.conv(x)).relu(),
        conv=tnn.Conv2d(in_channels, channels, kernel, bias=False, **options),
        bn=tnn.BatchNorm2d(channels, eps=0.001),
    )


def torch_conv_relu(in_channels, channels, kernel, **options):
    return twin(lambda m, x: m.conv(x).relu(), conv=torch_nn().Conv2d(in_channels, channels, kernel, **options))


def torch_separable(unit, in_channels, channels, kernel, **options):
    depthwise = torch_nn().Conv2d(in_channels, 8 * in_channels, kernel, groups=in_channels, bias=False, **options)
    return sequence(depthwise, unit(8 * in_channels, channels, 1))


def in_parallel(m, x):
    """The branches' outputs one behind the other in depth, which in PyTorch is axis 1."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return torch.cat([branch(x) for branch in m.children()], dim=1)


def torch_naive(in_channels, c1, c3, c5):
    return twin(
        in_parallel,
        branch1=torch_unit(in_channels, c1, 1),
        branch2=torch_unit(in_channels, c3, 3, padding=1),
        branch3=torch_unit(in_channels, c5, 5, padding=2),
        branch4=torch_nn().MaxPool2d(3, stride=1, padding=1),
    )


def torch_inception(in_channels, c1, c3_reduce, c3, c5_reduce, c5, pool, kernel5=5, unit=torch_unit):
    return twin(
        in_parallel,
        branch1=unit(in_channels, c1, 1),
        branch2=sequence(unit(in_channels, c3_reduce, 1), unit(c3_reduce, c3, 3, padding=1)),
        branch3=sequence(unit(in_channels, c5_reduce, 1), unit(c5_reduce, c5, kernel5, padding={3: 1, 5: 2}[kernel5])),
        branch4=sequence(torch_nn().MaxPool2d(3, stride=1, padding=1), unit(in_channels, pool, 1)),
    )


def torch_head(
    in_channels, num_classes, pooled_size=4, channels=128, hidden=1024, dropout=0.7, adaptive=True, unit=torch_unit
):
    tnn = torch_nn()

    def forward(m, x):
        if adaptive:
            x = tnn.functional.adaptive_avg_pool2d(x, (pooled_size, pooled_size))
        else:
            x = tnn.functional.avg_pool2d(x, 5, 3)
        x = m.conv(x).permute(0, 2, 3, 1).flatten(1)  # in our order
        return m.fc2(m.dropout(m.fc1(x).relu()))

    return twin(
        forward,
        conv=unit(in_channels, channels, 1),
        fc1=tnn.Linear(channels * pooled_size * pooled_size, hidden),
        fc2=tnn.Linear(hidden, num_classes),
        dropout=tnn.Dropout(dropout),
    )


def torch_googlenet(num_classes, in_channels, aux_logits, paper):
    """Table 1 once more, row by row."""
    tnn = torch_nn()
    unit = torch_conv_relu if paper else torch_unit
    module = functools.partial(torch_inception, kernel5=5 if paper else 3, unit=unit)
    norm = functools.partial(tnn.LocalResponseNorm, 5) if paper else tnn.Identity

    def pool(size):
        return tnn.MaxPool2d(size, stride=2, ceil_mode=True)

    def forward(m, x):
        for name in (
            "conv1",
            "pool1",
            "norm1",
            "conv2",
            "conv3",
            "norm2",
            "pool2",
            "inception3a",
            "inception3b",
            "pool3",
        ):
            x = m.get_submodule(name)(x)
        after_4a = m.inception4a(x)
        after_4d = m.inception4d(m.inception4c(m.inception4b(after_4a)))
        x = m.inception5b(m.inception5a(m.pool4(m.inception4e(after_4d))))
        scores = m.fc(m.dropout(x.mean(dim=(2, 3))))
        return (scores, m.aux1(after_4a), m.aux2(after_4d)) if m.training and aux_logits else scores

    return twin(
        forward,
        conv1=unit(in_channels, 64, 7, stride=2, padding=3),
        pool1=pool(3),
        norm1=norm(),
        conv2=unit(64, 64, 1),
        conv3=unit(64, 192, 3, padding=1),
        norm2=norm(),
        pool2=pool(3),
        inception3a=module(192, 64, 96, 128, 16, 32, 32),
        inception3b=module(256, 128, 128, 192, 32, 96, 64),
        pool3=pool(3),
        inception4a=module(480, 192, 96, 208, 16, 48, 64),
        inception4b=module(512, 160, 112, 224, 24, 64, 64),
        inception4c=module(512, 128, 128, 256, 24, 64, 64),
        inception4d=module(512, 112, 144, 288, 32, 64, 64),
        inception4e=module(528, 256, 160, 320, 32, 128, 128),
        pool4=pool(3 if paper else 2),
        inception5a=module(832, 256, 160, 320, 32, 128, 128),
        inception5b=module(832, 384, 192, 384, 48, 128, 128),
        aux1=torch_head(512, num_classes, unit=unit) if aux_logits else None,
        aux2=torch_head(528, num_classes, unit=unit) if aux_logits else None,
        dropout=tnn.Dropout(0.4 if paper else 0.2),
        fc=tnn.Linear(1024, num_classes),
    )


def torch_inception_small(num_classes, in_channels):
    tnn = torch_nn()

    def forward(m, x):
        early = m.inception3a(m.conv1(x))
        late = m.inception4b(m.inception4a(m.maxpool(early)))
        scores = m.fc(m.dropout(late.mean(dim=(2, 3))))
        return (scores, m.aux1(early)) if m.training else scores

    return twin(
        forward,
        conv1=torch_unit(in_channels, 32, 3, padding=1),
        inception3a=torch_inception(32, 16, 16, 32, 8, 8, 8),
        aux1=torch_head(64, num_classes, 2, 32, 64),
        maxpool=tnn.MaxPool2d(2),
        inception4a=torch_inception(64, 32, 32, 64, 16, 16, 16),
        inception4b=torch_inception(128, 32, 32, 64, 16, 16, 16),
        dropout=tnn.Dropout(0.2),
        fc=tnn.Linear(128, num_classes),
    )


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": (1, 0)}, {"groups": 2}], ids=str)
def test_unit_is_pytorchs(options, monkeypatch):
    unit, other = (build(4, 6, (3, 2), **options) for build in (BasicConv2d, torch_unit))
    assert_twins(unit, other, (2, 7, 5, 4), monkeypatch)


@pytest.mark.torch
def test_unit_of_the_paper_is_pytorchs(monkeypatch):
    arguments, options = (4, 6, 3), {"stride": 2, "padding": 1}
    assert_twins(ConvReLU(*arguments, **options), torch_conv_relu(*arguments, **options), (2, 7, 5, 4), monkeypatch)


@pytest.mark.torch
def test_separable_convolution_is_pytorchs(monkeypatch):
    arguments, options = (3, 5, 7), {"stride": 2, "padding": 3}
    ours, other = separable_conv(BasicConv2d, *arguments, **options), torch_separable(torch_unit, *arguments, **options)
    assert_twins(ours, other, (2, 9, 6, 3), monkeypatch)


@pytest.mark.torch
def test_naive_module_is_pytorchs(monkeypatch):
    assert_twins(NaiveInception(4, 2, 5, 3), torch_naive(4, 2, 5, 3), (2, 7, 4, 4), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("kernel5", [3, 5])
@pytest.mark.parametrize(("unit", "other"), [(BasicConv2d, torch_unit), (ConvReLU, torch_conv_relu)])
def test_module_is_pytorchs(unit, other, kernel5, monkeypatch):
    arguments = 4, 2, 3, 6, 1, 5, 7, kernel5
    assert_twins(Inception(*arguments, unit), torch_inception(*arguments, other), (2, 7, 4, 4), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 6, 4), (2, 7, 5, 4), (2, 2, 3, 4)], ids=str)
def test_auxiliary_head_is_pytorchs(shape, monkeypatch):
    arguments = 4, 6, 3, 5, 8
    assert_twins(AuxiliaryHead(*arguments), torch_head(*arguments), shape, monkeypatch)


@pytest.mark.torch
def test_auxiliary_head_of_the_paper_is_pytorchs(monkeypatch):
    arguments = 4, 6, 4, 5, 8, 0.6, False
    ours, other = AuxiliaryHead(*arguments, ConvReLU), torch_head(*arguments, torch_conv_relu)
    assert_twins(ours, other, (2, 14, 14, 4), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize(("paper", "aux_logits"), [(False, True), (False, False), (True, False)])
def test_network_is_pytorchs(paper, aux_logits, monkeypatch):
    """The paper's auxiliary heads, which need images of 224×224, are left out."""
    ours = GoogLeNet(7, 2, aux_logits=aux_logits, variant="paper" if paper else "torchvision")
    assert_twins(ours, torch_googlenet(7, 2, aux_logits, paper), (2, 33, 47, 2), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    assert_twins(inception_small(7, C), torch_inception_small(7, C), shape, monkeypatch)


def test_unit_and_head_have_torchvisions_names_and_shapes():
    assert torch_shapes(BasicConv2d(3, 64, 7)) == published("googlenet", "conv1.")
    assert torch_shapes(AuxiliaryHead(512, 1000)) == published("googlenet", "aux1.")


def test_module_has_torchvisions_names_and_shapes():
    """torchvision's "5×5" branch has 3×3 filters, by an old mistake; the paper's, and our module's, has 5×5."""
    arguments = 192, 64, 96, 128, 16, 32, 32
    theirs = published("googlenet", "inception3a.")
    assert torch_shapes(Inception(*arguments, kernel5=3)) == theirs
    ours = torch_shapes(Inception(*arguments))
    five = "branch3.1.conv.weight"
    assert (ours.pop(five), theirs.pop(five)) == ([32, 16, 5, 5], [32, 16, 3, 3])
    assert ours == theirs


# --------------------------------------------------------------------------------------------- the lecture's example


def count_multiply_adds(module, x, monkeypatch):
    """The output, and the multiply-adds of all convolutions: weights × positions each is applied at."""
    counts = []
    forward = nn.Conv2d.forward

    def counted(layer, x):
        y = forward(layer, x)
        counts.append(layer.weight.size * y.shape[1] * y.shape[2])
        return y

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    with minidl.no_grad():
        return module.eval()(x), sum(counts)


@pytest.mark.parametrize(
    ("build", "depth", "multiply_adds"),
    [
        (lambda: NaiveInception(256, 128, 192, 96), 672, 854_196_224),
        (lambda: Inception(256, 128, 64, 192, 64, 96, 64), 480, 271_351_808),
    ],
    ids=["naive", "reduced"],
)
def test_multiply_adds_on_28_28_256(build, depth, multiply_adds, monkeypatch):
    x = Tensor(np.zeros((1, 28, 28, 256), np.float32))
    module = build()
    y, counted = count_multiply_adds(module, x, monkeypatch)
    assert y.shape == (1, 28, 28, depth)
    assert counted == multiply_adds
    assert f"{multiply_adds:,}" in type(module).__doc__


def test_reduction_saves_a_factor_of_3_15(monkeypatch):
    assert "3.15 times fewer" in Inception.__doc__
    x = Tensor(np.zeros((1, 3, 4, 256), np.float32))  # the ratio does not depend on the size of the image
    _, naive = count_multiply_adds(NaiveInception(256, 128, 192, 96), x, monkeypatch)
    monkeypatch.undo()
    _, reduced = count_multiply_adds(Inception(256, 128, 64, 192, 64, 96, 64), x, monkeypatch)
    assert round(naive / reduced, 2) == 3.15


def test_parameters_of_the_lectures_modules():
    """Weights by hand, each bias-free convolution with the two vectors of its batch norm."""
    naive = 256 * (128 + 9 * 192 + 25 * 96) + 2 * (128 + 192 + 96)
    reduced = 256 * (128 + 64 + 64 + 64) + 64 * (9 * 192 + 25 * 96) + 2 * (128 + 64 + 192 + 64 + 96 + 64)
    for module, expected in (
        (NaiveInception(256, 128, 192, 96), naive),
        (Inception(256, 128, 64, 192, 64, 96, 64), reduced),
    ):
        assert sum(parameter.size for parameter in module.parameters()) == expected


def test_naive_module_only_grows_in_depth(rng):
    """Its pooling keeps every channel, unchanged by weights: they are the last C of the output."""
    x = Tensor(rng.standard_normal((2, 5, 4, 3)), dtype=np.float32)
    y = NaiveInception(3, 1, 2, 1)(x)
    assert y.shape == (2, 5, 4, 1 + 2 + 1 + 3)
    np.testing.assert_array_equal(y.numpy()[..., 4:], F.max_pool2d(x, 3, 1, 1).numpy())


# ------------------------------------------------------------------------------------------------- auxiliary head


def test_auxiliary_scores_come_in_training_only(rng):
    net = inception_small(7)
    x = Tensor(rng.standard_normal((3, 8, 9, 1)), dtype=np.float32)
    trained = net(x)
    assert isinstance(trained, tuple)
    assert [scores.shape for scores in trained] == [(3, 7), (3, 7)]
    assert net.eval()(x).shape == (3, 7)
    assert isinstance(net.train()(x), tuple)


def test_auxiliary_loss_reaches_the_early_layers_only(rng):
    net = inception_small(7)
    _, auxiliary = net(Tensor(rng.standard_normal((3, 8, 9, 1)), dtype=np.float32))
    F.cross_entropy(auxiliary, np.array([1, 0, 6])).backward()
    reached = {
        name.partition(".")[0]
        for name, parameter in net.named_parameters()
        if parameter.grad is not None and parameter.grad.numpy().any()
    }
    assert reached == {"conv1", "inception3a", "aux1"}
    assert all(p.grad is None for part in (net.inception4a, net.inception4b, net.fc) for p in part.parameters())


def test_auxiliary_head_is_not_used_in_inference(rng):
    net = inception_small().eval()
    x = Tensor(rng.standard_normal((2, 8, 8, 1)), dtype=np.float32)
    before = net(x).numpy().copy()
    for parameter in net.aux1.parameters():
        parameter.data = parameter.data * np.float32(np.nan)
    np.testing.assert_array_equal(net(x).numpy(), before)


def test_auxiliary_head_of_the_paper_drops_seven_of_ten(rng):
    head = AuxiliaryHead(5, 3)
    assert (head.avgpool.output_size, head.fc1.weight.shape, head.dropout.p) == (4, (4 * 4 * 128, 1024), 0.7)


# --------------------------------------------------------------------------------------------------- the gradients


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: ConvReLU(2, 3, 3, padding=1), (2, 4, 3, 2)),
        (lambda: separable_conv(BasicConv2d, 2, 3, 3, depth_multiplier=2, stride=2, padding=1), (2, 5, 4, 2)),
        (lambda: separable_conv(ConvReLU, 2, 3, 3, depth_multiplier=2, stride=2, padding=1), (2, 5, 4, 2)),
        (lambda: NaiveInception(2, 2, 1, 2), (2, 3, 4, 2)),
        (lambda: Inception(2, 2, 1, 2, 1, 3, 2), (2, 3, 4, 2)),
        (lambda: Inception(2, 2, 1, 2, 1, 3, 2, kernel5=3, unit=ConvReLU), (2, 3, 4, 2)),
        (lambda: AuxiliaryHead(2, 3, pooled_size=2, channels=2, hidden=4, dropout=0), (3, 5, 4, 2)),
        (lambda: AuxiliaryHead(2, 3, 2, channels=2, hidden=4, dropout=0, adaptive=False, unit=ConvReLU), (1, 8, 9, 2)),
    ],
    ids=["ConvReLU", "separable", "separable ConvReLU", "naive", "module", "module 3×3 ConvReLU", "head", "head paper"],
)
def test_gradients(build, shape, rng):
    """Every derivative of the first order, and one of the second along a random direction."""
    module = build().to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal(shape), requires_grad=True), *module.parameters()]
    assert minidl.gradcheck(lambda x, *_: module(x), inputs).compared > 100
    minidl.gradgradcheck(lambda x, *_: module(x), inputs, fast=True)


def test_gradients_of_the_small_network(rng):
    net = inception_small(4, 2).to(dtype=np.float64)
    net.dropout.p = net.aux1.dropout.p = 0.0
    inputs = [Tensor(rng.standard_normal((3, 8, 8, 2)), requires_grad=True), *net.parameters()]
    minidl.gradcheck(lambda x, *_: net(x), inputs, fast=True)


# ------------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize("reference", REFERENCES)
def test_network_is_table_1(reference):
    """Parameters, shapes and multiply-adds at 224×224, of the whole and of each row, are those of the reference."""
    expected = ARCHITECTURES[reference]
    names = RENAMED if "paper" in reference else {}
    net = built(googlenet, **REFERENCES[reference])
    assert counts(net) == {key: expected[key] for key in counts(net)}
    assert parameters_by_child(net) == {names.get(k, k): count for k, count in expected["params_by_child"].items()}
    shapes, multiply_adds = follow(net.train("aux" in reference), (1, 224, 224, 3))
    expected_shapes = {names.get(k, k): shape for k, shape in expected["out_shapes"].items()}
    assert {name: shapes[name] for name in expected_shapes} == expected_shapes
    assert set(shapes) == set(expected_shapes)
    assert multiply_adds == {names.get(k, k): count for k, count in expected["macs_by_child"].items()}
    assert sum(multiply_adds.values()) == expected.get("macs_with_aux_heads", expected["macs"])
    assert f"{expected['params']:,}" in googlenet.__doc__
    assert f"{expected['macs']:,}" in googlenet.__doc__


def test_separable_first_convolution_is_the_first_row_of_table_1():
    """ "2.7K" parameters and "34M" operations, and in all 1.5 billion (§1): 2,712 and 34.0 million, without biases."""
    net = built(googlenet, variant="paper", separable_stem=True)
    weights = [parameter.size for parameter in net.conv1.parameters() if parameter.ndim == 4]
    assert (sum(weights), 112**2 * sum(weights)) == (2712, 34_019_328)
    whole = built(googlenet, variant="paper").conv1.conv.weight.size
    assert f"{sum(weights):,} weights" in separable_conv.__doc__
    assert f"{whole:,} whole" in separable_conv.__doc__
    assert round(ARCHITECTURES["googlenet_paper_sepconv1"]["macs"] / 1e9, 1) == 1.5


def test_twenty_two_layers():
    """On the longest way through the network (Table 1, column depth); a module is two layers deep."""
    net = built(googlenet, aux_logits=False)
    modules = [child for child in net.children() if isinstance(child, Inception)]
    others = [child for child in net.children() if isinstance(child, BasicConv2d | nn.Linear)]
    assert (len(modules), 2 * len(modules) + len(others)) == (9, 22)


def test_names_and_shapes_are_torchvisions():
    """All of them, in the same order."""
    ours = torch_shapes(built(googlenet))
    assert list(ours.items()) == list(published("googlenet").items())


def test_names_do_not_depend_on_the_variant():
    ours, papers = (torch_shapes(built(googlenet, variant=variant)) for variant in ("torchvision", "paper"))
    assert [name for name in ours if ".bn." not in name] == [name for name in papers if not name.endswith("conv.bias")]


def test_scores_come_in_the_order_of_the_network(rng):
    """(scores, those on 4a, those on 4d): by how far back from the end their gradients begin."""
    net = googlenet(5)
    x = Tensor(rng.standard_normal((2, 32, 32, 3)), dtype=np.float32)
    outputs = net(x)
    assert [scores.shape for scores in outputs] == [(2, 5)] * 3
    last = []
    for scores in outputs:
        net.zero_grad()
        scores.sum().backward(retain_graph=True)
        reached = [name for name, child in net.named_children() if any(p.grad is not None for p in child.parameters())]
        assert reached[0] == "conv1"
        last.append(reached[-2:])
    assert last == [["inception5b", "fc"], ["inception4a", "aux1"], ["inception4d", "aux2"]]
    assert net.eval()(x).shape == (2, 5)


def test_without_auxiliary_heads(rng):
    """Left out, or taken away later: scores alone, and nothing else changes."""
    x = Tensor(rng.standard_normal((2, 15, 15, 3)), dtype=np.float32)
    net = googlenet(5, dropout=0)
    expected = net(x)[0].numpy().copy()
    net.aux1 = net.aux2 = None
    np.testing.assert_array_equal(net(x).numpy(), expected)
    assert googlenet(5, aux_logits=False)(x).shape == (2, 5)


@pytest.mark.parametrize("options", [{}, {"separable_stem": True}, {"variant": "paper"}], ids=str)
def test_deployed_form(options, rng):
    """Heads dropped and batch norms folded, in every convolution: outputs equal to 1e-10, or there is an error."""
    net = unsettle(googlenet(5, **options), rng).eval()
    deployed = to_deploy(net, Tensor(rng.standard_normal((1, 31, 31, 3))))
    assert (deployed.aux1, deployed.aux2) == (None, None)
    assert not [module for module in deployed.modules() if isinstance(module, nn.BatchNorm2d)]


def test_weight_of_the_auxiliary_losses_is_the_papers():
    """GoogLeNet's own; that of the small network is what a Trainer takes where a model has none."""
    assert GoogLeNet.aux_weight == 0.3
    assert auxiliary_weight(InceptionSmall()) == 0.3


def test_heads_tell_what_their_first_linear_layer_reads():
    """PyTorch flattens (C, H, W), minidl (H, W, C): who converts weights must know these sizes."""
    for head in (AuxiliaryHead(3, 5, pooled_size=2, channels=7, hidden=6), built(googlenet).aux2):
        ((name, (H, W, C)),) = head.flattens.items()
        assert getattr(head, name).in_features == H * W * C
        assert (head.avgpool.output_size, head.conv.conv.out_channels) == (H, C)
        assert H == W


def test_dropout_is_the_variants_unless_it_is_given():
    cases = {(): (0.2, 0.7), (("variant", "paper"),): (0.4, 0.7), (("dropout", 0.0), ("dropout_aux", 0.5)): (0.0, 0.5)}
    for options, (dropout, dropout_aux) in cases.items():
        net = built(googlenet, **dict(options))
        assert (net.dropout.p, net.aux1.dropout.p, net.aux2.dropout.p) == (dropout, dropout_aux, dropout_aux)


def test_images_can_have_one_channel(rng):
    x = Tensor(rng.standard_normal((2, 32, 32, 1)), dtype=np.float32)
    for options in ({}, {"separable_stem": True}, {"variant": "paper"}):
        assert googlenet(5, 1, **options).eval()(x).shape == (2, 5)


def test_transform_input_brings_images_from_minus_one_to_one(device, rng):
    """An image of values from 0 to 1, normalised by ImageNet's statistics, and back by the definition of both."""
    v = rng.uniform(0, 1, (2, 15, 17, 3))
    x = (v - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    transformed = from_imagenet_statistics(Tensor(x, device=device))
    assert (transformed.dtype, transformed.device) == (np.float64, minidl.device(device))
    assert_close(transformed, 2 * v - 1)


def test_transform_input_is_an_option(rng):
    x = Tensor(rng.standard_normal((2, 15, 17, 3)), dtype=np.float32)
    net = googlenet(5, transform_input=True, aux_logits=False, dropout=0)
    transformed = net(x).numpy().copy()
    net.transform_input = False
    np.testing.assert_array_equal(net(from_imagenet_statistics(x)).numpy(), transformed)
    assert relative_error(net(x), transformed) > 1e-3


@pytest.mark.parametrize(("variant", "smallest"), [("torchvision", 15), ("paper", 31)])
def test_smallest_image(variant, smallest):
    """The docstring's; with a pixel less, the layer that has none left is named."""
    net = built(googlenet, 5, variant=variant).eval()
    (line,) = [line for line in GoogLeNet.__doc__.splitlines() if "smallest image" in line]
    assert line.split()[2:] == ["15×15", "31×31"]
    assert net(Tensor(np.zeros((1, smallest, smallest, 3), np.float32))).shape == (1, 5)
    with pytest.raises(ValueError, match="max_pool2d") as error:
        net(Tensor(np.zeros((1, smallest - 1, smallest - 1, 3), np.float32)))
    layer = {"torchvision": "maxpool3", "paper": "maxpool4"}[variant]
    assert error.value.__notes__[0].startswith(f"in layer {layer} of GoogLeNet: MaxPool2d(")


def test_heads_of_the_paper_need_their_14_times_14():
    net = built(googlenet, 5, variant="paper")
    with pytest.raises(ValueError, match="linear") as error:
        net(Tensor(np.zeros((1, 160, 160, 3), np.float32)))
    assert error.value.__notes__[0].startswith("in layer aux1.fc1 of GoogLeNet: Linear(2048, ")


def test_wrong_options():
    with pytest.raises(ValueError, match="^GoogLeNet: variant must be one of 'torchvision', 'paper'; got 'caffe'$"):
        googlenet(variant="caffe")
    gray = Tensor(np.zeros((1, 32, 32, 1), np.float32))
    with pytest.raises(ValueError, match=r"expected RGB images \(N, H, W, 3\), got shape \(1, 32, 32, 1\)"):
        built(googlenet, in_channels=1, transform_input=True)(gray)


def test_initial_weights_are_torchvisions():
    """Normal with deviation 0.01, filters and matrices; biases of linear layers uniform, as `nn.Linear` draws them."""
    net = googlenet(10, aux_logits=True)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            normal = module.weight.numpy().astype(np.float64) / 0.01
            assert abs(normal.mean()) < 5 / np.sqrt(normal.size), name
            assert abs((normal**2).mean() - 1) < 5 * np.sqrt(2 / normal.size), name
            assert abs((normal**4).mean() - 3) < 5 * np.sqrt(96 / normal.size), name  # a uniform one has 1.8
        if isinstance(module, nn.Linear):
            bound = 1 / np.sqrt(module.in_features)
            assert 0.5 * bound < abs(module.bias.numpy()).max() <= bound, name
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight.numpy() == 1).all() and (module.bias.numpy() == 0).all(), name


def test_initial_weights_of_the_paper_are_caffes():
    """Uniform with variance 1 / fan_in; biases 0.2, those of the three classifiers 0."""
    net = googlenet(10, variant="paper", separable_stem=True)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = np.prod(module.weight.shape[:-1])
            uniform = module.weight.numpy().astype(np.float64) * np.sqrt(fan_in / 3)  # from -1 to 1
            assert abs(uniform).max() <= 1 + 1e-6, name
            assert abs((uniform**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / uniform.size), name
            assert abs(uniform.mean()) < 5 * np.sqrt(1 / 3 / uniform.size), name
            if module.bias is not None:
                expected = 0.0 if name in ("fc", "aux1.fc2", "aux2.fc2") else np.float32(0.2)
                assert (module.bias.numpy() == expected).all(), name
                assert module.bias.dtype == np.float32


def test_repr_reads_like_table_1():
    text = repr(built(googlenet))
    lines = text.splitlines()
    assert lines[0] == "GoogLeNet("
    assert "  (inception5b): Inception(" in lines
    assert "  (avgpool): AdaptiveAvgPool2d(output_size=1)" in lines
    assert max(map(len, lines)) <= 120
