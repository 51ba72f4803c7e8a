"""Whole networks: inference in deploy form, a training step, and the latency of a single image."""

from __future__ import annotations

from typing import Any

from benchmarks.case import FORWARD, STEP, Case

# Of each network: how large an image is, and the weights of its first and last layer, whose gradients are compared.
IMAGENET: dict[str, tuple[int, tuple[str, str]]] = {
    "vgg16": (224, ("features.0.weight", "classifier.6.weight")),
    "repvgg_a0": (224, ("stage0.rbr_dense.conv.weight", "linear.weight")),
    "resnet18": (224, ("conv1.weight", "fc.weight")),
    "resnet50": (224, ("conv1.weight", "fc.weight")),
    "googlenet": (224, ("conv1.conv.weight", "fc.weight")),
    "inception_v3": (299, ("Conv2d_1a_3x3.conv.weight", "fc.weight")),
}
SECONDS = 15.0


def network(name: str, case: str, mode: str, batch: int, side: int | None = None, **changes: Any) -> Case:
    """A case of one of the networks.  side   None for that of its paper;  changes   to options, and to the case"""
    if name == "resnet_small":
        shape, watched, classes = (batch, 8, 8, 1), ("conv1.weight", "fc.weight"), 10
    else:
        usual, watched = IMAGENET[name]
        shape, classes = (batch, side or usual, side or usual, 3), 1000
    options = {"network": name, "watched": watched, "classes": classes, "folds": name != "vgg16"}
    options |= changes.pop("options", {})
    return Case(case, "network", mode, shape, options, **{"seconds": SECONDS, **changes})


def cases() -> list[Case]:
    names = [*IMAGENET, "resnet_small"]
    batches = {"resnet_small": 64}
    inference = [network(name, f"network/{name}/inference", FORWARD, batches.get(name, 8)) for name in names]
    training = [network(name, f"network/{name}/training", STEP, batches.get(name, 8)) for name in names]
    latency = [network(name, f"latency/{name}/inference", FORWARD, 1) for name in ("vgg16", "resnet50")]
    return [*inference, *training, *latency]
