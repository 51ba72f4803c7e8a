"""What is known of published architectures (tests/reference/architectures.json), and the same measured of a network.

A network is measured with one pass of images that are zeros, and may be built without memory for its weights.
"""

import json
import math
from pathlib import Path

import numpy as np

import minidl
from minidl import Tensor, nn

ARCHITECTURES = json.loads((Path(__file__).parent / "reference" / "architectures.json").read_text())["architectures"]
_COUNTED = {"n_conv": nn.Conv2d, "n_linear": nn.Linear, "n_batchnorm": nn.BatchNorm2d}


def built(build, *arguments, **options):
    """The network without memory for its weights."""
    with nn.init.placeholders():
        return build(*arguments, **options)


def size(parts):
    return sum(math.prod(part.shape) for part in parts)


def counts(net):
    """Parameters, elements of buffers, and layers, by the names that the reference has for them."""
    layers = {key: sum(isinstance(module, kind) for module in net.modules()) for key, kind in _COUNTED.items()}
    return {"params": size(net.parameters()), "buffer_elements": size(net.buffers()), **layers}


def parameters_by_child(net):
    """{name: parameters} of the children that have any."""
    return {name: size(child.parameters()) for name, child in net.named_children() if size(child.parameters())}


def follow(net, images):
    """{name: shape of its output, (N, C, H, W)} of the children, and {name: multiply-adds}, for images (N, H, W, C)."""
    shapes, multiply_adds = {}, {}

    def note_shape(name):
        def hook(child, inputs, output):
            shapes[name] = [output.shape[0], output.shape[-1], *output.shape[1:-1]]

        return hook

    def count(name):
        def hook(layer, inputs, output):
            positions = math.prod(output.shape[:-1])
            multiply_adds[name] = multiply_adds.get(name, 0) + layer.weight.size * positions

        return hook

    hooks = []
    for name, child in net.named_children():
        hooks.append(child.register_forward_hook(note_shape(name)))
        for layer in child.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                hooks.append(layer.register_forward_hook(count(name)))
    with minidl.no_grad():
        net(Tensor(np.zeros(images, np.float32)))
    for hook in hooks:
        hook.remove()
    return shapes, multiply_adds
