"""torchvision and timm, for the tests: their networks, with weights that show every mistake.

Weights as they are initialised would hide mistakes: batch norms with mean 0, variance 1, scale 1 and bias 0 do nothing.
So the networks are made without weights, on PyTorch's "meta" device, and `unsettle_torch` draws them all.
"""

import math
import sys

import pytest


def import_torch():
    """torch, on one thread. A test that asks for it is skipped where PyTorch is not installed."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    return torch


def torchvision_model(name, **options):
    """A network of torchvision without weights."""
    models = _import_torchvision().models
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # must be said, or torchvision warns
    with import_torch().device("meta"):
        return getattr(models, name)(weights=None, **options)


def timm_model(name, **options):
    """A network of timm without weights."""
    _import_torchvision()  # which timm imports, too
    timm = pytest.importorskip("timm", reason="timm is not installed")
    with import_torch().device("meta"):
        return timm.create_model(name, pretrained=False, **options)


def _import_torchvision():
    """torchvision, also where its compiled operators do not load because they were built for another PyTorch.

    Its import then fails at the first of two operators that it describes to PyTorch. No network uses them; declared,
    they let it pass.
    """
    torch = import_torch()
    try:
        return pytest.importorskip("torchvision", reason="torchvision is not installed")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the first attempt left
    import torchvision

    return torchvision


def unsettle_torch(model, images, seed=0):
    """Give a network weights as after some training: nothing is 0 or 1, and scales have either sign.

    Weights are normal with variance 2 / fan_in, the last layer's such that the scores of `images` have variance 1. The
    running statistics are those of `images`, and then up to a quarter off: so signals keep their size through any
    depth, and batch statistics would give something else.
    """
    torch = import_torch()
    generator = torch.Generator().manual_seed(seed)

    def uniform(like, low, high):
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    model.to_empty(device="cpu")
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, math.sqrt(2 / parameter[0].numel()), generator=generator)
            else:
                parameter.copy_(uniform(parameter, -0.2, 0.2))
        for norm in norms:
            sign = uniform(norm.weight, 0, 1).round() * 2 - 1
            norm.weight.copy_(sign * uniform(norm.weight, 0.5, 1.5))
            norm.momentum = None  # the statistics become the mean over all batches: one
            norm.reset_running_stats()
        model.train()(images)
        for norm in norms:
            norm.momentum = 0.1
            norm.running_mean += norm.running_var.sqrt() * uniform(norm.running_mean, -0.25, 0.25)
            norm.running_var *= uniform(norm.running_var, 0.75, 1.25)
            norm.num_batches_tracked += 6
        weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        weights[-1] /= model.eval()(images).std()
    return model
