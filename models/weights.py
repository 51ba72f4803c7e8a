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

Our networks have the names of the checkpoints that people have: torchvision's, the RepVGG repository's, timm's where
only timm has the network. `DIALECTS` translates other names for the same networks. (The weights that torchvision
publishes for GoogLeNet and Inception-v3 are for networks with transform_input=True.)
"""

from __future__ import annotations

import os
import re
import sys
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl import Tensor, checkpoint, nn
from minidl.backend import is_array, to_host
from minidl.checkpoint import CheckpointError
from minidl.nn.init import is_placeholder
from models.inception_v2 import CADENE_NAMES

LAYOUTS = ("minidl", "torch")
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights
LISTED = 20  # problems of each kind that an error shows

# Who names a network differently, and how those names become ours: regular expressions and what replaces them, in turn.
DIALECTS: dict[str, list[tuple[str, str]]] = {
    "timm's VGG": [
        (r"^pre_logits\.fc1\.", "classifier.0."),  # a 7×7 convolution there
        (r"^pre_logits\.fc2\.", "classifier.3."),
        (r"^head\.fc\.", "classifier.6."),
    ],
    "timm's RepVGG": [
        (r"^stem\.", "stage0."),
        (r"^stages\.0\.", "stage1."),
        (r"^stages\.1\.", "stage2."),
        (r"^stages\.2\.", "stage3."),
        (r"^stages\.3\.", "stage4."),
        (r"\.conv_kxk\.", ".rbr_dense."),
        (r"\.conv_1x1\.", ".rbr_1x1."),
        (r"\.identity\.", ".rbr_identity."),
        (r"\.reparam_conv\.", ".rbr_reparam."),
        (r"^head\.fc\.", "linear."),
    ],
    "Cadene's Inception-ResNet-v2": [(r"^last_linear\.", "classif.")],
    "Cadene's BN-Inception": CADENE_NAMES,
}

# Options that a network was made with, told by the names that it then has more, and fewer.
_AUXILIARY = r"(aux1|aux2|AuxLogits)\."
_BRANCHES = r".*(rbr_dense|rbr_1x1|rbr_identity|conv_kxk|conv_1x1|identity)\."
_MERGED = r".*(rbr_reparam|reparam_conv)\."
OPTIONS = {
    "aux_logits=True": (_AUXILIARY, ""),
    "aux_logits=False": ("", _AUXILIARY),
    "deploy=True": (_MERGED, _BRANCHES),
    "deploy=False": (_BRANCHES, _MERGED),
}


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
    if layout not in (None, *LAYOUTS):
        raise ValueError(f'load_weights: expected layout "minidl", "torch" or None, got {layout!r}')
    if isinstance(weights, Mapping):
        source, state, found = "the mapping", weights, "torch"
    else:
        path = Path(weights)
        source, (state, found) = str(path), _read(path)
    own, filters = dict(model._state()), _filters(model)
    theirs, unexpected = _names(_unwrapped(state), own)
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

    Raises: ValueError for another layout; CheckpointError when the file cannot be written, and then the old one stays.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f'save_weights: expected layout "minidl" or "torch", got {layout!r}')
    _check_suffix(path, TORCH_WRITERS)
    if layout == "minidl":
        if path.suffix not in checkpoint.FORMATS:
            raise CheckpointError(f'{path}: {path.suffix} is PyTorch\'s format; write layout="torch", or use .npz')
        checkpoint.save(path, {"model": model.state_dict()})
        return
    filters = _filters(model)
    state = {name: _to_torch(array, filters.get(name)) for name, array in model.state_dict().items()}
    checkpoint.replace(path, lambda file: TORCH_WRITERS[path.suffix](file, state))


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
    lines = []
    for label, items in (("missing: ", missing), ("unexpected: ", unexpected), ("", unfit)):
        lines += [label + item for item in items[:LISTED]]
        if len(items) > LISTED:
            lines.append(f"{label}and {len(items) - LISTED} more")
    for option, patterns in OPTIONS.items():
        if all(
            bool(names) == bool(pattern) and all(re.match(pattern, name) for name in names)
            for pattern, names in zip(patterns, (unexpected, missing), strict=True)
        ):
            lines.append(f"these are weights of a network made with {option}")
    return lines


def _converted(name: str, value: Any, tensor: Tensor, filter_shape: FilterShape | None) -> np.ndarray:
    """`value` as an array with the shape and dtype of `tensor`.

    filter_shape   of a weight in PyTorch's layout; None: as it is

    Raises: ValueError, in which `name` is said to have another shape or other numbers.
    """
    array = _array(value)
    kind = "floating" if np.issubdtype(tensor.dtype, np.floating) else "integer"
    if not np.issubdtype(array.dtype, getattr(np, kind)):
        got = type(value).__name__ if array.dtype == object else array.dtype
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


# ------------------------------------------------------------------------------------------------------------ the names


def _unwrapped(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The weights in what a training script saved, by the names that they have without DataParallel."""
    state = next((state[key] for key in WRAPPERS if isinstance(state.get(key), Mapping)), state)
    wrapped = all(str(name).startswith("module.") for name in state)
    return {str(name).removeprefix("module." if wrapped else ""): value for name, value in state.items()}


