"""RepVGG: the training form against PyTorch, and the plain form against the training form, which it must equal."""

import json
import re
from pathlib import Path

import fakecupy
import numpy as np
import pytest
from judge import assert_close, relative_error
from torch_twin import assert_twins, published, sequence, torch_nn, torch_shapes, twin, unsettle

import minidl
from minidl import Tensor, nn
from minidl.optim import SGD
from models import repvgg
from models.reparam import to_deploy
from models.repvgg import RepVGG, RepVGGBlock, custom_l2, custom_l2_kernels, repvgg_small

CASES = {  # in_channels, out_channels, stride, groups
    "identity": (4, 4, 1, 1),
    "identity, 2 groups": (4, 4, 1, 2),
    "identity, 4 groups": (8, 8, 1, 4),
    "identity, depthwise": (3, 3, 1, 3),
    "wider": (4, 6, 1, 1),
    "wider, 2 groups": (4, 6, 1, 2),
    "strided": (4, 4, 2, 1),
    "strided, 4 groups": (8, 8, 2, 4),
    "wider, strided, 2 groups": (4, 6, 2, 2),
}
every_case = pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)


# ------------------------------------------------------------------------------------------- against PyTorch


def torch_conv_bn(in_channels, out_channels, kernel, stride, padding, groups):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.bn(m.conv(x)),
        conv=tnn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
        bn=tnn.BatchNorm2d(out_channels),
    )


def torch_block(in_channels, out_channels, stride=1, groups=1):
    identity = torch_nn().BatchNorm2d(in_channels) if (in_channels, stride) == (out_channels, 1) else None

    def forward(m, x):
        y = m.rbr_1x1(x) + m.rbr_dense(x)
        return (y + m.rbr_identity(x) if m.rbr_identity else y).relu()

    return twin(
        forward,
        rbr_identity=identity,
        rbr_dense=torch_conv_bn(in_channels, out_channels, 3, stride, 1, groups),
        rbr_1x1=torch_conv_bn(in_channels, out_channels, 1, stride, 0, groups),
    )


def torch_repvgg_small(num_classes, in_channels):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.linear(m.gap(m.stage2(m.stage1(m.stage0(x)))).flatten(1)),
        stage0=torch_block(in_channels, 32),
        stage1=sequence(torch_block(32, 48, stride=2), torch_block(48, 48)),
        stage2=sequence(torch_block(48, 64, stride=2), torch_block(64, 64)),
        gap=tnn.AdaptiveAvgPool2d(1),
        linear=tnn.Linear(64, num_classes),
    )


def torch_repvgg_grouped(num_classes, in_channels):
    """Two groups in blocks 2, 4 and 6, of which 2 is the second of a stage, 4 the first, and 6 alone in its."""
    tnn = torch_nn()
    return twin(
        lambda m, x: m.linear(m.gap(m.stage4(m.stage3(m.stage2(m.stage1(m.stage0(x)))))).flatten(1)),
        stage0=torch_block(in_channels, 2, stride=2),
        stage1=sequence(torch_block(2, 4, stride=2), torch_block(4, 4, groups=2), torch_block(4, 4)),
        stage2=sequence(torch_block(4, 6, stride=2, groups=2)),
        stage3=sequence(torch_block(6, 4, stride=2)),
        stage4=sequence(torch_block(4, 8, stride=2, groups=2)),
        gap=tnn.AdaptiveAvgPool2d(1),
        linear=tnn.Linear(8, num_classes),
    )


@pytest.mark.torch
@every_case
def test_block_is_pytorchs(arguments, monkeypatch):
    assert_twins(RepVGGBlock(*arguments), torch_block(*arguments), (2, 7, 4, arguments[0]), monkeypatch)


