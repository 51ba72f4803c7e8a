"""Data: datasets, the loader that cuts them into batches, transforms, and 1,797 handwritten digits to start with."""

from minidl.data.dataset import ArrayDataset, Dataset, Subset
from minidl.data.digits import digits, load_digits
from minidl.data.loader import DataLoader
from minidl.data.transforms import Compose, Normalize, Pad, RandomHorizontalFlip, RandomShift, Resize, ToFloat

__all__ = [
    "ArrayDataset",
    "Compose",
    "DataLoader",
    "Dataset",
    "Normalize",
    "Pad",
    "RandomHorizontalFlip",
    "RandomShift",
    "Resize",
    "Subset",
    "ToFloat",
    "digits",
    "load_digits",
]
