"""Checkpoints: a training state in one file, without pickle, so that loading one never runs code.

    save("run.npz", {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3})
    state = load("run.npz")

A state is a tree of dicts and lists. Its arrays are stored as arrays, each named by its path, "model/stem.weight", so
that any reader of the format finds them; all the rest is one JSON text, the header. Two formats, told by the extension:

    .npz          NumPy's archive of arrays; the header is its member `minidl.json`
    .safetensors  the exchange format of model weights (needs the safetensors library); the header is in its metadata

The file is written under a temporary name, forced to the disk, and only then renamed. A run that is killed at any
moment leaves the old file or the new one under the name, never a part of one (and perhaps a hidden `.tmp` beside it).
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote

import numpy as np

FORMAT, VERSION = "minidl checkpoint", 1
HEADER_MEMBER = "minidl.json"  # in an .npz
HEADER_KEY, HEADER_CHECKSUM_KEY = "minidl", "minidl.crc32"  # in the metadata of a .safetensors

Arrays = dict[str, np.ndarray]
Place = tuple[str | int, ...]  # the keys and list indices that lead to a value of the state


class CheckpointError(Exception):
    """A state that a checkpoint cannot hold, or a file that is not a readable checkpoint."""


def save(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write `state` to `path`, an .npz or .safetensors file, in place of a file that is there.

    `state` is a dict with string keys of dicts, lists, NumPy arrays of numbers or booleans, finite numbers, strings,
    booleans and None. `load` gives back the same: arrays with dtype, shape and every bit (in the machine's byte order),
    Python integers of any size, floats exactly. NumPy scalars come back as the Python numbers that they equal.

    Raises: CheckpointError, which names the place in `state` or what went wrong with the file; then nothing has changed
    under `path`.
    """
    path = Path(path)
    file_format = _format_of(path)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"save: the state must be a dict with string keys, got a {type(state).__name__}")
    arrays: Arrays = {}
    try:
        skeleton = _take_arrays(state, (), arrays)
        checksums = {name: _checksum(array) for name, array in arrays.items()}
        header = {"format": FORMAT, "version": VERSION, "arrays": checksums, "state": skeleton}
        text = json.dumps(header, allow_nan=False)
    except RecursionError as error:
        raise CheckpointError("save: the state is nested too deeply, or contains itself") from error
    except ValueError as error:  # an integer of more digits than Python writes
        raise CheckpointError(f"save: the state cannot be written as JSON: {error}") from error
    replace(path, lambda file: file_format.write(file, text, arrays))


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The state that `save` wrote to `path`, with arrays of its own that may be written to.

    Raises: FileNotFoundError when there is no such file; CheckpointError when it is not a checkpoint of minidl, comes
    from a newer version, or has been damaged. Each array is compared with the checksum that was stored with it.
    """
    path = Path(path)
    file_format = _format_of(path)
    with reading(path):
        header, arrays = file_format.read(path)
        for name, array in arrays.items():
            if _checksum(array) != header["arrays"][name]:
                raise ValueError(f"array {name!r} differs from its checksum")
        state: dict[str, Any] = _put_arrays(header["state"], (), arrays)
        return state


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around whatever reads `path`: what goes wrong is told as one of the two errors of `load`."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        yield
    except (CheckpointError, PermissionError, MemoryError):
        raise
    except Exception as error:  # a parser that is fed damaged bytes can raise almost anything
        raise CheckpointError(
            f"{path} cannot be read as {path.suffix}: it is damaged, cut short, or another kind of file; load an older "
            f"checkpoint or copy it again ({type(error).__name__}: {error})"
        ) from error


# ---------------------------------------------------------------------------------------- a state, and its arrays apart


def _take_arrays(value: Any, place: Place, arrays: Arrays) -> Any:
    """`value` with None for each array, which goes into `arrays` under its name: something JSON can hold."""
    if type(value) is np.ndarray:  # a subclass, such as a masked array, is more than its numbers
        arrays[_name(place)] = _plain(value, place)
        return None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                hint = f"write str({key!r})" if isinstance(key, int) else "keys must be strings"
                raise CheckpointError(f"save: {_where(place)} has the key {key!r}, a {type(key).__name__}; {hint}")
        return {key: _take_arrays(item, (*place, key), arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_take_arrays(item, (*place, i), arrays) for i, item in enumerate(value)]
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise CheckpointError(
            f"save: {_where(place)} is {value}, which JSON cannot hold; store None or np.array({value})"
        )
    if value is None or isinstance(value, bool | int | float | str):
        return value
    hint = "write list(...)" if isinstance(value, tuple | set) else "a tensor is stored as tensor.numpy()"
    kind = type(value)
    name = f"{kind.__module__}.{kind.__name__}" if kind.__name__ == "ndarray" else kind.__name__  # CuPy's, say
    raise CheckpointError(
        f"save: {_where(place)} is a {name}; a checkpoint holds dicts, lists, NumPy arrays, numbers, "
        f"strings, booleans and None; {hint}"
    )


def _put_arrays(node: Any, place: Place, arrays: Arrays) -> Any:
    """The inverse of `_take_arrays`."""
    if node is None:
        return arrays.get(_name(place))
    if isinstance(node, dict):
        return {key: _put_arrays(item, (*place, key), arrays) for key, item in node.items()}
    if isinstance(node, list):
        return [_put_arrays(item, (*place, i), arrays) for i, item in enumerate(node)]
    return node


def _name(place: Place) -> str:
    """The name of the array at `place`: ("model", "stem.weight") is "model/stem.weight".

    Letters, digits and `_.-~` in a key stand for themselves and the rest is percent-encoded, so that no two places
    share a name and no name holds a character that a zip archive would change.
    """
    return "/".join(quote(str(key), safe="", errors="surrogatepass") for key in place)


def _where(place: Place) -> str:
    return "state" + "".join(f"[{key!r}]" for key in place)


def _plain(array: np.ndarray, place: Place) -> np.ndarray:
    """`array` in C order and little-endian: the one form in which both formats store it."""
    if array.dtype.kind not in "biufc":
        raise CheckpointError(f"save: {_where(place)} has dtype {array.dtype}; an array must hold numbers or booleans")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _checksum(array: np.ndarray) -> int:
    """CRC-32 of the dtype, the shape and the bytes: safetensors has no checksum of its own."""
    return zlib.crc32(array.reshape(-1).view(np.uint8).data, zlib.crc32(f"{array.dtype.str} {array.shape}".encode()))


# ------------------------------------------------------------------------------------------------------ the two formats


class _FileFormat(NamedTuple):
    write: Callable[[BinaryIO, str, Arrays], None]  # (file, header, arrays)
    read: Callable[[Path], tuple[dict[str, Any], Arrays]]  # header, arrays


def _format_of(path: Path) -> _FileFormat:
    if path.suffix not in FORMATS:
        raise CheckpointError(f"{path}: a checkpoint's name must end in .npz or .safetensors, not {path.suffix!r}")
    return FORMATS[path.suffix]


def _write_npz(file: BinaryIO, header: str, arrays: Arrays) -> None:
    # Not numpy.savez: its names are keyword arguments (none can be "file"), and it cannot tell "a" from "a.npy".
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(HEADER_MEMBER), header)  # a ZipInfo: the name alone would bring in the time
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_npz(path: Path) -> tuple[dict[str, Any], Arrays]:
    with zipfile.ZipFile(path) as archive:
        if HEADER_MEMBER not in archive.namelist():
            raise CheckpointError(f"{path} was not saved by minidl; its arrays can be read with numpy.load")
        header = _parse_header(archive.read(HEADER_MEMBER), path)
        arrays = {}
        for name in header["arrays"]:
            member = io.BytesIO(archive.read(f"{name}.npy"))  # whole, so that zip's checksum comes before the parsing
            arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    return header, arrays


def import_safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise CheckpointError(
            f"a .safetensors file needs the safetensors library ({error}): pip install safetensors, or use .npz"
        ) from error
    return safetensors


def _write_safetensors(file: BinaryIO, header: str, arrays: Arrays) -> None:
    library = import_safetensors()
    if "__metadata__" in arrays:
        raise CheckpointError('save: state["__metadata__"] is an array; safetensors keeps this name for itself')
    metadata = {HEADER_KEY: header, HEADER_CHECKSUM_KEY: str(zlib.crc32(header.encode()))}
    try:
        content = library.numpy.save(arrays, metadata)
    except library.SafetensorError as error:
        raise CheckpointError(f"save: safetensors cannot hold this state, .npz can: {error}") from error
    file.write(content)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], Arrays]:
    with import_safetensors().safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if HEADER_KEY not in metadata:
            raise CheckpointError(
                f"{path} was not saved by minidl; its arrays can be read with safetensors.numpy.load_file"
            )
        text = metadata[HEADER_KEY].encode()
        if metadata[HEADER_CHECKSUM_KEY] != str(zlib.crc32(text)):
            raise ValueError("the header differs from its checksum")
        header = _parse_header(text, path)
        return header, {name: file.get_tensor(name) for name in header["arrays"]}


def _parse_header(text: bytes, path: Path) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(text)
    if header["format"] != FORMAT:
        raise ValueError(f"the header names the format {header['format']!r}")
    if header["version"] > VERSION:
        raise CheckpointError(
            f"{path} is a checkpoint of version {header['version']}; this minidl reads up to {VERSION}: update minidl"
        )
    return header


FORMATS = {
    ".npz": _FileFormat(_write_npz, _read_npz),
    ".safetensors": _FileFormat(_write_safetensors, _read_safetensors),
}


# --------------------------------------------------------------------------------------------------- the old or the new


def replace(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Put what `write` writes in the place of `path`, at once: no reader and no crash ever meets a part of it.

    Raises: CheckpointError when the system refuses.
    """
    if not path.parent.is_dir():
        raise CheckpointError(f"{path} cannot be saved: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise CheckpointError(f"{path} cannot be saved: a folder has this name; choose another")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # the same folder: a rename across is a copy
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # the content is on the disk before the name is
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CheckpointError(f"{path} could not be saved: {error}") from error
        raise
    with contextlib.suppress(OSError):  # not every system can: the new file then gets its name a moment later
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # now the name is on the disk, too
        finally:
            os.close(folder)
