"""BN-Inception: modules and networks against PyTorch, figure 5 and Caffe's checkpoint."""

import re

import numpy as np
import pytest
from architectures import ARCHITECTURES, built, counts, follow, parameters_by_child
from torch_twin import assert_twins, sequence, torch_nn, torch_shapes, twin, unsettle

import minidl
from minidl import Tensor, nn
from models.dialects import DIALECTS
from models.inception_v2 import BNInception, FactorizedInception, StridedInception, inception_v2
from models.reparam import to_deploy
from models.units import BasicConv2d

REFERENCES = {  # the options that make each network of tests/reference/architectures.json
    "bn_inception_cadene": {},
    "bn_inception_fig5_nobias": {"conv_bias": False},
    "bn_inception_slim_channels": {"variant": "slim", "separable_stem": False},
    "bn_inception_slim_sepconv1": {"variant": "slim"},
}
FIGURE_5 = {  # #1×1, #3×3 reduce, #3×3, double #3×3 reduce, double #3×3, pool + proj
    "3a": (64, 64, 64, 64, 96, "avg + 32"),
    "3b": (64, 64, 96, 64, 96, "avg + 64"),
    "3c": (0, 128, 160, 64, 96, "max + pass through"),
    "4a": (224, 64, 96, 96, 128, "avg + 128"),
    "4b": (192, 96, 128, 96, 128, "avg + 128"),
    "4c": (160, 128, 160, 128, 160, "avg + 128"),
    "4d": (96, 128, 192, 160, 192, "avg + 128"),
    "4e": (0, 128, 192, 192, 256, "max + pass through"),
    "5a": (352, 192, 320, 160, 224, "avg + 128"),
    "5b": (352, 192, 320, 192, 224, "max + 128"),
}


def torch_units(bias, eps, momentum):
    """Makes of convolutions, up to their ReLU."""
    tnn = torch_nn()

    def unit(in_channels, channels, kernel, **options):
        return twin(
            lambda m, x: m.bn(m.conv(x)).relu(),
            conv=tnn.Conv2d(in_channels, channels, kernel, bias=bias, **options),
            bn=tnn.BatchNorm2d(channels, eps=eps, momentum=momentum),
        )

    return unit


