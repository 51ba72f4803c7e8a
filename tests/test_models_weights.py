"""Weights in files: loaded as they were saved, bit by bit; PyTorch's as PyTorch means them; and what does not fit."""

import json
import os
import pickle
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import safetensors
from torch_twin import from_torch, images_from_torch, published

import minidl
from minidl import Tensor, checkpoint, functional, nn
from minidl.checkpoint import CheckpointError
from minidl.optim import SGD
from models.cifar_resnet import resnet_small
from models.googlenet import googlenet, inception_small
from models.inception_v2 import inception_v2
from models.inception_v3 import inception_v3
from models.reparam import to_deploy
from models.repvgg import repvgg_a0, repvgg_small
from models.resnet import resnet18
from models.vgg import vgg_small
from models.weights import load_weights, save_weights

SMALL = [vgg_small, inception_small, repvgg_small, resnet_small]
every_family = pytest.mark.parametrize("build", SMALL, ids=lambda build: build.__name__)
every_file = pytest.mark.parametrize(
    ("layout", "extension"),
    [
        ("minidl", ".npz"),
        ("minidl", ".safetensors"),
        ("torch", ".npz"),
        ("torch", ".safetensors"),
        pytest.param("torch", ".pth", marks=pytest.mark.torch),
        pytest.param("torch", ".pt", marks=pytest.mark.torch),
    ],
)


def import_torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def require(extension):
    if extension in (".pth", ".pt"):
        import_torch()


def images(N=4):
    return Tensor(np.random.default_rng(0).standard_normal((N, 8, 9, 1)), dtype=np.float32)


def trained(net, steps=2):
    """No weight and no statistic of it is what it was."""
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        net.zero_grad()
        outputs = net.train()(images())
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(functional.cross_entropy(y, np.arange(4)) for y in outputs).backward()
        optimizer.step()
    return net.eval()


def assert_same_state(net, expected):
    """Bit by bit, and laid out in C order, as a new network's is."""
    state, expected = net.state_dict(), expected.state_dict()
    assert list(state) == list(expected)
    for name, array in state.items():
        assert (array.dtype, array.shape, array.tobytes()) == (
            expected[name].dtype,
            expected[name].shape,
            expected[name].tobytes(),
        )
    assert all(tensor.data.flags.c_contiguous for tensor in (*net.parameters(), *net.buffers()))


# ------------------------------------------------------------------------------------------------------ round trips


@every_file
@every_family
def test_train_save_load_deploy_save_load(build, layout, extension, tmp_path):
    require(extension)
    path = tmp_path / f"weights{extension}"
    net, other = trained(build()), build().eval()
    save_weights(net, path, layout)
    assert os.listdir(tmp_path) == [path.name]
    load_weights(other, str(path))
    assert_same_state(other, net)
    np.testing.assert_array_equal(other(images()).numpy(), net(images()).numpy())

    deployed, other_deployed = to_deploy(other), to_deploy(build())
    save_weights(deployed, path, layout)
    load_weights(other_deployed, path)
    assert_same_state(other_deployed, deployed)
    np.testing.assert_array_equal(other_deployed(images()).numpy(), deployed(images()).numpy())


@every_file
def test_a_network_without_memory_gets_it(layout, extension, tmp_path):
    require(extension)
    path = tmp_path / f"weights{extension}"
    net = trained(resnet_small())
    save_weights(net, path, layout)
    with nn.init.placeholders():
        other = resnet_small()
    load_weights(other, path)
    assert_same_state(trained(other), trained(net))  # it can be trained on


def test_a_network_without_memory_needs_all_weights():
    """Also where they need not all be there: it has none to keep. Biases and batch norms are made with memory."""
    with nn.init.placeholders():
        net = resnet_small()
    state = net.state_dict()
    del state["fc.weight"], state["bn1.weight"]
    with pytest.raises(ValueError, match=r"ResNet:\n  missing: fc.weight$"):
        load_weights(net, state, strict=False, layout="minidl")


def test_the_network_of_a_training_run(tmp_path):
    """A trainer's checkpoint has the network among other things; a bare state is one, too."""
    net = trained(resnet_small())
    for state in ({"model": net.state_dict(), "epoch": 3}, net.state_dict()):
        checkpoint.save(tmp_path / "last.npz", state)
        other = resnet_small()
        load_weights(other, tmp_path / "last.npz")
        assert_same_state(other, net)


