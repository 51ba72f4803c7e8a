"""GoogLeNet: Inception modules, auxiliary head and the small network against PyTorch, and the lecture's arithmetic."""

import numpy as np
import pytest
from torch_twin import assert_twins, published, sequence, torch_nn, torch_shapes, twin

import minidl
from minidl import Tensor, nn
from minidl import functional as F
from models.googlenet import AuxiliaryHead, BasicConv2d, Inception, NaiveInception, inception_small


def torch_unit(in_channels, channels, kernel, **options):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.bn(m.conv(x)).relu(),
        conv=tnn.Conv2d(in_channels, channels, kernel, bias=False, **options),
        bn=tnn.BatchNorm2d(channels, eps=0.001),
    )


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


def torch_inception(in_channels, c1, c3_reduce, c3, c5_reduce, c5, pool):
    return twin(
        in_parallel,
        branch1=torch_unit(in_channels, c1, 1),
        branch2=sequence(torch_unit(in_channels, c3_reduce, 1), torch_unit(c3_reduce, c3, 3, padding=1)),
        branch3=sequence(torch_unit(in_channels, c5_reduce, 1), torch_unit(c5_reduce, c5, 5, padding=2)),
        branch4=sequence(torch_nn().MaxPool2d(3, stride=1, padding=1), torch_unit(in_channels, pool, 1)),
    )


def torch_head(in_channels, num_classes, pooled_size, channels, hidden):
    tnn = torch_nn()

    def forward(m, x):
        x = tnn.functional.adaptive_avg_pool2d(x, (pooled_size, pooled_size))
        x = m.conv(x).permute(0, 2, 3, 1).flatten(1)  # in our order
        return m.fc2(m.dropout(m.fc1(x).relu()))

    return twin(
        forward,
        conv=torch_unit(in_channels, channels, 1),
        fc1=tnn.Linear(channels * pooled_size * pooled_size, hidden),
        fc2=tnn.Linear(hidden, num_classes),
        dropout=tnn.Dropout(0.7),
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
def test_naive_module_is_pytorchs(monkeypatch):
    assert_twins(NaiveInception(4, 2, 5, 3), torch_naive(4, 2, 5, 3), (2, 7, 4, 4), monkeypatch)


@pytest.mark.torch
def test_module_is_pytorchs(monkeypatch):
    arguments = 4, 2, 3, 6, 1, 5, 7
    assert_twins(Inception(*arguments), torch_inception(*arguments), (2, 7, 4, 4), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 6, 4), (2, 7, 5, 4), (2, 2, 3, 4)], ids=str)
def test_auxiliary_head_is_pytorchs(shape, monkeypatch):
    arguments = 4, 6, 3, 5, 8
    assert_twins(AuxiliaryHead(*arguments), torch_head(*arguments), shape, monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    assert_twins(inception_small(7, C), torch_inception_small(7, C), shape, monkeypatch)


def test_unit_and_head_have_torchvisions_names_and_shapes():
    assert torch_shapes(BasicConv2d(3, 64, 7)) == published("googlenet", "conv1.")
    assert torch_shapes(AuxiliaryHead(512, 1000)) == published("googlenet", "aux1.")


def test_module_has_torchvisions_names_and_shapes_but_for_the_5x5_filter():
    """torchvision's "5×5" branch has 3×3 filters, by an old mistake; the paper and minidl have 5×5."""
    ours, theirs = torch_shapes(Inception(192, 64, 96, 128, 16, 32, 32)), published("googlenet", "inception3a.")
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
    assert (head.pooled_size, head.fc1.weight.shape, head.dropout.p) == (4, (4 * 4 * 128, 1024), 0.7)
