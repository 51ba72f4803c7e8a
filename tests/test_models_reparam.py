"""Structural re-parameterisation: each identity against what it says it equals, whole networks against themselves."""

import tracemalloc

import fakecupy
import numpy as np
import pytest
from judge import assert_close, relative_error
from torch_twin import unsettle

import minidl
from minidl import Tensor, nn, optim
from minidl import functional as F
from minidl.kernels import tiles
from models import cifar_resnet, preact_resnet, repvgg, resnet, vgg
from models.googlenet import googlenet, inception_small
from models.inception_v3 import InceptionA, InceptionV3
from models.inception_v3 import InceptionC as InceptionC3
from models.inception_v4 import InceptionC as InceptionC4
from models.reparam import (
    average_pooling_kernel,
    batch_norm_scale,
    concatenation_of_branches,
    fold_batch_norm,
    fold_into_kernel,
    identity_kernel,
    pad_kernel,
    sequence_of_1x1_and_kxk,
    sum_of_branches,
    to_deploy,
)
from models.units import BasicConv2d, ConvBN


@pytest.fixture
def x(rng, device):
    return Tensor(rng.standard_normal((2, 5, 4, 6)), device=device)


@pytest.fixture
def draw(rng, device):
    """Random Tensors of the given shapes, on the test's device."""
    return lambda *shapes: [Tensor(rng.standard_normal(shape), device=device) for shape in shapes]


