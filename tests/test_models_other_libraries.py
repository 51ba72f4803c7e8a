"""Whole networks against torchvision and timm: weights of theirs, read from a file, give their scores and gradients.

The networks have 10 classes, and images are as small as they allow. Files are float32; for float64 both networks are
converted after that.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from judge import relative_error
from other_libraries import import_torch, timm_model, torchvision_model, unsettle_torch
from torch_twin import images_from_torch

import minidl
from minidl import Tensor, nn
from minidl import functional as F
from models.googlenet import googlenet
from models.inception_resnet import inception_resnet_v2
from models.inception_v3 import inception_v3
from models.inception_v4 import inception_v4
from models.preact_resnet import preact_resnet50
from models.reparam import to_deploy
from models.repvgg import repvgg_a0, repvgg_b1g4
from models.resnet import resnet18, resnet50
from models.vgg import vgg11, vgg16_bn
from models.weights import load_weights, save_weights

pytestmark = pytest.mark.torch
CLASSES = 10


# ---------------------------------------------------------------------------------------------------- the networks


class Case(NamedTuple):
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    size: int  # height and width of the images
    extension: str = ".pth"


HIDDEN = 64  # units of VGG: with 4096 their 100 million weights would take most of the time and memory


def torchvision_vgg(name, num_classes):
    tnn = import_torch().nn
    model = torchvision_model(name)
    layers = [tnn.Linear(512 * 7 * 7, HIDDEN), tnn.ReLU(), tnn.Dropout()]
    layers += [tnn.Linear(HIDDEN, HIDDEN), tnn.ReLU(), tnn.Dropout(), tnn.Linear(HIDDEN, num_classes)]
    model.classifier = tnn.Sequential(*layers).to("meta")
    return model


def timm_vgg(name, num_classes):
    """There the first linear layer is a 7×7 convolution."""
    model = timm_model(name)
    model.pre_logits = type(model.pre_logits)(512, HIDDEN, 7).to("meta")
    model.head.fc = import_torch().nn.Linear(HIDDEN, num_classes).to("meta")
    return model


CASES = {
    "vgg11": Case(partial(vgg11, hidden=HIDDEN), torchvision_vgg, 64),
    "vgg16_bn": Case(partial(vgg16_bn, hidden=HIDDEN), torchvision_vgg, 64, ".safetensors"),
    "vgg11 of timm": Case(partial(vgg11, hidden=HIDDEN), timm_vgg, 64),
    "resnet18": Case(resnet18, torchvision_model, 64),
    "resnet50": Case(resnet50, torchvision_model, 64, ".safetensors"),
    "resnetv2_50": Case(preact_resnet50, timm_model, 64),
    "googlenet": Case(googlenet, torchvision_model, 64),
    "inception_v3": Case(inception_v3, torchvision_model, 299),  # the auxiliary head needs 17×17 of them
    "inception_v3 of timm": Case(partial(inception_v3, aux_logits=False), timm_model, 107),
    "inception_v4": Case(inception_v4, timm_model, 107, ".safetensors"),
    "inception_resnet_v2": Case(inception_resnet_v2, timm_model, 107),
    "repvgg_a0": Case(repvgg_a0, timm_model, 64),
    "repvgg_b1g4": Case(repvgg_b1g4, timm_model, 64, ".safetensors"),
}


class Pair(NamedTuple):
    """A network of ours and one of another library, with the weights of the latter, in inference; and images."""

    ours: Any
    theirs: Any
    images: Any  # (N, C, H, W), torch


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    case, name = CASES[request.param], request.param.split()[0]
    theirs = case.theirs(name, num_classes=CLASSES)
    images = torch_images(3, case.size)
    path = tmp_path_factory.mktemp("weights") / f"{name}{case.extension}"
    write(unsettle_torch(theirs, images).state_dict(), path)
    with nn.init.placeholders():
        ours = case.ours(CLASSES)
    load_weights(ours, path)
    path.unlink()
    return Pair(ours.eval(), theirs, images)


def torch_images(N, size):
    torch = import_torch()
    return torch.randn(N, 3, size, size, generator=torch.Generator().manual_seed(1))


def write(state, path):
    """A state of PyTorch's in a file, as its users write it."""
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    else:
        import_torch().save(state, path)


def read(path):
    if path.suffix == ".safetensors":
        return pytest.importorskip("safetensors.torch").load_file(path)
    return import_torch().load(path, weights_only=True)


def to_ours(images, dtype):
    return Tensor(images_from_torch(images), dtype=dtype)  # (N, H, W, C)


def in_float64(pair):
    """Copies, which may be changed."""
    ours, theirs, images = copy.deepcopy(pair)
    return Pair(ours.to(dtype=np.float64), theirs.double(), images.double())


# -------------------------------------------------------------------------------------------------------- inference


