"""Single operations: the convolutions of VGG, the one that other NumPy engines run too, pooling, batch norm."""

from __future__ import annotations

from benchmarks.case import BACKWARD, FORWARD, Case

MODES = {"forward": FORWARD, "forward+backward": BACKWARD}
VGG = ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14))  # channels in and out, and image, of VGG's stages


def convolution(channels: int, side: int, mode: str, batch: int = 8) -> Case:
    """A 3×3 convolution that keeps the size of the image."""
    small = (channels, side) == (64, 56)  # the one that is in the tables of every engine
    options = {"filters": channels, "kernel": (3, 3), "padding": (1, 1)}
    shape = (batch, side, side, channels)
    return Case(f"conv/{channels}@{side}/{mode}", "conv2d", MODES[mode], shape, options, everyone=small)


def tiny_convolution(mode: str) -> Case:
    """What plain loops can do in a second."""
    options = {"filters": 8, "kernel": (3, 3), "padding": (1, 1), "tiny": True}
    return Case(f"conv/tiny/{mode}", "conv2d", MODES[mode], (2, 8, 8, 4), options, everyone=True)


def pooling(kernel: int, padding: int, mode: str, shape: tuple[int, int, int, int]) -> Case:
    """Max pooling of stride 2."""
    options = {"kernel": (kernel, kernel), "stride": 2, "padding": (padding, padding), "tiny": shape[1] <= 8}
    return Case(f"pool/{kernel}x{kernel}@{shape[1]}/{mode}", "max_pool2d", MODES[mode], shape, options)


def batch_norm(mode: str, shape: tuple[int, int, int, int]) -> Case:
    """As in training, by the statistics of the batch."""
    return Case(f"norm/batch@{shape[1]}/{mode}", "batch_norm", MODES[mode], shape)


def cases() -> list[Case]:
    return [
        *(convolution(64, 56, mode) for mode in MODES),
        *(tiny_convolution(mode) for mode in MODES),
        *(convolution(channels, side, mode) for channels, side in VGG for mode in MODES),
        *(pooling(3, 1, mode, (8, 112, 112, 64)) for mode in MODES),
        *(pooling(2, 0, mode, (8, 112, 112, 64)) for mode in MODES),
        *(batch_norm(mode, (8, 56, 56, 64)) for mode in MODES),
    ]