@pytest.mark.torch
@every_case
def test_plain_block_is_pytorchs_convolution(arguments, monkeypatch):
    in_channels, out_channels, stride, groups = arguments
    other = twin(
        lambda m, x: m.rbr_reparam(x).relu(),
        rbr_reparam=torch_nn().Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups),
    )
    assert_twins(RepVGGBlock(*arguments, deploy=True), other, (2, 7, 4, in_channels), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    assert_twins(repvgg_small(7, C), torch_repvgg_small(7, C), shape, monkeypatch)


@pytest.mark.torch
def test_grouped_network_is_pytorchs(monkeypatch):
    net = RepVGG((2, 4, 6, 4, 8), (3, 1, 1, 1), num_classes=5, groups=2)
    assert_twins(net, torch_repvgg_grouped(5, 3), (2, 35, 50, 3), monkeypatch)


@every_case
def test_gradients_of_a_block(arguments, rng):
    for deploy in (False, True):
        block = RepVGGBlock(*arguments, deploy=deploy).to(dtype=np.float64)
        inputs = [Tensor(rng.standard_normal((2, 4, 5, arguments[0])), requires_grad=True), *block.parameters()]
        minidl.gradcheck(lambda x, *_, block=block: block(x), inputs, fast=True)
        minidl.gradgradcheck(lambda x, *_, block=block: block(x), inputs, fast=True)


@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize(("arguments", "prefix"), [((3, 48, 2), "stage0."), ((48, 48, 1), "stage1.1.")], ids=str)
def test_block_has_the_repositorys_names_and_shapes(arguments, prefix, deploy):
    network = "repvgg_a0_deploy" if deploy else "repvgg_a0_train"
    assert torch_shapes(RepVGGBlock(*arguments, deploy=deploy)) == published(network, prefix)


# ------------------------------------------------------------------------------------------------------- fusing


@every_case
def test_fused_block_is_the_same_function(arguments, rng):
    block = unsettle(RepVGGBlock(*arguments), rng).eval()
    assert (block.rbr_identity is not None) == (arguments[0] == arguments[1] and arguments[2] == 1)
    x = Tensor(rng.standard_normal((2, 7, 4, arguments[0])))
    expected = block(x).numpy()
    assert (expected > 0).any()
    assert relative_error(block.fuse()(x), expected) <= 1e-14


@every_case
def test_fused_block_is_one_convolution_with_bias(arguments):
    in_channels, out_channels, stride, groups = arguments
    plain = RepVGGBlock(*arguments).fuse()
    assert {name: array.shape for name, array in plain.state_dict().items()} == {
        "rbr_reparam.weight": (3, 3, in_channels // groups, out_channels),
        "rbr_reparam.bias": (out_channels,),
    }
    assert (plain.rbr_reparam.stride, plain.rbr_reparam.groups) == (stride, groups)


def test_before_the_relu_negative_outputs_agree_too(rng, monkeypatch):
    """ReLU would hide a fused kernel that is wrong only where the sum is negative."""
    block = unsettle(RepVGGBlock(4, 4), rng).eval()
    x = Tensor(rng.standard_normal((2, 7, 4, 4)))

    def without_relu(forward):
        return lambda self, x, add=None, relu=False: forward(self, x, add)

    for layer in (nn.Conv2d, nn.BatchNorm2d):
        monkeypatch.setattr(layer, "forward", without_relu(layer.forward))
    expected = block(x).numpy()
    assert (expected < 0).any()
    assert relative_error(block.fuse()(x), expected) <= 1e-14


def test_fused_after_training_steps(rng):
    """The statistics that training leaves behind, not those of an unused batch norm."""
    block = RepVGGBlock(4, 4, groups=2).to(dtype=np.float64)
    optimizer = SGD(block.parameters(), lr=0.1)
    for _ in range(5):
        block.zero_grad()
        y = block(Tensor(3 + 2 * rng.standard_normal((4, 5, 6, 4))))
        y.backward(rng.standard_normal(y.shape))
        optimizer.step()
    block.eval()
    x = Tensor(rng.standard_normal((2, 5, 6, 4)))
    assert relative_error(block.fuse()(x), block(x)) <= 1e-14


def test_in_training_the_plain_form_is_not_the_same(rng):
    """Batch statistics are not the running ones: fusing is exact in inference only."""
    block = unsettle(RepVGGBlock(4, 4), rng)
    x = Tensor(rng.standard_normal((3, 5, 6, 4)))
    assert relative_error(block.fuse()(x), block(x)) > 0.1


def test_fusing_draws_no_random_numbers():
    block = RepVGGBlock(2, 2)
    minidl.manual_seed(5)
    expected = nn.init.uniform((3,), 1.0)
    minidl.manual_seed(5)
    block.fuse()
    np.testing.assert_array_equal(nn.init.uniform((3,), 1.0), expected)


@pytest.mark.parametrize("training", [True, False])
def test_fusing_keeps_the_mode(training):
    plain = RepVGGBlock(2, 2).train(training).fuse()
    assert {part.training for part in plain.modules()} == {training}


def test_a_fused_block_has_weights_of_its_own(rng):
    block = RepVGGBlock(2, 2)
    before = block.state_dict()
    for parameter in block.fuse().parameters():
        assert parameter.requires_grad
        parameter.data[...] = np.nan
    for name, array in block.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_plain_block_is_fused_already():
    plain = RepVGGBlock(2, 2).fuse()
    assert plain.fuse() is plain


def test_fusing_works_on_the_second_gpu(rng):
    minidl.backend.set_gpu_module(fakecupy)
    try:
        block = unsettle(RepVGGBlock(4, 4), rng).eval().to("gpu:1")
        x = Tensor(rng.standard_normal((2, 7, 4, 4)), device="gpu:1")
        plain = block.fuse()
        assert {parameter.device for parameter in plain.parameters()} == {x.device}
        assert relative_error(plain(x), block(x)) <= 1e-14
    finally:
        minidl.backend.set_gpu_module(None)


# --------------------------------------------------------------------------------------------------------- custom L2


def l2_by_hand(block):
    """The repository's formula, filter by filter and channel by channel."""
    W3, W1 = (branch.conv.weight.numpy() for branch in (block.rbr_dense, block.rbr_1x1))
    t3, t1 = (
        branch.bn.weight.numpy() / np.sqrt(branch.bn.running_var.numpy() + branch.bn.eps)
        for branch in (block.rbr_dense, block.rbr_1x1)
    )
    total = 0.0
    for f in range(W3.shape[3]):
        for c in range(W3.shape[2]):
            for i in range(3):
                for j in range(3):
                    if (i, j) == (1, 1):
                        total += (W3[1, 1, c, f] * t3[f] + W1[0, 0, c, f] * t1[f]) ** 2 / (t3[f] ** 2 + t1[f] ** 2)
                    else:
                        total += W3[i, j, c, f] ** 2
    return total


def test_custom_l2_is_the_sum_over_the_blocks(rng):
    net = unsettle(RepVGG((2, 4, 6), (3, 1), groups=2, num_classes=3), rng)
    blocks = [module for module in net.modules() if isinstance(module, RepVGGBlock)]
    assert len(blocks) == 5
    assert_close(custom_l2(net), np.array(sum(l2_by_hand(block) for block in blocks)))


def test_custom_l2_is_the_squared_norm_of_the_fused_kernel_where_both_scales_are_one():
    """Apart from a factor 2 in the middle, and without the identity: what it stands for."""
    block = RepVGGBlock(3, 4).to(dtype=np.float64)
    for branch in (block.rbr_dense, block.rbr_1x1):
        branch.bn.running_var.data = np.full(4, 1 - branch.bn.eps)
    squares = block.fuse().rbr_reparam.weight.numpy() ** 2
    assert_close(custom_l2(block), squares.sum() - squares[1, 1].sum() / 2)


def test_gradients_of_custom_l2(rng):
    """To the kernels only: the scales are constants."""
    net = unsettle(RepVGG((2, 4), (2,), groups=2, num_classes=3), rng)
    kernels = custom_l2_kernels(net)
    minidl.gradcheck(lambda *_: custom_l2(net), kernels)
    minidl.gradgradcheck(lambda *_: custom_l2(net), kernels, fast=True)
    custom_l2(net).backward()
    reached = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in net.named_parameters() if name.endswith("conv.weight")}


def test_kernels_of_custom_l2_are_those_of_both_convolutions():
    net = repvgg_small()
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    blocks = ["stage0", "stage1.0", "stage1.1", "stage2.0", "stage2.1"]
    expected = [f"{block}.{branch}.conv.weight" for block in blocks for branch in ("rbr_dense", "rbr_1x1")]
    assert [names[id(kernel)] for kernel in custom_l2_kernels(net)] == expected


def test_custom_l2_takes_the_place_of_weight_decay(rng):
    """A step as the docstring has it: only kernels move, against the gradient of the penalty."""
    net = repvgg_small()
    kernels = custom_l2_kernels(net)
    others = [parameter for parameter in net.parameters() if all(parameter is not kernel for kernel in kernels)]
    groups = [{"params": kernels, "weight_decay": 0.0}, {"params": others}]
    optimizer = SGD(groups, lr=0.1, weight_decay=0.5)
    before = [kernel.numpy().copy() for kernel in kernels]
    (0.5 * 0.5 * custom_l2(net)).backward()
    optimizer.step()
    for kernel, old in zip(kernels, before, strict=True):
        np.testing.assert_allclose(kernel.numpy(), old - 0.1 * kernel.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("function", [custom_l2, custom_l2_kernels])
def test_custom_l2_needs_the_training_form(function):
    with pytest.raises(ValueError, match=rf"^{function.__name__}: expected .* RepVGGBlock in training form, got none"):
        function(to_deploy(repvgg_small()))


# ------------------------------------------------------------------------------------------------------ networks

ARCHITECTURES = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())["architectures"]
NETWORKS = sorted({name.rsplit("_", 1)[0] for name in ARCHITECTURES if name.startswith("repvgg_")})
KINDS = {"n_conv": nn.Conv2d, "n_linear": nn.Linear, "n_batchnorm": nn.BatchNorm2d}
every_network = pytest.mark.parametrize("name", NETWORKS)
every_form = pytest.mark.parametrize("form", ["train", "deploy"])


def built(name, form, **options):
    """The network without memory for its weights."""
    with nn.init.placeholders():
        return getattr(repvgg, name)(deploy=form == "deploy", **options)


def torch_layout(shape):
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(shape), range(len(shape)))
    return [shape[axis] for axis in axes]