def test_two_names_of_one_weight(tmp_path):
    """As in PyTorch, a shared weight is there under both names."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight

    net, other = Tied(), Tied()
    save_weights(net, tmp_path / "tied.npz", "torch")
    load_weights(other, tmp_path / "tied.npz")
    assert_same_state(other, net)
    assert other.first.weight is other.second.weight


def test_a_model_stays_on_its_device_and_in_its_dtype(device, tmp_path):
    net = trained(vgg_small())
    save_weights(net, tmp_path / "net.npz", "torch")
    other = vgg_small().to(device, np.float64)
    load_weights(other, tmp_path / "net.npz")
    for tensor, expected in zip(other.parameters(), net.parameters(), strict=True):
        assert (tensor.device, tensor.dtype) == (minidl.device(device), np.float64)
        np.testing.assert_array_equal(tensor.numpy(), expected.numpy())
    save_weights(other.to(dtype=np.float32), tmp_path / "again.npz", "torch")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "net.npz").read_bytes()


# ------------------------------------------------------------------------------------------------- PyTorch's layout


@pytest.mark.parametrize(
    ("build", "network"),
    [(resnet18, "resnet18"), (repvgg_a0, "repvgg_a0_train"), (lambda: repvgg_a0(deploy=True), "repvgg_a0_deploy")],
    ids=["resnet18", "repvgg_a0", "repvgg_a0, deploy"],
)
def test_names_and_shapes_are_those_of_the_published_file(build, network, tmp_path):
    save_weights(build(), tmp_path / "weights.npz", "torch")
    with np.load(tmp_path / "weights.npz") as file:
        state = dict(file)
    assert {name: list(array.shape) for name, array in state.items()} == published(network)
    assert list(state) == list(published(network))


class Layers(nn.Module):
    """One of each kind of weight, and a linear layer that reads a flattened image (H, W, C) = (2, 3, 4)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 4, (5, 7), groups=2)
        self.up = nn.ConvTranspose2d(6, 4, (5, 7), groups=2)
        self.embedding = nn.Embedding(5, 6)
        self.fc = nn.Linear(24, 3)
        self.last = nn.Linear(3, 2)
        self.flattens = {"fc": (2, 3, 4)}


def layers_in_torch():
    """Their shapes, by PyTorch's documentation."""
    return {
        "conv.weight": (4, 3, 5, 7),
        "conv.bias": (4,),
        "up.weight": (6, 2, 5, 7),
        "up.bias": (4,),
        "embedding.weight": (5, 6),
        "fc.weight": (3, 24),
        "fc.bias": (3,),
        "last.weight": (2, 3),
        "last.bias": (2,),
    }


def test_where_each_number_goes(rng):
    """fc reads the channel c of the pixel (h, w) at (c·H + h)·W + w there, and at (h·W + w)·C + c here."""
    state = {name: rng.standard_normal(shape) for name, shape in layers_in_torch().items()}
    net = nn.Sequential(Layers())
    net.to(dtype=np.float64)
    load_weights(net, {f"0.{name}": array for name, array in state.items()})
    ours = {name.removeprefix("0."): array for name, array in net.state_dict().items()}
    for name in ("conv.weight", "up.weight"):
        for f, c, kh, kw in np.ndindex(state[name].shape):
            assert ours[name][kh, kw, c, f] == state[name][f, c, kh, kw]
    for h, w, c, o in np.ndindex(2, 3, 4, 3):
        assert ours["fc.weight"][(h * 3 + w) * 4 + c, o] == state["fc.weight"][o, (c * 2 + h) * 3 + w]
    np.testing.assert_array_equal(ours["last.weight"], state["last.weight"].T)
    for name in ("embedding.weight", "conv.bias", "up.bias", "fc.bias", "last.bias"):
        np.testing.assert_array_equal(ours[name], state[name])


