"""Networks are built from modules: objects that hold parameters and compute with them."""

from minidl.nn import init
from minidl.nn.activations import ReLU, Sigmoid, Tanh
from minidl.nn.containers import ModuleList, Sequential
from minidl.nn.dropout import Dropout
from minidl.nn.layers import Conv2d, Linear
from minidl.nn.module import Module, Parameter
from minidl.nn.normalization import BatchNorm2d
from minidl.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from minidl.nn.reshaping import Flatten, Identity

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "init",
]