def in_parallel(m, x):
    """The branches' outputs one behind the other in depth, which in PyTorch is axis 1."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return torch.cat([branch(x) for branch in m.children()], dim=1)


def torch_module(unit, in_channels, row, count_include_pad):
    """A row of figure 5, and the channels that come out. Without 1×1 filters it has stride 2."""
    tnn = torch_nn()
    c1, c3_reduce, c3, d3_reduce, d3, pooling = row
    stride = 1 if c1 else 2
    branches = {"branch1": unit(in_channels, c1, 1)} if c1 else {}
    branches["branch2"] = sequence(unit(in_channels, c3_reduce, 1), unit(c3_reduce, c3, 3, padding=1, stride=stride))
    branches["branch3"] = sequence(
        unit(in_channels, d3_reduce, 1), unit(d3_reduce, d3, 3, padding=1), unit(d3, d3, 3, padding=1, stride=stride)
    )
    kind, _, proj = pooling.split(maxsplit=2)
    if proj == "pass through":
        branches["branch4"] = tnn.MaxPool2d(3, 2, ceil_mode=True)
        return twin(in_parallel, **branches), c3 + d3 + in_channels
    pool = tnn.MaxPool2d(3, 1, 1) if kind == "max" else tnn.AvgPool2d(3, 1, 1, count_include_pad=count_include_pad)
    branches["branch4"] = sequence(pool, unit(in_channels, int(proj), 1))
    return twin(in_parallel, **branches), c1 + c3 + d3 + int(proj)


def torch_network(num_classes, in_channels, variant):
    """Figure 5 once more, from its rows."""
    tnn = torch_nn()
    slim = variant == "slim"
    unit = torch_units(bias=not slim, eps=1e-3 if slim else 1e-5, momentum=3e-4 if slim else 0.1)
    if slim:
        depthwise = tnn.Conv2d(in_channels, 8 * in_channels, 7, 2, 3, groups=in_channels, bias=False)
        conv1 = sequence(depthwise, unit(8 * in_channels, 64, 1))
    else:
        conv1 = unit(in_channels, 64, 7, stride=2, padding=3)
    children = {
        "conv1": conv1,
        "maxpool1": tnn.MaxPool2d(3, 2, ceil_mode=True),
        "conv2": unit(64, 64, 1),
        "conv3": unit(64, 192, 3, padding=1),
        "maxpool2": tnn.MaxPool2d(3, 2, ceil_mode=True),
    }
    channels = 192
    for name, row in FIGURE_5.items():
        if slim and name in ("4c", "4d"):
            row = (*row[:-1], "avg + 96")
        children[f"inception{name}"], channels = torch_module(unit, channels, row, count_include_pad=not slim)

    def forward(m, x):
        for name in children:
            x = m.get_submodule(name)(x)
        return m.fc(m.dropout(x.mean(dim=(2, 3))))

    return twin(forward, **children, dropout=tnn.Dropout(0.25), fc=tnn.Linear(channels, num_classes))


@pytest.mark.torch
@pytest.mark.parametrize("options", [{"bias": True, "eps": 0.1, "momentum": 0.3}, {"bias": False}], ids=str)
def test_unit_is_pytorchs(options, monkeypatch):
    other = torch_units(**{"eps": 1e-3, "momentum": 0.1, **options})
    assert_twins(BasicConv2d(3, 4, 3, **options), other(3, 4, 3), (2, 5, 6, 3), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("pool", "count_include_pad", "pooling"),
    [
        (nn.AvgPool2d(3, 1, 1), True, "avg + 4"),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), False, "avg + 4"),
        (nn.MaxPool2d(3, 1, 1), True, "max + 4"),
    ],
    ids=["average", "average without padding", "max"],
)
def test_module_is_pytorchs(pool, count_include_pad, pooling, monkeypatch):
    ours = FactorizedInception(4, 2, 3, 5, 1, 6, pool, 4)
    unit = torch_units(bias=False, eps=1e-3, momentum=0.1)
    other, channels = torch_module(unit, 4, (2, 3, 5, 1, 6, pooling), count_include_pad)
    assert channels == ours(Tensor(np.zeros((1, 3, 3, 4), np.float32))).shape[-1]
    assert_twins(ours, other, (2, 5, 4, 4), monkeypatch)


@pytest.mark.torch
def test_module_with_stride_is_pytorchs(monkeypatch):
    unit = torch_units(bias=False, eps=1e-3, momentum=0.1)
    other, _ = torch_module(unit, 4, (0, 3, 5, 1, 6, "max + pass through"), True)
    assert_twins(StridedInception(4, 3, 5, 1, 6), other, (2, 6, 8, 4), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("variant", ["caffe", "slim"])
def test_network_is_pytorchs(variant, monkeypatch):
    ours = BNInception(7, 2, variant=variant, dropout=0.25)
    assert_twins(ours, torch_network(7, 2, variant), (2, 32, 64, 2), monkeypatch)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: FactorizedInception(2, 1, 2, 2, 1, 2, nn.AvgPool2d(3, 1, 1), 1), (2, 3, 4, 2)),
        (lambda: FactorizedInception(2, 1, 2, 2, 1, 2, nn.MaxPool2d(3, 1, 1), 1), (2, 3, 4, 2)),
        (lambda: StridedInception(2, 1, 2, 2, 2), (2, 4, 6, 2)),
    ],
    ids=["average", "max", "stride"],
)
def test_gradients_of_a_module(build, shape, rng):
    """Every derivative of the first order, and one of the second along a random direction."""
    module = build().to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal(shape), requires_grad=True), *module.parameters()]
    assert minidl.gradcheck(lambda x, *_: module(x), inputs).compared > 1000
    minidl.gradgradcheck(lambda x, *_: module(x), inputs, fast=True)


# --------------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize("reference", REFERENCES)
def test_network_is_figure_5(reference):
    """Parameters, shapes and multiply-adds at 224×224, of the whole and of each row, are those of the reference."""
    expected = ARCHITECTURES[reference]
    net = built(inception_v2, **REFERENCES[reference])
    assert counts(net) == {key: expected[key] for key in counts(net)}
    shapes, multiply_adds = follow(net.eval(), (1, 224, 224, 3))
    assert sum(multiply_adds.values()) == expected["macs"]
    if reference != "bn_inception_cadene":  # which is not made of modules
        assert parameters_by_child(net) == renamed(expected["params_by_child"])
        assert multiply_adds == renamed(expected["macs_by_child"])
        expected_shapes = renamed(expected["out_shapes"])
        assert {name: shapes[name] for name in expected_shapes} == expected_shapes


def renamed(rows):
    """{name: ...} by our names, which are GoogLeNet's."""
    names = {"conv2_reduce": "conv2", "conv2": "conv3", "pool1": "maxpool1", "pool2": "maxpool2"}
    return {names.get(name, name.replace("inception_", "inception")): row for name, row in rows.items()}


def test_docstring_tells_parameters_and_multiply_adds():
    for reference in ("bn_inception_cadene", "bn_inception_slim_sepconv1"):
        expected = ARCHITECTURES[reference]
        for number in ("longest_path_weight_layers", "params", "macs"):
            assert f"{expected[number]:,} " in inception_v2.__doc__, number


@pytest.mark.parametrize(("variant", "channels"), [("caffe", (608, 608, 1056)), ("slim", (576, 576, 1024))])
def test_channels_of_4c_4d_4e(variant, channels):
    shapes, _ = follow(built(inception_v2, variant=variant).eval(), (1, 32, 32, 3))
    assert tuple(shapes[f"inception{name}"][1] for name in ("4c", "4d", "4e")) == channels


