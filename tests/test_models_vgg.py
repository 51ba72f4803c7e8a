"""VGG: the stage and the networks against PyTorch and torchvision's checkpoints, and the lecture on small filters."""

import json
from pathlib import Path

import numpy as np
import pytest
from judge import assert_close
from torch_twin import assert_twins, published, sequence, torch_nn, twin

import minidl
from minidl import Tensor, nn
from models import vgg
from models.vgg import VGG, vgg_small, vgg_stage

REFERENCE = Path(__file__).parent / "reference"
ARCHITECTURES = json.loads((REFERENCE / "architectures.json").read_text())["architectures"]
NETWORKS = ["vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"]
every_network = pytest.mark.parametrize("name", NETWORKS)
KINDS = {"n_conv": nn.Conv2d, "n_linear": nn.Linear, "n_batchnorm": nn.BatchNorm2d}


def built(name, **options):
    """The network without memory for its weights."""
    with nn.init.placeholders():
        return getattr(vgg, name)(**options)


def geometry(convolution):
    return convolution.kernel_size, convolution.stride, convolution.padding


def torch_layout(shape):
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(shape), range(len(shape)))
    return [shape[axis] for axis in axes]


def torch_stage(in_channels, channels, convolutions, batch_norm=False):
    tnn = torch_nn()
    layers = []
    for _ in range(convolutions):
        layers.append(tnn.Conv2d(in_channels, channels, kernel_size=3, padding=1))
        layers += [tnn.BatchNorm2d(channels)] if batch_norm else []
        layers.append(tnn.ReLU())
        in_channels = channels
    return sequence(*layers, tnn.MaxPool2d(kernel_size=2, stride=2))


def torch_vgg(stages, num_classes, in_channels, batch_norm, pooled_size, hidden, dropout):
    tnn = torch_nn()
    layers, channels = [], in_channels
    for width, convolutions in stages:
        layers += torch_stage(channels, width, convolutions, batch_norm)
        channels = width
    return twin(
        lambda m, x: m.classifier(m.avgpool(m.features(x)).permute(0, 2, 3, 1).flatten(1)),  # flattened in our order
        features=sequence(*layers),
        avgpool=tnn.AdaptiveAvgPool2d((pooled_size, pooled_size)),
        classifier=sequence(
            tnn.Linear(channels * pooled_size * pooled_size, hidden),
            tnn.ReLU(),
            tnn.Dropout(dropout),
            tnn.Linear(hidden, hidden),
            tnn.ReLU(),
            tnn.Dropout(dropout),
            tnn.Linear(hidden, num_classes),
        ),
    )


@pytest.mark.torch
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_stage_is_pytorchs(convolutions, batch_norm, monkeypatch):
    arguments = 3, 4, convolutions, batch_norm
    assert_twins(vgg_stage(*arguments), torch_stage(*arguments), (2, 7, 4, 3), monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 11, 9, 3)], ids=str)
def test_small_network_is_pytorchs(shape, monkeypatch):
    C = shape[3]
    other = torch_vgg([(32, 2), (64, 2)], 7, C, batch_norm=True, pooled_size=2, hidden=128, dropout=0.5)
    assert_twins(vgg_small(7, C), other, shape, monkeypatch)


@pytest.mark.torch
@pytest.mark.parametrize("batch_norm", [True, False])
def test_network_with_every_option_is_pytorchs(batch_norm, monkeypatch):
    options = dict(batch_norm=batch_norm, pooled_size=3, hidden=5, dropout=0.25)
    arguments = [(2, 1), (4, 3), (3, 2)], 6, 2
    assert_twins(VGG(*arguments, **options), torch_vgg(*arguments, **options), (3, 17, 10, 2), monkeypatch)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradients_of_a_stage(batch_norm, rng):
    stage = vgg_stage(2, 3, 2, batch_norm).to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal((2, 4, 5, 2)), requires_grad=True), *stage.parameters()]
    assert minidl.gradcheck(lambda x, *_: stage(x), inputs).compared > 1000
    minidl.gradgradcheck(lambda x, *_: stage(x), inputs, fast=True)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradients_of_a_network(batch_norm, rng):
    net = VGG([(2, 1), (3, 2)], 4, 2, batch_norm=batch_norm, pooled_size=2, hidden=5, dropout=0, linear_std=0.5)
    net.to(dtype=np.float64)
    inputs = [Tensor(rng.standard_normal((3, 8, 9, 2)), requires_grad=True), *net.parameters()]
    minidl.gradcheck(lambda x, *_: net(x), inputs, fast=True)
    minidl.gradgradcheck(lambda x, *_: net(x), inputs, fast=True)