def test_a_linear_layer_that_is_a_convolution_there(rng):
    weight = rng.standard_normal((3, 4, 2, 3))  # (O, C, H, W)
    nets = [Layers(), Layers()]
    for net, shape in zip(nets, [(3, 4, 2, 3), (3, 24)], strict=True):
        load_weights(net, {"fc.weight": weight.reshape(shape), "last.weight": np.ones((2, 3, 1, 1))}, strict=False)
    np.testing.assert_array_equal(nets[0].fc.weight.numpy(), nets[1].fc.weight.numpy())
    with pytest.raises(ValueError, match=r"fc.weight: expected \(3, 24\) or \(3, 4, 2, 3\), got \(3, 4, 3, 2\)$"):
        load_weights(nets[0], {"fc.weight": weight.transpose(0, 1, 3, 2)}, strict=False)


def test_an_image_that_is_not_what_the_layer_reads(tmp_path):
    net = Layers()
    net.fc = nn.Linear(12, 3)  # exchanged, and `flattens` forgotten
    with pytest.raises(ValueError, match=r"^fc reads 12 numbers, which are no image \(2, 3, 4\): correct `flattens`$"):
        save_weights(net, tmp_path / "net.npz", "torch")


@pytest.mark.torch
def test_the_same_function_in_pytorch(rng):
    """conv and up, by the weights that PyTorch gets from us, give what they give here."""
    torch = import_torch()
    tnn, net, x = torch.nn, Layers().to(dtype=np.float64), rng.standard_normal((2, 9, 8, 6))
    other = tnn.ModuleDict(
        {"conv": tnn.Conv2d(6, 4, (5, 7), groups=2), "up": tnn.ConvTranspose2d(6, 4, (5, 7), groups=2)}
    )
    other.double()
    load_weights(net, dict(other.named_parameters()), strict=False)
    for name, module in other.items():
        expected = module(torch.from_numpy(np.moveaxis(x, -1, 1).copy()))
        np.testing.assert_allclose(getattr(net, name)(Tensor(x)).numpy(), images_from_torch(expected), atol=1e-12)


# ------------------------------------------------------------------------------------------- what a file may be like


def torch_state(net, path):
    """{name: array} in PyTorch's layout."""
    save_weights(net, path, "torch")
    with np.load(path) as file:
        return dict(file)


@pytest.fixture
def net():
    return trained(vgg_small())


@pytest.fixture
def state(net, tmp_path):
    return torch_state(net, tmp_path / "state.npz")


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_training_scripts_put_around(net, state, wrapper, prefix):
    wrapped = {prefix + name: array for name, array in state.items()}
    other = vgg_small()
    load_weights(other, wrapped if wrapper is None else {wrapper: wrapped, "epoch": 3, "optimizer": {0: "anything"}})
    assert_same_state(other, net)


@pytest.mark.parametrize("layout", ["minidl", "torch"])
def test_the_layout_that_is_said(net, state, layout, tmp_path):
    np.savez(tmp_path / "plain.npz", **(state if layout == "torch" else net.state_dict()))
    for weights in (tmp_path / "plain.npz", state if layout == "torch" else net.state_dict()):
        other = vgg_small()
        load_weights(other, weights, layout=layout)
        assert_same_state(other, net)
    other = vgg_small()
    load_weights(other, dict(other.named_parameters()) | dict(other.named_buffers()), layout="minidl")  # of tensors


def test_a_layout_that_is_not_said_is_pytorchs(net):
    with pytest.raises(ValueError, match='which is minidl\'s layout: write layout="minidl"'):
        load_weights(vgg_small(), net.state_dict())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("own", [np.float32, np.float64])
def test_floating_numbers_become_the_models(state, dtype, own):
    other = vgg_small().to(dtype=own)
    converted = {name: array.astype(dtype) if array.dtype == np.float32 else array for name, array in state.items()}
    load_weights(other, converted)
    assert other.features[0].weight.dtype == own
    expected = converted["features.0.weight"].astype(own).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(other.features[0].weight.numpy(), expected)
    assert other.features[1].num_batches_tracked.dtype == np.int64


def bfloat16_file(path, state):
    """safetensors by hand: the length of the header, the header, the upper halves of float32 numbers."""
    header, data = {}, b""
    for name, array in state.items():
        if array.dtype == np.float32:
            dtype, content = "BF16", (array.view("<u4") >> 16).astype("<u2").tobytes()
        else:
            dtype, content = "I64", array.tobytes()
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16(state, tmp_path):
    bfloat16_file(tmp_path / "half.safetensors", state)
    other = vgg_small()
    load_weights(other, tmp_path / "half.safetensors")
    for name in ("features.1.running_mean", "classifier.6.bias"):
        expected = (state[name].view("<u4") & 0xFFFF0000).view("<f4")  # cut, not rounded: no matter here
        actual = other.state_dict()[name]
        np.testing.assert_array_equal(actual, expected)
        assert not np.array_equal(actual, state[name])
    assert other.state_dict()["features.1.num_batches_tracked"] == 2