@pytest.mark.parametrize("name", FIGURE_5)
def test_pooling_of_a_module_is_figure_5s(name):
    kind, _, proj = FIGURE_5[name][-1].split(maxsplit=2)
    for variant, counts_padding in (("caffe", True), ("slim", False)):
        branch = getattr(built(inception_v2, variant=variant), f"inception{name}").branch4
        pool = branch if proj == "pass through" else branch[0]
        assert type(pool) is {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[kind]
        assert (pool.kernel_size, pool.stride) == (3, 2 if proj == "pass through" else 1)
        if kind == "avg":
            assert pool.count_include_pad is counts_padding


@pytest.mark.parametrize(("variant", "eps", "momentum"), [("caffe", 1e-5, 0.1), ("slim", 1e-3, 0.0003)])
def test_batch_normalisation_is_the_variants(variant, eps, momentum):
    norms = [module for module in built(inception_v2, variant=variant).modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(eps, momentum)}


@pytest.mark.parametrize("variant", ["caffe", "slim"])
@pytest.mark.parametrize("conv_bias", [None, False, True])
@pytest.mark.parametrize("separable_stem", [None, False, True])
def test_bias_and_first_convolution_are_the_variants_unless_given(variant, conv_bias, separable_stem):
    net = built(inception_v2, variant=variant, conv_bias=conv_bias, separable_stem=separable_stem)
    biased = {module.conv.bias is not None for module in net.modules() if isinstance(module, BasicConv2d)}
    assert biased == {(variant == "caffe") if conv_bias is None else conv_bias}
    assert isinstance(net.conv1, nn.Sequential) == ((variant == "slim") if separable_stem is None else separable_stem)


def test_no_dropout_unless_asked_for():
    assert built(inception_v2).dropout.p == 0
    assert built(inception_v2, dropout=0.1).dropout.p == 0.1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("variant", ["caffe", "slim"])
@pytest.mark.parametrize("shape", [(2, 32, 32, 1), (2, 64, 96, 4)], ids=str)
def test_scores(shape, variant, training, rng):
    net = inception_v2(5, shape[-1], variant=variant).train(training)
    scores = net(Tensor(rng.standard_normal(shape), dtype=np.float32)).numpy()
    assert (scores.shape, scores.dtype) == ((2, 5), np.float32)
    assert not np.array_equal(*scores), "two images, one answer"


@pytest.mark.parametrize("options", [{}, {"separable_stem": True}, {"variant": "slim"}], ids=str)
def test_deployed_form(options, rng):
    """Batch norms folded into every convolution: outputs equal to 1e-10, or there is an error."""
    net = unsettle(inception_v2(5, **options), rng).eval()
    deployed = to_deploy(net, Tensor(rng.standard_normal((1, 32, 32, 3))))
    assert not [module for module in deployed.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("size", "message", "layer"),
    [
        ((48, 48), "concatenate", "in layer inception4e of BNInception: StridedInception"),
        ((2, 32), "max_pool2d", "in layer maxpool1 of BNInception: MaxPool2d("),
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_name_the_layer(size, message, layer):
    """48×48 is 3×3 when it comes to 4e: 2×2 after a convolution with stride 2, 1×1 after the pooling."""
    net = built(inception_v2).eval()
    with pytest.raises(ValueError, match=message) as error:
        net(Tensor(np.zeros((1, *size, 3), np.float32)))
    (note,) = error.value.__notes__
    assert note.startswith(layer)


def test_unknown_variant():
    with pytest.raises(ValueError, match="^BNInception: variant must be one of 'caffe', 'slim'; got 'paper'$"):
        inception_v2(variant="paper")


def test_repr_reads_like_figure_5():
    lines = repr(built(inception_v2)).splitlines()
    assert lines[0] == "BNInception("
    assert "  (inception3c): StridedInception(" in lines
    assert "  (inception5b): FactorizedInception(" in lines
    assert max(map(len, lines)) <= 120


# ------------------------------------------------------------------------------------------------ Caffe's checkpoint


def our_name(name):
    for pattern, replacement in DIALECTS["Cadene's BN-Inception"]:
        name = re.sub(pattern, replacement, name)
    return name


def test_every_name_of_caffes_checkpoint_is_one_of_ours():
    """All parameters, in the order of both networks, and of every layer as many."""
    net = built(inception_v2)
    layers = ARCHITECTURES["bn_inception_cadene"]["params_by_child"]
    names = [our_name(f"{layer}.{part}") for layer in layers for part in ("weight", "bias")]
    assert names == [name for name, _ in net.named_parameters()]
    sizes = {name: parameter.size for name, parameter in net.named_parameters()}
    for layer, size in layers.items():
        assert sizes[our_name(f"{layer}.weight")] + sizes[our_name(f"{layer}.bias")] == size, layer


def test_every_buffer_of_caffes_checkpoint_is_one_of_ours():
    norms = [layer for layer in ARCHITECTURES["bn_inception_cadene"]["params_by_child"] if layer.endswith("_bn")]
    parts = ("running_mean", "running_var", "num_batches_tracked")
    names = [our_name(f"{layer}.{part}") for layer in norms for part in parts]
    assert names == [name for name, _ in built(inception_v2).named_buffers()]


def test_names_are_googlenets():
    """The parts that both networks have are called the same in both."""
    ours = {name.split(".")[0] for name in torch_shapes(built(inception_v2))}
    modules = [f"inception{name}" for name in FIGURE_5]
    assert ours == {"conv1", "conv2", "conv3", *modules, "fc"}
