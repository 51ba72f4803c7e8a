"""The architectures, built only from `minidl.nn` and `minidl.functional`, and read like their papers' tables.

net = models.create("resnet50", num_classes=10)
net = models.create("resnet50", weights="resnet50.safetensors")  # torchvision's, timm's or one of our own
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from os import PathLike
from typing import Any

from minidl import nn
from models import (
    cifar_preact_resnet,
    cifar_resnet,
    googlenet,
    inception_resnet,
    inception_v2,
    inception_v3,
    inception_v4,
    preact_resnet,
    repvgg,
    resnet,
    vgg,
)
from models.reparam import fold_batch_norm, to_deploy
from models.weights import load_weights, save_weights

__all__ = ["FAMILIES", "SMALL", "create", "fold_batch_norm", "load_weights", "names", "save_weights", "to_deploy"]

FAMILIES: dict[str, tuple[Callable[..., nn.Module], ...]] = {
    "small, for images of 8×8 to 32×32": (
        *(vgg.vgg_small, googlenet.inception_small, repvgg.repvgg_small, cifar_resnet.resnet_small),
    ),
    "VGG": (
        *(vgg.vgg11, vgg.vgg13, vgg.vgg16, vgg.vgg19),
        *(vgg.vgg11_bn, vgg.vgg13_bn, vgg.vgg16_bn, vgg.vgg19_bn),
    ),
    "Inception": (
        *(googlenet.googlenet, inception_v2.inception_v2, inception_v3.inception_v3, inception_v4.inception_v4),
        *(inception_resnet.inception_resnet_v1, inception_resnet.inception_resnet_v2),
    ),
    "RepVGG": (
        *(repvgg.repvgg_a0, repvgg.repvgg_a1, repvgg.repvgg_a2, repvgg.repvgg_b0),
        *(repvgg.repvgg_b1, repvgg.repvgg_b1g2, repvgg.repvgg_b1g4),
        *(repvgg.repvgg_b2, repvgg.repvgg_b2g2, repvgg.repvgg_b2g4),
        *(repvgg.repvgg_b3, repvgg.repvgg_b3g2, repvgg.repvgg_b3g4),
    ),
    "ResNet": (resnet.resnet18, resnet.resnet34, resnet.resnet50, resnet.resnet101, resnet.resnet152),
    "ResNet for CIFAR": (
        *(cifar_resnet.resnet20, cifar_resnet.resnet32, cifar_resnet.resnet44, cifar_resnet.resnet56),
        cifar_resnet.resnet110,
    ),
    "the same without shortcuts": (
        *(cifar_resnet.plain20, cifar_resnet.plain32, cifar_resnet.plain44, cifar_resnet.plain56),
        cifar_resnet.plain110,
    ),
    "pre-activation ResNet": (
        *(preact_resnet.preact_resnet50, preact_resnet.preact_resnet101),
        *(preact_resnet.preact_resnet152, preact_resnet.preact_resnet200),
    ),
    "pre-activation ResNet for CIFAR": (
        *(cifar_preact_resnet.preact_resnet110, cifar_preact_resnet.preact_resnet164),
        cifar_preact_resnet.preact_resnet1001,
    ),
}
_BUILDERS = {builder.__name__: builder for family in FAMILIES.values() for builder in family}
SMALL = list(_BUILDERS)[:4]


def names() -> list[str]:
    """The names that `create` knows."""
    return list(_BUILDERS)


def create(name: str, *, weights: str | PathLike[str] | None = None, deploy: bool = False, **options: Any) -> nn.Module:
    """A new network, with random weights or those of a file.

    weights   a file that `load_weights` reads, of this network in the form asked for
    deploy    the form in which it is run: batch normalisation folded into the convolutions, branches of RepVGG merged,
              no auxiliary heads. (For the weights of a trained network it is `to_deploy(create(name, weights=...))`.)
    options   those of the network's own function, such as num_classes=10, in_channels=1 or variant="paper"

    Raises: ValueError for an unknown name, with the ones closest to it; TypeError for an option that the network does
    not have; what the function raises for the values of its options, and `load_weights` for the file.
    """
    if not isinstance(name, str):
        raise TypeError(f'create: expected the name of a network, such as "resnet18", got {name!r:.60}')
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_BUILDERS)}"
        raise ValueError(f"unknown model {name!r}: {hint}")
    if weights is None:
        model = _built(name, options)
        return to_deploy(model) if deploy else model
    with nn.init.placeholders():  # all of them are about to be replaced
        model = _built(name, options)
        model = to_deploy(model) if deploy else model
    load_weights(model, weights)
    return model


def _built(name: str, options: dict[str, Any]) -> nn.Module:
    builder = _BUILDERS[name]
    try:
        return builder(**options)
    except TypeError as error:  # of whichever class the options were handed on to
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in options:
            raise
        raise TypeError(
            f"create: {name} has no option {unknown[1]!r}; those that it has are described in {builder.__module__}"
        ) from error
