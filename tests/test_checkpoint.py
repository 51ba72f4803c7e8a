"""Checkpoints: what goes in comes out, what is damaged is told, and a kill leaves the old file or the new one."""

import contextlib
import json
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import fakecupy
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl import backend, checkpoint
from minidl.checkpoint import CheckpointError, load, save

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
DTYPES = ["bool", *(f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64))]
DTYPES += ["float16", "float32", "float64"]
both_formats = pytest.mark.parametrize("extension", [".npz", ".safetensors"])


def assert_same(actual, expected):
    """The same types, keys in the same order, and for arrays dtype, shape and every bit."""
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e)
    elif isinstance(expected, np.ndarray):
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        assert actual.tobytes() == expected.tobytes()
    else:
        assert repr(actual) == repr(expected)  # tells -0.0 from 0.0


def training_state():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 3, 4, 5)).astype(np.float32)
    return {
        "model": {"stem.weight": weight, "stem.bias": np.zeros(5, np.float32), "bn.count": np.array(7, np.int64)},
        "optimizer": {"kind": "adam", "lr": 0.1, "betas": [0.9, 0.999], "slots": [{"m": weight * 2, "v": None}, {}]},
        "random": {"state": 2**128 - 1, "inc": -(2**200) + 1, "has_uint32": 0},
        "history": [{"epoch": 0, "loss": 2.302585092994046, "best": True}],
        "name": "näme / \0 \ud800 \U0001f600",
        "epoch": 3,
    }


# ------------------------------------------------------------------------------------------------------ round trips


@both_formats
def test_a_training_state_comes_back_the_same(tmp_path, extension):
    path = tmp_path / f"run{extension}"
    save(path, training_state())
    assert_same(load(path), training_state())
    assert_same(load(str(path)), training_state())
    assert os.listdir(tmp_path) == [path.name]  # no temporary is left


@both_formats
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (3, 2)])
def test_every_dtype_and_shape_survives(tmp_path, extension, shape):
    rng = np.random.default_rng(0)
    state = {}
    for name in DTYPES + (["complex64", "complex128"] if extension == ".npz" else []):
        dtype = np.dtype(name)
        raw = rng.integers(0, 2 if name == "bool" else 256, size=(*shape, dtype.itemsize), dtype=np.uint8)
        state[name] = np.frombuffer(raw.tobytes(), dtype).reshape(shape)  # any bits: NaN payloads, infinities, -0.0
    save(tmp_path / f"a{extension}", state)
    assert_same(load(tmp_path / f"a{extension}"), state)


@both_formats
def test_arrays_come_back_as_writable_arrays_of_their_own(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    save(path, {"x": np.arange(6.0), "y": np.arange(6.0)})
    first = load(path)
    first["x"][...] = -1
    assert_same(load(path), {"x": np.arange(6.0), "y": np.arange(6.0)})
    assert_same(first["y"], np.arange(6.0))


@both_formats
def test_arrays_in_any_memory_layout_and_byte_order_keep_their_values(tmp_path, extension):
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    views = {"transposed": base.T, "strided": base[:, ::-2], "broadcast": np.broadcast_to(base[0, 0], (3, 4))}
    views |= {"fortran": np.asfortranarray(base), "big-endian": base.astype(">f4")}
    save(tmp_path / f"a{extension}", views)
    for name, array in load(tmp_path / f"a{extension}").items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, views[name])


@both_formats
def test_names_that_formats_trip_over(tmp_path, extension):
    names = [
        "file",
        "a/b",
        "a",
        "a.npy",
        "a.npy.npy",
        "..",
        "/",
        "",
        "minidl.json",
        "%2F",
        "a\\b",
        "\0",
        "a\0b",
        "é",
        "\ud800",
    ]
    state = {name: np.array(i) for i, name in enumerate(names)}
    state |= {"A": np.array(20), "nested": {"": {"": np.array(21)}, "/": np.array(22)}, "state": None, "arrays": 1}
    state |= {"list": [np.array(23), {"0": np.array(24)}, [[]], None], "a/": {"b": np.array(25)}}
    save(tmp_path / f"a{extension}", state)
    assert_same(load(tmp_path / f"a{extension}"), state)


