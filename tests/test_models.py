"""The registry, and what holds for every small network and every block: sizes, states, modes, dtypes, devices."""

import fakecupy
import numpy as np
import pytest
from judge import assert_close, relative_error
from torch_twin import unsettle

import minidl
import models
from minidl import Tensor, checks, nn
from minidl import functional as F
from minidl.optim import SGD

BLOCKS = {name: build for family in checks.BLOCKS.values() for name, build in family.items()}
every_network = pytest.mark.parametrize("name", models.SMALL)
every_block = pytest.mark.parametrize(("build", "shape"), BLOCKS.values(), ids=BLOCKS)


def images(rng, *shape, dtype=np.float32, device="cpu"):
    return Tensor(rng.standard_normal(shape), dtype=dtype, device=device)


def as_tuple(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def loss(outputs, targets):
    """As each family trains: cross-entropy, and 0.3 of the auxiliary head's where there is one."""
    scores, *auxiliary = as_tuple(outputs)
    return sum((F.cross_entropy(y, targets) * 0.3 for y in auxiliary), F.cross_entropy(scores, targets))


# ---------------------------------------------------------------------------------------------------- the registry


def test_names_are_those_of_the_functions():
    assert models.SMALL == ["vgg_small", "inception_small", "repvgg_small", "resnet_small"]
    assert models.names()[:4] == models.SMALL
    assert len(models.names()) == len(set(models.names())) == 53
    builders = [builder for family in models.FAMILIES.values() for builder in family]
    assert [builder.__name__ for builder in builders] == models.names()


def test_names_is_a_list_of_its_own():
    models.names().clear()
    assert models.names()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("resnet_smal", "unknown model 'resnet_smal': did you mean resnet_small"),
        ("repvgg", "unknown model 'repvgg': did you mean repvgg_"),
        ("VGG_small", "unknown model 'VGG_small': did you mean .*vgg_small"),
        ("", "unknown model '': known are vgg_small, inception_small, .*, preact_resnet1001$"),
        ("transformer", "unknown model 'transformer'"),
    ],
)
def test_unknown_name(wrong, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        models.create(wrong)


@pytest.mark.parametrize("wrong", [None, 18, ["resnet18"], models.resnet.resnet18])
def test_a_name_is_a_string(wrong):
    with pytest.raises(TypeError, match='^create: expected the name of a network, such as "resnet18", got '):
        models.create(wrong)


@pytest.mark.parametrize("name", ["resnet_small", "vgg_small", "resnet18", "repvgg_a0", "googlenet"])
def test_an_option_that_the_network_does_not_have(name):
    with pytest.raises(TypeError, match=f"^create: {name} has no option 'pretrained'; .* described in models\\.\\w+$"):
        models.create(name, pretrained=True)


def test_a_fault_in_a_network_is_not_taken_for_one_in_the_options(monkeypatch):
    monkeypatch.setitem(models._BUILDERS, "broken", lambda num_classes: nn.Linear(8, num_classes, biased=False))
    with pytest.raises(TypeError, match="^Linear.*'biased'$"):
        models.create("broken", num_classes=3)


@every_network
def test_created_as_by_its_own_function(name):
    """create(name) has 10 classes and 1 channel, and passes other numbers on."""
    x = np.zeros((1, 8, 8, 1), np.float32)
    assert models.create(name).eval()(Tensor(x)).shape == (1, 10)
    net = models.create(name, num_classes=7, in_channels=3).eval()
    assert net(Tensor(np.repeat(x, 3, axis=3))).shape == (1, 7)


# ------------------------------------------------------------------------------------------------ every small network


@pytest.mark.parametrize(("in_channels", "num_classes"), [(1, 10), (3, 7)])
@pytest.mark.parametrize("size", [(8, 8), (16, 16), (32, 32), (9, 13), (31, 17), (15, 8)], ids=str)
@every_network
def test_every_size(name, size, in_channels, num_classes, rng):
    net = models.create(name, num_classes=num_classes, in_channels=in_channels)
    x = images(rng, 2, *size, in_channels)
    for training in (True, False):
        outputs = as_tuple(net.train(training)(x))
        assert len(outputs) == 1 + (training and name == "inception_small")
        for scores in outputs:
            assert (scores.shape, scores.dtype) == ((2, num_classes), np.float32)
            assert np.isfinite(scores.numpy()).all()
            assert not np.array_equal(*scores.numpy()), "two images, one answer"


@every_network
def test_wrong_channels(name):
    net = models.create(name, in_channels=3)
    with pytest.raises(ValueError, match=r"conv2d: input \(2, 8, 8, 1\) has 1 channels on its last axis.*expects 3"):
        net(Tensor(np.zeros((2, 8, 8, 1), np.float32)))
    with pytest.raises(ValueError, match=r"images are \(N, H, W, C\)"):
        net(Tensor(np.zeros((2, 3, 8, 8), np.float32)))


@every_network
def test_one_seed_one_network(name, rng):
    x = images(rng, 2, 8, 8, 1)
    states, outputs = [], []
    for seed in (3, 3, 4):
        minidl.manual_seed(seed)
        net = models.create(name)
        states.append(net.state_dict())
        outputs.append(as_tuple(net(x))[0].numpy())
    for key in states[0]:
        np.testing.assert_array_equal(states[0][key], states[1][key])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.array_equal(outputs[0], outputs[2])


@pytest.mark.parametrize("name", ["vgg_small", "resnet_small"])
def test_filters_begin_as_kaiming_says(name):
    """Mean 0 and variance 2 / fan_out, fan_out = KH·KW·filters, within 5 standard errors of so many weights."""
    filters = [part.weight.numpy() for part in models.create(name).modules() if isinstance(part, nn.Conv2d)]
    assert len(filters) >= 4
    for weight in filters:
        KH, KW, _, filter_count = weight.shape
        normal = weight.astype(np.float64) / np.sqrt(2 / (KH * KW * filter_count))
        assert abs(normal.mean()) < 5 / np.sqrt(normal.size)
        assert abs((normal**2).mean() - 1) < 5 * np.sqrt(2 / normal.size)


@every_network
def test_state_round_trip(name, rng):
    """A trained state in a new network gives the same scores; the state is a copy."""
    net, other = unsettle(models.create(name), rng), models.create(name).to(dtype=np.float64)
    x = images(rng, 3, 8, 9, 1, dtype=np.float64)
    net(x)  # moves the statistics
    state = net.state_dict()
    other.load_state_dict(state)
    expected = net.eval()(x).numpy().copy()
    np.testing.assert_array_equal(other.eval()(x).numpy(), expected)
    for array in state.values():
        array[...] = 0
    np.testing.assert_array_equal(net(x).numpy(), expected)
    assert any(tensor.numpy().any() for tensor in other.parameters())


@every_network
def test_state_of_another_network_is_refused(name):
    other = next(candidate for candidate in models.SMALL if candidate != name)
    with pytest.raises(ValueError, match="missing: "):
        models.create(name).load_state_dict(models.create(other).state_dict())


@every_network
def test_inference_changes_nothing_and_sees_each_image_alone(name, rng):
    net = unsettle(models.create(name), rng).eval()
    x = images(rng, 3, 8, 9, 1, dtype=np.float64)
    before = net.state_dict()
    scores = net(x).numpy()
    for key, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    for i in range(3):
        assert_close(net(x[i : i + 1]), scores[i : i + 1])


@every_network
def test_training_moves_every_running_statistic(name, rng):
    net = models.create(name)
    before = net.state_dict()
    net(images(rng, 3, 8, 9, 1))
    after = net.state_dict()
    buffers = [key for key, _ in net.named_buffers()]
    assert buffers
    assert [key for key in before if not np.array_equal(before[key], after[key])] == [k for k in before if k in buffers]


@every_network
def test_every_parameter_learns(name, rng):
    net = models.create(name, num_classes=7)
    before = net.state_dict()
    optimizer = SGD(net.parameters(), lr=0.1)
    loss(net(images(rng, 8, 8, 9, 1)), np.arange(8) % 7).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert (parameter.grad.dtype, parameter.grad.shape) == (np.float32, parameter.shape)
    optimizer.step()
    for key, parameter in net.named_parameters():
        assert parameter.dtype == np.float32
        # A bias before a batch norm is subtracted again with the mean: its gradient is rounding.
        if not (name == "vgg_small" and key.startswith("features") and key.endswith("bias")):
            assert not np.array_equal(parameter.numpy(), before[key]), key


@every_network
def test_float32_is_as_good_as_float64(name, rng):
    """Gradients of a training step, all together, to a relative 1e-4: ReLUs near their kink may differ."""
    x, targets = rng.standard_normal((4, 8, 9, 1)), np.arange(4)
    gradients = {}
    for dtype in (np.float32, np.float64):
        minidl.manual_seed(1)
        net = models.create(name).to(dtype=dtype)
        minidl.manual_seed(2)
        loss(net(Tensor(x, dtype=dtype)), targets).backward()
        gradients[dtype] = np.concatenate([p.grad.numpy().ravel() for p in net.parameters()])
    assert gradients[np.float32].dtype == np.float32
    assert relative_error(gradients[np.float32], gradients[np.float64]) < 1e-4


@every_network
def test_repr_reads_like_the_table(name):
    """One line a layer, with its sizes; the parts of the network by their names."""
    net = models.create(name, in_channels=3)
    text = repr(net)
    assert text.startswith(f"{type(net).__name__}(")
    assert "Conv2d(3, " in text
    assert text.count("Conv2d(") == sum("Conv2d" in type(module).__name__ for module in net.modules())
    for key, _ in net.named_children():
        assert f"\n  ({key}): " in text
    assert max(map(len, text.splitlines())) <= 120


# ------------------------------------------------------------------------------------------------------- devices


def results_of_a_step(module, x):
    """Outputs, gradients and state after a training step, on the host."""
    minidl.manual_seed(5)  # dropout
    outputs = as_tuple(module(x))
    for i, y in enumerate(outputs):
        g = Tensor(np.random.default_rng(i).standard_normal(y.shape), dtype=y.dtype, device=y.device)
        y.backward(g, retain_graph=i + 1 < len(outputs))
    SGD(module.parameters(), lr=0.1).step()
    gradients = [parameter.grad.numpy() for parameter in module.parameters() if parameter.grad is not None]
    inference = as_tuple(module.eval()(x))
    return [y.numpy() for y in (*outputs, *inference)] + gradients + list(module.state_dict().values())


def assert_same_on(device, build, shape, rng):
    x = rng.standard_normal(shape)
    results = []
    for place in ("cpu", device):
        minidl.manual_seed(3)
        module = build().to(place, np.float64)
        assert {t.device for t in (*module.parameters(), *module.buffers())} == {minidl.device(place)}
        results.append(results_of_a_step(module, Tensor(x, requires_grad=True, device=place)))
    assert len(results[0]) == len(results[1])
    for expected, actual in zip(*results, strict=True):
        assert_close(actual, expected)


@every_block
def test_block_is_the_same_on_every_device(build, shape, device, rng):
    assert_same_on(device, build, shape, rng)


@every_network
def test_network_is_the_same_on_every_device(name, device, rng):
    assert_same_on(device, lambda: models.create(name), (3, 8, 9, 1), rng)


def synchronisations_of_steps(module, x, targets=None):
    """Where the host waited for the device in two training steps."""
    optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9)
    rng = np.random.default_rng(0)
    g = [Tensor(rng.standard_normal(y.shape), dtype=y.dtype, device=y.device) for y in as_tuple(module(x))]
    with fakecupy.count_synchronisations() as log:
        for _ in range(2):
            module.zero_grad()
            outputs = module(x)
            if targets is None:
                outputs.backward(*g)
            else:
                loss(outputs, targets).backward()
            optimizer.step()
    return log.places


@pytest.mark.parametrize("device", ["fake"], indirect=True)
@every_block
def test_training_a_block_never_waits_for_the_device(build, shape, device, rng):
    assert synchronisations_of_steps(build().to(device), images(rng, *shape, device=device)) == []


@pytest.mark.parametrize("device", ["fake"], indirect=True)
@every_network
def test_training_a_network_never_waits_for_the_device(name, device, rng):
    targets = Tensor(np.arange(3), device=device)
    net = models.create(name).to(device)
    assert synchronisations_of_steps(net, images(rng, 3, 8, 9, 1, device=device), targets) == []


@pytest.mark.parametrize("device", ["fake"], indirect=True)
def test_waiting_would_be_noticed(device, rng):
    class Waits(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(np.ones(3, np.float32))

        def forward(self, x):
            return x * self.weight * self.weight.sum().item()

    assert len(synchronisations_of_steps(Waits().to(device), images(rng, 2, 3, device=device))) == 2  # one a step