# ---------------------------------------------------------------------------------------------------- on kernels


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (2, 5)])
def test_folding_a_batch_norm(shape, groups, with_bias, x, draw, device, rng):
    bn = unsettle(nn.BatchNorm2d(12, eps=0.1), rng).to(device=device).eval()
    kernel, bias = draw((*shape, 6 // groups, 12), (12,))
    bias = bias if with_bias else None
    folded, new_bias = fold_into_kernel(kernel, bn, bias)
    assert (folded.shape, new_bias.shape) == (kernel.shape, (12,))
    options = dict(stride=2, padding=2, groups=groups)
    assert_close(F.conv2d(x, folded, new_bias, **options), bn(F.conv2d(x, kernel, bias, **options)))


@pytest.mark.parametrize("options", [{"affine": False}, {"bias": False}], ids=str)
def test_folding_a_batch_norm_without_weight_or_bias(options, x, draw, device, rng):
    bn = nn.BatchNorm2d(4, **options).to(device=device, dtype=np.float64).eval()
    bn.running_mean.data, bn.running_var.data = draw((4,), (4,))[0].data, draw((4,))[0].data ** 2 + 0.1
    kernel, bias = draw((3, 3, 6, 4), (4,))
    assert_close(F.conv2d(x, *fold_into_kernel(kernel, bn, bias)), bn(F.conv2d(x, kernel, bias)))


def test_scale_of_a_batch_norm():
    """γ / √(σ² + ε), by hand: 3 / √(3 + 1)."""
    bn = nn.BatchNorm2d(1, eps=1.0).to(dtype=np.float64)
    bn.weight.data, bn.running_var.data = np.array([3.0]), np.array([3.0])
    np.testing.assert_array_equal(batch_norm_scale(bn).numpy(), [1.5])


def test_folding_does_not_write(rng):
    bn = unsettle(nn.BatchNorm2d(4), rng)
    kernel = Tensor(rng.standard_normal((3, 3, 2, 4)))
    before = kernel.numpy().copy(), bn.state_dict()
    folded, bias = fold_into_kernel(kernel, bn)
    folded.data[...] = bias.data[...] = np.nan
    np.testing.assert_array_equal(kernel.numpy(), before[0])
    for name, array in bn.state_dict().items():
        np.testing.assert_array_equal(array, before[1][name])


@pytest.mark.parametrize("groups", [1, 2])
def test_a_sum_of_filters_is_the_sum_of_convolutions(groups, x, draw):
    branches = [tuple(draw((3, 3, 6 // groups, 4), (4,))) for _ in range(3)]
    first, second, third = (F.conv2d(x, *branch, padding=1, groups=groups) for branch in branches)
    assert_close(F.conv2d(x, *sum_of_branches(branches), padding=1, groups=groups), first + second + third)


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": (2, 1)}], ids=str)
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (2, 1)])
def test_a_1x1_filter_and_a_larger_one_after_it_are_one(size, groups, options, x, draw):
    W1, b1, W2, b2 = draw((1, 1, 6 // groups, 12), (12,), (*size, 12 // groups, 9 * groups), (9 * groups,))
    kernel, bias = sequence_of_1x1_and_kxk((W1, b1), (W2, b2), groups)
    assert (kernel.shape, bias.shape) == ((*size, 6 // groups, 9 * groups), (9 * groups,))
    between = F.conv2d(x, W1, b1, groups=groups)
    assert_close(
        F.conv2d(x, kernel, bias, groups=groups, **options), F.conv2d(between, W2, b2, groups=groups, **options)
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_a_padded_sequence_must_be_padded_with_the_first_bias(groups, x, draw):
    """And is another function where it is padded with zeros: at the margin, not inside."""
    W1, b1, W2, b2 = draw((1, 1, 6 // groups, 8), (8,), (3, 3, 8 // groups, 4), (4,))
    merged = F.conv2d(x, *sequence_of_1x1_and_kxk((W1, b1), (W2, b2), groups), padding=1, groups=groups)
    between = F.conv2d(x, W1, b1, groups=groups)
    padded = (between - b1).pad(((0, 0), (1, 1), (1, 1), (0, 0))) + b1
    assert_close(merged, F.conv2d(padded, W2, b2, groups=groups))
    with_zeros = F.conv2d(between, W2, b2, padding=1, groups=groups)
    assert_close(merged[:, 1:-1, 1:-1], with_zeros[:, 1:-1, 1:-1])
    differs = abs(merged.numpy() - with_zeros.numpy()).max(axis=(0, 3)) > 0.1
    assert differs.sum() == 5 * 4 - 3 * 2


def test_filters_concatenated_are_outputs_concatenated(x, draw):
    branches = [tuple(draw((3, 3, 6, count), (count,))) for count in (4, 1, 2)]
    expected = minidl.concatenate([F.conv2d(x, *branch, padding=1) for branch in branches], axis=-1)
    assert_close(F.conv2d(x, *concatenation_of_branches(branches), padding=1), expected)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(("size", "stride", "padding"), [((3, 3), 1, 1), ((2, 3), (2, 1), 0), ((2, 2), 2, 1)], ids=str)
def test_average_pooling_is_a_convolution(size, stride, padding, groups, x):
    kernel = average_pooling_kernel(6, size, groups, like=x)
    assert (kernel.shape, kernel.dtype, kernel.device) == ((*size, 6 // groups, 6), x.dtype, x.device)
    expected = F.avg_pool2d(x, size, stride, padding, count_include_pad=True)
    assert_close(F.conv2d(x, kernel, None, stride, padding, groups=groups), expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("size", "options", "new_size", "new_options"),
    [
        ((1, 1), {}, (3, 3), {"padding": 1}),
        ((1, 1), {"stride": 2}, (3, 3), {"stride": 2, "padding": 1}),
        ((1, 3), {"padding": (0, 1)}, (3, 3), {"padding": 1}),
        ((3, 1), {"padding": (1, 0)}, (3, 7), {"padding": (1, 3)}),
        ((3, 3), {"padding": 1, "dilation": 2}, (5, 5), {"padding": 3, "dilation": 2}),
        ((2, 3), {}, (2, 3), {}),
    ],
    ids=str,
)
def test_a_padded_filter_is_the_same_filter(size, options, new_size, new_options, groups, draw):
    x, kernel = draw((2, 7, 8, 6), (*size, 6 // groups, 4))
    padded = pad_kernel(kernel, new_size)
    assert padded.shape == (*new_size, 6 // groups, 4)
    expected = F.conv2d(x, kernel, groups=groups, **options)
    assert_close(F.conv2d(x, padded, groups=groups, **new_options), expected)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_the_identity_filter_gives_its_input_back(groups, x):
    kernel = identity_kernel(6, groups, like=x)
    assert (kernel.shape, kernel.dtype, kernel.device) == ((1, 1, 6 // groups, 6), x.dtype, x.device)
    np.testing.assert_array_equal(F.conv2d(x, kernel, groups=groups).numpy(), x.numpy())


def test_float32_stays_float32(rng):
    bn = nn.BatchNorm2d(4)
    kernel = Tensor(rng.standard_normal((1, 1, 4, 4)), dtype=np.float32)
    branch = fold_into_kernel(kernel, bn)
    results = [*branch, pad_kernel(kernel, (3, 3)), identity_kernel(4, 2, like=kernel)]
    results += [average_pooling_kernel(4, (2, 2), 1, like=kernel)]
    for merged in (sum_of_branches([branch, branch]), concatenation_of_branches([branch, branch])):
        results += merged
    results += sequence_of_1x1_and_kxk(branch, branch)
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


def test_gradients_flow_through_the_kernels(rng):
    """So that the fused form can be trained, or penalised, in terms of its parts."""
    bn = unsettle(nn.BatchNorm2d(4), rng)
    shapes = (1, 1, 2, 4), (4,), (3, 3, 2, 4), (4,)
    inputs = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]

    def merged(W1, b1, W2, b2, *_):
        first = fold_into_kernel(pad_kernel(W1, (3, 3)), bn, b1)
        kernel, bias = sum_of_branches([first, sequence_of_1x1_and_kxk((W1[:, :, :, :2], b1[:2]), (W2, b2))])
        return concatenation_of_branches([(kernel, bias), (W2, b2)])

    minidl.gradcheck(merged, [*inputs, bn.weight, bn.bias])


def ones(*shapes):
    return tuple(Tensor(np.ones(shape)) for shape in shapes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            # A 1×1 kernel would be broadcast over all nine positions, and be wrong without a word.
            lambda: sum_of_branches([ones((3, 3, 2, 4), 4), ones((1, 1, 2, 4), 4)]),
            r"sum_of_branches: expected kernels of one shape, got \(3, 3, 2, 4\), \(1, 1, 2, 4\); pad_kernel",
        ),
        (lambda: sum_of_branches([]), "sum_of_branches: expected kernels of one shape, got none"),
        (
            lambda: concatenation_of_branches([ones((3, 3, 2, 4), 4), ones((1, 1, 2, 4), 4)]),
            r"concatenation_of_branches: expected .* number of filters only, got \(3, 3, 2, 4\), \(1, 1, 2, 4\)",
        ),
        (lambda: concatenation_of_branches([]), "concatenation_of_branches: expected .*, got none"),
        (
            lambda: sequence_of_1x1_and_kxk(ones((3, 3, 2, 4), 4), ones((3, 3, 4, 4), 4)),
            r"sequence_of_1x1_and_kxk: expected kernels \(1, 1, C/G, D\) .* got \(3, 3, 2, 4\) and \(3, 3, 4, 4\)",
        ),
        (
            lambda: sequence_of_1x1_and_kxk(ones((1, 1, 2, 4), 4), ones((3, 3, 4, 4), 4), groups=2),
            r"sequence_of_1x1_and_kxk: expected .* G = 2, got \(1, 1, 2, 4\) and \(3, 3, 4, 4\)",
        ),
        (
            lambda: sequence_of_1x1_and_kxk(ones((1, 1, 2, 4), 4), ones((3, 3, 2, 3), 3), groups=2),
            r"sequence_of_1x1_and_kxk: expected .* G = 2, got \(1, 1, 2, 4\) and \(3, 3, 2, 3\)",
        ),
        (
            lambda: pad_kernel(*ones((3, 3, 2, 4)), (1, 3)),
            r"pad_kernel: expected a kernel_size larger than \(3, 3\) by even numbers, got \(1, 3\)",
        ),
        (lambda: pad_kernel(*ones((2, 3, 2, 4)), (3, 3)), r"pad_kernel: .* \(2, 3\) by even numbers, got \(3, 3\)"),
        (lambda: identity_kernel(6, 4, *ones(1)), "identity_kernel: groups=4 must divide channels=6"),
        (lambda: average_pooling_kernel(6, (2, 2), 4, *ones(1)), "groups=4 must divide channels=6"),
        (
            lambda: fold_into_kernel(*ones((1, 1, 2, 4)), nn.BatchNorm2d(1)),
            r"fold_into_kernel: expected a batch norm of 4 channels, as many as .* \(1, 1, 2, 4\) has .*, got 1",
        ),
        (
            lambda: fold_into_kernel(*ones((1, 1, 2, 4)), nn.BatchNorm2d(4, track_running_stats=False)),
            "batch_norm_scale: expected a batch norm with running statistics, got one without",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --------------------------------------------------------------------------------------------- on whole networks

NETWORKS = {  # each with the shape of images for it
    "vgg_small": (lambda: vgg.vgg_small(7), (2, 8, 9, 1)),
    "inception_small": (lambda: inception_small(7), (2, 8, 9, 1)),
    "repvgg_small": (lambda: repvgg.repvgg_small(7), (2, 8, 9, 1)),
    "resnet_small": (lambda: cifar_resnet.resnet_small(7), (2, 8, 9, 1)),
    "vgg11_bn": (lambda: vgg.vgg11_bn(3, hidden=4), (1, 32, 32, 3)),
    "googlenet": (lambda: googlenet(3), (1, 32, 32, 3)),
    "googlenet, paper": (lambda: googlenet(3, variant="paper"), (1, 32, 32, 3)),
    "resnet18": (lambda: resnet.resnet18(3), (1, 32, 32, 3)),
    "repvgg, 2 groups": (lambda: repvgg.RepVGG((4, 4, 8), (3, 2), 3, groups=2), (2, 17, 16, 3)),
}
BLOCKS = {
    "unit": (lambda: BasicConv2d(3, 4, (1, 3), padding=(0, 1), groups=1), (2, 5, 6, 3)),
    "unit with bias": (lambda: ConvBN(4, 6, 3, stride=2, groups=2, bias=True), (2, 7, 6, 4)),
    "basic": (lambda: resnet.BasicBlock(3, 4, stride=2), (2, 7, 6, 3)),
    "bottleneck": (lambda: resnet.Bottleneck(3, 2, stride=2), (2, 7, 6, 3)),
    "pre-activation": (lambda: preact_resnet.PreActBlock(3, 4, stride=2), (2, 7, 6, 3)),
    "pre-activation bottleneck": (lambda: preact_resnet.PreActBottleneck(3, 2, stride=2), (2, 7, 6, 3)),
    "Inception v3, A": (lambda: InceptionA(3, 2), (1, 5, 6, 3)),
    "Inception v3, C": (lambda: InceptionC3(4), (1, 5, 6, 4)),
    "Inception v4, C": (lambda: InceptionC4(4), (1, 5, 6, 4)),
    "RepVGG": (lambda: repvgg.RepVGGBlock(4, 4, groups=2), (2, 5, 6, 4)),
}
CASES = NETWORKS | BLOCKS
every_case = pytest.mark.parametrize(("build", "shape"), CASES.values(), ids=CASES)
both = pytest.mark.parametrize("function", [fold_batch_norm, to_deploy])


def count(model, kind):
    return sum(isinstance(module, kind) for module in model.modules())


@both
@every_case
def test_the_copy_is_the_same_function_in_inference(build, shape, function, rng):
    model = unsettle(build(), rng).eval()
    x = rng.standard_normal(shape)
    with minidl.no_grad():
        expected, actual = model(Tensor(x)), function(model)(Tensor(x))
    assert expected.numpy().any()
    assert relative_error(actual, expected) <= 1e-12


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_left_to_fold(name):
    build, _ = NETWORKS[name]
    model = build()
    folded, deployed = fold_batch_norm(model), to_deploy(model)
    identities = sum(getattr(module, "rbr_identity", None) is not None for module in model.modules())
    assert count(folded, nn.BatchNorm2d) == identities  # of RepVGG; no convolution is before them
    assert count(deployed, nn.BatchNorm2d) == 0
    assert all(module.bias is not None for module in deployed.modules() if isinstance(module, nn.Conv2d))


def test_the_first_batch_norm_of_a_pre_activation_block_stays(rng):
    folded = fold_batch_norm(preact_resnet.PreActBlock(3, 4, stride=2))
    assert [name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)] == ["norm1"]


def test_repvgg_has_the_plain_names_in_order():
    blocks = ["stage0", "stage1.0", "stage1.1", "stage2.0", "stage2.1"]
    names = [f"{block}.rbr_reparam.{part}" for block in blocks for part in ("weight", "bias")]
    deployed = to_deploy(repvgg.repvgg_small())
    assert list(deployed.state_dict()) == [*names, "linear.weight", "linear.bias"]


def test_a_deployed_repvgg_has_the_form_that_is_built_so(rng):
    options = dict(widths=(2, 4, 6), blocks=(2, 3), num_classes=3, groups=2)
    deployed = to_deploy(unsettle(repvgg.RepVGG(**options), rng))
    built = repvgg.RepVGG(**options, deploy=True).to(dtype=np.float64)
    built.load_state_dict(deployed.state_dict())
    x = Tensor(rng.standard_normal((2, 9, 8, 3)))
    np.testing.assert_array_equal(built.eval()(x).numpy(), deployed(x).numpy())


@pytest.mark.parametrize(
    ("build", "heads"),
    [(inception_small, ["aux1"]), (googlenet, ["aux1", "aux2"]), (InceptionV3, ["AuxLogits"])],
    ids=["inception_small", "googlenet", "inception_v3"],
)
def test_auxiliary_heads_are_dropped(build, heads):
    with nn.init.placeholders():
        model = build(3)
    kept = {name for name, _ in fold_batch_norm(model).named_children()}
    assert kept - {name for name, _ in to_deploy(model).named_children()} == set(heads)
    assert all(getattr(model, name) is not None for name in heads)


def test_without_auxiliary_heads_training_gives_scores_alone():
    scores = to_deploy(inception_small()).train()(Tensor(np.zeros((2, 8, 8, 1), np.float32)))
    assert scores.shape == (2, 10)


@pytest.mark.parametrize("build", [BLOCKS["RepVGG"][0], *(build for build, _ in list(NETWORKS.values())[:4])])
@both
def test_a_second_time_changes_nothing(function, build, rng):
    once = function(unsettle(build(), rng))
    twice = function(once)
    state = twice.state_dict()
    assert list(state) == list(once.state_dict())
    for name, array in once.state_dict().items():
        np.testing.assert_array_equal(state[name], array)
    own = {id(parameter) for parameter in once.parameters()}
    assert not own & {id(parameter) for parameter in twice.parameters()}, "not a copy"


def test_weights_in_deploy_form_are_constants_that_can_be_replaced(rng):
    """Nobody can write to them; an assignment, an optimizer or other weights put new arrays in their place."""
    model = unsettle(NETWORKS["repvgg_small"][0](), rng)
    deployed, x = to_deploy(model), Tensor(rng.standard_normal(NETWORKS["repvgg_small"][1]))
    for parameter in deployed.parameters():
        with pytest.raises(ValueError, match="read-only"):
            parameter.data[...] = 0
    weight = next(parameter for parameter in deployed.parameters() if parameter.shape[:2] == (3, 3))
    before = set(tiles._kept)
    F.conv2d(Tensor(np.ones((1, 8, 8, weight.shape[2]), weight.dtype)), weight, algorithm="winograd")
    assert len(set(tiles._kept) - before) == 1, "transformed filters are not kept"
    arrays = [parameter.data for parameter in deployed.parameters()]
    deployed.to("cpu", np.float64)
    assert all(p.data is array for p, array in zip(deployed.parameters(), arrays, strict=True)), "no constant any more"
    y = deployed(x).numpy()
    deployed.load_state_dict({key: 2 * array for key, array in deployed.state_dict().items()})
    assert not np.allclose(deployed(x).numpy(), y)
    parameters = list(deployed.parameters())
    before = [parameter.numpy().copy() for parameter in parameters]
    deployed(x).sum().backward()
    optim.SGD(parameters, lr=0.1).step()
    assert all((p.numpy() != old).any() for p, old in zip(parameters, before, strict=True))
    assert all(p.data.flags.writeable for p in model.parameters())


@both
@pytest.mark.parametrize("name", list(NETWORKS)[:4])
def test_the_original_stays_as_it_is(name, function, rng):
    build, shape = NETWORKS[name]
    model, x = unsettle(build(), rng), Tensor(rng.standard_normal(shape))
    calls = []
    model.register_forward_hook(lambda *_: calls.append("after"))
    model.register_forward_pre_hook(lambda *_: calls.append("before"))
    y = model(x)
    scores = y[0] if isinstance(y, tuple) else y
    scores.backward(rng.standard_normal(scores.shape), create_graph=True)
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    gradients = {name: p.grad for name, p in model.named_parameters()}
    calls.clear()
    copy = function(model, images=x)
    copy(x)
    assert calls == [], "a hook was called, or copied"
    assert not any(module.training for module in copy.modules())
    assert all(p.grad is None and p.requires_grad for p in copy.parameters())
    for parameter in copy.parameters():
        if parameter.data.flags.writeable:  # in deploy form it is a constant
            parameter.data[...] = np.nan
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is gradients[key] for key, p in model.named_parameters())
    model(x)
    assert calls == ["before", "after"]


class Hook:
    def __call__(self, module, inputs, output=None):
        pass

    def __deepcopy__(self, memo):
        raise AssertionError("a hook was copied")


class Gradient(Tensor):
    __slots__ = ()

    def __deepcopy__(self, memo):
        raise AssertionError("a gradient was copied")


@both
def test_neither_hooks_nor_gradients_are_copied(function):
    """Behind them may be all that a user has collected, and the graph of a backward pass."""
    model = cifar_resnet.resnet_small()
    for module in model.modules():
        module.register_forward_hook(Hook())
        module.register_forward_pre_hook(Hook())
    for parameter in model.parameters():
        parameter.grad = Gradient(np.zeros(parameter.shape, parameter.dtype))
    copy = function(model)
    assert all(parameter.grad is None for parameter in copy.parameters())
    assert all(type(parameter.grad) is Gradient for parameter in model.parameters())


@both
def test_the_copy_can_be_trained(function, rng):
    model = function(vgg.vgg_small(in_channels=3)).train()
    model(Tensor(rng.standard_normal((2, 8, 8, 3)), dtype=np.float32)).backward(np.ones((2, 10), np.float32))
    assert all(parameter.grad is not None for parameter in model.parameters())


@both
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_dtype_and_device_stay(dtype, tolerance, function, device, rng):
    model = unsettle(repvgg.repvgg_small(7, 3), rng).to(dtype=dtype, device=device).eval()
    x = Tensor(rng.standard_normal((2, 9, 8, 3)), dtype=dtype, device=device)
    copy = function(model, images=x)
    assert {(p.dtype, p.device) for p in copy.parameters()} == {(np.dtype(dtype), x.device)}
    assert relative_error(copy(x), model(x)) <= tolerance


@both
def test_it_works_on_the_second_gpu(function, rng):
    minidl.backend.set_gpu_module(fakecupy)
    try:
        model = unsettle(cifar_resnet.resnet_small(7, 3), rng).to("gpu:1").eval()
        x = Tensor(rng.standard_normal((2, 9, 8, 3)), device="gpu:1")
        assert relative_error(function(model)(x), model(x)) <= 1e-13
    finally:
        minidl.backend.set_gpu_module(None)


def test_in_training_the_copy_is_another_function(rng):
    """Batch statistics are not the running ones: folding is exact in inference only."""
    model = unsettle(cifar_resnet.resnet_small(7), rng)
    x = Tensor(rng.standard_normal((3, 8, 8, 1)))
    assert relative_error(to_deploy(model)(x), model(x)) > 0.1


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("bias", [False, True])
def test_whatever_the_padding_is_made_of(mode, bias, rng):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=bias, padding_mode=mode), nn.BatchNorm2d(4))
    unsettle(model, rng).eval()
    x = Tensor(rng.standard_normal((2, 5, 6, 3)))
    folded = fold_batch_norm(model)
    assert isinstance(folded[0], nn.Identity)
    assert_close(folded(x), model(x))


def test_a_batch_norm_without_running_statistics_stays(rng):
    """It normalises by the batch, in inference as well."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).to(dtype=np.float64)
    x = Tensor(rng.standard_normal((2, 5, 6, 3)))
    folded = fold_batch_norm(model, images=x)
    assert isinstance(folded[1], nn.BatchNorm2d)
    np.testing.assert_array_equal(folded(x).numpy(), model.eval()(x).numpy())


# ------------------------------------------------------------------------ networks that do not keep to the convention


class Crossed(nn.Module):
    """Two convolutions whose batch norms are assigned in the wrong order."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn2 = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.conv2, self.bn1 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn2(F.relu(self.conv2(self.bn1(F.relu(self.conv1(x))))))


class ReadTwice(nn.Module):
    """A convolution whose output is read before the batch norm as well; what comes after it is right."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y), y


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", [Crossed, ReadTwice])
def test_images_prove_that_the_convention_is_not_kept(build, dtype, function, rng):
    model = unsettle(build(), rng).to(dtype=dtype)
    function(model)  # nothing shows
    message = rf"(?s)^{function.__name__}: expected the outputs that the network has, .* must be assigned right after"
    with pytest.raises(ValueError, match=message):
        function(model, images=Tensor(rng.standard_normal((2, 5, 6, 3)), dtype=dtype))


def test_the_proof_records_no_graph():
    recorded = []

    class Watched(nn.Module):
        def forward(self, x):
            recorded.append(minidl.is_grad_enabled())
            return x

    fold_batch_norm(Watched(), images=Tensor([1.0]))
    assert recorded == [False, False]


@both
@pytest.mark.parametrize("wrong", [None, "resnet18", cifar_resnet.resnet_small])
def test_what_is_no_network(wrong, function):
    with pytest.raises(TypeError, match=f"^{function.__name__}: expected a network, such as .*, got "):
        function(wrong)


@both
@pytest.mark.parametrize("wrap", [lambda y: {"y": y}, lambda y: [y], lambda y: (y, None), lambda y: None])
def test_outputs_that_cannot_be_compared(wrap, function):
    class Wrapped(nn.Module):
        def forward(self, x):
            return wrap(x)

    message = (
        f"^{function.__name__}: expected a network that gives a tensor or a tuple of tensors, got a (dict|list|None)"
    )
    with pytest.raises(TypeError, match=message):
        function(Wrapped(), images=Tensor([1.0]))


@both
def test_a_copy_of_a_network_without_memory_takes_none(function):
    with nn.init.placeholders():
        model = vgg.vgg11_bn()
    tracemalloc.start()
    try:
        function(model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # of 531 MB; the kernels of the convolutions, 37 MB, are computed


def test_images_find_a_nan(rng):
    model = unsettle(cifar_resnet.resnet_small(), rng)
    model.fc.bias.data[0] = np.nan
    with pytest.raises(ValueError, match="differ by nan"):
        fold_batch_norm(model, images=Tensor(rng.standard_normal((1, 8, 8, 1))))


@pytest.mark.parametrize("factor", [0.5, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-3), (np.float64, 1e-10)])
def test_how_much_outputs_may_differ(dtype, tolerance, factor, rng, monkeypatch):
    """The folded bias is moved so that all outputs, which are one, differ by factor · tolerance."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=1.0)).to(dtype=dtype)
    model[0].weight.data, model[0].bias.data = np.zeros((1, 1, 1, 1), dtype), np.zeros(1, dtype)
    model[1].bias.data = np.ones(1, dtype)
    images = Tensor(np.zeros((1, 2, 2, 1)), dtype=dtype)

    def moved(kernel, bn, bias=None):
        return kernel, bn.bias + factor * tolerance

    monkeypatch.setattr("models.reparam.fold_into_kernel", moved)
    if factor < 1:
        fold_batch_norm(model, images)
    else:
        with pytest.raises(ValueError, match="differ by"):
            fold_batch_norm(model, images)


def test_another_number_of_channels_is_refused():
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5)))
    with pytest.raises(ValueError, match=r"fold_batch_norm: expected 1\.0 and 1\.1 of one number .*, got 4 and 5"):
        fold_batch_norm(model)


@pytest.mark.parametrize("shared", ["conv", "bn"])
def test_a_shared_layer_is_refused(shared):
    """Folded into one place, it would be another one in the other."""
    conv, bn = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
    other = (conv, nn.BatchNorm2d(4)) if shared == "conv" else (nn.Conv2d(4, 4, 1), bn)
    with pytest.raises(ValueError, match="fold_batch_norm: expected 0 and 1 in one place each, got one that is shared"):
        fold_batch_norm(nn.Sequential(conv, bn, *other))


def test_shared_weights_are_folded_each_for_itself(rng):
    """Two convolutions with one weight, and a batch norm each."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    model[2].weight = model[0].weight
    unsettle(model, rng).eval()
    x = Tensor(rng.standard_normal((2, 5, 6, 4)))
    assert_close(fold_batch_norm(model)(x), model(x))


# ------------------------------------------------------------------------------------------- what follows is said there


def names(model, kind):
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


@both
def test_a_folded_convolution_stands_where_the_batch_norm_stood(function, rng):
    """For a block says to its batch norm what follows: `bn2(conv2(y), add=shortcut, relu=True)`."""
    block = resnet.BasicBlock(3, 4, stride=2)
    folded = function(block)
    assert names(block, nn.Conv2d) == ["conv1", "conv2", "downsample.0"]
    assert names(folded, nn.Conv2d) == ["bn1", "bn2", "downsample.1"]
    assert names(folded, nn.Identity) == ["conv1", "conv2", "downsample.0"]
    assert list(folded.state_dict())[:2] == ["bn1.weight", "bn1.bias"]


class Residual(nn.Module):
    """A convolution, a batch norm, and what follows it: add and relu, each or not."""

    def __init__(self, add, relu):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.add, self.relu = add, relu

    def forward(self, x):
        return self.bn(self.conv(x), add=x if self.add else None, relu=self.relu)


@both
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("add", [False, True])
def test_what_follows_a_batch_norm_follows_the_convolution(add, relu, function, device, rng):
    model = unsettle(Residual(add, relu), rng).to(device=device).eval()
    x = Tensor(rng.standard_normal((2, 5, 6, 4)), device=device)
    folded = function(model, images=x)
    assert count(folded, nn.BatchNorm2d) == 0
    y = model(x)
    assert (y.numpy() < 0).any() != relu
    assert_close(folded(x), y)


@pytest.mark.parametrize("images", [False, True])
def test_a_relu_after_a_convolution_in_a_sequential_is_taken_in(images, rng):
    """With a batch norm between them or without. One that follows something else stays."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(),
        nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.MaxPool2d(2), nn.ReLU(),
        nn.Sequential(nn.Conv2d(4, 4, 1)), nn.ReLU(),
        nn.Conv2d(4, 4, 1), nn.Sigmoid(), nn.ReLU(),
    )  # fmt: skip
    unsettle(model, rng).eval()
    x = Tensor(rng.standard_normal((2, 8, 9, 3)))
    deployed = to_deploy(model, images=x if images else None)
    assert names(deployed, nn.ReLU) == ["6", "8", "11"]
    assert names(deployed, nn.Identity) == ["1", "2", "4"]
    assert [conv.relu for conv in deployed.modules() if isinstance(conv, nn.Conv2d)] == [True, True, False, False]
    assert not any(conv.relu for conv in model.modules() if isinstance(conv, nn.Conv2d)), "the original"
    assert_close(deployed(x), model(x))
    folded = fold_batch_norm(model)
    assert count(folded, nn.ReLU) == count(model, nn.ReLU)
    assert_close(folded(x), model(x))


def test_the_relus_of_vgg_are_taken_in():
    """Those of its convolutions; those of its linear layers stay."""
    deployed = to_deploy(vgg.vgg11(3, hidden=4))
    assert all(conv.relu for conv in deployed.modules() if isinstance(conv, nn.Conv2d))
    assert names(deployed, nn.ReLU) == ["classifier.1", "classifier.4"]


def test_layers_that_are_one_after_the_other_outside_a_sequential_are_left_alone(rng):
    """The order in which they are assigned need not be that in which they compute."""

    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

        def forward(self, x):
            return self.conv(self.relu(x))

    model = unsettle(Backwards(), rng).eval()
    x = Tensor(rng.standard_normal((2, 4, 5, 3)))
    assert_close(to_deploy(model)(x), model(x))


@pytest.mark.parametrize("shared", ["conv", "relu"])
def test_shared_layers_and_relus(shared, rng):
    """The same convolution with a ReLU after it in one place and without in another; the same ReLU in two places."""
    conv, relu = nn.Conv2d(4, 4, 1), nn.ReLU()
    layers = {"conv": [conv, nn.ReLU(), conv], "relu": [conv, relu, nn.MaxPool2d(2), relu, nn.Conv2d(4, 4, 1), relu]}
    model = unsettle(nn.Sequential(*layers[shared]), rng).eval()
    x = Tensor(rng.standard_normal((2, 4, 6, 4)))
    y = model(x)
    assert_close(to_deploy(model)(x), y)
    assert_close(to_deploy(model, images=x)(x), y)


@both
def test_a_relu_between_a_convolution_and_its_batch_norm(function, rng):
    """max(X ∗ W + b, 0) and then a batch norm are not linear: there is nothing to fold."""
    for layers in (
        [nn.Conv2d(3, 4, 3, relu=True), nn.BatchNorm2d(4)],
        [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)],
    ):
        model = unsettle(nn.Sequential(*layers), rng).eval()
        x = Tensor(rng.standard_normal((2, 5, 6, 3)))
        assert_close(function(model)(x), model(x))
        assert_close(function(function(model))(x), model(x))


class Doubled(nn.Conv2d):
    """A convolution of one's own: what it does last is not to convolve."""

    def forward(self, x, add=None, relu=False):
        return -2 * super().forward(x, add, relu)


def test_a_convolution_of_ones_own_keeps_its_relu(rng):
    model = unsettle(nn.Sequential(Doubled(3, 4, 1), nn.ReLU()), rng).eval()
    x = Tensor(rng.standard_normal((2, 4, 5, 3)))
    assert_close(to_deploy(model)(x), model(x))


@both
def test_the_algorithm_stays(function):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, algorithm="winograd"), nn.BatchNorm2d(4), nn.ReLU())
    assert function(model)[1].algorithm == "winograd"