def assert_scores_equal(ours, theirs, images, tolerance):
    """Relative error of the scores of two networks. Scores that do not depend on the image would prove nothing."""
    with minidl.no_grad(), import_torch().no_grad():
        actual = ours(to_ours(images, next(ours.parameters()).dtype))
        expected = images_from_torch(theirs(images))
    assert relative_error(expected[0], expected[1]) > 0.05
    assert relative_error(actual, expected) < tolerance


def test_scores_in_float32(pair):
    assert_scores_equal(*pair, tolerance=1e-4)


def test_scores_in_float64(pair):
    assert_scores_equal(*in_float64(pair), tolerance=1e-10)


def test_scores_of_the_deployed_network(pair):
    ours, theirs, images = in_float64(pair)
    assert_scores_equal(to_deploy(ours), theirs, images, tolerance=1e-10)


def test_scores_at_full_size(tmp_path):
    """224×224 and 1000 classes."""
    images = torch_images(2, 224)
    theirs = unsettle_torch(torchvision_model("resnet18"), images)
    write(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = resnet18()
    load_weights(ours, tmp_path / "resnet18.pth")
    assert_scores_equal(ours.eval(), theirs, images, tolerance=1e-4)


def test_weights_that_timm_has_reparameterised(tmp_path):
    images = torch_images(2, 64)
    theirs = unsettle_torch(timm_model("repvgg_a0", num_classes=CLASSES), images)
    plain = pytest.importorskip("timm.utils").reparameterize_model(theirs)
    write(plain.state_dict(), tmp_path / "repvgg_a0.pth")
    ours = repvgg_a0(CLASSES, deploy=True)
    load_weights(ours, tmp_path / "repvgg_a0.pth")
    assert_scores_equal(ours.eval(), theirs, images, tolerance=1e-4)


# --------------------------------------------------------------------------------------------------------- training


def loss_of(outputs, auxiliary_weight, cross_entropy):
    """The loss that the network is trained with: that of the scores, and of auxiliary scores by their weight."""
    scores, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum((auxiliary_weight * cross_entropy(y) for y in auxiliary), cross_entropy(scores))


def test_a_training_step(pair):
    """Loss, gradients of all parameters, and running statistics afterwards, in float64, without dropout.

    Through 50 to 150 layers with batch statistics of 3 images, rounding grows to some 1e-11 of a gradient. Where a
    gradient is 0 but for rounding (a bias before batch norm, a common shift of all scores), it is compared with a
    millionth of the largest.
    """
    torch = import_torch()
    ours, theirs, images = in_float64(pair)
    for module in (*ours.train().modules(), *theirs.train().modules()):
        if isinstance(module, nn.Dropout | torch.nn.Dropout):
            module.p = 0.0
    targets, weight = np.arange(len(images)), getattr(ours, "aux_weight", None)
    outputs, expected_outputs = ours(to_ours(images, np.float64)), theirs(images)
    assert isinstance(outputs, tuple) == isinstance(expected_outputs, tuple)
    loss = loss_of(outputs, weight, lambda y: F.cross_entropy(y, targets))
    torch_targets = torch.from_numpy(targets)
    expected_loss = loss_of(expected_outputs, weight, lambda y: torch.nn.functional.cross_entropy(y, torch_targets))
    assert relative_error(loss, expected_loss.detach().numpy()) < 1e-10
    loss.backward()
    expected_loss.backward()

    expected = copy.deepcopy(ours)
    load_weights(expected, theirs.state_dict())
    for (name, buffer), other in zip(ours.named_buffers(), expected.buffers(), strict=True):
        assert relative_error(buffer, other) < 1e-10, name
    for parameter in expected.parameters():
        parameter.data = np.full_like(parameter.data, np.nan)  # so that a gradient that is not there is seen
    load_weights(expected, {name: p.grad for name, p in theirs.named_parameters()}, strict=False)  # in our layout
    norms = {name: np.linalg.norm(gradient.numpy()) for name, gradient in expected.named_parameters()}
    for (name, parameter), gradient in zip(ours.named_parameters(), expected.parameters(), strict=True):
        error = np.linalg.norm(parameter.grad.numpy() - gradient.numpy())
        assert error <= 1e-9 * max(norms[name], 1e-6 * max(norms.values())), name


# ----------------------------------------------------------------------------------------------------- the way back

OF_OUR_NAMES = [name for name in CASES if name != "vgg11 of timm" and not name.startswith("repvgg")]


@pytest.mark.parametrize("pair", OF_OUR_NAMES, indirect=True)
@pytest.mark.parametrize("extension", [".pth", ".safetensors"])
def test_saved_for_the_other_library(pair, extension, tmp_path):
    """Its load_state_dict takes what we save: each tensor is the one that we had from it."""
    path = tmp_path / f"weights{extension}"
    save_weights(pair.ours, path, layout="torch")
    state, expected = read(path), pair.theirs.state_dict()
    for name, tensor in state.items():
        assert tensor.dtype == expected[name].dtype
        assert import_torch().equal(tensor, expected[name]), name
    pair.theirs.load_state_dict(state, strict=True)
