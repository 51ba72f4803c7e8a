"""The residual blocks of 2015 rebuilt from torch.nn: twins (see `torch_twin`) of `models.resnet` and its neighbours."""

from torch_twin import sequence, torch_nn, twin

from models.cifar_resnet import PlainBlock
from models.resnet import BasicBlock, Bottleneck


def torch_padded(in_channels, out_channels, stride):
    """Option A. PyTorch pads from the last axis on: columns, rows, channels."""
    pad = torch_nn().functional.pad
    return twin(lambda m, x: pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, out_channels - in_channels)))


def torch_shortcut(in_channels, out_channels, stride, option):
    tnn = torch_nn()
    if option != "C" and (in_channels, stride) == (out_channels, 1):
        return None
    if option == "A":
        return torch_padded(in_channels, out_channels, stride)
    return sequence(tnn.Conv2d(in_channels, out_channels, 1, stride, bias=False), tnn.BatchNorm2d(out_channels))


def torch_basic(in_channels, channels, stride=1, *, shortcut="B", variant="v1.5"):
    tnn = torch_nn()

    def forward(m, x):
        y = m.conv1(x)
        y = m.bn1(y).relu()
        y = m.bn2(m.conv2(y))
        y = y + (m.downsample(x) if m.downsample else x)
        return y.relu()

    return twin(
        forward,
        conv1=tnn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
        bn1=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, padding=1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
        downsample=torch_shortcut(in_channels, channels, stride, shortcut),
    )


def torch_bottleneck(in_channels, channels, stride=1, *, shortcut="B", variant="v1.5"):
    tnn = torch_nn()
    strides = {"v1.5": (1, stride), "paper": (stride, 1)}[variant]

    def forward(m, x):
        y = m.bn1(m.conv1(x)).relu()
        y = m.bn2(m.conv2(y)).relu()
        y = m.bn3(m.conv3(y))
        return (y + (m.downsample(x) if m.downsample else x)).relu()

    return twin(
        forward,
        conv1=tnn.Conv2d(in_channels, channels, 1, strides[0], bias=False),
        bn1=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, strides[1], padding=1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
        conv3=tnn.Conv2d(channels, 4 * channels, 1, bias=False),
        bn3=tnn.BatchNorm2d(4 * channels),
        downsample=torch_shortcut(in_channels, 4 * channels, stride, shortcut),
    )


def torch_plain(in_channels, channels, stride=1):
    tnn = torch_nn()
    return twin(
        lambda m, x: m.bn2(m.conv2(m.bn1(m.conv1(x)).relu())).relu(),
        conv1=tnn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
        bn1=tnn.BatchNorm2d(channels),
        conv2=tnn.Conv2d(channels, channels, 3, padding=1, bias=False),
        bn2=tnn.BatchNorm2d(channels),
    )


TWINS = {BasicBlock: torch_basic, Bottleneck: torch_bottleneck, PlainBlock: torch_plain}


def torch_stages(block, blocks, widths, strides, **options):
    """The stages as a list, and how many channels come out of the last."""
    stages, channels = [], widths[0]
    for count, width, stride in zip(blocks, widths, strides, strict=True):
        stage = []
        for j in range(count):
            stage.append(TWINS[block](channels, width, 1 if j else stride, **options))
            channels = block.expansion * width
        stages.append(sequence(*stage))
    return stages, channels