def test_the_thirteen_networks_are_there():
    assert len(NETWORKS) == 13
    assert [name for name in vars(repvgg) if re.match(r"repvgg_[ab]\d", name)] == NETWORKS


@every_form
@every_network
def test_parameters_and_layers_are_the_repositorys(name, form):
    net, expected = built(name, form), ARCHITECTURES[f"{name}_{form}"]
    counts = {key: sum(isinstance(module, kind) for module in net.modules()) for key, kind in KINDS.items()}
    assert counts == {key: expected[key] for key in KINDS}
    assert sum(parameter.size for parameter in net.parameters()) == expected["params"]
    assert sum(buffer.size for buffer in net.buffers()) == expected["buffer_elements"]


@every_network
def test_docstring_tells_parameters_and_multiply_adds(name):
    train, deploy = (ARCHITECTURES[f"{name}_{form}"] for form in ("train", "deploy"))
    blocks = sum(isinstance(module, RepVGGBlock) for module in built(name, "deploy").modules())
    assert getattr(repvgg, name).__doc__ == (
        f"{blocks} blocks, {train['params']:,} parameters, {train['macs'] / 1e9:.2f} G multiply-adds; "
        f"deployed {deploy['params']:,} and {deploy['macs'] / 1e9:.2f} G."
    )