def test_stage_halves_and_drops_an_odd_row():
    assert vgg_stage(3, 4, 1)(Tensor(np.zeros((2, 9, 6, 3)), dtype=np.float32)).shape == (2, 4, 3, 4)


# ------------------------------------------------------------------------------------------------- the networks


@every_network
def test_parameters_and_layers_are_torchvisions(name):
    net, expected = built(name), ARCHITECTURES[name]
    counts = {key: sum(isinstance(module, kind) for module in net.modules()) for key, kind in KINDS.items()}
    assert counts == {key: expected[key] for key in KINDS}
    assert sum(parameter.size for parameter in net.parameters()) == expected["params"]
    assert sum(buffer.size for buffer in net.buffers()) == expected["buffer_elements"]


@every_network
def test_docstring_tells_parameters_and_multiply_adds(name):
    document = getattr(vgg, name).__doc__
    assert f"{ARCHITECTURES[name]['params']:,} parameters" in document
    if name.endswith("_bn"):
        assert f"`{name.removesuffix('_bn')}`" in document
    else:
        assert f"{ARCHITECTURES[name]['macs']:,} multiply-adds at 224×224" in document
        assert f"{name.removeprefix('vgg')} layers with weights" in document


@pytest.mark.parametrize("name", ["vgg11", "vgg16", "vgg16_bn"])
def test_names_and_shapes_are_torchvisions(name):
    shapes = {key: torch_layout(tensor.shape) for key, tensor in built(name)._state()}  # state_dict() would copy
    assert list(shapes.items()) == list(published(name).items())


@every_network
def test_every_layer_has_the_shape_that_torchvisions_has(name):
    """At 224×224 with one channel a layer: each layer of the feature extractor halves the image where theirs does."""
    net = built(name, hidden=2, num_classes=1)
    shapes = {}
    x = np.zeros((1, 224, 224, 1), np.float32)
    for key, layer in net.features.named_children():
        if isinstance(layer, nn.MaxPool2d | nn.Conv2d):
            thin = layer if isinstance(layer, nn.MaxPool2d) else nn.Conv2d(1, 1, *geometry(layer))
            x = thin(Tensor(x)).numpy()
        shapes[f"features.{key}"] = [1, getattr(layer, "out_channels", None), *x.shape[1:3]]
    theirs = {key: shape for key, shape in ARCHITECTURES[name]["out_shapes"].items() if key.startswith("features.")}
    assert list(shapes) == list(theirs)
    for key, (_, F, H, W) in shapes.items():
        assert theirs[key][2:] == [H, W]
        assert F in (None, theirs[key][1])


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn"])
def test_images_of_any_size_from_32_on(name, rng):
    net = getattr(vgg, name)(num_classes=7, in_channels=1, hidden=3)
    for training in (True, False):
        for size in ((32, 32), (33, 50)):
            scores = net.train(training)(Tensor(rng.standard_normal((2, *size, 1)), dtype=np.float32))
            assert scores.shape == (2, 7)
            assert np.isfinite(scores.numpy()).all()


def test_too_small_an_image_is_refused_by_the_layer_that_runs_out_of_pixels():
    net = VGG([(2, 1)] * 5, 3, 1, hidden=2)
    with pytest.raises(ValueError, match="max_pool2d") as caught:
        net(Tensor(np.zeros((1, 31, 40, 1), np.float32)))
    assert any(note.startswith("in layer features.14 of VGG: MaxPool2d(") for note in caught.value.__notes__)


def test_dropout_is_an_option():
    assert [part.p for part in VGG([(2, 1)], hidden=2).modules() if isinstance(part, nn.Dropout)] == [0.5, 0.5]
    net = built("vgg16", dropout=0.2)
    assert [part.p for part in net.modules() if isinstance(part, nn.Dropout)] == [0.2, 0.2]


