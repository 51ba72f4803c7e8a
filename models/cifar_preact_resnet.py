"""The pre-activation ResNets of CIFAR (He et al., arXiv 1603.05027, §3 and appendix): to a thousand layers.

Three stages of n blocks work on 32×32, 16×16 and 8×8 pixels, as in `cifar_resnet.py`. A basic block has two layers with
weights, a bottleneck three: in all 6n + 2 or 9n + 2. The first BN and ReLU come right after the first convolution.

Names are timm's, as in `preact_resnet.py`.
"""

from __future__ import annotations

from typing import Any

from models.preact_resnet import PreActBlock, PreActBottleneck, PreActResNet


def _network(block: Any, n: int, num_classes: int, in_channels: int, **options: Any) -> PreActResNet:
    options |= {"small_images": True, "stem_norm": True}
    return PreActResNet(block, (n, n, n), (16, 32, 64), num_classes, in_channels, **options)


def preact_resnet110(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """110 layers for CIFAR's 32×32: 1,727,962 parameters, 252,887,680 multiply-adds."""
    return _network(PreActBlock, 18, num_classes, in_channels, shortcut="A")


def preact_resnet164(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """164 layers for CIFAR's 32×32: 1,703,258 parameters, 244,500,992 multiply-adds."""
    return _network(PreActBottleneck, 18, num_classes, in_channels, stride_on_1x1=True)


def preact_resnet1001(num_classes: int = 10, in_channels: int = 3) -> PreActResNet:
    """1001 layers for CIFAR's 32×32: 10,327,706 parameters, 1,487,849,984 multiply-adds."""
    return _network(PreActBottleneck, 111, num_classes, in_channels, stride_on_1x1=True)
