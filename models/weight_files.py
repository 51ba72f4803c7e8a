"""Files: arrays by name, in minidl's checkpoints and in the formats that other libraries publish weights in."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl import checkpoint
from minidl.checkpoint import CheckpointError


def check_suffix(path: Path) -> None:
    """Raises: CheckpointError for a name that does not end as those of files of weights do."""
    if path.suffix not in READERS:
        raise CheckpointError(f"{path}: the name of a file of weights must end in {', '.join(READERS)}")


def read(path: Path) -> tuple[Mapping[str, Any], str]:
    """What is in a file of weights, and the layout of its arrays: "minidl" or "torch".

    Raises: CheckpointError for a file that cannot be read, or holds something else; FileNotFoundError.
    """
    check_suffix(path)
    with checkpoint.reading(path):
        state, layout = READERS[path.suffix](path)
        if not isinstance(state, Mapping):
            raise CheckpointError(f"{path} holds a {type(state).__name__}; expected a dict of arrays by name")
        return state, layout


def write(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write arrays in PyTorch's layout to `path`, as its users do, in place of a file that is there.

    Raises: CheckpointError when the file cannot be written; then the old one stays.
    """
    checkpoint.replace(path, lambda file: WRITERS[path.suffix](file, state))


# ------------------------------------------------------------------------------------------------- format by format


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
WRITERS = {".npz": _write_npz, ".safetensors": _write_safetensors, ".pth": _write_torch, ".pt": _write_torch}