def _names(state: Mapping[str, Any], own: Mapping[str, Tensor]) -> tuple[dict[str, tuple[str, Any]], list[str]]:
    """{our name: (name in the file, value)}, and the names in the file that the model does not have.

    They are read in the dialect in which most of them are the model's.
    """
    dialects = [{name: _translated(name, rules) for name in state} for rules in ([], *DIALECTS.values())]
    ours = max(dialects, key=lambda names: len(own.keys() & names.values()))
    theirs: dict[str, tuple[str, Any]] = {}
    unexpected = []
    for name, value in state.items():
        if ours[name] in own and ours[name] not in theirs:
            theirs[ours[name]] = (name, value)
        else:
            unexpected.append(name)
    return theirs, unexpected


def _translated(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


# ------------------------------------------------------------------------------------------------------------ the files


def _read(path: Path) -> tuple[Mapping[str, Any], str]:
    """What is in a file of weights, and its layout."""
    _check_suffix(path, READERS)
    with checkpoint.reading(path):
        state, layout = READERS[path.suffix](path)
        if not isinstance(state, Mapping):
            raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a dict of arrays by name")
        return state, layout


def _check_suffix(path: Path, formats: Iterable[str]) -> None:
    if path.suffix not in formats:
        raise CheckpointError(f"{path}: the name of a file of weights must end in {', '.join(formats)}")


def _read_npz(path: Path) -> tuple[Any, str]:
    with zipfile.ZipFile(path) as archive:  # not numpy.load yet, which takes a pickle for an archive
        if checkpoint.HEADER_MEMBER in archive.namelist():
            return checkpoint.load(path), "minidl"
    with np.load(path, allow_pickle=False) as file:
        return dict(file), "torch"


def _read_safetensors(path: Path) -> tuple[Any, str]:
    library = checkpoint.import_safetensors()
    with library.safe_open(path, framework="numpy") as file:
        if checkpoint.HEADER_KEY in (file.metadata() or {}):
            return checkpoint.load(path), "minidl"
    entries = library.deserialize(path.read_bytes())
    return {name: _safetensor(name, **entry) for name, entry in entries}, "torch"


def _safetensor(name: str, dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    """An array of a .safetensors file. NumPy has no bfloat16: it is the upper half of a float32."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    if dtype not in SAFETENSORS_DTYPES:
        raise CheckpointError(f"{name} has the dtype {dtype}; expected one of {', '.join(SAFETENSORS_DTYPES)}, BF16")
    return np.frombuffer(data, SAFETENSORS_DTYPES[dtype]).reshape(shape)


def _read_torch(path: Path) -> tuple[Any, str]:
    import pickle

    torch = _import_torch()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # whether it can be read is seen at once
            return torch.load(path, map_location="cpu", weights_only=True), "torch"
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if not found:
            raise ValueError("PyTorch does not know it as a pickle of its own") from error
        raise CheckpointError(
            f"{path} is refused: unpickling it would call {found[1]}, and could run any code; expected arrays alone. "
            "Ask for a file of the state_dict(), best a .safetensors"
        ) from error


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            f"a .pth or .pt file needs PyTorch ({error}): pip install torch, or use .safetensors or .npz"
        ) from error
    return torch


def _write_npz(file: Any, state: Mapping[str, Any]) -> None:
    np.savez(file, **state)


def _write_safetensors(file: Any, state: Mapping[str, np.ndarray]) -> None:
    file.write(checkpoint.import_safetensors().numpy.save(state, {"format": "pt"}))


def _write_torch(file: Any, state: Mapping[str, np.ndarray]) -> None:
    torch = _import_torch()
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, file)


SAFETENSORS_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
SAFETENSORS_DTYPES |= {"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
READERS = {".npz": _read_npz, ".safetensors": _read_safetensors, ".pth": _read_torch, ".pt": _read_torch}
TORCH_WRITERS = {".npz": _write_npz, ".safetensors": _write_safetensors, ".pth": _write_torch, ".pt": _write_torch}
