"""Weights in files: minidl's own, and the checkpoints that torchvision, timm and the RepVGG repository publish.

    net = models.create("resnet50", num_classes=1000, in_channels=3)
    load_weights(net, "resnet50-11ad3fa6.pth")            # torchvision's file, as it was downloaded
    save_weights(net, "resnet50.npz")                     # minidl's layout
    save_weights(net, "resnet50.safetensors", "torch")    # for torchvision: model.load_state_dict(load_file(...))

What is read:

    .npz           arrays by name; or a checkpoint of `minidl.checkpoint`, of which its part "model", if it has one
    .safetensors   the same two; bfloat16 is widened to float32, which holds all its numbers
    .pth .pt       PyTorch's pickles, by torch.load(weights_only=True): arrays are read, code is refused
    a mapping      of names to arrays or tensors, of minidl or of PyTorch

Around the weights there may be what training scripts put there: a dict with them under "state_dict", "model_state_dict"
or "model", and "module." before every name (DataParallel).

A weight lies in memory in one of two layouts. "minidl": a filter is (KH, KW, C/G, F), a matrix (I, O), and a flattened
image has its channels last. "torch": (F, C/G, KH, KW), (O, I), channels first. A checkpoint of minidl is in minidl's
layout and says so in its header; all else is taken for PyTorch's unless `layout` says otherwise. Shapes are not asked:
a filter 3×3×3×3 would fit both.

The files themselves are the matter of `weight_files.py`, names that are not ours that of `dialects.py`. (The weights
that torchvision publishes for GoogLeNet and Inception-v3 are for networks with transform_input=True.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl import Tensor, checkpoint, nn
from minidl.backend import is_array, to_host
from minidl.checkpoint import CheckpointError
from minidl.nn.init import is_placeholder
from models import dialects, weight_files
from models.units import require_network

LAYOUTS = ("minidl", "torch")


def load_weights(
    model: nn.Module,
    weights: str | os.PathLike[str] | Mapping[str, Any],
    strict: bool = True,
    layout: str | None = None,
) -> None:
    """Give `model` the weights of a file or mapping: parameters and buffers, in the model's dtypes, on its device.

    strict   every name of the model must be there, and no other. Otherwise only what both have is loaded.
    layout   "minidl" or "torch": how the weights lie in memory; None finds out, see above

    Floating numbers of any width become those of the model, NaN and infinities included. A batch norm's
    num_batches_tracked may be missing, as in files from before PyTorch 0.4.1: the model then keeps its own. A model
    made inside `nn.init.placeholders()` is given memory here, and needs all its weights even if not strict.

    Raises: ValueError listing what is missing, unexpected, or of the wrong shape or kind; CheckpointError for a file
    that cannot be read; FileNotFoundError. Then nothing in the model has changed.
    """
    require_network("load_weights", model)
    if layout not in (None, *LAYOUTS):
        raise ValueError(f'load_weights: expected layout "minidl", "torch" or None, got {layout!r}')
    if isinstance(weights, Mapping):
        source, state, found = "the mapping", weights, "torch"
    elif not isinstance(weights, str | os.PathLike):
        raise TypeError(f"load_weights: expected a path or a dict of arrays by name, got a {type(weights).__name__}")
    else:
        path = Path(weights)
        source, (state, found) = str(path), weight_files.read(path)
    own, filters = dict(model._state()), _filters(model)
    theirs, unexpected = dialects.in_our_names(dialects.unwrapped(state), own)
    loaded, missing, unfit = {}, [], []
    for name, tensor in own.items():
        if name in theirs:
            filter_shape = filters.get(name) if (layout or found) == "torch" else None
            try:
                loaded[name] = _converted(*theirs[name], tensor, filter_shape)
            except ValueError as error:
                unfit.append(str(error))
        elif (strict or is_placeholder(tensor.data)) and not name.endswith("num_batches_tracked"):
            missing.append(name)
    if problems := _problems(missing, unexpected if strict else [], unfit):
        raise ValueError(f"load_weights: {source} does not fit {type(model).__name__}:\n  " + "\n  ".join(problems))
    model.load_state_dict(loaded, strict=False)


def save_weights(model: nn.Module, path: str | os.PathLike[str], layout: str = "minidl") -> None:
    """Write the parameters and buffers of `model` to `path`, in place of a file that is there.

    layout   "minidl": a checkpoint (.npz, .safetensors) that `load_weights` and `minidl.checkpoint.load` read, with a
             checksum for each array. "torch": arrays by name as PyTorch has them (.npz, .safetensors, .pth, .pt), for
             load_state_dict of the library whose names the model has.

    Raises: ValueError for another layout and for placeholders; CheckpointError when the file cannot be written. Then
    the old one stays.
    """
    require_network("save_weights", model)
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"save_weights: expected a path, got a {type(path).__name__}")
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f'save_weights: expected layout "minidl" or "torch", got {layout!r}')
    for name, parameter in model.named_parameters():
        if is_placeholder(parameter.data):
            raise ValueError(f"save_weights: {name} is a placeholder; load or draw the weights before saving them")
    weight_files.check_suffix(path)
    if layout == "minidl":
        if path.suffix not in checkpoint.FORMATS:
            raise CheckpointError(f'{path}: {path.suffix} is PyTorch\'s format; write layout="torch", or use .npz')
        checkpoint.save(path, {"model": model.state_dict()})
        return
    filters = _filters(model)
    state = {name: _to_torch(array, filters.get(name)) for name, array in model.state_dict().items()}
    weight_files.write(path, state)


# --------------------------------------------------------------------------------------------------------- the layouts

FilterShape = tuple[int, int, int, int]


def _filters(model: nn.Module) -> dict[str, FilterShape]:
    """{name: (KH, KW, C/G, F)} of the weights that PyTorch lays out differently: those of convolutions, and of linear
    layers, which are convolutions with a filter as large as the image that they read flattened (1×1 if none).

    Which image that is, a module says that flattens it: flattens = {"classifier.0": (H, W, C)}.
    """
    images: dict[str, tuple[int, int, int]] = {
        _join(prefix, name): image
        for prefix, module in model.named_modules()
        for name, image in getattr(module, "flattens", {}).items()
    }
    filters: dict[str, FilterShape] = {}
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            KH, KW, C, F = module.weight.shape
            filters[_join(prefix, "weight")] = (KH, KW, C, F)
        elif isinstance(module, nn.Linear):
            inputs, outputs = module.weight.shape
            H, W, C = images.get(prefix, (1, 1, inputs))
            if inputs != H * W * C:
                raise ValueError(f"{prefix} reads {inputs} numbers, which are no image {H, W, C}: correct `flattens`")
            filters[_join(prefix, "weight")] = (H, W, C, outputs)
    return filters


def _to_torch(array: np.ndarray, filter_shape: FilterShape | None) -> np.ndarray:
    """A weight of ours in PyTorch's layout; None: it has the same in both."""
    if filter_shape is None:
        return array
    weight = array.reshape(filter_shape).transpose(3, 2, 0, 1)  # (F, C/G, KH, KW)
    return np.array(weight if array.ndim == 4 else weight.reshape(len(weight), -1), order="C")  # (O, C·H·W)


