"""What the tests of Inception-v3, Inception-v4 and Inception-ResNet share: PyTorch's parts, layouts, counts."""

import numpy as np
import pytest
from architectures import ARCHITECTURES, counts, parameters_by_child
from judge import assert_close
from torch_twin import sequence, torch_nn, twin

import minidl
from minidl import Tensor, nn


def unit(in_channels, channels, kernel, **options):
    """Convolution, batch normalisation, ReLU: BasicConv2d of PyTorch's parts."""
    tnn = torch_nn()
    return twin(
        lambda m, x: m.bn(m.conv(x)).relu(),
        conv=tnn.Conv2d(in_channels, channels, kernel, bias=False, **options),
        bn=tnn.BatchNorm2d(channels, eps=0.001),
    )


def concatenate(*tensors):
    """In depth, which in PyTorch is axis 1."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return torch.cat(tensors, dim=1)


def in_parallel(m, x):
    """The outputs of all children, concatenated in their order."""
    return concatenate(*(branch(x) for branch in m.children()))


def pooled(in_channels, channels):
    """Averages over the image's pixels only, and a 1×1 unit: the pooling branch of Inception-v4 and its relatives."""
    tnn = torch_nn()
    return sequence(tnn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), unit(in_channels, channels, 1))


def layout(module):
    """[(name, shape)] of a module's state in its order, shapes in PyTorch's layout. Takes no memory for weights."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,), 0: ()}
    return [
        (f"{prefix}.{name}", [tensor.shape[axis] for axis in axes[len(tensor.shape)]])
        for prefix, layer in module.named_modules()
        if not list(layer.children())
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers())
    ]


def assert_counts(network, architecture):
    """Layers, buffers, and the parameters of the whole and of each part, are those of the reference."""
    reference, counted = ARCHITECTURES[architecture], counts(network)
    assert counted == {name: reference[name] for name in counted}
    assert parameters_by_child(network) == reference["params_by_child"]


def assert_computes_as_listed(network, x):
    """In inference: all parts run, in their order, and the last layer reads the means of the last feature maps.

    The scores are returned.
    """
    ran = {}
    for name, child in network.named_children():
        child.register_forward_hook(lambda module, inputs, output, name=name: ran.update({name: (*inputs, output)}))
    with minidl.no_grad():
        scores = network.eval()(x)
    assert list(ran) == [name for name, _ in network.named_children()]
    *_, (_, features), _, _, (read, _) = ran.values()  # ..., feature maps, pooling, dropout, linear layer
    assert features.shape[1:3] == (1, 2), "means of one pixel would prove nothing"
    assert_close(read, features.numpy().mean(axis=(1, 2)), 1e-5)
    return scores


def images(rng, *shape):
    return Tensor(rng.standard_normal(shape), dtype=np.float32)


def multiply_adds(filters, positions):
    """Of convolutions one after the other or side by side: weights × positions each is applied at."""
    return positions * sum(part.weight.size for part in filters if isinstance(part, nn.Conv2d))


def notes_when_too_small(module, size):
    """Where an inference on an image of size × size stops for want of pixels."""
    with pytest.raises(ValueError, match="does not fit into an image") as caught, minidl.no_grad():
        module(Tensor(np.zeros((2, size, size, 3), np.float32)))
    return caught.value.__notes__