def test_nan_and_infinity_are_numbers_like_others(state):
    state["features.0.bias"][:2] = np.nan, np.inf
    for dtype in (np.float32, np.float64):
        other = vgg_small()
        load_weights(other, {**state, "features.0.bias": state["features.0.bias"].astype(dtype)})
        np.testing.assert_array_equal(other.features[0].bias.numpy(), state["features.0.bias"])


def test_files_that_do_not_count_batches(state):
    """As PyTorch before 0.4.1 wrote them. The network's own count stays."""
    other = vgg_small()
    other.features[1].num_batches_tracked.data = np.array(5)
    load_weights(other, {name: array for name, array in state.items() if not name.endswith("num_batches_tracked")})
    assert [b.numpy() for name, b in other.named_buffers() if name.endswith("tracked")] == [5, 0, 0, 0]
    np.testing.assert_array_equal(other.features[1].running_mean.numpy(), state["features.1.running_mean"])


def test_not_strict(net, state):
    """Another head: what both have is loaded, the rest stays."""
    other = vgg_small(num_classes=7)
    before = other.state_dict()
    del state["classifier.6.weight"], state["classifier.6.bias"]
    load_weights(other, {**state, "extra": 1}, strict=False)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(
            array, before[name] if name in before and name not in state else net.state_dict()[name]
        )


# ----------------------------------------------------------------------------------------------------------- names


def test_cadenes_bn_inception(tmp_path):
    """Its flat names, in the order of the network, as test_models_inception_v2.py proves them."""
    entry = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())
    layers = list(entry["architectures"]["bn_inception_cadene"]["params_by_child"])
    norms = [layer for layer in layers if layer.endswith("_bn")]
    net, other = inception_v2(), inception_v2()
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.data = np.random.default_rng(0).standard_normal(norm.num_features).astype(np.float32)
    state = torch_state(net, tmp_path / "net.npz")
    flat = {
        **dict(zip([name for name, _ in net.named_parameters()], product(layers, ["weight", "bias"]), strict=True)),
        **dict(zip([name for name, _ in net.named_buffers()], product(norms, STATISTICS), strict=True)),
    }
    load_weights(other, {".".join(flat[name]): array for name, array in state.items()})
    assert_same_state(other, net)


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def linear_layers(*names):
    net = nn.Module()
    for name in names:
        setattr(net, name, nn.Linear(2, 3))
    return net


def test_cadenes_inception_resnet_v2():
    """It differs in the name of the last layer only."""
    net = linear_layers("classif")
    load_weights(net, {"last_linear.weight": np.ones((3, 2)), "last_linear.bias": np.full(3, 2.0)})
    assert net.classif.weight.numpy().tolist() == [[1, 1, 1], [1, 1, 1]]
    assert net.classif.bias.numpy().tolist() == [2, 2, 2]


def test_one_weight_under_two_names():
    """Read in RepVGG's names as timm has them, of which there are more: the first is taken, the second not expected."""
    net = nn.Module()
    net.linear, net.stage0 = nn.Linear(2, 3), linear_layers("rbr_1x1")
    there = {"weight": np.ones((3, 2)), "bias": np.ones(3)}
    layers = ("stem.conv_1x1", "head.fc", "linear")
    with pytest.raises(ValueError, match=r"Module:\n  unexpected: linear.weight\n  unexpected: linear.bias$"):
        load_weights(net, {f"{layer}.{name}": array for layer in layers for name, array in there.items()})


# --------------------------------------------------------------------------------------------------- what does not fit


