"""Judges of exercise 38: three branches of RepVGG as one convolution."""

import numpy as np
import oracle
import pytest
from blocks import by_hand, normed, relu, same_parameters, trained

from minidl import Tensor
from minidl.exercises.judging import judge, require
from models.repvgg import RepVGGBlock

pytestmark = pytest.mark.exercise("repvgg-fuse")


def written_out(x, w, stride=1, groups=1):
    """The block in its training form, by the definition: w is its state_dict."""
    options = dict(stride=stride, groups=groups)
    y = normed(oracle.conv2d(x, w["rbr_dense.conv.weight"], padding=1, **options), w, "rbr_dense.bn")
    y = y + normed(oracle.conv2d(x, w["rbr_1x1.conv.weight"], **options), w, "rbr_1x1.bn")
    return relu(y + normed(x, w, "rbr_identity") if "rbr_identity.weight" in w else y)


def fused(block, call):
    """What fuse() gives, if it is a block in the plain form."""
    plain = block.fuse()
    require(isinstance(plain, RepVGGBlock), f"wanted  a RepVGGBlock in the plain form\ngot     {plain!r}", call=call)
    is_new = plain is not block and block.rbr_reparam is None
    require(is_new, "wanted  a new block\ngot     the block itself, changed into the plain form", call=call)
    C, F, G = block.in_channels, block.out_channels, block.groups
    same_parameters(call, plain, {"rbr_reparam.weight": (3, 3, C // G, F), "rbr_reparam.bias": (F,)})
    return plain


def one_channel():
    """A block of one channel, whose numbers are easy: after each batch norm they are whole."""
    block = by_hand(
        RepVGGBlock(1, 1),
        rbr_dense__conv__weight=np.arange(2.0, 20.0, 2.0).reshape(3, 3, 1, 1),
        rbr_1x1__conv__weight=3.0,
        rbr_1x1__bn__weight=2.0,
        rbr_1x1__bn__bias=1.0,
    )
    block.rbr_dense.bn.running_mean.data, block.rbr_dense.bn.running_var.data = np.array([2.0]), np.array([4.0])
    block.rbr_identity.running_mean.data, block.rbr_identity.running_var.data = np.array([1.0]), np.array([0.25])
    return block


def test_one_channel_by_hand():
    """the kernel: the 3×3 halved, and in its middle the 1×1 doubled, 6, and the identity doubled, 2"""
    kernel = np.arange(1.0, 10.0).reshape(3, 3)
    corner, one_in_corner, bare = kernel.copy(), kernel.copy(), kernel.copy()
    corner[0, 0] += 6 + 2
    one_in_corner[0, 0], one_in_corner[1, 1] = 1 + 6, 5 + 2
    bare[1, 1] += 6 + 1
    wanted = kernel.copy()
    wanted[1, 1] = 13.0
    block = one_channel()
    call = "fused = block.fuse(), where block = RepVGGBlock(1, 1) and every ε is 0"
    plain = fused(block, call)
    judge(
        f"{call};  fused.rbr_reparam.weight[:, :, 0, 0]",
        plain.rbr_reparam.weight.data[:, :, 0, 0],
        wanted,
        given={
            "3×3": 2 * kernel,
            "and its bn": "mean 2, variance 4, weight 1, bias 0",
            "1×1": 3.0,
            "its bn": "mean 0, variance 1, weight 2, bias 1",
            "bn of x": "mean 1, variance 0.25, weight 1, bias 0",
        },
        mistakes={
            "the 1×1 kernels stand in a corner, not in the middle": corner,
            "the 1×1 kernel stands in a corner, not in the middle": one_in_corner,
            "the identity branch goes in without its batch norm": bare,
            "the identity branch is left out": np.where(wanted == 13, 11, wanted),
            "the 1×1 branch is left out": np.where(wanted == 13, 7, wanted),
        },
    )
    judge(
        f"{call};  fused.rbr_reparam.bias",
        plain.rbr_reparam.bias.data,
        np.array([-2.0]),
        given={"of the 3×3": -1.0, "of the 1×1": 1.0, "of the identity": -2.0},
    )


@pytest.mark.parametrize("C", [4, 3])
def test_the_two_forms_give_the_same(C):
    """trained statistics, with the identity branch (4 → 4 channels) and without (3 → 4)"""
    rng = np.random.default_rng(C)
    block = trained(RepVGGBlock(C, 4), rng)
    x = rng.standard_normal((2, 4, 3, C))
    call = f"RepVGGBlock({C}, 4).fuse()"
    judge(f"{call}(x), x of shape {x.shape}", fused(block, call)(Tensor(x)).data, written_out(x, block.state_dict()))


def test_stride_2():
    """a block that makes the image smaller has no identity branch, even where the channels stay"""
    rng = np.random.default_rng(5)
    block = trained(RepVGGBlock(4, 4, stride=2), rng)
    x = rng.standard_normal((2, 5, 4, 4))
    call = "RepVGGBlock(4, 4, stride=2).fuse()"
    judge(f"{call}(x), x of shape {x.shape}", fused(block, call)(Tensor(x)).data, written_out(x, block.state_dict(), 2))


@pytest.mark.parametrize(("C", "F", "stride", "groups"), [(6, 6, 1, 2), (4, 6, 2, 2), (6, 6, 1, 3), (3, 3, 1, 3)])
def test_groups(C, F, stride, groups):
    """two or three groups: a filter reads only its part of the channels, and so does the identity as a kernel"""
    rng = np.random.default_rng(6)
    block = trained(RepVGGBlock(C, F, stride=stride, groups=groups), rng)
    x = rng.standard_normal((2, 3, 4, C))
    call = f"RepVGGBlock({C}, {F}, stride={stride}, groups={groups}).fuse()"
    wanted = written_out(x, block.state_dict(), stride, groups)
    judge(f"{call}(x), x of shape {x.shape}", fused(block, call)(Tensor(x)).data, wanted)


def test_the_block_stays_as_it_is():
    """the plain form is a new block, with arrays of its own; fused again it is itself"""
    rng = np.random.default_rng(7)
    block = trained(RepVGGBlock(3, 3), rng)
    block.train()
    before, call = block.state_dict(), "RepVGGBlock(3, 3).fuse()"
    plain = fused(block, call)
    still = all(part.training for part in block.modules())
    require(still, "the block that was fused was in training mode, and now some of it is not", call=call)
    plain.rbr_reparam.weight.data[...] = plain.rbr_reparam.bias.data[...] = 0
    for name, array in block.state_dict().items():
        judge(f"{call};  afterwards, in the block that was fused: {name}", array, before[name])
    require(plain.fuse() is plain, "a block in the plain form is given back as it is", call="fused.fuse()")


def test_float32_stays_float32():
    """weights in float32, as in training, give a kernel and a bias in float32"""
    block = trained(RepVGGBlock(2, 2), np.random.default_rng(8)).to(dtype=np.float32)
    for name, parameter in fused(block, "RepVGGBlock(2, 2).fuse()").named_parameters():
        judge(f"the dtype of {name}, all being float32", str(parameter.dtype), "float32")