def test_what_the_first_linear_layer_reads_is_told():
    assert built("vgg16").flattens == {"classifier.0": (7, 7, 512)}
    assert vgg_small().flattens == {"classifier.0": (2, 2, 64)}
    net = VGG([(2, 1), (5, 1)], pooled_size=3, hidden=4)
    (size,) = net.flattens.values()
    assert size == net.avgpool(net.features(Tensor(np.zeros((1, 12, 12, 3), np.float32)))).shape[1:]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_initial_weights_are_torchvisions(batch_norm):
    """Deviations within 5 standard errors: 1 / √(2n) of n weights."""
    net = VGG([(32, 1), (64, 2)], 50, 8, batch_norm=batch_norm, pooled_size=2, hidden=100)
    for module in net.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        is_conv = isinstance(module, nn.Conv2d)
        std = np.sqrt(2 / (9 * module.out_channels)) if is_conv else 0.01
        normal = module.weight.numpy().astype(np.float64) / std
        assert abs(normal.mean()) < 5 / np.sqrt(normal.size)
        assert abs(normal.std() - 1) < 5 / np.sqrt(2 * normal.size)
        assert abs(normal).max() > 2.5, "not normal"
        assert not module.bias.numpy().any()


def test_without_linear_std_linear_layers_and_biases_are_as_drawn():
    net = VGG([(100, 1)], 50, hidden=100, linear_std=None)
    for layer in (net.classifier[0], net.classifier[3], net.classifier[6]):
        bound = 1 / np.sqrt(layer.in_features)
        for array in (layer.weight.numpy(), layer.bias.numpy()):
            assert 0.9 * bound < abs(array).max() <= bound
    assert 0.9 < abs(net.features[0].bias.numpy()).max() * np.sqrt(27) <= 1


def test_a_bias_before_batch_norm_changes_nothing(rng):
    """Why it does not matter that convolutions keep theirs."""
    stage = vgg_stage(3, 4, 1, batch_norm=True).to(dtype=np.float64)
    x = Tensor(rng.standard_normal((2, 6, 6, 3)))
    before = stage(x).numpy()
    stage[0].bias.data = rng.standard_normal(4)
    assert_close(stage(x), before)


def test_repr_is_short():
    text = repr(built("vgg16_bn"))
    assert "(0): Conv2d(3, 64, kernel_size=(3, 3), padding=1)" in text
    assert "(6): Linear(4096, 1000)" in text
    assert max(map(len, text.splitlines())) <= 120


def test_table_1():
    """11, 13, 16 and 19 layers with weights; the third stage of D, VGG16, has three convolutions, not two."""
    depths = {name: sum(stages) + 3 for name, stages in vgg.CONFIGURATIONS.items()}
    assert depths == {"A": 11, "B": 13, "D": 16, "E": 19}
    wide = [layer for layer in built("vgg16").features if isinstance(layer, nn.Conv2d) and layer.out_channels == 256]
    assert len(wide) == 3


# ------------------------------------------------------------------------------------------------- small filters


def footprint(convolutions, size):
    """Height and width of the part of a size × size image that the output's middle depends on."""
    C = convolutions[0].weight.shape[2]
    x = Tensor(np.ones((1, size, size, C)), requires_grad=True)
    y = x
    for convolution in convolutions:
        convolution.to(dtype=np.float64)
        convolution.weight.data = abs(convolution.weight.data)  # nothing cancels
        y = minidl.functional.relu(convolution(y))
    y[0, size // 2, size // 2, 0].backward()
    reached = x.grad.numpy()[0].any(axis=2)
    rows, columns = reached.any(axis=1), reached.any(axis=0)
    assert reached.sum() == rows.sum() * columns.sum(), "not a rectangle"
    return int(rows.sum()), int(columns.sum())


@pytest.mark.parametrize(("convolutions", "seen"), [(1, 3), (2, 5), (3, 7)])
def test_a_stack_of_three_sees_seven_pixels(convolutions, seen):
    stage = vgg_stage(2, 2, convolutions, batch_norm=False)
    stack = [layer for layer in stage if isinstance(layer, nn.Conv2d)]
    assert len(stack) == convolutions
    assert footprint(stack, size=15) == (seen, seen)
    assert footprint([nn.Conv2d(2, 2, seen, padding=seen // 2)], size=15) == (seen, seen)


def test_three_small_filters_have_27_c_squared_weights_and_one_large_49_c_squared():
    C = 6
    stack = sum(layer.weight.size for layer in vgg_stage(C, C, 3, batch_norm=False) if isinstance(layer, nn.Conv2d))
    one = nn.Conv2d(C, C, 7, padding=3).weight.size
    assert (stack, one) == (27 * C**2, 49 * C**2)
    assert round(one / stack - 1, 2) == 0.81  # "81% more"
    assert sum(isinstance(layer, nn.ReLU) for layer in vgg_stage(C, C, 3)) == 3
