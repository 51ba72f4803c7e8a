"""RepVGG: the training form against PyTorch, and the plain form against the training form, which it must equal."""

import fakecupy
import numpy as np
import pytest
from judge import relative_error
from torch_twin import assert_twins, published, sequence, torch_nn, torch_shapes, twin, unsettle

import minidl
from minidl import Tensor
from minidl import functional as F
from minidl.optim import SGD
from models.repvgg import RepVGG, RepVGGBlock, repvgg_small

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
    def forward(m, x):
        for stage in m.stages:
            x = stage(x)
        return m.linear(x.mean(dim=(2, 3)))

    stages = [
        sequence(torch_block(in_channels, 32)),
        sequence(torch_block(32, 48, stride=2), torch_block(48, 48)),
        sequence(torch_block(48, 64, stride=2), torch_block(64, 64)),
    ]
    tnn = torch_nn()
    return twin(forward, stages=tnn.ModuleList(stages), linear=tnn.Linear(64, num_classes))


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
    monkeypatch.setattr(F, "relu", lambda y: y)
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


def network(rng, dtype=np.float64, device="cpu"):
    return unsettle(repvgg_small(7, 3), rng).to(dtype=dtype, device=device).eval()


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_fused_network_is_the_same_function(dtype, tolerance, device, rng):
    net = network(rng, dtype, device)
    x = Tensor(rng.standard_normal((2, 9, 8, 3)), dtype=dtype, device=device)
    plain = net.fuse()
    assert {(p.dtype, p.device) for p in plain.parameters()} == {(np.dtype(dtype), x.device)}
    assert relative_error(plain(x), net(x)) <= tolerance


def test_fusing_keeps_float64_weights_to_the_last_bit(rng):
    net = network(rng)
    net.linear.weight.data = rng.standard_normal(net.linear.weight.shape)  # values that float32 cannot hold
    np.testing.assert_array_equal(net.fuse().linear.weight.numpy(), net.linear.weight.numpy())


def test_fusing_leaves_the_original_as_it_is(rng):
    net = network(rng).train()
    x = Tensor(rng.standard_normal((2, 9, 8, 3)))
    net(x).backward(rng.standard_normal((2, 7)))
    before = net.state_dict()
    gradients = {name: p.grad.numpy().copy() for name, p in net.named_parameters()}
    plain = net.fuse()
    assert all(p.grad is None for p in plain.parameters())
    for p in plain.parameters():
        p.data[...] = np.nan
    assert net.state_dict().keys() == before.keys()
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(p.grad.numpy(), gradients[name])


def test_fused_network_has_the_plain_names_in_order():
    net = repvgg_small()
    blocks = [f"stages.{stage}.{block}" for stage, block in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1))]
    names = [f"{block}.rbr_reparam.{part}" for block in blocks for part in ("weight", "bias")]
    assert list(net.fuse().state_dict()) == [*names, "linear.weight", "linear.bias"]


def test_fused_network_can_be_trained(rng):
    plain = repvgg_small(in_channels=3).fuse()
    plain(Tensor(rng.standard_normal((2, 8, 8, 3)), dtype=np.float32)).backward(np.ones((2, 10), np.float32))
    assert all(p.grad is not None for p in plain.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_fusing_keeps_the_mode(training):
    for module in (RepVGGBlock(2, 2), repvgg_small()):
        plain = module.train(training).fuse()
        assert {part.training for part in plain.modules()} == {training}


@pytest.mark.parametrize("build", [lambda: RepVGGBlock(2, 2), repvgg_small])
def test_fusing_twice_is_refused(build):
    plain = build().fuse()
    with pytest.raises(ValueError, match=r"RepVGGBlock\.fuse: this block is in its plain form already"):
        plain.fuse()


def test_fusing_works_on_the_second_gpu(rng):
    minidl.backend.set_gpu_module(fakecupy)
    try:
        net = network(rng, device="gpu:1")
        x = Tensor(rng.standard_normal((2, 9, 8, 3)), device="gpu:1")
        assert relative_error(net.fuse()(x), net(x)) <= 1e-13
    finally:
        minidl.backend.set_gpu_module(None)


# ------------------------------------------------------------------------------------------------------- network


def test_every_stage_begins_with_stride_two():
    net = RepVGG((2, 3, 4), (1, 2, 3), num_classes=5)
    strides = [[block.stride for block in stage] for stage in net.stages]
    assert strides == [[2], [2, 1], [2, 1, 1]]
    assert [block.stride for block in repvgg_small().stages[0]] == [1]


def test_widths_and_blocks_must_be_as_many():
    with pytest.raises(ValueError, match="zip"):
        RepVGG((2, 3), (1,))


def test_identity_branch_where_and_only_where_shapes_agree():
    net = repvgg_small()
    assert [[block.rbr_identity is not None for block in stage] for stage in net.stages] == [
        [False],
        [False, True],
        [False, True],
    ]