def _from_torch(array: np.ndarray, shape: tuple[int, ...], filter_shape: FilterShape) -> np.ndarray:
    """A weight of PyTorch's in our layout, in which it has `shape`."""
    KH, KW, C, F = filter_shape
    return array.reshape(F, C, KH, KW).transpose(2, 3, 1, 0).reshape(shape)  # (KH, KW, C/G, F) or (H·W·C, O)


def _torch_shapes(tensor: Tensor, filter_shape: FilterShape) -> list[tuple[int, ...]]:
    """What shapes a weight may have in a file of PyTorch's: a linear layer's may be that of a convolution."""
    KH, KW, C, F = filter_shape
    return [(F, C, KH, KW)] if tensor.ndim == 4 else [(F, C * KH * KW), (F, C, KH, KW)]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


# ----------------------------------------------------------------------------------------------- what is there, checked


def _problems(missing: list[str], unexpected: list[str], unfit: list[str]) -> list[str]:
    """What keeps weights from being loaded, a line each, and by which option of the network it may come about."""
    lines = [*(f"missing: {name}" for name in missing), *(f"unexpected: {name}" for name in unexpected), *unfit]
    hints = dialects.made_with(unexpected, missing)
    return lines + [f"these are weights of a network made with {option}" for option in hints]


def _converted(name: str, value: Any, tensor: Tensor, filter_shape: FilterShape | None) -> np.ndarray:
    """`value` as an array with the shape and dtype of `tensor`.

    filter_shape   of a weight in PyTorch's layout; None: as it is

    Raises: ValueError, in which `name` is said to have another shape or other numbers.
    """
    array = _array(value)
    kind = "floating" if np.issubdtype(tensor.dtype, np.floating) else "integer"
    if not np.issubdtype(array.dtype, getattr(np, kind)):
        got = array.dtype if array.dtype != object or is_array(value) else type(value).__name__
        raise ValueError(f"dtype of {name}: expected {kind} numbers, got {got}")
    shapes = [tensor.shape] if filter_shape is None else _torch_shapes(tensor, filter_shape)
    if array.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        hint = ', which is minidl\'s layout: write layout="minidl"' if array.shape == tensor.shape else ""
        raise ValueError(f"shape of {name}: expected {expected}, got {array.shape}{hint}")
    try:
        with np.errstate(over="raise"):
            array = array.astype(tensor.dtype, copy=False)
    except FloatingPointError:
        raise ValueError(f"dtype of {name}: its {array.dtype} numbers are too large for {tensor.dtype}") from None
    return array if filter_shape is None else _from_torch(array, tensor.shape, filter_shape)


def _array(value: Any) -> np.ndarray:
    """`value` as an array on the host; one of dtype object if it is not numbers."""
    torch = sys.modules.get("torch")  # who has not imported it has no tensors of it
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.is_floating_point() and value.dtype not in (torch.float16, torch.float32, torch.float64):
            value = value.float()  # bfloat16 and float8, which NumPy has not
        return value.numpy()
    if isinstance(value, Tensor):
        return to_host(value.data)
    if is_array(value):
        return to_host(value)
    return np.asarray(value) if isinstance(value, np.generic | int | float) else np.array(value, object)