def test_numpy_scalars_and_other_mappings_come_back_as_plain_python(tmp_path):
    values = {"a": np.float32(0.1), "b": np.int64(3), "c": np.bool_(True), "d": np.str_("x"), "e": np.float64(0.1)}
    save(tmp_path / "a.npz", OrderedDict(values))
    expected = {"a": float(np.float32(0.1)), "b": 3, "c": True, "d": "x", "e": 0.1}
    assert_same(load(tmp_path / "a.npz"), expected)


def test_the_random_generator_continues_where_it_was_saved(tmp_path):
    save(tmp_path / "a.npz", {"random": backend.generator_state()})
    expected = backend.generator().random(5)
    backend.manual_seed(1)
    backend.set_generator_state(load(tmp_path / "a.npz")["random"])
    np.testing.assert_array_equal(backend.generator().random(5), expected)


json_values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0)))
keys = st.text(max_size=4) | st.sampled_from(["a", "a/b", "b", "0", "weight.npy"])
states = st.dictionaries(
    keys,
    st.recursive(
        json_values | arrays,
        lambda children: st.lists(children, max_size=3) | st.dictionaries(keys, children, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@both_formats
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(state=states)
def test_any_state_comes_back_the_same(tmp_path, extension, state):
    save(tmp_path / f"a{extension}", state)
    assert_same(load(tmp_path / f"a{extension}"), state)


def test_other_tools_find_the_arrays_under_readable_names(tmp_path):
    state = training_state()
    names = {"model/stem.weight", "model/stem.bias", "model/bn.count", "optimizer/slots/0/m"}
    save(tmp_path / "run.npz", state)
    with np.load(tmp_path / "run.npz", allow_pickle=False) as archive:
        assert set(archive.files) == names | {"minidl.json"}
        assert_same(archive["model/stem.weight"], state["model"]["stem.weight"])
        assert json.loads(archive["minidl.json"])["state"]["epoch"] == 3
    save(tmp_path / "run.safetensors", state)
    tensors = safetensors.numpy.load_file(tmp_path / "run.safetensors")
    assert set(tensors) == names
    assert_same(tensors["model/stem.weight"], state["model"]["stem.weight"])


def test_the_same_state_makes_the_same_file_whatever_the_time(tmp_path, monkeypatch):
    for year in (2001, 2002):
        monkeypatch.setattr(time, "localtime", lambda *_, year=year: time.struct_time((year, 1, 1, 0, 0, 0, 0, 1, 0)))
        save(tmp_path / f"{year}.npz", training_state())
    assert (tmp_path / "2001.npz").read_bytes() == (tmp_path / "2002.npz").read_bytes()


# --------------------------------------------------------------------------------------------- states that are refused


def deep(levels):
    state = {}
    for _ in range(levels):
        state = {"a": state}
    return state


def endless():
    state = {}
    state["self"] = [state]
    return state


class Opaque:
    pass


REFUSED = [
    ([1, 2], "state must be a dict with string keys, got a list"),
    ({"a": {3: 1}}, r"state\['a'\] has the key 3, a int; write str\(3\)"),
    ({("x",): 1}, "state has the key .* a tuple"),
    ({"a": [0, float("nan")]}, r"state\['a'\]\[1\] is nan, which JSON cannot hold; store None or np.array\(nan\)"),
    ({"a": -float("inf")}, r"state\['a'\] is -inf"),
    ({"a": np.float32("nan")}, r"state\['a'\] is nan"),
    ({"betas": (0.9, 0.999)}, r"state\['betas'\] is a tuple; .*write list\(...\)"),
    ({"a": {1, 2}}, r"state\['a'\] is a set"),
    ({"a": Opaque()}, r"state\['a'\] is a Opaque; .*tensor.numpy\(\)"),
    ({"a": fakecupy.zeros(2)}, r"state\['a'\] is a fakecupy.ndarray; .*NumPy arrays"),
    ({"a": b"bytes"}, r"state\['a'\] is a bytes"),
    ({"a": 1j}, r"state\['a'\] is a complex"),
    ({"a": np.datetime64("2020-01-01")}, r"state\['a'\] is a datetime64"),
    ({"a": np.array([None])}, r"state\['a'\] has dtype object"),
    ({"a": np.array(["x"])}, r"state\['a'\] has dtype <U1"),
    ({"a": np.zeros(2, [("x", "f4")])}, r"state\['a'\] has dtype \[\('x'"),
    ({"a": np.ma.masked_array([1, 2], [True, False])}, r"state\['a'\] is a MaskedArray"),
    ({"a": 10**5000}, "cannot be written as JSON"),
    (deep(100_000), "nested too deeply"),
    (endless(), "contains itself"),
]


@both_formats
@pytest.mark.parametrize(("state", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_a_state_that_would_not_come_back_is_refused_and_the_old_file_stays(tmp_path, extension, state, message):
    path = tmp_path / f"a{extension}"
    save(path, {"old": 1})
    with pytest.raises(CheckpointError, match=message):
        save(path, state)
    assert load(path) == {"old": 1}
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": np.zeros(2, np.complex128)}, "safetensors cannot hold this state, .npz can: .*complex128"),
        ({"__metadata__": np.zeros(2)}, "safetensors keeps this name for itself"),
    ],
)
def test_what_only_npz_can_hold(tmp_path, state, message):
    with pytest.raises(CheckpointError, match=message):
        save(tmp_path / "a.safetensors", state)
    assert os.listdir(tmp_path) == []
    save(tmp_path / "a.npz", state)
    assert_same(load(tmp_path / "a.npz"), state)


# ---------------------------------------------------------------------------------------------- files that are refused


def without_safetensors(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)


def test_safetensors_that_is_not_installed(tmp_path, monkeypatch):
    save(tmp_path / "a.safetensors", {"a": 1})
    before = (tmp_path / "a.safetensors").read_bytes()
    without_safetensors(monkeypatch)
    for call in (lambda: save(tmp_path / "a.safetensors", {"a": 2}), lambda: load(tmp_path / "a.safetensors")):
        with pytest.raises(CheckpointError, match=r"pip install safetensors, or use \.npz"):
            call()
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]
    save(tmp_path / "a.npz", {"a": 2})  # .npz needs nothing but NumPy
    assert load(tmp_path / "a.npz") == {"a": 2}


@pytest.mark.parametrize("name", ["run.pt", "run", "run.npz.bak", "run.NPZ"])
def test_another_extension(tmp_path, name):
    (tmp_path / name).write_bytes(b"kept")
    for call in (lambda: save(tmp_path / name, {}), lambda: load(tmp_path / name)):
        with pytest.raises(CheckpointError, match=rf"{name}: .*must end in \.npz or \.safetensors"):
            call()
    assert (tmp_path / name).read_bytes() == b"kept"


@both_formats
def test_places_that_are_no_file(tmp_path, extension):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint .*missing{extension}"):
        load(tmp_path / f"missing{extension}")
    folder = tmp_path / f"folder{extension}"
    folder.mkdir()
    with pytest.raises(CheckpointError, match="is a folder"):
        load(folder)
    with pytest.raises(CheckpointError, match="a folder has this name"):
        save(folder, {})
    with pytest.raises(CheckpointError, match=r"there is no folder .*nowhere; create it first"):
        save(tmp_path / "nowhere" / f"a{extension}", {})
    assert os.listdir(tmp_path) == [folder.name]


def write_foreign_npz(path):
    np.savez(path, weight=np.zeros(3))


def write_pickled_npz(path):
    np.savez(path, weight=np.array([Bomb()], dtype=object), allow_pickle=True)


def write_pickle(path):
    path.write_bytes(pickle.dumps({"weight": [1, 2]}))


def write_foreign_safetensors(path):
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path)


def write_other_format(path):
    other = {".npz": ".safetensors", ".safetensors": ".npz"}[path.suffix]
    save(path.with_suffix(other), {"a": np.zeros(3)})
    os.replace(path.with_suffix(other), path)


class Bomb:
    """Says so if it is ever unpickled."""

    def __reduce__(self):
        return (print, ("exploded",))


@pytest.mark.parametrize(
    ("extension", "write", "message"),
    [
        (".npz", write_foreign_npz, "was not saved by minidl; its arrays can be read with numpy.load"),
        (".npz", write_pickled_npz, "was not saved by minidl"),
        (".npz", write_pickle, "cannot be read as .npz: it is damaged, cut short, or another kind of file"),
        (".npz", write_other_format, "cannot be read as .npz"),
        (".npz", lambda path: path.write_bytes(b""), "cannot be read as .npz"),
        (".safetensors", write_foreign_safetensors, "was not saved by minidl; .*safetensors.numpy.load_file"),
        (".safetensors", write_pickle, "cannot be read as .safetensors"),
        (".safetensors", write_other_format, "cannot be read as .safetensors"),
        (".safetensors", lambda path: path.write_bytes(b""), "cannot be read as .safetensors"),
    ],
)
def test_foreign_files(tmp_path, capsys, extension, write, message):
    path = tmp_path / f"a{extension}"
    write(path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "exploded" not in capsys.readouterr().out


def rewrite_npz(path, change):
    """Write the archive again after `change` has had its members: name -> bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def pickled_member(members):
    body = members["w.npy"]
    members["w.npy"] = body.replace(b"'<f8'", b"'|O' ")[:128] + pickle.dumps(np.array([Bomb()], dtype=object))


def missing_member(members):
    del members["w.npy"]


def exchanged_members(members):
    members["w.npy"], members["v.npy"] = members["v.npy"], members["w.npy"]


def newer_version(members):
    members["minidl.json"] = members["minidl.json"].replace(b'"version": 1', b'"version": 2')


def other_header(members):
    members["minidl.json"] = b'{"format": "another"}'


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled_member, "Object arrays cannot be loaded"),
        (missing_member, "no item named 'w.npy'"),
        (exchanged_members, "'[wv]' differs from its checksum"),
        (newer_version, "version 2; this minidl reads up to 1: update minidl"),
        (other_header, "names the format 'another'"),
    ],
)
def test_archives_that_were_tampered_with(tmp_path, capsys, change, message):
    save(tmp_path / "a.npz", {"w": np.arange(3.0), "v": np.ones(3)})
    rewrite_npz(tmp_path / "a.npz", change)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "a.npz")
    assert "exploded" not in capsys.readouterr().out


@pytest.mark.parametrize(("old", "new"), [(b'"F32"', b'"I32"'), (b"[2,3]", b"[3,2]")])
def test_a_safetensors_array_whose_type_or_shape_was_altered(tmp_path, old, new):
    path = tmp_path / "a.safetensors"
    save(path, {"w": np.ones((2, 3), np.float32)})
    assert path.read_bytes().count(old) == 1
    path.write_bytes(path.read_bytes().replace(old, new))
    assert safetensors.numpy.load_file(path)["w"].size == 6  # the format itself sees nothing wrong
    with pytest.raises(CheckpointError, match="'w' differs from its checksum"):
        load(path)


def test_a_newer_safetensors_version(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 2)
    save(tmp_path / "a.safetensors", {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="version 2; this minidl reads up to 1"):
        load(tmp_path / "a.safetensors")


@both_formats
def test_a_file_cut_short_anywhere_is_told(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    save(path, {"w": np.arange(5.0), "lr": 0.25})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="cut short"):
            load(path)


@both_formats
@pytest.mark.parametrize("flip", [0x01, 0x10, 0xFF])
def test_a_damaged_byte_is_told_or_does_no_harm(tmp_path, extension, flip):
    path = tmp_path / f"a{extension}"
    state = {"w": np.arange(5, dtype=np.float32), "b": np.array(True), "lr": 0.25}
    save(path, state)
    content = path.read_bytes()
    told = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= flip
        path.write_bytes(damaged)
        try:
            loaded = load(path)
        except CheckpointError:
            told += 1
        else:
            assert_same(loaded, state)  # a byte that carries nothing, such as a member's date
    assert told > 0.5 * len(content)


def test_a_safetensors_header_that_promises_too_much(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path / "a.safetensors")


# ------------------------------------------------------------------------------------------------ the old or the new


@both_formats
@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, extension, failing, error):
    def fail(*_):
        raise error

    path = tmp_path / f"a{extension}"
    save(path, {"w": np.zeros(3)})
    monkeypatch.setattr(os, failing, fail)
    expected = CheckpointError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(
        expected, match=f"a{extension} could not be saved.*No space" if expected is CheckpointError else None
    ):
        save(path, {"w": np.ones(3)})
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [path.name]
    assert_same(load(path), {"w": np.zeros(3)})


def test_the_content_is_on_the_disk_before_it_gets_the_name_and_the_name_after(tmp_path, monkeypatch):
    """A power cut cannot be tested here; that the calls which guard against one are made, and in which order, can."""
    calls, fsync, replace = [], os.fsync, os.replace

    def logged_fsync(descriptor):
        status = os.fstat(descriptor)
        calls.append("fsync folder" if stat.S_ISDIR(status.st_mode) else f"fsync {status.st_size}")
        fsync(descriptor)

    def logged_replace(source, target):
        assert Path(source).parent == Path(target).parent
        calls.append(f"replace {os.path.getsize(source)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "replace", logged_replace)
    save(tmp_path / "a.npz", training_state())
    size = (tmp_path / "a.npz").stat().st_size
    assert calls == [f"fsync {size}", f"replace {size}", "fsync folder"]


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    save(tmp_path / "a.npz", {})
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


# Saves version 0, says so, and goes on saving; or, told the name of a function, is killed when that is called next.
WRITER = """
import importlib, itertools, os, signal, sys
import numpy as np
from minidl.checkpoint import save

def state(version):
    return {"version": version, "weights": {f"w{i}": np.full(40_000, version) for i in range(4)}}

path, doomed = sys.argv[1:]
save(path, state(0))
print("saved", flush=True)
if doomed:
    module, _, rest = doomed.partition(":")
    name, _, call = rest.partition(":")
    module, counter = importlib.import_module(module), itertools.count(1)
    original = getattr(module, name)
    def kill(*arguments, **options):
        if next(counter) == int(call):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(module, name, kill)
for version in itertools.count(1):
    save(path, state(version))
"""


@contextlib.contextmanager
def running_writer(path, doomed=""):
    command = [sys.executable, "-c", WRITER, path, doomed]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout.readline() == "saved\n"
            yield writer
        finally:
            writer.kill()


def loaded_version(path):
    state = load(path)
    version = state["version"]
    assert_same(state["weights"], {f"w{i}": np.full(40_000, version) for i in range(4)})
    return version


@pytest.mark.parametrize(
    ("doomed", "version"),
    [
        ("os:fsync:1", 0),  # written, not yet on the disk
        ("os:replace:1", 0),  # on the disk, not yet renamed
        ("os:fsync:2", 1),  # renamed
        ("os:replace:3", 2),
        ("numpy.lib.format:write_array:3", 0),  # half of the arrays written
        ("secrets:token_hex:2", 1),  # between two saves
    ],
)
def test_a_kill_within_a_save_leaves_one_version_or_the_other(tmp_path, doomed, version):
    path = tmp_path / "run.npz"
    with running_writer(path, doomed) as writer:
        assert writer.wait(timeout=60) == -signal.SIGKILL
    assert loaded_version(path) == version
    save(path, {"version": "again"})  # what the kill left behind is in nobody's way
    assert load(path) == {"version": "again"}


@both_formats
def test_kills_at_any_moment_leave_a_whole_file(tmp_path, extension):
    path = tmp_path / f"run{extension}"
    for delay in (0, 0.003, 0.011, 0.05):
        with running_writer(path) as writer:
            time.sleep(delay)
            for _ in range(5):
                loaded_version(path)  # whole at every look in between, too
        assert writer.returncode == -signal.SIGKILL
        assert loaded_version(path) >= 0