@every_form
def test_names_and_shapes_are_the_repositorys(form):
    net = built("repvgg_a0", form)
    shapes = {key: torch_layout(tensor.shape) for key, tensor in net._state()}  # state_dict() would copy
    assert list(shapes.items()) == list(published(f"repvgg_a0_{form}").items())


@every_form
@every_network
def test_widths_and_groups_are_the_repositorys(name, form):
    net, expected = built(name, form), ARCHITECTURES[f"{name}_deploy"]
    blocks = [module for module in net.modules() if isinstance(module, RepVGGBlock)]
    grouped = [i for i, block in enumerate(blocks) if block.groups > 1]
    assert grouped == expected["grouped_layer_indices_0based"]
    assert {block.groups for block in blocks} - {1} == ({int(name[-1])} if "g" in name[7:] else set())
    firsts = [net.stage0, net.stage1[0], net.stage2[0], net.stage3[0], net.stage4[0]]
    assert [block.out_channels for block in firsts] == expected["widths"]
    assert [block.stride for block in blocks] == [2 if block in firsts else 1 for block in blocks]


@every_form
def test_stages_have_the_repositorys_sizes(form, rng):
    """Thin, at 224×224: every stage halves the image."""
    net = RepVGG((1, 1, 1, 1, 2), repvgg.A, num_classes=3, in_channels=1, deploy=form == "deploy").eval()
    theirs = ARCHITECTURES[f"repvgg_a0_{form}"]["out_shapes"]
    seen = {}
    hooks = [
        module.register_forward_hook(lambda module, inputs, y, key=key: seen.update({key: list(y.shape)}))
        for key, module in net.named_modules()
        if key in theirs
    ]
    assert len(hooks) == len(theirs)
    with minidl.no_grad():
        net(Tensor(rng.standard_normal((1, 224, 224, 1)), dtype=np.float32))
    assert {key: shape[1:-1] for key, shape in seen.items()} == {key: shape[2:] for key, shape in theirs.items()}


