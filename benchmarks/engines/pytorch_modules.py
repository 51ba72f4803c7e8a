"""The blocks and networks of the cases in PyTorch: torchvision's and timm's networks, and what neither has.

They are made without weights, on PyTorch's "meta" device. Their parts have the names that minidl has for them, but for
timm's.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

TIMM = ("repvgg_a0",)


def libraries(options: Mapping[str, Any]) -> tuple[str, ...]:
    """What has to be installed beside PyTorch for the block or network of these options."""
    return ("torchvision", "timm") if options.get("network") in TIMM else ("torchvision",)


def create(options: Mapping[str, Any]) -> Any:
    """The module that the options of a case name, without weights. See `benchmarks.modules`."""
    import torch

    with torch.device("meta"):
        if "network" in options:
            return _network(options["network"], options.get("arguments", {}))
        return _BLOCKS[options["block"]](options.get("form") == "plain", *options["sizes"])


def folded(model: Any) -> Any:
    """A copy for inference in its deploy form: batch norms are folded into convolutions, branches of RepVGG merged."""
    import copy

    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    model = copy.deepcopy(model).eval()
    if any(type(part).__module__.startswith("timm.") for part in model.modules()):
        from timm.utils.model import reparameterize_model

        model = reparameterize_model(model)
    for parent in list(model.modules()):
        for (name, conv), (next_name, bn) in pairwise(list(parent.named_children())):
            if isinstance(conv, torch.nn.Conv2d) and isinstance(bn, torch.nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, bn))
                setattr(parent, next_name, torch.nn.Identity())
    return model


def _network(name: str, arguments: Mapping[str, Any]) -> Any:
    models = import_torchvision().models
    if name in TIMM:
        import timm

        return timm.create_model(name, pretrained=False)
    if name == "resnet_small":
        return _resnet_small()
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}  # must be said, or it warns
    return getattr(models, name)(weights=None, **arguments, **extra)


def import_torchvision() -> Any:
    """torchvision, also where its compiled operators do not load because they were built for another PyTorch.

    Its import then fails at the first of two operators that it describes to PyTorch. No network here uses them;
    declared, they let it pass.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the first attempt left
        import torchvision
    return torchvision


# ------------------------------------------------------------------------------------------- what torchvision has not


def _computes(forward: Any, **children: Any) -> Any:
    """A module with these children that computes forward(module, x)."""
    import torch

    class Computed(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return forward(self, x)

    module = Computed()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def _resnet_small() -> Any:
    """minidl's `resnet_small`, of torchvision's blocks."""
    import torch
    from torch import nn

    block = import_torchvision().models.resnet.BasicBlock

    def stage(C: int, F: int, stride: int) -> Any:
        projection = nn.Sequential(nn.Conv2d(C, F, 1, stride, bias=False), nn.BatchNorm2d(F)) if stride > 1 else None
        return nn.Sequential(block(C, F, stride, projection))

    def forward(m: Any, x: Any) -> Any:
        x = m.layer3(m.layer2(m.layer1(torch.relu(m.bn1(m.conv1(x))))))
        return m.fc(m.avgpool(x).flatten(1))

    return _computes(
        forward,
        conv1=nn.Conv2d(1, 16, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(16),
        layer1=stage(16, 16, 1),
        layer2=stage(16, 32, 2),
        layer3=stage(32, 64, 2),
        avgpool=nn.AdaptiveAvgPool2d(1),
        fc=nn.Linear(64, 10),
    )


def _conv_bn(C: int, F: int, kernel: int, **options: Any) -> Any:
    from torch import nn

    conv, bn = nn.Conv2d(C, F, kernel, bias=False, **options), nn.BatchNorm2d(F)
    return _computes(lambda m, x: m.bn(m.conv(x)), conv=conv, bn=bn)


def _conv_bn_relu(C: int, F: int, kernel: int, **options: Any) -> Any:
    import_torchvision()
    module = importlib.import_module("torchvision.models.googlenet")  # a function of that name hides it in its package
    return module.BasicConv2d(C, F, kernel_size=kernel, **options)


def _branches(**branches: Any) -> Any:
    """Side by side, their outputs one behind the other in depth."""
    import torch

    return _computes(lambda m, x: torch.cat([branch(x) for branch in m.children()], 1), **branches)


def _naive_inception(plain: bool, C: int, c1: int, c3: int, c5: int) -> Any:
    from torch import nn

    return _branches(
        branch1=_conv_bn_relu(C, c1, 1),
        branch2=_conv_bn_relu(C, c3, 3, padding=1),
        branch3=_conv_bn_relu(C, c5, 5, padding=2),
        branch4=nn.MaxPool2d(3, stride=1, padding=1),
    )


def _inception(plain: bool, C: int, c1: int, c3_reduce: int, c3: int, c5_reduce: int, c5: int, proj: int) -> Any:
    from torch import nn

    unit = _conv_bn_relu
    return _branches(
        branch1=unit(C, c1, 1),
        branch2=nn.Sequential(unit(C, c3_reduce, 1), unit(c3_reduce, c3, 3, padding=1)),
        branch3=nn.Sequential(unit(C, c5_reduce, 1), unit(c5_reduce, c5, 5, padding=2)),
        branch4=nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), unit(C, proj, 1)),
    )


def _bottleneck(plain: bool, C: int, channels: int) -> Any:
    return import_torchvision().models.resnet.Bottleneck(C, channels)


def _repvgg(plain: bool, C: int, F: int) -> Any:
    """With as many filters as channels, so that the identity is one of its branches."""
    import torch
    from torch import nn

    if plain:
        return _computes(lambda m, x: torch.relu(m.rbr_reparam(x)), rbr_reparam=nn.Conv2d(C, F, 3, padding=1))
    return _computes(
        lambda m, x: torch.relu(m.rbr_dense(x) + m.rbr_1x1(x) + m.rbr_identity(x)),
        rbr_identity=nn.BatchNorm2d(C),
        rbr_dense=_conv_bn(C, F, 3, padding=1),
        rbr_1x1=_conv_bn(C, F, 1),
    )


def _filters(plain: bool, C: int, *kernels: tuple[int, int]) -> Any:
    from torch import nn

    return nn.Sequential(*(nn.Conv2d(C, C, (KH, KW), padding=(KH // 2, KW // 2), bias=False) for KH, KW in kernels))


_BLOCKS: dict[str, Callable[..., Any]] = {
    "naive inception": _naive_inception,
    "inception": _inception,
    "bottleneck": _bottleneck,
    "repvgg": _repvgg,
    "filters": _filters,
}