def changed(state, **changes):
    """The state with some arrays exchanged, or left out where None; `__` stands for a dot."""
    state = {**state, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


UNFIT = {  # a change, and what is said of it
    "missing": ({"features__0__bias": None}, "missing: features.0.bias"),
    "unexpected": ({"extra__weight": np.ones(3)}, "unexpected: extra.weight"),
    "shape": ({"features__0__bias": np.ones(5)}, r"shape of features.0.bias: expected (32,), got (5,)"),
    "shape of a filter": (
        {"features__3__weight": np.ones((32, 3, 3, 3))},
        "shape of features.3.weight: expected (32, 32, 3, 3), got (32, 3, 3, 3)",
    ),
    "shape of a matrix": (
        {"classifier__6__weight": np.ones((7, 128))},
        "shape of classifier.6.weight: expected (10, 128) or (10, 128, 1, 1), got (7, 128)",
    ),
    "integers": (
        {"features__0__bias": np.ones(32, np.int8)},
        "dtype of features.0.bias: expected floating numbers, got int8",
    ),
    "complex numbers": (
        {"features__0__bias": np.ones(32, complex)},
        "dtype of features.0.bias: expected floating numbers, got complex128",
    ),
    "no array": ({"features__0__bias": "ones"}, "dtype of features.0.bias: expected floating numbers, got str"),
    "a list": ({"features__0__bias": [1.0] * 32}, "dtype of features.0.bias: expected floating numbers, got list"),
    "Python objects": (
        {"features__0__bias": np.ones(32, object)},
        "dtype of features.0.bias: expected floating numbers, got object",
    ),
    "half a batch": (
        {"features__1__num_batches_tracked": np.array(0.5)},
        "dtype of features.1.num_batches_tracked: expected integer numbers, got float64",
    ),
    "too large": (
        {"features__0__bias": np.full(32, 1e39)},
        "dtype of features.0.bias: its float64 numbers are too large for float32",
    ),
}


@pytest.mark.parametrize(("changes", "message"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_told_and_changes_nothing(state, changes, message):
    other, before = vgg_small(), vgg_small()
    load_weights(before, other.state_dict(), layout="minidl")
    with pytest.raises(ValueError, match="^load_weights: the mapping does not fit VGG:") as caught:
        load_weights(other, changed(state, **changes))
    assert str(caught.value).splitlines()[1:] == [f"  {message}"]
    assert_same_state(other, before)


def test_all_of_it_is_told_at_once(state):
    changes = {name: change for changes, _ in UNFIT.values() for name, change in changes.items()}
    changes |= {"features__4__bias": None, "classifier__0__bias": np.ones(3)}
    with pytest.raises(ValueError, match="does not fit VGG") as caught:
        load_weights(vgg_small(), changed(state, **changes))
    told = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert told == [
        "missing",
        "unexpected",
        *["dtype of features.0.bias", "dtype of features.1.num_batches_tracked"],
        "shape of features.3.weight",
        "shape of classifier.0.bias",
        "shape of classifier.6.weight",
    ]


def test_a_file_of_another_network(tmp_path):
    """By its path; every name is told."""
    save_weights(resnet_small(), tmp_path / "resnet.npz", "torch")
    net = vgg_small()
    with pytest.raises(ValueError, match="does not fit VGG") as caught:
        load_weights(net, tmp_path / "resnet.npz")
    first, *lines = str(caught.value).splitlines()
    assert first == f"load_weights: {tmp_path / 'resnet.npz'} does not fit VGG:"
    missing = [name for name in net.state_dict() if not name.endswith("num_batches_tracked")]
    unexpected = list(resnet_small().state_dict())
    assert lines == [*(f"  missing: {name}" for name in missing), *(f"  unexpected: {name}" for name in unexpected)]


@pytest.mark.parametrize("layout", ["minidl", "torch"])
def test_a_network_without_memory_has_no_weights_to_save(layout, tmp_path):
    net = without_memory(vgg_small)
    with pytest.raises(ValueError, match="save_weights: features.0.weight is a placeholder; load or draw the weights"):
        save_weights(net, tmp_path / "net.npz", layout)
    assert list(tmp_path.iterdir()) == []


def without_memory(build, **options):
    with nn.init.placeholders():
        return build(**options)


@pytest.mark.parametrize(
    ("build", "option"),
    [(googlenet, "aux_logits"), (inception_v3, "aux_logits"), (repvgg_a0, "deploy")],
    ids=["googlenet", "inception_v3", "repvgg"],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_network_made_with_another_option(build, option, there):
    """Where an option explains all differences, it is named; it is not where a name remains unexplained."""
    hint = f"these are weights of a network made with {option}={there}"
    theirs, ours = without_memory(build, **{option: there}), without_memory(build, **{option: not there})
    state = {name: tensor.data for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers())}
    for more, expected in (({}, True), ({"extra.weight": np.ones(3)}, False)):
        with pytest.raises(ValueError, match="does not fit") as caught:
            load_weights(ours, {**state, **more}, layout="minidl")
        assert (hint in str(caught.value)) is expected
        assert str(caught.value).count("made with") == expected


def test_a_wrong_layout():
    with pytest.raises(ValueError, match='^load_weights: expected layout "minidl", "torch" or None, got \'nhwc\'$'):
        load_weights(vgg_small(), {}, layout="nhwc")
    with pytest.raises(ValueError, match='^save_weights: expected layout "minidl" or "torch", got None$'):
        save_weights(vgg_small(), "net.npz", layout=None)


@pytest.mark.parametrize("wrong", [None, 3, True, [], [("a", 1)], b"net.npz", np.ones(3)])
def test_what_is_neither_a_path_nor_a_dict(wrong):
    with pytest.raises(TypeError, match="^load_weights: expected a path or a dict of arrays by name, got a "):
        load_weights(vgg_small(), wrong)
    with pytest.raises(TypeError, match="^save_weights: expected a path, got a "):
        save_weights(vgg_small(), wrong)


@pytest.mark.parametrize("wrong", [None, "net.npz", {}])
def test_what_is_no_network(wrong):
    for function, other in ((load_weights, {}), (save_weights, "net.npz")):
        with pytest.raises(TypeError, match=f"^{function.__name__}: expected a network, such as .*, got "):
            function(wrong, other)


# ------------------------------------------------------------------------------------------- what is no file of weights


def half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def damaged(path):
    """One bit of the last numbers is another."""
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("pickles-run-code",)


def pickled(path):
    path.write_bytes(pickle.dumps({"features.0.bias": np.ones(32), "code": RunsCode()}))


def object_array(path):
    with open(path, "wb") as file:
        np.savez(file, **{"features.0.bias": np.array([RunsCode()])})


def single_array(path):
    with open(path, "wb") as file:
        np.save(file, np.ones(3))


def float8(path):
    text = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"12")


NO_WEIGHTS = {  # how a file of weights is changed, which, and what is said of it
    "a half .npz": (half, ".npz", r"weights.npz cannot be read as .npz: it is damaged, cut short, or another kind"),
    "a half .safetensors": (half, ".safetensors", "cannot be read as .safetensors: it is damaged, cut short"),
    "a bit of an .npz": (damaged, ".npz", r"cannot be read as .npz: it is damaged.*CRC"),
    "an empty file": (lambda path: path.write_bytes(b""), ".npz", "cannot be read as .npz: it is damaged, cut short"),
    "a text": (lambda path: path.write_text("404: Not Found"), ".safetensors", "cannot be read as .safetensors"),
    "a pickle as .npz": (pickled, ".npz", "cannot be read as .npz.*not a zip file"),
    "a pickle as .safetensors": (pickled, ".safetensors", "cannot be read as .safetensors"),
    "objects in an .npz": (object_array, ".npz", "cannot be read as .npz.*Object arrays cannot be loaded"),
    "one array as .npz": (single_array, ".npz", "cannot be read as .npz.*not a zip file"),
    "float8": (float8, ".safetensors", "w has the dtype F8_E4M3; expected one of F64, F32, F16"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), ".npz", "weights.npz is a folder"),
}
NO_TORCH_WEIGHTS = {
    "a half .pth": (half, ".pth", "cannot be read as .pth: it is damaged, cut short, or another kind of file"),
    "a pickle as .pth": (pickled, ".pth", "cannot be read as .pth: it is damaged, cut short, or another kind of file"),
    "an empty .pt": (lambda path: path.write_bytes(b""), ".pt", "cannot be read as .pt: it is damaged, cut short"),
    "a text as .pth": (lambda path: path.write_text("404: Not Found"), ".pth", "cannot be read as .pth"),
}


def assert_refused(change, extension, message, folder, monkeypatch):
    monkeypatch.chdir(folder)
    net, path = vgg_small(), folder / f"weights{extension}"
    before = net.state_dict()
    save_weights(net, path, "torch")
    change(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_weights(net, path)
    assert "allow_pickle=True" not in str(caught.value) and "weights_only" not in str(caught.value)  # no bad advice
    assert os.listdir(folder) == [path.name]  # no code has run
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("change", "extension", "message"), NO_WEIGHTS.values(), ids=NO_WEIGHTS)
def test_what_is_no_file_of_weights(change, extension, message, tmp_path, monkeypatch):
    assert_refused(change, extension, message, tmp_path, monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize(("change", "extension", "message"), NO_TORCH_WEIGHTS.values(), ids=NO_TORCH_WEIGHTS)
def test_what_is_no_pickle_of_weights(change, extension, message, tmp_path, monkeypatch):
    import_torch()
    assert_refused(change, extension, message, tmp_path, monkeypatch)


@pytest.mark.torch
def test_pickles_of_pytorch_that_are_more_than_weights(tmp_path, monkeypatch):
    torch = import_torch()

    def whole_module(path):
        torch.save(torch.nn.Linear(2, 3), path)

    def with_code(path):
        torch.save({"state_dict": {"features.0.bias": torch.ones(32)}, "args": RunsCode()}, path)

    def a_tensor(path):
        torch.save(torch.ones(3), path)

    for change, message in (
        (
            whole_module,
            "weights.pth is refused: unpickling it would call torch.nn.modules.linear.Linear, and could run",
        ),
        (with_code, r"weights.pth is refused: unpickling it would call \w+.mkdir, and could run any code"),
        (a_tensor, "weights.pth holds a Tensor; expected a dict of arrays by name"),
    ):
        assert_refused(change, ".pth", message, tmp_path, monkeypatch)


@pytest.mark.torch
def test_what_training_scripts_of_pytorch_save(net, state, tmp_path):
    """Tensors of any floating dtype, on disk or at hand, in either of PyTorch's formats."""
    torch = import_torch()
    tensors = {f"module.{name}": torch.from_numpy(array) for name, array in state.items()}
    torch.save(
        {"epoch": 3, "state_dict": tensors, "optimizer": {"state": {0: torch.ones(2)}, "lr": 0.1}}, tmp_path / "a.pth"
    )
    torch.save(tensors, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    for weights in (tmp_path / "a.pth", tmp_path / "b.pt", tensors):
        other = vgg_small()
        load_weights(other, weights)
        assert_same_state(other, net)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        half = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
        torch.save(half, tmp_path / "half.pth")
        load_weights(other, tmp_path / "half.pth")
        expected = from_torch(half["module.features.0.weight"].float())
        np.testing.assert_array_equal(other.features[0].weight.numpy(), expected)


def test_pytorch_is_not_needed_but_for_its_own_format(net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "net.pth").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"needs PyTorch .*: pip install torch, or use .safetensors or .npz"):
        load_weights(net, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="needs PyTorch"):
        save_weights(net, tmp_path / "net.pth", "torch")
    assert (tmp_path / "net.pth").read_bytes() == b""


# --------------------------------------------------------------------------------------------------- names of files


def test_names_of_files(net, tmp_path):
    endings = "the name of a file of weights must end in .npz, .safetensors, .pth, .pt$"
    for wrong in ("net.h5", "net", "net.npz.gz"):
        with pytest.raises(CheckpointError, match=f"{wrong}: {endings}"):
            load_weights(net, tmp_path / wrong)
        with pytest.raises(CheckpointError, match=f"{wrong}: {endings}"):
            save_weights(net, tmp_path / wrong)
    with pytest.raises(CheckpointError, match=r'net.pth: .pth is PyTorch\'s format; write layout="torch", or use .npz'):
        save_weights(net, tmp_path / "net.pth")
    with pytest.raises(FileNotFoundError, match=r"net.npz"):
        load_weights(net, tmp_path / "net.npz")
    assert os.listdir(tmp_path) == []


@every_file
def test_a_save_that_fails_leaves_the_old_file(net, layout, extension, tmp_path, monkeypatch):
    require(extension)
    path = tmp_path / f"net{extension}"
    save_weights(net, path, layout)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="could not be saved.*No space left"):
        save_weights(vgg_small(), path, layout)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before


def test_safetensors_say_whose_layout_they_have(net, tmp_path):
    """Libraries around PyTorch look for this entry."""
    save_weights(net, tmp_path / "net.safetensors", "torch")
    with safetensors.safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