@every_form
def test_images_of_any_size(form, rng):
    net = repvgg.repvgg_a0(num_classes=7, in_channels=1, deploy=form == "deploy")
    for training in (True, False):
        scores = net.train(training)(Tensor(rng.standard_normal((2, 33, 20, 1)), dtype=np.float32))
        assert scores.shape == (2, 7)
        assert np.isfinite(scores.numpy()).all()


def test_a_wrong_number_of_channels_is_noted_with_the_layer():
    with pytest.raises(ValueError, match="expects 3") as caught:
        RepVGG((2, 3), (1,))(Tensor(np.zeros((1, 8, 8, 2), np.float32)))
    assert any(note.startswith("in layer stage0.rbr_dense.conv of RepVGG: Conv2d(") for note in caught.value.__notes__)


def test_initial_weights_are_uniform():
    """As in PyTorch: between ±1 / √fan_in."""
    for module in RepVGG((8, 16), (2,), groups=2).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.numpy()
            bound = 1 / np.sqrt(np.prod(weight.shape[:-1]))
            assert 0.9 * bound < abs(weight).max() <= bound


def test_every_stage_begins_with_stride_two():
    net = RepVGG((2, 3, 4), (2, 3), num_classes=5)
    assert net.stage0.stride == 2
    assert [[block.stride for block in stage] for stage in (net.stage1, net.stage2)] == [[2, 1], [2, 1, 1]]
    assert repvgg_small().stage0.stride == 1


def test_widths_and_blocks_must_fit():
    with pytest.raises(ValueError, match=r"^RepVGG: expected one width more .*, got \(2, 3\) and \(1, 2\)"):
        RepVGG((2, 3), (1, 2))


def test_identity_branch_where_and_only_where_shapes_agree():
    net = repvgg_small()
    assert net.stage0.rbr_identity is None
    assert [[block.rbr_identity is not None for block in stage] for stage in (net.stage1, net.stage2)] == [
        [False, True],
        [False, True],
    ]


def test_repr_names_the_stages_and_is_short():
    text = repr(built("repvgg_b1g4", "train"))
    assert text.startswith("RepVGG(\n  (stage0): RepVGGBlock(")
    assert "(rbr_1x1): ConvBN(" in text
    assert max(map(len, text.splitlines())) <= 120
